"""TLS by walpush itself: what it speaks, that it carries what plain sockets carry, and certificates that change."""

import json
import re
import signal
import ssl
import subprocess
import time

import pytest

from harness.app import ASHA, RAVI, fresh_app
from harness.client import PATIENCE, Client, Wire, assert_in_order, upgrade
from harness.tls import Identity, trusting
from harness.walpush import BINARY, run_to_end
from throwaway.config import section

UNIT_1 = "/ws/requests/1/"

FIRST, SECOND, EXPIRED = Identity("first"), Identity("second"), Identity("expired", days=-1)


@pytest.fixture(scope="module")
def app(cluster):
    with fresh_app(cluster) as app:
        yield app.set_up()


@pytest.fixture
def files(tmp_path, config):
    FIRST.write(tmp_path)
    config.set("listen.certificate", str(tmp_path / "tls.crt"))
    config.set("listen.certificate-key", str(tmp_path / "tls.key"))
    return tmp_path


@pytest.fixture
def walpush(app, config, files, make_walpush):
    with make_walpush(app, config) as process:
        process.tls = trusting(FIRST, SECOND)
        yield process


def shown(walpush):
    """The name in the certificate that a new connection sees."""
    wire = Wire(walpush.port, tls=walpush.tls)
    subject = wire.sock.getpeercert()["subject"]
    wire.close()
    return subject[0][0][1]


# --- what it speaks -------------------------------------------------------------------------------------------------


def test_everything_goes_through_tls(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request)
        assert client.recv()["request_id"] == app.request
        client.send_json({"type": "ping", "timestamp": 1})
        assert client.recv() == {"type": "pong", "timestamp": 1}
        assert client.close() == []
    with Client(walpush.port, UNIT_1, token="bad", tls=walpush.tls) as client:
        assert client.close_code() == 4401


ADMIT = (
    "SELECT 1 FROM users u JOIN user_units m ON m.user_id = u.id LEFT JOIN roles r ON r.id = u.role_id"
    " WHERE u.id = {token.user_id} AND m.unit_id = {token.unit}::int AND r.role_name IS DISTINCT FROM 'Nobody'"
)


def test_permission_ends_and_moves_through_tls(app, config, files, make_walpush):
    """A renewal with other claims, a round, a resync that each connection is told in its own words, and a no."""
    app.grant(RAVI, 2)
    config.set("streams.mine", section(path="/ws/mine/", admit=ADMIT, groups=["requests_unit_{token.unit}"]))
    config.remove("tables.requests.lookup").set("tables.requests.groups", ["requests_unit_{unit_id}"])
    with make_walpush(app, config) as walpush:
        walpush.tls = trusting(FIRST)
        with Client(walpush.port, "/ws/mine/", token=walpush.token(RAVI, unit=1), tls=walpush.tls) as client:
            before = client.established()["epoch"]
            client.send_json({"type": "auth", "token": walpush.token(RAVI, unit=2)})
            ok, resync = client.recv(), client.recv()
            assert (ok["type"], resync["type"], resync["reason"]) == ("auth_ok", "resync", "membership")
            assert resync["epoch"] != before
            app.touch(app.request)
            app.sql("UPDATE roles SET role_name = role_name || '.' WHERE role_name LIKE 'Store Head%%'")
            app.touch(app.request2)
            assert client.recv()["request_id"] == app.request2
            assert walpush.metric("walpush_admit_rounds_total") == 1
            app.revoke(RAVI, 2)
            app.touch(app.request2)
            assert client.drain_to_close() == ([], 4403)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # that is what is tested
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_are_refused(walpush, version):
    context = trusting(FIRST)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with pytest.raises((ssl.SSLError, ConnectionError)):
        Wire(walpush.port, tls=context)
    assert shown(walpush) == "first"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_versions_of_today(walpush, version):
    context = trusting(FIRST)
    context.minimum_version = context.maximum_version = version
    with walpush.subscribe(UNIT_1, ASHA, tls=context):
        pass


def test_http_2_is_not_offered(walpush):
    context = trusting(FIRST)
    context.set_alpn_protocols(["h2", "http/1.1"])
    wire = Wire(walpush.port, tls=context)
    assert wire.sock.selected_alpn_protocol() in (None, "http/1.1")
    wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
    answer = wire.answer()
    assert answer is None or answer.status != 101
    wire.close()
    only = trusting(FIRST)
    only.set_alpn_protocols(["h2"])
    try:
        wire = Wire(walpush.port, tls=only)
        assert wire.sock.selected_alpn_protocol() is None
        wire.close()
    except ssl.SSLError:
        pass  # nothing in common: as good


