#!/bin/sh
# Makes build/venv, the Python environment of the demo's backend and of the tests that use it: `make demo-deps`.
# Packages come from PyPI, pinned in backend/requirements.txt. Called again it does nothing until these change.
set -eu
cd "$(dirname "$0")/../.."
python=${PYTHON:-/usr/bin/python3}
wanted=deploy/demo/backend/requirements.txt
venv=build/venv
stamp=$venv/requirements.txt

if cmp -s "$wanted" "$stamp" && "$venv/bin/python" -c '' 2>/dev/null; then
    exit 0
fi
echo "walpush: installing $wanted into $venv"
# With the distribution's packages in sight: the tests need pytest and psycopg2 from there.
"$python" -m venv --clear --system-site-packages "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --retries 5 -r "$wanted"
cp "$wanted" "$stamp"
