#!/bin/bash
# walpush through PgBouncer in session mode: tests/deploy/pooler.sh
#
# Debian 13's PgBouncer carries replication, Debian 12's does not. So it is installed in a bare Debian 13, which shares this machine's network, and
# tests/integration/test_pgbouncer.py runs it there. Needs root and the debootstrap package; takes a minute or two.
set -euo pipefail

# shellcheck source=tests/bare.sh
. "$(dirname "$0")/../bare.sh"
bare_work pooler
root=$work/root

step "trixie: debootstrap"
bare_debian trixie "$root"
bare_mount "$root"
inside "$root" apt-get update -q
inside "$root" apt-get install -y -q --no-install-recommends pgbouncer

step "$(inside "$root" pgbouncer --version | head -n 1)"
cd "$repository"
PGBOUNCER_SYSTEM=$root WALPUSH_BINARY=${WALPUSH_BINARY:-$repository/build/dev/walpush} \
    "${PYTHON:-/usr/bin/python3}" -m pytest -p no:cacheprovider -q tests/integration/test_pgbouncer.py
