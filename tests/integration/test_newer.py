"""Content that a query made is not newer than the permission of who gets it.

The query of a row waits at a lock while other things are committed, so its answer knows them.
"""

import contextlib

import pytest

from harness.app import ASHA, RAVI
from harness.client import PATIENCE, Closed
from harness.metrics import wait_for_metric
from harness.walpush import ROW_MARK, patient
from throwaway.config import section
from test_order_lookup import WAITING, closed_gate

UNIT_1 = "/ws/requests/1/"
VOID = "walpush_answers_void_total"
DATA = "SELECT jsonb_build_object('purpose', q.purpose) FROM requests q, gate WHERE q.id = {id}"


@pytest.fixture
def gated(app, config):
    app.sql("CREATE TABLE gate AS SELECT 1 AS open")
    app.sql("GRANT SELECT ON gate TO walpush")
    patient(config).set("tables.requests.data-query", DATA).set("limits.admit-timeout", 60)
    return config


def removed(app):
    app.revoke(ASHA, 1)


def disabled(app):
    app.sql("UPDATE users SET is_active = false WHERE id = %s", ASHA)


def moved(app):
    app.sql("UPDATE requests SET unit_id = 2 WHERE id = %s", app.request)


def all_that_comes(client):
    messages = []
    with contextlib.suppress(Closed):
        while True:
            messages.append(client.recv(timeout=2 * PATIENCE))
            if messages[-1].get("request_id") == 0:
                break
    return messages


@pytest.mark.parametrize("change", [removed, disabled])
def test_who_was_removed_does_not_read_what_was_written_after(app, gated, make_walpush, change):
    with make_walpush(app, gated) as walpush, walpush.subscribe(UNIT_1, ASHA) as client, walpush.subscribe(UNIT_1, RAVI) as stays:
        with closed_gate(app):
            app.touch(app.request, "before")
            app.wait_until(WAITING)
            change(app)
            app.touch(app.request, "secret")
        first, second = stays.recv_n(2)
        assert (first["data"], first["truncated"]) == (None, True)
        assert second["data"] == {"purpose": f"{ROW_MARK} secret"}
        messages = all_that_comes(client)
        assert [m["data"] for m in messages if "data" in m] == [None]
        wait_for_metric(walpush, 1, VOID)


def test_who_sees_a_row_no_longer_does_not_read_what_it_became(app, gated, make_walpush):
    with make_walpush(app, gated) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        with closed_gate(app):
            app.touch(app.request, "before")
            app.wait_until(WAITING)
            moved(app)
            app.touch(app.request, "secret")
        updated, left = client.recv_n(2)
        assert (updated["action"], updated["data"], updated["truncated"]) == ("updated", None, True)
        assert left["action"] == "moved"
        wait_for_metric(walpush, 1, VOID)


def test_what_changes_no_permission_leaves_the_content(app, gated, make_walpush):
    other = app.insert_request(1)
    with make_walpush(app, gated) as walpush:
        app.settle(walpush)
        with walpush.subscribe(UNIT_1, ASHA) as client:
            with closed_gate(app):
                app.touch(app.request, "before")
                app.wait_until(WAITING)
                app.touch(app.request, "after")
                app.sql("DELETE FROM requests WHERE id = %s", other)
            messages = client.recv_n(3)
            assert [m["data"] for m in messages[:2]] == [{"purpose": f"{ROW_MARK} after"}] * 2
            wait_for_metric(walpush, 0, VOID)


def test_beside_a_transaction_that_writes_and_never_ends(app, gated, make_walpush):
    """The WAL goes on, and the stream has nothing of it: the server is asked how far it has sent."""
    app.sql("CREATE TABLE noise (text text)")
    with make_walpush(app, gated) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        with app.transaction() as cursor:
            for n in range(30):
                cursor.execute("INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 200)")
                app.touch(app.request, str(n))
                assert client.recv()["data"] == {"purpose": f"{ROW_MARK} {n}"}
        wait_for_metric(walpush, 0, VOID)


# What the row of unit 1 that was edited becomes in the same transaction, and who reads `secret` then.
AGAIN = {
    "it moves": "UPDATE docs SET unit_id = 2, body = 'secret' WHERE id = 5",
    "it gives its key away": "UPDATE docs SET id = 6 WHERE id = 5; UPDATE docs SET id = 5, body = 'secret' WHERE id = 7",
    "it gives its code away": "UPDATE docs SET code = 'c6' WHERE id = 5; UPDATE docs SET code = 'c5', body = 'secret' WHERE id = 7",
    "another one takes its place": "DELETE FROM docs WHERE id = 5; INSERT INTO docs VALUES (5, 'c5', 2, 'secret')",
}


@pytest.mark.parametrize("by", ["id", "code"])
@pytest.mark.parametrize("again", AGAIN)
def test_a_row_that_changes_again_in_its_own_transaction(app, config, make_walpush, again, by):
    """The answer to the question of its first change knows the last one."""
    app.sql("CREATE TABLE docs (id int PRIMARY KEY, code text UNIQUE, unit_id int, body text); ALTER TABLE docs REPLICA IDENTITY FULL")
    app.sql("INSERT INTO docs VALUES (5, 'c5', 1, ''), (7, 'c7', 2, '')")
    app.sql("GRANT SELECT ON docs TO walpush")
    data = f"SELECT jsonb_build_object('body', body) FROM docs WHERE {by} = {{{by}}}"
    config.set("tables.docs", section(**{"data-query": data}, type="doc", key="doc_id", groups=["requests_unit_{unit_id}"]))
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        with app.transaction() as cursor:
            cursor.execute("UPDATE docs SET body = 'draft' WHERE id = 5")
            cursor.execute(AGAIN[again])
        app.touch(app.request, "the end")
        heard = []
        while not heard or heard[-1]["type"] != "request.updated":
            heard.append(client.recv())
        assert [message["type"] for message in heard].count("doc.updated") >= 1
        assert not [message for message in heard if "secret" in message.raw]
