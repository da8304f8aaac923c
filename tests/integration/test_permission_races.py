"""Permission and data share one order: each race between them, held still.

Two doors, which the test shuts, hold things where they are. An admit query that has taken its snapshot waits at the user's door, an
advisory lock. The log waits at a note of a sendback, whose lookup reads a locked table: what commits behind it is visible, and not
met by the log yet.
"""

import contextlib
import json
import statistics
import time

import pytest

from harness.app import ASHA, PLUGIN, RAVI, SECTION_HEAD
from harness.client import PATIENCE, SLOWDOWN
from harness.walpush import patient
from throwaway.config import Raw, section

UNIT_1 = "/ws/requests/1/"
ADMIT = (
    "SELECT 1 FROM users u WHERE u.id = {token.user_id} AND u.is_active AND u.status = 'Active' AND (u.is_superuser OR"
    " EXISTS (SELECT 1 FROM user_units m WHERE m.user_id = u.id AND m.unit_id = {path.unit_id})) AND public.door(u.id)"
)
ADMIT_TIMEOUT = 2 * SLOWDOWN  # seconds, where a test waits until it is over; an answer takes less, also on a busy machine
AT_THE_DOOR = "SELECT count(*) = %s FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
AT_THE_GATE = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE relation = 'gate'::regclass AND NOT granted)"


@pytest.fixture
def doors(app, config):
    """The application and its configuration, with both doors, open."""
    app.sql(
        "CREATE FUNCTION public.door(number int) RETURNS boolean LANGUAGE plpgsql VOLATILE"
        " AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(number); RETURN true; END'"
    )
    app.sql("CREATE TABLE gate AS SELECT 1 AS open")
    app.sql("GRANT SELECT ON gate TO walpush")
    config.set("streams.requests.admit", ADMIT)
    config.set(
        "tables.sendbacks.lookup", "SELECT r.withdrawn_by_id AS user_id FROM requests r, gate WHERE r.id = {request_id}"
    )
    patient(config).set("limits.admit-timeout", 300)
    return app


@pytest.fixture
def start(doors, config, make_walpush):
    """Starts the process, and returns when it is live: a log that is stopped before that admits nobody."""

    def start():
        walpush = make_walpush(doors, config).start()
        walpush.wait_for_log(r'msg="?live"?( |$)')
        return walpush

    return start


@contextlib.contextmanager
def door_shut(app, user):
    connection = app.connect(autocommit=False)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (user,))
    try:
        yield
    finally:
        connection.close()


@contextlib.contextmanager
def log_stopped(app):
    """What is committed in the block is visible, and the log meets it behind it."""
    connection = app.connect(autocommit=False)
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE gate")
    try:
        app.insert_sendback(app.request)
        app.wait_until(AT_THE_GATE)
        yield
    finally:
        connection.close()


def admissions(walpush):
    return json.loads(walpush.admin("/status").body)["admissions"]


def wait_for_admissions(walpush, wanted):
    deadline = time.monotonic() + PATIENCE
    while not wanted(now := admissions(walpush)):
        assert time.monotonic() < deadline, now
        time.sleep(0.01)


def settled(walpush):
    """Waits until every answer counts: the log is where the answers were."""
    wait_for_admissions(walpush, lambda now: now["unanswered"] == now["held"] == 0)


def connected(walpush, n):
    wait_for_admissions(walpush, lambda now: now["connections"] == n)


def text_of(message):
    """What touch() wrote; of other messages their type."""
    return (message.get("data") or {}).get("purpose", message["type"]).partition(" ")[2] or message["type"]


def hears_until(client, text):
    return [text_of(m) for m in client.recv_until(lambda m: text_of(m) == text)]


def met(app, witness, text):
    """Commits a change, and returns when the log has met it."""
    app.touch(app.request, text)
    hears_until(witness, text)


# --- an answer on its way ----------------------------------------------------------------------------------------------


