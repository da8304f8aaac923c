"""What the server says, checked byte by byte as it comes. Pure: no sockets, no clock.

Whatever a client does, what the server sends is well-formed: an HTTP answer with a status that docs/protocol.md names, and frames that
are not masked, have no reserved bits, are of a known kind and in their shortest form; text is JSON; no message follows a close frame. What it
says of a refusal or of a close are words of its own, which repeat nothing of what the client sent.
"""

import json
import re

from frames import CLOSE, PING, PONG, TEXT

from harness.client import accept_for

STATUSES = {400, 403, 404, 426, 431, 503}
# docs/protocol.md, "Ends"; others are echoes of the client's own.
CODES = {1002, 1007, 1008, 1009, 1012, 1013, 4401, 4403, 4408, 4429}

# Those whose words are walpush's; the library has words for 1002 and 1007.
OWN_CODES = CODES - {1002, 1007}
# Words of a close: a name of an option at most, no number, and nothing that is as long as a token.
WORDS = re.compile(rb"[A-Za-z .-]{0,60}")

HEAD_BYTES = 4096
BODY_BYTES = 200


class Answers:
    def __init__(self, key):
        self.status = None
        self.hello = None
        self.pongs = set()  # time stamps of the JSON pongs
        self.renewed = 0
        self.close_code = None  # 1005: a close frame without a code
        self.echoes = set()  # codes that the client sent
        self.complaints = []
        self.raw = False  # what comes is not for us to read, such as alerts of TLS
        self.key = key  # None: not known
        self._buffer = bytearray()
        self._is_text = False  # the body is walpush's own, and not a page of the library's

    def feed(self, data):
        if self.raw:
            return
        self._buffer += data
        if self.status is not None and self.status != 101:
            self._take_body()
            return
        if self.status is None:
            self._take_head()
        while self.status == 101 and self._take_frame():
            pass

    def _complain(self, what):
        self.complaints.append(what)
        self.raw = True

    # --- HTTP ----------------------------------------------------------------------------------------------------

    def _take_head(self):
        end = self._buffer.find(b"\r\n\r\n")
        if not b"HTTP/1.".startswith(self._buffer[:7]) or (end < 0 and len(self._buffer) > HEAD_BYTES):
            self._complain(f"no HTTP answer: {bytes(self._buffer[:40])!r}")
        if end < 0 or self.raw:
            return
        lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        self.status = int(lines[0].split(" ")[1])
        if self.status == 101:
            headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
            if self.key and headers.get("sec-websocket-accept") != accept_for(self.key).lower():
                self._complain("Sec-WebSocket-Accept is wrong")
        elif self.status not in STATUSES:
            self._complain(f"HTTP status {self.status}")
        else:
            self._is_text = "Content-Type: text/plain" in lines
            self._take_body()

    def _take_body(self):
        """One line, as far as it is there."""
        if not self._is_text:
            self._buffer.clear()
        body = bytes(self._buffer)
        if len(body) > BODY_BYTES or not body.isascii() or not body.removesuffix(b"\n").decode("ascii").isprintable():
            self._complain(f"a body that is not one line: {body[:80]!r}")

    # --- WebSocket -----------------------------------------------------------------------------------------------

    def _take_frame(self):
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        first, size = buffer[0], buffer[1]
        extra = {126: 2, 127: 8}.get(size & 0x7F, 0)
        if len(buffer) < 2 + extra:
            return False
        length = int.from_bytes(buffer[2 : 2 + extra], "big") if extra else size & 0x7F
        if first & 0x70 or not first & 0x80 or size & 0x80 or (extra and length < (126 if extra == 2 else 65536)):
            self._complain(f"a malformed frame: {bytes(buffer[:16]).hex()}")
            return False
        if len(buffer) < 2 + extra + length:
            return False
        payload = bytes(buffer[2 + extra : 2 + extra + length])
        del buffer[: 2 + extra + length]
        self._take(first & 0x0F, payload)
        return not self.raw

    def _take(self, opcode, payload):
        if opcode == TEXT and self.close_code is None:
            self._take_message(payload)
        elif opcode == CLOSE:
            self._take_close(payload)
        elif opcode not in (PING, PONG) or len(payload) > 125:
            self._complain(f"a frame with opcode {opcode} and {len(payload)} bytes, close frame {self.close_code}")

    def _take_message(self, payload):
        try:
            message = json.loads(payload)
        except ValueError:
            self._complain(f"no JSON: {payload[:80]!r}")
            return
        if message["type"] == "connection_established":
            self.hello = message
        elif message["type"] == "pong":
            stamp = message.get("timestamp")
            self.pongs.add(stamp if isinstance(stamp, str) else None)
        elif message["type"] == "auth_ok":
            self.renewed += 1
        elif self.hello is None:
            self._complain(f"{message['type']} before connection_established")

    def _take_close(self, payload):
        """The library does not know of ours, and may add one of its own: the first counts."""
        if len(payload) == 1 or len(payload) > 125:
            self._complain(f"a close frame of {len(payload)} bytes")
        code = int.from_bytes(payload[:2], "big")
        if code in OWN_CODES and not WORDS.fullmatch(payload[2:]):
            self._complain(f"words that are not of the server's own: {payload[2:]!r}")
        if self.raw or self.close_code is not None:
            return
        self.close_code = int.from_bytes(payload[:2], "big") if payload else 1005

    @property
    def has_odd_code(self):
        return self.close_code is not None and self.close_code not in CODES | self.echoes | {1005}
