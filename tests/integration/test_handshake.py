"""Who gets in, and what those who do not are told."""

import json
import re
import time

import jwt
import pytest

from harness import client as ws
from harness.app import ASHA, BOB, GONE, MEENA, RAVI, ROOT_USER, SAM, fresh_app
from harness.client import Client, Closed, Refused, Wire, frame, http, upgrade
from harness.walpush import SIGNING_KEY, Walpush, fields_of, shipped_config
from throwaway.config import Raw

UNIT_1 = "/ws/requests/1/"


@pytest.fixture(scope="module")
def app(cluster):
    with fresh_app(cluster) as app:
        yield app.set_up()


@pytest.fixture(scope="module")
def walpush(app, tmp_path_factory):
    """One process for all tests of this file that need no other configuration: they must leave it as they found it."""
    with Walpush(shipped_config(), tmp_path_factory.mktemp("walpush"), app) as process:
        yield process


@pytest.fixture
def own_app(bare_app):
    return bare_app.set_up()


def refusal(port, path, **how):
    """Status of the refused upgrade."""
    with pytest.raises(Refused) as refused:
        Client(port, path, **how)
    return refused.value.status


def close_code(port, path, **how):
    """The code of a connection that is upgraded and closed, with nothing sent before."""
    with Client(port, path, **how) as client:
        return client.close_code()


# --- paths and plain HTTP ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/", "/ws/", "/ws/requests/", "/ws/requests/1", "/ws/requests/-1/", "/ws/requests/x/", "/ws/requests/1/2/",
        "/ws/requests/1/..", "/WS/requests/1/", "/ws/requests/99999999999999999999999/",
    ],
)  # fmt: skip
def test_unknown_paths(walpush, path):
    assert refusal(walpush.port, path, token=walpush.token(ASHA)) == 404


@pytest.mark.parametrize("path", ["/ws/requests/%31%00/", "/ws/requests/1/%00", "/ws/requests/%zz/", "/ws/requests/1/%"])
def test_paths_with_bad_escapes(walpush, path):
    assert refusal(walpush.port, path, token=walpush.token(ASHA)) == 400


def test_paths_that_are_not_utf8(walpush):
    for escape in ("%ff", "%c0%af", "%c0%80", "%ed%a0%80", "%f4%90%80%80", "%c2%85", "%e2%82"):
        for path in (f"/ws/requests/{escape}/", f"/ws/requests/1/{escape}", f"/ws/requests/1{escape}"):
            assert refusal(walpush.port, path, token=walpush.token(ASHA)) == 404, path


@pytest.mark.parametrize("path", ["//ws/requests/1/", "/ws/requests/1//", "/ws/x/../requests/1/", "/ws/requests/1%2F/"])
def test_paths_that_the_library_tidies(walpush, path):
    """Either nothing, or exactly what the tidy path is allowed."""
    try:
        with walpush.connect(path, BOB) as client:
            assert client.close_code() == 4403
    except Refused as refused:
        assert refused.status == 404


def test_leading_zeros_are_the_same_unit(app, walpush):
    with walpush.subscribe("/ws/requests/001/", ASHA) as client:
        app.touch(app.request)
        assert client.recv()["request_id"] == app.request


def test_percent_encoded_path(app, walpush):
    with walpush.subscribe("/ws/%72equests/%31/", ASHA) as client:
        app.touch(app.request)
        assert client.recv()["request_id"] == app.request


def test_plain_http_is_told_to_upgrade(walpush):
    answer = http(walpush.port, UNIT_1)
    assert answer is not None and answer.status == 426
    answer = http(walpush.port, "/nowhere")
    assert answer is not None and answer.status in (404, 426)
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "HEAD"):
        answer = http(walpush.port, UNIT_1, method=method)
        assert answer is None or 400 <= answer.status < 500, method


@pytest.mark.parametrize(
    "headers",
    [
        {"Upgrade": "h2c", "Connection": "Upgrade, HTTP2-Settings", "HTTP2-Settings": "AAMAAABkAAQAAP__"},
        {"Upgrade": "raw"},
        {"Upgrade": "websocket, h2c"},
        {"Sec-WebSocket-Version": "8"},
        {"Sec-WebSocket-Key": None},
        {"Connection": "close"},
    ],
)
def test_upgrades_that_are_not_a_websocket_of_version_13(walpush, headers):
    wire = Wire(walpush.port)
    wire.send(upgrade(UNIT_1 + "?token=" + walpush.token(ASHA), headers))
    answer = wire.answer()
    assert answer is None or answer.status >= 400 or answer.status == 200
    assert answer is None or answer.status != 200, "there is nothing to serve"
    wire.close()
    with walpush.subscribe(UNIT_1, ASHA):
        pass


