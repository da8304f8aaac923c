"""What a section of `tables` can say: several of one table, rows that count, former values, groups that meet in one connection."""

import pytest

from harness.app import ASHA, BOB, RAVI
from harness.client import assert_in_order
from throwaway.config import Raw, section, template

UNIT_1, UNIT_2 = "/ws/requests/1/", "/ws/requests/2/"


def mine(user):
    return f"/ws/notifications/{user}/"


def test_two_sections_speak_of_one_table(app, config, make_walpush):
    """The unit hears of the request, its requester of the status alone, in words of its own; both in one stream's order."""
    config.set(
        "tables.status",
        section(
            **{"from": "public.requests"},
            groups=["notifications_user_{withdrawn_by_id}"],
            actions=Raw('{ moved_on = { column = "status"  changes = true } }'),
            only_actions=True,
            message=template({"type": "status", "request": "{id}", "now": "{status}", "before": "{old.status}", "id": "{event_id}"}),
        ),
    )
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, RAVI) as unit, walpush.subscribe(mine(ASHA), ASHA) as own:
        with app.transaction() as cursor:
            cursor.execute("UPDATE requests SET purpose = 'other' WHERE id = %s", (app.request,))
            cursor.execute("UPDATE requests SET status = 'Approved' WHERE id = %s", (app.request,))
        first, second = unit.recv_n(2)
        assert [m["type"] for m in (first, second)] == ["request.updated"] * 2
        told = own.recv()
        assert told == {"type": "status", "request": app.request, "now": "Approved", "before": "Pending", "id": told["id"]}
        assert_in_order([first, told, second])  # by row, then by section as the file has them


def test_when_is_a_soft_delete(app, config, make_walpush):
    config.set("tables.crates.when", Raw('( { column = "status"  equals = "Active" }, { column = "to_be_retained"  equals = false } )'))
    with make_walpush(app, config) as walpush, walpush.subscribe("/ws/crates/1/", ASHA) as client:

        def change(text):
            app.sql(f"UPDATE crates SET {text} WHERE id = %s", app.crate)

        change("barcode = 'a'")
        assert client.recv()["type"] == "crate.updated"
        change("status = 'Destroyed'")
        gone = client.recv()
        assert (gone["type"], gone["action"], gone["data"]) == ("crate.deleted", "deleted", {"id": app.crate})
        change("barcode = 'b'")  # nobody's business while it does not count
        change("to_be_retained = true, status = 'Active'")
        change("to_be_retained = false")
        back = client.recv()
        assert (back["type"], back["action"], back["data"]["barcode"]) == ("crate.created", "created", "b")
        app.insert_crate(1, status="Archived")
        key = app.insert_crate(1)
        assert client.recv()["crate_id"] == key
        change("status = 'Destroyed'")
        assert client.recv()["type"] == "crate.deleted"
        app.sql("DELETE FROM requests WHERE crate_id = %s", app.crate)
        app.sql("DELETE FROM crates WHERE id IN (%s, %s)", app.crate, key)
        gone = client.recv()
        assert (gone["type"], gone["crate_id"]) == ("crate.deleted", key), "the other one was gone before"


def test_a_soft_delete_that_moves_is_told_where_it_was(app, config, make_walpush):
    config.set("tables.crates.when", Raw('{ column = "status"  equals = "Active" }'))
    with make_walpush(app, config) as walpush, walpush.subscribe("/ws/crates/1/", ASHA) as one:
        with walpush.subscribe("/ws/crates/2/", BOB) as two:
            app.sql("UPDATE crates SET status = 'Withdrawn', unit_id = 2 WHERE id = %s", app.crate)
            gone = one.recv()
            assert (gone["type"], gone["data"]) == ("crate.deleted", {"id": app.crate})
            app.sql("UPDATE crates SET status = 'Active' WHERE id = %s", app.crate)
            assert two.recv()["type"] == "crate.created", "and of what it was elsewhere nothing"


@pytest.mark.parametrize(
    "before, after, action",
    [
        ("Rejected", "Pending", "reopened"),
        ("Rejected", "Approved", "forced"),  # the first that matches
        ("Approved", "Pending", "updated"),
        ("Rejected", "Rejected", "updated"),
    ],
)
def test_an_action_from_a_former_value(app, config, make_walpush, before, after, action):
    config.set(
        "tables.requests.actions",
        Raw(
            '{ forced = { column = "status"  was = "Rejected"  becomes = "Approved" }'
            '  reopened = { column = "status"  was = "Rejected" } }'
        ),
    )
    app.sql("UPDATE requests SET status = %s WHERE id = %s", before, app.request)
    with make_walpush(app, config) as walpush:
        app.settle(walpush)
        with walpush.subscribe(UNIT_1, ASHA) as client:
            app.sql("UPDATE requests SET status = %s, purpose = 'x' WHERE id = %s", after, app.request)
            assert client.recv()["action"] == action


def test_actions_on_insert_and_delete(app, config, make_walpush):
    config.set(
        "tables.requests.actions",
        Raw(
            '{ urgent = { on = "insert"  column = "status"  becomes = "Approved" }'
            '  asked = { on = "insert" }'
            '  dropped = { on = [ "delete" ]  column = "status"  was = "Approved" } }'
        ),
    )
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        keys = [app.insert_request(1, status=status) for status in ("Approved", "Pending")]
        for key in keys:
            app.sql("DELETE FROM requests WHERE id = %s", key)
        assert [m["action"] for m in client.recv_n(4)] == ["urgent", "asked", "dropped", "deleted"]


def test_a_former_value_names_a_group(app, config, make_walpush):
    """Who a request was taken from hears of it, beside the unit."""
    config.set("tables.requests.groups", ["requests_unit_{unit_id}", "notifications_user_{old.withdrawn_by_id}"])
    with make_walpush(app, config) as walpush, walpush.subscribe(mine(ASHA), ASHA) as asha:
        app.sql("UPDATE requests SET withdrawn_by_id = %s WHERE id = %s", RAVI, app.request)
        message = asha.recv()
        assert (message["request_id"], message["data"]["withdrawn_by"]) == (app.request, RAVI)
        app.sql("UPDATE requests SET purpose = 'his' WHERE id = %s", app.request)
        app.insert_request(1)  # it was nobody's before
        app.sql("UPDATE requests SET withdrawn_by_id = %s WHERE id = %s", ASHA, app.request)
        app.touch(app.request)
        assert asha.recv()["data"]["withdrawn_by"] == ASHA


@pytest.mark.parametrize("words", [None, {"row": "{id}", "text": "{purpose}", "id": "{event_id}"}])
def test_nothing_twice_to_a_connection_in_two_groups(app, config, make_walpush, words):
    """The one connection is in all groups of every request."""
    config.set("tables.requests.groups", ["requests_unit_{unit_id}", "all_requests"])
    config.remove("tables.requests.lookup")
    if words:
        config.set("tables.requests.message", template(words))
        config.remove("tables.requests.fields")
    config.set("streams.requests.groups", ["requests_unit_{path.unit_id}", "requests_unit_1", "all_requests"])
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_2, BOB) as client:
        with app.transaction() as cursor:
            for number in range(30):
                request = (app.request, app.request2)[number % 2]
                cursor.execute("UPDATE requests SET purpose = %s WHERE id = %s", (str(number), request))
        app.touch(app.request2, "end")
        messages = client.recv_n(31)
        assert_in_order(messages)
        texts = [m["text"] if words else m["data"]["purpose"] for m in messages]
        assert texts[:-1] == [str(n) for n in range(30)] and texts[-1].endswith("end")
