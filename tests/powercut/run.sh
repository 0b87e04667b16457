#!/usr/bin/env bash
# A till in a virtual machine loses its power, again and again: `./dev powercut [TIMES]`.
#
# The machine is Debian's own kernel under qemu (TCG: no hardware support is asked for), with the agent as it is installed
# and a till that sells with synchronous=FULL. The power cut is SIGKILL of qemu: what the machine had written and not
# flushed stays in its memory, and is gone. The disk image goes on through all cuts. At each start guest.cpp looks
# whether the agent is well and has all that was promised; what was promised comes over serial lines, and lies outside of
# the image.
#
#   POWERCUT_SEED=N  the cuts of an earlier run: the moments are the same only as far as the machine's speed is
#
# Needs root (mmdebstrap, device nodes of the image). Everything lies in build/powercut.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly times=${1:?how many cuts}
readonly work=$PWD/build/powercut
readonly programs=$PWD/build/release/bin
readonly seed=${POWERCUT_SEED:-$((RANDOM << 15 | RANDOM))}
readonly packages=linux-image-cloud-amd64,initramfs-tools,iproute2,libstdc++6
# Without any sign of life: a machine on a busy host may be slow for as long as it gets on.
readonly patience_seconds=120
readonly boot_seconds=180
readonly boots_max=4

say() { printf '%s\n' "powercut: $*"; }
machine=
end_machine() {
  [[ -n $machine ]] || return 0
  kill -KILL "$machine" 2>/dev/null || true
  wait "$machine" 2>/dev/null || true
  machine=
}
trap end_machine EXIT
fail() {
  say "$*"
  tail -n 80 "$work/events" >&2 || true
  say "seed $seed; the image is $work/till.img, the events of this start are in $work/events, the kernel's words in $work/console"
  exit 1
}