# --- origins ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.org", "null", "http://localhost", "http://localhost:5174", "https://localhost:5173",
        "http://localhost:5173.evil.example.org", "http://localhost:5173/", "http://LOCALHOST:5173@evil.example.org",
    ],
)  # fmt: skip
def test_foreign_origins_are_refused_before_the_upgrade(walpush, origin):
    assert refusal(walpush.port, UNIT_1, token=walpush.token(ASHA), headers={"Origin": origin}) == 403


def test_the_configured_origin_and_none_at_all_are_admitted(walpush):
    for headers in ({"Origin": "http://localhost:5173"}, {}):
        with Client(walpush.port, UNIT_1, token=walpush.token(ASHA), headers=headers) as client:
            client.established()


def test_star_admits_every_origin(own_app, config, make_walpush):
    config.set("listen.origins", ["*"])
    with make_walpush(own_app, config) as walpush:
        with walpush.subscribe(UNIT_1, ASHA, headers={"Origin": "https://anything.example.org"}):
            pass


# --- what those who are refused are told, and who looks after walpush -------------------------------------------------


def answer_to(walpush, path, headers=None):
    wire = Wire(walpush.port)
    wire.send(upgrade(path, headers))
    answer = wire.answer()
    assert wire.at_end()
    return answer


def let_lines_be_written():
    """Other tests may have caused as many as there may be in a second."""
    time.sleep(1.1)


def test_a_refusal_is_a_line_in_the_log_and_one_in_the_answer(walpush):
    let_lines_be_written()
    for status, reason, path, headers, says in (
        (404, "path", "/ws/nothing/1/", {}, "compare it with the paths in sidecar.conf"),
        (403, "origin", UNIT_1, {"Origin": "https://other.example.org:8443"}, "add its origin to listen.origins"),
        (426, "upgrade", UNIT_1, {"Upgrade": None, "Connection": None}, "pass on Connection and Upgrade"),
        (426, "upgrade", UNIT_1, {"Sec-WebSocket-Version": "8"}, "version 13"),
        (400, "malformed", UNIT_1, {"Connection": "keep-alive"}, "a proxy in between must pass on"),
        (400, "malformed", UNIT_1, {"Sec-WebSocket-Protocol": "graphql-ws"}, "The token does not go there"),
        (400, "malformed", "/ws/requests/%zz/", {}, "bad %-escapes"),
        (431, "headers", UNIT_1, {"Cookie": "x" * 13_000}, "raise limits.token-bytes"),
    ):
        mark = walpush.mark()
        answer = answer_to(walpush, path + "?token=" + walpush.token(ASHA), headers)
        assert answer.status == status and answer.headers["content-type"] == "text/plain"
        body = answer.body.decode("ascii")
        assert body.endswith("\n") and body.count("\n") == 1 and len(body) < 200
        assert says in body
        line = fields_of(walpush.wait_for_log('level=info msg="(upgrade|request) refused"', since=mark))
        assert (line["status"], line["reason"], line["peer"]) == (str(status), reason, "127.0.0.1")
        # Where the head was not read to its end, the path is that of the bytes.
        assert line["path"] == path.replace("%", "%25") + ("..." if line["msg"] == "request refused" else "")
        assert line.get("origin", "") == headers.get("Origin", "")
        assert says in line["answer"]


def test_a_503_names_the_limit(own_app, config, make_walpush):
    config.set("limits.connections", 1)
    with make_walpush(own_app, config) as walpush, walpush.subscribe(UNIT_1, ASHA):
        mark = walpush.mark()
        answer = answer_to(walpush, UNIT_1)
        assert (answer.status, answer.body) == (503, b"limits.connections is reached; try again later.\n")
        line = fields_of(walpush.wait_for_log('msg="upgrade refused"', since=mark))
        assert (line["status"], line["reason"], line["path"]) == ("503", "full", UNIT_1)


def test_the_answer_to_head_has_no_body(walpush):
    wire = Wire(walpush.port)
    wire.send(b"HEAD /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n")
    head = bytearray()
    while data := wire.sock.recv(65536):
        head += data
    assert head.startswith(b"HTTP/1.1 404 ") and head.endswith(b"\r\n\r\n")


