"""Databases made by the application's own migrations, and used by its own role."""

import contextlib
import io
import itertools

from django.core.management import call_command
from django.db import connections

ROLE = "docstore"
TEMPLATE = "docstore_prepared"


class Database:
    """One database with a slot: what harness.walpush.Walpush takes for an app."""

    _numbers = itertools.count(1)

    def __init__(self, cluster, **setup):
        self.cluster = cluster
        self.name = f"docstore_{next(self._numbers)}"
        self.slot = f"walpush_{self.name}"
        connections.close_all()
        cluster.sql(f"CREATE DATABASE {self.name} TEMPLATE {TEMPLATE} OWNER {ROLE}")
        cluster.setup(self.name, slot=self.slot, **setup)

    @property
    def url(self):
        """walpush's."""
        return self.cluster.url(self.name)

    @property
    def application_url(self):
        return self.cluster.url(self.name, ROLE)

    def sql(self, query, *args):
        return self.cluster.sql(query, args or None, dbname=self.name)

    @contextlib.contextmanager
    def used_by_django(self):
        """Django in this process works on this database, until the end of the block."""
        point_django_at(self.cluster, self.name)
        try:
            yield self
        finally:
            connections.close_all()
            self.cluster.drop(self.name)


def point_django_at(cluster, name):
    connections.close_all()
    connections["default"].settings_dict.update(
        NAME=name, USER=ROLE, PASSWORD=cluster.passwords[ROLE], HOST="127.0.0.1", PORT=cluster.port
    )


def prepare(cluster):
    """What every database is a copy of: migrated and seeded by the application's own commands."""
    cluster.add_role(ROLE)
    cluster.sql(f"CREATE DATABASE {TEMPLATE} OWNER {ROLE} TEMPLATE template0")
    point_django_at(cluster, TEMPLATE)
    call_command("migrate", run_syncdb=True, verbosity=0)
    call_command("seed", crates=4, requests=6, stdout=io.StringIO())
    connections.close_all()
