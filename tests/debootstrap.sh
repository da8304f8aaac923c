#!/bin/bash
# What a stranger with a bare Debian meets: tests/debootstrap.sh bookworm|trixie [TARGET...]
#
# Builds a minimal system in a temporary directory, clones HEAD into it, installs make and git with apt, and runs
# `make run` until the first pushed message and then `make test` (or the targets given), as root, without an init.
# Needs root and the debootstrap package; takes some minutes and about 2 GB below TMPDIR (default /var/tmp).
# KEEP=1 keeps the directory, so that one can look into it.
set -euo pipefail

suite=${1:?which suite? bookworm or trixie}
shift
targets=("${@:-test}")
# The mirror that this machine itself uses; MIRROR names another.
mirror=${MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1)}
repository=$(cd "$(dirname "$0")/.." && pwd)
root=$(mktemp -d "${TMPDIR:-/var/tmp}/walpush-$suite-XXXXXX")

finish() {
    # Ours, and what an interrupted debootstrap left.
    awk -v root="$root/" 'index($2, root) == 1 { print $2 }' /proc/mounts | sort -r | while read -r directory; do
        umount "$directory" 2>/dev/null || umount --lazy "$directory"
    done
    rm -f "$root.log"
    if [ -n "${KEEP:-}" ]; then
        echo "kept: $root"
    else
        # Never into a mounted file system: that would be the host's own.
        rm -rf --one-file-system "$root"
    fi
}
trap finish EXIT
chmod 755 "$root" # it becomes the / of other users than root

inside() {
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root chroot "$root" "$@" </dev/null
}

step() {
    echo "==== $suite: $*"
}

step debootstrap
debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$root.log" 2>&1 || {
    cat "$root.log"
    exit 1
}

# The network settings of this machine, a proxy for apt among them.
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
apt-config dump | grep '^Acquire::http' >"$root/etc/apt/apt.conf.d/99host" || true
# And whom it trusts besides: a proxy may sign for the registries of pip and npm.
mkdir -p "$root/usr/local/share/ca-certificates"
find /usr/local/share/ca-certificates -name '*.crt' -exec cp -L {} "$root/usr/local/share/ca-certificates/" \;
mount --bind /proc "$root/proc"
mount --bind /dev "$root/dev"

git clone --quiet --no-hardlinks "$repository" "$root/root/walpush"

step "apt-get install make git ca-certificates"
inside apt-get update -q
inside env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends make git ca-certificates

step "make run, until the first message"
inside env TRY_MESSAGES=1 make -C /root/walpush run

for target in "${targets[@]}"; do
    step "make $target"
    inside make -C /root/walpush "$target"
done
step "all of it works"
