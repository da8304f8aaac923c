"""What a stranger does with its connection: a script for `peer.Engine`, drawn from the connection's own random numbers.

It goes through the states that the server knows: before the upgrade, waiting for a token, being admitted, open, closing. In each it
may send anything, and it may leave at any moment, in every way there is. What the server owes it for that, `frames.Judge` says.
"""

import json
import math

import heads
from frames import BINARY, CLOSE, CONTINUATION, ENDS, FAILS, PING, PONG, REFUSED, TEXT, Frame, close
from peer import HANG

from harness.client import SLOWDOWN

HANDSHAKE = 2 * math.ceil(SLOWDOWN)  # seconds, limits.handshake
SLACK = 3 * SLOWDOWN
# In how many seconds the server has closed the TCP connection ...
SOON = SLACK  # ... of its own accord: after a violation, a close frame, a half-close
UNSHAKEN = HANDSHAKE + 1 + SLACK  # ... that has not shaken hands; it looks every second
UNANSWERED = 5 + 1 + SLACK  # ... whose client does not answer its close frame


def play(peer):
    yield from peer.rng.choices(_OPENINGS, _OPENING_WEIGHTS)[0](peer)
    if peer.answers.hello and not peer.judge.may_enter:
        peer.complain("admitted without a token that admits")
    # The library reads on after a violation, and keeps the reason for its close frame where it keeps a ping's payload.
    if peer.answers.has_odd_code and peer.judge.fate != FAILS and not peer.judge.vague:
        peer.complain(f"a close frame with {peer.answers.close_code}")


# --- ways to send -----------------------------------------------------------------------------------------------------


def out(peer, data):
    """In one piece mostly; or in two, or byte by byte."""
    for piece in in_pieces(peer.rng, data):
        peer.send(piece)
        if len(piece) < len(data) and not peer.is_late(HANDSHAKE / 4):
            yield None, 0.001
    yield lambda: not peer.out, HANG


def in_pieces(rng, data):
    how = rng.random()
    if how < 0.9 or len(data) < 2:
        return [data]
    if how < 0.97 or len(data) > 400:
        cut = rng.randrange(1, len(data))
        return [data[:cut], data[cut:]]
    return [data[i : i + 1] for i in range(len(data))]


def say(peer, frames):
    """Frames, in one segment or in several."""
    for frame in frames:
        peer.judge.hear(frame)
    note_codes(peer, frames)
    parts = [frame.encode() for frame in frames]
    if peer.rng.random() < 0.7:
        parts = [b"".join(parts)]
    for part in parts:
        yield from out(peer, part)


def note_codes(peer, frames):
    """A close frame's code may come back."""
    for frame in frames:
        if frame.opcode == CLOSE and len(frame.payload) > 1:
            peer.answers.echoes.add(int.from_bytes(frame.payload[:2], "big"))


# --- ways to end ------------------------------------------------------------------------------------------------------


def server_ends(peer, seconds, why):
    """Waits for the end of the TCP connection, which the server owes."""
    if not (yield lambda: peer.ended, seconds):
        peer.complain(f"not closed within {seconds:.0f} s after {why}, close frame {peer.answers.close_code}")


def leave(peer):
    """The client's own end: a reset, a half-close, or no more than a closed socket."""
    way = peer.rng.randrange(4)
    if way == 0:
        peer.reset()
    elif way == 1:
        peer.half_close()
        yield from server_ends(peer, SOON, "a half-close")
    elif way == 2 and peer.has_tls:
        peer.say_end_of_tls()
        yield from server_ends(peer, SOON, "close_notify")
    else:
        peer.close()


