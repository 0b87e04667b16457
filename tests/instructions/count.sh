#!/usr/bin/env bash
# Counts the instructions of the hot paths and compares them with recorded.txt: more or fewer by 5 % than recorded is a
# failure. --record writes what was counted.
#
#   count.sh HOT_PATHS [--record]
#
# Instructions, and not time: the same on a busy machine and on another one. valgrind shows every program the same
# processor, so what libraries choose by its features is chosen alike.
set -euo pipefail

readonly program=$1 record=${2:-}
readonly recorded=$(dirname "${BASH_SOURCE[0]}")/recorded.txt
readonly tolerance=5 # percent

if [[ $(uname -m) != x86_64 ]]; then
  echo "instructions: recorded on x86_64, this is $(uname -m): nothing to compare" >&2
  exit 0
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# What one unit of a path takes, and what the unit is.
count() {
  local units name counted
  valgrind --tool=callgrind --collect-atstart=no --toggle-collect=hot_path --callgrind-out-file="$folder/$1.out" \
    --log-file="$folder/$1.log" "$program" "$1" </dev/null >"$folder/$1.units" || true
  read -r units name <"$folder/$1.units" || true
  counted=$(sed -n 's/.* Collected : \([0-9]*\).*/\1/p' "$folder/$1.log")
  if [[ -z ${units:-} || -z $counted || $counted -lt 1000 ]]; then
    cat "$folder/$1.log" >&2
    echo "instructions: $1 could not be counted" >&2
    return 1
  fi
  echo "$((counted / units)) $name"
}

failed=''
: >"$folder/recorded.txt"
for path in $("$program"); do
  counted=$(count "$path")
  read -r now name <<<"$counted"
  printf '%s %s %s\n' "$path" "$now" "$name" >>"$folder/recorded.txt"
  before=$(sed -n "s/^$path \([0-9]*\) .*/\1/p" "$recorded" 2>/dev/null || true)
  if [[ -z $before ]]; then
    verdict='not recorded'
  else
    verdict=$(awk -v now="$now" -v before="$before" 'BEGIN { printf "%+.1f %%", 100 * (now - before) / before }')
    if ((now * 100 <= before * (100 + tolerance) && now * 100 >= before * (100 - tolerance))); then verdict+=', as recorded'; fi
  fi
  printf '%-10s %12d instructions a %s (%s)\n' "$path" "$now" "$name" "$verdict"
  [[ $verdict == *'as recorded' ]] || failed+=" $path"
done

if [[ $record == --record ]]; then
  cp "$folder/recorded.txt" "$recorded"
  echo "recorded in $recorded"
elif [[ -n $failed ]]; then
  echo "instructions: not within $tolerance % of what is recorded:$failed" >&2
  echo "Where a change means it, record the new counts with it: ./dev instructions --record" >&2
  echo "Else find out where they go: valgrind --tool=callgrind --collect-atstart=no --toggle-collect=hot_path $program PATH, then callgrind_annotate" >&2
  exit 1
fi
