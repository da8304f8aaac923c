"""Broken set-ups: `walpush check` finds each in a real server, says it in one line, and it is gone once its fix is applied.

A case breaks something. The test then runs the check, applies the fix that it prints, to the letter, and runs it again. Where
the fix is words ("correct the database's name"), the case says what a person would do.

A file of tests makes `cases = Cases()`, registers its own, imports the fixtures `server` and `world`, and gives each case to `found_and_mended`.
"""

import contextlib
import json
import os
import subprocess

import psycopg2.extras
import pytest

from harness.walpush import BINARY, SIGNING_KEY, run_to_end, shipped_config
from throwaway.cluster import Cluster

BAD = ("failure", "warning")


class Cases(list):
    def case(self, check, state="failure", kind="sql"):
        """Registers a way to break things. The function may yield; what comes behind is what a person does for a fix in words."""

        def register(function):
            self.append(pytest.param(function, check, state, kind, id=function.__name__.replace("_", "-")))
            return function

        return register


@pytest.fixture(scope="module")
def server():
    with Cluster(fsync=False) as cluster:
        cluster.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'")
        cluster.sql("SELECT pg_reload_conf()")
        yield cluster


class World:
    """One database with the schema, set up as the DBA does it, and a configuration for it."""

    def __init__(self, server, directory):
        self.server = server
        self.name = "app"
        self.directory = directory
        self.config = shipped_config()
        self.resources = contextlib.ExitStack()
        self.hba = server.hba
        self.restarts = False
        server.create_database(self.name)
        server.setup(self.name)
        self.env = {
            "DATABASE_URL": server.url(self.name),
            "JWT_SIGNING_KEY": SIGNING_KEY,
            "WALPUSH_PASSWORD": server.passwords["walpush"],
        }

    def sql(self, text):
        return self.server.sql(text, dbname=self.name)

    def psql(self, text):
        """As a DBA with psql; several statements, each on its own."""
        script = self.directory / "mend.sql"
        script.write_text(text)
        script.chmod(0o644)
        return self.server.psql(script, dbname=self.name)

    def shell(self, command):
        """As a DBA in a terminal, with walpush in the path."""
        env = dict(os.environ, PGHOST=str(self.server.directory), PGPORT=str(self.server.port), PGUSER="postgres")
        env.update(self.env, PGPASSWORD=self.server.passwords["postgres"])
        env["PATH"] = f"{BINARY.parent}:{self.server.bin}:{env['PATH']}"
        subprocess.run(["bash", "-ec", command], env=env, cwd=self.directory, check=True, stdout=subprocess.DEVNULL)

    def restart(self):
        self.resources.close()
        self.restarts = True
        self.server.restart()

    def set_system(self, **settings):
        for name, value in settings.items():
            self.server.sql(f"ALTER SYSTEM SET {name} = '{value}'")

    def reload(self):
        self.server.sql("SELECT pg_reload_conf()")

    def replication(self, user="walpush"):
        """A connection of another program's that has a walsender."""
        connection = self.server.connect(
            self.name, user, connection_factory=psycopg2.extras.LogicalReplicationConnection, autocommit=False
        )
        self.resources.callback(connection.close)
        return connection

    def file(self, name, text):
        path = self.directory / name
        path.write_text(text)
        return path

    def openssl(self, *args):
        subprocess.run(["openssl", *args], cwd=self.directory, check=True, capture_output=True)

    def certificate(self, name):
        self.openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"),
            *("-days", "90", "-keyout", f"{name}.key", "-out", f"{name}.crt"),
        )

    def check(self, *args):
        file = self.config.write(self.directory / "sidecar.conf")
        return run_to_end("check", "-c", file, *args, env=self.env)

    def findings(self, status):
        done = self.check("--json")
        assert done.stderr == ""
        report = json.loads(done.stdout)
        assert done.returncode == (status if status is not None else int(report["failures"] > 0)), done.stdout
        return report["findings"]

    def apply(self, mend):
        """The fix, literally."""
        kind, text = mend["kind"], mend["text"]
        if kind in ("sql", "restart"):
            self.psql(text)
            if kind == "restart":
                self.restart()
        elif kind == "hba":
            self.server.hba = text + "\n" + self.server.hba
            self.reload()
        elif kind == "conf":
            setting, _, value = text.partition(" = ")
            self.config.set(setting, json.loads(value))
        else:
            assert kind == "shell", mend
            self.shell(text.replace("…", self.server.passwords["walpush"]))

    def close(self):
        self.resources.close()
        server = self.server
        server.sql("ALTER SYSTEM RESET ALL")
        self.set_system(max_slot_wal_keep_size="10GB")
        server.hba = self.hba
        if self.restarts:
            server.restart()
        else:
            self.reload()
        for slot, pid in server.sql("SELECT slot_name, active_pid FROM pg_replication_slots"):
            if pid:
                server.end_sessions("pid = %s", pid)
            server.sql("SELECT pg_drop_replication_slot(%s)", [slot])
        for (database,) in server.sql("SELECT datname FROM pg_database WHERE datname ~ '^app'"):
            server.drop(database)
        server.sql("DROP ROLE IF EXISTS rds_replication, walpush2")
        server.sql("ALTER ROLE walpush NOSUPERUSER CONNECTION LIMIT -1 VALID UNTIL 'infinity'")


@pytest.fixture
def world(server, tmp_path):
    tmp_path.chmod(0o755)
    world = World(server, tmp_path)
    yield world
    world.close()


def of(findings, check):
    return [finding for finding in findings if finding["check"] == check and finding["state"] in BAD]


def found_and_mended(world, breaks, check, state, kind):
    steps = breaks(world)
    if steps is not None:
        next(steps)
    found = of(world.findings(1 if state == "failure" else 0), check)
    assert {(finding["state"], finding["fix"]["kind"]) for finding in found} == {(state, kind)}, found
    if steps is not None:
        assert kind in ("words", "shell")
        next(steps, None)
    if kind != "words" and not found[-1]["fix"]["text"].startswith("apt-get"):
        for fix in {finding["fix"]["text"]: finding["fix"] for finding in found}.values():
            world.apply(fix)
    assert of(world.findings(None), check) == []
