"""A slot of pgoutput sends what its publication says. One that sends too little is refused at the start and at a reload, and noticed while walpush runs."""

import pytest

from harness.app import ASHA
from harness.client import PATIENCE
from test_reload import reload
from test_start import wait_until
from throwaway.config import section

UNIT_1 = "/ws/requests/1/"


@pytest.fixture
def published(app):
    """The tables of the application, one by one, and a slot behind them."""
    app.drop_slot()
    app.sql(f"DROP PUBLICATION IF EXISTS {app.slot}")
    names = app.value("SELECT string_agg(quote_ident(relname), ', ') FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
    app.sql(f"CREATE PUBLICATION {app.slot} FOR TABLE {names}")
    app.sql("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", app.slot)
    return app


def refused(walpush):
    """The log of a process that ends by itself."""
    walpush.spawn()
    assert walpush.process.wait(PATIENCE) == 2
    walpush.wait_for_log("does not send all")
    return walpush.log()


def take(app, table):
    app.sql(f"ALTER PUBLICATION {app.slot} DROP TABLE {table}")


def give(app, table):
    app.sql(f"ALTER PUBLICATION {app.slot} ADD TABLE {table}")


@pytest.mark.parametrize("table", ["requests", "user_units"])
def test_one_that_sends_too_little_is_refused_at_the_start(published, config, make_walpush, table):
    take(published, table)
    mend = f"ALTER PUBLICATION {published.slot} ADD TABLE ONLY public.{table};"
    assert mend in refused(make_walpush(published, config))
    published.sql(mend)
    with make_walpush(published, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        published.touch(published.request, "one")
        assert client.recv()["type"] == "request.updated"


def test_none_at_all_is_refused(published, config, make_walpush):
    published.sql(f"DROP PUBLICATION {published.slot}")
    assert "CREATE PUBLICATION" in refused(make_walpush(published, config))


def test_rows_that_decide_do_not_come_any_more(published, config, make_walpush):
    """Nobody is admitted until they do; and who comes back does not resume over that time."""
    config.set("database.watch", 1)
    with make_walpush(published, config) as walpush:
        with walpush.subscribe(UNIT_1, ASHA) as client:
            published.touch(published.request, "one")
            known = client.recv()
            epoch = client.hello["epoch"]
            take(published, "user_units")
            assert client.close_code() == 1013
        with walpush.connect(UNIT_1, ASHA) as client:
            assert client.close_code() == 1013
        ready = walpush.admin("/readyz")
        assert ready.status == 503 and b"the publication does not send what decides permission" in ready.body
        mark = walpush.mark()
        give(published, "user_units")
        walpush.wait_for_log("rows that decide permission come again", since=mark)
        wait_until(lambda: walpush.admin("/readyz").status == 200)
        with walpush.connect(f"{UNIT_1}?since={known['id']}&epoch={epoch}", ASHA) as client:
            assert "resumed" not in client.established()
            assert client.recv()["reason"] == "history"


def test_rows_of_a_page_do_not_come_any_more(published, config, make_walpush):
    config.set("database.watch", 1)
    with make_walpush(published, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        take(published, "requests")
        assert client.recv()["reason"] == "skipped"
        published.touch(published.request, "nobody hears")
        give(published, "requests")
        assert client.recv()["reason"] == "skipped"
        published.touch(published.request, "one")
        assert client.recv()["data"]["purpose"].endswith("one")


def test_a_child_that_joins(published, config, make_walpush):
    """What came of it before walpush knew it, or before it was published, is refetched."""
    published.sql("CREATE TABLE pay (id serial PRIMARY KEY, n int); CREATE SCHEMA far; GRANT USAGE ON SCHEMA far TO walpush")
    give(published, "pay")
    config.set("tables.pay", section(type="pay", key="row_id", groups=["requests_unit_{n}"])).set("database.watch", 1)
    with make_walpush(published, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        published.sql("CREATE TABLE far.cash (PRIMARY KEY (id)) INHERITS (pay); INSERT INTO far.cash (n) VALUES (1)")
        give(published, "ONLY far.cash")
        published.sql("INSERT INTO far.cash (n) VALUES (1)")
        assert client.recv()["reason"] == "skipped"
        published.sql("INSERT INTO far.cash (n) VALUES (1)")
        client.recv_until(lambda message: message["type"] == "pay.created")


def test_a_slot_that_is_made_later(published, config, make_walpush):
    """Its publication is looked at when it streams."""
    published.drop_slot()
    take(published, "user_units")
    walpush = make_walpush(published, config)
    walpush.start(streaming=False)
    walpush.wait_for_log("not streaming")
    published.sql("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", published.slot)
    walpush.wait_for_log("rows that decide permission do not come; nobody is admitted")
    give(published, "user_units")
    walpush.wait_for_log("rows that decide permission come again")
    with walpush.subscribe(UNIT_1, ASHA) as client:
        published.touch(published.request, "one")
        assert client.recv()["type"] == "request.updated"


def test_a_reload_needs_what_it_lists(published, config, make_walpush):
    published.sql("CREATE TABLE plain (id serial PRIMARY KEY, n int); ALTER TABLE plain REPLICA IDENTITY FULL")
    with make_walpush(published, config) as walpush:
        config.set("tables.plain", section(type="plain", key="row_id", groups=["requests_unit_{n}"]))
        assert f"ALTER PUBLICATION {published.slot} ADD TABLE ONLY public.plain;" in reload(walpush, config)["error"]
        give(published, "plain")
        assert "taken over" in reload(walpush, config)["msg"]
        with walpush.subscribe(UNIT_1, ASHA) as client:
            published.sql("INSERT INTO plain (n) VALUES (1)")
            while client.recv()["type"] != "plain.created":
                pass


@pytest.mark.parametrize("harm", ["TRUNCATE stock_1", "DROP TABLE stock_1", "ALTER TABLE stock DETACH PARTITION stock_1"])
def test_what_happens_to_a_partition_alone_counts_as_truncate(published, config, make_walpush, harm):
    """Published as its root, it is in no message. One that comes changes nothing for those that are there."""
    published.sql("CREATE TABLE stock (id int PRIMARY KEY, n int) PARTITION BY RANGE (id)")
    for number in (1, 2):
        published.sql(f"CREATE TABLE stock_{number} PARTITION OF stock FOR VALUES FROM ({number}00) TO ({number}99)")
    published.sql(f"ALTER PUBLICATION {published.slot} ADD TABLE stock")
    published.sql(f"ALTER PUBLICATION {published.slot} SET (publish_via_partition_root = true)")
    config.set("tables.stock", section(type="stock", key="row_id", groups=["requests_unit_{n}"])).set("database.watch", 1)
    with make_walpush(published, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        published.sql("INSERT INTO stock VALUES (100, 1), (200, 1)")
        assert [message["row_id"] for message in client.recv_n(2)] == [100, 200]
        published.sql("CREATE TABLE stock_3 PARTITION OF stock FOR VALUES FROM (300) TO (399)")
        published.sql("INSERT INTO stock VALUES (300, 1)")
        assert client.recv()["row_id"] == 300
        published.sql(harm)
        assert client.recv()["reason"] == "skipped"
        published.sql("INSERT INTO stock VALUES (201, 1)")
        assert client.recv()["row_id"] == 201


@pytest.mark.parametrize("root, leaf", [("FULL", "DEFAULT"), ("DEFAULT", "USING INDEX stock_1_n")])
def test_a_partition_is_described_as_its_root(published, config, make_walpush, root, leaf):
    """So its identity must say the same, or all."""
    published.sql("CREATE TABLE stock (id int PRIMARY KEY, n int NOT NULL) PARTITION BY RANGE (id)")
    published.sql("CREATE TABLE stock_1 PARTITION OF stock FOR VALUES FROM (1) TO (9); CREATE UNIQUE INDEX stock_1_n ON stock_1 (n)")
    published.sql(f"ALTER TABLE ONLY stock REPLICA IDENTITY {root}; ALTER TABLE stock_1 REPLICA IDENTITY {leaf}")
    published.sql(f"ALTER PUBLICATION {published.slot} ADD TABLE stock; ALTER PUBLICATION {published.slot} SET (publish_via_partition_root = true)")
    config.set("tables.stock", section(type="stock", key="row_id", groups=["requests_unit_{n}"]))
    mend = "ALTER TABLE ONLY public.stock_1 REPLICA IDENTITY FULL;"
    assert mend in refused(make_walpush(published, config))
    published.sql(mend)
    with make_walpush(published, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        published.sql("INSERT INTO stock VALUES (1, 1)")
        published.sql("UPDATE stock SET n = 2 WHERE id = 1")
        assert [(m["type"], m["action"]) for m in client.recv_n(2)] == [("stock.created", "created"), ("stock.deleted", "moved")]
