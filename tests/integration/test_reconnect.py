"""Connections to PostgreSQL come and go; subscribers notice nothing, or are told."""

import signal
import threading

import pytest

from harness.app import ASHA, RAVI
from harness.client import PATIENCE, assert_in_order
from harness.walpush import ROW_MARK, patient

UNIT_1 = "/ws/requests/1/"
LONG = 3 * PATIENCE


class Writer:
    """Counts upwards in one row, a commit a step, until told to stop; goes on where it was after a lost connection."""

    def __init__(self, app, key):
        self.app, self.key = app, key
        self.committed = []
        self._stop = threading.Event()
        self._reached = threading.Condition()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(LONG)
        assert not self._thread.is_alive()

    def _run(self):
        connection = self.app.connect()
        number = 0
        while not self._stop.is_set():
            number += 1
            with connection.cursor() as cursor:
                cursor.execute(
                    "UPDATE requests SET purpose = %s WHERE id = %s", (f"{ROW_MARK} {number}", self.key)
                )
            with self._reached:
                self.committed.append(number)
                self._reached.notify_all()
        connection.close()

    def wait_for(self, count):
        """Until that many more have been committed from now."""
        with self._reached:
            goal = len(self.committed) + count
            assert self._reached.wait_for(lambda: len(self.committed) >= goal, LONG)


def numbers(messages):
    return [int(m["data"]["purpose"].split(" ")[1]) for m in messages]


def receive_all(client, last):
    """All messages up to the one whose number is `last`; there must be no resync among them."""
    messages = client.recv_until(lambda m: "data" not in m or numbers([m])[0] == last, timeout=LONG)
    assert all(m["type"] == "request.updated" for m in messages), messages[-1].raw
    return messages


@pytest.mark.parametrize("times", [1, 3])
def test_the_walsender_is_terminated(app, walpush, times):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        with Writer(app, app.request) as writer:
            for _ in range(times):
                writer.wait_for(50)
                mark = walpush.mark()
                app.end_reader()
                walpush.wait_for_log('msg="?streaming', since=mark, timeout=LONG)
            writer.wait_for(50)
        messages = receive_all(client, writer.committed[-1])
        assert numbers(messages) == writer.committed, "each change once, none missing"
        assert_in_order(messages)


def test_the_walsender_is_terminated_in_the_middle_of_a_large_transaction(app, config, make_walpush):
    config.set("limits.bulk", 100_000)
    app.sql(
        "INSERT INTO requests (request_type, crate_id, unit_id, status, purpose)"
        " SELECT 'Storage', %s, 1, 'Many', 'x' FROM generate_series(1, 5000)",
        app.crate,
    )
    config.set("limits.group-bytes", 64 << 20).set("limits.transaction-bytes", 64 << 20)
    with make_walpush(app, config) as walpush:
        app.settle(walpush)
        client = walpush.subscribe(UNIT_1, ASHA)
        mark = walpush.mark()
        app.sql("UPDATE requests SET purpose = %s WHERE status = 'Many'", ROW_MARK)
        app.end_reader()
        walpush.wait_for_log('msg="?streaming', since=mark, timeout=LONG)
        messages = [client.recv(timeout=LONG) for _ in range(5000)]
        assert len({m["request_id"] for m in messages}) == 5000
        assert {m["id"].rpartition("-")[2] for m in messages} == {str(i) for i in range(1, 5001)}
        app.touch(app.request)
        assert client.recv()["request_id"] == app.request


def test_the_sql_connections_are_terminated(app, walpush):
    with walpush.subscribe(f"/ws/notifications/{ASHA}/", ASHA) as client:
        keys = []
        for _ in range(5):
            keys.append(app.insert_sendback(app.request))
            app.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE usename = 'walpush' AND backend_type = 'client backend' AND datname = current_database()"
            )
            keys.append(app.insert_sendback(app.request))
        messages = [client.recv(timeout=LONG) for _ in keys]
        assert [m.get("sendback_id") for m in messages] == keys
        # Admissions have a connection of their own, which was cut too.
        with walpush.subscribe(f"/ws/notifications/{RAVI}/", RAVI) as other:
            key = app.insert_sendback(app.request)
            assert other.recv()["sendback_id"] == key


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_postgresql_is_restarted(cluster, app, walpush, mode):
    """Subscribers stay, and hear everything that was committed before, around and after."""
    with walpush.subscribe(UNIT_1, ASHA) as client:
        for i in range(1, 21):
            app.sql("UPDATE requests SET purpose = %s WHERE id = %s", f"{ROW_MARK} {i}", app.request)
        mark = walpush.mark()
        app.close()
        cluster.restart(mode)
        for i in range(21, 41):
            app.sql("UPDATE requests SET purpose = %s WHERE id = %s", f"{ROW_MARK} {i}", app.request)
        walpush.wait_for_log('msg="?streaming', since=mark, timeout=LONG)
        messages = receive_all(client, 40)
        assert numbers(messages) == list(range(1, 41))
        assert_in_order(messages)


