"""Admit queries that are slow, locked, or not wanted any more delay nobody else."""

import contextlib
import json
import time

import pytest

from harness.app import ASHA, RAVI
from harness.client import PATIENCE

SLOW_UNIT = 100  # from there on the query sleeps
ADMIT = (
    "SELECT 1 FROM users u WHERE u.id = {token.user_id} AND u.is_active AND EXISTS (SELECT 1 FROM user_units m WHERE m.user_id = u.id"
    f" AND (m.unit_id = {{path.unit_id}} OR ({{path.unit_id}}::int >= {SLOW_UNIT} AND pg_sleep(300) IS NULL)))"
)
SESSIONS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'walpush' AND backend_type = 'client backend'"
)
SLEEPING = SESSIONS + " AND state = 'active' AND wait_event = 'PgSleep'"
OPEN, FAILED = 'walpush_admit_connections{state="open"}', 'walpush_admit_connections{state="failed"}'
CANCELLED = "walpush_admit_cancelled_total"
QUICK = "/ws/requests/1/"


@pytest.fixture
def config(config):
    config.set("streams.requests.admit", ADMIT)
    return config.set("database.statement-timeout", 300).set("limits.admit-timeout", 300)


def admissions(walpush):
    return json.loads(walpush.admin("/status").body)["admissions"]


def wait_until(wanted):
    deadline = time.monotonic() + PATIENCE
    while not wanted():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_for_sleeping(app, n):
    app.wait_until(SLEEPING.replace("count(*)", "count(*) = %s", 1), n)


@contextlib.contextmanager
def slow_connections(app, walpush, user, n):
    """So many connections of the user that wait for slow answers, each for one of its own."""
    with contextlib.ExitStack() as stack:
        before = admissions(walpush)["unanswered"]
        for i in range(n):
            stack.enter_context(walpush.connect(f"/ws/requests/{SLOW_UNIT + i}/", user))
        wait_until(lambda: admissions(walpush)["unanswered"] == before + n)
        yield


def test_a_user_with_slow_queries_keeps_nobody_out(app, walpush):
    """At first nobody knows that they are slow, and then it is known."""
    for cancelled in (1, 2):
        with slow_connections(app, walpush, ASHA, 12):
            wait_for_sleeping(app, 1)
            for _ in range(5):
                with walpush.subscribe(QUICK, RAVI):
                    assert app.value(SLEEPING) == 1
            assert admissions(walpush)["unanswered"] == 12
            wait_until(lambda: admissions(walpush)["database"]["slow"] == 11)
            assert walpush.metric(OPEN) == 2
        # Nobody waits for them: the one that ran is cancelled, and the others were never sent.
        wait_for_sleeping(app, 0)
        wait_until(lambda: not admissions(walpush)["database"]["slow"])
        assert walpush.metric(CANCELLED) == cancelled


def test_slow_users_share_one_connection(app, walpush):
    """All but the first question of each, because then nobody knows yet."""
    users = [app.insert_person(number, 1) for number in (101, 102, 103)]
    for user in users:
        with slow_connections(app, walpush, user, 1):
            wait_for_sleeping(app, 1)
            time.sleep(0.6)  # for so long it must run to be called slow
        wait_for_sleeping(app, 0)
    with contextlib.ExitStack() as stack:
        for user in users:
            stack.enter_context(slow_connections(app, walpush, user, 1))
        wait_until(lambda: admissions(walpush)["database"]["slow"] == 2)
        with walpush.subscribe(QUICK, RAVI):
            assert app.value(SLEEPING) == 1


def test_who_comes_in_the_same_moment_as_a_slow_one_does_not_wait_for_it(app, config, make_walpush):
    """They may be sent over one connection, one behind the other: then the later ones are asked about again over another one."""
    with make_walpush(app, config) as walpush, contextlib.ExitStack() as stack:
        for round in range(5):
            slow = stack.enter_context(walpush.connect(f"/ws/requests/{SLOW_UNIT + round}/", ASHA))
            quick = [stack.enter_context(walpush.connect(QUICK, RAVI)) for _ in range(3)]
            for client in quick:
                client.established()
            slow.close()
            wait_for_sleeping(app, 0)


def test_an_admission_waits_for_a_lock_until_it_is_too_late(app, config, make_walpush):
    config.set("limits.admit-timeout", PATIENCE)
    with make_walpush(app, config, url=app.url + "?options=-c%20lock_timeout%3D100ms") as walpush:
        blocker = app.connect(autocommit=False)
        with blocker.cursor() as cursor:
            cursor.execute("LOCK TABLE user_units")
        with walpush.connect(QUICK, RAVI) as client:
            walpush.wait_for_log("an admit query fails.*sqlstate=55P03")
            wait_until(lambda: walpush.metric("walpush_admit_queries_total") > 2)  # asked again
            assert admissions(walpush)["unanswered"] == 1
            blocker.close()
            client.established()
    config.set("limits.admit-timeout", 1)
    with make_walpush(app, config, url=app.url + "?options=-c%20lock_timeout%3D100ms") as walpush:
        blocker = app.connect(autocommit=False)
        with blocker.cursor() as cursor:
            cursor.execute("LOCK TABLE user_units")
        with walpush.connect(QUICK, RAVI) as client:
            assert client.close_code() == 1013
        blocker.close()


def test_where_a_connection_cannot_be_opened_the_open_ones_are_shared(app, config, make_walpush):
    """Said once, and it goes on when there is room again."""
    with make_walpush(app, config) as walpush:
        app.sql("ALTER ROLE walpush CONNECTION LIMIT 0")  # those that are open stay
        try:
            with slow_connections(app, walpush, ASHA, 1), walpush.connect(QUICK, RAVI) as client:
                line = walpush.wait_for_log("a connection for admissions cannot be opened")
                assert "open=1 most=4" in line and "too many connections for role" in line
                wait_until(lambda: walpush.metric(FAILED) == 1)
                assert walpush.admin("/readyz").status == 200
                app.sql("ALTER ROLE walpush CONNECTION LIMIT -1")
                client.established()
                walpush.wait_for_log("a connection for admissions can be opened again")
                assert walpush.metric(OPEN) == 2 and walpush.metric(FAILED) == 0
            assert walpush.log().count("a connection for admissions cannot be opened") == 1
        finally:
            app.sql("ALTER ROLE walpush CONNECTION LIMIT -1")


def test_one_connection_is_enough(app, config, make_walpush):
    config.set("database.admit-connections", 1)
    with make_walpush(app, config) as walpush:
        app.wait_until(SESSIONS.replace("count(*)", "count(*) = 5", 1))  # without the one that ends after a start
        with slow_connections(app, walpush, ASHA, 3), walpush.connect(QUICK, RAVI) as client:
            wait_for_sleeping(app, 1)
            wait_until(lambda: admissions(walpush)["unanswered"] == 4)
            assert app.value(SESSIONS) == 5
        # The snapshots' session cancels.
        wait_for_sleeping(app, 0)
        with walpush.subscribe(QUICK, RAVI):
            assert app.value(SESSIONS) == 5
        assert client


def test_a_connection_that_is_lost_takes_nobody_with_it(app, walpush):
    """What it was asked is asked again, over another one if there is one."""
    with slow_connections(app, walpush, ASHA, 1):
        wait_for_sleeping(app, 1)
        with walpush.subscribe(QUICK, RAVI):
            pass
        app.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'walpush' AND query LIKE '%%user_units%%'")
        with walpush.subscribe(QUICK, RAVI):
            assert admissions(walpush)["unanswered"] == 1
        wait_for_sleeping(app, 1)
