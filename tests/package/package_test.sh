#!/bin/bash
# The package in the life of a till: the archive tried, the package installed, configured, upgraded while the till sells,
# downgraded, removed, purged. In a clean Debian 12 with a real systemd and without a network.
# usage: package_test.sh BUILD_FOLDER PREVIOUS.deb PACKAGE.deb ARCHIVE.tar.gz   (as root)
set -euo pipefail
here=$(dirname "$(realpath "$0")")
build=$(realpath "$1") previous=$(realpath "$2") package=$(realpath "$3") archive=$(realpath "$4")
# shellcheck source=tests/service/box.sh
. "$here/../service/box.sh"
# shellcheck source=tests/service/steps.sh
. "$here/../service/steps.sh"

version() { dpkg-deb -f "$1" Version; }
# apt, as an operator calls it; nobody is there to answer a question.
apt() { in_box apt-get install --yes --no-install-recommends "$@" </dev/null >"$box_work/apt.log" 2>&1; }
dpkg() { in_box dpkg "$@" </dev/null >"$box_work/dpkg.log" 2>&1; }
as_pos() { in_box setpriv --reuid pos --regid pos --init-groups "$@"; }
tillsync() { as_pos tillsync "$@"; }
field() { python3 -c 'import json, sys; value = json.load(sys.stdin)
for part in sys.argv[1].split("."): value = value[int(part) if part.isdigit() else part]
print(value)' "$1"; }
status() { tillsync status --json | field "$1"; }
sales() { in_box sqlite3 -cmd '.timeout 5000' /var/lib/pos/pos.db 'SELECT n FROM sale_counter'; }
sold_more_than() { [[ $(sales) -gt $1 ]]; }
none_failed() { [[ -z $(in_box systemctl --failed --no-legend) ]] || fail "$1: $(in_box systemctl --failed --no-legend)"; }
# dpkg -V names what is not as the package has it.
as_packaged() { [[ -z $(in_box dpkg -V tillsync) ]] || fail "dpkg -V: $(in_box dpkg -V tillsync)"; }
# As rows, in an order: what is compared of a database.
rows() { in_box sqlite3 -cmd '.timeout 5000' "$1" .dump | grep -v '^ROLLBACK\|^COMMIT' | md5sum; }
# What is there, but for what the system itself writes all the time.
all_files() {
  in_box find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /var/tmp -o -path /var/log \
    -o -path /var/cache -o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/lib/systemd \) -prune -o -print | sort
}

# --- the packages themselves ---

lintian --fail-on error "$package" || fail "lintian"
for page in tillsync.1 tillsync-tray.1 tillsyncd.8 tillsync.toml.5; do
  for check in "mandoc -Tlint -Wwarning" "groff -man -ww -z -Tutf8"; do
    said_of=$($check "$build/manual/$page" 2>&1) || true
    [[ -z $said_of ]] || fail "$check $page: $said_of"
  done
  said_of=$(LC_ALL=C.UTF-8 MANROFFSEQ='' man --warnings -E UTF-8 -l -Tutf8 -Z "$build/manual/$page" 2>&1 >/dev/null) || true
  [[ -z $said_of ]] || fail "man --warnings $page: $said_of"
done
for program in tillsync tillsync-tray tillsyncd; do
  bash -n "$build/manual/$program.bash" || fail "bash does not parse the completion of $program"
  zsh -n "$build/manual/_$program" || fail "zsh does not parse the completion of $program"
done
"$here/zsh_test.sh" "$build/manual" || fail "zsh does not complete"
said "lintian, the manual pages and the completions are clean"

# --- the box ---

# What apt would fetch: all that any of both packages asks for.
mapfile -t box_downloads < <(for deb in "$previous" "$package"; do dpkg-deb -f "$deb" Depends; done |
  tr ',' '\n' | sed 's/[(|].*//; s/ //g' | sort -u)
box_base
said "base system ready"
trap box_stop EXIT
box_prepare
install -m 0644 "$previous" "$box_root/opt/previous.deb"
install -m 0644 "$package" "$box_root/opt/package.deb"
install -m 0755 "$build/bin/pos_writer" "$box_root/opt/pos_writer"
box_boot
said "booted"

# --- the archive, where it lies ---