def test_a_path_and_an_origin_are_shown_escaped_short_and_without_a_token(walpush):
    token = walpush.token(ASHA)
    walpush.secrets += token.split(".")
    let_lines_be_written()
    for path, headers, shown in (
        (f"/ws/requests/1/&token={token}", {}, "/ws/requests/1/..."),
        (f"/ws/requests/{token}/", {}, "/ws/requests/..."),
        (f"/ws/requests/1/%3Ftoken={token}", {}, "/ws/requests/1/..."),
        ("/ws/requests/%e2%80%ae%22x/", {}, "/ws/requests/%E2%80%AE%22x/"),
        ("/" + "x" * 900, {}, "/" + "x" * 154 + "..."),
        (UNIT_1, {"Origin": "https://x.example.org/" + token}, UNIT_1),
        (UNIT_1, {"Origin": "https://x.example.org\xff"}, UNIT_1),
    ):
        mark = walpush.mark()
        assert answer_to(walpush, path, headers).status in (403, 404)
        line = walpush.wait_for_log('msg="upgrade refused"', since=mark)
        assert fields_of(line)["path"] == shown
        assert line.isascii() and line.isprintable()


def test_many_refusals_are_few_lines(walpush):
    """Of those that read as requests, too; and none is lost: what was not written was counted."""
    before, mark, start = refused_so_far(walpush, "origin"), walpush.mark(), time.monotonic()
    for _ in range(200):
        assert answer_to(walpush, UNIT_1, {"Origin": "https://evil.example.org"}).status == 403
    seconds = time.monotonic() - start
    assert refused_so_far(walpush, "origin") == before + 200
    walpush.stop()
    lines = [fields_of(line) for line in walpush.lines[mark:]]
    written = [line for line in lines if line["msg"] == "upgrade refused"]
    left_out = sum(int(line["lines"]) for line in lines if line.get("line") == "upgrade refused")
    assert len(written) <= 20 * (seconds + 1) and len(written) + left_out == 200
    walpush.start()


def closed_by(client):
    with pytest.raises(Closed) as closed:
        while True:
            client.recv()
    client.wire.close()
    return closed.value.code, closed.value.reason


def test_a_close_says_why(own_app, config, make_walpush):
    config.set("limits.per-user", 1)
    config.set("limits.handshake", 2)
    config.set("jwt.audience", "pages")
    config.set("jwt.issuer", "dms")
    mine = dict(aud="pages", iss="dms")
    now = int(time.time())
    with make_walpush(own_app, config) as walpush:
        for claims, words in (
            (dict(mine, exp=now - 42), "token expired"),
            (dict(mine, nbf=now + 900), "token not valid yet"),
            (dict(mine, aud="other"), "token for another audience"),
            (dict(mine, iss="other"), "token of another issuer"),
            (dict(mine, token_type="refresh"), "token of another type"),
            (dict(mine, key="not-the-key-of-the-server-at-all"), "token signed with another key"),
            (dict(mine, user_id=None), "token without a user"),
        ):
            assert closed_by(Client(walpush.port, UNIT_1, token=walpush.token(ASHA, **claims))) == (4401, words)
        assert closed_by(Client(walpush.port, UNIT_1, token="nonsense")) == (4401, "not a token")
        assert closed_by(Client(walpush.port, UNIT_1)) == (4401, "no token came in time")
        assert closed_by(Client(walpush.port, UNIT_1, token=walpush.token(BOB, **mine))) == (4403, "not admitted")
        with Client(walpush.port, UNIT_1, token=walpush.token(ASHA, **mine)) as held:
            held.established()
            second = Client(walpush.port, UNIT_1, token=walpush.token(ASHA, **mine))
            assert closed_by(second) == (4429, "too many connections of this user")
            own_app.revoke(ASHA, 1)
            assert closed_by(held) == (4403, "not admitted")
        last = Client(walpush.port, UNIT_1, token=walpush.token(RAVI, **mine))
        last.established()
        walpush.send_signal(15)
        assert closed_by(last) == (1012, "shutting down")
        walpush.wait()


def test_a_clock_that_is_off_is_told_by_how_much(own_app, config, make_walpush):
    config.set("jwt.leeway", 10)
    now = int(time.time())
    with make_walpush(own_app, config) as walpush:
        for claims, reason, detail in (
            (dict(exp=now - 42), "expired", r"expired 4\d s ago, and jwt.leeway is 10 s"),
            (dict(nbf=now + 35), "nbf", r"not valid for another 3\d s \(nbf, leeway 10 s\): is this machine's clock right\?"),
            (dict(iat=now + 95), "iat", r"not valid for another 9\d s \(iat, leeway 60 s\): is this machine's clock right\?"),
            (dict(nbf=now * 1000), "nbf", r"nbf is \d+ s ahead: is it in milliseconds\? It must be in seconds"),
        ):
            mark = walpush.mark()
            assert close_code(walpush.port, UNIT_1, token=walpush.token(ASHA, **claims)) == 4401
            line = fields_of(walpush.wait_for_log('msg="token refused"', since=mark))
            assert line["reason"] == reason and re.fullmatch(detail, line["detail"]), line
            assert (line["stream"], line["path"]) == ("requests", UNIT_1)


