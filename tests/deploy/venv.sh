#!/bin/sh
# Makes build/venv-deploy for the tests here, from PyPI; does nothing while requirements.txt stays the same.
set -eu
cd "$(dirname "$0")/../.."
wanted=tests/deploy/requirements.txt
venv=build/venv-deploy
stamp=$venv/requirements.txt

if cmp -s "$wanted" "$stamp" && "$venv/bin/python" -c '' 2>/dev/null; then
    exit 0
fi
echo "walpush: installing $wanted into $venv"
# With the distribution's packages in sight: pytest comes from there.
"${PYTHON:-/usr/bin/python3}" -m venv --clear --system-site-packages "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --retries 5 -r "$wanted"
cp "$wanted" "$stamp"