def finish(peer):
    """After a WebSocket: what is owed is waited for, mostly."""
    judge, answers = peer.judge, peer.answers
    if judge.fate is None and answers.close_code is None and not peer.ended:
        yield from _say_goodbye(peer)
    if peer.ended or peer.rng.random() < 0.2:
        yield from leave(peer)
    elif judge.fate in (FAILS, ENDS) and answers.close_code not in (4401, 4403, 4429, 1012, 1013):
        yield from server_ends(peer, SOON, judge.why)
    elif judge.fate == REFUSED or answers.close_code is not None:
        yield from _be_refused(peer)
    else:
        yield from leave(peer)


def _say_goodbye(peer):
    if peer.rng.random() < 0.4:
        yield from say(peer, [a_good_close(peer.rng)])


def _be_refused(peer):
    """The server closes: its close frame is answered, or not."""
    why = peer.judge.why or f"its close frame {peer.answers.close_code}"
    if not (yield lambda: peer.answers.close_code is not None, SOON):
        peer.complain(f"no close frame within {SOON:.0f} s after {why}")
    if peer.rng.random() < 0.9:
        peer.answers.echoes.add(1000)
        peer.send(close(1000).encode())
        yield from server_ends(peer, SOON if peer.judge.is_clean else UNANSWERED, why + ", answered")
    else:
        yield from server_ends(peer, UNANSWERED, why)


# --- frames -----------------------------------------------------------------------------------------------------------


def text(value):
    return json.dumps(value).encode()


def a_mask(rng):
    return bytes(4) if rng.random() < 0.3 else rng.randbytes(4)


def a_good_close(rng):
    return close(rng.choice((None, 1000, 1001, 3000, 4999)), b"", mask=a_mask(rng)) if rng.random() < 0.8 else close(1000, b"bye")


def a_payload(rng):
    kind = rng.randrange(8)
    if kind == 0:
        return b""
    if kind == 1:
        return rng.randbytes(rng.choice((1, 2, 125, 126, 127, 1000)))
    if kind == 2:
        return text({"type": "ping", "timestamp": rng.randrange(1000)})
    if kind == 3:
        return "…ä€😀".encode() * rng.choice((1, 30))
    if kind == 4:
        return b'{"type":' * rng.choice((1, 1000))
    if kind == 5:
        return b"x" * rng.choice((1000, 1023, 1024, 1025, 16383, 16384, 16385, 70000))
    return b"{}"


def one(peer):
    """A frame of any kind, with payload and header drawn apart."""
    rng = peer.rng
    opcode = rng.choice((TEXT, TEXT, TEXT, BINARY, CONTINUATION, PING, PONG, CLOSE, rng.randrange(16)))
    payload = a_payload(rng)
    if opcode >= CLOSE and rng.random() < 0.8:
        payload = payload[:125]
    if opcode == CLOSE and rng.random() < 0.7:
        code = rng.choice((0, 999, 1000, 1001, 1004, 1005, 1006, 1012, 1015, 2999, 3000, 4401, 4999, 5000, 65535))
        payload = close(code, rng.choice((b"", b"bye", b"\xff", "ä".encode() * 61))).payload
    return [
        Frame(
            opcode,
            payload,
            fin=rng.random() < 0.8,
            reserved=rng.randrange(1, 8) if rng.random() < 0.12 else 0,
            mask=None if rng.random() < 0.03 else a_mask(rng),
            form=rng.choice(("16 bits", "64 bits")) if rng.random() < 0.06 and len(payload) < 65536 else "shortest",
        )
    ]


def pieces(peer):
    """One message in pieces, with control frames between them; sometimes without its end."""
    rng = peer.rng
    opcode, payload = rng.choice((TEXT, BINARY)), rng.choice((a_payload(rng), text({"type": "ping", "timestamp": "in pieces"})))
    n = rng.choice((2, 3, 5))
    cuts = sorted(rng.randrange(len(payload) + 1) for _ in range(n - 1))
    parts = [payload[a:b] for a, b in zip([0, *cuts], [*cuts, len(payload)])]
    frames = []
    for i, part in enumerate(parts):
        frames.append(Frame(opcode if i == 0 else CONTINUATION, part, fin=i == n - 1, mask=a_mask(rng)))
        if rng.random() < 0.3:
            frames.append(rng.choice((Frame(PING, b"between"), Frame(PONG), *one(peer))))
    return frames if rng.random() < 0.8 else frames[:-1]