def test_lines_about_a_connection_name_its_stream_and_path(app, walpush):
    let_lines_be_written()
    mark = walpush.mark()
    with walpush.subscribe("/ws/requests/001/", ASHA) as client:
        app.touch(app.request)
        app.touch(app.request)
        client.recv_n(2)
        client.close(1000)
    with walpush.connect(UNIT_1, BOB) as client:
        assert client.close_code() == 4403
    for pattern, user, path in (
        ('msg="admitted" ', str(ASHA), "/ws/requests/001/"),
        ('msg="connection ended" ', str(ASHA), "/ws/requests/001/"),
        ('msg="not admitted" ', str(BOB), UNIT_1),
        ('msg="connection ended before it was admitted" ', str(BOB), UNIT_1),
    ):
        line = fields_of(walpush.wait_for_log(pattern, since=mark))
        assert (line["user"], line["stream"], line["path"]) == (user, "requests", path), pattern


def test_the_end_of_a_connection_says_code_age_and_messages(app, walpush):
    def end_of(end):
        mark = walpush.mark()
        with walpush.subscribe(UNIT_1, ASHA) as client:
            app.touch(app.request)
            app.touch(app.request)
            client.recv_n(2)
            time.sleep(0.2)
            end(client)
        line = fields_of(walpush.wait_for_log('level=info msg="connection ended" ', since=mark))
        assert 200 <= float(line["age_ms"]) < 60_000
        assert (line["messages"], line["stream"], line["path"]) == ("2", "requests", UNIT_1)
        return line["code"], line["by"], line["reason"]

    def close_saying(client):
        client.send_frame(ws.CLOSE, b"\x0f\xa0what a client says is not repeated")

    walpush.secrets.append("what a client says")
    let_lines_be_written()
    begin = walpush.mark()
    assert end_of(lambda client: client.close(1000)) == ("1000", "client", "")
    assert end_of(close_saying) == ("4000", "client", "")
    assert end_of(lambda client: client.send_frame(ws.CLOSE)) == ("1005", "client", "")
    assert end_of(lambda client: client.wire.close()) == ("1006", "network", "")
    assert end_of(lambda client: client.wire.send(frame(0x3, b""))) == ("1002", "walpush", "not the WebSocket protocol")
    assert end_of(lambda client: client.send_text("x" * 20_000)) == ("1009", "walpush", "message too large")
    walpush.secrets.remove("what a client says")
    let_lines_be_written()  # also of the sockets that end behind their close frames
    assert walpush.log(begin).count('msg="connection ended') == 6


def test_a_client_that_is_gone_without_a_word(own_app, config, make_walpush):
    config.set("listen.ping", 1)
    with make_walpush(own_app, config) as walpush, walpush.subscribe(UNIT_1, ASHA):
        line = fields_of(walpush.wait_for_log('msg="connection ended" ', timeout=30))
        assert (line["code"], line["by"], line["reason"]) == ("1006", "network", "silence")


def test_many_ends_are_few_lines(own_app, config, make_walpush):
    config.set("limits.per-user", 0)
    with make_walpush(own_app, config) as walpush:
        clients = [walpush.subscribe(UNIT_1, ASHA) for _ in range(150)]
        start = time.monotonic()
        for client in clients:
            client.wire.close()
        walpush.wait_for_log('msg="more such lines were left out" line="connection ended"')
        walpush.stop()
        seconds = time.monotonic() - start
    lines = [fields_of(line) for line in walpush.lines]
    written = [line for line in lines if line["msg"] == "connection ended"]
    left_out = sum(int(line["lines"]) for line in lines if line.get("line") == "connection ended")
    assert len(written) <= 20 * (seconds + 1) and len(written) + left_out == 150


# --- tokens ---------------------------------------------------------------------------------------------------------


def bad_tokens():
    now = int(time.time())
    return {
        "expired": dict(exp=now - 10),
        "without exp": dict(exp=None),
        "exp as a string": dict(exp=str(now + 900)),
        "not yet valid": dict(nbf=now + 900),
        "a refresh token": dict(token_type="refresh"),
        "without a type": dict(token_type=None),
        "without a user": dict(user_id=None),
        "an empty user": dict(user_id=""),
        "a list for a user": dict(user_id=[ASHA]),
        "another key": dict(key="not-the-key-of-the-server-at-all"),
        "another algorithm": dict(algorithm="HS512"),
        "no algorithm": dict(algorithm="none", key=""),
    }