tar -xzf "$archive" -C "$box_root/opt"
tree=/opt/$(basename "$archive" .tar.gz)
[[ -f $box_root$tree/INSTALL ]] || fail "the archive says nothing of how to install it"
[[ $(in_box "$tree/usr/bin/tillsync" --version) == "tillsync $(version "$package")" ]] || fail "the archive has another version"
in_box "$tree/usr/bin/tillsyncd" --config "$tree/usr/share/doc/tillsync/examples/tillsync.toml" --check-config >/dev/null ||
  fail "the example is no configuration"
in_box "$tree/usr/bin/tillsync" demo --seconds 4 >"$box_work/demo.log" 2>&1 || fail "the demo: $(tail -5 "$box_work/demo.log")"
in_box "$tree/usr/bin/tillsync" --config "$tree/usr/share/doc/tillsync/examples/tillsync.toml" doctor >"$box_work/doctor.log" 2>&1 || true
grep -q 'configuration' "$box_work/doctor.log" || fail "no doctor: $(cat "$box_work/doctor.log")"
said "the archive: demo and doctor run where it was unpacked"

# --- installed, and not configured ---

all_files >"$box_work/before"
apt /opt/previous.deb || fail "apt: $(cat "$box_work/apt.log")"
none_failed "installed and not configured"
[[ $(property UnitFileState) == enabled ]] || fail "the unit is not enabled"
has_property ActiveState inactive || fail "without a configuration it is $(property ActiveState)"
has_property ConditionResult no || fail "it was not its condition"
for group in tillsync tillsync-admin; do in_box getent group $group >/dev/null || fail "no group $group"; done
in_box getent passwd tillsync >/dev/null || fail "no user tillsync"
as_packaged
said "installed: enabled, waiting for a configuration"

# --- configured ---

in_box useradd --system --home-dir /var/lib/pos --create-home pos
as_pos /opt/pos_writer --db /var/lib/pos/pos.db --sales 100 >/dev/null
# The README's three commands, from here to a durable backup. The box has a small disk, which doctor minds.
in_box tillsync init --database /var/lib/pos/pos.db --store /srv/backup --terminal store-1/till-1 >"$box_work/init" 2>&1 ||
  grep -q '^problem  state_dir' "$box_work/init" || fail "init: $(cat "$box_work/init")"
in_box sed -i -e 's/^# log_flush = .*/log_flush = "200ms"/' -e 's/^# min_free = .*/min_free = "0B"/' /etc/tillsync/tillsync.toml
in_box systemctl start tillsync || fail "it does not start"
has_property ActiveState active || fail "it is not active"
[[ $(status terminal.version) == "$(version "$previous")" ]] || fail "version $(status terminal.version) runs"
as_pos /opt/pos_writer --db /var/lib/pos/pos.db --rate 100 --seconds 3600 --stop-file /var/lib/pos/stop \
  >/dev/null 2>"$box_work/shop.log" &
shop=$!
tillsync backup --type full --wait >/dev/null || fail "no backup"
tillsync flush --wait >/dev/null || fail "no flush"
said "configured: $(sales) sales, captured and durable"

# --- upgraded, while the till sells ---

# now_runs VERSION WHAT: another process of that version, with the terminal and the log of before.
id=$(status terminal.id)
now_runs() {
  until_so "$2: a new process" has_property ActiveState active
  [[ $(property MainPID) != "$pid" ]] || fail "$2: it is the same process"
  [[ $(status terminal.version) == "$1" ]] || fail "$2: version $(status terminal.version) runs"
  [[ $(status terminal.id) == "$id" ]] || fail "$2: it is another terminal"
  [[ $(status databases.0.sequence) -ge $sequence ]] || fail "$2: the log ended at $sequence, and now at $(status databases.0.sequence)"
  until_so "$2: sales go on" sold_more_than "$sold"
  tillsync flush --wait >/dev/null || fail "$2: no flush"
  none_failed "$2"
  as_packaged
}
before_it() { pid=$(property MainPID) sequence=$(status databases.0.sequence) sold=$(sales); }

before_it
apt /opt/package.deb || fail "apt: $(cat "$box_work/apt.log")"
now_runs "$(version "$package")" upgrade
said "upgraded from $(version "$previous"): new process, same terminal, log goes on from $sequence"