def test_an_answer_that_is_older_than_a_revocation_admits_nobody(doors, start):
    walpush = start()
    with walpush.subscribe(UNIT_1, RAVI) as witness:
        with door_shut(doors, ASHA):
            client = walpush.connect(UNIT_1, ASHA)
            doors.wait_until(AT_THE_DOOR, 1)
            doors.revoke(ASHA, 1)
            met(doors, witness, "hidden")
        assert client.drain_to_close() == ([], 4403)


def test_an_open_connection_waits_for_an_answer_from_behind_the_change(doors, start):
    """The first change asks; the answer has not seen the second one, and so it does not count."""
    walpush = start()
    with walpush.subscribe(UNIT_1, RAVI) as witness, walpush.subscribe(UNIT_1, ASHA) as client:
        settled(walpush)
        doors.touch(doors.request, "before")
        with door_shut(doors, ASHA):
            doors.sql("UPDATE users SET role_id = %s WHERE id = %s", SECTION_HEAD, ASHA)
            doors.wait_until(AT_THE_DOOR, 1)
            met(doors, witness, "waits")
            doors.revoke(ASHA, 1)
            met(doors, witness, "hidden")
        messages, code = client.drain_to_close()
        assert ([text_of(m) for m in messages], code) == (["before"], 4403)


def test_what_waits_for_an_answer_is_delivered_when_it_is_yes(doors, start):
    walpush = start()
    with walpush.subscribe(UNIT_1, RAVI) as witness, walpush.subscribe(UNIT_1, ASHA) as client:
        settled(walpush)
        with door_shut(doors, ASHA):
            with doors.transaction() as cursor:
                cursor.execute("UPDATE requests SET purpose = 'x with it' WHERE id = %s", (doors.request,))
                cursor.execute("UPDATE users SET role_id = %s WHERE id = %s", (SECTION_HEAD, ASHA))
            met(doors, witness, "behind it")
            with pytest.raises(TimeoutError):
                client.recv(timeout=0.2)
        assert hears_until(client, "behind it") == ["with it", "behind it"]


def test_an_answer_is_not_shared_with_who_asks_later(doors, config, start):
    """Nothing tells of the change: user_units is ignored here. Only the age of the answer can."""
    config.set("membership.user_units", section(ignore=True))
    walpush = start()
    with walpush.subscribe(UNIT_1, RAVI) as witness:
        with door_shut(doors, ASHA):
            early = [walpush.connect(UNIT_1, ASHA)]
            doors.wait_until(AT_THE_DOOR, 1)
            doors.revoke(ASHA, 1)
            met(doors, witness, "revoked")
            late = [walpush.connect(UNIT_1, ASHA) for _ in range(3)]
            connected(walpush, 5)
        assert early[0].established()
        assert [client.close_code() for client in late] == [4403] * 3


def test_who_asks_at_the_same_time_shares_the_answer(doors, start):
    walpush = start()
    before = admissions(walpush)
    with door_shut(doors, ASHA):
        clients = [walpush.connect(UNIT_1, ASHA)]
        doors.wait_until(AT_THE_DOOR, 1)
        clients += [walpush.connect(UNIT_1, ASHA) for _ in range(30)]
        connected(walpush, 31)
    for client in clients:
        client.established()
    after = admissions(walpush)
    assert after["asked"] - before["asked"] == 31
    assert after["queries"] - before["queries"] == 2


# --- an answer that knows more than the log ----------------------------------------------------------------------------


def test_a_grant_that_the_log_has_yet_to_meet_shows_nothing_of_before(doors, start):
    """Nor does a membership that ended and began again out of the log's sight."""
    walpush = start()
    user = doors.insert_person(100)
    doors.settle(walpush)
    with log_stopped(doors):
        doors.revoke(ASHA, 1)
        doors.touch(doors.request, "hidden")
        doors.grant(user, 1)
        doors.grant(ASHA, 1)
        doors.touch(doors.request, "granted")
        clients = [walpush.subscribe(UNIT_1, one) for one in (user, ASHA)]
    for client in clients:
        assert hears_until(client, "granted") == ["resync", "granted"]
    doors.touch(doors.request, "live")
    for client in clients:
        assert text_of(client.recv()) == "live"
        client.close()


