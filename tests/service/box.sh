# shellcheck shell=bash
# To be sourced. A Debian 12 of its own with a real systemd as its first process, in systemd-nspawn.
#
# Needs root, and systemd-container, mmdebstrap, util-linux. The base system is built once, below $cache, and never
# written: each box is an overlay over it, in memory. No network: a box reaches nothing, and nobody reaches it.
# box_base PACKAGE...   makes the base system; packages to be in it. What apt would fetch to install $box_downloads is
#                       there as well, and not installed: a box has no network
# box_prepare           mounts a fresh box at $box_root, to put files in
# box_boot              starts it; in_box COMMAND... runs in it
# box_stop              ends it, and what it wrote is gone

box_downloads=()
: "${box_cache:=${XDG_CACHE_HOME:-$HOME/.cache}/tillsync-box}"

box_base() {
  local packages="systemd,systemd-sysv,dbus,init-system-helpers,procps,adduser,util-linux,sqlite3,python3-minimal" name
  packages+=$(printf ',%s' "$@")
  name=$(printf '%s' "$packages ${box_downloads[*]}" | md5sum | cut -c1-12)
  box_base_root=$box_cache/root-$name
  [[ -e $box_base_root/.complete ]] && return
  mkdir -p "$box_cache"
  rm -rf "$box_base_root"
  local -a fetched=()
  if [[ ${#box_downloads[@]} -gt 0 ]]; then
    fetched=(--skip=cleanup/apt --customize-hook="APT_CONFIG=\$MMDEBSTRAP_APT_CONFIG apt-get install --yes \
      --no-install-recommends --download-only ${box_downloads[*]}")
  fi
  mmdebstrap --variant=minbase --aptopt='Acquire::Languages "none"' "${fetched[@]}" --include="$packages" bookworm "$box_base_root" \
    >"$box_cache/mmdebstrap.log" 2>&1 || { tail -5 "$box_cache/mmdebstrap.log" >&2; return 1; }
  : >"$box_base_root/etc/machine-id"
  : >"$box_base_root/.complete"
}

box_prepare() {
  box_work=$(mktemp -d "${TMPDIR:-/tmp}/tillsync-box.XXXXXX")
  mount -t tmpfs -o size=2g,mode=755 tmpfs "$box_work"
  mkdir "$box_work"/{upper,work,root}
  mount -t overlay overlay -o "lowerdir=$box_base_root,upperdir=$box_work/upper,workdir=$box_work/work" "$box_work/root"
  box_root=$box_work/root
}

box_boot() {
  systemd-nspawn -q -D "$box_root" -b -M "tillsync$$" --register=no --keep-unit --private-network --console=pipe \
    --resolv-conf=off --timezone=off </dev/null >"$box_work/console.log" 2>&1 &
  box_nspawn=$!
  local _
  for _ in $(seq 400); do
    box_leader=$(pgrep -P "$box_nspawn" | head -1) || true
    if [[ -n $box_leader ]] && in_box systemctl is-system-running --wait >/dev/null 2>&1; then return; fi
    sleep 0.05
  done
  echo "the box does not start:" >&2
  cat "$box_work/console.log" >&2
  return 1
}

# nsenter keeps all capabilities of who calls it: without the bounding set a program in the box could move the clock of
# the machine it runs on.
in_box() {
  nsenter -t "$box_leader" -m -u -i -n -p -C -- \
    setpriv --bounding-set=-sys_time,-sys_module,-sys_rawio,-sys_boot,-syslog,-bpf,-perfmon,-wake_alarm \
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 "$@"
}

box_stop() {
  local _
  if [[ -n ${box_leader:-} ]]; then
    kill -s RTMIN+4 "$box_leader" 2>/dev/null || true  # power off
    for _ in $(seq 200); do [[ -d /proc/$box_leader ]] || break; sleep 0.05; done
  fi
  if [[ -n ${box_nspawn:-} ]]; then
    kill "$box_nspawn" 2>/dev/null || true
    wait "$box_nspawn" 2>/dev/null || true
  fi
  [[ -n ${box_work:-} ]] || return 0
  umount "$box_work/root" || true
  umount "$box_work" && rmdir "$box_work"
}
