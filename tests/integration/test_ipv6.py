"""An IPv6 address wherever the address of a host is written: of the servers, of the listeners, of pages and of proxies."""

import json
import socket
import subprocess

import pytest

from harness.app import ASHA, fresh_app
from harness.client import PATIENCE, Client, Refused, http
from harness.redis import Redis
from harness.walpush import BINARY, Walpush, free_port, run_to_end
from throwaway.cluster import Cluster
from throwaway.config import Raw

HERE = "::1"
UNIT_1 = "/ws/requests/1/"
PAGE = f"http://[{HERE}]:5173"


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind((HERE, 0))
        return True
    except OSError:
        return False


pytestmark = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")


@pytest.fixture(scope="module")
def app():
    """PostgreSQL that takes walpush over IPv6 alone."""
    with Cluster({"listen_addresses": f"127.0.0.1, {HERE}"}, fsync=False) as cluster:
        cluster.hba = f"host all walpush 127.0.0.1/32 reject\nhost all walpush {HERE}/128 scram-sha-256\n{cluster.hba}"
        cluster.reload()
        with fresh_app(cluster) as app:
            yield app.set_up()


class Six(Walpush):
    """A process of which everything is IPv6, and its clients too."""

    def connect(self, path, user, **how):
        return super().connect(path, user, host=HERE, **how)

    def admin(self, path):
        return http(self.admin_port, path, host=HERE)


@pytest.fixture
def six(app, config, tmp_path):
    config.set("listen.origins", [PAGE]).set("listen.trusted-proxies", [f"{HERE}/128"]).set("log.level", "debug")
    env = {"WALPUSH_LISTEN_ADDRESS": HERE, "WALPUSH_LISTEN_PORT": str(free_port()), "WALPUSH_ADMIN_ADDRESS": HERE}
    with Redis(host=HERE, password="pa55word-of-redis") as redis:
        config.set("relay", Raw(f'{{ url = "{redis.url}" }}'))
        url = app.url.replace("127.0.0.1", f"[{HERE}]")
        with Six(config, tmp_path, app, url=url, env=env) as walpush:
            walpush.secrets.append(redis.password)
            yield walpush


def test_all_of_it(app, six):
    """PostgreSQL, Redis, a client of a page behind a proxy, the admin port."""
    forwarded = {"Origin": PAGE, "X-Forwarded-For": "[2001:db8::5]:4711"}
    with six.subscribe(UNIT_1, ASHA, headers=forwarded) as client:
        app.touch(app.request, "over IPv6")
        assert client.recv()["data"]["purpose"].endswith("over IPv6")
    assert six.wait_for_log(r"peer=2001:db8::5\b")
    with pytest.raises(Refused):
        Client(six.port, UNIT_1, token=six.token(ASHA), headers={"Origin": f"http://[{HERE}]:80"}, host=HERE)
    assert six.admin("/readyz").status == 200
    assert json.loads(six.admin("/status").body)["relay"]["up"]


def test_the_commands(app, six):
    assert run_to_end("health", "-c", six.file, env=six.env).returncode == 0
    done = run_to_end("check", "-c", six.file, env=six.env)
    assert "no Redis" not in done.stdout and "cannot connect" not in done.stdout, done.stdout
    command = [str(BINARY), "listen", "-c", str(six.file), "--user", str(ASHA), UNIT_1]
    with subprocess.Popen(command, env=six.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as listener:
        try:
            assert json.loads(listener.stdout.readline())["type"] == "connection_established"
            app.touch(app.request, "in a terminal")
            assert json.loads(listener.stdout.readline())["data"]["purpose"].endswith("in a terminal")
        finally:
            listener.terminate()
            listener.wait(PATIENCE)


def test_any_address(app, config, tmp_path):
    """`::` stands for all of them; IPv4 comes in by it too, and counts as what it is."""
    env = {"WALPUSH_LISTEN_ADDRESS": "::", "WALPUSH_ADMIN_ADDRESS": "::"}
    with Walpush(config, tmp_path, app, url=app.url.replace("127.0.0.1", f"[{HERE}]"), env=env) as walpush:
        for host in (HERE, "127.0.0.1"):
            with walpush.subscribe(UNIT_1, ASHA, host=host):
                pass
            assert http(walpush.admin_port, "/healthz", host=host).status == 200
        assert run_to_end("health", "-c", walpush.file, env=walpush.env).returncode == 0
