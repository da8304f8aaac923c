"""What one client may take, where it comes from, and that nobody else notices."""

import json
import os
import resource
import signal
import time

import pytest

from harness.app import ASHA, RAVI, fresh_app
from harness.client import PATIENCE, Client, Closed, Refused, Wire, upgrade
from harness.walpush import Walpush, shipped_config

UNIT_1 = "/ws/requests/1/"


@pytest.fixture(scope="module")
def app(cluster):
    with fresh_app(cluster) as app:
        yield app.set_up()


def peer_of(walpush, mark):
    """The peer that the log names for the last admission."""
    return walpush.wait_for_log(r'msg="?admitted', since=mark).partition(" peer=")[2].split(" ")[0]


# --- where it comes from --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trusted, peers",
    [
        ([], {None: "127.0.0.1", "203.0.113.9": "127.0.0.1"}),
        (["127.0.0.0/8"], {None: "127.0.0.1", "203.0.113.9": "203.0.113.9", "1.1.1.1, 203.0.113.9": "203.0.113.9"}),
        (["127.0.0.1", "10.0.0.0/8"], {"1.1.1.1, 2001:db8::5, 10.0.0.7": "2001:db8::5", "spoofed": "127.0.0.1"}),
    ],
)
def test_the_peer_is_the_last_hop_that_is_not_trusted(app, config, make_walpush, trusted, peers):
    config.set("listen.trusted-proxies", trusted)
    with make_walpush(app, config) as walpush:
        for forwarded, peer in peers.items():
            mark = walpush.mark()
            with walpush.subscribe(UNIT_1, ASHA, headers={"X-Forwarded-For": forwarded} if forwarded else {}):
                assert peer_of(walpush, mark) == peer, forwarded


