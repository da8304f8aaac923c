"""What breaks the WebSocket protocol, or comes when it is over: the connection ends at once, and nobody else notices.

RFC 6455: a frame that is wrong fails the connection (5.2, 5.5, 7.1.7), a close frame ends what the client may say (5.5.1). Each case is
tried in each state of a connection, over plain sockets and over TLS, against one process with two clients of the application
connected throughout; after each test they must receive the next change. tests/wire/ does the same by chance, thousands of times.
"""

import json
import socket
import struct
import time

import pytest

from harness.app import ASHA, BOB, RAVI, fresh_app
from harness.client import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Client, Closed, Wire, frame, upgrade
from harness.tls import Identity, trusting
from harness.walpush import Walpush, shipped_config

UNIT_1 = "/ws/requests/1/"
# Seconds in which a connection is gone that the server ends by itself. It gives clients that owe it a close frame five.
PROMPT = 3.5
STATES = ("waiting for a token", "admitting", "open")


@pytest.fixture(scope="module")
def app(cluster):
    with fresh_app(cluster) as app:
        yield app.set_up()


@pytest.fixture(scope="module", params=["plain", "TLS"])
def walpush(request, app, tmp_path_factory):
    directory = tmp_path_factory.mktemp("walpush")
    config = shipped_config().set("listen.threads", 2)
    if request.param == "TLS":
        identity = Identity("wire")
        identity.write(directory)
        config.set("listen.certificate", str(directory / "tls.crt")).set("listen.certificate-key", str(directory / "tls.key"))
    with Walpush(config, directory, app) as process:
        process.tls = trusting(identity) if request.param == "TLS" else None
        yield process


@pytest.fixture(scope="module")
def bystanders(walpush):
    """One on each hub."""
    clients = [walpush.subscribe(UNIT_1, user) for user in (ASHA, RAVI)]
    yield clients
    for client in clients:
        assert client.close() == []


@pytest.fixture(autouse=True)
def nobody_notices(app, walpush, bystanders):
    """Whatever the test did: the process lives, and the bystanders receive the next change, and nothing else."""
    yield
    app.touch(app.request)
    for client in bystanders:
        message = client.recv()
        assert (message["type"], message["request_id"]) == ("request.updated", app.request), message
    assert walpush.process.poll() is None


# --- a connection in each of its states -----------------------------------------------------------------------------


def auth(walpush, user=ASHA, **how):
    return frame(TEXT, json.dumps({"type": "auth", "token": walpush.token(user)}).encode(), **how)


def send(client, data):
    """The server may have hung up by then: what it said before is read all the same."""
    try:
        client.wire.send(data)
    except OSError:
        pass


def connected(walpush, state):
    """(a client in that state, the bytes that must go before whatever it sends)."""
    if state == "open":
        return walpush.subscribe(UNIT_1, ASHA), b""
    client = Client(walpush.port, UNIT_1, tls=walpush.tls)
    return client, auth(walpush) if state == "admitting" else b""


def words_of(client, timeout=PROMPT):
    """All frames up to the end of the TCP connection, which must come by itself; changes and the hello are left out."""
    frames, deadline = [], time.monotonic() + timeout
    while True:
        try:
            opcode, payload = client.recv_frame(max(deadline - time.monotonic(), 0.001))
        except Closed:
            return frames
        except TimeoutError:
            raise AssertionError(f"not closed after {timeout} s; so far came {frames}") from None
        if opcode != TEXT or json.loads(payload)["type"] not in ("connection_established", "request.updated"):
            frames.append((opcode, payload))


def code_of(frames):
    """The code of the only close frame, which is the only frame; 1006 without any."""
    if not frames:
        return 1006
    ((opcode, payload),) = frames
    assert opcode == CLOSE, frames
    return int.from_bytes(payload[:2], "big")


# --- frames that are wrong ------------------------------------------------------------------------------------------


