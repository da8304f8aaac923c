"""The message that ends its reader's connection, when the same transaction takes the reader's permission away."""

import pytest

from harness.app import ASHA, BOB, RAVI
from throwaway.config import Raw, section, template

UNIT_1 = "/ws/requests/1/"


def mine(user):
    return f"/ws/notifications/{user}/"


@pytest.fixture
def leaving(config):
    """A user who is suspended, or whose password changes, is told so personally and has to go."""
    config.set(
        "tables.accounts",
        section(
            **{"from": "users"},
            groups=["notifications_user_{id}"],
            only_actions=True,
            close=4000,
            actions=Raw(
                '{ suspended = { column = "status"  was = "Active"  changes = true }'
                '  password_changed = { column = "password"  changes = true }'
                '  removed = { on = "delete" } }'
            ),
            message=template({"type": "force_logout", "reason": "{action}", "timestamp": "{commit_time}"}),
        ),
    )
    return config


def assert_told_to_go(client, reason):
    messages, code = client.drain_to_close()
    assert [(m["type"], m.get("reason")) for m in messages] == [("force_logout", reason)]
    assert code == 4000


def test_it_reaches_who_loses_the_permission_and_nothing_else_does(app, leaving, make_walpush):
    with make_walpush(app, leaving) as walpush:
        with walpush.subscribe(mine(ASHA), ASHA) as own, walpush.subscribe(UNIT_1, ASHA) as unit:
            with walpush.subscribe(UNIT_1, RAVI) as other, walpush.subscribe(mine(RAVI), RAVI) as ravi:
                with app.transaction() as cursor:
                    cursor.execute("UPDATE requests SET purpose = 'before' WHERE id = %s", (app.request,))
                    cursor.execute(
                        "INSERT INTO sendbacks (request_id, reason, created_at, created_by_id, sendback_type)"
                        " VALUES (%s, 'for asha and ravi', now(), %s, 'Change Request')",
                        (app.request, RAVI),
                    )
                    cursor.execute("UPDATE users SET status = 'Suspended' WHERE id = %s", (ASHA,))
                    cursor.execute("UPDATE requests SET purpose = 'behind' WHERE id = %s", (app.request,))
                assert_told_to_go(own, "suspended")
                assert unit.drain_to_close() == ([], 4403)
                assert [m["data"]["purpose"] for m in other.recv_n(2)] == ["before", "behind"]
                assert ravi.recv()["type"] == "sendback.created"


def test_it_does_not_wait_for_admit(app, leaving, make_walpush):
    """The question whether it may go on listening is not answered yet; this much is certain."""
    admit = "SELECT 1 FROM users u JOIN roles r ON r.id = u.role_id WHERE u.id = {token.user_id} AND u.id = {path.user_id}"
    leaving.set("streams.notifications.admit", admit)
    with make_walpush(app, leaving) as walpush, walpush.subscribe(mine(ASHA), ASHA) as own:
        app.touch(app.request)
        blocker = app.connect(autocommit=False)
        with blocker.cursor() as cursor:
            cursor.execute("LOCK TABLE roles IN ACCESS EXCLUSIVE MODE")
        app.sql("UPDATE users SET status = 'Suspended' WHERE id = %s", ASHA)
        assert_told_to_go(own, "suspended")
        blocker.rollback()
        blocker.close()


@pytest.mark.parametrize("column", ["status", "password"])
def test_it_is_not_lost_with_the_history_of_its_group(app, leaving, make_walpush, column):
    """The transaction is larger than what is kept of the group: who has not read it is told to refetch, and closed as ever."""
    leaving.set("limits.group-bytes", 65536)

    def fill(cursor, n):
        cursor.execute(
            "INSERT INTO sendbacks (request_id, reason, created_at, created_by_id, sendback_type)"
            " SELECT %s, repeat('x', 5000), now(), %s, 'Change Request' FROM generate_series(1, %s)",
            (app.request, RAVI, n),
        )

    with make_walpush(app, leaving) as walpush:
        for before, behind in ((0, 40), (40, 0), (40, 40)):
            with walpush.subscribe(mine(ASHA), ASHA) as own, walpush.subscribe(mine(RAVI), RAVI) as other:
                with app.transaction() as cursor:
                    fill(cursor, before)
                    cursor.execute(f"UPDATE users SET {column} = 'Suspended' WHERE id = %s", (ASHA,))
                    fill(cursor, behind)
                messages, code = own.drain_to_close()
                assert code == 4000, (before, behind)
                assert other.recv()["type"] == "resync"  # before it the next would be lost with the same history
                app.sql("UPDATE users SET password = password || '.' WHERE id = %s", RAVI)
                messages, code = other.drain_to_close()
                assert ([m["type"] for m in messages], code) == (["force_logout"], 4000), (before, behind)
            app.sql("UPDATE users SET status = 'Active', password = 'hers' WHERE id = %s", ASHA)
            app.settle(walpush)


@pytest.mark.parametrize(
    "statement, reason",
    [
        ("UPDATE users SET password = 'new' WHERE id = %s", "password_changed"),
        ("UPDATE users SET status = 'Locked', password = 'new', is_active = false WHERE id = %s", "suspended"),
    ],
)
def test_every_connection_of_the_user_that_hears_of_it_goes(app, leaving, make_walpush, statement, reason):
    with make_walpush(app, leaving) as walpush, walpush.subscribe(mine(BOB), BOB) as bob:
        clients = [walpush.subscribe(mine(ASHA), ASHA) for _ in range(5)]
        app.sql(statement, ASHA)
        for client in clients:
            assert_told_to_go(client, reason)
        app.sql("UPDATE users SET password = 'his' WHERE id = %s", BOB)
        assert_told_to_go(bob, "password_changed")


def test_who_logs_in_again_stays(app, leaving, make_walpush):
    with make_walpush(app, leaving) as walpush:
        with walpush.subscribe(mine(ASHA), ASHA) as own:
            app.sql("UPDATE users SET status = 'Suspended' WHERE id = %s", ASHA)
            assert_told_to_go(own, "suspended")
        with walpush.connect(mine(ASHA), ASHA) as own:
            assert own.close_code() == 4403
        app.sql("UPDATE users SET status = 'Active' WHERE id = %s", ASHA)
        app.settle(walpush)
        with walpush.subscribe(mine(ASHA), ASHA) as own:
            app.insert_sendback(app.request)
            assert own.recv()["type"] == "sendback.created"
