"""What runs the tests does what it says: lanes of parts, markers, the list of what coverage leaves out, the matrix of versions."""

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
    assert re.findall(r"^(\w+) +\d+ s +\d+ s of cores +ok$", said, re.MULTILINE) == ["build", "unit", "django", "lint", "client"]


@pytest.mark.parametrize("words", [["unit=false"], ["[", "unit=echo 1 passed", "|", "lint=echo why; false", "]"], ["unit=echo 1 passed, 1 failed"]])
def test_a_part_that_fails_fails_in_any_lane(words):
    status, said = run_parts(*words, "client=echo '1 passed'")
    assert status == 1 and re.search(r"^client +0 s +0 s of cores +ok$", said, re.MULTILINE), said
    assert "lint" not in str(words) or "==== how lint ended\n" in said and "failed: lint" in said


def test_no_test_asks_by_itself_whether_a_sanitizer_runs_it():
    """What is skipped there runs in `make plain`, because the marker does both."""
    for path in sorted((ROOT / "tests/integration").glob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if path.name != "test_tools.py":
            assert not re.search(r"\b(asan|tsan)\b", text) and not re.search(r"skip.*SANITIZED|if SANITIZED", text), path.name


def test_goals_of_one_command_go_one_after_the_other():
    """`make -j2 all unit`: both build the same objects, and unit is a make of its own."""
    command = ["make", "--dry-run", "--print-data-base", "-j2", "help", "clean", "unit"]
    rules = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=60).stdout
    assert re.search(r"^clean: \| help$", rules, re.MULTILINE) and re.search(r"^unit: \| help clean$", rules, re.MULTILINE)


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


MUTANTS = load(ROOT / "tests/mutants/mutants.py")
MUTANT = "promise: order\nfile: one.c\ntests: test_one\nWhy.\n\n----\nint a;\n++++\nint b;\n"


def test_every_mutant_is_written_as_it_should_be():
    """Whether its text still stands in the sources is told by `tests/mutants/mutants.py --apply`."""
    mutants = MUTANTS.read_all([])
    assert len(mutants) >= 40
    for mutant in mutants:
        assert re.fullmatch(r"[a-z0-9-]+", mutant.name) and mutant.why.endswith("."), mutant.name
        for old, new in mutant.changes:
            assert old and old != new, mutant.name


def test_a_mutant_changes_what_stands_there_once(tmp_path):
    (tmp_path / "some.mutant").write_text(MUTANT)
    mutant = MUTANTS.read_mutant(tmp_path / "some.mutant")
    assert mutant.tests == ["test_one"] and mutant.why == "Why."
    assert MUTANTS.mutate(mutant, "int a;\nint c;\n") == "int b;\nint c;\n"
    for text in ("int c;\n", "int a;\nint a;\n"):
        with pytest.raises(MUTANTS.Trouble, match="times in one.c"):
            MUTANTS.mutate(mutant, text)


@pytest.mark.parametrize("spoilt", [MUTANT.replace("file:", "in:"), MUTANT.replace("Why.\n", ""), MUTANT.replace("++++\n", ""), MUTANT.partition("----")[0]])
def test_a_mutant_that_says_too_little_is_refused(tmp_path, spoilt):
    (tmp_path / "some.mutant").write_text(spoilt)
    with pytest.raises(MUTANTS.Trouble, match="is not written"):
        MUTANTS.read_mutant(tmp_path / "some.mutant")


@pytest.fixture
def small_tree(tmp_path, monkeypatch):
    """A program of one file, its test, and a Makefile that knows them; without a compiler's time."""
    for folder in ("src/base", "include", "tests/unit/base"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "src/base/one.c").write_text("int a;\n")
    (tmp_path / "tests/unit/base/test_one.c").write_text("")
    (tmp_path / "Makefile").write_text(
        "build/dev/unit/base/test_one: src/base/one.c\n\t@mkdir -p $(@D)\n\t@! grep -q error $<\n"
        "\t@printf '#!/bin/sh\\ngrep -q \"int a\" src/base/one.c || exit 1\\n' >$@; chmod +x $@\n"
    )
    monkeypatch.setattr(MUTANTS, "TREE", tmp_path)
    monkeypatch.setattr(MUTANTS, "copy_tree", lambda: None)
    return tmp_path


@pytest.mark.parametrize(
    "changes, source, status, said",
    [
        ([("int a;", "int b;")], "int a;\n", 0, "noticed  order       some"),
        ([("int a;", "int a; ")], "int a;\n", 1, "NOT NOTICED by test_one"),
        ([("int z;", "int b;")], "int a;\n", 1, "stands 0 times"),
        ([("int a;", "error")], "int a;\n", 1, "does not compile"),
        ([("int c;", "int d;")], "int c;\n", 1, "fails without the mutation"),
    ],
)
def test_a_mutant_counts_only_when_its_test_fails_by_it(small_tree, capsys, changes, source, status, said):
    (small_tree / "src/base/one.c").write_text(source)
    mutant = MUTANTS.Mutant("some", "order", "one.c", ["test_one"], "Why.", changes)
    assert MUTANTS.try_all([mutant]) == status
    assert said in capsys.readouterr().out
    assert (small_tree / "src/base/one.c").read_text() == source