def answered(walpush, path, **headers):
    """The status of an upgrade over TLS; None for none."""
    wire = Wire(walpush.port, tls=walpush.tls)
    try:
        wire.send(upgrade(path + "token=" + walpush.token(ASHA), headers))
        answer = wire.answer()
        return answer and answer.status
    finally:
        wire.close()


def test_a_refusal_says_what_to_do(walpush):
    mark = walpush.mark()
    for path, headers, status, says in (
        ("/ws/nothing/", {}, 404, b"compare it with the paths in sidecar.conf"),
        (UNIT_1, {"Origin": "https://evil.example.org"}, 403, b"add its origin to listen.origins"),
    ):
        wire = Wire(walpush.port, tls=walpush.tls)
        wire.send(upgrade(path + "?token=" + walpush.token(ASHA), headers))
        answer = wire.answer()
        assert answer.status == status and says in answer.body and answer.body.endswith(b"\n")
        walpush.wait_for_log(f'msg="upgrade refused" .* status={status} .* path={path} ', since=mark)
        wire.close()


def test_control_characters_in_a_path(walpush):
    """The library sees these bytes first, so that some requests end without an answer; none is admitted by another path."""
    assert answered(walpush, UNIT_1 + "?") == 101
    assert answered(walpush, UNIT_1 + "?a=b&") == 101
    for behind in ("%00", "%00%00", "%0a", "%0d", "%1f", "%7f", "%01", "%00x", ".%00"):
        assert answered(walpush, UNIT_1 + behind + "?") in (400, 404, None), behind
        assert answered(walpush, UNIT_1 + behind + "?a=b&") in (400, 404, None), behind
        assert answered(walpush, UNIT_1 + "?a=b" + behind + "&") in (400, None), behind
    wire = Wire(walpush.port, tls=walpush.tls)
    wire.send(upgrade(UNIT_1 + "%00", {"Authorization": "Bearer " + walpush.token(ASHA)}))
    answer = wire.answer()
    assert answer is None or answer.status == 400
    wire.close()


def test_headers_over_the_limit_are_counted_and_said(walpush):
    assert answered(walpush, UNIT_1 + "?", Cookie="x" * 10_000) == 101
    mark = walpush.mark()
    assert answered(walpush, UNIT_1 + "?", Cookie="x" * 20_000) is None
    walpush.wait_for_log("a request broke off, or was not understood", since=mark)
    assert walpush.metric('walpush_refusals_total{reason="broken"}') == 1


def test_who_does_not_speak_tls_is_cut(walpush):
    with walpush.subscribe(UNIT_1, ASHA):
        wire = Wire(walpush.port)
        wire.send(upgrade(UNIT_1))
        while wire.more(time.monotonic() + PATIENCE):
            pass
        assert not wire.buffer.startswith(b"HTTP")
        wire.close()


def test_a_handshake_that_is_not_finished_is_cut(app, config, files, make_walpush):
    config.set("limits.handshake", 1)
    with make_walpush(app, config) as walpush:
        walpush.tls = trusting(FIRST)
        silent, half = Wire(walpush.port), Wire(walpush.port)
        half.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        assert silent.at_end() and half.at_end()
        with walpush.subscribe(UNIT_1, ASHA):
            pass


def test_the_command_that_listens_speaks_it_too(app, walpush):
    env = {**walpush.env, "WALPUSH_LISTEN_PORT": str(walpush.port)}
    command = [str(BINARY), "listen", "-c", str(walpush.file), "--user", str(ASHA), UNIT_1]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as listener:
        assert json.loads(listener.stdout.readline())["type"] == "connection_established"
        app.touch(app.request)
        assert json.loads(listener.stdout.readline())["request_id"] == app.request
        listener.terminate()
    assert listener.returncode == 0


# --- what it carries ------------------------------------------------------------------------------------------------


def test_a_large_backlog_arrives_whole(app, config, files, make_walpush):
    """A reader that sleeps fills the socket, TLS's record and the library's buffer; then all of it comes, and in order."""
    config.set("limits.group-bytes", "64 MiB").set("limits.stall", 3600)
    with make_walpush(app, config) as walpush:
        walpush.tls = trusting(FIRST)
        read_late(app, walpush, 1500, "x" * 4000)