@pytest.mark.parametrize("name", bad_tokens())
def test_bad_tokens_are_closed_with_4401_and_nothing_before(walpush, name):
    assert close_code(walpush.port, UNIT_1, token=walpush.token(ASHA, **bad_tokens()[name])) == 4401


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "..", "%00", "e30.e30.", "x" * 9000])
def test_what_is_no_token(walpush, text):
    try:
        assert close_code(walpush.port, UNIT_1 + "?token=" + text) in (4401, 1008, 1009)
    except Refused as refused:
        assert (refused.status, text) == (400, "%00")


def test_a_tampered_token(walpush):
    head, body, signature = walpush.token(ASHA).split(".")
    other = walpush.token(BOB).split(".")[1]
    assert close_code(walpush.port, UNIT_1, token=".".join((head, other, signature))) == 4401
    assert close_code(walpush.port, UNIT_1, token=".".join((head, body, signature[:-4] + "AAAA"))) == 4401


def test_user_ids_may_be_strings(walpush):
    with walpush.subscribe(UNIT_1, str(ASHA)):
        pass


def test_the_authorization_header(walpush):
    for word in ("Bearer ", "bearer "):
        with Client(walpush.port, UNIT_1, headers={"Authorization": word + walpush.token(ASHA)}) as client:
            client.established()
    assert close_code(walpush.port, UNIT_1, headers={"Authorization": "Bearer x"}) == 4401


def test_the_token_as_first_message(app, walpush):
    with Client(walpush.port, UNIT_1) as client:
        client.send_json({"type": "auth", "token": walpush.token(ASHA)})
        first = client.recv_until(lambda m: m["type"] == "connection_established")
        assert all(m["type"] in ("auth_ok", "connection_established") for m in first)
        app.touch(app.request)
        assert client.recv()["request_id"] == app.request
    with Client(walpush.port, UNIT_1) as client:
        client.send_json({"type": "auth", "token": "bad"})
        assert client.close_code() == 4401


def test_no_token_at_all_is_closed_when_the_time_for_it_is_over(own_app, config, make_walpush):
    config.set("limits.handshake", 1)
    with make_walpush(own_app, config) as walpush:
        assert close_code(walpush.port, UNIT_1) == 4401


def test_a_first_message_that_is_not_auth(own_app, config, make_walpush):
    """It does not let anybody in, and nothing is sent but perhaps a pong."""
    config.set("limits.handshake", 1)
    with make_walpush(own_app, config) as walpush, Client(walpush.port, UNIT_1) as client:
        client.send_json({"type": "ping", "timestamp": 1})
        own_app.touch(own_app.request)
        messages, code = client.drain_to_close()
        assert all(m["type"] == "pong" for m in messages)
        assert code == 4401


def test_a_token_that_expires_while_connected(own_app, config, make_walpush):
    with make_walpush(own_app, config) as walpush:
        short = walpush.token(ASHA, exp=int(time.time()) + 4)
        with Client(walpush.port, UNIT_1, token=short) as client:
            client.established()
            assert client.close_code() == 4401


def test_the_leeway_is_part_of_a_tokens_life(own_app, config, make_walpush):
    config.set("jwt.leeway", 10)
    with make_walpush(own_app, config) as walpush:
        expired = int(time.time()) - 3
        with Client(walpush.port, UNIT_1, token=walpush.token(ASHA, exp=expired)) as client:
            client.established()
            assert client.close_code() == 4401
            assert time.time() >= expired + 10


def test_keys_are_rotated_by_name_or_tried_in_turn(own_app, config, make_walpush):
    old, new = "the-old-key-of-the-application-0123", "the-new-key-of-the-application-0123"
    config.set("jwt.keys", Raw(f'( {{ kid = "old" key = "{old}" }}, {{ kid = "new" key = "{new}" }} )'))
    with make_walpush(own_app, config) as walpush:

        def end_of(key, kid):
            headers = {"kid": kid} if kid else None
            text = jwt.encode({"token_type": "access", "exp": int(time.time()) + 60, "user_id": ASHA}, key, "HS256", headers)
            with Client(walpush.port, UNIT_1, token=text) as client:
                try:
                    return client.established()["type"]
                except Closed as closed:
                    return closed.code

        for key, kid in ((old, "old"), (new, "new"), (old, None), (new, None), (SIGNING_KEY, None), (new, "unknown")):
            assert end_of(key, kid) == "connection_established"
        # A name that is known decides alone.
        for key, kid in ((old, "new"), (SIGNING_KEY, "old"), ("another-key-another-key-another-k", None)):
            assert end_of(key, kid) == 4401
        walpush.secrets += [old, new]


