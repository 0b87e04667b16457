#!/bin/bash
# The agent as a service of a real systemd: installed, started, watched over, killed, reloaded, stopped. While a till
# sells. usage: service_test.sh BUILD_FOLDER   (as root)
set -euo pipefail
here=$(dirname "$(realpath "$0")")
build=$(realpath "$1")
# shellcheck source=tests/service/box.sh
. "$here/box.sh"
# shellcheck source=tests/service/steps.sh
. "$here/steps.sh"

tillsync() { in_box setpriv --reuid pos --regid pos --init-groups tillsync "$@"; }
sales() { in_box sqlite3 -cmd '.timeout 5000' /var/lib/pos/pos.db 'SELECT n FROM sale_counter'; }
restarted_once() { has_property NRestarts "$1" && has_property ActiveState active; }

# What the programs need of Debian, found by the linker.
mapfile -t packages < <(ldd "$build/bin/tillsyncd" "$build/bin/tillsync" "$build/bin/pos_writer" |
  awk '/=> \//{print $3}' | sort -u | xargs -n1 readlink -f | sort -u | xargs dpkg -S 2>/dev/null | cut -d: -f1 | sort -u)
box_base "${packages[@]}" acl
said "base system ready"
trap box_stop EXIT
box_prepare
DESTDIR=$box_root cmake --install "$build" --prefix /usr >/dev/null
install -m 0755 "$build/bin/pos_writer" "$box_root/opt/pos_writer"
box_boot
said "booted"
in_box systemd-sysusers
in_box useradd --system --home-dir /var/lib/pos --create-home pos
in_box useradd --create-home --groups tillsync alice
in_box useradd --create-home --groups tillsync-admin bob
in_box useradd --create-home carol
in_box setpriv --reuid pos --regid pos --init-groups /opt/pos_writer --db /var/lib/pos/pos.db --sales 100 >/dev/null

# What a newcomer does. The box has no clock that is kept, and a small disk.
in_box tillsync init --database /var/lib/pos/pos.db --store /srv/backup --terminal store-1/till-1 >"$box_work/init" 2>&1 ||
  grep -q '^problem  state_dir' "$box_work/init" || fail "init: $(cat "$box_work/init")"
[[ $(in_box stat -c '%U %a' /srv/backup) == "pos 700" ]] || fail "the store is not the service's: $(cat "$box_work/init")"
in_box sed -i -e 's/^# log_flush = .*/log_flush = "200ms"/' -e 's/^# min_free = .*/min_free = "0B"/' /etc/tillsync/tillsync.toml
said "init: $(grep -c . "$box_work/init") lines; runs as $(in_box sed -n 's/^User=//p' /etc/systemd/system/tillsync.service.d/10-till.conf)"
in_box systemctl enable --now tillsync 2>/dev/null || fail "it does not start"
has_property ActiveState active || fail "it is not active"
has_property User pos || fail "the drop-in does not count"
said "ready: $(property StatusText)"
[[ -n $(property StatusText) ]] || fail "it says no status"
pid=$(property MainPID)
[[ $(in_box stat -c '%U %a' /var/lib/tillsync) == "pos 700" ]] || fail "the state is open to others"
# Who may do what, by users of their own.
as() { in_box setpriv --reuid "$1" --regid "$1" --init-groups tillsync "${@:2}" >/dev/null 2>"$box_work/as.err"; }
refused() {
  local status=0
  as "$@" || status=$?
  [[ $status == 5 ]] || fail "$*: status $status and not 5: $(cat "$box_work/as.err")"
}
as alice status || fail "an operator sees no status: $(cat "$box_work/as.err")"
as alice backup --wait || fail "an operator can't back up: $(cat "$box_work/as.err")"
refused alice log
refused alice prune --dry-run
refused alice restore --to /tmp/alice.db
as bob log || fail "an administrator reads no log: $(cat "$box_work/as.err")"
as bob prune --dry-run || fail "an administrator can't prune: $(cat "$box_work/as.err")"
as bob restore --to /tmp/bob.db || fail "an administrator can't restore: $(cat "$box_work/as.err")"
refused carol status
as alice pause --for 1h || fail "an operator can't pause: $(cat "$box_work/as.err")"
if in_box sh -c "ls -l /proc/$pid/fd" | grep -q /var/lib/pos/; then fail "the database is open in a pause"; fi
as alice resume || fail "an operator can't resume: $(cat "$box_work/as.err")"
refused alice diagnose
as bob diagnose --out /tmp/report.txt || fail "an administrator gets no report: $(cat "$box_work/as.err")"
said "operators operate, administrators administer, others do nothing"
grep -q '^Seccomp:.*2' "/proc/$box_leader/root/proc/$pid/status" || fail "no system call filter"
exposure=$(in_box systemd-analyze security tillsync --no-pager | sed -n 's/.*Overall exposure level[^:]*: \([0-9.]*\).*/\1/p')
said "systemd-analyze security: $exposure"
[[ $(bc <<<"$exposure <= 1.5") == 1 ]] || fail "exposure $exposure is over 1.5"

