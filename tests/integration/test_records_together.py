"""What comes together with the error that ends the stream, and who takes over once the transaction was passed over."""

import contextlib
import signal

from harness.app import ASHA
from harness.client import SLOWDOWN
from harness.proxy import Ending, proxy, tampering
from harness.redis import Redis
from throwaway.config import Raw

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


def test_who_takes_over_does_not_meet_it_again(cluster, app, config, make_walpush):
    """The holder that passed it over has not confirmed that yet: what the others have read says so."""
    another = app.insert_request(1)
    with contextlib.ExitStack() as resources:
        redis = resources.enter_context(Redis())
        config.set("relay", Raw(f'{{ url = "{redis.url}" }}'))
        port = resources.enter_context(
            proxy(cluster.port, answer=tampering(lambda record: ENDING if MARK in record else None))
        )
        url = app.url.replace(f":{cluster.port}/", f":{port}/") + "?sslmode=disable"
        replicas = [resources.enter_context(make_walpush(app, config, url=url).start(streaming=i == 0)) for i in range(2)]
        clients = [resources.enter_context(replica.subscribe(UNIT_1, ASHA)) for replica in replicas]
        app.sql("UPDATE requests SET purpose = %s WHERE id = %s", MARK.decode(), another)
        app.sql("UPDATE requests SET purpose = 'behind' WHERE id = %s", app.request)
        for client in clients:
            messages = client.recv_until(lambda m: m.get("data") and m["data"]["purpose"] == "behind", timeout=GIVES_UP)
            assert reasons_and_purposes(messages) == ["skipped", "behind"]
        # The slot goes to and fro while they try; on a busy machine both may have come to it.
        passed = [replica for replica in replicas if 'msg="a transaction is passed over' in replica.log()]
        assert passed
        heir = 1 - replicas.index(passed[0])
        mark = replicas[heir].mark()
        passed[0].kill()
        app.sql("UPDATE requests SET purpose = 'later' WHERE id = %s", app.request)
        messages = clients[heir].recv_until(lambda m: m["type"] == "resync" or m["data"]["purpose"] == "later")
        assert reasons_and_purposes(messages) == ["later"]
        assert "out of memory" not in replicas[heir].log(mark)
