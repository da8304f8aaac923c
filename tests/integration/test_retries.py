"""Queries that are asked again after a loss: one that ends its server process is asked once more, and one that is only cut off as often as it takes."""

import contextlib
import json
import re
import time

import psycopg2
import pytest

from harness.app import ASHA, BOB, RAVI
from harness.client import PATIENCE, SLOWDOWN
from harness.forwarder import Forwarder
from harness.metrics import wait_for_metric
from harness.walpush import ROW_MARK, patient

UNIT_1, MINE = "/ws/requests/1/", f"/ws/notifications/{ASHA}/"
GIVEN_UP = "a query ended its server process twice"
QUERIES_GIVEN_UP = "walpush_queries_given_up_total"
LEFT_OUT = "walpush_queries_left_out"
CRASH = "all server processes terminated; reinitializing"
LOOKUP = "SELECT r.withdrawn_by_id AS user_id FROM requests r WHERE r.id = {request_id} AND public.deadly({request_id}::int)"
DATA = "SELECT jsonb_build_object('purpose', q.purpose) FROM requests q WHERE q.id = {id} AND public.deadly({id}::int)"
ADMIT = "SELECT 1 FROM users u WHERE u.id = {token.user_id} AND {path.unit_id}::int > 0 AND public.deadly({token.user_id}::int)"
WAITING_PID = "SELECT min(pid) FROM pg_stat_activity WHERE usename = 'walpush' AND wait_event_type = 'Lock'"


@pytest.fixture
def deadly(app, config):
    """A function that ends its server process with SIGKILL, as the system does where memory is short, for the numbers in `doomed`."""
    app.sql("CREATE TABLE doomed (number int PRIMARY KEY)")
    app.sql(
        "CREATE FUNCTION public.deadly(number int) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$ BEGIN"
        " IF EXISTS (SELECT FROM public.doomed d WHERE d.number = deadly.number) THEN"
        "  EXECUTE pg_catalog.format('COPY (SELECT 1) TO PROGRAM %L', 'kill -9 ' || pg_catalog.pg_backend_pid());"
        "  PERFORM pg_catalog.pg_sleep(600);"
        " END IF; RETURN true; END $$"
    )
    config.set("limits.admit-timeout", 60)
    return app


class Crashes:
    """How often the server has recovered since this was made."""

    def __init__(self, app):
        self._app = app
        self._before = self._count()

    def _count(self):
        return self._app.cluster.log().count(CRASH)

    def since(self):
        return self._count() - self._before

    def wait_for(self, n):
        """The server takes connections for a moment until it notices that a process has crashed."""
        deadline = time.monotonic() + PATIENCE
        while self.since() < n:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def connect_again(app):
    """The test's own connection ended too."""
    app.close()
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return app.sql("SELECT 1")
        except psycopg2.OperationalError:
            assert time.monotonic() < deadline
            app.close()
            time.sleep(0.05)


def doom(app, number):
    app.sql("INSERT INTO doomed VALUES (%s)", number)
    return Crashes(app)


def is_given_up(app, walpush, crashes, query):
    line = walpush.wait_for_log(GIVEN_UP, timeout=3 * PATIENCE)
    assert f'query="{query}"' in line and "docs/operations.md" in line
    crashes.wait_for(2)
    connect_again(app)
    wait_for_metric(walpush, 0, LEFT_OUT)


def test_a_lookup(deadly, config, make_walpush):
    config.set("tables.sendbacks.lookup", LOOKUP)
    with make_walpush(deadly, config) as walpush, walpush.subscribe(MINE, ASHA) as notes, walpush.subscribe(UNIT_1, ASHA) as unit:
        crashes = doom(deadly, deadly.request)
        deadly.insert_sendback(deadly.request)
        is_given_up(deadly, walpush, crashes, "lookup of sendbacks")
        assert notes.recv()["type"] == "resync"
        deadly.touch(deadly.request, "behind it")
        assert unit.recv()["data"]["purpose"].endswith("behind it")
        # With these values it fails at once from now on; with others it is asked.
        deadly.insert_sendback(deadly.request)
        assert notes.recv()["type"] == "resync"
        wait_for_metric(walpush, 0, LEFT_OUT)
        other = deadly.insert_request(1)
        key = deadly.insert_sendback(other)
        assert notes.recv()["sendback_id"] == key
        assert crashes.since() == 2
        wait_for_metric(walpush, 1, QUERIES_GIVEN_UP)
        assert json.loads(walpush.admin("/status").body)["given_up"] == {"questions": 1, "last_query": "lookup of sendbacks"}
        assert walpush.log().count(GIVEN_UP) == 1
        assert re.search(r"a lookup failed.*sqlstate=57P02", walpush.log())