def test_without_a_change_in_between_nothing_is_missing(doors, config, start):
    """The hello comes at once, and the wait for the log is no missing answer."""
    config.set("limits.admit-timeout", ADMIT_TIMEOUT)
    walpush = start()
    with walpush.subscribe(UNIT_1, RAVI) as witness:
        settled(walpush)
        with log_stopped(doors):
            doors.touch(doors.request, "one")
            client = walpush.subscribe(UNIT_1, ASHA)
            doors.touch(doors.request, "two")
            with pytest.raises(TimeoutError):
                client.recv(timeout=ADMIT_TIMEOUT + 0.5)
        with client:
            assert hears_until(client, "two") == ["one", "two"]
        assert hears_until(witness, "two") == ["one", "two"]


@pytest.mark.parametrize(
    "change, user",
    [("UPDATE users SET role_id = %s WHERE id = %s", (SECTION_HEAD, ASHA)), ("UPDATE roles SET is_active = NOT is_active", ())],
    ids=["of-the-user", "of-everybody"],
)
def test_a_change_behind_an_answer_that_waits_for_the_log_leaves_it_good(doors, start, change, user):
    """The first that the log meets behind the answer's position is the change itself."""
    walpush = start()
    with log_stopped(doors):
        doors.touch(doors.request, "one")
        doors.sql("SELECT pg_switch_wal()")  # the position is no transaction's end
        client = walpush.subscribe(UNIT_1, ASHA)
        wait_for_admissions(walpush, lambda now: now["held"] == 1)
        doors.sql(change, *user)
        doors.touch(doors.request, "two")
    with client:
        assert hears_until(client, "two") == ["one", "two"]


# --- since --------------------------------------------------------------------------------------------------------------


def coming_back(walpush, hello, last, user):
    return walpush.connect(f"{UNIT_1}?since={last}&epoch={hello['epoch']}", user)


def last_heard(app, walpush, user):
    with walpush.subscribe(UNIT_1, user) as client:
        app.touch(app.request, "last")
        return client.hello, client.recv_until(lambda m: text_of(m) == "last")[-1]["id"]


def test_since_from_before_a_change_of_membership_is_not_resumed(doors, start):
    """Another user's change is no reason; one for everybody counts for everybody."""
    walpush = start()
    hello, last = last_heard(doors, walpush, ASHA)
    other, other_last = last_heard(doors, walpush, RAVI)
    doors.revoke(ASHA, 1)
    doors.touch(doors.request, "missed")
    doors.grant(ASHA, 1)
    doors.settle(walpush)
    with coming_back(walpush, hello, last, ASHA) as client:
        assert "resumed" not in client.established()
        assert client.recv()["reason"] == "history"
        with coming_back(walpush, other, other_last, RAVI) as neighbour:
            assert neighbour.established()["resumed"] is True
            assert hears_until(neighbour, "missed") == ["missed"]
        doors.touch(doors.request, "after")
        assert hears_until(client, "after") == ["after"]
    doors.sql("UPDATE roles SET role_name = role_name || '!' WHERE role_name = 'User'")
    doors.settle(walpush)
    with coming_back(walpush, other, other_last, RAVI) as client:
        assert "resumed" not in client.established()


def test_a_change_that_the_log_has_yet_to_meet_ends_what_was_resumed(doors, start):
    walpush = start()
    hello, last = last_heard(doors, walpush, ASHA)
    doors.touch(doors.request, "missed")
    doors.settle(walpush)
    with log_stopped(doors):
        doors.revoke(ASHA, 1)
        doors.touch(doors.request, "hidden")
        doors.grant(ASHA, 1)
        client = coming_back(walpush, hello, last, ASHA)
        assert client.established()["resumed"] is True
        doors.touch(doors.request, "after")
    with client:
        assert hears_until(client, "after") == ["resync", "after"]


