"""How the process ends: in which order, at which pace, with which clients, and with exit status 0."""

import contextlib
import os
import queue
import signal
import socket
import time

import pytest

from harness.app import ASHA, MEENA, RAVI, ROOT_USER
from harness.client import PATIENCE, SLOWDOWN, Client, Closed, Listener, Wire, upgrade
from harness.tls import Identity, trusting
from harness.walpush import ROW_MARK, patient
from harness.wsload import Wsload

UNIT_1 = "/ws/requests/1/"
UNIT_2 = "/ws/requests/2/"
TEN_MINUTES = 600
MIB = 1 << 20
WAITS_FOR_A_LOCK = (
    "SELECT count(*) > 0 FROM pg_stat_activity"
    " WHERE usename = 'walpush' AND backend_type = 'client backend' AND wait_event_type = 'Lock'"
)
ARCHIVE = "UPDATE crates SET status = 'Archived' WHERE id = {}"
RATE = 100  # closes a second, however long limits.drain is


@pytest.fixture
def roomy(config):
    """Any number of connections of one user, and a time allowed that no test waits for."""
    return config.set("limits.per-user", 0).set("limits.drain", TEN_MINUTES)


def crowd(wsload, walpush, connections, expect=0):
    """Clients that read and answer, until the process closes them."""
    return Wsload(wsload, walpush, UNIT_1, ASHA, connections=connections, expect=expect, until_closed=True)


def touch_in_one_transaction(app, rows):
    with app.transaction() as cursor:
        for i in range(rows):
            cursor.execute("UPDATE requests SET purpose = %s WHERE id = %s", (f"{ROW_MARK} {i}", app.request))


def has_released_the_slot(walpush):
    """The process is past the slot, and closes its clients."""
    walpush.wait_for_log("the slot is released")


def ends_in_good_order(walpush):
    assert walpush.wait() == 0
    walpush.check_log()
    assert "did not take their leave in time" not in walpush.log()


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_clients_are_told_1012_and_the_process_ends_with_0(app, roomy, make_walpush, number):
    with make_walpush(app, roomy) as walpush:
        clients = [walpush.subscribe(UNIT_1, user) for user in (ASHA, RAVI) for _ in range(20)]
        walpush.send_signal(number)
        assert [client.drain_to_close() for client in clients] == [([], 1012)] * 40
        ends_in_good_order(walpush)


def test_without_clients_the_end_is_at_once(app, roomy, make_walpush):
    walpush = make_walpush(app, roomy).start()
    start = time.monotonic()
    walpush.stop()
    assert time.monotonic() - start < PATIENCE


def test_a_second_signal_ends_it_at_once(app, roomy, make_walpush, wsload):
    walpush = make_walpush(app, roomy).start()
    with crowd(wsload, walpush, 1000) as load:
        walpush.send_signal(signal.SIGTERM)
        has_released_the_slot(walpush)
        assert walpush.process.poll() is None, f"1,000 clients take {1000 / RATE} s"
        walpush.send_signal(signal.SIGTERM)
        start = time.monotonic()
        assert walpush.wait(PATIENCE) == 0, "ended by itself, not by the signal's default"
        assert time.monotonic() - start < 5 * SLOWDOWN
        walpush.check_log()
        load.process.communicate(timeout=PATIENCE)


def test_nobody_is_admitted_any_more(app, roomy, make_walpush, wsload):
    walpush = make_walpush(app, roomy).start()
    with crowd(wsload, walpush, 500) as load:
        walpush.send_signal(signal.SIGTERM)
        has_released_the_slot(walpush)
        # Refused or closed, but not left waiting: a TimeoutError is none of these.
        with pytest.raises((Closed, ConnectionError)):
            with Client(walpush.port, UNIT_1, token=walpush.token(RAVI)) as client:
                client.established()
        load.result()
        ends_in_good_order(walpush)