def test_a_fast_shutdown_of_postgresql_is_not_held_up(cluster, app, walpush):
    """The server waits for us to confirm what it has sent: a replay window must not keep it waiting."""
    with walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request)
        client.recv()
        app.close()
        mark = walpush.mark()
        cluster.stop("fast", timeout=PATIENCE / 2)
        cluster.start()
        walpush.wait_for_log('msg="?streaming', since=mark, timeout=LONG)
    # Confirming is what ends it, rather than giving the stream up, which comes some seconds later.
    assert walpush.log(mark).count("the server is stopping") == 1, walpush.log(mark)


def test_a_fast_shutdown_while_a_lookup_waits(cluster, app, config, make_walpush):
    """The lookup can never be answered any more; after the restart its change is heard all the same."""
    patient(config, 120)
    config.set(
        "tables.sendbacks.lookup",
        "SELECT r.withdrawn_by_id AS user_id FROM requests r, gate WHERE r.id = {request_id}",
    )
    app.sql("CREATE TABLE gate AS SELECT 1 AS open")
    app.sql("GRANT SELECT ON gate TO walpush")
    with make_walpush(app, config) as walpush, walpush.subscribe(f"/ws/notifications/{ASHA}/", ASHA) as client:
        blocker = app.connect(autocommit=False)
        with blocker.cursor() as cursor:
            cursor.execute("LOCK TABLE gate")
        key = app.insert_sendback(app.request)
        app.wait_until(
            "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE usename = 'walpush' AND wait_event_type = 'Lock')"
        )
        app.close()
        cluster.stop("fast", timeout=PATIENCE / 2)
        cluster.start()
        assert client.recv(timeout=LONG)["sendback_id"] == key


def test_after_a_crash_clients_resume_without_a_gap(app, config, make_walpush):
    walpush = make_walpush(app, config).start()
    client = walpush.subscribe(UNIT_1, ASHA)
    for i in range(1, 11):
        app.sql("UPDATE requests SET purpose = %s WHERE id = %s", f"{ROW_MARK} {i}", app.request)
    heard = client.recv_n(5)
    walpush.kill()
    for i in range(11, 21):
        app.sql("UPDATE requests SET purpose = %s WHERE id = %s", f"{ROW_MARK} {i}", app.request)
    with make_walpush(app, config) as again:
        path = f"{UNIT_1}?since={heard[-1]['id']}&epoch={client.hello['epoch']}"
        with again.connect(path, ASHA) as back:
            hello = back.established()
            assert hello["epoch"] == client.hello["epoch"]
            assert (hello.get("resumed"), hello["id"]) == (True, heard[-1]["id"])
            messages = receive_all(back, 20)
            assert numbers(heard + messages) == list(range(1, 21))
            assert_in_order(heard + messages)


def test_what_cannot_be_resumed_is_a_resync(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request)
        last = client.recv()["id"]
        epoch = client.hello["epoch"]
    for since, era in (("0/1-1", epoch), (last, "1-1-0"), ("FFFFFFF/0-1", epoch), ("nonsense", epoch)):
        with walpush.connect(f"{UNIT_1}?since={since}&epoch={era}", ASHA) as client:
            hello = client.established()
            assert "resumed" not in hello
            message = client.recv()
            assert message["type"] == "resync", (since, era)
            assert message["epoch"] == epoch
            app.touch(app.request)
            assert client.recv()["request_id"] == app.request


def test_a_process_that_was_stopped_for_a_while_goes_on(app, walpush):
    """SIGSTOP and SIGCONT: as after a paused machine."""
    with walpush.subscribe(UNIT_1, ASHA) as client:
        walpush.send_signal(signal.SIGSTOP)
        for i in range(1, 101):
            app.sql("UPDATE requests SET purpose = %s WHERE id = %s", f"{ROW_MARK} {i}", app.request)
        walpush.send_signal(signal.SIGCONT)
        assert numbers(receive_all(client, 100)) == list(range(1, 101))
