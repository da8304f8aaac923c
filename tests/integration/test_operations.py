"""docs/operations.md: what it says to type is typed here, in the situation that it is written for."""

import contextlib
import re
import secrets
import signal
import subprocess

import pytest

from harness.app import ASHA, fresh_app
from harness.client import PATIENCE
from harness.proxy import proxy
from harness.standby import copy_of
from harness.walpush import BINARY, SIGNING_KEY, Walpush, run_to_end, shipped_config
from throwaway.cluster import ROOT, Cluster

RUNBOOK = (ROOT / "docs/operations.md").read_text()
MONITORING = ROOT / "sql/monitoring.sql"
UNIT_1 = "/ws/requests/1/"


def block(heading, language="sql", number=1):
    """The nth block of code below a heading, as it stands."""
    (section,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```$", section, re.MULTILINE | re.DOTALL)
    return found[number - 1]


def type_in(app, text):
    """As the DBA, with psql; for the slot of this test."""
    script = app.cluster.directory / "typed.sql"
    script.write_text(text.replace("'walpush'", f"'{app.slot}'"))
    script.chmod(0o644)
    return app.cluster.psql(script, dbname=app.name)


@pytest.fixture
def own_cluster():
    with Cluster(fsync=False) as cluster:
        yield cluster


@pytest.fixture
def own_app(own_cluster):
    with fresh_app(own_cluster) as app:
        app.slot = "walpush"
        yield app.set_up()


def test_setting_up(bare_app, config, tmp_path):
    password = bare_app.cluster.passwords.setdefault("walpush", secrets.token_hex(8))
    config.write(tmp_path / "sidecar.conf")
    commands = block("Setting up", "sh").replace("'…'", password).replace("-d app", f"-d {bare_app.name}")
    env = {
        "DATABASE_URL": bare_app.url,
        "JWT_SIGNING_KEY": SIGNING_KEY,
        "WALPUSH_SLOT": bare_app.slot,
        "PGHOST": str(bare_app.cluster.directory),
        "PGPORT": str(bare_app.cluster.port),
        "PGUSER": "postgres",
        "PGPASSWORD": bare_app.cluster.passwords["postgres"],
        "PATH": f"{BINARY.parent}:{bare_app.cluster.bin}:/usr/bin:/bin",
    }
    done = subprocess.run(["bash", "-ec", commands], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failures" in done.stdout


def test_the_slot_is_lost(own_app, config, tmp_path):
    app = own_app
    app.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
    app.sql("SELECT pg_reload_conf()")
    with Walpush(config, tmp_path, app) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        mark = walpush.mark()
        walpush.send_signal(signal.SIGSTOP)
        try:
            for _ in range(3):
                app.sql("SELECT pg_logical_emit_message(true, 'x', repeat('x', 1 << 20)) FROM generate_series(1, 20)")
            app.sql("CHECKPOINT")
            app.wait_until("SELECT wal_status = 'lost' FROM pg_replication_slots")
        finally:
            walpush.send_signal(signal.SIGCONT)
        walpush.wait_for_log("is lost", since=mark)
        app.touch(app.request)
        type_in(app, block("The slot is lost"))
        assert client.recv(timeout=3 * PATIENCE)["type"] == "resync"
        app.touch(app.request, "after")
        assert client.recv()["data"]["purpose"].endswith("after")


def test_the_slot_holds_wal(own_app):
    app = own_app
    app.cluster.psql(MONITORING, dbname=app.name)
    assert "unread" in type_in(app, block("The slot holds WAL", number=1))
    with contextlib.closing(app.connect(autocommit=False)) as idle, idle.cursor() as cursor:
        cursor.execute("SELECT 1")
        query = block("The slot holds WAL", number=3).replace("5 minutes", "0 seconds")
        assert "idle in transaction" in type_in(app, query)
    type_in(app, block("The slot holds WAL", number=4))
    app.wait_until("SELECT current_setting('max_slot_wal_keep_size') = '10GB'")
    type_in(app, block("The slot holds WAL", number=2))
    assert app.sql("SELECT * FROM pg_replication_slots") == []


def test_the_publication_does_not_exist(own_app, config, tmp_path):
    """It is made again, and the slot still has a row from the time without it."""
    app = own_app
    if app.value("SELECT current_setting('server_version_num')::int") >= 180000:
        pytest.skip("PostgreSQL 18 skips such rows")
    app.drop_slot()
    app.create_slot("pgoutput")
    config.set("database.watch", 1)
    with Walpush(config, tmp_path, app) as walpush:
        with walpush.subscribe(UNIT_1, ASHA) as client:
            app.sql("DROP PUBLICATION walpush")
            app.touch(app.request)
            line = walpush.wait_for_log("not streaming, trying again.*42704")
            assert 'publication "walpush" does not exist' in line.replace("\\", "") and "The publication" in line
            assert client.close_code(timeout=PATIENCE) == 1013
        app.sql("CREATE PUBLICATION walpush FOR ALL TABLES WITH (publish_via_partition_root = true)")
    walpush = Walpush(config, tmp_path, app).start(streaming=False)
    walpush.wait_for_log("not streaming, trying again.*42704")
    walpush.stop()
    app.wait_for_no_reader()
    type_in(app, block("The publication"))
    app.create_slot("pgoutput")
    with Walpush(config, tmp_path, app) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request, "after")
        assert client.recv()["data"]["purpose"].endswith("after")


def test_a_new_password(own_app, config, tmp_path):
    app = own_app
    file = tmp_path / "url"
    file.write_text(app.url + "\n")
    config.remove("database.url").set("database.url-file", str(file))
    with Walpush(config, tmp_path, app) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        type_in(app, block("Rotation"))
        # Those that are open stay so.
        app.touch(app.request)
        assert client.recv()["request_id"] == app.request
        app.cluster.passwords["walpush"] = "the new one"
        walpush.secrets.append("the%20new%20one")
        file.write_text(app.url + "\n")
        mark = walpush.mark()
        app.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'walpush'")
        walpush.wait_for_log('msg="?streaming', since=mark)
        app.touch(app.request, "with the new one")
        assert client.recv()["data"]["purpose"].endswith("with the new one")


def test_failover(own_app, config, tmp_path):
    """To a standby that has no slot, through a URL that names both servers."""
    app, primary = own_app, own_app.cluster
    standby = copy_of(primary)
    try:
        password = primary.passwords["walpush"]
        url = (
            f"postgresql://walpush:{password}@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/{app.name}"
            "?target_session_attrs=primary"
        )
        with Walpush(config, tmp_path, app, url=url) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
            mark = walpush.mark()
            primary.stop("immediate")
            standby.sql("SELECT pg_promote()")
            walpush.wait_for_log("does not exist", since=mark)
            app.cluster = standby
            app.close()
            type_in(app, block("Failover"))
            assert client.recv(timeout=3 * PATIENCE)["type"] == "resync"
            app.touch(app.request, "on the new primary")
            assert client.recv()["data"]["purpose"].endswith("on the new primary")
            file = config.write(tmp_path / "sidecar.conf")
            done = run_to_end("check", "-c", file, env=walpush.env)
            assert done.returncode == 0, done.stdout
    finally:
        app.close()
        app.cluster = primary
        standby.remove()


def test_sessions_on_two_servers(own_app, config, tmp_path):
    """After a failover that went half: a name leads sessions to one primary, and the stream still comes from the other."""
    app, primary = own_app, own_app.cluster
    other = copy_of(primary)
    sessions_at = [primary.port]

    def port_for(first):
        return primary.port if b"replication" in first else sessions_at[0]

    try:
        other.sql("SELECT pg_promote()")
        with proxy(port_for) as port:
            url = f"postgresql://walpush:{primary.passwords['walpush']}@127.0.0.1:{port}/{app.name}"
            with Walpush(config, tmp_path, app, url=url) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
                app.touch(app.request)
                assert client.recv()["request_id"] == app.request
                sessions_at[0] = other.port
                mark = walpush.mark()
                app.sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE usename = 'walpush' AND backend_type = 'client backend'"
                )
                walpush.wait_for_log("a session is on another server than the replication stream", since=mark)
                app.touch(app.request, "is not shown by the other server")
                assert walpush.admin("/readyz").status == 503
                sessions_at[0] = primary.port
                assert client.recv(timeout=3 * PATIENCE)["data"]["purpose"].endswith("is not shown by the other server")
    finally:
        other.remove()
