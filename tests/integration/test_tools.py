"""What runs the tests does what it says: lanes of parts, markers, and the list of what coverage leaves out."""

import importlib.util
import re
import subprocess
import sys

import pytest

from harness.walpush import ROOT


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_parts(*words):
    done = subprocess.run([sys.executable, ROOT / "tests/run.py", "parts", *words], stdout=subprocess.PIPE, text=True, timeout=60)
    return done.returncode, done.stdout


def test_lanes_run_side_by_side_and_are_counted(tmp_path):
    """Neither of the two ends before the other has begun. What is in COUNTED counts, in whatever lane."""
    meet = f"touch {tmp_path}/{{}}; while ! test -e {tmp_path}/{{}}; do sleep 0.01; done"
    unit = f"unit={meet.format('a', 'b')}; echo '3 passed, 0 failed'"
    django = f"django={meet.format('b', 'a')}; echo '===== 2 passed, 1 skipped in 3.21s ====='"
    status, said = run_parts("build=echo first", "[", unit, "|", django, "lint=echo '7 passed, 0 failed'", "]", "client=echo last")
    assert status == 0 and said.endswith("5 passed, 0 failed\n"), said
    assert re.findall(r"^(\w+) +\d+ s +ok$", said, re.MULTILINE) == ["build", "unit", "django", "lint", "client"]


@pytest.mark.parametrize("words", [["unit=false"], ["[", "unit=echo 1 passed", "|", "lint=echo why; false", "]"], ["unit=echo 1 passed, 1 failed"]])
def test_a_part_that_fails_fails_in_any_lane(words):
    status, said = run_parts(*words, "client=echo '1 passed'")
    assert status == 1 and "client            0 s  ok" in said, said
    assert "lint" not in str(words) or "==== how lint ended\n" in said and "failed: lint" in said


def test_no_test_asks_by_itself_whether_a_sanitizer_runs_it():
    """What is skipped there runs in `make plain`, because the marker does both."""
    for path in sorted((ROOT / "tests/integration").glob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if path.name != "test_tools.py":
            assert not re.search(r"\b(asan|tsan)\b", text) and not re.search(r"skip.*SANITIZED|if SANITIZED", text), path.name


COVERAGE = load(ROOT / "tests/coverage/coverage.py")
SOURCES = {
    "src/a/one.c": "static int\nmine(void)\n{\n}\n\nint twice(int a,\n\tint b)\n{\n\tif (a) {\n\t}\n\treturn b;\n}\n",
    "src/b/two.c": "static void twice(void);\n\nstatic void twice(void)\n{\n}\n",
}


def test_coverage_finds_what_it_leaves_out():
    ranges, wrong = COVERAGE.place([("two.c", "twice")], SOURCES)
    assert dict(ranges) == {"src/b/two.c": [(3, 5)]} and not wrong
    report = {"files": [{"file": "src/b/two.c", "functions": [], "lines": [{"line_number": n, "count": n % 2} for n in range(2, 8)]}]}
    lost = COVERAGE.leave_out(report, ranges)
    assert lost == {"src/b/two.c": 3}
    assert COVERAGE.rows_of(report, lost) == [("src/b/two.c", 3, 1, 3)]


@pytest.mark.parametrize("entry, said", [(("gone.c", "twice"), "it is in"), (("two.c", "gone"), "no such function")])
def test_coverage_says_what_its_list_names_in_vain(entry, said):
    _, wrong = COVERAGE.place([entry], SOURCES)
    assert len(wrong) == 1 and said in wrong[0]


def test_a_function_that_moved_is_found_by_its_name():
    ranges, wrong = COVERAGE.place([("gone.c", "mine")], {"src/a/one.c": "static void mine(void)\n{\n}\n"})
    assert ranges["src/a/one.c"] == [(1, 3)] and not wrong
