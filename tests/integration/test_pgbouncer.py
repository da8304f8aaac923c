"""All sessions through PgBouncer in its session mode, as docs/operations.md says it is set up. Debian 12 has none that carries replication, so
tests/deploy/pooler.sh installs one in a bare Debian 13 and says where that is."""

import contextlib
import os
import pathlib
import socket
import subprocess
import tempfile
import time

import pytest

from harness.app import ASHA, RAVI
from harness.client import PATIENCE, Closed
from harness.walpush import SIGNING_KEY, run_to_end
from throwaway.cluster import free_port

SYSTEM = os.environ.get("PGBOUNCER_SYSTEM")
UNIT_1 = "/ws/requests/1/"

pytestmark = pytest.mark.skipif(not SYSTEM, reason="tests/deploy/pooler.sh runs this")

SETTINGS = """
[databases]
* = host=127.0.0.1 port={server}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {directory}/users
user = postgres
pool_mode = session
ignore_startup_parameters = options,extra_float_digits
"""


def wait_for_port(port):
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def url(app):
    """The database, through PgBouncer."""
    port, password = free_port(), app.cluster.passwords["walpush"]
    with tempfile.TemporaryDirectory(dir=f"{SYSTEM}/tmp") as path:
        directory = pathlib.Path(path)
        directory.chmod(0o755)
        inside = f"/tmp/{directory.name}"
        (directory / "users").write_text(f'"walpush" "{password}"\n')
        (directory / "pgbouncer.ini").write_text(SETTINGS.format(server=app.cluster.port, port=port, directory=inside))
        process = subprocess.Popen(["chroot", SYSTEM, "/usr/sbin/pgbouncer", f"{inside}/pgbouncer.ini"])
        try:
            wait_for_port(port)
            yield f"postgresql://walpush:{password}@127.0.0.1:{port}/{app.name}"
        finally:
            process.terminate()
            process.wait()


def test_what_is_changed_and_asked_comes_through(app, config, make_walpush, url):
    config.set("tables.requests.data-query", "SELECT jsonb_build_object('limit', current_setting('lock_timeout')) WHERE {id} <> 0")
    app.sql(f'ALTER ROLE walpush IN DATABASE "{app.name}" SET datestyle = \'German, DMY\'')
    with make_walpush(app, config, url=url) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        for _ in range(100):
            app.touch(app.request)
        messages = client.recv_n(100)
        assert {m["type"] for m in messages} == {"request.updated"}
        assert messages[-1]["data"] == {"limit": "1s"} and messages[-1]["updated_at"].startswith("20")
        with walpush.subscribe(UNIT_1, RAVI) as revoked:
            app.revoke(RAVI, 1)
            with pytest.raises(Closed) as closed:
                revoked.recv()
            assert closed.value.code == 4403
        assert "level=error" not in walpush.log() and "level=warn" not in walpush.log()


def test_a_query_that_waits_for_a_lock_is_left_out_and_asked_again(app, config, make_walpush, url):
    with make_walpush(app, config, url=url) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request)
        client.recv()
        blocker = app.connect(autocommit=False)
        with contextlib.closing(blocker), blocker.cursor() as cursor:
            cursor.execute("LOCK TABLE crates")
            app.touch(app.request)
            assert client.recv()["type"] in ("resync", "request.updated")
            walpush.wait_for_log("rows do not ask a query for now")
        walpush.wait_for_log("queries are asked again")


def test_check_finds_nothing(app, config, tmp_path, url):
    env = {"DATABASE_URL": url, "JWT_SIGNING_KEY": SIGNING_KEY, "WALPUSH_SLOT": app.slot}
    done = run_to_end("check", "-c", config.write(tmp_path / "check.conf"), env=env)
    assert " 0 failures" in f" {done.stdout.splitlines()[-1]}", done.stdout
