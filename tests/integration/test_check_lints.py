"""`walpush check` reads the configuration with suspicion: each doubtful set-up is found, with its line, and good ones are left alone."""

import json
import re

import pytest

from harness.walpush import SIGNING_KEY, run_to_end, shipped_config

ENV = {"DATABASE_URL": "postgresql://walpush@127.0.0.1/app", "JWT_SIGNING_KEY": SIGNING_KEY}

# --- all errors of a file -----------------------------------------------------------------------------------------

def lines_of(text):
    return [int(line) for line in re.findall(r"sidecar\.conf:(\d+): ", text)]

@pytest.fixture
def many_errors(tmp_path):
    """One for conf, one for a template, one for a query, in the order of the options; the file has them in another order."""
    config = shipped_config()
    config.set("limits.stall", "soon").set("streams.crates.groups", ["crates_unit_{path.unit}"])
    config.set("tables.requests.lookup", "SELECT {token.user_id} AS unit_id").set("tables.storages.colums", ["id"])
    return config.write(tmp_path / "sidecar.conf")

def test_all_errors_are_said_in_the_order_of_lines(many_errors):
    for args in (("--offline",), ()):
        done = run_to_end("check", "-c", many_errors, *args, env=ENV)
        assert done.returncode == 2
        assert done.stdout.splitlines()[-1] == "4 failures, 0 warnings"
        lines = lines_of(done.stdout)
        assert len(lines) == 4 and lines == sorted(lines), done.stdout
    report = json.loads(run_to_end("check", "-c", many_errors, "--offline", "--json", env=ENV).stdout)
    assert report["failures"] == 4
    assert [lines_of(finding["text"])[0] for finding in report["findings"]] == lines
    done = run_to_end("run", "-c", many_errors, env=ENV)
    assert done.returncode == 2 and lines_of(done.stderr) == lines
    done = run_to_end("sql", "-c", many_errors, env=ENV)
    assert done.returncode == 2 and lines_of(done.stderr) == lines[:1] and "and 3 more errors" in done.stderr

def test_the_list_of_errors_ends_somewhere(tmp_path):
    file = tmp_path / "sidecar.conf"
    file.write_text(shipped_config().text + "".join(f"nonsense{i} = {i}\n" for i in range(80)))
    for command, out in (("check", "stdout"), ("run", "stderr")):
        done = run_to_end(command, "-c", file, env=ENV)
        said = getattr(done, out)
        assert done.returncode == 2 and len(lines_of(said)) == 50 and "30 more errors" in said
    assert json.loads(run_to_end("check", "--json", "-c", file, env=ENV).stdout)["failures"] == 80
