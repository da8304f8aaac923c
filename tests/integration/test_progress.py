"""Connections that are up, and nothing moves: that is not ready, and it is said."""

import contextlib
import json
import os
import signal
import threading
import time

import pytest

from harness.app import ASHA, fresh_app
from harness.client import PATIENCE, SLOWDOWN
from throwaway.cluster import Cluster

UNIT_1 = "/ws/requests/1/"
LONG = 3 * PATIENCE * SLOWDOWN


def readiness(walpush, wanted, status):
    """Waits for it; what it says then."""
    deadline = time.monotonic() + LONG
    while True:
        answer = walpush.admin("/readyz")
        said = answer.body.decode()
        if answer.status == status and wanted in said:
            return said
        assert time.monotonic() < deadline, f"/readyz: {answer.status} {said}"
        time.sleep(0.1)


@pytest.fixture
def impatient(config):
    return config.set("admin.ready-seconds", 1)


def test_a_walsender_that_hangs_is_not_ready(app, impatient, make_walpush):
    with make_walpush(app, impatient) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        readiness(walpush, "ok", 200)
        walsender = app.reader()
        os.kill(walsender, signal.SIGSTOP)
        try:
            app.touch(app.request)
            assert "nothing has been handled" in readiness(walpush, "WAL waits", 503)
            assert walpush.metric("walpush_stalled_seconds") >= 1
            behind = json.loads(walpush.admin("/status").body)["positions"]["behind_bytes"]
            assert behind["received"] > 0 and behind["published"] > 0
            walpush.wait_for_log("WAL waits, and nothing is handled")
            assert walpush.admin("/healthz").status == 200
        finally:
            os.kill(walsender, signal.SIGCONT)
        assert client.recv()["request_id"] == app.request
        readiness(walpush, "ok", 200)
        assert walpush.metric("walpush_stalled_seconds") < 1
        walpush.wait_for_log("WAL is handled again")


def test_who_has_nothing_to_do_is_ready(app, impatient, make_walpush):
    """Also while another transaction has written and does not end: what is flushed of it is no whole record."""
    with make_walpush(app, impatient) as walpush, app.transaction() as cursor:
        cursor.execute("CREATE TABLE unfinished AS SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            assert walpush.admin("/readyz").status == 200, walpush.admin("/status").body
            assert json.loads(walpush.admin("/status").body)["waits_for"] is None
            time.sleep(0.2)


class Writer(threading.Thread):
    """Commits until it is told to stop. A server that is told to reload its settings does so a moment later."""

    def __init__(self, app):
        super().__init__(daemon=True)
        self.app, self.over, self.committed = app, threading.Event(), 0

    def run(self):
        while not self.over.wait(0.02):
            self.app.touch(self.app.request)
            self.committed += 1


def stays_unready_while_others_commit(app, walpush):
    """Of those who do not wait for a standby. That is received, and waits for the one before it."""
    with contextlib.closing(app.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = local")
        for _ in range(30):
            cursor.execute("UPDATE crates SET barcode = 'behind' WHERE id = %s", (app.crate,))
            time.sleep(0.1)  # between two looks of the process at itself there are ten of these
            assert walpush.admin("/readyz").status == 503


def test_a_commit_that_is_not_visible_is_said(impatient, make_walpush):
    """A synchronous standby is away: the commit waits, and so does whoever would hear of it."""
    with Cluster(fsync=False) as cluster, fresh_app(cluster) as app:
        app.set_up()
        with make_walpush(app, impatient) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
            readiness(walpush, "ok", 200)
            writer = Writer(app)
            with cluster.without_its_standby():
                writer.start()
                line = walpush.wait_for_log("a commit is not visible yet", timeout=LONG)
                assert "synchronous" in line
                readiness(walpush, "not visible yet", 503)
                stays_unready_while_others_commit(app, walpush)
                assert "synchronous standby" in json.loads(walpush.admin("/status").body)["waits_for"]
            writer.over.set()
            writer.join(LONG)
            client.recv_n(writer.committed)
            readiness(walpush, "ok", 200)
            assert json.loads(walpush.admin("/status").body)["waits_for"] is None
