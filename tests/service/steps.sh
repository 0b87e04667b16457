# shellcheck shell=bash
# To be sourced, after box.sh: how a test of the service says what it does, waits and fails.

began=$(date +%s%N)
said() { printf '%7.2f s  %s\n' "$(bc <<<"scale=3; ($(date +%s%N) - $began) / 1000000000")" "$*"; }
fail() {
  echo "FAILED: $*" >&2
  [[ -z ${box_leader:-} ]] || in_box journalctl --no-pager -u tillsync -n 40 >&2 || true
  exit 1
}
# until "WHAT" COMMAND...: what is waited for happens in another process.
until_so() {
  local what=$1 _
  shift
  for _ in $(seq 600); do
    if "$@"; then return; fi
    sleep 0.05
  done
  fail "never happened: $what"
}
property() { in_box systemctl show -P "$1" tillsync; }
has_property() { [[ $(property "$1") == "$2" ]]; }
