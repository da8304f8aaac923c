"""A failover with a slot that follows (PostgreSQL 17 and later), to a real standby, through a URL that names both servers."""

import json
import re
import subprocess
import threading
import time

import pytest

from harness.app import ASHA, PLUGIN, RAVI, fresh_app
from harness.client import PATIENCE
from harness.standby import SLOT, fed_by_slot
from harness.walpush import SIGNING_KEY, Walpush, run_to_end
from throwaway.cluster import ROLE, ROOT, Cluster

RUNBOOK = (ROOT / "docs/operations.md").read_text()
UNIT_1 = "/ws/requests/1/"
SOON = 3 * PATIENCE  # a standby looks for slots every 30 s if nothing happens


class Pair:
    """The slot is on the primary and follows a failover. walpush's URL leads to whichever server is the primary."""

    def __init__(self, primary, app, directory, config):
        self.primary, self.app, self.config = primary, app, config
        directory.chmod(0o755)
        self.directory = directory
        self.standby = None
        config.set("replay.seconds", 1)
        self.set_up()

    def script(self):
        env = {"DATABASE_URL": "postgresql://unused/x", "JWT_SIGNING_KEY": SIGNING_KEY, "WALPUSH_SLOT": self.app.slot}
        file = self.config.write(self.directory / "sidecar.conf")
        done = run_to_end("sql", "-c", file, "--plugin", PLUGIN, env=env)
        assert done.returncode == 0, done.stderr
        path = self.directory / "setup.sql"
        path.write_text(done.stdout)
        return path

    def set_up(self):
        self.primary.psql(self.script(), {"failover": "on"}, dbname=self.app.name)
        self.app.sql(f"GRANT SELECT ON requests, crates, storages, sendbacks, user_units, roles, units TO {ROLE}")

    def begin_standby(self):
        """As docs/operations.md has it."""
        self.standby = fed_by_slot(self.primary, sync_replication_slots="on", dbname=self.app.name)
        self.primary.sql(f"ALTER SYSTEM SET synchronized_standby_slots = '{SLOT}'")
        self.primary.reload()
        return self.standby

    def url(self):
        servers = f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}"
        return f"postgresql://{ROLE}:{self.primary.passwords[ROLE]}@{servers}/{self.app.name}?target_session_attrs=primary"

    def check(self, server, name):
        """What `walpush check` says of that row, with a URL of that server."""
        env = {"DATABASE_URL": server.url(self.app.name), "JWT_SIGNING_KEY": SIGNING_KEY, "WALPUSH_SLOT": self.app.slot}
        done = run_to_end("check", "-c", self.config.write(self.directory / "sidecar.conf"), "--json", env=env)
        return [(one["state"], one["text"]) for one in json.loads(done.stdout)["findings"] if one["check"] == name]

    def wait_for_check(self, server, name, state, words):
        deadline = time.monotonic() + SOON
        while True:
            found = self.check(server, name)
            if any(one == state and words in text for one, text in found):
                return
            assert time.monotonic() < deadline, found
            # Its slot advances when the primary says what runs; on one that is idle this is seldom.
            self.primary.sql("SELECT pg_log_standby_snapshot()")
            time.sleep(0.5)

    def promote(self):
        self.app.close()
        self.standby.sql("SELECT pg_promote()")
        self.app.cluster = self.standby


@pytest.fixture
def pair(config, tmp_path):
    with Cluster(fsync=False) as primary:
        if int(primary.sql("SHOW server_version_num")[0][0]) < 170000:
            pytest.skip("slots follow a failover from PostgreSQL 17 on")
        with fresh_app(primary) as app:
            pair = Pair(primary, app, tmp_path, config)
            try:
                yield pair
            finally:
                app.close()
                app.cluster = primary
                if pair.standby:
                    pair.standby.remove()
                if primary.running:
                    primary.sql("ALTER SYSTEM RESET synchronized_standby_slots")


class Writer:
    """Inserts requests until it is stopped; those whose commit was confirmed are in `committed`, also of a server that died."""

    def __init__(self, app):
        self.app, self.committed, self.stopped = app, [], threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while not self.stopped.wait(0.005):
            try:
                self.committed.append(self.app.insert_request(1))
            except Exception:  # the primary is gone
                return

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()


