"""Each fault alone, under load where that matters; tests/chaos has them all at once."""

import contextlib
import signal
import socket
import statistics
import struct
import threading
import time

import psycopg2
import psycopg2.extras
import pytest

from harness.app import ASHA, BOB, MEENA, RAVI, ROOT_USER, SAM
from harness.client import PATIENCE, SLOWDOWN, Closed, Listener, assert_in_order, event_key
from harness.load import LONG, UNIT_1, Follower, Load, number_of
from harness.shim import build_before_a_mutex
from harness.walpush import ROW_MARK, SANITIZED, patient

MIB = 1 << 20
WAITING_PID = "SELECT min(pid) FROM pg_stat_activity WHERE usename = 'walpush' AND wait_event_type = 'Lock'"
WAITS_FOR_A_LOCK = f"SELECT ({WAITING_PID}) IS NOT NULL"


class Current:
    """The process of the moment; each start is a process of its own."""

    def __init__(self, make_walpush, app, config):
        self._make = lambda: make_walpush(app, config)
        self.start()

    def start(self):
        self.walpush = self._make().start()

    def address(self):
        return self.walpush.port, self.walpush.token

    def followers(self):
        return [Follower(self.address, user) for user in (ASHA, RAVI, MEENA, ROOT_USER, SAM)]


@pytest.fixture
def current(app, config, make_walpush):
    """A log that holds all that a slow machine commits while the process is away: 1 MiB is only some 1,500 of these messages."""
    config.set("limits.group-bytes", 256 * MIB).set("limits.log-bytes", 256 * MIB)
    return Current(make_walpush, app, config)


# --- the sidecar ---------------------------------------------------------------------------------------------------


def test_killed_under_load(app, current):
    followers = current.followers()
    with Load(app) as load:
        for _ in range(3):
            load.wait_for(100)
            current.walpush.kill()
            current.start()
        load.wait_for(100)
    for follower in followers:
        follower.check(load.committed, resumed=3)


def test_terminated_under_load(app, current):
    followers = current.followers()
    with Load(app) as load:
        load.wait_for(100)
        current.walpush.stop()
        current.start()
        load.wait_for(100)
    for follower in followers:
        follower.check(load.committed, resumed=1)


def test_ids_do_not_depend_on_what_lookups_answer(app, current):
    """A crash has the window decoded again, by when a lookup may answer otherwise; clients know the old ids."""
    doomed = app.insert_request(1)
    second = app.insert_request(1)
    app.settle(current.walpush)
    with current.walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request, "before")
        before = client.recv()
        with app.transaction() as cursor:
            cursor.execute(
                "INSERT INTO sendbacks (request_id, reason, created_by_id, sendback_type)"
                " VALUES (%s, %s, %s, 'Return Note')",
                (doomed, ROW_MARK, ASHA),
            )
            cursor.execute("UPDATE requests SET status = 'Approved' WHERE id = ANY (%s)", ([app.request, second],))
        heard = client.recv_n(2)
        epoch = client.hello["epoch"]
    app.sql("DELETE FROM sendbacks WHERE request_id = %s", doomed)
    app.sql("DELETE FROM requests WHERE id = %s", doomed)
    current.walpush.kill()
    current.start()
    with current.walpush.connect(f"{UNIT_1}?since={before['id']}&epoch={epoch}", ASHA) as client:
        assert client.established().get("resumed") is True
        assert [again.raw for again in client.recv_n(2)] == [message.raw for message in heard]


def test_nobody_resumes_inside_of_a_transaction_from_a_process_that_is_gone(app, current):
    """What stood at its end there, because a query was not answered, may have an earlier number here."""
    with current.walpush.subscribe(UNIT_1, ASHA) as client:
        with app.transaction() as cursor:
            for purpose in ("one", "two"):
                cursor.execute("UPDATE requests SET purpose = %s WHERE id = %s", (purpose, app.request))
        heard = client.recv_n(2)
        epoch = client.hello["epoch"]
    inside, end = (f"{UNIT_1}?since={message['id']}&epoch={epoch}" for message in heard)
    with current.walpush.connect(inside, ASHA) as client:
        assert client.established()["resumed"], "the same process knows what it said"
        assert client.recv().raw == heard[1].raw
    current.walpush.kill()
    current.start()
    with current.walpush.connect(end, ASHA) as client:
        assert client.established()["resumed"]
    with current.walpush.connect(inside, ASHA) as client:
        assert "resumed" not in client.established()
        assert client.recv()["reason"] == "history"


