"""What PostgreSQL's versions do differently, each with the plugin that the tests run with; `make pg-matrix` runs them with every version."""

import contextlib
import json
import time

import psycopg2.extras
import pytest

from harness.app import ASHA, PLUGIN, fresh_app
from harness.client import PATIENCE
from harness.standby import copy_of, running_snapshots
from harness.walpush import SIGNING_KEY, run_to_end
from test_ddl_trigger import TOLD, install_anyway, sends_messages
from throwaway.cluster import ROOT, Cluster
from throwaway.config import section

MONITORING = ROOT / "sql/monitoring.sql"
UNIT_1 = "/ws/requests/1/"


def version(cluster):
    return int(cluster.sql("SHOW server_version_num")[0][0]) // 10000


def since(cluster, first, what):
    if version(cluster) < first:
        pytest.skip(f"{what} from PostgreSQL {first} on")


class Dba:
    """Who sets up a database with what `walpush sql` prints for the plugin, and asks `walpush check`."""

    def __init__(self, app, config, directory):
        directory.chmod(0o755)
        self.app, self.directory = app, directory
        self.file = config.write(directory / "sidecar.conf")
        self.env = {"DATABASE_URL": app.url, "WALPUSH_SLOT": app.slot, "JWT_SIGNING_KEY": SIGNING_KEY}

    def set_up(self, **variables):
        done = run_to_end("sql", "-c", self.file, "--plugin", PLUGIN, env=self.env)
        assert done.returncode == 0, done.stderr
        script = self.directory / "setup.sql"
        script.write_text(done.stdout)
        return self.app.cluster.psql(script, variables, dbname=self.app.name)

    def findings(self, **wanted):
        """Of `walpush check`; those that have such fields."""
        done = run_to_end("check", "-c", self.file, "--json", env=self.env)
        return [one for one in json.loads(done.stdout)["findings"] if wanted.items() <= one.items()]

    def monitor(self):
        self.app.cluster.psql(MONITORING, {"slot": self.app.slot}, dbname=self.app.name)
        return monitoring(self.app.cluster, self.app.name)


def monitoring(cluster, dbname):
    connection = cluster.connect(dbname, cursor_factory=psycopg2.extras.RealDictCursor)
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT * FROM walpush_monitoring")
        return cursor.fetchone()


@pytest.fixture
def dba(bare_app, config, tmp_path):
    return Dba(bare_app, config, tmp_path)


@pytest.fixture
def own_server(config, tmp_path):
    """Of a test that changes settings of the whole server."""
    with Cluster(fsync=False) as cluster, fresh_app(cluster) as app:
        yield Dba(app, config, tmp_path)


def fields_of_slot(app):
    return app.value("SELECT to_jsonb(s) FROM pg_replication_slots s WHERE slot_name = %s", app.slot)


# --- the script ---------------------------------------------------------------------------------------------------