def test_a_renewed_token_lets_the_connection_live_on(app, walpush):
    expires = int(time.time()) + 5
    with Client(walpush.port, UNIT_1, token=walpush.token(ASHA, exp=expires)) as client:
        client.established()
        client.send_json({"type": "auth", "token": walpush.token(ASHA, exp=expires + 600)})
        answer = client.recv()
        assert list(answer) == ["type", "expires_at"]
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(expires + 600))
        assert answer["type"] == "auth_ok" and answer["expires_at"].startswith(when)
        # The pong that comes after the old expiry is the proof.
        while time.time() < expires + 1.5:
            try:
                client.recv(timeout=0.3)
            except TimeoutError:
                pass
        client.send_json({"type": "ping"})
        assert client.recv()["type"] == "pong"


def test_a_renewal_with_a_bad_token_or_another_user_closes(walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        client.send_json({"type": "auth", "token": walpush.token(ASHA, key="wrong-key-wrong-key-wrong-key-32")})
        assert client.close_code() == 4401
    with walpush.subscribe(UNIT_1, ASHA) as client:
        client.send_json({"type": "auth", "token": walpush.token(RAVI)})
        assert client.close_code() in (4401, 4403)


# --- admission ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path, user, admitted",
    [
        (UNIT_1, ASHA, True),
        (UNIT_1, MEENA, True),
        (UNIT_1, SAM, True),  # System Admin
        (UNIT_1, ROOT_USER, True),  # superuser
        (UNIT_1, BOB, False),
        (UNIT_1, GONE, False),  # suspended
        (UNIT_1, 4711, False),  # does not exist
        ("/ws/requests/2/", ASHA, False),
        ("/ws/requests/4711/", ASHA, False),
        ("/ws/crates/1/", ASHA, True),
        ("/ws/crates/2/", ASHA, False),
        ("/ws/storage/1/", ASHA, False),
        ("/ws/storage/1/", MEENA, True),
        ("/ws/storage/2/", MEENA, False),
        (f"/ws/notifications/{ASHA}/", ASHA, True),
        (f"/ws/notifications/{BOB}/", ASHA, False),
        (f"/ws/notifications/{ASHA}/", ROOT_USER, False),
    ],
)
def test_admission(walpush, path, user, admitted):
    with walpush.connect(path, user) as client:
        if admitted:
            client.established()
        else:
            assert client.close_code() == 4403


@pytest.mark.parametrize("user", ["asha", "1 OR 1=1", "1; DROP TABLE users", "2147483648", "-1", "9" * 18])
def test_user_ids_that_the_database_cannot_read_are_a_no(app, walpush, user):
    with walpush.connect(UNIT_1, user) as client:
        assert client.close_code() in (4401, 4403)
    assert app.value("SELECT count(*) FROM users") > 0


def test_a_path_beyond_the_columns_range_is_a_no(walpush):
    with walpush.connect("/ws/requests/2147483648/", ASHA) as client:
        assert client.close_code() == 4403


def test_too_many_connections_of_one_user(own_app, config, make_walpush):
    config.set("limits.per-user", 3)
    with make_walpush(own_app, config) as walpush:
        held = [walpush.subscribe(UNIT_1, ASHA) for _ in range(3)]
        with walpush.connect(UNIT_1, ASHA) as client:
            assert client.close_code() == 4429
        with walpush.subscribe(UNIT_1, RAVI):
            pass
        held.pop().close()
        with walpush.subscribe(UNIT_1, ASHA):
            pass


def test_full(own_app, config, make_walpush):
    config.set("limits.connections", 2)
    with make_walpush(own_app, config) as walpush:
        held = [walpush.subscribe(UNIT_1, user) for user in (ASHA, RAVI)]
        assert refusal(walpush.port, UNIT_1, token=walpush.token(SAM)) == 503
        assert walpush.metric('walpush_refusals_total{reason="full"}') == 1
        held.pop().close()
        walpush.wait_for_room(UNIT_1, SAM).close()


# --- after the handshake --------------------------------------------------------------------------------------------