def test_sighup_does_not_end_it(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        walpush.send_signal(signal.SIGHUP)
        app.touch(app.request)
        assert client.recv()["request_id"] == app.request


# --- the order -------------------------------------------------------------------------------------------------------


@pytest.mark.whole(reason="fewer rows under a sanitizer")
def test_what_was_committed_right_before_comes_before_the_close(app, roomy, make_walpush):
    """Many rows: the transaction takes a while from its commit to its publication; a stop waits for a second of it."""
    rows = 300 if SLOWDOWN < 3 else 60
    with make_walpush(app, roomy) as walpush:
        clients = [walpush.subscribe(UNIT_1, user) for user in (ASHA, RAVI)]
        touch_in_one_transaction(app, rows)
        walpush.send_signal(signal.SIGTERM)
        heard = [client.drain_to_close() for client in clients]
        ends_in_good_order(walpush)
    for messages, code in heard:
        assert code == 1012
        assert [int(m["data"]["purpose"].split()[-1]) for m in messages] == list(range(rows))
    app.touch(app.request, "afterwards")
    last, epoch = heard[0][0][-1], clients[0].hello["epoch"]
    with make_walpush(app, roomy) as successor:
        with successor.connect(f"{UNIT_1}?since={last['id']}&epoch={epoch}", ASHA) as back:
            assert back.established().get("resumed") is True
            assert back.recv()["data"]["purpose"].endswith("afterwards"), "nothing is lost, and nothing is doubled"


def test_a_database_that_does_not_answer_is_not_waited_for(app, roomy, make_walpush):
    """The transaction comes again, at the successor."""
    with make_walpush(app, patient(roomy)) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request, "one")
        one = client.recv()  # from here on the window holds the slot
        with app.transaction() as cursor:
            cursor.execute("LOCK TABLE units")  # which the lookup of requests reads
            app.touch(app.request, "two")
            app.wait_until(WAITS_FOR_A_LOCK)
            walpush.send_signal(signal.SIGTERM)
            assert client.drain_to_close() == ([], 1012)
            ends_in_good_order(walpush)
    with make_walpush(app, roomy) as successor:
        with successor.connect(f"{UNIT_1}?since={one['id']}&epoch={client.hello['epoch']}", ASHA) as back:
            assert back.established().get("resumed") is True
            assert back.recv()["data"]["purpose"].endswith("two")


def test_a_walsender_that_does_not_answer_is_not_waited_for(app, roomy, make_walpush):
    with make_walpush(app, roomy) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        walsender = app.reader()
        os.kill(walsender, signal.SIGSTOP)
        try:
            walpush.send_signal(signal.SIGTERM)
            assert client.close_code() == 1012
            ends_in_good_order(walpush)
        finally:
            os.kill(walsender, signal.SIGCONT)
        app.wait_for_no_reader()


def test_the_slot_is_free_before_a_client_is_closed(app, roomy, make_walpush):
    for _ in range(10):
        with make_walpush(app, roomy) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
            walpush.send_signal(signal.SIGTERM)
            assert client.close_code() == 1012
            assert app.reader() is None


@pytest.mark.whole(reason="a sanitizer may take longer than a stop waits for the clients")
def test_what_was_published_last_is_confirmed(app, roomy, make_walpush):
    """Without a replay window that is the end; the regular status comes every 10 s only."""
    with make_walpush(app, roomy.set("replay.seconds", 0)) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        touch_in_one_transaction(app, 500)
        end = app.value("SELECT pg_current_wal_flush_lsn()")
        early = 0 if SLOWDOWN < 3 else 500  # a sanitizer may take longer than a stop waits for them
        client.recv_n(early)
        walpush.send_signal(signal.SIGTERM)
        messages, code = client.drain_to_close()
        assert (early + len(messages), code) == (500, 1012)
        confirmed = "SELECT confirmed_flush_lsn >= %s FROM pg_replication_slots WHERE slot_name = %s"
        assert app.value(confirmed, end, app.slot)


def test_the_slot_still_holds_the_replay_window(app, config, make_walpush):
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request, "one")
        heard = client.recv()
    app.wait_for_no_reader()
    app.touch(app.request, "two")
    with make_walpush(app, config) as again:
        with again.connect(f"{UNIT_1}?since={client.hello['id']}&epoch={client.hello['epoch']}", ASHA) as back:
            hello = back.established()
            assert hello.get("resumed") is True, hello.raw
            one, two = back.recv_n(2)
            assert one.raw == heard.raw, "the same event, byte for byte, from another process"
            assert two["data"]["purpose"].endswith("two")


