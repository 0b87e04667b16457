#!/bin/bash
# The tray in a real panel, with the real agent and a till that sells, and pictures of it to look at.
# usage: panel_shots.sh xfce|lxqt light|dark LANGUAGE BUILD_FOLDER OUTPUT_FOLDER
# Runs below a session bus of its own: dbus-run-session -- panel_shots.sh …
set -euo pipefail
panel=$1 shade=$2 language=$3 bin=$(realpath "$4")/bin
mkdir -p "$5"
out=$(realpath "$5")
work=$(mktemp -d)
pids=()

stop() {
  if [[ ${#pids[@]} -gt 0 ]]; then
    kill "${pids[@]}" 2>/dev/null || true
    wait "${pids[@]}" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap stop EXIT
say() { printf '%s %s: %s\n' "$panel" "$shade" "$*"; }
fail() {
  say "FAILED: $*" >&2
  import -window root "$out/failed.png" || true
  exit 1
}
# until_so "WHAT" COMMAND...: what is waited for happens in another process.
until_so() {
  local what=$1 _
  shift
  for _ in $(seq 300); do
    if "$@"; then return; fi
    sleep 0.1
  done
  fail "never happened: $what"
}
begin() { # LOG COMMAND...
  local log=$1
  shift
  "$@" >"$out/$log.log" 2>&1 </dev/null &
  pids+=($!)
}

# A desktop: a screen, a window manager, a panel with nothing but the icons, a notification daemon.
mkdir -m 0700 "$work/home" "$work/runtime"
export HOME=$work/home XDG_RUNTIME_DIR=$work/runtime XDG_CONFIG_HOME=$work/home/.config XDG_CACHE_HOME=$work/home/.cache
export NO_AT_BRIDGE=1 GTK_A11Y=none LIBGL_ALWAYS_SOFTWARE=1 LANG=C
mkdir -p "$XDG_CONFIG_HOME"
Xvfb -displayfd 3 -screen 0 1024x600x24 -nolisten tcp 3>"$work/display" >"$out/xvfb.log" 2>&1 &
pids+=($!)
until_so "a screen" test -s "$work/display"
DISPLAY=:$(<"$work/display")
export DISPLAY
dbus-update-activation-environment DISPLAY HOME XDG_CONFIG_HOME XDG_CACHE_HOME XDG_RUNTIME_DIR 2>/dev/null
begin openbox openbox
dark=false
if [[ $shade == dark ]]; then
  dark=true
  # As installed: the icons are known by name.
  themed=$work/share/icons/hicolor/scalable/status
  mkdir -p "$themed"
  cp agent/tray/icons/tillsync-*.svg "$themed/"
  export XDG_DATA_DIRS=$work/share:${XDG_DATA_DIRS:-/usr/local/share:/usr/share}
  dbus-update-activation-environment XDG_DATA_DIRS 2>/dev/null
fi
case $panel in
  xfce)
    folder=$XDG_CONFIG_HOME/xfce4/xfconf/xfce-perchannel-xml
    mkdir -p "$folder"
    cat >"$folder/xfce4-panel.xml" <<XML
<?xml version="1.0" encoding="UTF-8"?>
<channel name="xfce4-panel" version="1.0">
 <property name="configver" type="int" value="2"/>
 <property name="panels" type="array"><value type="int" value="1"/>
  <property name="dark-mode" type="bool" value="$dark"/>
  <property name="panel-1" type="empty">
   <property name="position" type="string" value="p=8;x=0;y=0"/><property name="length" type="uint" value="100"/>
   <property name="position-locked" type="bool" value="true"/><property name="size" type="uint" value="28"/>
   <property name="plugin-ids" type="array"><value type="int" value="1"/></property>
  </property></property>
 <property name="plugins" type="empty"><property name="plugin-1" type="string" value="systray">
  <property name="icon-size" type="int" value="16"/></property></property>
</channel>
XML
    begin panel xfce4-panel --disable-wm-check
    begin notifications /usr/lib/x86_64-linux-gnu/xfce4/notifyd/xfce4-notifyd
    ;;
  lxqt)
    mkdir -p "$XDG_CONFIG_HOME/lxqt"
    cat >"$XDG_CONFIG_HOME/lxqt/panel.conf" <<'CONF'
[General]
__userfile__=true
iconTheme=
[panel1]
plugins=statusnotifier
position=Bottom
panelSize=28
iconSize=16
width=100
width-percent=true
[statusnotifier]
alignment=Left
type=statusnotifier
CONF
    begin panel lxqt-panel
    begin notifications dunst
    ;;
  *) fail "no such panel" ;;
esac
has_owner() {
  dbus-send --session --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.NameHasOwner "string:$1" |
    grep -q 'boolean true'
}
until_so "the panel's watcher" has_owner org.kde.StatusNotifierWatcher
until_so "notifications" has_owner org.freedesktop.Notifications

# A till with its agent.
cat >"$work/tillsync.toml" <<TOML
[terminal]
name = "till"
state_dir = "$work/state"
control = "$work/control.sock"
[[database]]
name = "pos"
path = "$work/pos.db"
[store]
url = "file://$work/store"
[keys]
seal = false
[limits]
min_free = "0B"
TOML
mkdir "$work/store"
begin till "$bin/pos_writer" --db "$work/pos.db" --rate 2 --seconds 3000
till=${pids[-1]}
until_so "the till's database" test -s "$work/pos.db"
start_agent() {
  "$bin/tillsyncd" --config "$work/tillsync.toml" >>"$out/agent.log" 2>&1 </dev/null &
  agent=$!
  pids+=("$agent")
}
stop_agent() {
  kill "$agent"
  wait "$agent" || true
}
start_agent
until_so "the agent" "$bin/tillsync" --config "$work/tillsync.toml" backup --wait >"$out/first-backup.log" 2>&1
LANG=$language begin tray "$bin/tillsync-tray" --config "$work/tillsync.toml"

# Each state's icon has a colour of its own: where it is on the panel, the lowest 40 rows of the screen.
find_icon() {
  import -window root -depth 8 -crop 1024x40+0+560 rgb:- | python3 -c '
import sys
colour, data = bytes.fromhex(sys.argv[1]), sys.stdin.buffer.read()
at = [i // 3 for i in range(0, len(data), 3) if data[i:i + 3] == colour]
if len(at) < 20: sys.exit(1)
print(sum(i % 1024 for i in at) // len(at), 560 + sum(i // 1024 for i in at) // len(at))' "$1"
}
shows() { find_icon "$1" >"$work/at"; }
readonly ok=2e7d32 attention=c62828 paused=b45309 no_agent=616161
shot() {
  import -window root "$out/$1.png"
  say "picture $1.png, icon at $(<"$work/at")"
}
differs() { # FROM: the screen is another one than this picture
  import -window root "$work/now.png"
  ! cmp -s "$work/now.png" "$1"
}
is_drawn() { # FROM: it is, and whatever fades in or moves has had the time to
  differs "$1" && sleep 0.6 && differs "$1"
}
point() { # BUTTON
  local x y
  read -r x y <"$work/at"
  xdotool mousemove "$x" "$y" click "$1"
}
# Opens the menu and takes the entry which is the N-th that can be chosen.
choose() {
  local _
  import -window root "$work/before.png"
  point 3
  until_so "the menu opens" is_drawn "$work/before.png"
  if [[ -n ${2:-} ]]; then shot "$2"; fi
  for _ in $(seq "$1"); do
    xdotool key Down
    sleep 0.1
  done
  if [[ -n ${2:-} ]]; then shot "$2-chosen"; fi
  xdotool key Return
}

until_so "the icon, all well" shows $ok
shot 1-ok
import -window root "$work/before.png"
read -r x y <"$work/at"
xdotool mousemove "$x" "$((y - 1))" mousemove "$x" "$y"
until_so "the tooltip" is_drawn "$work/before.png"
shot 2-tooltip
xdotool mousemove 500 200
import -window root "$work/before.png"
choose 1 3-menu
until_so "the notification of a backup" is_drawn "$work/before.png"
shot 4-backup
until_so "all well again" shows $ok
choose 2
until_so "paused" shows $paused
until_so "its notification" is_drawn "$work/before.png"
shot 5-paused
choose 1 6-menu-paused
until_so "resumed" shows $ok
import -window root "$work/before.png"
point 1
until_so "the status" is_drawn "$work/before.png"
shot 7-status
stop_agent
until_so "no agent" shows $no_agent
shot 8-no-agent
start_agent
until_so "the agent is back" shows $ok
kill "$till"
wait "$till" || true
mkdir "$work/away"
mv "$work"/pos.db* "$work/away/"
until_so "attention" shows $attention
shot 9-attention
import -window root "$work/before.png"
point 1
until_so "the problem in words" is_drawn "$work/before.png"
shot 10-attention-status
say "all states seen"
