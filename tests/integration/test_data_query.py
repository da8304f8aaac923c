"""`data` from a query, for serializers with nested objects."""

import pytest

from harness.app import ASHA
from harness.client import assert_in_order

UNIT_1 = "/ws/requests/1/"
NESTED = (
    "SELECT jsonb_build_object('id', q.id, 'purpose', q.purpose, 'crate', jsonb_build_object('id', c.id, 'status', c.status))"
    " FROM requests q JOIN crates c ON c.id = q.crate_id WHERE q.id = {id}"
)


def nested(app, purpose):
    return {"id": app.request, "purpose": purpose, "crate": {"id": app.crate, "status": "Active"}}


def test_nested_data_in_the_order_of_the_stream(app, config, make_walpush):
    config.set("tables.requests.data-query", NESTED)
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request, "one")
        message = client.recv()
        assert message["data"] == nested(app, app.value("SELECT purpose FROM requests WHERE id = %s", app.request))
        assert list(message) == ["type", "action", "request_id", "status", "updated_at", "updated_by", "data", "id"]
        with app.transaction() as cursor:
            for number in range(40):
                cursor.execute("UPDATE requests SET purpose = %s WHERE id = %s", (str(number), app.request))
        messages = client.recv_n(40)
        assert_in_order(messages)
        assert all(m["data"] == nested(app, "39") for m in messages), "what the transaction left, for each of its rows"
        app.sql("DELETE FROM requests WHERE id = %s", app.request)
        assert client.recv()["data"] == {"id": app.request}


def test_a_row_that_has_vanished_has_no_data(app, config, make_walpush):
    """Its columns may hold what the query leaves out."""
    config.set("tables.requests.data-query", NESTED)
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        with app.transaction() as cursor:
            cursor.execute("UPDATE requests SET purpose = 'gone' WHERE id = %s", (app.request,))
            cursor.execute("DELETE FROM requests WHERE id = %s", (app.request,))
        updated, deleted = client.recv_n(2)
        assert updated["data"] is None and updated["truncated"] is True
        assert list(updated) == ["type", "action", "request_id", "status", "updated_at", "updated_by", "data", "truncated", "id"]
        assert deleted["action"] == "deleted" and deleted["data"] == {"id": app.request}


@pytest.mark.parametrize(
    "query, said",
    [
        ("SELECT to_jsonb(q) / 0 FROM requests q WHERE q.id = {id}", "a data query failed"),
        ("SELECT 'no ' || id FROM requests WHERE id = {id}", "does not return JSON"),
    ],
)
def test_a_query_that_fails_is_told_once_and_the_stream_goes_on(app, config, make_walpush, query, said):
    config.set("tables.requests.data-query", query)
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        for text in ("one", "two"):
            app.touch(app.request, text)
            message = client.recv()
            assert message["data"] is None and message["truncated"] is True
        assert len([line for line in walpush.lines if said in line]) == 1, walpush.log()


def test_the_bounds_are_those_of_a_row(app, config, make_walpush):
    config.set("tables.requests.data-query", "SELECT jsonb_build_object('id', id, 'text', repeat('x', 3000)) FROM requests WHERE id = {id}")
    config.set("limits.row-bytes", 2048)
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request)
        message = client.recv()
        assert message["data"] is None and message["truncated"] is True


def test_past_the_limit_nothing_is_asked_and_everybody_refetches(app, config, make_walpush):
    config.set("tables.requests.data-query", NESTED)
    config.set("limits.bulk", 3)
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        with app.transaction() as cursor:
            for number in range(10):
                cursor.execute("UPDATE requests SET purpose = %s WHERE id = %s", (str(number), app.request))
        messages = client.recv_n(4)
        assert [m["data"] for m in messages[:3]] == [nested(app, "9")] * 3
        assert messages[3]["type"] == "resync" and messages[3]["reason"] in ("bulk", "lookup")
        app.touch(app.request)
        assert client.recv()["type"] == "request.updated"
