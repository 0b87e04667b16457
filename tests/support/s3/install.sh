#!/usr/bin/env bash
# Installs what the S3 tests need from Debian 12: two real servers, Ceph RGW and Swift with its S3 interface. Nothing
# happens where they are there already. The packages would start services of their own, on fixed ports and all
# interfaces: while they are installed, policy-rc.d forbids it.
set -euo pipefail

readonly -a packages=(radosgw ceph-mon ceph-osd swift-proxy swift-account swift-container swift-object memcached openssl)
readonly policy=/usr/sbin/policy-rc.d

installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null || true)
missing=()
for package in "${packages[@]}"; do
  grep -qx "installed $package" <<<"$installed" || missing+=("$package")
done
[[ ${#missing[@]} -eq 0 ]] && exit 0

if [[ $(id -u) -ne 0 ]]; then exec sudo "${BASH_SOURCE[0]}"; fi
made_policy=
forget_policy() { if [[ -n $made_policy ]]; then rm -f "$policy"; fi; }
trap forget_policy EXIT
if [[ ! -e $policy ]]; then
  made_policy=yes
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
fi
printf '%s\n' "installing the S3 test servers: ${missing[*]}" >&2
apt-get -o DPkg::Lock::Timeout=900 -q update </dev/null >/dev/null || true
DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=900 -q -y --no-install-recommends install "${missing[@]}" \
  </dev/null >/dev/null