def test_a_grant_that_the_log_has_yet_to_meet_gives_nothing_of_what_is_resumed(doors, config, start):
    """The answer has seen the grant already, so its groups are those of later than the messages that are resumed."""
    config.set("streams.requests.admit", "SELECT m.unit_id FROM user_units m WHERE m.user_id = {token.user_id} AND {path.unit_id} > 0")
    config.set("streams.requests.groups", ["requests_unit_{admit.unit_id}"])
    doors.grant(RAVI, 2)
    walpush = start()
    with walpush.subscribe(UNIT_1, RAVI) as witness:
        hello, last = last_heard(doors, walpush, ASHA)
        doors.touch(doors.request2, "hidden")
        hears_until(witness, "hidden")
        with log_stopped(doors):
            doors.grant(ASHA, 2)
            client = coming_back(walpush, hello, last, ASHA)
            assert client.established()["resumed"] is True
            doors.touch(doors.request2, "after")
        with client:
            assert hears_until(client, "after") == ["resync", "after"]


def test_a_restart_forgets_no_change(doors, start):
    """The window is decoded again, memberships and all."""
    walpush = start()
    hello, last = last_heard(doors, walpush, ASHA)
    other, other_last = last_heard(doors, walpush, RAVI)
    doors.revoke(ASHA, 1)
    doors.touch(doors.request, "hidden")
    doors.grant(ASHA, 1)
    doors.settle(walpush)
    walpush.kill()
    walpush.start()
    with coming_back(walpush, hello, last, ASHA) as client:
        assert "resumed" not in client.established()
    with coming_back(walpush, other, other_last, RAVI) as client:
        assert client.established()["resumed"] is True


# --- whose membership ---------------------------------------------------------------------------------------------------


def test_a_row_without_an_old_image_asks_about_everybody(doors, start):
    doors.sql("ALTER TABLE user_units REPLICA IDENTITY DEFAULT")
    walpush = start()
    with walpush.subscribe(UNIT_1, ASHA) as client, walpush.subscribe(UNIT_1, RAVI) as other:
        settled(walpush)
        before = admissions(walpush)["asked"]
        doors.revoke(ASHA, 1)
        doors.touch(doors.request, "after")
        assert client.close_code() == 4403
        assert hears_until(other, "after") == ["after"]
        assert admissions(walpush)["asked"] == before + 2


def test_who_becomes_a_superuser_and_leaves_the_unit_at_once_stays(doors, start):
    walpush = start()
    with walpush.subscribe(UNIT_1, ASHA) as client:
        settled(walpush)
        with doors.transaction() as cursor:
            cursor.execute("DELETE FROM user_units WHERE user_id = %s", (ASHA,))
            cursor.execute("UPDATE requests SET purpose = 'x with it' WHERE id = %s", (doors.request,))
            cursor.execute("UPDATE users SET is_superuser = true WHERE id = %s", (ASHA,))
        doors.touch(doors.request, "after")
        assert hears_until(client, "after") == ["with it", "after"]
        doors.sql("UPDATE users SET is_superuser = false WHERE id = %s", ASHA)
        assert client.close_code() == 4403


def test_a_table_may_be_both_data_and_membership(doors, config, start):
    config.set(
        "tables.members",
        Raw('{ from = "user_units" type = "member" key = "member_id" groups = [ "requests_unit_{unit_id}" ] }'),
    )
    walpush = start()
    with walpush.subscribe(UNIT_1, ASHA) as client, walpush.subscribe(UNIT_1, RAVI) as witness:
        settled(walpush)
        doors.revoke(ASHA, 1)
        assert client.close_code() == 4403
        assert witness.recv()["type"] == "member.deleted"