def test_a_successor_has_ports_and_slot_while_clients_are_still_connected(app, roomy, make_walpush, wsload):
    old = make_walpush(app, roomy).start()
    ports = {"WALPUSH_LISTEN_PORT": str(old.port), "WALPUSH_ADMIN_PORT": str(old.admin_port)}
    with crowd(wsload, old, 1000) as load, old.subscribe(UNIT_1, RAVI) as client:
        app.touch(app.request)
        last = client.recv()
        old.send_signal(signal.SIGTERM)
        has_released_the_slot(old)
        successor = make_walpush(app, roomy, env=ports)
        successor.admin_port = old.admin_port
        with successor:
            assert successor.port == old.port
            assert old.process.poll() is None, "or else this shows nothing"
            assert successor.admin("/healthz").status == 200
            assert client.close_code() == 1012
            app.touch(app.request, "meanwhile")
            with successor.connect(f"{UNIT_1}?since={last['id']}&epoch={client.hello['epoch']}", RAVI) as back:
                assert back.established().get("resumed") is True
                assert back.recv()["data"]["purpose"].endswith("meanwhile")
            load.result()
            ends_in_good_order(old)


def a_reload(app, walpush, config):
    config.remove("tables.crates").write(walpush.file)
    walpush.send_signal(signal.SIGHUP)


def a_column_that_is_not_known(app, walpush, config):
    app.sql(ARCHIVE.format(app.crate))


@pytest.mark.parametrize("want", [a_reload, a_column_that_is_not_known])
def test_what_the_database_answers_too_late_changes_nothing(app, roomy, make_walpush, wsload, want):
    """The slot is the successor's."""
    walpush = make_walpush(app, patient(roomy)).start()
    with crowd(wsload, walpush, 500) as load:
        app.sql("ALTER TABLE crates ADD COLUMN unheard_of int DEFAULT 1")
        app.sql(f"BEGIN; {ARCHIVE.format(app.crate)}; ROLLBACK")  # or the test's own session would read the locked catalog below
        mark = walpush.mark()
        with app.transaction() as cursor:
            cursor.execute("LOCK TABLE pg_catalog.pg_constraint")  # which the query for the catalog reads
            want(app, walpush, roomy)
            app.wait_until(WAITS_FOR_A_LOCK)
            walpush.send_signal(signal.SIGTERM)
            has_released_the_slot(walpush)
        load.result()
        ends_in_good_order(walpush)
    assert 'msg="streaming"' not in walpush.log(mark)
    assert "is taken over" not in walpush.log(mark)


# --- the pace --------------------------------------------------------------------------------------------------------


def wait_for_readers_behind(walpush):
    deadline = time.monotonic() + PATIENCE
    while not walpush.metric("walpush_readers_behind"):
        assert time.monotonic() < deadline, "the sockets' buffers hold everything"


class Noted(Listener):
    """One whose end is noted in a queue."""

    def __init__(self, client, gone):
        self._gone = gone
        super().__init__(client)

    def run(self):
        super().run()
        self._gone.put(self)


def span_of(figures):
    return figures["closed_at"][-1] - figures["closed_at"][0]


def test_few_are_gone_at_once_and_many_one_after_the_other(app, roomy, make_walpush, wsload):
    """At a rate, whatever limits.drain allows."""
    spans = {}
    for connections in (10, 400):
        walpush = make_walpush(app, roomy).start()
        with crowd(wsload, walpush, connections) as load:
            walpush.send_signal(signal.SIGTERM)
            spans[connections] = span_of(load.result())
            ends_in_good_order(walpush)
    assert spans[10] < spans[400] / 3
    assert spans[400] > 0.8 * 400 / RATE