def test_ids_do_not_depend_on_a_lookup_that_names_a_group_left(app, current):
    """A row leaves the central unit; while its crate is central, the lookup names that unit again: no unit is left."""
    central, other = 3, app.request
    crate = app.insert_crate(1, to_central=True)
    moving = app.insert_request(central, crate_id=crate)
    app.settle(current.walpush)
    with current.walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(other, "before")
        before = client.recv()
        with app.transaction() as cursor:
            cursor.execute("UPDATE requests SET unit_id = 1 WHERE id = %s", (moving,))
            cursor.execute("UPDATE requests SET status = 'Approved' WHERE id = %s", (other,))
        heard = client.recv_n(2)
        epoch = client.hello["epoch"]
    app.sql("UPDATE crates SET to_central = false WHERE id = %s", crate)
    app.touch(other, "the end")
    current.walpush.kill()
    current.start()
    with current.walpush.connect(f"{UNIT_1}?since={before['id']}&epoch={epoch}", ASHA) as client:
        assert client.established().get("resumed") is True
        *again, end = client.recv_n(3)
        assert [message.raw for message in again] == [message.raw for message in heard]
        assert end["data"]["purpose"].endswith("the end")


def test_nobody_is_told_of_a_move_that_the_lookup_takes_back(app, config, make_walpush):
    """Also beyond the number of lookups of one transaction: then there is a resync instead."""
    config.set("limits.bulk", 2)
    with make_walpush(app, config) as walpush:
        crate = app.insert_crate(1, to_central=True)
        rows = [app.insert_request(3, crate_id=crate) for _ in range(4)]
        app.settle(walpush)
        with walpush.subscribe("/ws/requests/3/", ROOT_USER) as client:
            app.sql("UPDATE requests SET unit_id = 1 WHERE id = ANY (%s)", rows)
            last = app.insert_request(3)
            *messages, end = client.recv_until(lambda m: m.get("request_id") == last)
            assert end["action"] == "created"
            assert [m["type"] for m in messages] == ["request.updated"] * 2 + ["resync"]


# --- its connections -----------------------------------------------------------------------------------------------


def end_backends(app, which):
    app.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'walpush'"
        f" AND backend_type = '{which}' AND datname = current_database()"
    )


def test_the_walsender_ended_under_load(app, current):
    followers = current.followers()
    with Load(app) as load:
        for _ in range(5):
            load.wait_for(60)
            end_backends(app, "walsender")
        load.wait_for(100)
    for follower in followers:
        follower.check(load.committed)
        assert len(follower.hellos) == 1, "the client's connection has nothing to do with it"


@pytest.fixture
def gated(app, config):
    """The lookup of sendbacks reads a table that the test can lock, and waits as long as it must."""
    app.sql("CREATE TABLE gate AS SELECT 1 AS open")
    app.sql("GRANT SELECT ON gate TO walpush")
    patient(config).set(
        "tables.sendbacks.lookup",
        "SELECT r.withdrawn_by_id AS user_id FROM requests r, gate WHERE r.id = {request_id}",
    )


@contextlib.contextmanager
def closed_gate(app):
    connection = app.connect(autocommit=False)
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE gate")
    yield
    connection.close()