def test_several_headers_are_one_list(app, config, make_walpush):
    config.set("listen.trusted-proxies", ["127.0.0.1"])
    with make_walpush(app, config) as walpush:
        mark = walpush.mark()
        path = f"{UNIT_1}?token={walpush.token(ASHA)}"
        wire = Wire(walpush.port)
        request = upgrade(path, {"X-Forwarded-For": "1.1.1.1"})
        wire.send(request.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n"))
        assert wire.answer().status == 101
        assert peer_of(walpush, mark) == "203.0.113.9"
        wire.close()


# --- handshakes that take their time --------------------------------------------------------------------------------


def test_one_byte_at_a_time_is_cut(app, config, make_walpush):
    """Each byte comes well within the limit; all of them together do not."""
    config.set("limits.handshake", 2)
    with make_walpush(app, config) as walpush:
        start, wire = time.monotonic(), Wire(walpush.port)
        for byte in upgrade(UNIT_1 + "?token=" + walpush.token(ASHA)) * 10:
            try:
                wire.send(bytes([byte]))
                wire.more(time.monotonic() + 0.2)  # False: the server hung up; TimeoutError: it reads on
                break
            except TimeoutError:
                assert time.monotonic() - start < PATIENCE
            except ConnectionError:
                break
        assert time.monotonic() - start > 1.5
        assert not wire.buffer.startswith(b"HTTP/1.1 101")
        with walpush.subscribe(UNIT_1, ASHA):
            pass


# --- how many -------------------------------------------------------------------------------------------------------


def refused(walpush, **how):
    """A client that is one too many, and is told so before the upgrade."""
    with pytest.raises(Refused) as error:
        walpush.connect(UNIT_1, RAVI, **how)
    assert error.value.status == 503


def test_connections_of_one_address(app, config, make_walpush):
    config.set("limits.per-address", 2)
    with make_walpush(app, config) as walpush:
        held = [walpush.subscribe(UNIT_1, ASHA, source="127.0.0.7") for _ in range(2)]
        refused(walpush, source="127.0.0.7")
        assert walpush.metric('walpush_refusals_total{reason="address"}') == 1
        connections = json.loads(walpush.admin("/status").body)["connections"]
        assert connections["refused"] == 1 and connections["most"] > 2
        with walpush.subscribe(UNIT_1, ASHA, source="127.0.0.8"):
            pass
        held.pop().close()
        walpush.wait_for_room(UNIT_1, ASHA, source="127.0.0.7").close()


def test_sockets_of_one_address_that_never_become_connections(app, config, make_walpush):
    config.set("limits.per-address", 3)
    with make_walpush(app, config) as walpush:
        silent = [Wire(walpush.port, source="127.0.0.7") for _ in range(6)]
        with walpush.subscribe(UNIT_1, ASHA, source="127.0.0.8"):
            assert Wire(walpush.port, source="127.0.0.7").at_end()
            assert walpush.metric('walpush_refusals_total{reason="socket"}') == 1
        for wire in silent:
            wire.close()


def test_a_limit_that_changes_counts_those_who_are_there(app, config, make_walpush):
    config.set("limits.per-address", 3)
    with make_walpush(app, config) as walpush:
        held = [walpush.subscribe(UNIT_1, ASHA) for _ in range(2)]
        config.set("limits.per-address", 2).write(walpush.file)
        walpush.send_signal(signal.SIGHUP)
        walpush.wait_for_log("configuration is taken over")
        refused(walpush)
        for client in held:
            app.touch(app.request)
            assert client.recv()["request_id"] == app.request


def test_connections_of_one_client_behind_a_proxy(app, config, make_walpush):
    config.set("limits.per-address", 2)
    config.set("listen.trusted-proxies", ["127.0.0.1"])
    one, other = ({"X-Forwarded-For": address} for address in ("203.0.113.9", "203.0.113.10"))
    with make_walpush(app, config) as walpush:
        held = [walpush.subscribe(UNIT_1, ASHA, headers=one) for _ in range(2)]
        refused(walpush, headers=one)
        # What the client says of itself stands left of what the proxy says.
        refused(walpush, headers={"X-Forwarded-For": "8.8.8.8, 203.0.113.9"})
        held += [walpush.subscribe(UNIT_1, ASHA, headers=other) for _ in range(2)]
        refused(walpush, headers=other)
        for client in held:
            client.close()
        walpush.wait_for_room(UNIT_1, ASHA, headers=one).close()


def test_handshakes_in_a_second(app, config, make_walpush):
    config.set("limits.handshakes-per-second", 5)
    with make_walpush(app, config) as walpush:
        start = time.monotonic()
        wires = [Wire(walpush.port) for _ in range(100)]
        for wire in wires:  # together, so that even a slow machine serves more than five of them in a second
            wire.send(upgrade(f"{UNIT_1}?token={walpush.token(ASHA)}"))
        answers = [wire.answer().status for wire in wires]
        admitted, turned_away = answers.count(101), answers.count(503)
        # A bucket of five, and five more each second.
        assert 5 <= admitted <= 5 * (time.monotonic() - start) + 6
        assert admitted + turned_away == len(wires)
        assert walpush.metric('walpush_refusals_total{reason="rate"}') == turned_away
        for wire in wires:
            wire.close()
        walpush.wait_for_room(UNIT_1, ASHA).close()


def test_who_is_refused_anyway_takes_nothing_from_the_others(app, config, make_walpush):
    config.set("limits.handshakes-per-second", 1)
    with make_walpush(app, config) as walpush:
        for _ in range(20):
            with pytest.raises(Refused):
                walpush.connect("/nowhere", ASHA)
        walpush.subscribe(UNIT_1, ASHA).close()


# --- age ------------------------------------------------------------------------------------------------------------


def test_a_connection_of_the_greatest_age_is_asked_to_come_back(app, config, make_walpush):
    config.set("listen.max-age", 3)
    with make_walpush(app, config) as walpush:
        start = time.monotonic()
        with walpush.subscribe(UNIT_1, ASHA) as client:
            assert client.close_code() == 1012
        assert time.monotonic() - start > 1.5
        with walpush.subscribe(UNIT_1 + f"?since={client.hello['id']}&epoch={client.hello['epoch']}", ASHA) as again:
            assert again.hello["resumed"]


# --- files ----------------------------------------------------------------------------------------------------------


def cpu_seconds(process):
    """User and system time so far."""
    fields = open(f"/proc/{process.pid}/stat").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_fewer_files_than_clients(app, config, make_walpush):
    """The rest is refused, some of it with a status, and nobody inside notices."""
    with make_walpush(app, config, files=256) as walpush:
        held, refusals = [], 0
        for _ in range(300):
            try:
                held.append(walpush.subscribe(UNIT_1, ASHA, source=f"127.0.1.{len(held) % 20 + 1}"))
            except (Refused, Closed, ConnectionError):
                refusals += 1
        assert 32 < len(held) < 256 and refusals > 0
        app.touch(app.request)
        for client in held:
            assert client.recv()["request_id"] == app.request
        # The process itself still has what it needs.
        assert walpush.metric("walpush_ready") == 1
        for client in held:
            client.wire.close()
        walpush.wait_for_room(UNIT_1, ASHA).close()


def test_no_files_at_all_does_not_spin(app, config, make_walpush):
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        before = resource.prlimit(walpush.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(walpush.process.pid, resource.RLIMIT_NOFILE, (3, before[1]))
        mark = walpush.mark()
        waiting = [Wire(walpush.port) for _ in range(20)]
        walpush.wait_for_log("cannot accept", since=mark)
        start, used = time.monotonic(), cpu_seconds(walpush.process)
        while time.monotonic() < start + 2:
            app.touch(app.request)
            assert client.recv()["request_id"] == app.request
            try:
                client.recv(timeout=0.25)
            except TimeoutError:
                pass
        assert cpu_seconds(walpush.process) - used < 1
        assert walpush.log(mark).count("cannot accept") == 1
        resource.prlimit(walpush.process.pid, resource.RLIMIT_NOFILE, before)
        with walpush.subscribe(UNIT_1, ASHA):
            pass
        for wire in waiting:
            wire.close()