# --- answers that are none ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "harm, code",
    [("UPDATE knob SET value = 'x'", 4403), ("DROP TABLE knob", 1013)],
    ids=["a value that does not fit", "a query that fails"],
)
def test_an_error_instead_of_an_answer(doors, config, start, harm, code):
    doors.sql("CREATE TABLE knob AS SELECT '1' AS value")
    doors.sql("GRANT SELECT ON knob TO walpush")
    if PLUGIN == "pgoutput":  # or the server refuses the update
        doors.sql("ALTER TABLE knob REPLICA IDENTITY FULL")
    config.set("streams.requests.admit", ADMIT + " AND (SELECT value FROM knob)::int = 1")
    walpush = start()
    with walpush.subscribe(UNIT_1, ASHA) as client:
        settled(walpush)
        doors.sql(harm)
        doors.sql("UPDATE users SET role_id = %s WHERE id = %s", SECTION_HEAD, ASHA)
        assert client.close_code() == code


def test_no_answer_in_time_closes_who_waits_and_nobody_else(doors, config, start):
    config.set("limits.admit-timeout", ADMIT_TIMEOUT)
    walpush = start()
    with walpush.subscribe(UNIT_1, ASHA) as client, walpush.subscribe(UNIT_1, RAVI) as other:
        settled(walpush)
        with door_shut(doors, ASHA):
            doors.sql("UPDATE users SET role_id = %s WHERE id = %s", SECTION_HEAD, ASHA)
            doors.touch(doors.request, "hidden")
            assert client.close_code() == 1013
        doors.touch(doors.request, "after")
        assert hears_until(other, "after") == ["hidden", "after"]


def test_a_message_that_closes_reaches_who_is_frozen_by_its_transaction(doors, config, start):
    """Locked out and logged out in one transaction: the last word is heard, and nothing else of it."""
    config.set(
        "tables.people",
        Raw('{ from = "users" type = "user" key = "user_id" groups = [ "requests_unit_{unit_id}" ]'
            ' columns = [ "id" ] actions = { locked = { column = "status" becomes = "Locked" close = 4001 } } }'),
    )
    walpush = start()
    with walpush.subscribe(UNIT_1, ASHA) as client:
        settled(walpush)
        with doors.transaction() as cursor:
            cursor.execute("UPDATE requests SET purpose = 'x hidden' WHERE id = %s", (doors.request,))
            cursor.execute("UPDATE users SET status = 'Locked' WHERE id = %s", (ASHA,))
        messages, code = client.drain_to_close()
        assert ([m["action"] for m in messages], code) == (["locked"], 4001)


# --- how soon -----------------------------------------------------------------------------------------------------------


@pytest.mark.whole(reason="it measures latency")
def test_how_soon_who_is_removed_is_closed(app, walpush, capsys):
    """In a transaction that also changes a request of the unit, which the user never sees."""
    took = []
    for i in range(20):
        user = app.insert_person(100 + i, 1)
        app.settle(walpush)
        with walpush.subscribe(UNIT_1, user) as client:
            settled(walpush)
            with app.transaction() as cursor:
                cursor.execute("UPDATE requests SET status = 'Issued' WHERE id = %s", (app.request,))
                cursor.execute("DELETE FROM user_units WHERE user_id = %s", (user,))
                cursor.execute("UPDATE requests SET status = 'Pending' WHERE id = %s", (app.request,))
                start = time.monotonic()
            assert client.drain_to_close() == ([], 4403)
            took.append(time.monotonic() - start)
    median, worst = statistics.median(took) * 1000, max(took) * 1000
    with capsys.disabled():
        print(f"\nfrom COMMIT to close of who was removed: median {median:.1f} ms, worst of {len(took)} {worst:.1f} ms")
    assert median < 1000 * SLOWDOWN
