"""A change that names no user asks everybody, in rounds: what they cost, what they hold back, and whom they keep waiting."""

import collections
import contextlib
import json
import os
import threading
import time

import pytest

from harness.app import ASHA, RAVI, SAM
from harness.client import PATIENCE, SLOWDOWN, Closed, lsn_number
from harness.proxy import proxy
from harness.walpush import patient
from throwaway.config import Raw, section, template

UNIT_1 = "/ws/requests/1/"
FIRST_USER = 101
# 5 changes a second are asked for; a slow machine does as many as it can.
PACE, CHANGES = 0.2, 30


def admissions(walpush):
    return json.loads(walpush.admin("/status").body)["admissions"]


def wait_for_admissions(walpush, wanted):
    deadline = time.monotonic() + PATIENCE
    while not wanted(now := admissions(walpush)):
        assert time.monotonic() < deadline, now
        time.sleep(0.01)
    return now


def settled(walpush):
    wait_for_admissions(walpush, lambda now: now["unanswered"] == now["held"] == 0)


def text_of(message):
    return (message.get("data") or {}).get("purpose", message["type"]).partition(" ")[2] or message["type"]


def hears_until(client, text):
    return [text_of(m) for m in client.recv_until(lambda m: text_of(m) == text)]


def change_a_role(app):
    """Of nobody here; the table names no user, so everybody is asked."""
    app.sql("UPDATE roles SET role_name = role_name || '.' WHERE role_name LIKE 'Store Head%%'")


def round_begins(app, walpush):
    """A change behind which the next one has to wait for 5 s."""
    before = admissions(walpush)["rounds"]
    change_a_role(app)
    wait_for_admissions(walpush, lambda now: now["rounds"] > before and now["unanswered"] == now["held"] == 0)


@contextlib.contextmanager
def listeners(walpush, users):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(walpush.subscribe(UNIT_1, user)) for user in users]


def people(app, n):
    return [app.insert_person(FIRST_USER + i, 1) for i in range(n)]


# --- what is heard ------------------------------------------------------------------------------------------------------


def test_one_change_in_a_round_makes_nobody_refetch_and_closes_whom_it_concerns(app, walpush):
    """It comes during a round, and is asked about by the next."""
    with walpush.subscribe(UNIT_1, ASHA) as client, walpush.subscribe("/ws/requests/2/", SAM) as admin:
        settled(walpush)
        round_begins(app, walpush)
        app.touch(app.request, "between")
        app.sql("UPDATE roles SET role_name = 'Nobody' WHERE role_name = 'System Admin'")
        app.touch(app.request2, "hidden")
        app.touch(app.request, "behind")
        assert admin.drain_to_close() == ([], 4403)
        assert hears_until(client, "behind") == ["between", "behind"]
    assert admissions(walpush)["rounds"] == 2


def test_what_lies_between_two_changes_of_one_round_is_never_heard(app, walpush):
    """Whether it could be heard nobody has asked, and later nobody can."""
    with walpush.subscribe("/ws/requests/2/", SAM) as admin, walpush.subscribe(UNIT_1, ASHA) as asha:
        settled(walpush)
        round_begins(app, walpush)
        app.touch(app.request2, "between")
        app.sql("UPDATE roles SET role_name = 'Nobody' WHERE role_name = 'System Admin'")
        app.touch(app.request2, "hidden")
        app.sql("UPDATE roles SET role_name = 'System Admin' WHERE role_name = 'Nobody'")
        app.touch(app.request2, "behind")
        app.touch(app.request, "asha's")
        assert hears_until(admin, "behind") == ["between", "resync", "behind"]
        assert hears_until(asha, "asha's") == ["asha's"]  # nothing of hers lies there
    assert admissions(walpush)["rounds"] == 2