def json_ping(peer):
    return [Frame(TEXT, text({"type": "ping", "timestamp": peer.rng.randrange(10**6)}), mask=a_mask(peer.rng))]


def control(peer):
    rng = peer.rng
    return [Frame(rng.choice((PING, PONG)), rng.randbytes(rng.choice((0, 1, 125))), mask=a_mask(rng))]


def a_close(peer):
    return [a_good_close(peer.rng)]


def flood(peer):
    frame = peer.rng.choice((Frame(TEXT, b"{}"), Frame(PONG, b"x"), Frame(PING, b"x"), Frame(BINARY), Frame(TEXT, b'{"type":"ping"}')))
    return [frame] * 50


def too_long(peer):
    """A header that announces far more than comes."""
    rng = peer.rng
    n = rng.choice((20000, 65536, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1))
    form = "64 bits" if n > 65535 else "shortest"
    return [Frame(rng.choice((TEXT, BINARY)), b"x" * rng.choice((0, 10, 2000)), form=form, announced=n, fin=rng.random() < 0.5)]


def auth(peer, pass_):
    """An auth message; now and then in pieces, with a ping between them."""
    payload = text({"type": "auth", "token": pass_.text})
    peer.judge.auths[payload] = pass_
    if peer.rng.random() < 0.1:
        cut = peer.rng.randrange(len(payload))
        return [Frame(TEXT, payload[:cut], fin=False), Frame(PING, b"within"), Frame(CONTINUATION, payload[cut:])]
    return [Frame(TEXT, payload, mask=a_mask(peer.rng))]


def renew(peer):
    """Before a token was sent, it is the first."""
    user = peer.judge.asked.user if peer.judge.asked else peer.rng.choice(heads.MEMBERS)
    return auth(peer, heads.renewal(peer.rng, user))


_ACTS = (one, pieces, json_ping, control, a_close, renew, flood, too_long)
_ACT_WEIGHTS = (30, 12, 12, 12, 7, 14, 2, 4)


def anything(peer, most):
    """Up to `most` acts, each sent by itself or all at once."""
    rng = peer.rng
    frames = []
    for _ in range(rng.randint(0, most)):
        act = rng.choices(_ACTS, _ACT_WEIGHTS)[0]
        frames += act(peer)
        if rng.random() < 0.5:
            yield from say(peer, frames)
            frames = []
        if not peer.judge.is_clean and rng.random() < 0.5:
            break
    if frames:
        yield from say(peer, frames)


# --- a WebSocket, from its upgrade on -----------------------------------------------------------------------------------


def websocket(peer):
    rng = peer.rng
    pass_ = heads.good(rng) if rng.random() < 0.75 else heads.bad(rng)
    where = rng.choices(("query", "header", "message", "nowhere"), (45, 10, 35, 10))[0]
    request = heads.upgrade(rng, rng.choice(heads.UNIT), pass_, where)
    if rng.random() < 0.2:
        request += early(peer)
    told = where == "query" or (where == "header" and pass_.text != "")
    if told:
        peer.judge.ask(pass_)
    yield from out(peer, request)
    if rng.random() < 0.1:
        yield from _leaves_early(peer)
        return
    if rng.random() < 0.1:
        peer.judge.anything_goes()  # what is sent before the answer may be lost
    elif not (yield from is_upgraded(peer)):
        return
    if not told:
        yield from waiting(peer, pass_ if where == "message" else None)
    yield from admitting(peer)
    yield from opened(peer)
    yield from finish(peer)


