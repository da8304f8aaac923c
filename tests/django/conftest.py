"""Fixtures for tests against the real Django: run by build/venv/bin/python, see `make django`."""

import os
import pathlib
import random
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BACKEND = ROOT / "deploy/demo/backend"
sys.path[:0] = [str(ROOT / "tests"), str(BACKEND), str(HERE)]
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"

import django  # noqa: E402
import pytest  # noqa: E402

django.setup()

import database  # noqa: E402
from backend import Backend  # noqa: E402
from harness.walpush import BINARY  # noqa: E402
from throwaway.cluster import Cluster  # noqa: E402

SEED = int(os.environ.get("WALPUSH_TEST_SEED") or random.SystemRandom().getrandbits(32))


def pytest_report_header():
    return [f"walpush: {BINARY}", f"Django {django.get_version()}, WALPUSH_TEST_SEED={SEED}"]


@pytest.fixture(scope="session")
def seed():
    """Of everything random in a test; the report's header says it, and the environment repeats it."""
    return SEED


@pytest.fixture(scope="session")
def cluster():
    with Cluster(fsync=False) as cluster:
        database.prepare(cluster)
        yield cluster


@pytest.fixture(scope="module")
def app(cluster):
    """The application's database, with its seed rows, and set up for walpush; modules with another configuration have their own."""
    with database.Database(cluster).used_by_django() as app:
        yield app


@pytest.fixture(scope="module")
def backend(app):
    """The application, served by a real WSGI server."""
    with Backend(app) as backend:
        yield backend