before_it
dpkg --install --force-downgrade /opt/previous.deb || fail "downgrade: $(cat "$box_work/dpkg.log")"
now_runs "$(version "$previous")" downgrade
before_it
apt /opt/package.deb || fail "apt: $(cat "$box_work/apt.log")"
now_runs "$(version "$package")" "upgrade again"
said "downgraded and upgraded again, the log goes on"

# --- nothing lost ---

in_box touch /var/lib/pos/stop
wait "$shop" || fail "a sale failed: $(cat "$box_work/shop.log")"
tillsync flush --wait >/dev/null
tillsync log verify >/dev/null || fail "log verify"
tillsync restore --to /var/lib/pos/restored.db >/dev/null 2>&1 || fail "no restore"
[[ $(rows /var/lib/pos/restored.db) == "$(rows /var/lib/pos/pos.db)" ]] || fail "the restored database differs"
in_box rm /var/lib/pos/restored.db
said "all $(sales) sales are in the store, those made meanwhile as well"

# --- removed, and installed again ---

before_it
dpkg --remove tillsync || fail "remove: $(cat "$box_work/dpkg.log")"
in_box test ! -e "/proc/$pid" || fail "removed, and the agent still runs"
in_box test ! -e /usr/bin/tillsyncd || fail "removed, and tillsyncd is there"
in_box test -e /var/lib/tillsync/state.db || fail "removed, and the state is gone"
in_box test -e /etc/tillsync/tillsync.toml || fail "removed, and the configuration is gone"
none_failed removed
as_pos /opt/pos_writer --db /var/lib/pos/pos.db --sales 50 >/dev/null || fail "no sale without an agent"
apt /opt/package.deb || fail "apt: $(cat "$box_work/apt.log")"
now_runs "$(version "$package")" "installed again"
said "removed, state kept; installed again, it goes on by itself"

# --- purged ---

live=$(rows /var/lib/pos/pos.db)
in_box install -d -o pos -g pos /var/lib/tillsync/store-of-another  # a store may be anywhere
in_box sh -c 'echo x >/var/lib/tillsync/store-of-another/object'
dpkg --purge tillsync || fail "purge: $(cat "$box_work/dpkg.log")"
grep -q '/var/lib/tillsync/keys is kept' "$box_work/dpkg.log" || fail "purge says nothing of the keys: $(cat "$box_work/dpkg.log")"
none_failed purged
in_box dpkg-query -W -f '${Status}' tillsync 2>/dev/null && fail "dpkg still knows it"
left=$(in_box ls /var/lib/tillsync | tr '\n' ' ')
[[ $left == "keys store-of-another " ]] || fail "purge left in /var/lib/tillsync: $left"
in_box rm -r /var/lib/tillsync/store-of-another
in_box apt-get autoremove --purge --yes </dev/null >"$box_work/apt.log" 2>&1 || fail "apt: $(cat "$box_work/apt.log")"
all_files >"$box_work/after"
# The accounts stay, as Debian has it; the till and the store are not ours.
# The recovery key is the operator's.
left=$(diff "$box_work/before" "$box_work/after" | sed -n 's/^> //p' |
  grep -v '^/root/tillsync-recovery.pem\|^/var/lib/pos\|^/srv/backup\|^/var/lib/tillsync/keys\|^/var/lib/tillsync$\|^/etc/\(passwd\|group\|shadow\|gshadow\|subuid\|subgid\)' || true)
[[ -z $left ]] || fail "purge left: $left"
said "purged without a question; the keys and the store are left"

# What is left is enough: the keys open the store.
printf '[terminal]\nname = "store-1/till-1"\nstate_dir = "/var/lib/tillsync"\n' | in_box sh -c 'cat >/root/reader.toml'
in_box "$tree/usr/bin/tillsync" --config /root/reader.toml --store file:///srv/backup --terminal store-1/till-1 \
  restore --to /root/restored.db >"$box_work/restore.log" 2>&1 || fail "no restore after purge: $(cat "$box_work/restore.log")"
[[ $(rows /root/restored.db) == "$live" ]] || fail "what was restored after purge differs"
said "and give back all $(sales) sales"
echo PASSED
