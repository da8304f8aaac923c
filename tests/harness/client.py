"""A WebSocket client over a plain socket, for tests that must see and do what a browser's API hides.

No dependency beyond the standard library. One thread a client: a client reads only inside its recv calls, and
answers pings there. Every wait has a deadline; the environment's WALPUSH_TEST_SLOWDOWN stretches all of them, for
sanitizers and slow machines.
"""

import base64
import hashlib
import json
import os
import socket
import ssl
import struct
import threading
import time

SLOWDOWN = float(os.environ.get("WALPUSH_TEST_SLOWDOWN", "1"))
PATIENCE = 20 * SLOWDOWN  # seconds; how long an event may take before a test calls it missing

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


class Closed(Exception):
    """The connection has ended: `code` of the close frame, 1005 for one without, 1006 for none at all."""

    def __init__(self, code, reason=""):
        super().__init__(f"closed with {code} {reason}".rstrip())
        self.code = code
        self.reason = reason


class Refused(Exception):
    """The answer to the upgrade was not 101."""

    def __init__(self, answer):
        super().__init__(f"HTTP {answer.status}")
        self.status = answer.status
        self.answer = answer


class Message(dict):
    """A server's message: its members in the order received, and the text itself in `raw`."""

    def __init__(self, raw):
        super().__init__(json.loads(raw, object_pairs_hook=_no_repeated_key))
        self.raw = raw

    def __str__(self):
        return self.raw


def _no_repeated_key(pairs):
    members = dict(pairs)
    assert len(members) == len(pairs), f"a key stands twice: {[key for key, _ in pairs]}"
    return members


class Answer:
    """Head of an HTTP answer, and as much of the body as Content-Length announces."""

    def __init__(self, head):
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ")[1])
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers[name.strip().lower()] = value.strip()
        self.body = b""


class Wire:
    """A socket with a deadline for every read."""

    def __init__(self, port, host="127.0.0.1", source=None, receive_buffer=None, tls=None):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.sock.bind((source, 0))
        self.sock.settimeout(PATIENCE)
        self.sock.connect((host, port))
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname=host)
        self.buffer = bytearray()

    def send(self, data):
        self.sock.settimeout(PATIENCE)
        self.sock.sendall(data)

    def more(self, deadline):
        """Reads what is there into the buffer. TimeoutError past the deadline; False at the end of the stream."""
        self.sock.settimeout(max(deadline - time.monotonic(), 0.000001))
        try:
            data = self.sock.recv(1 << 20)
        except (ConnectionError, ssl.SSLError):
            return False
        self.buffer += data
        return bool(data)

    def need(self, n, deadline):
        """Waits until n bytes are in the buffer; they stay there. False if the stream ends before."""
        while len(self.buffer) < n:
            if not self.more(deadline):
                return False
        return True

    def take(self, n):
        data = bytes(self.buffer[:n])
        del self.buffer[:n]
        return data

    def answer(self, timeout=None):
        """The next HTTP answer, or None if the stream ends before."""
        deadline = time.monotonic() + (timeout or PATIENCE)
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            if not self.more(deadline):
                return None
        answer = Answer(self.take(end + 4)[:-4])
        size = int(answer.headers.get("content-length", 0))
        self.need(size, deadline)
        answer.body = self.take(size)
        return answer

    def at_end(self, timeout=None):
        """Waits for the end of the stream; True if nothing more came before it."""
        deadline = time.monotonic() + (timeout or PATIENCE)
        while self.more(deadline):
            pass
        return not self.buffer

    def close(self):
        self.sock.close()


def upgrade(path, headers=None, key="dGhlIHNhbXBsZSBub25jZQ=="):
    """The bytes of an upgrade request. A header given as None is left out."""
    lines = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": key,
        "Sec-WebSocket-Version": "13",
    }
    lines.update(headers or {})
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    return f"GET {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1")


