#!/usr/bin/python3
"""Takes one mechanism out of the program at a time; the tests named beside it must fail: tests/mutants/mutants.py [--list | --apply] [NAME...]

A file NAME.mutant is one mechanism:

    promise: order                          which promise of the README it keeps
    file: topic_cursor.c                    in src/ or include/, without its folder; where the text moved is found by the text
    tests: test_topic test_push.py::test_x  a unit test program, or a test of tests/integration
    Why the program needs it, in a sentence or two.

    ----
    text that stands in the file, exactly once
    ++++
    text to put in its place; as many pairs as it takes

The work is done in a copy of the tree, build/mutants. First the tests run there as they are, and must pass. --apply only looks whether each
text is still there. The exit status is 1 if a mutant is not noticed, cannot be applied, does not compile, or has a test that fails anyway.
"""

import collections
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TREE = ROOT / "build/mutants/tree"
SLOWDOWN = float(os.environ.get("WALPUSH_TEST_SLOWDOWN", "1"))
UNIT_PATIENCE, PYTEST_PATIENCE = 60 * SLOWDOWN, 600 * SLOWDOWN  # seconds; a unit test takes less than one
CORES = os.cpu_count()

Mutant = collections.namedtuple("Mutant", "name promise file tests why changes")


class Trouble(Exception):
    """What is wrong with a mutant, or with its tests."""


