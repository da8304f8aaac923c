#!/bin/sh
# Installs the peers of the benchmarks below a directory: a virtual environment and a node_modules. Does nothing where
# they are there already, in the versions asked for.
#
#   tests/bench/peers/install.sh build/bench
set -eu

here=$(cd "$(dirname "$0")" && pwd)
to=$1
python=${PYTHON:-/usr/bin/python3}

mkdir -p "$to/node"
if ! cmp -s "$here/requirements.txt" "$to/venv/requirements.txt"; then
    echo "walpush: installing Django Channels into $to/venv"
    rm -rf "$to/venv"
    "$python" -m venv "$to/venv"
    "$to/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$to/venv/requirements.txt"
fi
if ! cmp -s "$here/package-lock.json" "$to/node/node_modules/package-lock.json"; then
    echo "walpush: installing ws into $to/node"
    cp "$here/package.json" "$here/package-lock.json" "$to/node/"
    (cd "$to/node" && npm ci --silent --no-audit --no-fund)
    cp "$here/package-lock.json" "$to/node/node_modules/package-lock.json"
fi
