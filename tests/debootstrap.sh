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
# shellcheck source=tests/bare.sh
. "$(dirname "$0")/bare.sh"
bare_work "$suite"
root=$work/root

step "$suite: debootstrap"
bare_debian "$suite" "$root"
bare_mount "$root"

git clone --quiet --no-hardlinks "$repository" "$root/root/walpush"

step "$suite: apt-get install make git ca-certificates"
inside "$root" apt-get update -q
inside "$root" apt-get install -y -q --no-install-recommends make git ca-certificates

step "$suite: make run, until the first message"
inside "$root" env TRY_MESSAGES=1 make -C /root/walpush run

for target in "${targets[@]}"; do
    step "$suite: make $target"
    inside "$root" make -C /root/walpush "$target"
done
step "$suite: all of it works"
