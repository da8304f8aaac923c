"""The fuzzer notices what it is there to notice: a judge that says yes to everything would be of no use."""

import json
import signal
import socket
import struct
import threading
import time

import pytest
import script
import stand
from answers import Answers
from frames import BINARY, CLOSE, CONTINUATION, ENDS, FAILS, PING, PONG, REFUSED, TEXT, Frame, Judge, close
from heads import Pass
from peer import KEY, Engine
from worker import place

from harness.client import accept_for
from throwaway.cluster import Cluster

# --- what the server owes for frames ----------------------------------------------------------------------------------

GOOD, BAD, OTHER = Pass("good", True, 1), Pass("bad", False, 1), Pass("other", True, 2)
VAGUE = "vague"


def auth(pass_):
    return Frame(TEXT, f"auth {pass_.text}".encode())


@pytest.mark.parametrize(
    "frames, fate",
    [
        ([Frame(TEXT, b"{}"), Frame(BINARY, b"\xff"), Frame(PING), Frame(PONG), Frame(TEXT, "ä".encode())], None),
        ([Frame(TEXT, "ä".encode()[:1], fin=False), Frame(PING), Frame(CONTINUATION, "ä".encode()[1:])], None),
        ([Frame(TEXT, b"{}", reserved=1)], FAILS),
        ([Frame(CLOSE, reserved=4)], FAILS),
        ([Frame(3)], FAILS),
        ([Frame(15)], FAILS),
        ([Frame(PING, fin=False)], FAILS),
        ([Frame(PING, b"x" * 126)], FAILS),
        ([Frame(PING, b"x", form="64 bits")], FAILS),
        ([Frame(CONTINUATION)], FAILS),
        ([Frame(TEXT, fin=False), Frame(TEXT)], FAILS),
        ([Frame(TEXT, b"\xff")], FAILS),
        ([Frame(TEXT, "ä".encode()[:1])], FAILS),
        ([Frame(TEXT, "ä".encode()[:1], fin=False), Frame(CONTINUATION, b"x")], FAILS),
        ([Frame(TEXT, "ä".encode()[:1], fin=False), Frame(CONTINUATION)], VAGUE),
        ([Frame(TEXT, b"x"), Frame(PONG, b"\xff")], VAGUE),
        ([Frame(PONG, b"\xff")], None),
        ([Frame(TEXT, announced=1 << 63, form="64 bits")], FAILS),
        ([Frame(CLOSE, b"x")], FAILS),
        ([close(5000)], FAILS),
        ([close(1000, b"\xff")], FAILS),
        ([close(1000)], ENDS),
        ([close()], ENDS),
        ([close(1000), Frame(TEXT, reserved=1)], ENDS),
        ([Frame(TEXT, reserved=1), close(1000)], FAILS),
        ([Frame(TEXT, b"x" * 16384)], None),
        ([Frame(TEXT, b"x" * 16385)], REFUSED),
        ([Frame(TEXT, b"x" * 2000, announced=20000)], REFUSED),
        ([Frame(TEXT, b"x", announced=20000)], VAGUE),
        ([Frame(TEXT, b"x", mask=None)], VAGUE),
        ([Frame(TEXT, b"x", form="16 bits")], VAGUE),
        ([Frame(TEXT, b"x", mask=None), Frame(3)], VAGUE),
        ([Frame(TEXT, b"{}")] * 9, None),
        ([Frame(TEXT, b"{}")] * 50, REFUSED),
        ([auth(GOOD)], None),
        ([auth(GOOD), auth(GOOD)], None),
        ([auth(BAD)], REFUSED),
        ([auth(GOOD), auth(BAD)], REFUSED),
        ([auth(GOOD), auth(OTHER)], REFUSED),
    ],
)
def test_fates(frames, fate):
    judge = Judge()
    judge.auths = {auth(pass_).payload: pass_ for pass_ in (GOOD, BAD, OTHER)}
    for frame in frames:
        judge.hear(frame)
    assert (VAGUE if judge.vague else judge.fate) == fate


@pytest.mark.parametrize(
    "frames, may",
    [([auth(GOOD)], True), ([auth(BAD)], False), ([close(), auth(GOOD)], False), ([Frame(3), auth(GOOD)], False), ([], False)],
)
def test_who_may_enter(frames, may):
    judge = Judge()
    judge.auths = {auth(pass_).payload: pass_ for pass_ in (GOOD, BAD)}
    for frame in frames:
        judge.hear(frame)
    assert judge.may_enter == may