def test_a_data_query(deadly, config, make_walpush):
    config.set("tables.requests.data-query", DATA)
    with make_walpush(deadly, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        crashes = doom(deadly, deadly.request)
        deadly.touch(deadly.request)
        is_given_up(deadly, walpush, crashes, "data-query of requests")
        message = client.recv()
        assert message["request_id"] == deadly.request and message["data"] is None and message["truncated"] is True
        other = deadly.insert_request(1)
        message = client.recv()
        assert message["request_id"] == other and message["data"]["purpose"].startswith(ROW_MARK)
        assert crashes.since() == 2


def test_an_admit_query(deadly, config, make_walpush):
    config.set("streams.requests.admit", ADMIT)
    with make_walpush(deadly, config) as walpush, walpush.subscribe(UNIT_1, RAVI) as witness:
        crashes = doom(deadly, ASHA)
        with walpush.connect(UNIT_1, ASHA) as client:
            assert client.close_code(timeout=3 * PATIENCE) == 1013
        is_given_up(deadly, walpush, crashes, "admit of requests")
        with walpush.connect(UNIT_1, ASHA) as client:
            assert client.close_code() == 1013
        with walpush.subscribe(UNIT_1, BOB):
            pass
        deadly.touch(deadly.request, "behind it")
        assert witness.recv()["data"]["purpose"].endswith("behind it")
        assert crashes.since() == 2


def test_an_actor_query(deadly, config, make_walpush):
    config.set("actor.query", "SELECT full_name FROM users WHERE id = {id} AND public.deadly({id}::int)")
    deadly.sql("GRANT SELECT ON users TO walpush")
    with make_walpush(deadly, config) as walpush, walpush.subscribe(UNIT_1, RAVI) as client:
        crashes = doom(deadly, ASHA)
        deadly.sql("UPDATE requests SET status = 'Approved', approved_by_id = %s WHERE id = %s", ASHA, deadly.request)
        is_given_up(deadly, walpush, crashes, "query of actor")
        message = client.recv()
        assert message["request_id"] == deadly.request and message["updated_by"] is None
        assert crashes.since() == 2


def test_a_crash_of_somebody_elses_gives_nothing_up(deadly, config, make_walpush):
    """However often: walpush's sessions are told why they end, and every question is asked again."""
    deadly.sql("CREATE TABLE gate AS SELECT 1 AS open")
    deadly.sql("GRANT SELECT ON gate TO walpush")
    patient(config).set("tables.sendbacks.lookup", LOOKUP.replace("requests r", "requests r, gate"))
    with make_walpush(deadly, config) as walpush, walpush.subscribe(MINE, ASHA) as notes:
        crashes = Crashes(deadly)
        for n in range(1, 4):
            blocker = deadly.connect(autocommit=False)
            with blocker.cursor() as cursor:
                cursor.execute("LOCK TABLE gate")
            key = deadly.insert_sendback(deadly.request)
            deadly.wait_until(f"SELECT ({WAITING_PID}) IS NOT NULL", timeout=3 * PATIENCE)
            with pytest.raises(psycopg2.OperationalError):
                deadly.sql("COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'")
            crashes.wait_for(n)
            connect_again(deadly)
            blocker.close()
            assert notes.recv(timeout=3 * PATIENCE)["sendback_id"] == key
        assert GIVEN_UP not in walpush.log() and crashes.since() == 3


def test_a_network_that_is_cut_again_and_again_gives_nothing_up(app, config, make_walpush):
    app.sql("CREATE TABLE gate AS SELECT 1 AS open")
    app.sql("GRANT SELECT ON gate TO walpush")
    patient(config).set("tables.sendbacks.lookup", "SELECT r.withdrawn_by_id AS user_id FROM requests r, gate WHERE r.id = {request_id}")
    with Forwarder(app.cluster.port) as network:
        url = app.url.replace(f":{app.cluster.port}/", f":{network.port}/")
        with make_walpush(app, config, url=url) as walpush, walpush.subscribe(MINE, ASHA) as notes:
            blocker = app.connect(autocommit=False)
            with contextlib.closing(blocker), blocker.cursor() as cursor:
                cursor.execute("LOCK TABLE gate")
                key = app.insert_sendback(app.request)
                for _ in range(6):
                    app.wait_until(f"SELECT ({WAITING_PID}) IS NOT NULL", timeout=30 * SLOWDOWN)
                    pid = app.value(WAITING_PID)
                    network.cut()
                    app.sql("SELECT pg_terminate_backend(%s)", pid)  # it does not notice while it waits; walpush does not hear of it
                    app.wait_until(f"SELECT coalesce(({WAITING_PID}) <> %s, false)", pid, timeout=30 * SLOWDOWN)
            assert notes.recv()["sendback_id"] == key
            assert GIVEN_UP not in walpush.log()
            wait_for_metric(walpush, 0, QUERIES_GIVEN_UP)
