"""A client's frames, right and wrong, and what a server must make of them (RFC 6455, sections 5 and 7).

`Frame` is one frame as it goes over the wire. `Judge` follows the frames that a connection sends, as the server reads them, and says
what the server must do about them. Pure: no sockets, no clock.
"""

import codecs
import collections
import struct

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
CONTROL = 0x8

# How the payload's length is written: in its shortest form, or in one of the three whatever it is.
SHORTEST, SEVEN, SIXTEEN, SIXTY_FOUR = "shortest", "7 bits", "16 bits", "64 bits"

MESSAGE_BYTES = 16384  # limits.message-bytes
MESSAGES = 10  # limits.messages-per-second
# The server looks at a message's announced length when it has read so much of it.
READ = 1024


class Frame(collections.namedtuple("Frame", "opcode payload fin reserved mask form announced")):
    """`mask` None sends it bare. `announced` is the length in the header, where it is not the payload's."""

    def __new__(cls, opcode, payload=b"", fin=True, reserved=0, mask=b"\0\0\0\0", form=SHORTEST, announced=None):
        return super().__new__(cls, opcode, payload, fin, reserved, mask, form, announced)

    @property
    def length(self):
        return len(self.payload) if self.announced is None else self.announced

    def encode(self):
        head = bytes([(0x80 if self.fin else 0) | self.reserved << 4 | self.opcode])
        bit = 0x80 if self.mask is not None else 0
        form = self.form
        if form == SHORTEST:
            form = SEVEN if self.length < 126 else SIXTEEN if self.length < 65536 else SIXTY_FOUR
        if form == SEVEN:
            head += bytes([bit | self.length])
        elif form == SIXTEEN:
            head += bytes([bit | 126]) + struct.pack(">H", self.length)
        else:
            head += bytes([bit | 127]) + struct.pack(">Q", self.length)
        return head + self.payload if self.mask is None else head + self.mask + masked(self.payload, self.mask)

    @property
    def is_shortest(self):
        return self.form == SHORTEST or self.encode()[1] == self._replace(form=SHORTEST).encode()[1]


def masked(payload, mask):
    if not payload or not any(mask):
        return payload
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(len(payload), "big")


def close(code=None, reason=b"", **how):
    return Frame(CLOSE, b"" if code is None else struct.pack(">H", code) + reason, **how)


# What becomes of a connection.
FAILS = "a violation of the protocol"  # the server fails it: it closes the TCP connection without waiting for the client
ENDS = "the client's close frame"  # the server answers and closes the TCP connection
REFUSED = "a limit"  # the server sends a close frame, and waits a while for the client's


class Judge:
    """What the server owes a connection for what it was sent.

    `fate` is None, or why the server must end the connection. `vague` says that the documents leave open what the server makes of
    some of it: then nothing is owed, and nothing that is well-formed is wrong. `auths` has the auth messages that may come, by their
    text: what each token is worth. `asked` is the token that the connection asks to be admitted with.
    """

    def __init__(self):
        self.fate = None
        self.why = None
        self.vague = False
        self.auths = {}
        self.asked = None
        self.may_enter = False
        self._messages = 0
        self._open = None  # opcode of the message that lacks its last piece
        self._was_text = False
        self._text = b""
        self._utf8 = None

    @property
    def is_clean(self):
        return self.fate is None and not self.vague and self._messages < MESSAGES

    def anything_goes(self):
        self.vague = True

    def meet(self, fate, why):
        if self.fate is None and not self.vague:
            self.fate, self.why = fate, why

    def ask(self, pass_):
        """This token asks for admission."""
        self.asked = pass_
        if pass_.admits:
            self.may_enter = True
        else:
            self.meet(REFUSED, "a token that does not admit")

    def hear(self, frame):
        """The frame was sent, and is the next that the server reads."""
        if self.vague:
            self.may_enter = True
        if self.vague or self.fate:
            return
        wrong = self._wrong(frame)
        if wrong:
            self.meet(FAILS, wrong)
        elif frame.mask is None:
            self.anything_goes()
        elif frame.opcode == CLOSE:
            self._hear_close(frame)
        elif frame.opcode == PONG:
            self._hear_pong(frame)
        elif frame.opcode < CONTROL:
            self._hear_data(frame)

    def _wrong(self, frame):
        if frame.reserved:
            return "reserved bits"
        if frame.opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            return "an opcode that is none"
        if frame.length >= 1 << 63:
            return "a length of 2^63 or more"
        if frame.opcode >= CONTROL:
            return None if frame.fin and frame.length < 126 and frame.is_shortest else "a control frame in pieces or too long"
        if (frame.opcode == CONTINUATION) != (self._open is not None):
            return "a piece of no message, or a message within a message"
        return None

    def _hear_close(self, frame):
        code = int.from_bytes(frame.payload[:2], "big") if len(frame.payload) > 1 else None
        if len(frame.payload) == 1 or (code is not None and code >= 5000):
            self.meet(FAILS, "a close frame that is none")
        elif not is_utf8(frame.payload[2:]):
            self.meet(FAILS, "a reason that is not UTF-8")
        else:
            self.meet(ENDS, ENDS)

    def _hear_pong(self, frame):
        """The library checks its payload as if it were text, if the message before or around it is."""
        self._count()
        if self._was_text and (self._open == TEXT or not is_utf8(frame.payload)):
            self.anything_goes()

    def _hear_data(self, frame):
        if frame.opcode != CONTINUATION:
            self._open, self._text = frame.opcode, b""
            self._was_text = frame.opcode == TEXT
            self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._text += frame.payload
        missing = frame.length - len(frame.payload)
        if frame.fin and not frame.payload and self._is_cut():
            self.anything_goes()  # the library looks at text only where there is some
        elif not self._is_text(frame, missing):
            self.meet(FAILS, "text that is not UTF-8")
        elif len(self._text) + missing > MESSAGE_BYTES:
            self._too_long(frame, missing)
        elif missing or not frame.is_shortest:
            self.anything_goes()
        if frame.fin or not frame.payload:
            self._count()
        if frame.fin:
            self._open = None
            self._hear_message(self._text)

    def _is_cut(self):
        """Whether the text so far ends within a character."""
        return self._open == TEXT and self._utf8.getstate()[0] != b""

    def _is_text(self, frame, missing):
        if self._open != TEXT:
            return True
        try:
            self._utf8.decode(frame.payload, final=frame.fin and not missing)
        except UnicodeDecodeError:
            return False
        return True

    def _too_long(self, frame, missing):
        if not missing or len(frame.payload) > READ:
            self.meet(REFUSED, "a message that is too long")
        else:
            self.anything_goes()

    def _hear_message(self, text):
        pass_ = self.auths.get(text)
        if self.fate or self.vague or pass_ is None:
            return
        if self.asked is None:
            self.ask(pass_)
        elif not pass_.admits or pass_.user != self.asked.user:
            self.meet(REFUSED, "a token that renews nothing")

    def _count(self):
        """The server's second may begin anywhere: in a flood, it has too many wherever that is."""
        self._messages += 1
        if self._messages > 4 * MESSAGES:
            self.meet(REFUSED, "too many messages")


def is_utf8(data):
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