def test_frames_are_those_of_the_rfc():
    """Section 5.7 has the bytes."""
    hello = Frame(TEXT, b"Hello", mask=bytes.fromhex("37fa213d"))
    assert hello.encode() == bytes.fromhex("818537fa213d7f9f4d5158")
    assert Frame(BINARY, bytes(256), mask=None).encode()[:4] == bytes.fromhex("827e0100")
    assert Frame(BINARY, bytes(65536), mask=None).encode()[:10] == bytes.fromhex("827f0000000000010000")


# --- what the server may say ------------------------------------------------------------------------------------------

HEAD = f"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {accept_for(KEY)}\r\n\r\n".encode()
HELLO = b'{"type":"connection_established"}'
PLAIN = b"Content-Type: text/plain\r\n\r\n"


def bare(opcode, payload):
    return Frame(opcode, payload, mask=None).encode()


@pytest.mark.parametrize(
    "data, complaint",
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\nwhat\never", None),
        (b"HTTP/1.1 404 Not Found\r\n" + PLAIN + b"what to do\n", None),
        (b"HTTP/1.1 404 Not Found\r\n" + PLAIN + b"what\nto do\n", "not one line"),
        (b"HTTP/1.1 404 Not Found\r\n" + PLAIN + b"\x1b[31m", "not one line"),
        (b"HTTP/1.1 404 Not Found\r\n" + PLAIN + b"x" * 300, "not one line"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "HTTP status 200"),
        (b"SSH-2.0\r\n\r\n", "no HTTP answer"),
        (b"HTTP/1.1 101 Fine\r\nSec-WebSocket-Accept: x\r\n\r\n", "Sec-WebSocket-Accept"),
        (HEAD + bare(TEXT, HELLO) + bare(PING, b"ping") + bare(CLOSE, struct.pack(">H", 4401)), None),
        (HEAD + bare(CLOSE, b""), None),
        (HEAD + bare(CLOSE, struct.pack(">H", 4401) + b"token for another audience"), None),
        (HEAD + bare(CLOSE, struct.pack(">H", 4403) + b"user 7 is not admitted"), "words"),
        (HEAD + bare(CLOSE, struct.pack(">H", 4401) + b"x" * 61), "words"),
        (HEAD + bare(TEXT, b'{"type":"request.updated"}'), "before connection_established"),
        (HEAD + bare(TEXT, HELLO[:-1]), "no JSON"),
        (HEAD + bare(BINARY, HELLO), "opcode 2"),
        (HEAD + Frame(TEXT, HELLO).encode(), "malformed"),
        (HEAD + Frame(TEXT, HELLO, mask=None, reserved=4).encode(), "malformed"),
        (HEAD + Frame(TEXT, HELLO, mask=None, fin=False).encode(), "malformed"),
        (HEAD + Frame(TEXT, HELLO, mask=None, form="64 bits").encode(), "malformed"),
        (HEAD + bare(CLOSE, b"x"), "close frame of 1 bytes"),
        (HEAD + bare(CLOSE, b"") + bare(TEXT, HELLO), "opcode 1"),
        (HEAD + bare(CLOSE, b"") + bare(PONG, b"") + bare(CLOSE, b""), None),
    ],
)
def test_answers(data, complaint):
    """However it is cut."""
    for size in (1, 7, len(data)):
        answers = Answers(KEY)
        for at in range(0, len(data), size):
            answers.feed(data[at : at + size])
        assert len(answers.complaints) == (complaint is not None), answers.complaints
        assert complaint is None or complaint in answers.complaints[0]


# --- servers that misbehave -------------------------------------------------------------------------------------------