def read_late(app, walpush, n, padding):
    with walpush.subscribe(UNIT_1, ASHA, receive_buffer=4096) as slow, walpush.subscribe(UNIT_1, ASHA) as quick:
        for i in range(n):
            app.sql("UPDATE requests SET purpose = %s WHERE id = %s", f"{padding}{i}", app.request)
        expected = [quick.recv()["data"]["purpose"] for _ in range(n)]
        deadline = time.monotonic() + PATIENCE
        while not walpush.metric("walpush_readers_behind"):
            assert time.monotonic() < deadline, "nothing was held back, so nothing is shown"
        messages = slow.recv_n(n)
        assert [m["data"]["purpose"] for m in messages] == expected
        assert_in_order(messages)
        # And both directions still work.
        slow.send_json({"type": "ping", "timestamp": 2})
        assert slow.recv() == {"type": "pong", "timestamp": 2}


def test_one_message_larger_than_all_buffers(app, walpush):
    text = "y" * 900_000
    with walpush.subscribe(UNIT_1, ASHA, receive_buffer=4096) as client:
        app.sql("UPDATE requests SET purpose = %s WHERE id = %s", text, app.request)
        app.touch(app.request)
        assert client.recv()["data"]["purpose"] == text
        assert client.recv()["request_id"] == app.request


# --- certificates that change ---------------------------------------------------------------------------------------


def reload(walpush, wanted):
    mark = walpush.mark()
    walpush.send_signal(signal.SIGHUP)
    return walpush.wait_for_log(wanted, since=mark)


def test_a_new_certificate_is_shown_to_new_connections(app, files, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as before:
        assert shown(walpush) == "first"
        SECOND.write(files)
        reload(walpush, "certificate reloaded")
        while shown(walpush) != "second":  # each hub takes it in its own time
            pass
        assert {shown(walpush) for _ in range(8)} == {"second"}
        with walpush.subscribe(UNIT_1, ASHA) as after:
            app.touch(app.request)
            assert before.recv()["request_id"] == after.recv()["request_id"] == app.request


def spoil_nothing_there(files):
    (files / "tls.crt").unlink()


def spoil_garbage(files):
    (files / "tls.crt").write_text("this is no certificate\n")


def spoil_cut(files):
    pem = SECOND.certificate
    (files / "tls.crt").write_bytes(pem[: len(pem) // 2])


def spoil_chain(files):
    (files / "tls.crt").write_bytes(FIRST.certificate + SECOND.certificate[:200] + SECOND.certificate[-200:])


def spoil_other_key(files):
    (files / "tls.key").write_bytes(SECOND.key)


def spoil_encrypted(files):
    SECOND.write(files)
    (files / "tls.key").write_bytes(SECOND.encrypted_key(b"secret"))


def spoil_no_key(files):
    (files / "tls.key").write_bytes(b"")


def spoil_expired(files):
    EXPIRED.write(files)


@pytest.mark.parametrize(
    "spoil, said",
    [
        (spoil_nothing_there, "No such file"),
        (spoil_garbage, "no certificate"),
        (spoil_cut, "no certificate"),
        (spoil_chain, "chain"),
        (spoil_other_key, "not the key"),
        (spoil_encrypted, "encrypted"),
        (spoil_no_key, "no private key"),
        (spoil_expired, "expired on"),
    ],
)
def test_a_bad_certificate_changes_nothing_and_is_said(app, files, walpush, spoil, said):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        spoil(files)
        line = reload(walpush, "certificate is not reloaded")
        assert "level=error" in line and said in line and str(files) in line
        assert {shown(walpush) for _ in range(4)} == {"first"}
        app.touch(app.request)
        assert client.recv()["request_id"] == app.request
        # What is fixed is taken.
        SECOND.write(files)
        reload(walpush, "certificate reloaded")
        while shown(walpush) != "second":
            pass


@pytest.mark.parametrize("spoil", [spoil_nothing_there, spoil_garbage, spoil_other_key, spoil_encrypted])
def test_it_does_not_start_with_a_bad_one(app, config, files, make_walpush, spoil):
    spoil(files)
    process = make_walpush(app, config).spawn()
    assert process.wait() in (1, 2)
    (line,) = [line for line in process.lines if "level=error" in line]
    assert "listen.certificate" in line


@pytest.mark.parametrize("alone", ["listen.certificate", "listen.certificate-key"])
def test_one_without_the_other_is_refused(config, files, tmp_path, alone):
    config.remove(alone)
    file = config.write(tmp_path / "sidecar.conf")
    done = run_to_end("run", "-c", file, env={"DATABASE_URL": "postgresql://x@127.0.0.1/x", "JWT_SIGNING_KEY": "k" * 32})
    assert done.returncode == 2 and re.search(r"sidecar\.conf:\d+.*beside it", done.stderr), done.stderr


def test_hangup_without_tls_changes_nothing(app, config, make_walpush):
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        walpush.send_signal(signal.SIGHUP)
        app.touch(app.request)
        assert client.recv()["request_id"] == app.request
