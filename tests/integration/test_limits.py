"""What one client may take, where it comes from, and that nobody else notices."""

import threading
import time

import pytest

from harness.app import ASHA, fresh_app
from harness.client import PATIENCE, Client, Refused, Wire, upgrade
from harness.walpush import Walpush, shipped_config

UNIT_1 = "/ws/requests/1/"


@pytest.fixture(scope="module")
def app(cluster):
    with fresh_app(cluster) as app:
        yield app.set_up()


def peer_of(walpush, mark):
    """The peer that the log names for the last admission."""
    return walpush.wait_for_log(r'msg="?admitted', since=mark).partition(" peer=")[2].split(" ")[0]


# --- where it comes from --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trusted, forwarded, peer",
    [
        ([], None, "127.0.0.1"),
        ([], "203.0.113.9", "127.0.0.1"),
        (["127.0.0.0/8"], None, "127.0.0.1"),
        (["127.0.0.0/8"], "203.0.113.9", "203.0.113.9"),
        (["127.0.0.0/8"], "1.1.1.1, 203.0.113.9", "203.0.113.9"),
        (["127.0.0.1", "10.0.0.0/8"], "1.1.1.1, 2001:db8::5, 10.0.0.7", "2001:db8::5"),
        (["127.0.0.1"], "spoofed", "127.0.0.1"),
    ],
)
def test_the_peer_is_the_last_hop_that_is_not_trusted(app, config, make_walpush, trusted, forwarded, peer):
    config.set("listen.trusted-proxies", trusted)
    with make_walpush(app, config) as walpush:
        mark = walpush.mark()
        with walpush.subscribe(UNIT_1, ASHA, headers={"X-Forwarded-For": forwarded} if forwarded else {}):
            assert peer_of(walpush, mark) == peer


def test_several_headers_are_one_list(app, config, make_walpush):
    config.set("listen.trusted-proxies", ["127.0.0.1"])
    with make_walpush(app, config) as walpush:
        mark = walpush.mark()
        path = f"{UNIT_1}?token={walpush.token(ASHA)}"
        wire = Wire(walpush.port)
        request = upgrade(path, {"X-Forwarded-For": "1.1.1.1"})
        wire.send(request.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n"))
        assert wire.answer().status == 101
        assert peer_of(walpush, mark) == "203.0.113.9"
        wire.close()


# --- handshakes that take their time --------------------------------------------------------------------------------


def test_one_byte_at_a_time_is_cut(app, config, make_walpush):
    """Each byte comes well within the limit; all of them together do not."""
    config.set("limits.handshake", 2)
    with make_walpush(app, config) as walpush:
        wire, start = Wire(walpush.port), time.monotonic()
        for byte in upgrade(UNIT_1 + "?token=" + walpush.token(ASHA)) * 10:
            try:
                wire.send(bytes([byte]))
                wire.more(time.monotonic() + 0.2)  # False: the server hung up; TimeoutError: it reads on
                break
            except TimeoutError:
                assert time.monotonic() - start < PATIENCE
            except ConnectionError:
                break
        assert time.monotonic() - start > 1.5
        assert not wire.buffer.startswith(b"HTTP/1.1 101")
        with walpush.subscribe(UNIT_1, ASHA):
            pass