def test_the_sql_session_ended_in_the_middle_of_lookups(app, config, make_walpush, gated):
    with make_walpush(app, config) as walpush:
        with walpush.subscribe(f"/ws/notifications/{ASHA}/", ASHA) as notes, walpush.subscribe(UNIT_1, ASHA) as unit:
            with closed_gate(app):
                keys = [app.insert_sendback(app.request) for _ in range(20)]
                app.touch(app.request, "behind them")
                for _ in range(3):
                    app.wait_until(WAITS_FOR_A_LOCK)
                    pid = app.value(WAITING_PID)
                    end_backends(app, "client backend")
                    app.wait_until(f"SELECT coalesce(({WAITING_PID}) <> %s, false)", pid)  # the next session asks again
            messages = [notes.recv(timeout=LONG) for _ in keys]
            assert [m.get("sendback_id") for m in messages] == keys
            assert_in_order(messages)
            behind = unit.recv(timeout=LONG)
            assert event_key(behind) > event_key(messages[-1])


# --- PostgreSQL ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_postgresql_restarted_under_load(cluster, app, current, mode):
    followers = current.followers()
    with Load(app) as load:
        for _ in range(2):
            load.wait_for(100)
            app.close()
            cluster.restart(mode)
        load.wait_for(100)
    for follower in followers:
        follower.check(load.committed)
        assert len(follower.hellos) == 1


def stop_in_time(cluster, app):
    """Fast: PostgreSQL waits for its walsender to have everything confirmed, if need be for wal_sender_timeout, 60 s."""
    app.close()
    start = time.monotonic()
    cluster.stop("fast")
    took = time.monotonic() - start
    cluster.start()
    assert took < PATIENCE, f"{took:.1f} s"


def test_postgresql_stops_in_time_while_idle(cluster, app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request)
        client.recv()
        mark = walpush.mark()
        stop_in_time(cluster, app)
        walpush.wait_for_log('msg="?streaming', since=mark, timeout=LONG)


def test_postgresql_stops_in_time_under_load(cluster, app, current):
    followers = current.followers()
    with Load(app) as load:
        load.wait_for(100)
        stop_in_time(cluster, app)
        load.wait_for(100)
    for follower in followers:
        follower.check(load.committed)


def test_postgresql_stops_in_time_while_a_lookup_hangs(cluster, app, config, make_walpush, gated):
    with make_walpush(app, config) as walpush:
        with walpush.subscribe(f"/ws/notifications/{ASHA}/", ASHA) as client, closed_gate(app):
            key = app.insert_sendback(app.request)
            app.wait_until(WAITS_FOR_A_LOCK)
            stop_in_time(cluster, app)
            assert client.recv(timeout=LONG)["sendback_id"] == key


def test_wal_of_other_tables_is_let_go(app, config, make_walpush):
    """Nothing of ours is written: the slot must not hold back what is."""
    config.set("replay.seconds", 2)
    app.sql("CREATE TABLE other (n int)")
    with make_walpush(app, config) as walpush:
        with walpush.subscribe(UNIT_1, ASHA) as client:
            app.touch(app.request)
            client.recv()
        for _ in range(2):  # once with an event that leaves the window, once without any
            app.sql("INSERT INTO other SELECT generate_series(1, 10000)")
            goal = app.value("SELECT pg_current_wal_lsn()")
            app.wait_until(
                "SELECT confirmed_flush_lsn >= %s FROM pg_replication_slots WHERE slot_name = %s",
                goal,
                app.slot,
                timeout=30 * SLOWDOWN,
            )


# --- the slot ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def slot_held(app, walpush):
    """Another process has the slot, and confirms nothing."""
    assert app.reader(), "or it would have the slot a moment later"
    walpush.send_signal(signal.SIGSTOP)
    end_backends(app, "walsender")
    app.wait_for_no_reader()
    connection = psycopg2.connect(
        app.cluster.url(app.name), connection_factory=psycopg2.extras.LogicalReplicationConnection
    )
    cursor = connection.cursor()
    cursor.start_replication(slot_name=app.slot, options={"format-version": "2"})
    walpush.send_signal(signal.SIGCONT)
    try:
        yield
    finally:
        connection.close()