def test_what_the_script_makes_passes_the_check_and_streams(dba, config, make_walpush):
    dba.set_up()
    assert fields_of_slot(dba.app)["plugin"] == PLUGIN
    assert dba.findings(state="failure") == []
    row = dba.monitor()
    assert (row["slot_name"], row["finding"], row["invalidation_reason"]) == (dba.app.slot, "unread", None)
    with make_walpush(dba.app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        dba.app.touch(dba.app.request)
        assert client.recv()["request_id"] == dba.app.request


@pytest.mark.parametrize("variables", [{}, {"failover": "on"}], ids=["not-asked", "asked"])
def test_a_slot_follows_a_failover_where_the_server_can_and_somebody_asks(dba, variables):
    """Before 17 the word is no error: the script is the same for all versions."""
    dba.set_up(**variables)
    assert fields_of_slot(dba.app).get("failover") == (None if version(dba.app.cluster) < 17 else bool(variables))


def test_an_event_trigger_of_which_the_plugin_tells_nothing_does_no_harm(app, config, make_walpush, tmp_path):
    """In 13 pgoutput leaves messages out, so DDL is noticed by `database.watch` alone."""
    install_anyway(app, tmp_path)
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        app.sql("CREATE TABLE more (id int)")
        app.touch(app.request)
        assert client.recv()["request_id"] == app.request
        if sends_messages(app.cluster):
            walpush.wait_for_log(TOLD)
        else:
            app.settle(walpush)
            assert TOLD not in walpush.log()


# --- how a slot is lost -------------------------------------------------------------------------------------------


def is_lost(dba, reason):
    """In the words of the monitoring view, of the check, and of walpush itself."""
    row = dba.monitor() if not dba.app.value("SELECT pg_is_in_recovery()") else monitoring(dba.app.cluster, dba.app.name)
    assert (row["state"], row["finding"], row["invalidation_reason"]) == ("critical", "lost", reason)


def test_a_slot_that_nobody_read_for_too_long(own_server, config, make_walpush):
    app = own_server.app
    since(app.cluster, 18, "idle slots are given up")
    own_server.set_up()
    app.sql("ALTER SYSTEM SET idle_replication_slot_timeout = '2s'")
    app.sql("SELECT pg_reload_conf()")
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        time.sleep(2.5)
        app.sql("CHECKPOINT")
        app.touch(app.request)
        assert client.recv()["request_id"] == app.request, "one that is read is not idle, however little comes"
    app.wait_for_no_reader()
    time.sleep(2.5)
    app.sql("CHECKPOINT")
    assert fields_of_slot(app)["invalidation_reason"] == "idle_timeout"
    is_lost(own_server, "idle_timeout")
    (finding,) = own_server.findings(check="slot-state")
    assert finding["state"] == "failure" and "idle_timeout" in finding["text"]
    walpush = make_walpush(app, config).start(streaming=False)
    assert "Drop it" in walpush.wait_for_log("is lost")


def test_the_check_warns_of_idle_slots_that_are_given_up(own_server):
    app = own_server.app
    since(app.cluster, 18, "idle slots are given up")
    own_server.set_up()
    (finding,) = own_server.findings(check="slot-idle")
    assert finding["state"] == "ok"
    app.sql("ALTER SYSTEM SET idle_replication_slot_timeout = '2h'")
    app.sql("SELECT pg_reload_conf()")
    (finding,) = own_server.findings(check="slot-idle")
    assert finding["state"] == "warning" and "idle_replication_slot_timeout is 2h" in finding["text"]
    for statement in finding["fix"]["text"].split("; "):
        app.sql(statement)
    (finding,) = own_server.findings(check="slot-idle")
    assert finding["state"] == "ok"


def test_a_slot_that_a_former_primary_has_left(own_server):
    """What is synchronized is not; after a failover a primary's own slot may be one that was."""
    app = own_server.app
    since(app.cluster, 17, "slots follow a failover")
    own_server.set_up(failover="on")
    (finding,) = own_server.findings(check="slot-left")
    assert finding["state"] == "ok"
    app.close()
    app.cluster.stop()
    app.cluster.be_standby()
    app.cluster.start()
    try:
        (finding,) = own_server.findings(check="slot-left")
        assert finding["state"] == "warning" and "keeps the primary's slot from being synchronized" in finding["text"]
        app.cluster.sql(finding["fix"]["text"], dbname=app.name)
        (finding,) = own_server.findings(check="slot-left")
        assert finding["state"] == "ok"
    finally:
        app.cluster.sql("SELECT pg_promote()")


def test_a_slot_of_a_standby_that_conflicts_with_its_recovery(own_server):
    """16 says `conflicting` of it, and from 17 on the server names the reason."""
    app = own_server.app
    since(app.cluster, 16, "a standby decodes")
    own_server.set_up()
    own_server.monitor()
    app.drop_slot()
    primary, standby = app.cluster, copy_of(app.cluster)
    try:
        app.close()
        with running_snapshots(primary):
            make = f"SET statement_timeout = '{PATIENCE:.0f}s'; SELECT pg_create_logical_replication_slot(%s, %s)"
            standby.sql(make, [app.slot, PLUGIN], dbname=app.name)
        # Rows of the catalog go that the slot needs, since the standby does not say so to the primary.
        primary.sql("CREATE TABLE gone (id int)", dbname=app.name)
        primary.sql("DROP TABLE gone", dbname=app.name)
        primary.sql("VACUUM pg_class", dbname=app.name)
        app.cluster = standby
        app.wait_until("SELECT conflicting FROM pg_replication_slots")
        is_lost(own_server, "conflict with recovery" if version(standby) == 16 else "rows_removed")
    finally:
        app.close()
        app.cluster = primary
        standby.remove()


# --- generated columns --------------------------------------------------------------------------------------------


@pytest.fixture
def generated(app, config):
    config.set("tables.things", section(type="thing", key="thing_id", groups=["requests_unit_{unit}"]))
    return app


def told_of(app, config, make_walpush, kind):
    """What a message says of a row that has a generated column."""
    app.sql(f"CREATE TABLE things (id int PRIMARY KEY, unit int, twice int GENERATED ALWAYS AS (unit * 2) {kind})")
    app.sql("ALTER TABLE things REPLICA IDENTITY FULL")
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        app.sql("INSERT INTO things VALUES (1, 1)")
        return client.recv()["data"]


def test_a_stored_generated_column(generated, config, make_walpush):
    """wal2json shows it. Of pgoutput it comes from 18 on, and nothing can make it come before."""
    shown = told_of(generated, config, make_walpush, "STORED")
    if PLUGIN == "wal2json":
        assert shown == {"id": 1, "unit": 1, "twice": 2}
    else:
        assert shown == {"id": 1, "unit": 1}


def test_a_stored_generated_column_that_the_publication_sends(generated, config, make_walpush):
    since(generated.cluster, 18, "a publication sends generated columns")
    if PLUGIN == "wal2json":
        pytest.skip("wal2json asks no publication")
    generated.sql(f"ALTER PUBLICATION {generated.slot} SET (publish_generated_columns = stored)")
    assert told_of(generated, config, make_walpush, "STORED") == {"id": 1, "unit": 1, "twice": 2}


def test_a_virtual_generated_column_is_never_sent(generated, config, make_walpush):
    since(generated.cluster, 18, "generated columns are virtual")
    assert told_of(generated, config, make_walpush, "VIRTUAL") == {"id": 1, "unit": 1}