def test_ping_is_answered_with_its_timestamp(walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        for stamp in (1700000000000, "2025-11-14T12:00:00.000Z", None, 1.5):
            client.send_json({"type": "ping", "timestamp": stamp})
            answer = client.recv()
            assert list(answer) == ["type", "timestamp"]
            assert answer == {"type": "pong", "timestamp": stamp}
        client.send_json({"type": "ping"})
        assert client.recv() == {"type": "pong"}


def test_protocol_pings_are_answered(walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        client.send_frame(ws.PING, b"hello")
        assert client.recv_frame() == (ws.PONG, b"hello")


def test_the_server_pings_idle_connections(own_app, config, make_walpush):
    config.set("listen.ping", 1)
    with make_walpush(own_app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        opcode, payload = client.recv_frame()
        assert opcode == ws.PING
        client.send_frame(ws.PONG, payload)
        assert client.recv_frame()[0] == ws.PING


def test_a_proper_close_is_answered(walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        assert client.close(1000) == []


def test_messages_that_make_no_sense_are_ignored(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        for text in ("{}", "[]", "nonsense", '{"type":"subscribe"}', '{"type":5}', '{"type":"auth"}'):
            client.send_text(text)
        client.send_json({"type": "ping"})
        try:
            assert client.recv() == {"type": "pong"}
        except Closed as closed:
            # An auth without a token may count as a bad one.
            assert closed.code == 4401


def test_too_many_messages(own_app, config, make_walpush):
    config.set("limits.messages-per-second", 5)
    with make_walpush(own_app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        for _ in range(50):
            client.send_json({"type": "noise"})
        assert client.close_code() == 1008


def test_too_large_a_message(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        client.send_text(json.dumps({"type": "noise", "padding": "x" * 20_000}))
        assert client.drain_to_close()[1] in (1009, 1006)


@pytest.mark.parametrize(
    "bytes_sent",
    [
        frame(ws.TEXT, b"\xff\xfe"),  # not UTF-8
        frame(ws.TEXT, b"{}", reserved=4),
        frame(0x3, b""),
        frame(ws.PING, b"x" * 126),
        frame(ws.PING, b"x", fin=False),
        frame(ws.CONTINUATION, b"x"),
        frame(ws.CLOSE, b"\x03"),
        b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ],
    ids=["utf8", "rsv", "opcode", "long ping", "split ping", "lone continuation", "short close", "huge"],
)
def test_broken_frames_end_the_connection_and_nobody_elses(app, walpush, bytes_sent):
    with walpush.subscribe(UNIT_1, RAVI) as other, walpush.subscribe(UNIT_1, ASHA) as client:
        client.wire.send(bytes_sent)
        messages, code = client.drain_to_close()
        assert messages == []
        assert code in (1002, 1007, 1009, 1006, 1005, 1000)
        app.touch(app.request)
        assert other.recv()["request_id"] == app.request


def test_a_fragmented_message_is_one(walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        client.send_frame(ws.TEXT, b'{"type":"pi', fin=False)
        client.send_frame(ws.PING, b"between")
        client.send_frame(ws.CONTINUATION, b'ng"}')
        # Which of the two answers comes first is the library's business, and differs between its versions.
        assert {client.recv_frame(), client.recv_frame()} == {(ws.PONG, b"between"), (ws.TEXT, b'{"type":"pong"}')}


def test_an_unknown_subprotocol_is_not_agreed_to(walpush):
    try:
        with walpush.connect(UNIT_1, ASHA, headers={"Sec-WebSocket-Protocol": "nonsense"}) as client:
            assert client.answer.headers.get("sec-websocket-protocol") is None
    except (Refused, Closed):
        pass  # to refuse is as good
    with walpush.subscribe(UNIT_1, ASHA):
        pass


def test_half_a_handshake_is_not_waited_for_for_ever(own_app, config, make_walpush):
    config.set("limits.handshake", 1)
    with make_walpush(own_app, config) as walpush:
        silent, half = Wire(walpush.port), Wire(walpush.port)
        half.send(upgrade(UNIT_1)[:40])
        for wire in (silent, half):
            answer = wire.answer()  # TimeoutError if the server waits on
            assert answer is None or answer.status in (400, 408)
        with walpush.subscribe(UNIT_1, ASHA):
            pass


HEAD_MOST = 4096 + 8192  # beside limits.token-bytes


def padded(walpush, size):
    """An upgrade whose head has that many bytes."""
    bare = upgrade(UNIT_1 + "?token=" + walpush.token(ASHA), {"Cookie": ""})
    return bare.replace(b"Cookie: ", b"Cookie: " + b"x" * (size - len(bare)))


def refused_so_far(walpush, reason):
    return walpush.metric(f'walpush_refusals_total{{reason="{reason}"}}')


def test_the_longest_head(walpush):
    for size, status in ((HEAD_MOST, 101), (HEAD_MOST + 1, 431), (HEAD_MOST + 100_000, 431)):
        wire = Wire(walpush.port)
        wire.send(padded(walpush, size))
        assert wire.answer().status == status, size
        wire.close()


def test_a_head_over_the_limit_is_said_and_counted(walpush):
    before, mark = refused_so_far(walpush, "headers"), walpush.mark()
    wire = Wire(walpush.port)
    wire.send(upgrade(UNIT_1, {f"X-{i}": "x" * 3900 for i in range(4)}))
    answer = wire.answer()
    assert answer.status == 431 and answer.headers["connection"] == "close"
    assert wire.at_end()
    line = fields_of(walpush.wait_for_log('msg="request refused"', since=mark))
    assert (line["status"], line["reason"], line["peer"]) == ("431", "headers", "127.0.0.1")
    assert refused_so_far(walpush, "headers") == before + 1


def test_a_refused_client_that_goes_on_is_listened_to_for_a_while(walpush):
    """Its answer must not be lost by a reset; but it may not go on for ever."""
    wire = Wire(walpush.port)
    wire.send(b"GET / HTTP/1.1\r\nX: " + b"x" * 500_000)
    assert wire.answer().status == 431
    with pytest.raises(OSError):
        for _ in range(10_000):
            wire.send(b"x" * 65536)
    wire.close()


def test_a_head_that_comes_byte_by_byte(app, walpush):
    wire = Wire(walpush.port)
    for byte in upgrade(UNIT_1 + "?token=" + walpush.token(ASHA)):
        wire.send(bytes([byte]))
    assert wire.answer().status == 101
    wire.close()


def test_who_only_looks_whether_the_port_is_open(walpush):
    """A load balancer does so every second: no line, no count. Who leaves in the middle of a head is counted."""
    before, mark = refused_so_far(walpush, "broken"), walpush.mark()
    Wire(walpush.port).close()
    wire = Wire(walpush.port)
    wire.send(upgrade(UNIT_1)[:40])
    wire.close()
    walpush.wait_for_log("a request broke off", since=mark)
    assert refused_so_far(walpush, "broken") == before + 1


def test_waiting_heads_do_not_keep_it_from_ending(own_app, config, make_walpush):
    with make_walpush(own_app, config) as walpush:
        wires = [Wire(walpush.port) for _ in range(20)]
        for wire in wires[::2]:
            wire.send(upgrade(UNIT_1)[:40])
        for wire in wires[1::4]:
            wire.send(b"nonsense")
            assert wire.answer().status == 400
        walpush.stop()


def test_a_thousand_refusals_are_few_lines(walpush):
    mark, before = walpush.mark(), refused_so_far(walpush, "malformed")
    start = time.monotonic()
    for _ in range(1000):
        wire = Wire(walpush.port)
        wire.send(b"nonsense\r\n\r\n")
        assert wire.answer().status == 400
        wire.close()
    walpush.wait_for_log('msg="more such lines were left out" line="request refused"', since=mark)
    seconds = time.monotonic() - start
    assert refused_so_far(walpush, "malformed") == before + 1000
    lines = [line for line in walpush.lines[mark:] if 'msg="request refused"' in line]
    assert len(lines) <= 20 * (seconds + 1)
    # None is lost: what was not written was counted.
    walpush.stop()
    told = [int(fields_of(line)["lines"]) for line in walpush.lines[mark:] if 'line="request refused"' in line]
    assert len(lines) + sum(told) == 1000
    walpush.start()


def test_garbage_instead_of_http(walpush):
    for data in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"\x00" * 100, b"GET\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
        wire = Wire(walpush.port)
        wire.send(data)
        wire.sock.shutdown(1)
        assert wire.answer().status == 400
        wire.close()
    with walpush.subscribe(UNIT_1, ASHA):
        pass


def test_tokens_are_never_logged_even_at_debug(own_app, config, make_walpush):
    with make_walpush(own_app, config, env={"WALPUSH_LOG_LEVEL": "debug"}) as walpush:
        with walpush.subscribe(UNIT_1, ASHA) as client:
            client.send_json({"type": "auth", "token": walpush.token(ASHA)})
            assert client.recv()["type"] == "auth_ok"
            own_app.touch(own_app.request)
            assert client.recv()["request_id"] == own_app.request
        with Client(walpush.port, UNIT_1, headers={"Authorization": "Bearer " + walpush.token(BOB)}) as client:
            assert client.close_code() == 4403
        refusal(walpush.port, "/nowhere", token=walpush.token(ASHA))
        bad = walpush.token(ASHA, key="some-other-key-some-other-key-xx")
        assert close_code(walpush.port, UNIT_1, token=bad) == 4401
        # Parts of a token are no better.
        for text in list(walpush.secrets):
            if text.count(".") == 2:
                walpush.secrets += text.split(".")[1:]
    assert SIGNING_KEY in walpush.secrets
