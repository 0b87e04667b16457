#!/bin/zsh -f
# zsh itself completes: a shell in a terminal of its own, where somebody types and presses Tab.
# usage: zsh_test.sh FOLDER   with _tillsync and _tillsyncd in it
zmodload zsh/zpty
export TERM=vt100
folder=${1:A}

# shows TEXT: the shell's terminal shows it before a minute is over.
shows() {
  local chunk seen
  local -i deadline=$((SECONDS + 60))
  while [[ $seen != *"$1"* ]]; do
    ((SECONDS < deadline)) || return 1
    if zpty -r -t shell chunk; then seen+=${chunk//$'\0'/}; else sleep 0.02; fi
  done
}
zpty -b shell zsh -f -i
zpty -w shell "PS1='> '; RPS1=; fpath=($folder \$fpath); autoload -Uz compinit; compinit -D -u; print re''ady"
shows ready || { print -u2 "zsh: no shell"; exit 1 }

# check LINE GOES_ON: with Tab behind it, LINE becomes GOES_ON.
check() {
  zpty -w -n shell $'\x15'"$1"$'\t'
  shows "$2" || { print -u2 "zsh: '$1' does not become '$2'"; failed=1 }
}
failed=0
check 'tillsync back' 'tillsync backup'
check 'tillsync backup --ty' 'tillsync backup --type'
check 'tillsync backup --type diff' 'tillsync backup --type differential'
check 'tillsync keys ro' 'tillsync keys rotate'
check 'tillsync --json workfl' 'tillsync --json workflows'
check 'tillsyncd --check' 'tillsyncd --check-config'
exit $failed
