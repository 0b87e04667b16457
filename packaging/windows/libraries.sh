#!/usr/bin/env bash
# The libraries of the Windows programs, as static ones: zstd, OpenSSL and curl from Debian's source packages with Debian's
# patches, which is where their security fixes are. Headers of what is headers only are linked in from the system's packages:
# /usr/include as a whole belongs to another C library.
#
#   libraries.sh FOLDER [JOBS]     → FOLDER/include, FOLDER/lib; what is there already, from the same sources, stays
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "${1:?FOLDER}"
folder=$(cd "$1" && pwd)
readonly here folder jobs=${2:-$(nproc)}
readonly toolchain=$here/../../cmake/toolchains/windows.cmake
readonly target=x86_64-w64-mingw32
readonly sources=$folder/sources work=$folder/work

say() { printf '%s\n' "libraries: $*" >&2; }
fail() { say "$*"; exit 1; }

# fetch NAME...: source packages, by the system's own list of archives, in a copy that asks for sources.
fetch() {
  local apt=$sources/apt name version got
  local -a options
  mkdir -p "$apt/list.d" "$apt/lists/partial" "$apt/cache/archives/partial"
  if [[ -f /etc/apt/sources.list.d/debian.sources ]]; then
    sed -E 's/^Types:.*/Types: deb-src/' /etc/apt/sources.list.d/debian.sources >"$apt/list.d/debian.sources"
  fi
  if [[ -s /etc/apt/sources.list ]]; then
    sed -nE 's/^deb[[:space:]]/deb-src /p' /etc/apt/sources.list >"$apt/list.d/debian.list"
  fi
  options=(-o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$apt/list.d" -o Dir::Etc::PreferencesParts=/dev/null
    -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User= -o Acquire::Languages=none
    -o Acquire::Retries=3 -o Debug::NoLocking=1)
  apt-get "${options[@]}" -qq update
  for name in "$@"; do
    # An archive may list a version whose files are not there yet, or any more: the newest that can be had.
    got=
    for version in $(apt-cache "${options[@]}" showsrc --only-source "$name" | sed -n 's/^Version: //p' | sort -rVu); do
      rm -f -- "$sources/${name}_"*
      if (cd "$sources" && apt-get "${options[@]}" -qq --only-source --download-only source "$name=$version"); then
        got=$version
        break
      fi
      say "$name $version can't be had, trying an older one"
    done
    [[ -n $got ]] || fail "no sources of $name"
  done
  rm -rf "$apt"
}

# step NAME: build_NAME in its unpacked sources, unless it was done with these sources and this script.
step() {
  local name=$1 description key started=$SECONDS status
  description=$(find "$sources" -maxdepth 1 -name "${name}_*.dsc")
  key=$(cat "$description" "$here/libraries.sh" "$toolchain" <("$target-gcc-posix" --version) | sha256sum)
  if [[ -f $folder/$name.done && $(<"$folder/$name.done") == "$key" ]]; then return; fi
  mkdir -p "$work"
  rm -rf "${work:?}/$name"
  dpkg-source --no-check -x "$description" "$work/$name" >"$work/$name.log" 2>&1
  # Not "( … ) || …", in which a failure would go unseen.
  set +e
  (set -ex && cd "$work/$name" && "build_$name") >>"$work/$name.log" 2>&1
  status=$?
  set -e
  if [[ $status -ne 0 ]]; then
    tail -n 40 "$work/$name.log" >&2
    fail "$name could not be built: $work/$name.log"
  fi
  rm -rf "${work:?}/$name"
  printf '%s\n' "$key" >"$folder/$name.done"
  say "$(basename "$description" .dsc) in $((SECONDS - started)) s"
}

with_cmake() {
  cmake -B b -G Ninja -DCMAKE_TOOLCHAIN_FILE="$toolchain" -DTILLSYNC_WINDOWS_LIBRARIES="$folder" -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_INSTALL_PREFIX="$folder" "$@"
  cmake --build b -j "$jobs"
  cmake --install b
}

build_libzstd() {
  with_cmake -S build/cmake -DZSTD_BUILD_SHARED=OFF -DZSTD_BUILD_STATIC=ON -DZSTD_BUILD_PROGRAMS=OFF -DZSTD_LEGACY_SUPPORT=OFF \
    -DZSTD_MULTITHREAD_SUPPORT=ON
}

# Without what tillsync never asks for: each is code that could be wrong.
build_openssl() {
  CC=gcc-posix AR=gcc-ar-posix RANLIB=gcc-ranlib-posix ./Configure mingw64 --cross-compile-prefix=$target- --prefix="$folder" \
    --libdir=lib --openssldir=C:/nowhere no-shared no-tests no-module no-engine no-dso no-legacy no-comp no-ssl3 no-tls1 no-tls1_1 \
    no-dtls no-srp no-psk no-weak-ssl-ciphers no-idea no-seed no-camellia no-aria no-bf no-cast no-rc2 no-rc4 no-md4 no-mdc2 \
    no-whirlpool no-rmd160 no-sm2 no-sm3 no-sm4 no-gost no-ui-console no-cms no-ts no-cmp -D_WIN32_WINNT=0x0A00
  make -j "$jobs" build_generated
  make -j "$jobs" libcrypto.a libssl.a
  make install_dev
}

build_curl() {
  with_cmake -S . -DBUILD_SHARED_LIBS=OFF -DBUILD_CURL_EXE=OFF -DBUILD_TESTING=OFF -DHTTP_ONLY=ON -DCURL_USE_OPENSSL=ON \
    -DCURL_USE_SCHANNEL=OFF -DCURL_ZLIB=OFF -DCURL_BROTLI=OFF -DCURL_ZSTD=OFF -DUSE_NGHTTP2=OFF -DCURL_USE_LIBPSL=OFF \
    -DCURL_USE_LIBSSH2=OFF -DCURL_USE_LIBSSH=OFF -DUSE_LIBIDN2=OFF -DUSE_WIN32_IDN=ON -DENABLE_UNICODE=ON -DENABLE_MANUAL=OFF \
    -DCURL_CA_BUNDLE=none -DCURL_CA_PATH=none
}

link_headers() {
  local name
  mkdir -p "$folder/include"
  for name in boost CLI doctest fmt nlohmann spdlog toml++; do
    [[ -d /usr/include/$name ]] || fail "no headers in /usr/include/$name"
    ln -sfn "/usr/include/$name" "$folder/include/$name"
  done
}

# Sources of a day are good for that build: newer ones are fetched when the folder is made anew.
if [[ ! -f $sources/complete ]]; then
  mkdir -p "$sources"
  fetch libzstd openssl curl
  touch "$sources/complete"
fi
step libzstd
step openssl
step curl
link_headers
