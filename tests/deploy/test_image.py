"""What reaches the build of an image, as the older builders read an ignore file, and whether that is enough.

Docker before BuildKit, podman and buildah leave out a directory that is excluded unless an exception begins, as text, with its name:
an exception `!tests/*/*.mk` below `*` admits nothing, though BuildKit finds the files.
"""

import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
IGNORE_FILES = [ROOT / ".dockerignore", *sorted(DEPLOY.glob("**/*.dockerignore"))]
DOCKERFILES = sorted(file.with_name("Dockerfile") for file in DEPLOY.glob("**/Dockerfile.dockerignore"))
NAME = [str(file.relative_to(ROOT)) for file in DOCKERFILES]


def patterns_of(text):
    """(is an exception, pattern) for each line that is one."""
    lines = [line.strip() for line in text.splitlines()]
    return [(line[0] == "!", line.lstrip("!").strip("/")) for line in lines if line and line[0] != "#"]


def regex_of(pattern):
    parts = re.split(r"(\*\*/?|\*|\?)", pattern)
    special = {"**/": "(.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(special.get(part, re.escape(part)) for part in parts) + r"\Z")


def is_excluded(path, patterns):
    """By the last pattern that matches the path or one of the directories above it."""
    above = [path, *(str(parent) for parent in pathlib.PurePosixPath(path).parents if str(parent) != ".")]
    excluded = False
    for exception, pattern in patterns:
        if any(regex_of(pattern).match(name) for name in above):
            excluded = not exception
    return excluded


def is_admitted(path, text):
    patterns = patterns_of(text)
    for directory in reversed(pathlib.PurePosixPath(path).parents[:-1]):
        entered = any(f"{pattern}/".startswith(f"{directory}/") for exception, pattern in patterns if exception)
        if is_excluded(str(directory), patterns) and not entered:
            return False
    return not is_excluded(path, patterns)


@pytest.mark.parametrize(
    "text, path, admitted",
    [
        ("*\n!tests/*/*.mk", "tests/chaos/chaos.mk", False),
        ("*\n!tests/chaos/chaos.mk", "tests/chaos/chaos.mk", True),
        ("*\n!deploy/*.sh", "deploy/x.sh", True),
        ("*\n!src", "src/cmd/main.c", True),
        ("*\n!src", "sql/setup.sql", False),
        ("*\n!client\n**/node_modules", "client/src/index.ts", True),
        ("*\n!client\n**/node_modules", "client/node_modules/x/index.js", False),
        ("# all\n.git\n**/dist", "client/dist/index.js", False),
        ("# all\n.git\n**/dist", "client/src/index.ts", True),
    ],
)
def test_how_an_ignore_file_is_read(text, path, admitted):
    assert is_admitted(path, text) == admitted


@pytest.mark.parametrize("file", IGNORE_FILES, ids=[str(file.relative_to(ROOT)) for file in IGNORE_FILES])
def test_no_exception_has_a_wildcard(file):
    assert [pattern for exception, pattern in patterns_of(file.read_text()) if exception and set(pattern) & set("*?[")] == []


def copied(dockerfile):
    """The sources that are copied from outside, below ROOT."""
    for words in re.findall(r"^COPY ((?:.*\\\n)*.*)$", dockerfile.read_text(), re.MULTILINE):
        sources = words.split()[:-1]
        if not sources[0].startswith("--from="):
            yield from sources


def files_below(source):
    path = ROOT / source
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    names = [str(file.relative_to(ROOT)) for file in files]
    return [name for name in names if not {"node_modules", "dist", "__pycache__"} & set(name.split("/"))]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=NAME)
@pytest.mark.parametrize("where", ["beside it", "at the root"])
def test_what_is_copied_is_sent(dockerfile, where):
    ignore = (ROOT / ".dockerignore" if where == "at the root" else dockerfile.with_suffix(".dockerignore")).read_text()
    sources = list(copied(dockerfile))
    assert sources
    for source in sources:
        assert source != ".", "everything that lies about would get in where the ignore file is not read"
        files = files_below(source)
        assert files, f"{source} is not there"
        assert [file for file in files if not is_admitted(file, ignore)] == []


def installs(directory):
    """What `make install` would run there, if nothing were built yet."""
    command = ["make", "-n", "--no-print-directory", "VARIANT=none", "install", "PREFIX=/usr", "DESTDIR=/image"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_copied_is_enough_to_install(tmp_path):
    for source in copied(DEPLOY / "Dockerfile"):
        for file in files_below(source):
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, tmp_path / file)
    steps = installs(tmp_path)
    assert steps == installs(ROOT)
    named = {word for word in steps.split() if (ROOT / word).is_file() and not word.startswith(("/", "build/"))}
    assert len(named) > 50
    assert {word for word in named if not (tmp_path / word).exists()} == set()


@pytest.mark.parametrize("dockerfile", sorted(DEPLOY.glob("**/Dockerfile")), ids=lambda file: str(file.relative_to(ROOT)))
def test_no_step_needs_buildkit(dockerfile):
    assert not re.search(r"^\s*(RUN\s+--|COPY\s+(?!--from=)--|#\s*syntax=)|<<", dockerfile.read_text(), re.MULTILINE)
