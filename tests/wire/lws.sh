#!/bin/sh
# Builds Debian's libwebsockets with AddressSanitizer: tests/wire/lws.sh DIRECTORY
#
# The source package of the very version that is installed, with the distribution's own options, except that libuv is built in and not
# a plugin. DIRECTORY/lib then holds the library; nothing outside DIRECTORY is changed, and a second call does nothing. Sources are
# asked for at the mirrors that this machine has its packages from, by a list of sources of this script's own.
set -eu

directory=${1:?which directory?}
version=$(dpkg-query -W -f '${source:Version}' libwebsockets-dev)
stamp="$version $(${CC:-cc} -dumpfullversion)"

fail() {
    echo "walpush: libwebsockets with AddressSanitizer: $*" >&2
    exit 1
}

if [ "$(cat "$directory/built" 2>/dev/null)" = "$stamp" ]; then
    exit 0
fi
for tool in dpkg-source cmake; do
    command -v $tool >/dev/null || fail "$tool is missing: make deps-test"
done

rm -rf "$directory"
mkdir -p "$directory/apt/lists/partial" "$directory/apt/archives/partial" "$directory/source" "$directory/build"
directory=$(cd "$directory" && pwd)
log=$directory/log

# Where the keys are named by their file, apt wants them named again.
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
signed=$([ -f $keyring ] && echo "[signed-by=$keyring] " || true)
apt-get indextargets --format "deb-src $signed\$(REPO_URI) \$(RELEASE) \$(COMPONENT)" 'Created-By: Packages' 'Origin: Debian' |
    sort -u >"$directory/apt/sources.list"
[ -s "$directory/apt/sources.list" ] || fail "apt knows no mirror of Debian's; run 'apt-get update' first"

apt() {
    apt-get -q -o Acquire::Retries=3 -o Dir::Etc::sourcelist="$directory/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$directory/apt/lists" -o Dir::Cache="$directory/apt" -o APT::Sandbox::User=root "$@" >>"$log" 2>&1 </dev/null
}

echo "walpush: building libwebsockets $version with AddressSanitizer"
apt update || fail "the lists of sources cannot be downloaded, see $log"
(cd "$directory/source" && apt source "libwebsockets=$version") || fail "the source cannot be downloaded, see $log"

# The options that decide what the library's headers look like are those of the distribution.
source=$(find "$directory/source" -mindepth 1 -maxdepth 1 -type d)
options=$(grep -o -- '-DLWS_[A-Z0-9_]*=[A-Z]*' "$source/debian/rules" | grep -v -e LIBEV= -e GLIB= -e LIBEVENT= -e SDEVENT=)
flags="-g -O1 -fno-omit-frame-pointer -fno-strict-aliasing -fsanitize=address -Wno-error"
# shellcheck disable=SC2086 # a list of options
(cd "$directory/build" &&
    cmake "$source" $options -DLWS_WITH_LIBUV=ON -DLWS_WITH_EVLIB_PLUGINS=OFF -DLWS_WITH_GLIB=OFF -DLWS_WITH_LIBEV=OFF \
        -DLWS_WITHOUT_TESTAPPS=ON -DLWS_WITH_MINIMAL_EXAMPLES=OFF -DLWS_WITH_STATIC=OFF -DDISABLE_WERROR=ON -DCMAKE_BUILD_TYPE=None \
        -DCMAKE_C_COMPILER="$(command -v "${CC:-cc}")" -DCMAKE_C_FLAGS="$flags" -DCMAKE_SHARED_LINKER_FLAGS=-fsanitize=address &&
    make -j"$(nproc)" websockets_shared) >>"$log" 2>&1 </dev/null || fail "it does not build, see $log"

# The program was compiled with the installed headers: structures must look alike.
layout() {
    cat >"$directory/build/layout.c" <<'C'
#include <libwebsockets.h>
#include <stddef.h>
#include <stdio.h>
int main(void)
{
	printf("%zu %zu %zu\n", sizeof(struct lws_context_creation_info), offsetof(struct lws_context_creation_info, pcontext),
	       sizeof(struct lws_protocols));
}
C
    "${CC:-cc}" "$@" -o "$directory/build/layout" "$directory/build/layout.c" && "$directory/build/layout"
}
# shellcheck disable=SC2046 # a list of options
[ "$(layout -I"$directory/build/include" $(pkg-config --cflags libuv libssl))" = \
    "$(layout $(pkg-config --cflags libwebsockets libuv libssl))" ] || fail "its structures are not those of the installed headers"

mkdir -p "$directory/lib"
cp -P "$directory"/build/lib/libwebsockets.so* "$directory/lib"
rm -rf "$directory/apt" "$directory/build"
echo "$stamp" >"$directory/built"