class Server(threading.Thread):
    """Upgrades whatever comes, says something, and does as `then` does with the socket."""

    def __init__(self, says, then):
        super().__init__(daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._says, self._then = says, then
        self._kept = []
        self.start()

    def run(self):
        while True:
            try:
                sock = self._listener.accept()[0]
            except OSError:
                return
            self._kept.append(sock)
            try:
                sock.recv(65536)
                sock.sendall(HEAD + self._says)
                self._then(sock)
            except OSError:
                pass

    def stop(self):
        self._listener.close()
        for sock in self._kept:
            sock.close()


@pytest.mark.parametrize(
    "says, then, finding",
    [
        (bare(TEXT, HELLO), lambda sock: None, "not closed within"),
        (bare(TEXT, HELLO), socket.socket.close, "admitted without a token that admits"),
        (b"", lambda sock: None, "no close frame within"),
        (b"", lambda sock: None, "not admitted within"),
        (bare(CLOSE, struct.pack(">H", 4403)), lambda sock: None, "not closed within"),
        (bare(CLOSE, struct.pack(">H", 4403)), socket.socket.close, "close frame 4403"),
        (bare(TEXT, HELLO), lambda sock: None, "no pong within"),
        (bare(CLOSE, struct.pack(">H", 1006)), socket.socket.close, "a close frame with 1006"),
        (b"\xc1\x00", socket.socket.close, "malformed"),
    ],
)
def test_servers_that_misbehave_are_found(monkeypatch, says, then, finding):
    for limit in ("SOON", "UNSHAKEN", "UNANSWERED", "HANG"):
        monkeypatch.setattr(script, limit, 0.2)
    server = Server(says, then)
    engine = Engine(place(server.port, False), 1, script.play, 50)
    engine.run(iter(range(0, 400, 2)))
    server.stop()
    assert any(finding in what for _, _, what in engine.findings), {what for _, _, what in engine.findings}


def test_seed_and_number_determine_a_connection(monkeypatch):
    """What it sends, but for the times within tokens."""
    monkeypatch.setattr(script, "SOON", 0.2)
    server = Server(bare(TEXT, HELLO), socket.socket.close)
    courses = []
    for seed, first in ((1, 0), (1, 0), (2, 0), (1, 100)):
        engine = Recorder(place(server.port, False), seed)
        engine.run(iter(range(first, first + 40)))
        courses.append(engine.sent)
    server.stop()
    assert courses[0] == courses[1]
    assert courses[0] not in courses[2:]


class Recorder(Engine):
    """Keeps the length of the first send of each connection."""

    def __init__(self, server, seed):
        super().__init__(server, seed, self.play, 1)
        self.sent = []

    def play(self, peer):
        send = peer.send

        def record(data):
            if len(self.sent) == 0 or self.sent[-1][0] != peer.number:
                self.sent.append((peer.number, len(data)))
            send(data)

        peer.send = record
        return script.play(peer)


# --- the server that is attacked --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster():
    with Cluster(fsync=False) as cluster:
        yield cluster


def findings_of(it, within=20):
    deadline = time.monotonic() + within
    while not (found := it.watch()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return " ".join(found)


def test_what_the_server_may_not_do_is_found(cluster, tmp_path, monkeypatch):
    """At rest nothing is; then a descriptor, memory, a connection, a change are missing; then it stands still; then it dies."""
    with stand.Stand(cluster, False, tmp_path) as it:
        assert it.watch() == []
        assert it.rests()
        descriptors, memory = it.descriptors(), it.walpush.rss()
        it.load.wait_for(5)
        assert "1 descriptors did not come back" in it.settle(descriptors - 1, None)
        assert any("memory did not come back" in what for what in it.settle(descriptors, memory - 2 * stand.MEMORY))
        assert it.settle(descriptors, memory) == []
        it.bystanders[0].count -= 1
        assert "bystander 1 heard" in it.settle(descriptors, memory)[0]
    monkeypatch.setattr(stand, "HANG", 1)
    with stand.Stand(cluster, False, tmp_path) as it:
        it.load.wait_for(5)
        it.walpush.send_signal(signal.SIGSTOP)
        found = findings_of(it)
        assert "is silent for 1 s" in found
        it.walpush.send_signal(signal.SIGCONT)
    with stand.Stand(cluster, False, tmp_path) as it:
        it.walpush.send_signal(signal.SIGSEGV)
        assert "ended with status -11" in findings_of(it)


def test_a_bystander_notices_a_gap(cluster, tmp_path):
    with stand.Stand(cluster, False, tmp_path) as it:
        it.load.wait_for(5)
        it.app.sql("UPDATE requests SET purpose = %s WHERE id = %s", "x 4711", it.app.request)
        assert "after change" in findings_of(it)


def test_a_connection_that_stays_is_found(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(stand, "PATIENCE", 1)
    with stand.Stand(cluster, False, tmp_path) as it, socket.create_connection(("127.0.0.1", it.walpush.port)):
        assert json.dumps(it.settle(it.descriptors(), None)).count("with 3 sockets, for 2 bystanders") == 1
