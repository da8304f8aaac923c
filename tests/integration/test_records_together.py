"""What comes together with the error that ends the stream: transactions that wait for an answer then, and would wait again each time."""

import contextlib
import signal

from harness.app import ASHA
from harness.client import SLOWDOWN
from harness.config import Raw
from harness.proxy import Ending, proxy, tampering
from harness.redis import Redis

UNIT_1 = "/ws/requests/1/"
GIVES_UP = 60 * SLOWDOWN  # three times over 30 s, and the waits between the tries
EARLY, MARK = b"early-bird", b"cannot-be-decoded"
ENDING = Ending("54000", "out of memory")


class Together(tampering(lambda record: ENDING if MARK in record else None)):
    """From the first early row on, nothing comes before the error does."""

    def __init__(self):
        super().__init__()
        self.held = None

    def message(self, message):
        changed = super().message(message)
        if EARLY in message and b"behind" not in message and self.held is None:
            self.held = b""
        if self.held is None:
            return changed
        self.held += changed
        return self.held if self.over else b""


def reasons_and_purposes(messages):
    return [m["reason"] if m["type"] == "resync" else m["data"]["purpose"] for m in messages]


@contextlib.contextmanager
def frozen(walpush):
    """So that all is there when it reads."""
    walpush.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        walpush.send_signal(signal.SIGCONT)


def passes(app, walpush, client):
    """Each early change arrives, and the bad one alone is a resync."""
    another = app.insert_request(1)
    client.recv()
    early = [f"{EARLY.decode()} {i}" for i in range(3)]
    with frozen(walpush):
        for purpose in early:
            app.sql("UPDATE requests SET purpose = %s WHERE id = %s", purpose, app.request)
        app.sql("UPDATE requests SET purpose = %s WHERE id = %s", MARK.decode(), another)
        app.sql("UPDATE requests SET purpose = 'behind' WHERE id = %s", app.request)
    messages = client.recv_until(lambda m: m.get("data") and m["data"]["purpose"] == "behind", timeout=GIVES_UP)
    assert reasons_and_purposes(messages) == [*early, "skipped", "behind"]


def test_transactions_before_it_are_handled_in_the_meantime(cluster, app, config, make_walpush):
    with proxy(cluster.port, answer=Together) as port:
        url = app.url.replace(f":{cluster.port}/", f":{port}/") + "?sslmode=disable"
        with make_walpush(app, config, url=url) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
            passes(app, walpush, client)


def test_and_so_with_a_relay(cluster, app, config, make_walpush):
    with proxy(cluster.port, answer=Together) as port, Redis() as redis:
        config.set("relay", Raw(f'{{ url = "{redis.url}" }}'))
        url = app.url.replace(f":{cluster.port}/", f":{port}/") + "?sslmode=disable"
        with make_walpush(app, config, url=url) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
            passes(app, walpush, client)
