"""HTTP as strangers speak it: upgrades, and requests that are none. And the tokens that go with them."""

import collections
import time

from harness.app import BOB, GONE
from harness.walpush import token

# Members of unit 1, who are admitted to what UNIT lists; each may have limits.per-user connections.
MEMBERS = range(100, 160)
UNIT = ("/ws/requests/1/", "/ws/crates/1/")


Pass = collections.namedtuple("Pass", "text admits user")


def good(rng):
    user = rng.choice(MEMBERS)
    return Pass(token(user), True, user)


def bad(rng):
    """A token that admits to nothing in UNIT, of a kind that the seed chooses."""
    user = rng.choice(MEMBERS)
    return Pass(rng.choice(_BAD)(user), False, user)


_BAD = (
    lambda user: token(BOB),
    lambda user: token(GONE),
    lambda user: token(4711),
    lambda user: token(user, exp=int(time.time()) - 5),
    lambda user: token(user, exp=None),
    lambda user: token(user, key="another key"),
    lambda user: token(user, token_type="refresh"),
    lambda user: token(user)[:-3],
    lambda user: token(user, padding="x" * 7000),
    lambda user: "",
    lambda user: "x",
    lambda user: "..",
    lambda user: "x" * 300,
)


def renewal(rng, user):
    """A token for a connection of this user: mostly one that renews it."""
    kind = rng.randrange(4)
    if kind == 0:
        return good(rng)
    return bad(rng) if kind == 1 else Pass(token(user), True, user)


def head(path, method="GET", version="HTTP/1.1", more=(), **changes):
    """The bytes of an upgrade. Header names have _ for -; None leaves one out."""
    headers = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    headers.update({name.replace("_", "-"): value for name, value in changes.items()})
    lines = [f"{method} {path} {version}", *(f"{k}: {v}" for k, v in headers.items() if v is not None), *more, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def upgrade(rng, path, pass_, where):
    """An upgrade in order, with the token where it is to be: "query", "header" or nowhere."""
    how = {}
    if where == "query":
        path += "?" + rng.choice(("", "a=1&", "since=0/1-1&epoch=x&", "since=x&")) + "token=" + pass_.text
    if where == "header":
        how["Authorization"] = "Bearer " + pass_.text
    if rng.random() < 0.2:
        how["Origin"] = "http://localhost:5173"
    if rng.random() < 0.1:
        how["Sec_WebSocket_Extensions"] = "permessage-deflate; client_max_window_bits"
    return head(path, **how)


def other(rng):
    """Anything but an upgrade in order. It may be one that the server takes all the same."""
    path = rng.choice((*UNIT, "/", "/ws/nowhere/", "*", "//ws/requests/1/", "/ws/requests/1/%00", "/%zz", "/" + "a" * 5000, "http://x/"))
    return rng.choice(_OTHER)(rng, path)


_METHODS = ("POST", "PUT", "DELETE", "OPTIONS", "HEAD", "TRACE", "PATCH", "PRI", "get", "G" * 9000, "", "\x16")
_PLAIN = {"Upgrade": None, "Connection": "close"}

_OTHER = (
    lambda rng, path: head(path, **_PLAIN),
    lambda rng, path: head(path, Upgrade=None, Connection="keep-alive") * rng.randint(1, 5),
    lambda rng, path: head(path, rng.choice(_METHODS), **(_PLAIN if rng.random() < 0.5 else {})),
    lambda rng, path: head(rng.choice((path, "localhost:80", "x")), "CONNECT", **_PLAIN),
    lambda rng, path: head(path, "CONNECT"),
    lambda rng, path: head(path, version=rng.choice(("HTTP/1.0", "HTTP/9.9", "HTTP/2.0", "", "x"))),
    lambda rng, path: head(path, Upgrade=rng.choice(("h2c", "raw", "websocket, h2c", "h2c, websocket", "", "x" * 500))),
    lambda rng, path: head(
        path, Upgrade="h2c", Connection="Upgrade, HTTP2-Settings", HTTP2_Settings="AAMAAABkAAQAAP__", Sec_WebSocket_Key=None
    ),
    lambda rng, path: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9) + rng.randbytes(rng.randrange(100)),
    lambda rng, path: head(path, Sec_WebSocket_Version=rng.choice(("8", "013", "13, 8", "", "x", None))),
    lambda rng, path: head(path, Sec_WebSocket_Key=rng.choice(("", "x", "A" * 2000, "!!!!!!!!!!!!!!!!!!!!!!==", None))),
    lambda rng, path: head(path, Sec_WebSocket_Protocol=rng.choice(("x", "walpush", "x, walpush", ",", ", ".join(["p"] * 300)))),
    lambda rng, path: head(path, Sec_WebSocket_Extensions="x" * rng.randrange(1, 1000)),
    lambda rng, path: head(path, Connection=rng.choice(("", "close", "upgrade, close", "x" * 300, None))),
    lambda rng, path: head(path, Origin=rng.choice(("", "null", "http://evil.example", "x" * 600))),
    lambda rng, path: head(path, Host=rng.choice(("", "x" * 4000, "a b", None))),
    lambda rng, path: head(path, more=[f"{name}: x" for name in rng.choices(("Host", "Upgrade", "Sec-WebSocket-Key", "Origin"), k=2)]),
    lambda rng, path: head(path, more=["X" * rng.choice((1, 100, 20000)) + ": " + "x" * rng.choice((0, 100, 30000))]),
    lambda rng, path: head(path, more=[f"X-{i}: {'x' * rng.choice((1, 1000))}" for i in range(rng.choice((10, 100, 500)))]),
    lambda rng, path: head(path, Content_Length=rng.choice(("0", "5", "-1", "99999999999999999999", "x"))) + b"hello",
    lambda rng, path: head(path, Transfer_Encoding=rng.choice(("chunked", "x"))) + b"5\r\nhello\r\n0\r\n\r\n",
    lambda rng, path: head(path, Content_Length="4", Transfer_Encoding="chunked", **_PLAIN) + b"0\r\n\r\n" + head(UNIT[0]),
    lambda rng, path: head(path, "POST", Content_Length="3", more=["Content-Length: 30"], **_PLAIN) + b"abc" + head(UNIT[0]),
    lambda rng, path: head(path).replace(b"\r\n", rng.choice((b"\n", b"\r", b"\r\r\n", b"\0\r\n"))),
    lambda rng, path: head(path, X_Forwarded_For=rng.choice(("1.1.1.1, " * 300, "::1", "x", ","))),
    lambda rng, path: head(path + "?token=" + rng.choice(("%", "%zz", "%00", "x" * 20000, "a&" * 500))),
    lambda rng, path: head(path, more=[" folded", "no colon", ": no name"]),
)


def garbage(rng):
    kind = rng.randrange(5)
    if kind == 0:
        return rng.randbytes(rng.randrange(1, 3000))
    if kind == 1:
        return bytes(rng.randrange(1, 3000))
    if kind == 2:
        return b"\r\n" * rng.randrange(1, 500)
    if kind == 3:
        return b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(rng.randrange(600))
    whole = bytearray(head(UNIT[0]))
    for _ in range(rng.randint(1, 8)):
        whole[rng.randrange(len(whole))] = rng.randrange(256)
    return bytes(whole)
