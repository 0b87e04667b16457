#!/usr/bin/env bash
# wine.sh PROGRAM [ARGUMENT...]: a Windows program on Debian, in a Windows of its own in $WINEPREFIX, which is made at the first
# call. ctest's emulator for what is built for Windows.
set -euo pipefail
: "${WINEPREFIX:?a folder for a Windows}"
export WINEPREFIX WINEDEBUG=-all WINEDLLOVERRIDES=mscoree,mshtml=
wine=/usr/lib/wine/wine64
[[ -x $wine ]] || { echo "wine.sh: no $wine: apt-get install wine64" >&2; exit 1; }
ready=$WINEPREFIX/ready
if [[ ! -f $ready ]]; then
  mkdir -p "$WINEPREFIX"
  (
    flock 9
    [[ -f $ready ]] || {
      "$wine" wineboot -i >/dev/null 2>&1
      # Its own default is Windows 7.
      "$wine" reg add 'HKCU\Software\Wine' /v Version /d win10 /f >/dev/null 2>&1
      touch "$ready"
    }
  ) 9>"$WINEPREFIX/lock"
fi
exec "$wine" "$@"
