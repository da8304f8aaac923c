"""Permission follows the database: what was taken away is not heard any more, from that very commit on."""

import json
import os
import time

import pytest

from harness.app import ASHA, PLAIN, RAVI, SAM, SECTION_HEAD
from harness.client import PATIENCE, Closed
from harness.walpush import ROW_MARK, patient

UNIT_1 = "/ws/requests/1/"
UNIT_2 = "/ws/requests/2/"
ROUNDS = int(os.environ.get("REVOCATIONS", "100"))


def admissions(walpush):
    return json.loads(walpush.admin("/status").body)["admissions"]


def wait_for_admissions(walpush, **wanted):
    """Until /status says so. Without arguments: until all are answered, and the log is where the answers were."""
    wanted = wanted or {"unanswered": 0, "held": 0}
    deadline = time.monotonic() + PATIENCE
    while True:
        now = admissions(walpush)
        if all(now[name] == value for name, value in wanted.items()):
            return now
        assert time.monotonic() < deadline, f"{now}, never {wanted}"
        time.sleep(0.01)


def test_a_user_who_leaves_the_unit_is_closed_and_nobody_else(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as asha, walpush.subscribe("/ws/crates/1/", ASHA) as crates, walpush.subscribe(
        UNIT_1, RAVI
    ) as ravi, walpush.subscribe(f"/ws/notifications/{ASHA}/", ASHA) as notes:
        wait_for_admissions(walpush)
        app.revoke(ASHA, 1)
        assert asha.close_code() == 4403
        assert crates.close_code() == 4403
        app.touch(app.request)
        assert ravi.recv()["request_id"] == app.request
        # The user is still a user: the personal stream goes on.
        key = app.insert_sendback(app.request)
        assert notes.recv()["sendback_id"] == key
    with walpush.connect(UNIT_1, ASHA) as client:
        assert client.close_code() == 4403
    app.grant(ASHA, 1)
    with walpush.subscribe(UNIT_1, ASHA):
        pass


@pytest.mark.parametrize(
    "change", ["status = 'Suspended'", "is_active = false"], ids=["suspended", "inactive"]
)
def test_a_user_who_is_locked_out_loses_every_stream(app, walpush, change):
    paths = (UNIT_1, "/ws/crates/1/", f"/ws/notifications/{ASHA}/")
    clients = [walpush.subscribe(path, ASHA) for path in paths]
    app.sql(f"UPDATE users SET {change} WHERE id = %s", ASHA)
    for client in clients:
        assert client.close_code() == 4403


def test_a_deleted_user_is_closed(app, walpush):
    user = app.insert_person(100, 1)
    app.settle(walpush)
    with walpush.subscribe(UNIT_1, user) as client:
        with app.transaction() as cursor:
            cursor.execute("DELETE FROM user_units WHERE user_id = %s", (user,))
            cursor.execute("DELETE FROM users WHERE id = %s", (user,))
        assert client.close_code() == 4403


def test_a_truncated_membership_table_closes_everybody_in_it(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as asha, walpush.subscribe(UNIT_1, SAM) as admin:
        app.sql("TRUNCATE user_units")
        app.touch(app.request)
        assert asha.close_code() == 4403
        messages = admin.recv_until(lambda m: m.get("request_id") == app.request)
        assert len(messages) <= 2, "at most a resync before it"


def test_a_membership_that_moves_to_another_user_concerns_both(app, walpush):
    new = app.insert_person(100)
    with walpush.subscribe(UNIT_1, ASHA) as old:
        with walpush.connect(UNIT_1, new) as client:
            assert client.close_code() == 4403
        app.sql("UPDATE user_units SET user_id = %s WHERE user_id = %s", new, ASHA)
        assert old.close_code() == 4403
    with walpush.subscribe(UNIT_1, new):
        pass


def test_a_role_that_loses_its_meaning(app, walpush):
    """Roles name no user: everybody is asked again, and those who may stay miss nothing."""
    with walpush.subscribe(UNIT_2, SAM) as admin, walpush.subscribe(UNIT_1, ASHA) as asha:
        wait_for_admissions(walpush)
        app.sql("UPDATE roles SET role_name = 'Nobody' WHERE role_name = 'System Admin'")
        app.touch(app.request)
        app.touch(app.request2)
        assert admin.close_code() == 4403
        assert asha.recv()["request_id"] == app.request


def test_an_unimportant_change_of_the_user_changes_nothing(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        app.sql("UPDATE users SET last_login = now() WHERE id = %s", ASHA)
        app.touch(app.request)
        assert client.recv()["request_id"] == app.request


def test_changes_of_the_revoking_transaction_itself_are_not_heard(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client, walpush.subscribe(UNIT_1, RAVI) as other:
        with app.transaction() as cursor:
            cursor.execute("UPDATE requests SET status = 'Issued' WHERE id = %s", (app.request,))
            cursor.execute("DELETE FROM user_units WHERE user_id = %s", (ASHA,))
            cursor.execute("UPDATE requests SET status = 'Returned' WHERE id = %s", (app.request,))
        assert client.close_code() == 4403
        assert [m["action"] for m in other.recv_n(2)] == ["issued", "returned"]


def test_what_was_committed_before_the_revocation_may_be_heard_what_after_never(app, walpush):
    """The race that counts: a change right behind each revocation, many times, under load from the other users."""
    leaks = []
    users = [app.insert_person(100 + i, 1) for i in range(ROUNDS)]
    with walpush.subscribe(UNIT_1, RAVI) as witness:
        for user in users:
            with walpush.subscribe(UNIT_1, user) as client:
                app.touch(app.request, f"before {user}")
                app.revoke(user, 1)
                app.touch(app.request, f"after {user}")
                messages, code = client.drain_to_close()
                assert code == 4403
                leaks += [m for m in messages if m["type"] == "request.updated" and m["data"]["purpose"].endswith(f"after {user}")]
        assert len(witness.recv_n(2 * ROUNDS)) == 2 * ROUNDS
    assert not leaks, f"{len(leaks)} of {ROUNDS} revoked users heard what was committed afterwards"


def test_a_connection_that_is_being_made_while_the_permission_goes(app, walpush):
    """Either it is not admitted, or it is closed: it never stays."""
    users = [app.insert_person(100 + i, 1) for i in range(ROUNDS)]
    for user in users:
        with walpush.connect(UNIT_1, user) as client:
            app.revoke(user, 1)
            app.touch(app.request, f"after {user}")
            messages, code = client.drain_to_close()
            assert code == 4403
            assert not [m.raw for m in messages if m.get("data") and m["data"]["purpose"].endswith(f"after {user}")]


def test_a_revocation_that_is_taken_back_loses_nothing_silently(app, walpush):
    """Closed, told to refetch, or nothing missing; never a gap without a word."""
    for i in range(20):
        with walpush.subscribe(UNIT_1, ASHA) as client:
            app.touch(app.request, f"{i} one")
            app.revoke(ASHA, 1)
            app.touch(app.request, f"{i} two")
            app.grant(ASHA, 1)
            app.touch(app.request, f"{i} three")
            heard = []
            try:
                heard = client.recv_until(lambda m: m.get("data") and m["data"]["purpose"].endswith(f" {i} three"))
            except Closed as closed:
                assert closed.code == 4403
                continue
            # What was written in the round before may still come first.
            texts = [m["type"] if not m.get("data") else m["data"]["purpose"].partition(" ")[2] for m in heard]
            texts = [text.rpartition(" ")[2] for text in texts if text == "resync" or text.startswith(f"{i} ")]
            said = [text for text in texts if text != "resync"]
            assert said == [text for text in ("one", "two", "three") if text in said], texts
            assert len(said) == 3 or "resync" in texts, texts
            assert "two" in said or "resync" in texts[texts.index("one") + 1 if "one" in said else 0 :], texts


@pytest.fixture
def all_units(app, config, make_walpush):
    """One connection for all units of the user: the groups come from admit's rows."""
    config.set(
        "streams.requests.admit",
        "SELECT m.unit_id FROM user_units m JOIN users u ON u.id = m.user_id"
        " WHERE m.user_id = {token.user_id} AND u.status = 'Active' AND {path.unit_id}::int >= 0",
    )
    config.set("streams.requests.groups", ["requests_unit_{admit.unit_id}"])
    with make_walpush(app, config) as walpush:
        yield walpush


def test_groups_that_are_joined_and_left_while_connected(app, all_units):
    with all_units.subscribe("/ws/requests/0/", ASHA) as client:
        app.touch(app.request2, "not mine")
        app.touch(app.request, "mine")
        assert client.recv()["request_id"] == app.request
        app.grant(ASHA, 2)
        assert client.recv()["type"] == "resync"
        app.touch(app.request2, "mine now")
        assert client.recv()["request_id"] == app.request2
        app.revoke(ASHA, 1)
        assert client.recv()["type"] == "resync"
        app.touch(app.request, "not mine any more")
        app.touch(app.request2, "still mine")
        assert client.recv()["data"]["purpose"].endswith("still mine")
        app.revoke(ASHA, 2)
        assert client.close_code() == 4403


def test_admit_that_cannot_answer_in_time_closes_with_1013(app, config, make_walpush):
    """Connections that are frozen are not kept in the dark for ever."""
    patient(config, 60).set("limits.admit-timeout", 1)
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        blocker = app.connect(autocommit=False)
        with blocker.cursor() as cursor:
            cursor.execute("LOCK TABLE user_units")  # which admit reads
        app.sql("UPDATE users SET role_id = %s WHERE id = %s", SECTION_HEAD, ASHA)
        app.touch(app.request)
        assert client.close_code() == 1013
        with walpush.connect(UNIT_1, RAVI) as late:
            assert late.close_code() == 1013
        blocker.close()
        with walpush.subscribe(UNIT_1, RAVI):
            pass


def test_a_subscriber_who_is_asked_again_for_an_unrelated_reason_misses_nothing(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        for i in range(1, 51):
            app.touch(app.request, f"n {i}")
            app.sql("UPDATE users SET role_id = %s WHERE id = %s", PLAIN if i % 2 else SECTION_HEAD, ASHA)
        app.touch(app.request, "n 51")
        heard = client.recv_until(lambda m: m.get("data") and m["data"]["purpose"].endswith("n 51"))
        pushed = [int(m["data"]["purpose"].rpartition(" ")[2]) for m in heard if m["type"] == "request.updated"]
        if not any(m["type"] == "resync" for m in heard):
            assert pushed == list(range(1, 52))
        assert pushed == sorted(set(pushed))
        assert ROW_MARK in heard[-1]["data"]["purpose"]