# A till sells all the while.
in_box setpriv --reuid pos --regid pos --init-groups /opt/pos_writer --db /var/lib/pos/pos.db --rate 200 --seconds 3600 \
  --stop-file /var/lib/pos/stop >/dev/null 2>"$box_work/shop.log" &
shop=$!
tillsync backup --type full --wait >/dev/null || fail "no backup"
said "full backup with $(sales) sales"

in_box kill -KILL "$pid"
until_so "a start after SIGKILL" restarted_once 1
[[ $(property MainPID) != "$pid" ]] || fail "it is the same process"
said "killed, and there again"

in_box systemctl reload tillsync || fail "no reload"
has_property ActiveState active || fail "it is not active after a reload"
said "reloaded"

# Hung: it no longer says that it is alive.
in_box systemctl stop tillsync
install -d "$box_root/run/systemd/system/tillsync.service.d" 2>/dev/null || true
in_box sh -c 'mkdir -p /run/systemd/system/tillsync.service.d && printf "[Service]\nWatchdogSec=2\nRestartSec=100ms\n" \
  >/run/systemd/system/tillsync.service.d/watchdog.conf && systemctl daemon-reload && systemctl start tillsync'
pid=$(property MainPID)
before=$(property NRestarts)
in_box kill -STOP "$pid"
until_so "a start after the watchdog" restarted_once $((before + 1))
in_box journalctl --no-pager -u tillsync | grep -q "Watchdog timeout" || fail "no word of the watchdog"
said "hung, killed by the watchdog, and there again"

sold=$(sales)
tillsync flush --wait >/dev/null || fail "no flush"
stop_began=$(date +%s%N)
in_box systemctl stop tillsync
stopped_ms=$((($(date +%s%N) - stop_began) / 1000000))
has_property Result success || fail "its end was no success: $(property Result)"
[[ $stopped_ms -le 5000 ]] || fail "it took $stopped_ms ms to stop"
said "stopped in $stopped_ms ms after $sold sales"

in_box touch /var/lib/pos/stop
wait "$shop" || fail "a sale failed: $(cat "$box_work/shop.log")"
in_box systemctl start tillsync
tillsync flush --wait >/dev/null
tillsync restore --to /var/lib/pos/restored.db >/dev/null 2>&1 || fail "no restore"
[[ $(in_box sqlite3 /var/lib/pos/restored.db 'SELECT n FROM sale_counter') == $(sales) ]] ||
  fail "the restored database has other sales"
in_box sqlite3 /var/lib/pos/pos.db .dump | grep -v '^ROLLBACK\|^COMMIT' | md5sum >"$box_work/live"
in_box sqlite3 /var/lib/pos/restored.db .dump | grep -v '^ROLLBACK\|^COMMIT' | md5sum >"$box_work/restored"
cmp -s "$box_work/live" "$box_work/restored" || fail "the restored database differs"
# The journal's own fields.
in_box journalctl --no-pager -o cat -u tillsync TILLSYNC_WORKFLOW="$(in_box journalctl -o json -u tillsync |
  sed -n 's/.*"TILLSYNC_WORKFLOW":"\([^"]*\)".*/\1/p' | head -1)" PRIORITY=6 | grep -q "snapshot" ||
  fail "no message can be found by its workflow"
said "$(in_box journalctl --no-pager -o cat -u tillsync | wc -l) lines in the journal"