def test_without_the_slot_nobody_is_left_in_silence(app, config, make_walpush):
    config.set("limits.drain", 1).set("limits.admit-timeout", 2)
    with make_walpush(app, config) as walpush:
        clients = [walpush.subscribe(UNIT_1, user) for user in (ASHA, RAVI)]
        mark = walpush.mark()
        with slot_held(app, walpush):
            walpush.wait_for_log("another process holds the slot", since=mark)
            since = time.monotonic()
            with walpush.connect(UNIT_1, ASHA) as new:
                assert new.close_code() == 1013
            assert clients[0].close_code() == 1012
            assert clients[1].close_code() == 1012
            assert 6 < time.monotonic() - since < 10 + PATIENCE
            app.touch(app.request, "meanwhile")
        hello = clients[0].hello
        walpush.wait_for_log('msg="?streaming', since=mark, timeout=LONG)
        with walpush.connect(f"{UNIT_1}?since={hello['id']}&epoch={hello['epoch']}", ASHA) as back:
            assert back.established().get("resumed") is True
            assert back.recv()["data"]["purpose"].endswith("meanwhile")


# --- clients -------------------------------------------------------------------------------------------------------


def latencies(load, listeners, first, last):
    """Seconds from the answer to the commit until the message, of all listeners."""
    return [l.times[n] - load.at[n] for l in listeners for n in range(first, last + 1)]


class Stopwatch(threading.Thread):
    """A client that notes when each number came."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client, self.times = client, {}
        self.start()

    def run(self):
        with contextlib.suppress(Closed, OSError):
            while True:
                message = self.client.recv(timeout=3600)
                self.times[number_of(message)] = time.monotonic()


@pytest.mark.whole(reason="it measures memory")
def test_a_stalled_reader_is_nobody_elses_business(app, config, make_walpush, capsys):
    """Ten readers with and without an eleventh that does not read: the same latency, the same memory."""
    config.set("limits.stall", 3)
    with make_walpush(app, config) as walpush:
        watches = [Stopwatch(walpush.subscribe(UNIT_1, user)) for user in (ASHA, RAVI) * 5]
        with Load(app, rate=100, text="x" * 20_000) as load:
            load.wait_for(300)
            alone, before = (100, load.committed), walpush.rss()
            stalled = walpush.subscribe(UNIT_1, MEENA, receive_buffer=4096)
            first = load.committed + 1
            walpush.wait_for_log("(?i)stalled", timeout=LONG)
            beside = (first, load.committed)
            growth = walpush.rss() - before
            assert beside[1] - beside[0] > 200, "the load went on"
            load.wait_for(1)
        deadline = time.monotonic() + LONG
        while any(load.committed not in watch.times for watch in watches):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert stalled.drain_to_close()[1] == 4408
        medians = [statistics.median(latencies(load, watches, *span)) for span in (alone, beside)]
    with capsys.disabled():
        alone, beside = (f"{median * 1e3:.1f} ms" for median in medians)
        print(f"\nlatency {alone} alone, {beside} beside; {growth / MIB:.1f} MiB more")
    # Whoever waited for the one that does not read would wait for limits.stall, 3 s.
    assert medians[1] < medians[0] + 0.5 * SLOWDOWN
    assert SANITIZED or growth < 4 * MIB


SLOW_HUBS = "usleep(400000);"


@pytest.mark.plain(reason="a sanitizer's library must be the first")
def test_a_change_around_an_admission_does_not_lie_about(app, config, make_walpush, tmp_path):
    """It is published when the hub has read the position and is about to open its mailbox, which has the admission."""
    app.sql("CREATE TABLE gate AS SELECT 1 AS open")
    app.sql("GRANT SELECT ON gate TO walpush")
    config.set("streams.requests.admit", "SELECT 1 FROM gate WHERE {token.user_id} > 0 AND {path.unit_id} > 0")
    config.set("streams.crates.admit", "SELECT 1 FROM users WHERE id = {token.user_id} AND {path.unit_id} > 0")
    config.set("listen.threads", 1)
    patient(config)
    with make_walpush(app, config, env=build_before_a_mutex(tmp_path, SLOW_HUBS)) as walpush:
        with walpush.subscribe("/ws/crates/2/", BOB) as busy:
            with closed_gate(app):
                client = walpush.connect(UNIT_1, ASHA)
                app.wait_until(WAITS_FOR_A_LOCK)
                time.sleep(1)  # the hub has gone to sleep
                app.sql("UPDATE crates SET status = 'Archived' WHERE id = %s", app.crate2)
                time.sleep(0.1)  # the hub has been woken by that, has read the position, and takes its time
                app.touch(app.request, "while being admitted")
                app.wait_until(
                    "SELECT bool_and(sent_lsn >= %s) FROM pg_stat_replication", app.value("SELECT pg_current_wal_lsn()")
                )
                time.sleep(0.05)
            busy.recv()
            client.established()
            assert client.recv(timeout=PATIENCE / 2)["data"]["purpose"].endswith("while being admitted")


# --- a transaction of a million rows -------------------------------------------------------------------------------


class Proxy:
    """Between the sidecar and PostgreSQL: notes when status messages (standby status updates) went by."""

    def __init__(self, port):
        self.to = port
        self.statuses = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.to))
                threading.Thread(target=self._up, args=(near, far), daemon=True).start()
                threading.Thread(target=self._down, args=(far, near), daemon=True).start()

    def _down(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 18):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def _up(self, source, sink):
        """What the client sends is little: message by message. Before the startup packet's end they have no type."""
        stream = source.makefile("rb")
        typed = False
        with contextlib.suppress(OSError):
            while head := stream.read(5 if typed else 4):
                body = stream.read(struct.unpack(">I", head[-4:])[0] - 4)
                if typed and head[:1] == b"d" and body[:1] == b"r":
                    self.statuses.append(time.monotonic())
                typed = typed or body[:2] == b"\0\3"  # the protocol's version; requests for encryption have other codes
                sink.sendall(head + body)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def longest_silence(self, start, end):
        times = [start, *(t for t in self.statuses if start < t < end), end]
        return max(b - a for a, b in zip(times, times[1:]))

    def close(self):
        self.listener.close()


