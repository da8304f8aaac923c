"""How the process ends: clients are told, the exit status is 0, and it does not take longer than agreed."""

import signal
import time

import pytest

from harness.app import ASHA, RAVI
from harness.client import PATIENCE, SLOWDOWN, Client, Closed

UNIT_1 = "/ws/requests/1/"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_clients_are_told_1012_and_the_process_ends_with_0(app, config, make_walpush, number):
    config.set("limits.drain", 2)
    with make_walpush(app, config) as walpush:
        clients = [walpush.subscribe(UNIT_1, user) for user in (ASHA, RAVI) for _ in range(20)]
        app.touch(app.request)
        start = time.monotonic()
        walpush.send_signal(number)
        for client in clients:
            messages, code = client.drain_to_close()
            assert code == 1012
            assert [m["request_id"] for m in messages] in ([app.request], []), "what was published first, if it was"
        assert walpush.wait() == 0
        assert time.monotonic() - start < 2 + 10 * SLOWDOWN
        walpush.check_log()


def test_without_clients_the_end_is_at_once(app, config, make_walpush):
    config.set("limits.drain", 600)
    walpush = make_walpush(app, config).start()
    start = time.monotonic()
    walpush.stop()
    assert time.monotonic() - start < PATIENCE


def test_a_client_that_does_not_answer_does_not_hold_it_up(app, config, make_walpush):
    config.set("limits.drain", 1)
    with make_walpush(app, config) as walpush:
        with walpush.subscribe(UNIT_1, ASHA), walpush.connect(UNIT_1, RAVI):
            start = time.monotonic()
            walpush.stop()  # neither of the two reads or answers
            assert time.monotonic() - start < 1 + 10 * SLOWDOWN


def test_a_second_signal_ends_it_at_once(app, config, make_walpush):
    config.set("limits.drain", 600)
    walpush = make_walpush(app, config).start()
    clients = [walpush.subscribe(UNIT_1, ASHA, receive_buffer=4096) for _ in range(30)]
    mark = walpush.mark()
    walpush.send_signal(signal.SIGTERM)
    walpush.wait_for_log("(?i)shutting down|stopping|draining|sigterm", since=mark)
    assert walpush.process.poll() is None, "with a drain of ten minutes and 30 clients it cannot be over yet"
    walpush.send_signal(signal.SIGTERM)
    assert walpush.wait(PATIENCE) >= 0, "ended by itself, not by the signal's default"
    walpush.check_log()
    for client in clients:
        assert client.drain_to_close()[1] in (1012, 1006)


def test_nobody_is_admitted_any_more(app, config, make_walpush):
    config.set("limits.drain", 600)
    with make_walpush(app, config) as walpush:
        held = [walpush.subscribe(UNIT_1, ASHA) for _ in range(30)]
        mark = walpush.mark()
        walpush.send_signal(signal.SIGTERM)
        walpush.wait_for_log("(?i)shutting down|stopping|draining|sigterm", since=mark)
        # Refused or closed, but not left waiting: a TimeoutError is none of these.
        with pytest.raises((Closed, ConnectionError)):
            with Client(walpush.port, UNIT_1, token=walpush.token(RAVI)) as client:
                client.established()
        walpush.send_signal(signal.SIGTERM)
        walpush.wait()
        assert len(held) == 30


def test_the_slot_is_free_afterwards_and_still_holds_the_replay_window(app, config, make_walpush):
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


def test_sighup_does_not_end_it(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        walpush.send_signal(signal.SIGHUP)
        app.touch(app.request)
        assert client.recv()["request_id"] == app.request