# Keys as credentials: root's files, which the service reads from where systemd puts them.
in_box systemctl stop tillsync
in_box sh -c 'mkdir -p /etc/tillsync/keys && mv /var/lib/tillsync/keys/1.signing.pem /var/lib/tillsync/keys/1.sealing.pem /etc/tillsync/keys/ &&
  chown -R root:root /etc/tillsync/keys && chmod 0600 /etc/tillsync/keys/* &&
  printf "[Service]\nLoadCredential=tillsync.1.signing.pem:/etc/tillsync/keys/1.signing.pem\nLoadCredential=tillsync.1.sealing.pem:/etc/tillsync/keys/1.sealing.pem\n" \
    >/etc/systemd/system/tillsync.service.d/20-credentials.conf && systemctl daemon-reload && systemctl start tillsync'
tillsync backup --wait >/dev/null || fail "no backup with keys from credentials"
said "keys from systemd credentials"

# As a user of its own. Without an arrangement it lets the till's files alone and says so; with one both sides work.
in_box systemctl stop tillsync
in_box rm /etc/systemd/system/tillsync.service.d/20-credentials.conf
in_box sh -c 'mv /etc/tillsync/keys/*.pem /var/lib/tillsync/keys/ && chown -R tillsync:tillsync /var/lib/tillsync /srv/backup /var/lib/tillsync/keys'
in_box chmod 0755 /var/lib/pos
in_box chmod 0644 /var/lib/pos/pos.db
in_box tillsync init --unit --user tillsync >/dev/null || fail "no drop-in for the service's own user"
in_box systemctl start tillsync
own_status() { in_box tillsync status --json; }
says_permission() { own_status | grep -q '"database_permission"'; }
until_so "the problem of permissions is said" says_permission
[[ -z $(in_box find /var/lib/pos -user tillsync) ]] || fail "it made files beside the database"
in_box setpriv --reuid pos --regid pos --init-groups sqlite3 /var/lib/pos/pos.db 'UPDATE sale_counter SET n=n' ||
  fail "the application was kept out"
in_box usermod --append --groups pos tillsync
in_box chmod 2770 /var/lib/pos
in_box chmod 0660 /var/lib/pos/pos.db
in_box systemctl restart tillsync
is_captured() { own_status | grep -q '"mode":"\(wal\|idle\)"'; }
# both_work HOW: doctor names how, both sides write by turns, either of them first, and nothing is lost.
both_work() {
  until_so "capture through $1" is_captured
  in_box setpriv --reuid tillsync --regid tillsync --init-groups tillsync doctor | grep -q "shared with its owner through $1" ||
    fail "doctor does not say that the database is shared through $1"
  for _ in 1 2 3; do
    in_box setpriv --reuid pos --regid pos --init-groups /opt/pos_writer --db /var/lib/pos/pos.db --sales 50 >/dev/null ||
      fail "a sale failed beside the service's own user, through $1"
    in_box tillsync flush --wait >/dev/null || fail "no flush as the service's own user, through $1"
    in_box systemctl restart tillsync
  done
  in_box tillsync restore --to /tmp/own.db --force >/dev/null 2>&1 || fail "no restore as the service's own user, through $1"
  [[ $(in_box sqlite3 /tmp/own.db 'SELECT n FROM sale_counter') == $(sales) ]] || fail "other sales as the service's own user, through $1"
}
both_work "group pos of the folder"

# The same without the group, by default ACLs.
in_box systemctl stop tillsync
in_box gpasswd --delete tillsync pos >/dev/null
in_box chmod 0755 /var/lib/pos
in_box chmod g-s /var/lib/pos
in_box setpriv --reuid pos --regid pos --init-groups sqlite3 /var/lib/pos/pos.db 'PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null
[[ -z $(in_box find /var/lib/pos -name 'pos.db-*') ]] || fail "the application did not leave its database alone"
in_box setfacl -m u:tillsync:rwx,d:u:pos:rw,d:u:tillsync:rw,d:m::rwx /var/lib/pos
in_box systemctl start tillsync
until_so "the problem of permissions is said" says_permission
in_box setfacl -m u:tillsync:rw /var/lib/pos/pos.db
in_box systemctl restart tillsync
both_work "the folder's default ACL"
said "as a user of its own: refused without, at work with a shared group and with default ACLs"

if in_box journalctl --no-pager -u tillsync | grep -i "not permitted\|bad system call"; then
  fail "the sandbox forbids what it needs"
fi
said "all $(sales) sales are in the store, and come back"
said "memory $(in_box sh -c "grep VmRSS /proc/$(property MainPID)/status" | tr -s ' \t' ' ')"
echo PASSED
