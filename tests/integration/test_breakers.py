"""A query that waits for a lock, or is slow, delays its own rows for limits.answer and no others for longer; then rows do not ask it for a while.

The database is the real one, and so are the locks. What is asserted is order, counts and contents.
"""

import contextlib
import json
import signal

import pytest

from harness.app import ASHA
from harness.client import PATIENCE
from harness.metrics import wait_for_metric
from test_overlap import LAST
from throwaway.config import section

UNIT_1 = "/ws/requests/1/"
LEFT_OUT = "walpush_queries_left_out"


@contextlib.contextmanager
def locked(app, table):
    """Nobody else reads the table in the block."""
    connection = app.connect(autocommit=False)
    with connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
    try:
        yield
    finally:
        connection.rollback()
        connection.close()


@pytest.fixture
def world(app, config):
    """Two tables that queries read, and what is pushed with the help of them; `plain` asks nothing."""
    app.sql("CREATE TABLE names (id int PRIMARY KEY, name text)")
    app.sql("INSERT INTO names SELECT i, 'name ' || i FROM generate_series(1, 100) i")
    app.sql("CREATE TABLE prices (id int PRIMARY KEY, price int)")
    app.sql("INSERT INTO prices SELECT i, i * 10 FROM generate_series(1, 100) i")
    app.sql("CREATE TABLE plain (id serial PRIMARY KEY, n int)")
    for table in ("named", "priced", "looked"):
        app.sql(f"CREATE TABLE {table} (id serial PRIMARY KEY, n int)")
    for table in ("plain", "named", "priced", "looked"):
        app.sql(f"ALTER TABLE {table} REPLICA IDENTITY FULL")
    app.sql("GRANT SELECT ON names, prices TO walpush")
    everybody = ["everybody"]
    config.set("streams.requests.groups", [*everybody, "unit_{path.unit_id}"])
    config.set("tables.plain", section(type="plain", key="row_id", groups=everybody))
    named = "SELECT json_build_object('name', name) FROM names WHERE id = {n}"
    config.set("tables.named", section(**{"data-query": named}, type="named", key="row_id", groups=everybody))
    priced = "SELECT json_build_object('price', price) FROM prices WHERE id = {n}"
    config.set("tables.priced", section(**{"data-query": priced}, type="priced", key="row_id", groups=everybody))
    looked = "SELECT 1 AS unit FROM names WHERE id = {n}"
    config.set("tables.looked", section(lookup=looked, type="looked", key="row_id", groups=["unit_{lookup.unit}"]))
    # A slow machine does not make these queries slow for walpush, a lock does.
    config.set("limits.answer", 2).set("database.statement-timeout", 60).set("database.lock-timeout", 50)
    return app


@pytest.fixture
def walpush(world, config, make_walpush):
    """It knows which queries read a common table."""
    config.set("log.level", "debug")
    with make_walpush(world, config) as walpush:
        walpush.wait_for_log(r'msg="?live"?( |$)')
        walpush.wait_for_log(LAST)
        yield walpush


def status(walpush):
    return json.loads(walpush.admin("/status").body)


def test_a_lock_delays_its_own_rows_and_what_is_behind_them_comes(world, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        with locked(world, "names"):
            world.sql("INSERT INTO named (n) VALUES (1)")
            world.sql("INSERT INTO plain (n) SELECT generate_series(1, 3)")
            world.sql("INSERT INTO named (n) SELECT generate_series(2, 12)")
            world.sql("INSERT INTO priced (n) VALUES (7)")
            got = client.recv_n(16)
            assert [m["type"] for m in got] == ["named.created"] + ["plain.created"] * 3 + ["named.created"] * 11 + ["priced.created"]
            assert [m["data"] for m in got if m["type"] == "named.created"] == [None] * 12
            assert all(m["truncated"] for m in got if m["type"] == "named.created")
            assert got[-1]["data"] == {"price": 70}, "a query that reads another table is asked as always"
            assert wait_for_metric(walpush, 2, LEFT_OUT)("walpush_rows_unanswered_total") == 1, "one row waited, and no other"
        wait_for_metric(walpush, 0, LEFT_OUT)
        world.sql("INSERT INTO named (n) VALUES (5)")
        assert client.recv()["data"] == {"name": "name 5"}


def test_what_reads_the_same_table_is_left_out_too(world, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        with locked(world, "names"):
            world.sql("INSERT INTO named (n) VALUES (1)")
            assert client.recv()["data"] is None
            world.sql("INSERT INTO looked (n) VALUES (1)")
            assert client.recv_until(lambda m: m["type"] == "resync")[-1]["reason"] == "lookup"
            assert status(walpush)["queries_left_out"] != []
            shown = {q["query"]: q for q in status(walpush)["queries_left_out"]}
            assert {name.split()[-1] for name in shown} == {"named", "looked"}
            assert {q["table"] for q in shown.values()} == {"public.names"}
            assert walpush.admin("/readyz").body.startswith(b"ok, but")
        wait_for_metric(walpush, 0, LEFT_OUT)
        assert status(walpush)["queries_left_out"] == []


def test_a_running_query_is_cancelled(world, config, make_walpush):
    """The lock does not end it: its timeout is a minute."""
    with make_walpush(world, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        waiting = "SELECT count(*) = %s FROM pg_stat_activity WHERE usename = 'walpush' AND wait_event_type = 'Lock'"
        with locked(world, "names"):
            world.sql("INSERT INTO named (n) VALUES (1)")
            world.wait_until(waiting, 1)
            assert client.recv()["data"] is None
            walpush.wait_for_log("rows (do not ask a query|ask no query) for now")  # the second: none was out yet
            world.wait_until(waiting, 0)


def test_a_reload_asks_again(world, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        with locked(world, "names"):
            world.sql("INSERT INTO named (n) VALUES (1)")
            assert client.recv()["data"] is None
        mark = walpush.mark()
        walpush.send_signal(signal.SIGHUP)
        walpush.wait_for_log("the configuration is taken over", since=mark)
        wait_for_metric(walpush, 0, LEFT_OUT)
        world.sql("INSERT INTO named (n) VALUES (2)")
        assert client.recv()["data"] == {"name": "name 2"}


def test_a_lost_session_costs_no_answer(world, walpush):
    """The queries under way are asked again in the spare session."""
    sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'walpush' AND query LIKE '%%FROM names%%'"
    with walpush.subscribe(UNIT_1, ASHA) as client:
        for n in range(1, 6):
            world.sql("INSERT INTO named (n) VALUES (%s)", n)
            assert client.recv()["data"] == {"name": f"name {n}"}
            world.sql(sessions)
        world.sql("INSERT INTO named (n) VALUES (9)")
        assert client.recv(timeout=PATIENCE)["data"] == {"name": "name 9"}
