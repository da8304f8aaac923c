"""The operators' port: healthy while the loops turn, ready while the stream is live, and a word on why not."""

import json
import signal
import socket
import threading

import pytest

from harness.app import ASHA
from harness.client import Wire, http
from harness.walpush import fields_of, run_to_end

UNIT_1 = "/ws/requests/1/"


def status_of(walpush):
    answer = walpush.admin("/status")
    assert answer.status == 200
    return json.loads(answer.body)


def test_ready_and_healthy(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request)
        client.recv()
        assert walpush.admin("/healthz").status == 200
        assert walpush.admin("/readyz").status == 200
        said = status_of(walpush)
    assert said["ready"] is True and said["trouble"] is None and said["down_seconds"] == 0
    assert said["slot"] == app.slot
    assert client.hello["epoch"].startswith(said["epoch"] + "-")
    assert said["log_bytes"] > 0


def test_without_a_database_it_is_healthy_but_not_ready(cluster, app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        mark = walpush.mark()
        cluster.stop()
        walpush.wait_for_log("not streaming", since=mark)
        assert walpush.admin("/healthz").status == 200
        answer = walpush.admin("/readyz")
        assert answer.status == 503 and b"not streaming" in answer.body
        assert status_of(walpush)["ready"] is False
        # Those who are connected stay so, and are answered.
        client.send_json({"type": "ping", "timestamp": 7})
        assert client.recv() == {"type": "pong", "timestamp": 7}
        mark = walpush.mark()
        cluster.start()
        walpush.wait_for_log('msg="?streaming', since=mark)
        with app.transaction() as cursor:  # on a connection of its own: the stop ended the test's
            cursor.execute("UPDATE requests SET status = 'Issued' WHERE id = %s", (app.request,))
        assert client.recv()["request_id"] == app.request
    with walpush.subscribe(UNIT_1, ASHA):  # by then the connection for admissions is back too
        assert walpush.admin("/readyz").status == 200


def test_what_is_not_there(walpush):
    assert walpush.admin("/nowhere").status == 404
    assert http(walpush.admin_port, "/healthz", method="POST").status in (405, 501)


# --- who is meant ------------------------------------------------------------------------------------------------


def ask(walpush, target="/metrics", hosts=("localhost",), version="1.1"):
    """The answer to a request with these Host headers."""
    wire = Wire(walpush.admin_port)
    try:
        head = "".join(f"Host: {host}\r\n" for host in hosts)
        wire.send(f"GET {target} HTTP/{version}\r\n{head}Connection: close\r\n\r\n".encode("latin-1"))
        return wire.answer()
    finally:
        wire.close()


def test_a_page_of_another_site_reads_nothing(walpush):
    for host in ("evil.example", "evil.example:8002", "127.0.0.1.evil.example", "localhost.evil.example", "2130706433"):
        for path in ("/", "/status", "/metrics", "/healthz", "/readyz", "/nowhere"):
            answer = ask(walpush, path, [host])
            assert answer.status == 421, (host, path)
            assert b"walpush_" not in answer.body and b"slot" not in answer.body
    assert walpush.metric('walpush_admin_refusals_total{reason="host"}') == 30
    line = walpush.wait_for_log('msg="a request to the admin port is refused"')
    assert fields_of(line)["host"] == "evil.example" and "admin.hosts" in fields_of(line)["fix"]


def test_addresses_and_localhost_are_answered(walpush):
    for host in ("127.0.0.1", "10.1.2.3:8002", "[::1]", "[::1]:8002", "localhost", "LOCALHOST.:1"):
        assert ask(walpush, "/healthz", [host]).status == 200, host
    assert ask(walpush, "/healthz", ["10.1.2.3"], version="1.0").status == 200


def test_hosts_of_the_list_are_answered_and_may_be_reloaded(app, config, make_walpush):
    config.set("admin.hosts", ["${WALPUSH_ADMIN_HOSTS:-}", "metrics.example.org"])
    with make_walpush(app, config, env={"WALPUSH_ADMIN_HOSTS": "walpush, walpush.default.svc"}) as walpush:
        for host in ("walpush:8002", "WALPUSH.default.svc.", "metrics.example.org"):
            assert ask(walpush, "/healthz", [host]).status == 200, host
        assert ask(walpush, "/healthz", ["evil.example"]).status == 421
        config.set("admin.hosts", ["evil.example"]).write(walpush.file)
        mark = walpush.mark()
        walpush.send_signal(signal.SIGHUP)
        walpush.wait_for_log("the configuration is taken over", since=mark)
        assert ask(walpush, "/healthz", ["evil.example"]).status == 200
        assert ask(walpush, "/healthz", ["walpush"]).status == 421


def test_requests_that_name_no_host_or_several(walpush):
    for hosts in ((), ("",), ("localhost", "localhost"), ("localhost", "evil.example"), ("localhost, evil.example",), ("local host",)):
        answer = ask(walpush, "/healthz", hosts)
        assert answer.status == 400, hosts
    # Before 1.1 there was no such header.
    assert ask(walpush, "/healthz", (), version="1.0").status == 200
    assert ask(walpush, "/healthz", ("evil.example",), version="1.0").status == 421


def test_the_target_may_name_a_host_too(walpush):
    assert ask(walpush, "http://localhost/healthz").status == 200
    assert ask(walpush, "http://evil.example/healthz").status == 421
    assert ask(walpush, "http://evil.example/healthz", ()).status == 400


@pytest.mark.parametrize("target", ["/healthz%00", "/healthz%00x", "/%68ealthz%0a", "/healthz?%01", "/healthz%zz", "/healthz\x01"])
def test_control_characters_in_a_target(walpush, target):
    assert ask(walpush, target).status == 400


# --- walpush health -------------------------------------------------------------------------------------------------


def health(walpush, **env):
    return run_to_end("health", "-c", walpush.file, env={**walpush.env, **env})


def test_health_of_one_that_is_well(walpush):
    done = health(walpush)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_health_of_one_that_listens_everywhere(walpush):
    # The probe's own address: that of every interface is none to connect to.
    assert health(walpush, WALPUSH_ADMIN_ADDRESS="0.0.0.0").returncode == 0


def test_health_of_one_that_hangs(walpush):
    walpush.send_signal(signal.SIGSTOP)
    try:
        done = health(walpush)
    finally:
        walpush.send_signal(signal.SIGCONT)
    assert done.returncode == 1
    assert "no answer in time" in done.stderr


def test_health_of_one_that_has_ended(walpush):
    walpush.stop()
    done = health(walpush)
    assert done.returncode == 1
    assert "nobody answers on the admin port" in done.stderr


def test_health_of_something_else(walpush):
    with socket.create_server(("127.0.0.1", 0)) as other:
        answers = [b"HTTP/1.1 503 Service Unavailable\r\n\r\nthe stream hangs\n", b"220 mail.example.org ESMTP\r\n"]

        def serve():
            for answer in answers:
                with other.accept()[0] as connection:
                    connection.recv(1024)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        for word in ("the stream hangs", "no HTTP"):
            done = health(walpush, WALPUSH_ADMIN_PORT=str(other.getsockname()[1]))
            assert done.returncode == 1
            assert word in done.stderr
        thread.join()


def test_health_without_a_port(walpush):
    done = health(walpush, WALPUSH_ADMIN_PORT="0")
    assert done.returncode == 1
    assert "admin.port is 0" in done.stderr
