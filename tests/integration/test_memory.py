"""Memory is bounded by the configuration, not by what is written."""

import pathlib

import pytest

from harness.app import ASHA, SAM
from harness.client import Listener
from harness.walpush import ROW_MARK

MIB = 1 << 20
ROWS, ROUNDS = 50_000, 10

pytestmark = pytest.mark.plain(reason="a sanitizer's own memory would be measured")


def reset_peak(process):
    """From now on peak_rss() counts anew: see clear_refs in proc(5)."""
    pathlib.Path(f"/proc/{process.process.pid}/clear_refs").write_text("5")


@pytest.fixture
def large_app(bare_app):
    """Many requests of unit 1, written before there is a slot."""
    bare_app.sql(
        "INSERT INTO requests (request_type, crate_id, unit_id, request_date, status, withdrawn_by_id, purpose,"
        " full_withdrawal, created_at, updated_at)"
        " SELECT request_type, crate_id, unit_id, request_date, 'Many', withdrawn_by_id, purpose, full_withdrawal,"
        " created_at, updated_at FROM requests, generate_series(1, %s) WHERE id = %s",
        ROWS,
        bare_app.request,
    )
    return bare_app.set_up()


def test_one_transaction_of_500_000_updates(large_app, config, make_walpush, capsys):
    # Without lookups, past whose limit there is a resync instead of a count.
    config.remove("tables.requests.lookup").set("tables.requests.groups", ["requests_unit_{unit_id}"])
    with make_walpush(large_app, config) as walpush:
        listeners = [Listener(walpush.subscribe("/ws/requests/1/", ASHA)) for _ in range(10)]
        large_app.touch(large_app.request, "warm")
        for listener in listeners:
            listener.wait_until(lambda messages: messages)
        reset_peak(walpush)
        before = walpush.rss()
        with large_app.transaction() as cursor:
            for i in range(ROUNDS):
                cursor.execute("UPDATE requests SET purpose = %s WHERE status = 'Many'", (f"{ROW_MARK} {i}",))
        large_app.touch(large_app.request, "still there")
        for listener in listeners:
            _, *single, bulk, last = listener.wait_until(lambda messages: len(messages) >= 1003, timeout=300)
            assert len(single) == 1000
            assert (bulk["type"], bulk["count"]) == ("request.bulk", ROWS * ROUNDS - 1000)
            assert last["data"]["purpose"].endswith("still there")
        growth = walpush.peak_rss() - before
        with capsys.disabled():
            print(f"\n{ROWS * ROUNDS} updates in one transaction: {growth / MIB:.1f} MiB more at the peak")
        assert growth < 64 * MIB


def insert_in_units(app, first, last):
    """A storage for each of these units: a group each."""
    with app.transaction() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # no foreign keys
        cursor.execute(
            "INSERT INTO storages (unit_id, room_name, rack_name, compartment_name)"
            " SELECT n, 'room', 'rack', 'compartment' FROM generate_series(%s, %s) n",
            (first, last),
        )


def test_many_groups(app, config, make_walpush, capsys):
    """What groups cost stays within limits.log-bytes, and who comes back to one that was forgotten must refetch."""
    limit, groups, step = 64 * MIB, 400_000, 50_000
    config.set("limits.log-bytes", limit)
    with make_walpush(app, config) as walpush:
        heard = Listener(walpush.subscribe("/ws/storage/1/", SAM))
        with walpush.subscribe("/ws/storage/10/", SAM) as client:
            epoch = client.hello["epoch"]
            insert_in_units(app, 10, 10)
            last = client.recv()["id"]
        insert_in_units(app, 10, 10)
        before = walpush.rss()
        for first in range(11, groups, step):
            insert_in_units(app, first, first + step - 1)
        app.insert_storage(1)
        heard.wait_until(lambda messages: messages, timeout=300)
        growth, counted = walpush.rss() - before, walpush.metric("walpush_log_bytes")
        with capsys.disabled():
            print(f"\n{groups} groups: {counted / MIB:.1f} MiB counted, {growth / MIB:.1f} MiB more resident")
        assert 0.9 * limit < counted <= limit
        assert walpush.metric("walpush_groups") < groups / 2
        # The buffers of a transaction of 16 MiB, the intake's and the frame's, stay with the allocator.
        assert growth < 1.2 * limit + 64 * MIB
        with walpush.subscribe(f"/ws/storage/10/?since={last}&epoch={epoch}", SAM) as client:
            assert client.recv()["type"] == "resync"


def test_idle_connections_are_cheap(app, config, make_walpush, capsys):
    config.set("limits.per-user", 0).set("limits.handshakes-per-second", 0)
    with make_walpush(app, config) as walpush:
        first = [walpush.subscribe("/ws/requests/1/", ASHA) for _ in range(100)]
        before = walpush.rss()
        more = [walpush.subscribe("/ws/requests/1/", ASHA) for _ in range(900)]
        each = (walpush.rss() - before) / len(more)
        with capsys.disabled():
            print(f"\n{each / 1024:.1f} KiB for each idle connection")
        assert each < 16 * 1024
        app.touch(app.request, "to all")
        for client in first + more:
            assert client.recv()["request_id"] == app.request
