"""Databases made by the application's own migrations, and used by its own role."""

import contextlib
import io
import itertools
import pathlib
import tempfile

from django.core.management import call_command
from django.db import connections
from harness.walpush import SIGNING_KEY, run_to_end, shipped_config

ROLE = "docstore"
TEMPLATE = "docstore_prepared"


class Database:
    """One database with a slot: what harness.walpush.Walpush takes for an app."""

    _numbers = itertools.count(1)

    def __init__(self, cluster, config=None):
        self.cluster = cluster
        self.name = f"docstore_{next(self._numbers)}"
        self.slot = f"walpush_{self.name}"
        connections.close_all()
        cluster.sql(f"CREATE DATABASE {self.name} TEMPLATE {TEMPLATE} OWNER {ROLE}")
        self.set_up(config or shipped_config())

    def set_up(self, config):
        """What the DBA does for a configuration: runs what `walpush sql` prints for it, and sees that `walpush check` is content."""
        with tempfile.TemporaryDirectory() as directory:
            file = config.write(pathlib.Path(directory) / "sidecar.conf")
            env = {"DATABASE_URL": f"postgresql://walpush@127.0.0.1/{self.name}", "JWT_SIGNING_KEY": SIGNING_KEY}
            env["WALPUSH_SLOT"] = self.slot
            printed = run_to_end("sql", "-c", file, env=env)
            assert printed.returncode == 0, printed.stderr
            script = file.with_name("setup.sql")
            script.write_text(printed.stdout, encoding="utf-8")
            self.cluster.setup(self.name, slot=self.slot, script=script)
            checked = run_to_end("check", "-c", file, env={**env, "DATABASE_URL": self.url})
            assert checked.returncode == 0, checked.stdout

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
    cluster.sql("CREATE EXTENSION hstore", dbname=TEMPLATE)
    point_django_at(cluster, TEMPLATE)
    call_command("migrate", run_syncdb=True, verbosity=0)
    call_command("seed", crates=4, requests=6, stdout=io.StringIO())
    connections.close_all()
