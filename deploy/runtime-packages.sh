#!/bin/sh
# Which of Debian's packages a program needs to run: those that hold the libraries it is linked with. For an image that has them
# and nothing else; where it is built, because there they are installed.
#
#   deploy/runtime-packages.sh build/walpush
set -eu

ldd "$1" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | xargs -n 1 readlink -f | while read -r library; do
    # Debian 12 knows some libraries under /lib, which is a link to /usr/lib.
    { dpkg-query -S "$library" || dpkg-query -S "${library#/usr}"; } 2>/dev/null | sed 's/:.*//'
done | sort -u
# Loaded by name, so ldd does not know it: libwebsockets' event loop.
echo libwebsockets-evlib-uv