def early(peer):
    """Frames in one segment with the request. What becomes of them is open: docs/protocol.md, "Ends"."""
    peer.judge.anything_goes()
    peer.judge.may_enter = True
    frames = []
    for _ in range(peer.rng.randint(1, 4)):
        frames += peer.rng.choices(_ACTS, _ACT_WEIGHTS)[0](peer)
    note_codes(peer, frames)
    return b"".join(frame.encode() for frame in frames)


def _leaves_early(peer):
    """Before the answer is read."""
    if peer.rng.random() < 0.5:
        yield None, 0.002 * peer.rng.random()
    yield from leave(peer)


def is_upgraded(peer):
    """Waits for the answer; False if it is none, which a request in order does not deserve."""
    answers = peer.answers
    if peer.is_late(HANDSHAKE / 2):
        peer.judge.anything_goes()
    yield lambda: answers.status is not None, HANG
    if peer.ended and peer.is_late(HANDSHAKE):
        return False  # cut by the limit, which a slow machine may reach
    if answers.status is None and not peer.judge.vague:
        peer.complain(f"no answer to the upgrade within {HANG:.0f} s, ended: {peer.ended}")
    elif answers.status not in (None, 101):
        peer.complain(f"an upgrade in order is answered with {answers.status}")
    return answers.status == 101


def waiting(peer, pass_):
    yield from anything(peer, 3)
    if pass_ and peer.judge.asked is None:
        yield from say(peer, auth(peer, pass_))
    elif peer.rng.random() < 0.1:
        yield from _is_late(peer)


def _is_late(peer):
    """No token in time."""
    if peer.judge.is_clean and peer.judge.asked is None:
        peer.judge.meet(REFUSED, "no token")
        if not (yield lambda: peer.answers.close_code is not None, UNSHAKEN):
            peer.complain(f"no token, and no close frame within {UNSHAKEN:.0f} s")


def admitting(peer):
    """Half of them do not wait."""
    if peer.rng.random() < 0.5:
        yield from anything(peer, 2)
    if peer.judge.asked and peer.rng.random() < 0.9:
        yield from is_admitted(peer)


def is_admitted(peer):
    judge, answers = peer.judge, peer.answers
    yield lambda: answers.hello or answers.close_code is not None or not judge.is_clean, HANG
    if judge.is_clean and answers.hello is None and answers.close_code not in (4429, 1013, 4401):
        peer.complain(f"not admitted within {HANG:.0f} s, close frame {answers.close_code}, ended: {peer.ended}")


def opened(peer):
    rng = peer.rng
    if rng.random() < 0.15:
        yield from is_deaf(peer)
    yield from anything(peer, 6)
    if peer.judge.is_clean and rng.random() < 0.4:
        yield from is_answered(peer)
    yield from behind_a_close(peer)


def is_deaf(peer):
    peer.deaf = True
    yield from anything(peer, 2)
    yield None, 0.2 * peer.rng.random()
    peer.deaf = False


def is_answered(peer):
    """Nothing was wrong so far, so a ping gets its pong."""
    stamp = f"alive {peer.number}"
    yield from say(peer, [Frame(TEXT, text({"type": "ping", "timestamp": stamp}))])
    answers = peer.answers
    yield lambda: stamp in answers.pongs or answers.close_code is not None, HANG
    if peer.judge.is_clean and stamp not in answers.pongs and answers.close_code not in (4429, 1013, 4401):
        peer.complain(f"no pong within {HANG:.0f} s, close frame {answers.close_code}, ended: {peer.ended}")


def behind_a_close(peer):
    """A close frame, and what must be ignored after it: at once, or once the server has read it."""
    rng = peer.rng
    if rng.random() < 0.7:
        return
    frames = a_close(peer) if rng.random() < 0.8 else one(peer)
    if rng.random() < 0.5:
        yield from say(peer, frames)
        frames = []
        yield None, rng.choice((0, 0.001, 0.01))
    for _ in range(rng.randint(1, 3)):
        frames += rng.choice((renew, json_ping, control, one, a_close))(peer)
    yield from say(peer, frames)


