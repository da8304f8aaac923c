"""TLS to Redis: whose certificate is accepted, and what is said of every other.

Only hiredis 1.0 and later has TLS. The last test is of a build without it, all others of one with it.
"""

import re
import subprocess

import pytest

from harness.app import ASHA
from harness.client import PATIENCE
from harness.load import UNIT_1
from harness.proxy import proxy
from harness.redis import Redis
from harness.tls import Identity
from harness.walpush import BINARY, run_to_end
from throwaway.config import Raw

HAS_TLS = "libhiredis_ssl" in subprocess.run(["ldd", BINARY], capture_output=True, text=True, check=False).stdout
AUTHORITY, STRANGER = Identity("authority"), Identity("a stranger's authority")

with_tls = pytest.mark.skipif(not HAS_TLS, reason="this build has no TLS to Redis: its hiredis is older than 1.0")


class Place:
    """Where certificates lie: the one that Redis shows, and the one of who is trusted."""

    def __init__(self, directory):
        self.directory = directory
        self.trusted = directory / "trusted.crt"

    def shown(self, identity):
        identity.write(self.directory)
        return self.directory / "tls.crt", self.directory / "tls.key"

    def trust(self, identity):
        self.trusted.write_bytes(identity.certificate)
        return {"SSL_CERT_FILE": str(self.trusted)}


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture
def run(app, config, make_walpush):
    """A process with this relay, that trusts what `env` says."""

    def make(url, env):
        config.set("relay", Raw(f'{{ url = "{url}" }}'))
        return make_walpush(app, config, env=env)

    return make


def checked(walpush):
    """The findings of `walpush check` about the relay."""
    done = run_to_end("check", "-c", walpush.file, env=walpush.env, timeout=3 * PATIENCE)
    assert done.returncode in (0, 1), done.stderr
    return [line for line in done.stdout.splitlines() if line.split()[1:2] == ["relay"]]


def refused(walpush, words):
    """Both the process and `walpush check` say it, and the check says nothing else."""
    walpush.start(streaming=False)
    assert re.search(words, walpush.wait_for_log("no connection to Redis"))
    (finding,) = checked(walpush)
    assert finding.startswith("failure") and re.search(words, finding), finding
    return finding


def named(server, host):
    """Its URL, with another name for the same server."""
    return server.url.replace("127.0.0.1", host)


# --- who is accepted --------------------------------------------------------------------------------------------------


@with_tls
@pytest.mark.parametrize("host, dns", [("127.0.0.1", None), ("localhost", "localhost")])
def test_a_certificate_of_a_trusted_authority(app, run, place, host, dns):
    """For an address, and for a name; also after Redis was away."""
    with Redis(certificate=place.shown(Identity("redis", dns=dns, signed_by=AUTHORITY)), password="hidden-word") as server:
        walpush = run(named(server, host), place.trust(AUTHORITY))
        walpush.secrets.append("hidden-word")
        walpush.start()
        with walpush.subscribe(UNIT_1, ASHA) as client:
            app.touch(app.request, "one")
            client.recv()
            mark = walpush.mark()
            server.restart()
            walpush.wait_for_log("connected to Redis again", since=mark)
            app.touch(app.request, "two")
            assert client.recv()["data"]["purpose"].endswith("two")
        assert all(not finding.startswith("failure") for finding in checked(walpush))


@with_tls
def test_a_certificate_that_is_trusted_itself(app, run, place):
    alone = Identity("alone")
    with Redis(certificate=place.shown(alone)) as server:
        walpush = run(server.url, place.trust(alone)).start()
        with walpush.subscribe(UNIT_1, ASHA) as client:
            app.touch(app.request, "one")
            client.recv()


@with_tls
@pytest.mark.parametrize("days, is_said", [(5, True), (28, False)])
def test_a_certificate_that_expires_soon(run, place, days, is_said):
    with Redis(certificate=place.shown(Identity("redis", days=days, signed_by=AUTHORITY))) as server:
        found = checked(run(server.url, place.trust(AUTHORITY)))
        assert any(line.startswith("warning") and "expires within 14 days" in line for line in found) == is_said, found


# --- who is not -------------------------------------------------------------------------------------------------------


@with_tls
@pytest.mark.parametrize(
    "identity, host, words",
    [
        (Identity("redis", signed_by=STRANGER), "127.0.0.1", "unable to get local issuer certificate"),
        (Identity("redis", days=-1, signed_by=AUTHORITY), "127.0.0.1", "certificate has expired"),
        (Identity("redis", dns="redis.example", signed_by=AUTHORITY), "127.0.0.1", "IP address mismatch"),
        (Identity("redis", dns="redis.example", signed_by=AUTHORITY), "localhost", "ostname mismatch"),
        (Identity("redis", signed_by=AUTHORITY), "localhost", "ostname mismatch"),
    ],
    ids=["of-a-stranger", "expired", "no-address", "of-another-name", "an-address-for-a-name"],
)
def test_a_certificate_that_is_not_accepted(run, place, identity, host, words):
    with Redis(certificate=place.shown(identity)) as server:
        refused(run(named(server, host), place.trust(AUTHORITY)), words)


@with_tls
def test_nobody_is_trusted_but_the_machines_authorities(run, place):
    with Redis(certificate=place.shown(Identity("alone"))) as server:
        refused(run(server.url, {}), "self-signed certificate")


@with_tls
def test_a_redis_that_wants_a_certificate_of_its_client(run, place):
    """walpush has none to show. What Redis says of it is lost where the greeting, which is under way already, meets a closed socket."""
    authority = place.directory / "clients.crt"
    authority.write_bytes(AUTHORITY.certificate)
    with Redis(certificate=place.shown(Identity("redis", signed_by=AUTHORITY)), clients_of=authority) as server:
        assert "tls-auth-clients no" in refused(run(server.url, place.trust(AUTHORITY)), "certificate required|reset by peer|closed")


# --- one of the two speaks no TLS -------------------------------------------------------------------------------------


@with_tls
def test_a_redis_without_tls(run, place):
    """It waits for the end of what it takes for a command, as a server that hangs."""
    with Redis() as server:
        refused(run(server.url.replace("redis:", "rediss:"), place.trust(AUTHORITY)), "in time: perhaps Redis speaks")


@with_tls
def test_an_address_that_forgets_tls(run, place):
    """Redis takes the first command for a handshake, and hangs up."""
    with Redis(certificate=place.shown(Identity("redis", signed_by=AUTHORITY))) as server:
        refused(run(server.url.replace("rediss:", "redis:"), place.trust(AUTHORITY)), "closed|reset")


@with_tls
def test_a_server_that_speaks_something_else(run, place):
    with proxy(0, request=lambda first: b"-ERR who are you\r\n") as port:
        refused(run(f"rediss://127.0.0.1:{port}", place.trust(AUTHORITY)), "TLS fails: ")


# --- a build without it -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(HAS_TLS, reason="this build has TLS to Redis")
def test_a_build_without_tls_refuses_the_address(run):
    walpush = run("rediss://127.0.0.1:6379/0", {}).spawn()
    walpush.wait_for_log(r"needs hiredis 1\.0")
    assert walpush.wait() == 2