# Debian, made once.
make_root() {
  if [[ -f $work/root.packages && $(<"$work/root.packages") == "$packages" ]]; then return; fi
  [[ $(id -u) -eq 0 ]] || { say "to make the virtual machine needs root"; exit 1; }
  say "making a Debian for the virtual machine (a minute)"
  rm -rf "$work/root" "$work/root.packages"
  local mirror
  mirror=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/*.sources 2>/dev/null | head -n 1)
  mmdebstrap --quiet --variant=minbase --aptopt='Acquire::Languages "none"' --include="$packages" bookworm "$work/root" \
    ${mirror:+"$mirror"} </dev/null
  printf '%s\n' "$packages" >"$work/root.packages"
}

# An image without a past, with the agent as it was built.
make_image() {
  local program library
  install -d "$work/root/opt/tillsync/lib"
  install -m 0755 tests/powercut/init.sh "$work/root/opt/tillsync/init"
  for program in tillsyncd tillsync pos_writer powercut_guest; do
    install -m 0755 "$programs/$program" "$work/root/opt/tillsync/"
    # Libraries that the image's packages do not bring.
    ldd "$programs/$program" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | while read -r library; do
      if [[ ! -e $work/root$library ]]; then install -m 0644 "$library" "$work/root/usr/lib/x86_64-linux-gnu/"; fi
    done
  done
  rm -f "$work/till.img"
  mkfs.ext4 -q -d "$work/root" "$work/till.img" 2G </dev/null >/dev/null
}

# facts [last]: what the next start is told; a disk has whole sectors.
facts() {
  { printf 'seed %s\n' "$RANDOM$RANDOM"; cat "$work/sold" "$work/durable"; [[ ${1:-} == last ]] && echo last; true; } >"$work/facts.new"
  truncate -s %4096 "$work/facts.new"
  # Something beyond the last line, so that its end is seen.
  truncate -s +4096 "$work/facts.new"
  mv "$work/facts.new" "$work/facts"
}

switch_on() {
  : >"$work/events"
  : >"$work/sales"
  qemu-system-x86_64 -accel tcg,thread=multi -cpu max -m 768 -smp 2 -display none -no-reboot -nic none -monitor none \
    -kernel "$work"/root/boot/vmlinuz-* -initrd "$work"/root/boot/initrd.img-* \
    -append 'root=/dev/vda rw fsck.mode=skip init=/opt/tillsync/init console=ttyS0 quiet panic=-1 no_timer_check random.trust_cpu=on' \
    -drive "file=$work/till.img,if=virtio,format=raw,cache=writeback" \
    -drive "file=$work/facts,if=virtio,format=raw,readonly=on" \
    -serial "file:$work/console" -serial "file:$work/events" -serial "file:$work/sales" \
    </dev/null >"$work/qemu.log" 2>&1 {lock}>&- &
  machine=$!
}

# has_begun: the till's first line is there. A busy host starves the kernel of its first ticks, and it stops before there
# is a till: then the machine is switched off and on, a few times.
has_begun() {
  if grep -a -q '^up' "$work/events"; then return 0; fi
  ((SECONDS - on > boot_seconds)) || return 1
  ((boots < boots_max)) || fail "the machine did not start, $boots times"
  say "the machine did not start in $boot_seconds s: switched off and on"
  end_machine
  switch_on
  boots=$((boots + 1))
  on=$SECONDS
  return 1
}

# wait_for REGEX [SECONDS]: 0 when a line of the events has it; 1 when the time is over. Without a time it is waited for as
# long as the till gets on, and a till that does not is a failure.
wait_for() {
  local on=$SECONDS boots=1 last=$SECONDS seen='' now
  local began=$SECONDS
  while ! grep -a -Eq "$1" "$work/events"; do
    now=$(stat -c %s "$work/events")
    if [[ $now != "$seen" ]]; then
      seen=$now
      last=$SECONDS
    fi
    if has_begun && [[ -z ${2:-} ]] && ((SECONDS - last > patience_seconds)); then
      fail "no $1, and nothing new for $patience_seconds s, after: $(tail -n 1 "$work/events")"
    fi
    if grep -a -q '^ended [1-9]' "$work/events"; then wait_for '^off' 60 || true; fail "the till is not well"; fi
    kill -0 "$machine" 2>/dev/null || fail "the machine ended: $(tail -n 3 "$work/qemu.log" "$work/console")"
    if [[ -n ${2:-} ]] && ((SECONDS - began >= $2)); then return 1; fi
    sleep 0.1
  done
}

# Whole lines only: the last one may be cut as well.
whole_lines() { head -n "$(wc -l <"$2")" "$2" | sed -n "$1"; }

pause_ms() { sleep "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))"; }

declare -A hits=([start]=0 [recovery]=0 [backup]=0 [restore]=0 [idle]=0)

# What the cut hit, by the last events.
where_it_was() {
  if ! grep -a -q '^up' "$work/events"; then echo start; return; fi
  if ! grep -a -q '^recovered' "$work/events"; then echo recovery; return; fi
  local last
  last=$(whole_lines '/^\(begin\|end\) /p' "$work/events" | tail -n 1)
  if [[ $last == begin\ * ]]; then echo "${last#begin }"; else echo idle; fi
}

mkdir -p "$work"
exec {lock}>"$work/lock"
flock -n "$lock" || { say "another run is using $work"; exit 1; }
make_root
make_image
: >"$work/sold"
: >"$work/durable"
: >"$work/all-events"
RANDOM=$((seed % 32768))
say "seed $seed, $times cuts"
start_seconds=20
for ((cut = 1; cut <= times; cut++)); do
  facts
  switch_on
  began=$SECONDS
  # One in six while the machine starts or the agent recovers; not before the shop is there at all.
  if ((cut > 1 && RANDOM % 6 == 0)); then
    wait_for '^recovered' $((RANDOM % start_seconds)) || true
    pause_ms $((RANDOM % 1000))
  else
    wait_for '^recovered'
    start_seconds=$((SECONDS - began + 1))
    pause_ms $((RANDOM % 20000))
  fi
  kill -0 "$machine" 2>/dev/null || fail "the machine ended by itself"
  end_machine
  if grep -a -q '^ended' "$work/events"; then fail "the till ended"; fi
  hit=$(where_it_was)
  hits[$hit]=$((hits[$hit] + 1))
  cat "$work/events" >>"$work/all-events"
  whole_lines '/^sold /p' "$work/sales" >>"$work/sold"
  whole_lines '/^durable /p' "$work/events" >>"$work/durable"
  say "cut $cut: $hit; $(wc -l <"$work/sold") sales and $(wc -l <"$work/durable") snapshots reported so far; start $start_seconds s; $(grep -a '^recovered' "$work/events" | head -n 1)"
done
facts last
switch_on
wait_for '^well'
wait_for '^off'
grep -a '^recovered' "$work/events"
say "all is well after $times cuts: ${hits[backup]} in a backup, ${hits[restore]} in a restore in place, ${hits[idle]} while the agent only followed, ${hits[recovery]} while it recovered, ${hits[start]} while the machine started; $(wc -l <"$work/sold") sales and $(wc -l <"$work/durable") snapshots had been reported; seed $seed"
