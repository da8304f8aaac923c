"""Rows of hundreds of MB: what is behind each arrives, everybody is told `resync` at most once, and a restart does not meet it again.

The figures are printed: how long it lasted, what /readyz said meanwhile, and the peak of memory.
"""

import contextlib
import os
import pathlib
import threading
import time

import pytest

from harness.app import ASHA, MEENA, fresh_app
from harness.redis import Redis
from throwaway.cluster import Cluster
from throwaway.config import Raw

UNIT_1 = "/ws/requests/1/"
MIB = 1 << 20
LONG = 300  # seconds: a row of half a GB is decoded three times
RETAINED = """SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint FROM pg_replication_slots
              WHERE slot_name = %s"""
CGROUPS = pathlib.Path("/sys/fs/cgroup/memory")

# Of a column that no message shows: 200 MB of control characters are over 1 GB as JSON; a bytea of 528 MB is so as hexadecimal digits.
CONTROL = "UPDATE requests SET scan = repeat(E'\\x01', 200000000) WHERE id = %s"
BYTEA = "UPDATE requests SET image = convert_to(repeat('abcdefghijklmnop', 33 * 1024 * 1024), 'UTF8') WHERE id = %s"
TEXT = "UPDATE requests SET scan = repeat('x', {}) WHERE id = %s"


def resyncs(messages):
    return [m["reason"] for m in messages if m["type"] == "resync"]


def behind(client):
    return client.recv_until(lambda m: m.get("data") and m["data"]["purpose"] == "behind", timeout=LONG)


def peak(walpush):
    status = pathlib.Path(f"/proc/{walpush.process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) // 1024


@contextlib.contextmanager
def cgroup(limit):
    """A command that puts what it runs into a group with so many bytes."""
    group = CGROUPS / f"walpush-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(limit))
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    try:
        yield ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
    finally:
        deadline = time.monotonic() + 10
        while True:
            try:
                group.rmdir()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)


@pytest.fixture
def large(app):
    """Columns that are not shown, and a row that is written once: its old image is as large."""
    app.sql("ALTER TABLE requests ADD COLUMN scan text, ADD COLUMN image bytea")
    app.other = app.insert_request(1)
    return app


class Probe(threading.Thread):
    """Asks /readyz all the time; what it says, in order, each once."""

    def __init__(self, walpush):
        super().__init__(daemon=True)
        self.walpush, self.said, self.over = walpush, [], threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()

    def run(self):
        while not self.over.wait(0.2):
            answer = self.walpush.admin("/readyz")
            said = f"{answer.status} {answer.body.decode().strip()}"
            if said not in self.said:
                self.said.append(said)


def goes_by(app, config, make_walpush, statement, under=(), replicas=1):
    """The reasons of each client's resyncs, and the process that holds the slot."""
    config.set("tables.requests.exclude", ["scan", "image"])
    with contextlib.ExitStack() as resources:
        replicas = [make_walpush(app, config, under=under).start(streaming=i == 0) for i in range(replicas)]
        for one in replicas:
            resources.callback(one.stop)
        holder = replicas[0]
        clients = [resources.enter_context(one.subscribe(UNIT_1, ASHA)) for one in replicas]
        revoked = resources.enter_context(replicas[-1].subscribe(UNIT_1, MEENA))
        began = time.monotonic()
        with Probe(holder) as probe:
            with app.transaction() as cursor:
                cursor.execute(statement, (app.other,))
                cursor.execute("UPDATE users SET status = 'Suspended' WHERE id = %s", (MEENA,))
            app.sql("UPDATE requests SET purpose = 'behind' WHERE id = %s", app.request)
            found = [resyncs(behind(client)) for client in clients]
        took = time.monotonic() - began
        print(f"\n{took:.1f} s, peak {[peak(one) for one in replicas]} MiB, resyncs {found}, /readyz {probe.said}")
        assert all(len(one) <= 1 for one in found), found
        messages, code = revoked.drain_to_close(timeout=LONG)
        assert code == 4403 and all(m["type"] == "resync" for m in messages)
        mark = holder.mark()
        holder.stop()
        holder.start(streaming=len(replicas) == 1)
        app.settle(replicas[-1])  # what fits is read again first
        with replicas[-1].subscribe(UNIT_1, ASHA) as client:
            app.sql("UPDATE requests SET purpose = 'later' WHERE id = %s", app.request)
            assert not resyncs(client.recv_until(lambda m: m.get("data") and m["data"]["purpose"] == "later"))
        assert "passed over" not in holder.log(mark) and "stepped over" not in holder.log(mark)
        return found, holder


@pytest.mark.parametrize("statement", [CONTROL, BYTEA], ids=["control characters", "bytea"])
def test_what_the_plugin_cannot_print(large, config, make_walpush, statement):
    found, holder = goes_by(large, config, make_walpush, statement)
    assert found == [["skipped"]]
    holder.wait_for_log("a transaction is passed over")


def test_replicas_are_told_through_the_relay(large, config, make_walpush):
    with Redis() as redis:
        config.set("relay", Raw(f'{{ url = "{redis.url}" }}'))
        found, _ = goes_by(large, config, make_walpush, CONTROL, replicas=3)
        assert found == [["skipped"]] * 3


def test_under_a_limit_of_address_space(large, config, make_walpush):
    """It lives; whether there was memory for the row or not, nobody misses a change."""
    goes_by(large, config, make_walpush, TEXT.format(150_000_000), under=["prlimit", "--as=734003200"])


def test_in_a_container_of_512_mib(large, config, make_walpush):
    with cgroup(512 * MIB) as under:
        found, _ = goes_by(large, config, make_walpush, TEXT.format(300_000_000), under=under)
        assert found == [["skipped"]]


def test_what_fits_takes_no_more_than_is_said(large, config, make_walpush):
    """libpq's buffer, which is the next power of two, and 1.1 times the record."""
    config.set("limits.record-bytes", 400 * MIB)
    found, holder = goes_by(large, config, make_walpush, TEXT.format(200_000_000))
    assert found == [[]]


@pytest.mark.parametrize("idle", [True, False], ids=["idle", "with messages"])
def test_a_slot_under_a_bound_lives_through_a_burst(config, make_walpush, idle):
    """200 MB of WAL may be kept, and 400 MB are written at once, in another database; with a replay window of 64 MiB too."""
    with Cluster({"max_slot_wal_keep_size": "200MB"}) as cluster, fresh_app(cluster) as app, fresh_app(cluster) as other:
        app.set_up()
        other.sql("CREATE TABLE burst (data bytea); ALTER TABLE burst ALTER data SET STORAGE EXTERNAL")
        with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client, Probe(walpush) as probe:
            began, worst = time.monotonic(), 0
            for _ in range(10):
                other.sql("INSERT INTO burst SELECT decode(repeat(md5(random()::text), 2500000), 'hex')")
                other.sql("CHECKPOINT")
                if not idle:
                    app.touch(app.request)
                    client.recv()
                worst = max(worst, app.value(RETAINED, app.slot))
            took = time.monotonic() - began
            status = app.value("SELECT wal_status FROM pg_replication_slots WHERE slot_name = %s", app.slot)
            print(f"\n400 MB in {took:.1f} s, at most {worst / MIB:.0f} MiB kept, {status}, /readyz {probe.said}")
            assert status != "lost"
            app.sql("UPDATE requests SET purpose = 'behind' WHERE id = %s", app.request)
            assert not resyncs(behind(client))