def test_who_is_named_does_not_wait_for_a_round(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as asha, walpush.subscribe(UNIT_1, RAVI) as ravi:
        settled(walpush)
        began = time.monotonic()
        round_begins(app, walpush)
        change_a_role(app)
        app.revoke(ASHA, 1)
        late = time.monotonic() - began > 4  # the machine took the 5 s between two rounds to get here
        assert asha.close_code() == 4403
        assert late or admissions(walpush)["rounds"] == 1
        app.touch(app.request, "behind")
        assert hears_until(ravi, "behind")[-1] == "behind"


def test_a_close_between_two_changes_of_a_round_takes_effect(app, config, make_walpush):
    """Its message is skipped with all else; who was to go goes."""
    config.set(
        "tables.accounts",
        section(
            **{"from": "users"},
            groups=["notifications_user_{id}"],
            only_actions=True,
            close=4000,
            actions=Raw('{ password_changed = { column = "password"  changes = true } }'),
            message=template({"type": "force_logout", "reason": "{action}"}),
        ),
    )
    with make_walpush(app, config) as walpush, walpush.subscribe(f"/ws/notifications/{ASHA}/", ASHA) as own:
        settled(walpush)
        round_begins(app, walpush)
        change_a_role(app)
        app.sql("UPDATE users SET password = 'another' WHERE id = %s", ASHA)
        change_a_role(app)
        assert own.drain_to_close()[1] == 4000


def test_whose_answer_is_void_is_asked_again_in_the_same_round(app, walpush):
    """The question waits for a lock, and is answered behind a change that it did not know of."""
    with walpush.subscribe("/ws/requests/2/", SAM) as admin:
        settled(walpush)
        asked = admissions(walpush)["queries"]
        with app.transaction() as cursor:
            cursor.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
            change_a_role(app)
            app.wait_until("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'users'::regclass)")
            cursor.execute("UPDATE roles SET role_name = role_name || '!' WHERE role_name LIKE 'Store Head%%'")
        app.touch(app.request2, "behind")
        assert hears_until(admin, "behind") == ["behind"]
    assert (admissions(walpush)["queries"] - asked, admissions(walpush)["rounds"]) == (2, 1)


# --- an answer on its way -------------------------------------------------------------------------------------------------


@pytest.fixture
def held(app, cluster):
    """A way to the server on which the answer that tells an answer's position can be held back: the log goes on meanwhile."""

    class Held:
        open, came = threading.Event(), threading.Event()

        def __call__(self, data):
            # Its columns. Behind the queries of rows one more is asked for.
            if b"pg_current_wal_flush_lsn\0" in data and b"pg_current_wal_insert_lsn\0" in data and b"is_async\0" not in data:
                Held.came.set()
                Held.open.wait(PATIENCE)
            return data

        @classmethod
        def shut(cls):
            cls.came.clear()
            cls.open.clear()

    Held.open.set()
    with proxy(cluster.port, answer=Held) as port:
        Held.url = app.url.replace(f":{cluster.port}/", f":{port}/")
        assert Held.url != app.url
        yield Held
        Held.open.set()


def lose_and_hide(app, walpush):
    """The change is behind the position that is on its way; the log has met both it and the row."""
    app.touch(app.request2, "between")
    app.sql("UPDATE roles SET role_name = 'Nobody' WHERE role_name = 'System Admin'")
    app.touch(app.request2, "hidden")
    end = lsn_number(app.value("SELECT pg_current_wal_insert_lsn()::text"))
    deadline = time.monotonic() + PATIENCE
    while lsn_number(json.loads(walpush.admin("/status").body)["positions"]["published"]) < end:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_answer_counts_up_to_the_first_change_behind_it(app, config, make_walpush, held):
    config.set("limits.admit-timeout", 300)
    with make_walpush(app, config, url=held.url) as walpush, walpush.subscribe("/ws/requests/2/", SAM) as admin:
        settled(walpush)
        held.shut()
        change_a_role(app)
        assert held.came.wait(PATIENCE)
        lose_and_hide(app, walpush)
        held.open.set()
        messages, code = admin.drain_to_close()
        assert ([text_of(m) for m in messages], code) == (["between"], 4403)


def test_an_answer_to_who_comes_counts_as_far(app, config, make_walpush, held):
    config.set("limits.admit-timeout", 300)
    with make_walpush(app, config, url=held.url) as walpush:
        app.settle(walpush)
        held.shut()
        with walpush.connect("/ws/requests/2/", SAM) as admin:
            assert held.came.wait(PATIENCE)
            lose_and_hide(app, walpush)
            held.open.set()
            messages, code = admin.drain_to_close()
        assert ([text_of(m) for m in messages], code) == (["connection_established", "between"], 4403)


# --- what it costs ------------------------------------------------------------------------------------------------------


class Changes(threading.Thread):
    """Changes of the table that names no user, with a row of everybody's behind each."""

    def __init__(self, app):
        super().__init__(daemon=True)
        self.app, self.error = app, None

    def run(self):
        connection = self.app.connect()
        try:
            with connection.cursor() as cursor:
                for i in range(CHANGES):
                    began = time.monotonic()
                    cursor.execute("UPDATE roles SET role_name = 'Store Head ' || %s WHERE role_name LIKE 'Store Head%%'", (i,))
                    cursor.execute("UPDATE requests SET purpose = %s WHERE id = %s", (f"n {i}", self.app.request))
                    time.sleep(max(0, began + PACE - time.monotonic()))
        except Exception as error:  # the test's own thread reports it
            self.error = error
        finally:
            connection.close()


@pytest.mark.whole(reason="fewer listeners under a sanitizer")
def test_five_changes_a_second_cost_rounds_and_nobody_is_closed(app, config, make_walpush, capsys):
    n = int(os.environ.get("ROUND_LISTENERS", max(20, 300 / SLOWDOWN)))
    users, comers = people(app, n), [app.insert_person(FIRST_USER + n + i, 1) for i in range(40)]
    with make_walpush(app, config) as walpush, listeners(walpush, users) as clients:
        settled(walpush)
        before, began, waits = admissions(walpush), time.monotonic(), []
        changes = Changes(app)
        changes.start()
        while changes.is_alive():  # who comes meanwhile is admitted, whatever is under way
            at = time.monotonic()
            with walpush.subscribe(UNIT_1, comers[len(waits) % len(comers)]):
                waits.append(time.monotonic() - at)
            changes.join(PACE / 4)
        assert changes.error is None
        app.touch(app.request, "last")
        heard = [client.recv_until(lambda m: text_of(m) == "last") for client in clients]
        after, seconds = admissions(walpush), time.monotonic() - began
        refused = walpush.metric('walpush_admissions_total{result="refused"}')
    rounds = after["rounds"] - before["rounds"]
    for messages in heard:
        assert_complete([text_of(m) for m in messages])
        assert collections.Counter(m["type"] for m in messages)["resync"] <= rounds
    assert refused == 0
    assert 1 <= rounds <= 1 + seconds / 5
    # Whose answer a change makes void is asked up to three times in a round; so are comers, and by a round if they are still there.
    assert after["queries"] - before["queries"] <= 3 * rounds * (n + 1) + 10 * len(waits)
    with capsys.disabled():
        print(
            f"\n{CHANGES} changes, {n} connections: {rounds} rounds, {after['queries'] - before['queries']} queries;"
            f" {len(waits)} who came waited {max(waits) * 1000:.0f} ms at most"
        )


def assert_complete(texts):
    """In order, and what is missing is covered by a resync."""
    last = -1
    missed = False
    for text in texts[:-1]:
        if text == "resync":
            missed = True
            continue
        assert int(text) > last, texts
        assert int(text) == last + 1 or missed, texts
        last, missed = int(text), False
    assert last == CHANGES - 1 or missed, texts


# --- a slow database ----------------------------------------------------------------------------------------------------


@pytest.fixture
def slow(app, config):
    """Each admit query takes 20 ms where the table says so."""
    app.sql(
        "CREATE FUNCTION public.slowly() RETURNS boolean LANGUAGE plpgsql VOLATILE AS"
        " 'BEGIN PERFORM pg_sleep((SELECT max(seconds) FROM public.pace)); RETURN true; END'"
    )
    app.sql("CREATE TABLE pace (seconds float)")
    app.sql("INSERT INTO pace VALUES (0)")
    app.sql("GRANT SELECT ON pace TO walpush")
    config.set(
        "streams.requests.admit",
        "SELECT 1 FROM users u WHERE u.id = {token.user_id} AND u.is_active AND {path.unit_id}::int > 0 AND public.slowly()",
    )
    patient(config)
    return app


def test_a_round_that_takes_longer_than_the_admit_timeout_closes_nobody(slow, config, make_walpush):
    config.set("limits.admit-timeout", 1 * SLOWDOWN)
    users = people(slow, 150)
    with make_walpush(slow, config) as walpush, listeners(walpush, users) as clients:
        settled(walpush)
        slow.sql("UPDATE pace SET seconds = %s", 0.02 * SLOWDOWN)
        change_a_role(slow)
        slow.touch(slow.request, "behind")
        wait_for_admissions(walpush, lambda now: now["waiting"])
        with walpush.subscribe(UNIT_1, ASHA):  # who comes passes the queue
            assert admissions(walpush)["waiting"] > 0
        for client in clients:
            assert hears_until(client, "behind") == ["behind"]
        assert walpush.metric('walpush_admissions_total{result="refused"}') == 0


def test_a_database_that_answers_nothing_keeps_nobody_waiting_for_ever(slow, config, make_walpush):
    """Neither those who were asked about, nor those who wait for their turn."""
    config.set("limits.admit-timeout", 0.5)
    users = people(slow, 40)
    with make_walpush(slow, config) as walpush, listeners(walpush, users) as clients:
        settled(walpush)
        blocker = slow.connect(autocommit=False)
        with blocker.cursor() as cursor:
            cursor.execute("LOCK TABLE pace")
        change_a_role(slow)
        slow.touch(slow.request, "hidden")
        for client in clients:
            with pytest.raises(Closed) as closed:
                client.recv()
            assert closed.value.code == 1013
        blocker.close()
        with walpush.subscribe(UNIT_1, ASHA):
            pass
