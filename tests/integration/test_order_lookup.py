"""A lookup that waits holds back what was committed later, and nothing is lost or reordered for it."""

import contextlib

import pytest

from harness.app import ASHA
from harness.client import PATIENCE, Listener, assert_in_order
from harness.walpush import ROW_MARK, patient

UNIT_1 = "/ws/requests/1/"
MIB = 1 << 20
WAITING = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE usename = 'walpush' AND wait_event_type = 'Lock')"


@pytest.fixture
def gated(app, config, make_walpush):
    """The lookup of sendbacks reads a table that the test can lock; one connection hears requests and sendbacks."""
    app.sql("CREATE TABLE gate AS SELECT 1 AS open")
    app.sql("GRANT SELECT ON gate TO walpush")
    # An admission does not wait for the lookup, however long the machine takes for it.
    patient(config).set("limits.admit-timeout", 60)
    config.set("limits.group-bytes", 1 << 30).set("limits.log-bytes", 1 << 30).set("limits.stall", 600)
    config.set(
        "tables.sendbacks.lookup",
        "SELECT r.withdrawn_by_id AS user_id FROM requests r, gate WHERE r.id = {request_id}",
    )
    config.set("streams.requests.groups", ["requests_unit_{path.unit_id}", "notifications_user_{token.user_id}"])
    with make_walpush(app, config) as walpush:
        yield walpush


@contextlib.contextmanager
def closed_gate(app):
    connection = app.connect(autocommit=False)
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE gate")
    try:
        yield
    finally:
        connection.rollback()
        connection.close()


def sent_to_walpush(app, lsn):
    """Waits until the walsender has sent everything up to the position."""
    app.wait_until(
        "SELECT coalesce(bool_and(sent_lsn >= %s), false) FROM pg_stat_replication WHERE usename = 'walpush'", lsn
    )


def test_later_transactions_wait_for_the_lookup(app, gated):
    with gated.subscribe(UNIT_1, ASHA) as client, gated.subscribe("/ws/crates/1/", ASHA) as bystander:
        with closed_gate(app):
            key = app.insert_sendback(app.request)
            app.wait_until(WAITING)
            for _ in range(10):
                app.touch(app.request)
            app.sql("UPDATE crates SET status = 'Archived' WHERE id = %s", app.crate)
            sent_to_walpush(app, app.value("SELECT pg_current_wal_lsn()"))
            # Everything has left the server; a moment for what must not come.
            for each in (client, bystander):
                with pytest.raises(TimeoutError):
                    each.recv(timeout=0.3)
        messages = client.recv_n(11)
        assert messages[0]["sendback_id"] == key
        assert all(m["request_id"] == app.request for m in messages[1:])
        assert_in_order(messages)
        assert bystander.recv()["type"] == "crate.updated"


def test_a_row_that_is_ahead_in_its_own_transaction_waits_too(app, gated):
    """A transaction is published whole."""
    with gated.subscribe(UNIT_1, ASHA) as client:
        with closed_gate(app):
            with app.transaction() as cursor:
                cursor.execute("UPDATE requests SET status = 'Sent Back' WHERE id = %s", (app.request,))
                cursor.execute(
                    "INSERT INTO sendbacks (request_id, reason, created_by_id, sendback_type)"
                    " VALUES (%s, %s, %s, 'Change Request')",
                    (app.request, ROW_MARK, ASHA),
                )
            app.wait_until(WAITING)
            with pytest.raises(TimeoutError):
                client.recv(timeout=0.3)
        first, second = client.recv_n(2)
        assert (first["type"], first["action"]) == ("request.updated", "sent_back")
        assert second["type"] == "sendback.created"
        assert (first["id"].partition("-")[0], first["id"][-2:], second["id"][-2:]) == (
            second["id"].partition("-")[0],
            "-1",
            "-2",
        )


def test_new_connections_are_admitted_while_a_lookup_waits(app, gated):
    with closed_gate(app):
        app.insert_sendback(app.request)
        app.wait_until(WAITING)
        with gated.subscribe(UNIT_1, ASHA):
            pass


BUFFER_IS_FULL = (
    "SELECT coalesce(bool_and(wait_event = 'WalSenderWriteData'), false) FROM pg_stat_activity"
    " WHERE backend_type = 'walsender' AND datname = current_database()"
)


def insert_many(app, rows):
    """The first id of so many requests of unit 1 in a row."""
    app.sql(
        "INSERT INTO requests (request_type, crate_id, unit_id, status, purpose)"
        " SELECT 'Storage', %s, 1, 'Many', 'x' FROM generate_series(1, %s)",
        app.crate,
        rows,
    )
    return app.value("SELECT min(id) FROM requests WHERE status = 'Many'")


def fill(app, first, rounds):
    """Far more than any buffer holds, until the server stops because we do not read any more."""
    for i in range(rounds):
        app.sql("UPDATE requests SET purpose = %s WHERE id >= %s", f"{ROW_MARK}{i}" + "x" * 1000, first)
    app.wait_until(BUFFER_IS_FULL, timeout=3 * PATIENCE)


def test_what_waits_is_bounded_and_all_of_it_comes(app, gated, capsys):
    """The stream is not read any more while too much waits, and then goes on where it was."""
    rows, rounds = 100, 500
    first = insert_many(app, rows)
    app.settle(gated)
    listener = Listener(gated.subscribe(UNIT_1, ASHA))
    before = gated.rss()
    with closed_gate(app):
        key = app.insert_sendback(app.request)
        app.wait_until(WAITING)
        fill(app, first, rounds)
        growth = gated.rss() - before
    with capsys.disabled():
        print(f"\n{growth / MIB:.0f} MiB more while {rows * rounds} changes waited")
    assert growth < 64 * MIB
    everything = listener.wait_until(lambda messages: len(messages) > rows * rounds, timeout=10 * PATIENCE)
    assert len(everything) == 1 + rows * rounds
    assert everything[0]["sendback_id"] == key
    assert {m["type"] for m in everything[1:]} == {"request.updated"}
    assert_in_order(everything)


def test_a_fast_shutdown_while_the_buffer_is_full(cluster, app, gated):
    """The server wants its walsender to come to an end, which cannot write; nobody waits for anybody for ever."""
    first = insert_many(app, 100)
    app.settle(gated)
    listener = Listener(gated.subscribe(UNIT_1, ASHA))
    blocker = app.connect(autocommit=False)
    with blocker.cursor() as cursor:
        cursor.execute("LOCK TABLE gate")
    key = app.insert_sendback(app.request)
    app.wait_until(WAITING)
    fill(app, first, 100)
    app.close()
    cluster.stop("fast", timeout=PATIENCE)
    cluster.start()
    everything = listener.wait_until(lambda messages: len(messages) > 10_000, timeout=10 * PATIENCE)
    assert (len(everything), everything[0].get("sendback_id")) == (10_001, key)
    assert_in_order(everything)
