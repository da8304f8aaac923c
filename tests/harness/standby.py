"""A primary and its hot standby, which streams from it and may decode."""

import contextlib
import shutil
import subprocess
import threading
import time

from harness.app import PLUGIN
from harness.client import PATIENCE
from throwaway.cluster import ROLE, Cluster

SLOT = "standby"  # the physical one, of which a standby reads


def copy_of(primary, dbname=None, **settings):
    """A hot standby of that server; `dbname`: where its worker for slots connects to."""
    standby = Cluster(fsync=False)
    shutil.rmtree(standby.data)
    if "local replication" not in primary.hba:
        primary.hba = primary.hba + "local replication all scram-sha-256\n"
        primary.reload()
    env = {"PGPASSWORD": primary.passwords["postgres"], "PATH": "/usr/bin:/bin"}
    command = primary.command("pg_basebackup", "-h", primary.directory, "-p", primary.port, "-U", "postgres")
    command += ["-D", str(standby.data), "--checkpoint=fast"]
    subprocess.run(command, env=env, cwd=standby.directory, check=True, capture_output=True)
    # Not what pg_basebackup would write: the server may load an older libpq, which does not know all of its words.
    there = f"host={primary.directory} port={primary.port} user=postgres password={primary.passwords['postgres']}"
    there += f" dbname={dbname}" if dbname else ""
    lines = {"port": standby.port, "unix_socket_directories": standby.directory, "primary_conninfo": there, **settings}
    with open(standby.data / "postgresql.auto.conf", "a", encoding="utf-8") as conf:
        conf.writelines(f"{name} = '{value}'\n" for name, value in lines.items())
    standby.be_standby()
    standby.passwords = primary.passwords
    return standby.start()


def fed_by_slot(primary, **settings):
    """As a DBA makes a standby for decoding: the primary keeps what it needs."""
    primary.sql("SELECT pg_create_physical_replication_slot(%s, true)", [SLOT])
    return copy_of(primary, primary_slot_name=SLOT, hot_standby_feedback="on", wal_retrieve_retry_interval="200ms", wal_receiver_status_interval="1s", **settings)


@contextlib.contextmanager
def running_snapshots(primary):
    """What a slot on a standby waits for, which a primary logs only now and then."""
    done = threading.Event()

    def log():
        while not done.wait(0.2):
            primary.sql("SELECT pg_log_standby_snapshot()")

    thread = threading.Thread(target=log)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def wait_for_replay(primary, standby):
    """Returns when the standby has all that is committed now."""
    (end,) = primary.sql("SELECT pg_current_wal_insert_lsn()")[0]
    deadline = time.monotonic() + PATIENCE
    while not standby.sql("SELECT pg_last_wal_replay_lsn() >= %s", [end])[0][0]:
        assert time.monotonic() < deadline, standby.log()
        time.sleep(0.01)


def decode_on(standby, app, plugin=PLUGIN):
    """The application's slot is on the standby, and what it needs besides is on the primary."""
    primary = app.cluster
    if plugin == "pgoutput":
        app.sql(f"CREATE PUBLICATION {app.slot} FOR ALL TABLES WITH (publish_via_partition_root = true)")
    app.sql(f"GRANT SELECT ON requests, crates, storages, sendbacks, user_units, roles, units TO {ROLE}")
    wait_for_replay(primary, standby)
    make = f"SET statement_timeout = '{PATIENCE:.0f}s'; SELECT pg_create_logical_replication_slot(%s, %s)"
    with running_snapshots(primary):
        standby.sql(make, [app.slot, plugin], dbname=app.name)
    wait_for_replay(primary, standby)
