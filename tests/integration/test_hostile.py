"""What strangers send, and the answer that each thing gets, while those who may listen are served.

Every case has the one answer that it must get: the status of a refused upgrade, a close code, HANG_UP where the connection ends
without a word, or OPEN where what looks odd is in order. One process takes them all, at log level debug, with two clients of the
application connected throughout; after each case they must hear of a change. At the end nothing of any token stands in the log.
"""

import base64
import hashlib
import hmac
import json
import struct
import time

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from harness.app import ASHA, BOB, RAVI, fresh_app
from harness.client import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Client, Closed, Wire, frame
from harness.walpush import SIGNING_KEY, Walpush, shipped_config

UNIT_1 = "/ws/requests/1/"
ORIGIN = "http://localhost:5173"
HANG_UP, OPEN, SILENCE = "hung up", "open", "silence"
HANDSHAKE = 2  # seconds, limits.handshake


@pytest.fixture(scope="module")
def app(cluster):
    with fresh_app(cluster) as app:
        yield app.set_up()


@pytest.fixture(scope="module")
def walpush(app, tmp_path_factory):
    config = shipped_config().set("limits.handshake", HANDSHAKE)
    env = {"WALPUSH_LOG_LEVEL": "debug"}
    with Walpush(config, tmp_path_factory.mktemp("walpush"), app, env=env) as process:
        yield process
        process.secrets += MADE


@pytest.fixture
def own_app(bare_app):
    return bare_app.set_up()


@pytest.fixture(scope="module")
def listeners(walpush):
    """One on each hub, if there are two."""
    clients = [walpush.subscribe(UNIT_1, user) for user in (ASHA, RAVI)]
    yield clients
    for client in clients:
        assert client.close() == []


@pytest.fixture
def served(app, listeners):
    """Whatever the test did: those who listen hear of the next change, and of nothing else."""
    yield
    app.touch(app.request)
    for client in listeners:
        message = client.recv()
        assert (message["type"], message["request_id"]) == ("request.updated", app.request), message


# --- tokens, made by hand -------------------------------------------------------------------------------------------


MADE = []  # parts of tokens, none of which may be logged


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def text_of(value):
    return value if isinstance(value, bytes) else value.encode() if isinstance(value, str) else json.dumps(value).encode()


def forged(header, payload, key=SIGNING_KEY, digest=hashlib.sha256):
    """Header and payload may be objects, texts or bytes; the signature is HMAC's, or none for key None."""
    signed = b64(text_of(header)) + "." + b64(text_of(payload))
    signature = "" if key is None else b64(hmac.new(text_of(key), signed.encode(), digest).digest())
    MADE.extend(part for part in (signed.partition(".")[2], signature) if len(part) > 40)
    return signed + "." + signature


def claims(**changes):
    now = int(time.time())
    body = {"token_type": "access", "exp": now + 900, "iat": now, "jti": "0" * 32, "user_id": ASHA}
    body.update(changes)
    return {name: value for name, value in body.items() if value is not ...}


HS256 = {"alg": "HS256", "typ": "JWT"}


def with_header(**changes):
    return lambda: forged({**HS256, **changes}, claims())


def with_claims(**changes):
    return lambda: forged(HS256, claims(**changes))


def with_payload(text):
    """The text may hold EXP, a time to come."""
    raw = text if isinstance(text, bytes) else text.encode()
    return lambda: forged(HS256, raw.replace(b"EXP", str(int(time.time()) + 900).encode()))


def good(user=ASHA):
    return forged(HS256, claims(user_id=user))


def spoilt(change):
    return lambda: change(good())


def other_payload(token):
    head, _, signature = token.split(".")
    return ".".join((head, good(BOB).split(".")[1], signature))


def in_other_alphabet(token):
    """The same bytes in the alphabet of ordinary base64; a signature that shows the difference is waited for."""
    while "-" not in token and "_" not in token:
        token = forged(HS256, claims(jti=hashlib.sha256(token.encode()).hexdigest()))
    return token.replace("-", "%2B").replace("_", "/")