def with_length(opcode, form, length):
    """A header with a length of 16 or 64 bits, its mask, and nothing of the payload."""
    return bytes([0x80 | opcode, 0x80 | (126 if form == 16 else 127)]) + length.to_bytes(form // 8, "big") + bytes(4)


# RFC 6455, 5.2 and 5.5. A close frame says why.
WRONG = {
    **{f"reserved bits {bits:03b} on {name}": frame(opcode, b"{}", reserved=bits)
       for bits in (1, 2, 4, 7) for name, opcode in (("text", TEXT), ("a ping", PING))},
    "a reserved bit on a close frame": frame(CLOSE, struct.pack(">H", 1000), reserved=1),
    "a reserved bit on a pong": frame(PONG, b"", reserved=4),
    "a reserved bit on a piece": frame(TEXT, b"{", fin=False) + frame(CONTINUATION, b"}", reserved=2),
    **{f"opcode {opcode}": frame(opcode, b"x") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "a ping in pieces": frame(PING, b"x", fin=False),
    "a close in pieces": frame(CLOSE, b"", fin=False),
    "a piece of nothing": frame(CONTINUATION, b"x"),
    "a message within a message": frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"),
    "text, then a close frame with a reserved bit": frame(TEXT, b"{}") + frame(CLOSE, b"", reserved=1),
    "a piece, then a close frame with a reserved bit": frame(TEXT, b"{", fin=False) + frame(CLOSE, b"", reserved=1),
    "wrong twice": frame(TEXT, b"", reserved=4) + frame(3, b"") + frame(CLOSE, b"", reserved=1),
    "wrong, then a close frame": frame(TEXT, b"{}", reserved=4) + frame(CLOSE, struct.pack(">H", 1000)),
    "wrong, then a ping": frame(TEXT, b"{}", reserved=4) + frame(PING, b"x"),
    "wrong, then text": frame(11, b"{}") + frame(TEXT, b'{"type":"ping"}'),
    "half a code": frame(CLOSE, b"\x03"),
}  # fmt: skip

# Lengths that are none. A close frame may say why (7.1.7: should).
WRONG_LENGTHS = {
    "a ping of 126 bytes": frame(PING, b"x" * 126),
    "a pong of 200 bytes": frame(PONG, b"x" * 200),
    "a close of 126 bytes": frame(CLOSE, struct.pack(">H", 1000) + b"x" * 124),
    "a ping with a length of 16 bits": with_length(PING, 16, 5) + b"hello",
    "a ping with a length of 64 bits": with_length(PING, 64, 5) + b"hello",
    "a close with a length of 64 bits": with_length(CLOSE, 64, 2) + b"\x03\xe8",
    "a length of 2^63": with_length(TEXT, 64, 1 << 63),
    "a length of 2^64-1": with_length(BINARY, 64, (1 << 64) - 1) + b"x" * 3000,
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_frame_fails_the_connection(walpush, name):
    """1002, and then the end of the TCP connection: the client says nothing more, and the server does not wait for it."""
    for state in STATES:
        client, before = connected(walpush, state)
        with client:
            send(client, before + WRONG[name])
            assert code_of(words_of(client)) == 1002, state


@pytest.mark.parametrize("name", WRONG_LENGTHS)
def test_a_wrong_length_fails_the_connection(walpush, name):
    for state in STATES:
        client, before = connected(walpush, state)
        with client:
            send(client, before + WRONG_LENGTHS[name])
            assert code_of(words_of(client)) in (1002, 1006), state


def test_a_wrong_frame_byte_by_byte(walpush):
    for state in STATES:
        client, before = connected(walpush, state)
        with client:
            for byte in before + frame(TEXT, b"{}", reserved=4):
                send(client, bytes([byte]))
            assert code_of(words_of(client)) == 1002, state


# --- what follows a close frame -------------------------------------------------------------------------------------

BYE = frame(CLOSE, struct.pack(">H", 1000))

BEHIND = {
    "nothing": lambda walpush: b"",
    "text": lambda walpush: frame(TEXT, b"{}"),
    "a JSON ping": lambda walpush: frame(TEXT, b'{"type":"ping","timestamp":1}'),
    "a token": auth,
    "another user's token": lambda walpush: auth(walpush, BOB),
    "a token in pieces": lambda walpush: frame(TEXT, auth(walpush, mask=None)[4:], fin=False) + frame(CONTINUATION, b""),
    "binary": lambda walpush: frame(BINARY, b"\xff" * 2000),
    "a ping": lambda walpush: frame(PING, b"x"),
    "a pong": lambda walpush: frame(PONG, b"x"),
    "ping, pong, text, token": lambda walpush: frame(PING, b"x") + frame(PONG, b"x") + frame(TEXT, b"{}") + auth(walpush),
    "a second close frame": lambda walpush: BYE,
    "a close frame without a code": lambda walpush: frame(CLOSE, b""),
    "a piece": lambda walpush: frame(TEXT, b"{", fin=False),
    "a reserved bit": lambda walpush: frame(TEXT, b"{}", reserved=4),
    "a close frame with a reserved bit": lambda walpush: frame(CLOSE, b"", reserved=1),
    "an opcode that is none": lambda walpush: frame(3, b""),
    "a length of 2^64-1": lambda walpush: with_length(TEXT, 64, (1 << 64) - 1),
    "no WebSocket": lambda walpush: b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a flood": lambda walpush: frame(TEXT, b'{"type":"ping"}') * 500,
}


@pytest.mark.parametrize("sends", ["one send", "two sends"])
@pytest.mark.parametrize("name", BEHIND)
def test_what_follows_a_close_frame_is_ignored(walpush, name, sends):
    """The close frame is answered with its own code and nothing else, and the TCP connection ends."""
    for state in STATES:
        client, before = connected(walpush, state)
        with client:
            if sends == "one send":
                send(client, before + BYE + BEHIND[name](walpush))
            else:
                send(client, before + BYE)
                send(client, BEHIND[name](walpush))
            assert code_of(words_of(client)) == 1000, state


def test_a_close_frame_within_a_message_ends_it(walpush):
    """Its first piece counts for nothing, its last one comes too late."""
    for state in STATES:
        client, before = connected(walpush, state)
        with client:
            send(client, before + frame(TEXT, b'{"type":', fin=False) + BYE + frame(CONTINUATION, b'"ping"}'))
            assert code_of(words_of(client)) == 1000, state


def test_a_token_behind_a_close_frame_admits_nobody(walpush):
    """Not even to the metrics."""
    admitted = walpush.metric('walpush_admissions_total{result="admitted"}')
    with Client(walpush.port, UNIT_1, tls=walpush.tls) as client:
        send(client, BYE + auth(walpush))
        assert code_of(words_of(client)) == 1000
    assert walpush.metric('walpush_admissions_total{result="admitted"}') == admitted


@pytest.mark.parametrize("name", BEHIND)
def test_what_follows_the_servers_close_frame_ends_nothing_else(walpush, name):
    """A bad token is refused with 4401; whatever the client says then, its close frame ends it."""
    with Client(walpush.port, UNIT_1, token="bad", tls=walpush.tls) as client:
        opcode, payload = client.recv_frame()
        assert (opcode, int.from_bytes(payload[:2], "big")) == (CLOSE, 4401)
        send(client, BEHIND[name](walpush) + BYE)
        # The library answers some of it by itself.
        assert all(opcode in (CLOSE, PONG) for opcode, _ in words_of(client, timeout=3 * PROMPT))


# --- in one segment with the request --------------------------------------------------------------------------------

EARLY = {
    "text and a close frame with a reserved bit": frame(TEXT, b"{}", mask=bytes(4)) + frame(CLOSE, b"", mask=bytes(4), reserved=1),
    "text": frame(TEXT, b"{}"),
    "a close frame": BYE,
    "text and a close frame": frame(TEXT, b"{}") + BYE,
    "a close frame and text": BYE + frame(TEXT, b"{}"),
    "a close frame with a reserved bit": frame(CLOSE, b"", reserved=1),
    "text with a reserved bit, and a close frame": frame(TEXT, b"{}", reserved=4) + BYE,
    "a ping and an opcode that is none": frame(PING, b"x") + frame(3, b"") + frame(PING, b"x"),
    "a piece and a close frame with a reserved bit": frame(TEXT, b"{", fin=False) + frame(CLOSE, b"", reserved=2),
    "text that is not UTF-8, and text": frame(TEXT, b"\xff") + frame(TEXT, b"{}"),
    "a piece of nothing and pongs": frame(CONTINUATION, b"x") + frame(PONG, b"x") * 20,
    "a header that is cut": b"\x81",
}


@pytest.mark.parametrize("token", ["with a token", "without a token"])
@pytest.mark.parametrize("name", EARLY)
def test_frames_in_one_segment_with_the_request(walpush, name, token):
    """What becomes of the connection is open; it may take two tries to find the library in the wrong moment."""
    for _ in range(5):
        path = UNIT_1 + (f"?token={walpush.token(ASHA)}" if token == "with a token" else "")
        wire = Wire(walpush.port, tls=walpush.tls)
        wire.send(upgrade(path) + EARLY[name])
        answer = wire.answer()
        assert answer is None or answer.status == 101
        try:
            socket.socket.shutdown(wire.sock, socket.SHUT_WR)  # also below TLS
        except OSError:
            pass
        wire.at_end(PROMPT)
        wire.close()


def test_tokens_and_close_frames_in_one_segment_with_the_request(walpush):
    for parts in ([BYE, auth(walpush)], [auth(walpush), BYE], [auth(walpush), BYE, auth(walpush)], [BYE, BYE, auth(walpush)]):
        wire = Wire(walpush.port, tls=walpush.tls)
        wire.send(upgrade(UNIT_1) + b"".join(parts))
        answer = wire.answer()
        assert answer is None or answer.status == 101
        wire.close()


@pytest.mark.parametrize("length", [1, 100, 127, 128, 500])
def test_no_frame_comes_before_the_upgrade(walpush, length):
    """Extensions that the library does not take end the connection while it is upgraded: what is no WebSocket gets no close frame."""
    wire = Wire(walpush.port, tls=walpush.tls)
    wire.send(upgrade(UNIT_1, {"Sec-WebSocket-Extensions": "x" * length}))
    answer = wire.answer(PROMPT)
    assert answer is not None or not wire.buffer, bytes(wire.buffer)
    wire.close()