@pytest.mark.whole(reason="it measures time")
def test_thousands_are_gone_within_the_time_allowed(app, roomy, make_walpush, wsload):
    """Each gets what was committed right before, and the closes are spread over most of the time."""
    drain, connections = (4, 3000) if SLOWDOWN == 1 else (8, 1000)  # in any case more than 100 a second
    roomy.set("limits.drain", drain).set("limits.handshakes-per-second", 0)
    walpush = make_walpush(app, roomy).start()
    app.settle(walpush)
    with crowd(wsload, walpush, connections, expect=1) as load:
        app.touch(app.request)
        start = time.monotonic()
        walpush.send_signal(signal.SIGTERM)
        figures = load.result()
        ends_in_good_order(walpush)
    tenths = figures["closed_at"]
    assert tenths[-1] - start < drain + 5 * (SLOWDOWN - 1)
    assert span_of(figures) > drain / 2
    assert max(b - a for a, b in zip(tenths, tenths[1:])) < span_of(figures) / 2


def test_the_order_is_not_that_of_arrival(app, roomy, make_walpush):
    clients = 60
    with make_walpush(app, roomy) as walpush:
        gone = queue.Queue()
        listeners = [Noted(walpush.subscribe(UNIT_1, ASHA), gone) for _ in range(clients)]
        walpush.send_signal(signal.SIGTERM)
        order = [listeners.index(gone.get(timeout=PATIENCE)) for _ in listeners]
        assert all(isinstance(one.end, Closed) and one.end.code == 1012 for one in listeners)
    inversions = sum(a > b for i, a in enumerate(order) for b in order[i + 1 :])
    # Of a random order half of the 1,770 pairs, give or take 77.
    assert 500 < inversions < 1270


def test_who_is_not_admitted_goes_first(app, roomy, make_walpush, wsload):
    """It gets nothing here; at the successor it does."""
    walpush = make_walpush(app, roomy).start()
    with crowd(wsload, walpush, 300) as load:
        with Client(walpush.port, UNIT_1) as waiting:
            walpush.send_signal(signal.SIGTERM)
            assert waiting.close_code() == 1012
            first = time.monotonic()
        figures = load.result()
        assert first < figures["closed_at"][5]
        ends_in_good_order(walpush)


