"""Many subscribers at once, through the C client that also serves for benchmarks."""

import os
import random

import pytest

from harness.app import ASHA
from harness.client import SLOWDOWN
from harness.walpush import ROW_MARK
from harness.wsload import Wsload

CONNECTIONS = int(os.environ.get("FANOUT_CONNECTIONS", "1000" if SLOWDOWN < 3 else "100"))
CHANGES = int(os.environ.get("FANOUT_CHANGES", "2000" if SLOWDOWN < 3 else "300"))

pytestmark = pytest.mark.whole(reason="fewer clients and changes under a sanitizer")


@pytest.fixture
def two_hubs(config):
    return config.set("listen.threads", 2).set("limits.per-user", 0).set("limits.handshakes-per-second", 0)


def write_changes(app, keys, count, chance):
    """`count` updates in transactions of 1 to 20 rows; the rows in the order of their commits."""
    order = []
    connection = app.connect(autocommit=False)
    with connection.cursor() as cursor:
        while len(order) < count:
            for _ in range(min(chance.randint(1, 20), count - len(order))):
                order.append(chance.choice(keys))
                cursor.execute(
                    "UPDATE requests SET purpose = %s WHERE id = %s", (f"{ROW_MARK} {len(order)}", order[-1])
                )
            connection.commit()
    connection.close()
    return order


def test_everybody_gets_everything_once_and_in_order(app, two_hubs, make_walpush, wsload, capsys):
    keys = [app.insert_request(1) for _ in range(20)]
    options = {"connections": CONNECTIONS, "expect": CHANGES, "sources": 4}
    # All of it fits into the log: how soon readers are served is not the question here.
    two_hubs.set("limits.group-bytes", 64 << 20)
    with make_walpush(app, two_hubs) as walpush:
        app.settle(walpush)
        witness = walpush.subscribe("/ws/requests/1/", ASHA)
        with Wsload(wsload, walpush, "/ws/requests/1/", ASHA, **options) as load:
            order = write_changes(app, keys, CHANGES, random.Random(7))
            figures = load.result()
        messages = witness.recv_n(CHANGES)
    # wsload has checked that all its connections saw the same; the witness says that it was the right thing.
    assert [m["request_id"] for m in messages] == order
    assert [m["data"]["purpose"].split(" ")[1] for m in messages] == [str(i + 1) for i in range(CHANGES)]
    assert figures["deliveries"] == CONNECTIONS * CHANGES
    assert figures["min"] == figures["max"] == CHANGES
    with capsys.disabled():
        print(f"\n{figures['deliveries']} deliveries, {figures['per_second']:.0f} a second")


def test_readers_that_do_not_read_do_not_hold_up_the_others(app, two_hubs, make_walpush, wsload):
    slow = 20
    options = {"connections": 100, "slow": slow, "expect": CHANGES}
    keys = [app.insert_request(1) for _ in range(20)]
    with make_walpush(app, two_hubs.set("limits.stall", 600).set("limits.group-bytes", 64 << 20)) as walpush:
        app.settle(walpush)
        with Wsload(wsload, walpush, "/ws/requests/1/", ASHA, **options) as load:
            write_changes(app, keys, CHANGES, random.Random(8))
            figures = load.result()
    assert figures["min"] == figures["max"] == CHANGES
    assert figures["established"] == 100


def test_a_reader_that_does_not_read_is_closed_after_the_stall(app, two_hubs, make_walpush):
    two_hubs.set("limits.stall", 1).set("limits.group-bytes", 64 << 20)
    with make_walpush(app, two_hubs) as walpush:
        with walpush.subscribe("/ws/requests/1/", ASHA, receive_buffer=4096) as stuck:
            mark = walpush.mark()
            # More than the socket's two buffers can hold, in pieces that the log keeps.
            text = ROW_MARK + "x" * 100_000
            for i in range(100):
                app.sql("UPDATE requests SET purpose = %s WHERE id = %s", f"{text}{i}", app.request)
            walpush.wait_for_log("4408", since=mark)
            messages, code = stuck.drain_to_close()
        assert code in (4408, 1006), "a close frame cannot be read where the socket was full"
        assert len(messages) < 100


def test_without_a_replay_window_a_slow_reader_still_hears_everything(app, two_hubs, make_walpush):
    """What a connection that is there has not read yet is not dropped for its age."""
    two_hubs.set("replay.seconds", 0).set("limits.stall", 600).set("limits.group-bytes", 64 << 20)
    with make_walpush(app, two_hubs) as walpush:
        with walpush.subscribe("/ws/requests/1/", ASHA, receive_buffer=4096) as slow:
            text = ROW_MARK + "x" * 100_000
            for i in range(100):
                app.sql("UPDATE requests SET purpose = %s WHERE id = %s", f"{text}{i}", app.request)
            app.settle(walpush)
            written = app.value("SELECT clock_timestamp()")
            app.wait_until("SELECT clock_timestamp() > %s + interval '3 seconds'", written)  # the logs are tidied every second
            messages = slow.recv_n(100)
    assert [m["data"]["purpose"] for m in messages] == [f"{text}{i}" for i in range(100)]


def test_a_reader_that_falls_behind_the_log_is_told_to_refetch(app, two_hubs, make_walpush):
    two_hubs.set("limits.stall", 600).set("limits.group-bytes", 1 << 20)
    with make_walpush(app, two_hubs) as walpush:
        with walpush.subscribe("/ws/requests/1/", ASHA, receive_buffer=4096) as slow:
            text = ROW_MARK + "x" * 100_000
            for i in range(150):
                app.sql("UPDATE requests SET purpose = %s WHERE id = %s", f"{text}{i}", app.request)
            app.settle(walpush)  # all of it is in the log, and most of it has left the log again
            messages = slow.recv_until(lambda m: m["type"] == "resync")
            assert len(messages) < 150
            assert messages[-1]["epoch"] == slow.hello["epoch"]
            app.touch(app.request, "last")
            rest = slow.recv_until(lambda m: m.get("data") and m["data"]["purpose"].endswith("last"))
            assert len(messages) + len(rest) < 152
