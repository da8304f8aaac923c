#!/bin/bash
# The steps of deploy/Dockerfile, in two bare Debian 13 systems instead of images: the first builds, the second gets the runtime
# packages and the program, and runs it as the user of the image. Needs root and the debootstrap package; some minutes. KEEP=1
# keeps the directory.
set -euo pipefail

repository=$(cd "$(dirname "$0")/.." && pwd)
mirror=${MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1)}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/walpush-image-XXXXXX")

finish() {
    awk -v root="$work/" 'index($2, root) == 1 { print $2 }' /proc/mounts | sort -r | while read -r directory; do
        umount "$directory" 2>/dev/null || umount --lazy "$directory"
    done
    # Never into a mounted file system: that would be the host's own.
    if [ -n "${KEEP:-}" ]; then echo "kept: $work"; else rm -rf --one-file-system "$work"; fi
}
trap finish EXIT
chmod 755 "$work"

inside() {
    local root=$1
    shift
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive chroot "$root" "$@" </dev/null
}

echo "==== FROM debian:13-slim"
debootstrap --variant=minbase trixie "$work/base" "$mirror" >"$work/log" 2>&1 || {
    cat "$work/log"
    exit 1
}
cp -L /etc/resolv.conf "$work/base/etc/resolv.conf"
apt-config dump | grep '^Acquire::http' >"$work/base/etc/apt/apt.conf.d/99host" || true
cp -a "$work/base" "$work/build"
for root in base build; do
    mount --bind /proc "$work/$root/proc"
    mount --bind /dev "$work/$root/dev"
done

echo "==== COPY . . (what deploy/Dockerfile.dockerignore lets through)"
mkdir "$work/build/src"
(
    cd "$repository"
    shopt -s nullglob
    sed -n 's/^!//p' deploy/Dockerfile.dockerignore | while read -r pattern; do
        # shellcheck disable=SC2086 # patterns are meant to be expanded
        git ls-files $pattern
    done
) | (cd "$repository" && tar -cf - -T -) | tar -C "$work/build/src" -xf -

echo "==== RUN (build)"
inside "$work/build" sh -ec 'cd /src && deploy/install-deps.sh build'
inside "$work/build" sh -ec 'cd /src && make install PREFIX=/usr DESTDIR=/image \
    && deploy/runtime-packages.sh /image/usr/bin/walpush >/packages'

echo "==== RUN (runtime)"
cp "$work/build/packages" "$work/base/packages"
inside "$work/base" sh -ec 'apt-get update && xargs apt-get install -y --no-install-recommends ca-certificates </packages'
cp -a "$work/build/image/usr/bin/walpush" "$work/base/usr/bin/walpush"
mkdir -p "$work/base/etc/walpush"
cp "$work/build/image/etc/walpush/sidecar.conf.example" "$work/base/etc/walpush/sidecar.conf"

echo "==== USER 65532:65532, without a shell"
# Free when asked, which is near enough.
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
as_user=(
    env -i PATH=/usr/sbin:/usr/bin DATABASE_URL=postgresql://walpush@127.0.0.1:1/app JWT_SIGNING_KEY=0123456789abcdef0123456789abcdef
    WALPUSH_ADMIN_ADDRESS=0.0.0.0 WALPUSH_ADMIN_PORT="$port" WALPUSH_LISTEN_ADDRESS=127.0.0.1 WALPUSH_LISTEN_PORT=0
    chroot --userspec=65532:65532 "$work/base" /usr/bin/walpush
)
"${as_user[@]}" --version
"${as_user[@]}" sql -c /etc/walpush/sidecar.conf >"$work/setup.sql"
grep -q '^CREATE TEMP VIEW' "$work/setup.sql"
"${as_user[@]}" run -c /etc/walpush/sidecar.conf 2>"$work/walpush.log" &
program=$!
for _ in $(seq 100); do
    "${as_user[@]}" health -c /etc/walpush/sidecar.conf 2>/dev/null && healthy=yes && break
    sleep 0.1
done
kill "$program" 2>/dev/null || true
wait "$program" || true
[ "${healthy:-}" = yes ] || {
    cat "$work/walpush.log"
    exit 1
}
echo "==== all of it works: $(du -sm "$work/base" --one-file-system | cut -f1) MB"