def load_beside(path):
    """One that imports what is beside it."""
    sys.path.insert(0, str(path.parent))
    try:
        return load(path)
    finally:
        sys.path.remove(str(path.parent))


@pytest.fixture(scope="module")
def against():
    return load_beside(ROOT / "tests/bench/against.py")


@pytest.mark.parametrize("n, t", [(5, 2.776), (15, 2.145), (30, 2.045)])
def test_the_interval_of_two_builds_is_students(against, n, t):
    assert against.t_95(n) == pytest.approx(t, abs=0.01)


def test_a_build_is_worse_if_all_of_its_interval_is(against):
    for name, ratios, worse in (
        ("decode: rows/s", [0.95, 0.96, 0.94, 0.95], True),
        ("decode: rows/s", [1.05, 1.06, 1.04, 1.05], False),
        ("decode: rows/s", [0.9, 0.96, 1.0, 0.94], False),
        ("decode: CPU s", [1.05, 1.06, 1.04, 1.05], True),
        ("a connection's bytes", [1.02, 1.02, 1.02, 1.03], False),
    ):
        _, low, high = against.interval(ratios)
        assert low < sum(ratios) / len(ratios) < high
        assert against.worse(name, low, high) == worse, (name, ratios)


@pytest.fixture(scope="module")
def matrix():
    return load_beside(ROOT / "tests/matrix/matrix.py")


def test_the_table_of_versions_names_each_with_each_plugin(matrix):
    """What was run says how it went; what was not says why."""
    rows = matrix.rows_of(matrix.DOCUMENT.read_text(encoding="utf-8"))
    assert list(rows) == [(version, plugin) for version in range(18, 12, -1) for plugin in ("pgoutput", "wal2json")]
    for shown, plugin, *counts, tested in rows.values():
        assert re.fullmatch(r"\d\d(\.\d+)?", shown) and re.fullmatch(r"pgoutput|wal2json( \d\.\d+)?", plugin) and tested, shown
        assert counts == ["not tested", "", ""] or all(re.fullmatch(r"\d+", count) for count in counts), (shown, plugin)


@pytest.fixture
def small_matrix(matrix, tmp_path, monkeypatch):
    """A document of its own; of each version and plugin `said` holds the result, or why there is none."""
    document, said = tmp_path / "operations.md", {}
    document.write_text(f"before\n{matrix.BEGIN}\n\n{matrix.table({})}\n\n{matrix.END}\nafter\n")

    def run(_binaries, plugin, name):
        return said[int(name.split("-")[0]), plugin]

    def with_wal2json(version):
        if not said.get((version, "wal2json")):
            raise matrix.trees.Missing("nobody has it")
        return version, "2.6"

    monkeypatch.setattr(matrix, "DOCUMENT", document)
    monkeypatch.setattr(matrix, "run_part", run)
    for name, stand_in in (("BUILD", tmp_path), ("server", lambda v: v), ("number", lambda v: f"{v}.1"), ("with_wal2json", with_wal2json)):
        monkeypatch.setattr(matrix.trees, name, stand_in)
    return document, said


def run_matrix(matrix, monkeypatch, *args):
    monkeypatch.setattr(sys, "argv", ["matrix.py", *args])
    return matrix.main()


def test_the_matrix_goes_on_after_a_failure_and_keeps_other_rows(matrix, small_matrix, monkeypatch, capsys):
    document, said = small_matrix
    good = matrix.Result(7, 1, 0, [])
    said.update({(18, "pgoutput"): matrix.Result(5, 1, 2, ["one", "two"]), (17, "pgoutput"): good, (17, "wal2json"): good})
    assert run_matrix(matrix, monkeypatch, "--versions", "18 17") == 1
    assert "failed: PostgreSQL 18, pgoutput: two" in capsys.readouterr().out
    text = document.read_text()
    assert text.startswith(f"before\n{matrix.BEGIN}\n") and text.endswith(f"{matrix.END}\nafter\n")
    assert "| 18.1 | pgoutput | 5 | 1 | 2 | 20" in text and "| 17.1 | wal2json 2.6 | 7 | 1 | 0 | 20" in text
    assert "| 18 | wal2json | not tested |  |  | nobody has it |" in text and "| 13 | wal2json | not tested |  |  | not yet |" in text
    said[18, "pgoutput"] = good
    assert run_matrix(matrix, monkeypatch, "--versions", "18", "--plugins", "pgoutput") == 0
    again = matrix.rows_of(document.read_text())
    assert again[18, "pgoutput"][2:5] == ["7", "1", "0"] and again[17, "wal2json"][1] == "wal2json 2.6" and len(again) == 12


def test_what_did_not_run_is_a_failure(matrix, tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(
        "<testsuites><testsuite><testcase classname='a' name='good'/><testcase classname='a' name='left'><skipped/></testcase>"
        "<testcase classname='a' name='bad'><failure/></testcase><testcase classname='a' name='worse'><error/></testcase></testsuite></testsuites>"
    )
    assert matrix.counted(report) == (1, 1, 2, ["a::bad", "a::worse"])