def test_a_failover_loses_no_row_and_costs_each_client_one_resync(pair, tmp_path):
    app = pair.app
    standby = pair.begin_standby()
    with Walpush(pair.config, tmp_path, app, url=pair.url()) as walpush:
        pair.wait_for_check(pair.primary, "failover", "ok", "follows a failover")
        pair.wait_for_check(standby, "failover", "ok", "ready for a failover")
        clients = [walpush.subscribe(UNIT_1, user) for user in (ASHA, RAVI, ASHA)]
        with Writer(app) as before:
            time.sleep(1)
            mark = walpush.mark()
            pair.primary.kill()
        pair.promote()
        walpush.wait_for_log("streaming.*timeline=2", since=mark, timeout=SOON)
        with Writer(app) as after:
            time.sleep(1)
        kept = {key for (key,) in app.sql("SELECT id FROM requests")}
        app.touch(app.request, "the end")
        assert len(before.committed) > 20 and len(after.committed) > 20
        for client in clients:
            messages = client.recv_until(lambda m: (m.get("data") or {}).get("purpose", "").endswith("the end"), timeout=SOON)
            (at,) = [i for i, message in enumerate(messages) if message["type"] == "resync"]
            told_before = {m["request_id"] for m in messages[:at] if "request_id" in m}
            told_after = {m["request_id"] for m in messages[at:] if "request_id" in m}
            assert set(after.committed) <= told_after, "what is committed after the failover arrives"
            assert told_before <= kept, "synchronized_standby_slots: nothing is pushed that the standby lacks"
            # The rest was committed before the resync, and stands in the database when the client refetches. The last one may have been
            # committed when the primary died, and nobody told the writer.
            assert len(kept - told_before - told_after - set(before.committed) - {app.request, app.request2}) <= 1
            assert messages[at]["epoch"].split("-")[1] == "2"
        assert pair.check(standby, "slot-state") == [("ok", "has all its WAL")]


def test_a_slot_is_ready_when_the_replay_window_has_passed(pair, tmp_path):
    """The primary's slot is as far behind as walpush can replay, and a standby cannot take over what is older than itself."""
    app, window = pair.app, 300
    pair.config.set("replay.seconds", window)
    with Walpush(pair.config, tmp_path, app) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request)
        client.recv()
        pair.primary.sql("SELECT pg_log_standby_snapshot()")
        standby = pair.begin_standby()
        app.touch(app.request)
        pair.wait_for_check(standby, "failover", "warning", "not ready for a failover")
        time.sleep(5)
        app.touch(app.request)
        assert pair.check(standby, "failover")[0][0] == "warning", "the window has not passed"
        pair.config.set("replay.seconds", 1)
        walpush.stop()
    with Walpush(pair.config, tmp_path, app) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request)
        client.recv()
        pair.wait_for_check(standby, "failover", "ok", "ready for a failover")


def test_check_says_what_stops_the_pushes(pair, tmp_path):
    """A standby that is away, while the primary waits for it."""
    app = pair.app
    assert pair.check(pair.primary, "failover")[0][0] == "warning", "nothing is waited for yet"
    standby = pair.begin_standby()
    pair.wait_for_check(pair.primary, "failover", "ok", "to a standby of standby")
    with Walpush(pair.config, tmp_path, app, url=pair.url()) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        standby.stop()
        pair.wait_for_check(pair.primary, "failover", "failure", "no standby reads the slot standby")
        app.touch(app.request, "waits")
        with pytest.raises(TimeoutError):
            client.recv(timeout=1)
        standby.start()
        assert client.recv(timeout=SOON)["data"]["purpose"].endswith("waits")


def test_a_slot_that_is_there_is_made_to_follow(pair):
    """With the words of docs/operations.md."""
    app = pair.app
    app.drop_slot()
    app.sql("SELECT pg_create_logical_replication_slot(%s, %s)", app.slot, PLUGIN)
    assert "stays here" in pair.check(pair.primary, "failover")[0][1]
    (command,) = re.findall(r'`(psql "dbname=app replication=database" .*?)`', RUNBOOK)
    env = {"PGHOST": str(pair.primary.directory), "PGPORT": str(pair.primary.port), "PGUSER": "postgres"}
    env.update(PGPASSWORD=pair.primary.passwords["postgres"], PATH=f"{pair.primary.bin}:/usr/bin:/bin")
    command = command.replace("dbname=app", f"dbname={app.name}").replace("SLOT walpush", f"SLOT {app.slot}")
    subprocess.run(["bash", "-ec", command], env=env, check=True)
    assert app.sql("SELECT failover FROM pg_replication_slots WHERE slot_name = %s", app.slot) == [(True,)]