def test_who_is_owed_something_goes_last(app, roomy, make_walpush):
    """A reader that is behind, and reads when most have gone, still gets everything."""
    messages, size = 20, MIB // 4  # more than the sockets' buffers hold
    roomy.set("limits.stall", TEN_MINUTES).set("limits.group-bytes", 64 * MIB)
    with make_walpush(app, roomy) as walpush:
        gone = queue.Queue()
        others = [Noted(walpush.subscribe(UNIT_1, ASHA), gone) for _ in range(400)]
        behind = walpush.subscribe(UNIT_2, ROOT_USER, receive_buffer=4096)
        with walpush.subscribe(UNIT_2, ROOT_USER) as witness:
            for i in range(messages):
                app.touch(app.request2, f"{'x' * size} {i}")
                witness.recv()
        wait_for_readers_behind(walpush)
        walpush.send_signal(signal.SIGTERM)
        for _ in range(len(others) * 13 // 20):
            gone.get(timeout=PATIENCE)
        received, code = behind.drain_to_close()
        assert [int(m["data"]["purpose"].split()[-1]) for m in received] == list(range(messages))
        assert code == 1012
        ends_in_good_order(walpush)


def test_a_reload_lets_go_of_few_at_once(app, roomy, make_walpush):
    """The same pace where a stream is another one from now on."""
    with make_walpush(app, roomy) as walpush:
        clients = [walpush.subscribe(UNIT_1, ASHA) for _ in range(10)]
        roomy.set("streams.requests.admit", "SELECT 1 FROM users WHERE id = {token.user_id}").write(walpush.file)
        walpush.send_signal(signal.SIGHUP)
        assert [client.close_code() for client in clients] == [1012] * 10


# --- clients that are no help ----------------------------------------------------------------------------------------


def tls_of(config, tmp_path):
    identity = Identity("drain")
    (tmp_path / "tls.crt").write_bytes(identity.certificate)
    (tmp_path / "tls.key").write_bytes(identity.key)
    config.set("listen.certificate", str(tmp_path / "tls.crt")).set("listen.certificate-key", str(tmp_path / "tls.key"))
    return trusting(identity)


REQUEST = upgrade(UNIT_1)


def half_a_request(walpush):
    wire = Wire(walpush.port, tls=walpush.tls)
    wire.send(REQUEST[: len(REQUEST) // 2])
    return wire


def half_a_close(walpush):
    """A client that closes, and never reads the answer."""
    client = walpush.subscribe(UNIT_1, MEENA)
    client.send_frame(8, b"\x03\xe8")
    return client


@pytest.mark.parametrize("drain", [0, TEN_MINUTES])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_clients_that_do_not_answer_do_not_hold_it_up(app, roomy, make_walpush, tmp_path, drain, tls):
    """Of each kind some: none of them reads, answers, or hangs up."""
    roomy.set("limits.drain", drain).set("limits.stall", TEN_MINUTES).set("limits.handshake", 60)
    roomy.set("limits.group-bytes", 64 * MIB)
    context = tls_of(roomy, tmp_path) if tls else None
    walpush = make_walpush(app, roomy)
    walpush.tls = context
    walpush.start()
    kinds = [
        lambda: walpush.subscribe(UNIT_1, ASHA),
        lambda: walpush.subscribe(UNIT_2, ROOT_USER, receive_buffer=4096),
        lambda: Client(walpush.port, UNIT_1, tls=context),
        lambda: half_a_request(walpush),
        lambda: half_a_close(walpush),
        lambda: socket.create_connection(("127.0.0.1", walpush.port)),
    ]
    held = [make() for make in kinds for _ in range(5)]
    with walpush.subscribe(UNIT_2, ROOT_USER) as witness:
        for _ in range(20):
            app.touch(app.request2, "x" * (MIB // 2))
            witness.recv()
    start = time.monotonic()
    walpush.send_signal(signal.SIGTERM)
    ends_in_good_order(walpush)
    assert time.monotonic() - start < 10 * SLOWDOWN
    assert len(held) == 30


def test_who_waits_for_an_answer_of_the_database_is_closed_too(app, roomy, make_walpush):
    roomy.set("limits.admit-timeout", 300)
    with make_walpush(app, patient(roomy)) as walpush:
        with app.transaction() as cursor:
            cursor.execute("LOCK TABLE user_units")
            waiting = [walpush.connect(UNIT_1, user) for user in (ASHA, RAVI)]
            app.wait_until(WAITS_FOR_A_LOCK)
            walpush.send_signal(signal.SIGTERM)
            assert [client.close_code() for client in waiting] == [1012, 1012]
            ends_in_good_order(walpush)


def test_a_handshake_under_way_is_hung_up(app, roomy, make_walpush, wsload):
    """It tries the successor, and need not wait for the end of this one."""
    walpush = make_walpush(app, roomy.set("limits.handshake", 60)).start()
    with crowd(wsload, walpush, 500) as load:
        wire = half_a_request(walpush)
        walpush.send_signal(signal.SIGTERM)
        assert not wire.more(time.monotonic() + PATIENCE)
        hung_up = time.monotonic()
        assert hung_up < load.result()["closed_at"][5]
        ends_in_good_order(walpush)


def test_in_the_middle_of_a_storm_of_handshakes(app, roomy, make_walpush, wsload):
    """Some are open, some in each state before that, some in the mailbox of a hub or still with the kernel."""
    roomy.set("limits.handshakes-per-second", 0).set("limits.admit-timeout", 300).set("limits.handshake", 60)
    walpush = make_walpush(app, roomy.set("limits.drain", 3)).start()
    late = [half_a_request(walpush) for _ in range(20)]
    load = crowd(wsload, walpush, 10_000)
    try:
        while walpush.metric("walpush_handshakes_total") < 50:
            assert load.process.poll() is None
        walpush.send_signal(signal.SIGTERM)
        has_released_the_slot(walpush)
        for wire in late:
            with contextlib.suppress(ConnectionError):
                wire.send(REQUEST[len(REQUEST) // 2 :])
        ends_in_good_order(walpush)
    finally:
        load.process.kill()
        load.process.communicate()
