"""The application knows nothing of walpush: no signal handler, no Channels, no ASGI; and its tables are the ones agreed on."""

import gc
import re
import weakref

from conftest import BACKEND
from database import TEMPLATE, point_django_at
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.dispatch import Signal
from throwaway.cluster import ROOT

SOURCES = [path for path in BACKEND.rglob("*.py") if "migrations" not in path.parts]


def test_nobody_listens_to_signals_but_the_frameworks():
    signals = [thing for thing in gc.get_objects() if isinstance(thing, Signal)]
    entries = [entry[1] for signal in signals for entry in signal.receivers]
    receivers = [entry() if isinstance(entry, weakref.ReferenceType) else entry for entry in entries]
    assert receivers, "Django itself has some, so an empty list means that this test looks in the wrong place"
    modules = {getattr(receiver, "__self__", receiver).__module__ for receiver in receivers}
    assert {module.split(".")[0] for module in modules} <= {"django", "rest_framework"}, modules


def test_the_sources_have_no_signal_no_channel_and_no_coroutine():
    assert len(SOURCES) > 15
    for path in SOURCES:
        found = re.findall(r"(?i)\b(?:signals?|dispatch|channels|asgi\w*|async|await)\b", path.read_text())
        assert not found, f"{path}: {found}"


def test_neither_channels_nor_an_asgi_server_is_installed_for_it():
    assert not {app.name for app in apps.get_app_configs()} & {"channels", "daphne"}
    assert getattr(settings, "ASGI_APPLICATION", None) is None
    assert not re.search(r"(?im)^(channels|daphne|uvicorn|hypercorn)\b", (BACKEND / "requirements.txt").read_text())
    assert not list(BACKEND.rglob("asgi.py"))


def test_migrations_are_complete(cluster):
    point_django_at(cluster, TEMPLATE)
    call_command("makemigrations", "store", check=True, dry_run=True, verbosity=0)
    connections.close_all()


TABLES = ["units", "roles", "users", "user_units", "storages", "crates", "requests", "sendbacks"]


def columns(cluster, database):
    return cluster.sql(
        "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable"
        " FROM information_schema.columns WHERE table_name = ANY (%s) ORDER BY table_name, column_name",
        [TABLES],
        dbname=database,
    )


def foreign_keys(cluster, database):
    return cluster.sql(
        "SELECT c.conrelid::regclass::text, a.attname, c.confrelid::regclass::text, c.condeferrable, c.condeferred"
        " FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)"
        " WHERE c.contype = 'f' AND c.conrelid::regclass::text = ANY (%s) ORDER BY 1, 2",
        [TABLES],
        dbname=database,
    )


def test_the_tables_of_the_other_tests_are_what_the_migrations_make(cluster):
    cluster.sql("CREATE DATABASE by_hand TEMPLATE template0")
    cluster.psql(ROOT / "deploy/throwaway/schema.sql", dbname="by_hand")
    assert columns(cluster, "by_hand") == columns(cluster, TEMPLATE)
    assert foreign_keys(cluster, "by_hand") == foreign_keys(cluster, TEMPLATE)
    cluster.drop("by_hand")