def key_pair():
    """An RSA key as PEM, private and public."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


SOON = int(time.time()) + 900

TOKENS = {
    "alg none": lambda: forged({"alg": "none"}, claims(), key=None),
    "alg None": lambda: forged({"alg": "None"}, claims(), key=None),
    "alg nOnE, signed": lambda: forged({"alg": "nOnE"}, claims()),
    "alg empty": with_header(alg=""),
    "alg null": with_header(alg=None),
    "alg a list": with_header(alg=["HS256"]),
    "alg of two words": with_header(alg="HS256 none"),
    "alg in lower case": with_header(alg="hs256"),
    "alg missing": lambda: forged({"typ": "JWT"}, claims()),
    "alg twice": lambda: forged('{"alg":"none","alg":"HS256"}', claims()),
    "HS512 with the right key": lambda: forged({"alg": "HS512"}, claims(), digest=hashlib.sha512),
    "HS384 with the right key": lambda: forged({"alg": "HS384"}, claims(), digest=hashlib.sha384),
    "RS256 named, HMAC made": with_header(alg="RS256"),
    "ES256 named, HMAC made": with_header(alg="ES256"),
    "an empty key": lambda: forged(HS256, claims(), key=b""),
    "another key": lambda: forged(HS256, claims(), key=b"not the key of this server at all"),
    "the key and a newline": lambda: forged(HS256, claims(), key=SIGNING_KEY + "\n"),
    "a zero byte for a key": lambda: forged(HS256, claims(), key=b"\0"),
    "no signature": spoilt(lambda t: t.rpartition(".")[0] + "."),
    "no third part": spoilt(lambda t: t.rpartition(".")[0]),
    "a fourth part": spoilt(lambda t: t + ".x"),
    "five parts, as a JWE": spoilt(lambda t: t + "." + t.replace(".", "", 1)),
    "empty parts": lambda: "..",
    "a signature of zeros": spoilt(lambda t: t.rpartition(".")[0] + "." + "A" * 43),
    "cut by a letter": spoilt(lambda t: t[:-1]),
    "cut in the middle": spoilt(lambda t: t[: len(t) // 2]),
    "doubled": spoilt(lambda t: t + t),
    "doubled with a dot": spoilt(lambda t: t + "." + t),
    "another's payload": spoilt(other_payload),
    "padded": spoilt(lambda t: t + "="),
    "in quotes": spoilt(lambda t: "%22" + t + "%22"),
    "a blank before it": spoilt(lambda t: "%20" + t),
    "of another alphabet": spoilt(in_other_alphabet),
    "longer than limits.token-bytes": with_claims(padding="x" * 6500),
    "expired": with_claims(exp=int(time.time()) - 1),
    "exp missing": with_claims(exp=...),
    "exp null": with_claims(exp=None),
    "exp a string": with_claims(exp=str(SOON)),
    "exp a float": with_claims(exp=SOON + 0.5),
    "exp with an exponent": with_payload('{"token_type":"access","user_id":2,"exp":9e9}'),
    "exp true": with_claims(exp=True),
    "exp a list": with_claims(exp=[SOON]),
    "exp zero": with_claims(exp=0),
    "exp negative": with_claims(exp=-SOON),
    "exp 2^63": with_claims(exp=2**63),
    "exp 2^63-1": with_claims(exp=2**63 - 1),
    "exp 2^64 and a bit": with_claims(exp=2**64 + SOON),
    "exp twice": with_payload('{"token_type":"access","user_id":2,"exp":1,"exp":EXP}'),
    "nbf to come": with_claims(nbf=SOON),
    "nbf a string": with_claims(nbf="0"),
    "iat to come": with_claims(iat=SOON),
    "iat a string": with_claims(iat="now"),
    "a refresh token": with_claims(token_type="refresh"),
    "a sliding token": with_claims(token_type="sliding"),
    "token_type missing": with_claims(token_type=...),
    "token_type null": with_claims(token_type=None),
    "token_type a list": with_claims(token_type=["access"]),
    "user missing": with_claims(user_id=...),
    "user null": with_claims(user_id=None),
    "user empty": with_claims(user_id=""),
    "user true": with_claims(user_id=True),
    "user a float": with_claims(user_id=2.0),
    "user a list": with_claims(user_id=[ASHA]),
    "user an object": with_claims(user_id={"id": ASHA}),
    "user beyond int64": with_claims(user_id=2**63),
    "user with a zero byte": with_claims(user_id="2\0"),
    "user with a newline": with_claims(user_id="2\n"),
    "user of a kilobyte": with_claims(user_id="2" * 1024),
    "user twice": with_payload('{"token_type":"access","exp":EXP,"user_id":5,"user_id":2}'),
    "kid a path": lambda: forged({**HS256, "kid": "../../../../dev/null"}, claims(), key=b""),
    "kid a query": lambda: forged({**HS256, "kid": "x' UNION SELECT 'k"}, claims(), key=b"k"),
    "kid a list": with_header(kid=["a"]),
    "jwk in the header": lambda: forged({**HS256, "jwk": {"kty": "oct", "k": b64(b"mine")}}, claims(), key=b"mine"),
    "jku in the header": lambda: forged({**HS256, "jku": "http://127.0.0.1:1/keys"}, claims(), key=b"mine"),
    "x5u in the header": lambda: forged({**HS256, "x5u": "http://127.0.0.1:1/cert"}, claims(), key=b"mine"),
    "crit": with_header(crit=["exp"]),
    "b64 false": with_header(crit=["b64"], b64=False),
    "typ of something else": with_header(typ="at+jwt"),
    "header an array": lambda: forged([HS256], claims()),
    "header no JSON": lambda: forged("HS256", claims()),
    "header with something behind it": lambda: forged(json.dumps(HS256) + "{}", claims()),
    "payload an array": with_payload("[]"),
    "payload a string": with_payload('"user_id"'),
    "payload null": with_payload("null"),
    "payload empty": lambda: good().split(".")[0] + ".." + good().split(".")[2],
    "payload no JSON": with_payload("user_id=2"),
    "payload not UTF-8": with_payload(b'{"token_type":"access","exp":EXP,"user_id":"\xff"}'),
    "payload with something behind it": with_payload('{"token_type":"access","exp":EXP,"user_id":2}{}'),
    "payload thousands deep": with_payload('{"token_type":"access","exp":EXP,"user_id":2,"x":' + "[" * 2500 + "]" * 2500 + "}"),
}

# --- requests -------------------------------------------------------------------------------------------------------


def request(path=UNIT_1, method="GET", version="HTTP/1.1", token=good, more=(), end="\r\n", **changes):
    """The bytes of an upgrade, with the token in the query where one is given. Header names have _ for -; None leaves one out."""
    headers = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "Origin": ORIGIN,
    }
    headers.update({name.replace("_", "-"): value for name, value in changes.items()})
    if token:
        path += ("&" if "?" in path else "?") + "token=" + token()
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return end.join([f"{method} {path} {version}".strip(), *lines, *more, "", ""]).encode("latin-1")


def path(text, **how):
    return lambda: request(text, **how)


def query(text):
    """After UNIT_1; TOKEN stands for a good one."""
    return lambda: request(UNIT_1 + text.replace("TOKEN", good()), token=None)


def header(**changes):
    return lambda: request(**changes)


def line(*lines, **how):
    return lambda: request(more=lines, **how)


REQUESTS = {
    # Paths: nothing, or exactly what the tidy path is allowed.
    "the root": (path("/"), 404),
    "no slash at the end": (path("/ws/requests/1"), 404),
    "something behind it": (path("/ws/requests/1/x"), 404),
    "upper case": (path("/WS/requests/1/"), 404),
    "a negative number": (path("/ws/requests/-1/"), 404),
    "a plus": (path("/ws/requests/%2B1/"), 404),
    "hexadecimal": (path("/ws/requests/0x1/"), 404),
    "a full-width digit": (path("/ws/requests/%EF%BC%91/"), 404),
    "a blank": (path("/ws/requests/1%20/"), 404),
    "SQL": (path("/ws/requests/1%20OR%201=1/"), 404),
    "20 digits": (path("/ws/requests/10000000000000000000/1/"), 404),
    "beyond the column": (path("/ws/requests/2147483648/"), 4403),
    "19 digits": (path("/ws/requests/9999999999999999999/"), 4403),
    "another unit": (path("/ws/requests/2/"), 4403),
    "another unit, zeros before it": (path("/ws/requests/002/"), 4403),
    "another unit, escaped": (path("/ws/requests/%32/"), 4403),
    "another unit, escaped twice": (path("/ws/requests/%2532/"), 404),
    "another unit, through dots": (path("/ws/requests/1/../2/"), 4403),
    "another unit, through escaped dots": (path("/ws/requests/1/%2e%2e/2/"), 4403),
    "another unit, the own in the query": (path("/ws/requests/2/?unit_id=1&path.unit_id=1"), 4403),
    "another unit, the own as a parameter": (path("/ws/requests/2;unit_id=1/"), 404),
    "another unit and a fragment": (path("/ws/requests/2/#/ws/requests/1/"), 404),
    "a unit that is not there": (path("/ws/requests/4711/"), 4403),
    "zeros before the own": (path("/ws/requests/0000000000000000000000001/"), OPEN),
    "the own, escaped": (path("/ws/%72equests/%31/"), OPEN),
    "another user's notifications": (path(f"/ws/notifications/{BOB}/"), 4403),
    "another user's, through dots": (path(f"/ws/notifications/{ASHA}/../{BOB}/"), 4403),
    "another user's, zeros before it": (path(f"/ws/notifications/0{BOB}/"), 4403),
    "backslashes": (path("\\ws\\requests\\1\\"), 400),
    "a star": (path("*", method="OPTIONS"), 400),
    "an absolute address": (path("http://evil.example/ws/requests/2/"), 400),
    "a path of 3 KB": (path("/ws/requests/" + "0" * 3000 + "1/"), 404),
    "a path of 64 KB": (path("/ws/requests/" + "0" * 65536 + "1/"), 431),
    "a zero byte in the path": (path("/ws/requests/1%00/"), 400),
    "a zero byte behind the path": (path("/ws/requests/1/%00"), 400),
    "a zero byte as it is": (path("/ws/requests/1/\x00"), 400),
    "a line end behind the path": (path("/ws/requests/1/%0a"), 400),
    "a line end and a version behind the path": (path("/ws/requests/1/%0aHTTP/1.1", token=None), 400),
    "a carriage return behind the path": (path("/ws/requests/1/%0d"), 400),
    "a control character in the path": (path("/ws/requests/1%1f/"), 400),
    "a control character as it is": (path("/ws/requests/1\x01/"), 400),
    "a delete in the path": (path("/ws/requests/1%7F/"), 400),
    "an overlong slash": (path("/ws/requests/1%c0%af"), 404),
    "a surrogate in the path": (path("/ws/requests/1%ed%a0%80/"), 404),
    "a bad escape in the path": (path("/ws/requests/%zz/"), 400),
    "an escape that is cut": (path("/ws/requests/1/%"), 400),
    "not UTF-8": (path("/ws/requests/%ff/"), 404),
    # Queries.
    "no token at all": (query(""), 4401),
    "an empty token": (query("?token="), 4401),
    "TOKEN in upper case": (query("?TOKEN=TOKEN"), 4401),
    "tokens": (query("?tokens=TOKEN"), 4401),
    "a token in the fragment": (query("#token=TOKEN"), 404),
    "two question marks": (query("??token=TOKEN"), 4401),
    "a bad token first": (query("?token=x&token=TOKEN"), 4401),
    "a good token first": (query("?token=TOKEN&token=x"), OPEN),
    "others beside it": (query("?a=1&token=TOKEN&b=%26token=x"), OPEN),
    "separated by a semicolon": (query("?a=1;token=TOKEN"), OPEN),
    "a zero byte behind it": (query("?token=TOKEN%00"), 400),
    "a zero byte within": (query("?token=abc%00def"), 400),
    "a zero byte in since": (query("?token=TOKEN&since=0/1-1%00&epoch=x"), 400),
    "a zero byte in a name": (query("?tok%00en=TOKEN"), 400),
    "a bad escape behind it": (query("?token=TOKEN%zz"), 400),
    "a newline behind it": (query("?token=TOKEN%0A"), 400),
    "since nonsense": (query("?token=TOKEN&since=%27%20OR%201=1--&epoch=x"), OPEN),
    "since beyond 64 bits": (query("?token=TOKEN&since=FFFFFFFFF/FFFFFFFFF-99999999999&epoch=x"), OPEN),
    "since ahead of everything": (query("?token=TOKEN&since=FFFFFFFF/FFFFFFFF-1&epoch=x"), OPEN),
    "an epoch of 3 KB": (query("?token=TOKEN&since=0/1-1&epoch=" + "x" * 3000), OPEN),
    "a token of 1 MB": (path(UNIT_1, token=lambda: "x" * 2**20), 431),
    "a hundred arguments": (query("?token=TOKEN" + "&a=b" * 100), 431),
    # Authorization.
    "a bearer": (lambda: request(token=None, Authorization="Bearer " + good()), OPEN),
    "Basic": (lambda: request(token=None, Authorization="Basic " + good()), 4401),
    "a bearer of nothing": (lambda: request(token=None, Authorization="Bearer "), 4401),
    "two bearers": (lambda: request(token=None, more=["Authorization: Bearer " + good()] * 2), 4401),
    "a bad query and a good bearer": (lambda: request(UNIT_1 + "?token=x", token=None, Authorization="Bearer " + good()), 4401),
    "a cookie": (lambda: request(token=None, Cookie="token=" + good() + "; access=" + good()), 4401),
    "a token as a subprotocol": (lambda: request(token=None, Sec_WebSocket_Protocol="bearer, " + good()), 400),
    # Origins.
    "no origin, as no browser does": (header(Origin=None), OPEN),
    "origin in upper case": (header(Origin="HTTP://LOCALHOST:5173"), OPEN),
    "origin null": (header(Origin="null"), 403),
    "origin empty": (header(Origin=""), OPEN),
    "origin of another port": (header(Origin="http://localhost:5174"), 403),
    "origin without its port": (header(Origin="http://localhost"), 403),
    "origin of another scheme": (header(Origin="https://localhost:5173"), 403),
    "origin with a suffix": (header(Origin="http://localhost:5173.evil.example"), 403),
    "origin with a digit more": (header(Origin="http://localhost:51730"), 403),
    "origin with a prefix": (header(Origin="http://evil-localhost:5173"), 403),
    "origin of a subdomain": (header(Origin="http://x.localhost:5173"), 403),
    "origin with a user": (header(Origin="http://localhost:5173@evil.example"), 403),
    "origin with a path": (header(Origin="http://localhost:5173/"), 403),
    "origin with a fragment": (header(Origin="http://evil.example#http://localhost:5173"), 403),
    "origin with a dot": (header(Origin="http://localhost.:5173"), 403),
    "origin by number": (header(Origin="http://127.0.0.1:5173"), 403),
    "origin a file": (header(Origin="file://"), 403),
    "origin of 1 KB": (header(Origin="http://" + "a" * 1024), 403),
    "two origins": (line("Origin: http://evil.example"), 403),
    "two origins in one": (header(Origin=ORIGIN + ", http://evil.example"), 403),
    # Upgrades.
    "no upgrade": (header(Upgrade=None), 426),
    "h2c": (header(Upgrade="h2c", Connection="Upgrade, HTTP2-Settings", HTTP2_Settings="AAMAAABkAAQAAP__"), 400),
    "h2c and websocket": (header(Upgrade="websocket, h2c"), 403),
    "an unknown upgrade": (header(Upgrade="raw"), 403),
    "an unknown upgrade, and close": (header(Upgrade="raw", Connection="Upgrade, close"), 403),
    "two upgrades": (line("Upgrade: websocket"), 400),
    "WebSocket in upper case": (header(Upgrade="WEBSOCKET", Connection="keep-alive, UPGRADE"), OPEN),
    "Connection missing": (header(Connection=None), 400),
    "Connection: close": (header(Connection="close"), 400),
    "Connection: upgrades": (header(Connection="upgrades"), 400),
    "version 8": (header(Sec_WebSocket_Version="8"), 426),
    "version 013": (header(Sec_WebSocket_Version="013"), 426),
    "versions 13 and 8": (header(Sec_WebSocket_Version="13, 8"), 426),
    "no version": (header(Sec_WebSocket_Version=None), 426),
    "no key": (header(Sec_WebSocket_Key=None), 400),
    "a short key": (header(Sec_WebSocket_Key="c2hvcnQ="), 400),
    "a key of 1 KB": (header(Sec_WebSocket_Key="A" * 1022 + "=="), 400),
    "a key that is no base64": (header(Sec_WebSocket_Key="!!!!!!!!!!!!!!!!!!!!!!=="), 400),
    "two keys": (line("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400),
    "no host": (header(Host=None), 400),
    "two hosts": (line("Host: evil.example"), 400),
    "an unknown subprotocol": (header(Sec_WebSocket_Protocol="graphql-ws"), 400),
    "subprotocols without end": (header(Sec_WebSocket_Protocol=", ".join(f"p{i}" for i in range(500))), 400),
    "ours among others": (header(Sec_WebSocket_Protocol="other, walpush"), OPEN),
    "a browser's extensions": (header(Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits"), OPEN),
    "extensions of 500 bytes": (header(Sec_WebSocket_Extensions="permessage-deflate; x=" + "y" * 500), HANG_UP),
    # HTTP.
    "POST": (path(UNIT_1, method="POST"), 400),
    "CONNECT": (path("localhost:1", method="CONNECT", token=None), 400),
    "TRACE": (path(UNIT_1, method="TRACE"), 403),
    "a method of 10 KB": (path(UNIT_1, method="G" * 10_000), 400),
    "HTTP/1.0": (path(UNIT_1, version="HTTP/1.0"), OPEN),
    "HTTP/9.9": (path(UNIT_1, version="HTTP/9.9"), 400),
    "a body": (lambda: request(Content_Length="5") + b"hello", 400),
    "a body in pieces": (lambda: request(Transfer_Encoding="chunked") + b"5\r\nhello\r\n0\r\n\r\n", 400),
    "lengths that disagree": (lambda: request(Content_Length="0", Transfer_Encoding="chunked"), 400),
    "the preface of HTTP/2": (lambda: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), 400),
    "a TLS hello": (lambda: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500) + b"\r\n\r\n", 400),
    "an SSH banner": (lambda: b"SSH-2.0-OpenSSH_9.2\r\n\r\n", 400),
    "zeros": (lambda: bytes(1000), 400),
    "a hundred headers of 1 KB": (line(*(f"X-{i}: " + "x" * 1000 for i in range(100))), 431),
    "a hundred short headers": (line(*(f"X-{i}: x" for i in range(100))), 431),
    "headers of 11 KB": (line(*(f"X-{i}: " + "x" * 1000 for i in range(11))), OPEN),
    "a cookie of 11 KB": (header(Cookie="s=" + "x" * 11000), OPEN),
    "a cookie of 12 KB": (header(Cookie="s=" + "x" * 12000), 431),
    "four headers of 3,900 bytes": (line(*(f"X-{i}: " + "x" * 3900 for i in range(4))), 431),
    "a control character in a header": (header(X_Padding="a\x01b"), 400),
    "a zero byte in a header": (header(X_Padding="a\x00b"), 400),
    "a carriage return in a header": (header(X_Padding="a\rX-Forwarded-For: 1.2.3.4"), 400),
    "a blank before the colon": (line("X-Padding : x"), 400),
    "a header that goes on in the next line": (line("X-Padding: x", " y"), 400),
    "a header of 64 KB": (header(X_Padding="x" * 65536), 431),
    "a header's name of 64 KB": (line("X" * 65536 + ": x"), 431),
    "X-Forwarded-For of 3 KB": (header(X_Forwarded_For="1.1.1.1, " * 330), 400),
    "X-Forwarded-For from who is no proxy": (header(X_Forwarded_For="127.0.0.1\", '; DROP"), OPEN),
    "another request behind it": (lambda: request() + request("/ws/requests/2/"), HANG_UP),
}


# --- frames ---------------------------------------------------------------------------------------------------------


def close_with(code, reason=b""):
    return frame(CLOSE, struct.pack(">H", code) + reason)


def pieces(*parts):
    """One text message, of which the last piece is missing."""
    return frame(TEXT, parts[0], fin=False) + b"".join(frame(CONTINUATION, part, fin=False) for part in parts[1:])


def auth(token):
    return lambda: frame(TEXT, json.dumps({"type": "auth", "token": token()}).encode())


ANNOUNCED = b"\x81\xff" + struct.pack(">Q", 2**63 - 1) + bytes(4)

FRAMES = {
    "not UTF-8": (frame(TEXT, b"\xff\xfe"), 1007),
    "a surrogate": (frame(TEXT, b"\xed\xa0\x80"), 1007),
    "an overlong slash": (frame(TEXT, b"\xc0\xaf"), 1007),
    "beyond Unicode": (frame(TEXT, b"\xf4\x90\x80\x80"), 1007),
    "a character that is cut": (frame(TEXT, b"\xe2\x82"), 1007),
    "a character that goes wrong in the next piece": (pieces(b"\xe2\x82") + frame(CONTINUATION, b"\x28"), 1007),
    "reserved bit 1": (frame(TEXT, b"{}", reserved=4), 1002),
    "reserved bit 2": (frame(TEXT, b"{}", reserved=2), 1002),
    "reserved bit 3": (frame(TEXT, b"{}", reserved=1), 1002),
    "a ping with a reserved bit": (frame(PING, b"", reserved=4), 1002),
    "opcode 3": (frame(0x3, b""), 1002),
    "opcode 7": (frame(0x7, b"x"), 1002),
    "opcode 11": (frame(0xB, b""), 1002),
    "opcode 15": (frame(0xF, b"x" * 200), 1002),
    "a ping of 126 bytes": (frame(PING, b"x" * 126), 1002),
    "a pong of 126 bytes": (frame(PONG, b"x" * 126), 1002),
    "a close of 126 bytes": (close_with(1000, b"x" * 124), 1002),
    "a ping with a length of 64 bits": (b"\x89\xff" + struct.pack(">Q", 5) + bytes(4) + b"hello", 1002),
    "a ping in pieces": (frame(PING, b"x", fin=False), 1002),
    "a close in pieces": (frame(CLOSE, b"", fin=False), 1002),
    "a continuation of nothing": (frame(CONTINUATION, b"x"), 1002),
    "a message within a message": (pieces(b"{") + frame(TEXT, b"}"), 1002),
    "half a code": (frame(CLOSE, b"\x03"), 1002),
    "code 0": (close_with(0), 1002),
    "code 999": (close_with(999), 1002),
    "code 1005": (close_with(1005), 1002),
    "code 1006": (close_with(1006), 1002),
    "code 2999": (close_with(2999), 1002),
    "code 5000": (close_with(5000), 1002),
    "code 65535": (close_with(65535), 1002),
    "a reason that is not UTF-8": (close_with(1000, b"\xff\xff"), 1002),
    "a proper close": (close_with(1000, b"bye"), 1000),
    "a close without a code": (frame(CLOSE, b""), 1005),
    "a length of 2^64-1": (b"\x81\xff" + b"\xff" * 8, 1002),
    "a length of 2^63-1": (ANNOUNCED + b"x" * 2000, 1009),
    "a length of 2^63-1 in a piece": (pieces(b"{") + b"\x80" + ANNOUNCED[1:] + b"x" * 2000, 1009),
    "a length a little too long": (frame(TEXT, b"x" * 20_000), 1009),
    "continuations without end": (pieces(*[b"x" * 100] * 400), 1009),
    "continuations of one byte": (pieces(*[b"x"] * 20_000), 1009),
    "continuations of nothing without end": (pieces(*[b""] * 5000), 1008),
    "a flood of messages": (frame(TEXT, b'{"type":"ping"}') * 5000, 1008),
    "a flood of empty messages": (frame(TEXT, b"") * 5000, 1008),
    "a flood of noise": (frame(BINARY, b"\xff") * 5000, 1008),
    "a flood of pongs": (frame(PONG, b"x" * 100) * 5000, 1008),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 1002),
    "brackets without end": (frame(TEXT, b"[" * 16_000), SILENCE),
    "objects without end": (frame(TEXT, b'{"type":' * 1900), SILENCE),
    "a name twice": (frame(TEXT, b'{"type":"auth","type":"ping","token":"x"}'), SILENCE),
    "a type that is a number": (frame(TEXT, b'{"type":1e999}'), SILENCE),
    "auth with a number": (frame(TEXT, b'{"type":"auth","token":1}'), SILENCE),
    "auth with nothing": (frame(TEXT, b'{"type":"auth","token":""}'), 4401),
    "auth of another user": (auth(lambda: good(RAVI)), 4401),
    "auth with a refresh token": (auth(with_claims(token_type="refresh")), 4401),
    "auth that has expired": (auth(with_claims(exp=1)), 4401),
    "auth with another key": (auth(lambda: forged(HS256, claims(), key=b"mine")), 4401),
    "auth without an algorithm": (auth(lambda: forged({"alg": "none"}, claims(), key=None)), 4401),
    "auth beyond limits.token-bytes": (auth(with_claims(padding="x" * 6500)), 4401),
    # Read as if they were masked: libwebsockets does not tell. docs/protocol.md says why nobody is worse off.
    "an unmasked message": (frame(TEXT, b"nonsense", mask=None), SILENCE),
    "an unmasked close": (frame(CLOSE, struct.pack(">H", 1000), mask=None), 1000),
}


# --- the tests ------------------------------------------------------------------------------------------------------


def end_of(client):
    """How the connection ends, or that it is open: the first message, a close code, HANG_UP, or SILENCE after a ping was answered."""
    while True:
        try:
            message = client.recv()
        except Closed as closed:
            return HANG_UP if closed.code == 1006 else closed.code
        if message["type"] == "connection_established":
            return OPEN
        if message["type"] == "pong" and message.get("timestamp") == "still there":
            return SILENCE


def answer_to(walpush, data):
    wire = Wire(walpush.port)
    try:
        wire.send(data)
    except ConnectionError:
        pass  # cut while it still sent: what was said before is read all the same
    answer = wire.answer()
    try:
        if answer is None:
            return HANG_UP
        return answer.status if answer.status != 101 else end_of(Client.over(wire, answer))
    finally:
        wire.close()


# With processes of their own.


def test_a_public_key_is_no_secret(own_app, make_walpush, config):
    """HMAC made with the public key, which everybody has: the classic."""
    private, public = key_pair()
    config.set("jwt.algorithm", "RS256").set("jwt.key", public)
    with make_walpush(own_app, config) as walpush:
        for key in (public, public.strip(), public + "\n", public.replace("\n", "\r\n")):
            for alg, digest in (("HS256", hashlib.sha256), ("HS512", hashlib.sha512), ("RS256", hashlib.sha256)):
                token = forged({"alg": alg, "typ": "JWT"}, claims(), key=key, digest=digest)
                assert answer_to(walpush, request(token=lambda: token)) == 4401
        assert answer_to(walpush, request(token=good)) == 4401
        assert answer_to(walpush, request(token=lambda: walpush.token(ASHA, key=private, algorithm="RS256"))) == OPEN


def test_values_of_a_path_cannot_spell_another_group(own_app, make_walpush, config):
    """"A_B" with "C" and "A" with "B_C" would be one group if values were pasted as they are."""
    config.set("tables.requests.groups", ["pair_{request_type}_{purpose}"])
    config.set("streams.requests.path", "/ws/pair/<str:one>/<str:two>/")
    config.set("streams.requests.admit", "SELECT 1 WHERE {token.user_id} <> '' AND {path.one} <> {path.two}")
    config.set("streams.requests.groups", ["pair_{path.one}_{path.two}"])
    with make_walpush(own_app, config) as walpush:
        right = walpush.subscribe("/ws/pair/Storage/B_C/", ASHA)
        wrong = [
            walpush.subscribe(f"/ws/pair/{path}/", BOB)
            for path in ("Storage_B/C", "Storage/B%255FC", "Storage%5FB/C", "Storage/B__C", "storage/B_C", "Storage/B_C%20")
        ]
        own_app.sql("UPDATE requests SET request_type = 'Storage', purpose = 'B_C' WHERE id = %s", own_app.request)
        assert right.recv()["request_id"] == own_app.request
        for client in wrong:
            client.send_json({"type": "ping"})
            assert client.recv() == {"type": "pong"}, "what was published before the ping would stand before its answer"


# With one process.


@pytest.mark.parametrize("name", TOKENS)
def test_tokens(walpush, served, name):
    assert answer_to(walpush, request(token=TOKENS[name])) == 4401


@pytest.mark.parametrize("name", REQUESTS)
def test_requests(walpush, served, name):
    make, wanted = REQUESTS[name]
    assert answer_to(walpush, make()) in (wanted if isinstance(wanted, tuple) else (wanted,))


@pytest.mark.parametrize("name", FRAMES)
def test_frames(walpush, served, name):
    data, wanted = FRAMES[name]
    with Client(walpush.port, UNIT_1, token=good()) as client:
        client.established()
        try:
            client.wire.send(data() if callable(data) else data)
            if wanted == SILENCE:
                client.send_json({"type": "ping", "timestamp": "still there"})
        except ConnectionError:
            pass
        assert end_of(client) == wanted


@pytest.mark.parametrize("token", [good, None])
def test_frames_sent_before_the_upgrade_was_answered(walpush, served, token):
    """A client must wait for the answer (RFC 6455, section 4.1). The library loses some of what comes too early."""
    assert answer_to(walpush, request(token=token) + auth(good)()) in (OPEN, HANG_UP, 4401)


def test_a_flood_of_pings_is_answered_as_far_as_it_is_read(app, walpush, listeners):
    """Pings have no rate: each read is answered with one pong at most, and others have their turn between two reads."""
    with Client(walpush.port, UNIT_1, token=good()) as client:
        client.established()
        before, deadline = walpush.rss(), time.monotonic() + 1
        while time.monotonic() < deadline:
            client.send_frame(PING, b"x" * 100)
            client.wire.send(frame(PING, b"x" * 125) * 50)
            app.touch(app.request)
            for listener in listeners:
                assert listener.recv()["request_id"] == app.request
        assert walpush.rss() - before < 64 << 20