@pytest.mark.plain(reason="a sanitizer's own memory would be measured, for minutes")
def test_a_transaction_of_a_million_rows(cluster, app, config, make_walpush, capsys):
    """Memory stays bounded, the server hears from us all the time, each group gets one bulk message."""
    shares = {1: 600_000, 2: 400_000}
    config.set("database.status-interval", 1)
    proxy = Proxy(cluster.port)
    url = app.url.replace(f":{cluster.port}/", f":{proxy.port}/")
    with make_walpush(app, config, url=url) as walpush:
        listeners = {unit: Listener(walpush.subscribe(f"/ws/storage/{unit}/", SAM)) for unit in shares}
        bystander = Listener(walpush.subscribe("/ws/requests/2/", BOB))
        before, reader = walpush.rss(), app.reader()
        start = time.monotonic()
        with app.transaction() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")  # no foreign keys: they take longest
            for unit, rows in shares.items():
                cursor.execute(
                    "INSERT INTO storages (unit_id, room_name, rack_name, compartment_name)"
                    " SELECT %s, 'room', 'rack', 'compartment' FROM generate_series(1, %s)",
                    (unit, rows),
                )
        committed = time.monotonic()
        for unit, rows in shares.items():
            *single, bulk = listeners[unit].wait_until(lambda messages: len(messages) >= 1001, timeout=300)
            assert {m["type"] for m in single} == {"storage.created"}
            assert (bulk["type"], bulk["count"]) == ("storage.bulk", rows - 1000)
        end = time.monotonic()
        app.touch(app.request2, "still there")
        bystander.wait_until(lambda messages: messages)
        growth, silence = walpush.peak_rss() - before, proxy.longest_silence(start, end)
        assert app.reader() == reader, "on the same connection"
        assert all(len(listener.messages) == 1001 for listener in listeners.values())
    proxy.close()
    with capsys.disabled():
        print(
            f"\na million rows in {end - committed:.1f} s after the commit, {growth / MIB:.1f} MiB more at the peak,"
            f" longest silence {silence:.1f} s"
        )
    assert growth < 64 * MIB
    # Without a word in between it would be all of it.
    assert silence < max(3, (end - start) / 4)