def read_mutant(path):
    head, *changes = re.split(r"^----\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    fields = dict(re.findall(r"^(promise|file|tests): *(.+)$", head, re.MULTILINE))
    why = " ".join(line for line in head.splitlines() if line and not re.match(r"(promise|file|tests):", line))
    pairs = [tuple(change.split("++++\n")) for change in changes]
    if set(fields) != {"promise", "file", "tests"} or not why or not pairs or any(len(pair) != 2 for pair in pairs):
        raise Trouble(f"{path.name} is not written as mutants.py says")
    return Mutant(path.stem, fields["promise"], fields["file"], fields["tests"].split(), why, [(old.strip("\n"), new.strip("\n")) for old, new in pairs])


def read_all(names):
    mutants = {path.stem: path for path in sorted(HERE.glob("*.mutant"))}
    unknown = [name for name in names if name not in mutants]
    if unknown:
        raise Trouble(f"no such mutant: {' '.join(unknown)}")
    found = [read_mutant(mutants[name]) for name in names or mutants]
    return sorted(found, key=lambda mutant: (mutant.promise, mutant.name))


def the_one(paths, what):
    paths = list(paths)
    if len(paths) != 1:
        raise Trouble(f"{what}: {'there is none' if not paths else 'there are ' + str(len(paths))}")
    return paths[0]


def source_of(mutant, tree):
    """The file of that name; if it does not have the text, the one that has."""
    files = [path for top in ("src", "include") for path in sorted((tree / top).rglob("*.[ch]"))]
    having = [path for path in files if all(old in path.read_text(encoding="utf-8") for old, _ in mutant.changes)]
    named = [path for path in files if path.name == mutant.file]
    return the_one([path for path in named if path in having] or having or named, mutant.file)


def mutate(mutant, text):
    for old, new in mutant.changes:
        if text.count(old) != 1:
            raise Trouble(f"the text stands {text.count(old)} times in {mutant.file}: {' '.join(old.split())[:100]}")
        text = text.replace(old, new)
    return text


# --- tests ------------------------------------------------------------------------------------------------------------


def is_unit(test):
    return ".py" not in test


def unit_target(test, tree):
    path = the_one((tree / "tests/unit").glob(f"*/{test}.c"), f"{test}.c in tests/unit")
    return f"build/dev/unit/{path.parent.name}/{test}"


def make(*targets):
    done = subprocess.run(
        ["make", "--no-print-directory", f"-j{CORES}", "VARIANT=dev", *targets], cwd=TREE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        errors = [line for line in done.stdout.splitlines() if "error" in line] or done.stdout.splitlines()
        raise Trouble("it does not compile: " + errors[0])


def build(tests):
    targets = {unit_target(test, TREE) if is_unit(test) else "all" for test in tests}
    make(*sorted(targets))


def run_unit(test):
    """What failed, or None."""
    try:
        done = subprocess.run(
            [TREE / unit_target(test, TREE)], cwd=TREE, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=UNIT_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return f"{test} does not end"
    if done.returncode == 0:
        return None
    failed = dict.fromkeys(re.findall(rb"^\[  FAILED  \] ([a-z]\w+)$", done.stdout, re.MULTILINE))
    return f"{test}: " + (", ".join(name.decode() for name in failed) or f"it ended with {done.returncode}")


def run_pytest(test):
    env = dict(os.environ, WALPUSH_BINARY=str(TREE / "build/dev/walpush"))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-x", f"tests/integration/{test}"]
    try:
        done = subprocess.run(
            command, cwd=TREE, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PYTEST_PATIENCE
        )
    except subprocess.TimeoutExpired:
        return f"{test} does not end"
    if done.returncode not in (0, 1) or " passed" not in done.stdout and not done.returncode:
        raise Trouble(f"pytest cannot run {test}: {done.stdout.strip().splitlines()[-1]}")
    return test if done.returncode else None


def run_test(test):
    return run_unit(test) if is_unit(test) else run_pytest(test)


# --- the work ---------------------------------------------------------------------------------------------------------


def copy_tree():
    """Only what changed, so that what was built stays good."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    wanted = {name for name in listed.split("\0") if name and (ROOT / name).is_file()}
    for path in [path for path in TREE.rglob("*") if path.is_file() and path.relative_to(TREE).parts[0] != "build"]:
        if str(path.relative_to(TREE)) not in wanted:
            path.unlink()
    for name in wanted:
        source, copy = ROOT / name, TREE / name
        if not copy.exists() or copy.read_bytes() != source.read_bytes():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
            shutil.copymode(source, copy)


def check_sound(mutants):
    """Test to what is wrong with it before anything was changed."""
    tests = list(dict.fromkeys(test for mutant in mutants for test in mutant.tests))
    wrong = {}
    for test in list(tests):
        try:
            if is_unit(test):
                unit_target(test, TREE)
            elif not (TREE / "tests/integration" / test.partition("::")[0]).exists():
                raise Trouble(f"{test}: there is none")
        except Trouble as trouble:
            wrong[test] = str(trouble)
            tests.remove(test)
    build(tests)
    for test in tests:
        failed = run_test(test)
        if failed:
            wrong[test] = f"fails without the mutation: {failed}"
    return wrong


def try_mutant(mutant, unsound):
    """Who noticed."""
    for test in mutant.tests:
        if test in unsound:
            raise Trouble(unsound[test])
    source = source_of(mutant, TREE)
    sound = source.read_text(encoding="utf-8")
    source.write_text(mutate(mutant, sound), encoding="utf-8")
    try:
        build(mutant.tests)
        failed = [run_test(test) for test in mutant.tests]
    finally:
        source.write_text(sound, encoding="utf-8")
    for test, said in zip(mutant.tests, failed):
        if not said:
            raise Trouble(f"NOT NOTICED by {test}")
    return "; ".join(failed)


def report(mutant, verdict, text, seconds=None):
    took = f"{seconds:5.1f} s  " if seconds is not None else ""
    print(f"{verdict:<8} {mutant.promise:<11} {mutant.name:<34} {took}{text}", flush=True)


def try_all(mutants):
    copy_tree()
    print(f"{len(mutants)} mutants; first their tests as they are", flush=True)
    unsound = check_sound(mutants)
    bad = []
    for mutant in mutants:
        start = time.monotonic()
        try:
            report(mutant, "noticed", try_mutant(mutant, unsound), time.monotonic() - start)
        except Trouble as trouble:
            bad.append(mutant.name)
            report(mutant, "BAD", trouble, time.monotonic() - start)
    print(f"\n{len(mutants) - len(bad)} of {len(mutants)} mechanisms were missed when they were gone")
    if bad:
        print("bad:", " ".join(bad))
    return 1 if bad else 0


def apply_all(mutants):
    bad = 0
    for mutant in mutants:
        try:
            mutate(mutant, source_of(mutant, ROOT).read_text(encoding="utf-8"))
        except Trouble as trouble:
            bad += 1
            report(mutant, "BAD", trouble)
    print(f"{len(mutants) - bad} of {len(mutants)} can be applied")
    return 1 if bad else 0


def main():
    words = sys.argv[1:]
    options = [word for word in words if word.startswith("-")]
    if set(options) - {"--list", "--apply"}:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        mutants = read_all([word for word in words if word not in options])
        if "--list" in options:
            for mutant in mutants:
                report(mutant, "", mutant.why)
            return 0
        return apply_all(mutants) if "--apply" in options else try_all(mutants)
    except Trouble as trouble:
        print(f"mutants: {trouble}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
