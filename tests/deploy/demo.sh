#!/bin/bash
# `make demo` as a stranger meets it, in a bare Debian with its own Node.js and npm: tests/deploy/demo.sh bookworm|trixie
#
# Clones HEAD into a minimal system, installs make with apt, and runs `make demo` twice, each time up to somebody's first page in
# Chromium and then Ctrl-C, after which nothing may be left: see first_page.py. Chromium is this machine's, which shares its network
# with the system below. SCREENSHOTS names a directory for pictures of the pages. Needs root and the debootstrap package; takes some
# minutes and about 2 GB below TMPDIR. BARE_ENV="npm_config_registry=…" tells npm and pip there what they must know about this network.
set -euo pipefail

suite=${1:?which suite? bookworm or trixie}
# shellcheck source=tests/bare.sh
. "$(dirname "$0")/../bare.sh"
bare_work "demo-$suite"
root=$work/root

step "$suite: debootstrap"
bare_debian "$suite" "$root"
bare_mount "$root"

git clone --quiet --no-hardlinks "$repository" "$root/root/walpush"

step "$suite: apt-get install make"
inside "$root" apt-get update -q
inside "$root" apt-get install -y -q make

make --no-print-directory -C "$repository" tests/e2e/node_modules/.package-lock.json
bare_command "$root" make -C /root/walpush demo
for call in first second; do
    step "$suite: make demo, the $call call"
    python3 "$repository/tests/deploy/first_page.py" --root "$root" --picture "${SCREENSHOTS:-$work}/demo-$suite-$call.png" \
        -- "${command[@]}"
done
step "$suite: all of it works, with npm $(inside "$root" npm --version)"