def http(port, path, headers=None, method="GET", host="127.0.0.1"):
    """A plain HTTP request on its own connection. None if the server closes without an answer."""
    wire = Wire(port, host=host)
    try:
        extra = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        wire.send(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{extra}\r\n".encode())
        return wire.answer()
    finally:
        wire.close()


def accept_for(key):
    """Sec-WebSocket-Accept for a key (RFC 6455, 4.2.2)."""
    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    return base64.b64encode(digest).decode()


def frame(opcode, payload, fin=True, mask=b"\x12\x34\x56\x78", reserved=0):
    """The bytes of a client's frame. mask=None sends it bare, which a client must not do."""
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    bit = 0x80 if mask is not None else 0
    if len(payload) < 126:
        head += bytes([bit | len(payload)])
    elif len(payload) < 65536:
        head += bytes([bit | 126]) + struct.pack(">H", len(payload))
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", len(payload))
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


class Client:
    """An open WebSocket. The constructor raises Refused if the server does not upgrade.

    `token` goes into the query string; other ways of telling it go through `headers` or `send_json`.
    """

    def __init__(self, port, path, token=None, headers=None, source=None, receive_buffer=None, tls=None, host="127.0.0.1"):
        if token is not None:
            path += ("&" if "?" in path else "?") + "token=" + token
        self.wire = Wire(port, host=host, source=source, receive_buffer=receive_buffer, tls=tls)
        key = base64.b64encode(os.urandom(16)).decode()
        self.wire.send(upgrade(path, headers, key))
        self.answer = self.wire.answer()
        if self.answer is None:
            self.wire.close()
            raise Closed(1006, "no answer to the upgrade")
        if self.answer.status != 101:
            self.wire.close()
            raise Refused(self.answer)
        assert self.answer.headers.get("sec-websocket-accept") == accept_for(key)
        self.pings = 0

    @classmethod
    def over(cls, wire, answer):
        """On a wire whose upgrade, however it was asked for, was answered with 101."""
        client = cls.__new__(cls)
        client.wire, client.answer, client.pings = wire, answer, 0
        return client

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.wire.close()

    def send_frame(self, opcode, payload=b"", **how):
        self.wire.send(frame(opcode, payload, **how))

    def send_text(self, text):
        self.send_frame(TEXT, text.encode())

    def send_json(self, value):
        self.send_text(json.dumps(value))

    def recv_frame(self, timeout=None):
        """(opcode, payload) of the next frame of any kind. TimeoutError loses nothing; Closed(1006) at the end."""
        deadline = time.monotonic() + (PATIENCE if timeout is None else timeout)
        self._need(2, deadline)
        first, size = self.wire.buffer[:2]
        assert first & 0xF0 == 0x80, "not final, or reserved bits set"
        assert size & 0x80 == 0, "a server must not mask"
        extra = {126: 2, 127: 8}.get(size, 0)
        if extra:
            self._need(2 + extra, deadline)
            size = int.from_bytes(self.wire.buffer[2 : 2 + extra], "big")
            assert size > (125 if extra == 2 else 65535), "length not in its shortest form"
        self._need(2 + extra + size, deadline)
        return first & 0x0F, self.wire.take(2 + extra + size)[2 + extra :]

    def _need(self, n, deadline):
        if not self.wire.need(n, deadline):
            raise Closed(1006)

    def recv(self, timeout=None):
        """The next message. Answers pings on the way. Raises TimeoutError, or Closed once the server closes."""
        deadline = time.monotonic() + (timeout or PATIENCE)
        while True:
            opcode, payload = self.recv_frame(deadline - time.monotonic())
            if opcode == TEXT:
                return Message(payload.decode())
            if opcode == PING:
                self.pings += 1
                self.send_frame(PONG, payload)
            elif opcode == CLOSE:
                self._answer_close(payload)
                assert len(payload) != 1, "a close frame with half a code"
                code = int.from_bytes(payload[:2], "big") if payload else 1005
                raise Closed(code, payload[2:].decode())
            else:
                assert opcode == PONG, f"unexpected frame, opcode {opcode}"

    def _answer_close(self, payload):
        try:
            self.send_frame(CLOSE, payload[:2])
        except OSError:
            pass  # the server need not wait for the answer

    def recv_n(self, n, timeout=None):
        return [self.recv(timeout) for _ in range(n)]

    def recv_until(self, wanted, timeout=None):
        """Messages up to and with the first for which wanted(message) holds. The timeout is for each."""
        messages = [self.recv(timeout)]
        while not wanted(messages[-1]):
            messages.append(self.recv(timeout))
        return messages

    def established(self, timeout=None):
        """The first message, which must be connection_established."""
        message = self.recv(timeout)
        assert message["type"] == "connection_established", message.raw
        return message

    def close_code(self, timeout=None):
        """The code the server closes with; fails if a message comes first."""
        try:
            message = self.recv(timeout)
        except Closed as closed:
            return closed.code
        raise AssertionError(f"a message instead of a close: {message.raw}")

    def drain_to_close(self, timeout=None):
        """(messages, close code): whatever comes before the server closes."""
        messages = []
        while True:
            try:
                messages.append(self.recv(timeout))
            except Closed as closed:
                return messages, closed.code

    def close(self, code=1000):
        """Closes properly; returns the messages that came before the server's answer."""
        self.send_frame(CLOSE, struct.pack(">H", code))
        try:
            return self.drain_to_close()[0]
        finally:
            self.wire.close()


class Listener(threading.Thread):
    """Reads a client in the background, so that it takes and answers what comes while the test does something else."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.messages = []
        self.end = None  # what ended the reading: Closed, or an error
        self._client = client
        self._changed = threading.Condition()
        self.start()

    def run(self):
        end = None
        while end is None:
            try:
                message = self._client.recv(timeout=3600)
            except (Closed, OSError, AssertionError, ValueError) as error:
                end = error
            with self._changed:
                if end is None:
                    self.messages.append(message)
                self.end = end
                self._changed.notify_all()

    def wait_until(self, wanted, timeout=None):
        """All messages so far, once wanted(messages) holds."""
        with self._changed:
            self._changed.wait_for(lambda: self.end or wanted(self.messages), timeout or PATIENCE)
            assert wanted(self.messages), f"{len(self.messages)} messages, then {self.end or 'nothing'}"
            return list(self.messages)


def lsn_number(text):
    """A position as PostgreSQL prints it, as a number."""
    high, _, low = text.partition("/")
    return int(high, 16) << 32 | int(low, 16)


def event_key(message):
    """The id of a message as a pair that sorts as the stream does."""
    lsn, _, index = message["id"].partition("-")
    return lsn_number(lsn), int(index)


def assert_in_order(messages):
    keys = [event_key(m) for m in messages]
    assert all(a < b for a, b in zip(keys, keys[1:])), [m["id"] for m in messages]