# --- what is no WebSocket ---------------------------------------------------------------------------------------------


def plain_http(peer):
    yield from out(peer, heads.other(peer.rng))
    yield from _is_sent_off(peer)


def garbage(peer):
    peer.answers.key = None  # it may be an upgrade with one letter changed
    yield from out(peer, heads.garbage(peer.rng))
    yield from _is_sent_off(peer)


def _is_sent_off(peer):
    """Mostly the answer is waited for. It may be an upgrade, if the request was odd but in order."""
    rng, answers = peer.rng, peer.answers
    if rng.random() < 0.2:
        yield from leave(peer)
        return
    yield lambda: answers.status is not None, UNSHAKEN
    if answers.status == 101:
        peer.judge.anything_goes()
        yield from anything(peer, 3)
        yield from leave(peer)
    elif rng.random() < 0.3:
        yield from out(peer, heads.other(rng))
        yield from leave(peer)
    else:
        yield from server_ends(peer, UNSHAKEN, "a request that is no upgrade")


def torn(peer):
    """A request that never ends."""
    rng = peer.rng
    whole = heads.upgrade(rng, heads.UNIT[0], heads.good(rng), rng.choice(("query", "header")))
    yield from out(peer, whole[: rng.randrange(len(whole))])
    if rng.random() < 0.85:
        yield from leave(peer)
    else:
        yield from server_ends(peer, UNSHAKEN, "a request that does not end")


def silent(peer):
    """Nothing at all."""
    peer.answers.raw = peer.place.tls is not None  # alerts
    if peer.rng.random() < 0.8:
        yield None, 0.01 * peer.rng.random()
        yield from leave(peer)
    else:
        yield from server_ends(peer, UNSHAKEN, "nothing at all")


_TALKS = (websocket, plain_http, garbage, torn)
_TALK_WEIGHTS = (78, 10, 5, 7)


def talk(peer):
    yield from peer.rng.choices(_TALKS, _TALK_WEIGHTS)[0](peer)


# --- TLS --------------------------------------------------------------------------------------------------------------


def over_the_right_port(peer):
    """TLS first, where the server speaks it; what the server owes begins with the last byte of its handshake."""
    if peer.place.tls:
        if not peer.begin_tls():
            return
        if not (yield peer.shake_hands, HANG):
            peer.complain(f"no TLS within {HANG:.0f} s")
            return
        if peer.rng.random() < 0.02:
            yield from _spoil_tls(peer)
            return
    yield from talk(peer)


def _spoil_tls(peer):
    """Bytes below the session that are none of it."""
    if peer.rng.random() < 0.5:
        peer.send(heads.head(heads.UNIT[0]))
    peer.send_under_tls(peer.rng.randbytes(peer.rng.choice((1, 5, 100, 2000))))
    yield from (leave(peer) if peer.rng.random() < 0.8 else server_ends(peer, UNSHAKEN + UNANSWERED, "garbage within TLS"))


def over_the_wrong_port(peer):
    """HTTP to a server that speaks TLS, and the other way round; and hellos that are cut or spoilt."""
    rng = peer.rng
    peer.answers.raw = peer.place.tls is not None  # alerts
    data = peer.place.hello
    kind = rng.randrange(3)
    if peer.place.tls and kind == 0:
        data = heads.head(heads.UNIT[0]) if rng.random() < 0.5 else heads.garbage(rng)
    elif kind == 1:
        data = data[: rng.randrange(1, len(data))]
    elif kind == 2:
        data = bytearray(data)
        for _ in range(rng.randint(1, 5)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    yield from out(peer, bytes(data))
    yield from (leave(peer) if rng.random() < 0.85 else server_ends(peer, UNSHAKEN, "a hello that does not end"))


_OPENINGS = (over_the_right_port, over_the_wrong_port, silent)
_OPENING_WEIGHTS = (92, 5, 3)
