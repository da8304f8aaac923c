"""Fixtures: one PostgreSQL a session, one database and one slot a test, one walpush a test."""

import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

pytest.register_assert_rewrite("harness.client")

from harness.app import fresh_app  # noqa: E402
from harness.load import Follower  # noqa: E402
from harness.walpush import BINARY, ROOT, Walpush, shipped_config  # noqa: E402
from throwaway.cluster import Cluster  # noqa: E402


@pytest.fixture(scope="session")
def cluster():
    with Cluster({"max_prepared_transactions": 5, "max_wal_size": "256MB"}, fsync=False) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def no_follower_is_left():
    """It is the first that is made, so that the processes of the test have ended when it is its turn."""
    yield
    Follower.end_all()


@pytest.fixture
def bare_app(cluster):
    """The application's database and rows; the DBA has made no slot yet."""
    with fresh_app(cluster) as app:
        yield app


@pytest.fixture
def app(bare_app):
    """The same, with role, grants and slot."""
    return bare_app.set_up()


@pytest.fixture
def config():
    """The shipped configuration; a test may change it before it asks for `walpush`."""
    return shipped_config()


@pytest.fixture
def make_walpush(tmp_path):
    """Makes processes that are gone at the end of the test, whatever happens."""
    made = []

    def make(app, config, **how):
        directory = tmp_path / f"walpush-{len(made)}"
        directory.mkdir()
        made.append(Walpush(config, directory, app, **how))
        return made[-1]

    yield make
    for process in made:
        if process.process is not None and process.process.poll() is None:
            process.kill()


@pytest.fixture
def walpush(app, config, tmp_path):
    """A process that streams; at the end it is asked to stop and must do so cleanly."""
    with Walpush(config, tmp_path, app) as process:
        yield process


@pytest.fixture(scope="session")
def wsload(tmp_path_factory):
    """The load client, built here if the Makefile has not built it."""
    built = pathlib.Path(os.environ.get("WSLOAD_BINARY", BINARY.parent / "bench/wsload"))
    if built.exists():
        return built
    program = tmp_path_factory.mktemp("bench") / "wsload"
    source = ROOT / "tests/bench/wsload.c"
    subprocess.run(["cc", "-std=c17", "-D_GNU_SOURCE", "-O2", "-o", str(program), str(source)], check=True)
    return program


def pytest_report_header():
    return f"walpush: {BINARY}"
