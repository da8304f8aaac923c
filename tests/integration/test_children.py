"""Partitions and INHERITS children count as their parent, also those that are made while the process runs."""

import threading

import pytest

from harness.app import ASHA, PLUGIN, RAVI
from harness.proxy import proxy
from harness.redis import Redis
from test_ddl_trigger import install as install_ddl
from throwaway.config import Raw, section

PATH = "/ws/u/5/"
LIVE = r'msg="?live"?( |$)'

# With publish_via_partition_root a partition's rows are its root's from the first one on.
by_their_own_names = pytest.mark.skipif(PLUGIN == "pgoutput", reason="pgoutput sends the rows of partitions as their root's")


@pytest.fixture
def world(app, config):
    """ev is pushed and partitioned; m decides, and is partitioned; pay is pushed and has a child."""
    app.sql("CREATE SCHEMA parts")
    app.sql("GRANT USAGE ON SCHEMA parts TO walpush")
    app.sql("CREATE TABLE parts.ev (id int, unit int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)")
    app.sql("CREATE TABLE parts.ev_1 PARTITION OF parts.ev FOR VALUES FROM ('2025-01-01') TO ('2025-02-01')")
    app.sql("CREATE TABLE parts.other (id int)")
    app.sql("CREATE TABLE m (u int, unit int) PARTITION BY LIST (unit)")
    app.sql("CREATE TABLE m_5 PARTITION OF m FOR VALUES IN (5)")
    app.sql("CREATE TABLE pay (id serial PRIMARY KEY, unit int, v text)")
    app.sql("CREATE TABLE stripe_pay (acct text, PRIMARY KEY (id)) INHERITS (pay)")
    for table in ("parts.ev_1", "m_5", "pay", "stripe_pay"):
        app.sql(f"ALTER TABLE {table} REPLICA IDENTITY FULL")
    app.sql(f"INSERT INTO m VALUES ({ASHA}, 5), ({RAVI}, 5)")
    app.sql("GRANT SELECT ON m TO walpush")
    config.set("database.watch", 0.2)
    admit = "SELECT 1 FROM m WHERE u = {token.user_id} AND unit = {path.u}"
    config.set("streams.u", section(path="/ws/u/<int:u>/", admit=admit, groups=["u_{path.u}"]))
    config.set("tables.ev", section(**{"from": "parts.ev"}, type="ev", key="ev_id", groups=["u_{unit}"]))
    config.set("tables.pay", section(type="pay", key="pay_id", groups=["u_{unit}"]))
    return app


@pytest.fixture
def walpush(world, config, make_walpush):
    with make_walpush(world, config) as walpush:
        walpush.wait_for_log(LIVE)
        yield walpush


def test_rows_of_partitions_are_their_parents(world, walpush):
    with walpush.subscribe(PATH, ASHA) as client:
        world.sql("INSERT INTO parts.ev VALUES (1, 5, '2025-01-05')")
        world.sql("INSERT INTO parts.ev_1 VALUES (2, 5, '2025-01-06')")
        world.sql("DELETE FROM parts.ev WHERE id = 1")
        heard = [client.recv() for _ in range(3)]
        assert [m["type"] for m in heard] == ["ev.created", "ev.created", "ev.deleted"]
        assert heard[0]["data"] == {"id": 1, "unit": 5, "at": "2025-01-05"}


def test_a_partition_that_is_made_while_it_runs(world, walpush):
    with walpush.subscribe(PATH, ASHA) as client:
        world.sql("INSERT INTO parts.ev VALUES (1, 5, '2025-01-05')")
        with world.transaction() as cursor:
            cursor.execute("CREATE TABLE parts.ev_2 PARTITION OF parts.ev FOR VALUES FROM ('2025-02-01') TO ('2025-03-01')")
            cursor.execute("INSERT INTO parts.ev VALUES (2, 5, '2025-02-05')")
        world.sql("ALTER TABLE parts.ev_2 REPLICA IDENTITY FULL")
        world.sql("UPDATE parts.ev SET at = '2025-02-07' WHERE id = 1")
        heard = [m["type"] for m in client.recv_n(4)]
        assert heard == ["ev.created", "ev.created", "ev.deleted", "ev.created"]


def test_a_partition_that_is_made_in_an_other_order_and_attached(world, walpush):
    with walpush.subscribe(PATH, ASHA) as client:
        world.sql("CREATE TABLE parts.old (at date NOT NULL, gone text, unit int, id int NOT NULL)")
        world.sql("ALTER TABLE parts.old DROP gone")
        world.sql("INSERT INTO parts.old VALUES ('2024-01-05', 5, 7)")
        world.sql("ALTER TABLE parts.ev ATTACH PARTITION parts.old FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')")
        world.sql("INSERT INTO parts.ev VALUES (8, 5, '2024-02-05')")
        while (message := client.recv())["data"]["id"] != 8:
            pass
        assert message["data"] == {"id": 8, "unit": 5, "at": "2024-02-05"}


def test_rows_of_a_child_are_shown_as_the_parent_shows_them(world, walpush):
    with walpush.subscribe(PATH, ASHA) as client:
        world.sql("INSERT INTO stripe_pay (unit, v, acct) VALUES (5, 'child', 'x')")
        world.sql("UPDATE pay SET v = 'both'")
        heard = client.recv_n(2)
        assert [m["type"] for m in heard] == ["pay.created", "pay.updated"]
        assert heard[1]["data"] == {"id": 1, "unit": 5, "v": "both"}


def test_a_child_that_is_made_while_it_runs(world, walpush):
    with walpush.subscribe(PATH, ASHA) as client:
        with world.transaction() as cursor:
            cursor.execute("CREATE TABLE cash_pay (till int) INHERITS (pay)")
            cursor.execute("INSERT INTO cash_pay (unit, v, till) VALUES (5, 'cash', 3)")
        assert client.recv()["data"]["v"] == "cash"


@pytest.mark.parametrize("how", ["DELETE FROM m WHERE u = %s", "UPDATE m SET u = 99 WHERE u = %s", "DELETE FROM m_5 WHERE u = %s"])
def test_a_membership_in_a_partition_ends(world, walpush, how):
    with walpush.subscribe(PATH, ASHA) as client, walpush.subscribe(PATH, RAVI) as witness:
        with world.transaction() as cursor:
            cursor.execute(how, (ASHA,))
            cursor.execute("INSERT INTO parts.ev VALUES (1, 5, '2025-01-05')")
        assert client.close_code() == 4403
        assert witness.recv_until(lambda m: m.get("type") == "ev.created")


def test_a_membership_in_a_partition_made_while_it_runs(world, walpush):
    """It has no identity, and no key to stand for one: the next comparison finds it, and asks everybody."""
    world.sql("CREATE TABLE m_6 PARTITION OF m FOR VALUES IN (6)")
    world.sql("ALTER TABLE m_6 REPLICA IDENTITY FULL")
    world.sql(f"INSERT INTO m VALUES ({ASHA}, 6), ({RAVI}, 6)")
    world.settle(walpush)
    with walpush.subscribe("/ws/u/6/", ASHA) as client, walpush.subscribe("/ws/u/6/", RAVI) as witness:
        with world.transaction() as cursor:
            cursor.execute("DELETE FROM m WHERE u = %s AND unit = 6", (ASHA,))
            cursor.execute("INSERT INTO parts.ev VALUES (1, 6, '2025-01-05')")
        assert client.close_code() == 4403
        # A comparison that comes in between asks the witness too, and a resync stands for the row.
        assert witness.recv_until(lambda m: m.get("type") in ("ev.created", "resync"))


@by_their_own_names
def test_a_partition_that_moves_away_and_is_dropped(world, walpush):
    """It was never looked up: nobody can tell whose rows they were, so everybody looks again."""
    with walpush.subscribe(PATH, ASHA) as client:
        with world.transaction() as cursor:
            cursor.execute("CREATE TABLE parts.ev_3 PARTITION OF parts.ev FOR VALUES FROM ('2025-03-01') TO ('2025-04-01')")
            cursor.execute("INSERT INTO parts.ev VALUES (3, 5, '2025-03-05')")
            cursor.execute("DROP TABLE parts.ev_3")
        assert client.recv()["type"] == "resync"


def test_other_tables_of_the_schema_are_no_children(world, walpush):
    with walpush.subscribe(PATH, ASHA) as client:
        world.sql("CREATE TABLE parts.later (id int, unit int, at date)")
        world.sql("INSERT INTO parts.later VALUES (1, 5, '2025-01-05')")
        world.sql("INSERT INTO parts.other VALUES (1)")
        world.sql("INSERT INTO parts.ev VALUES (9, 5, '2025-01-05')")
        assert client.recv()["data"]["id"] == 9


@by_their_own_names
def test_a_partition_with_a_section_of_its_own_still_decides(world, config, make_walpush):
    config.set("tables.m_5", section(type="m", key="m_id", groups=["u_{unit}"]))
    with make_walpush(world, config) as walpush:
        walpush.wait_for_log(LIVE)
        with walpush.subscribe(PATH, ASHA) as client, walpush.subscribe(PATH, RAVI) as witness:
            world.sql("DELETE FROM m WHERE u = %s", ASHA)
            assert client.close_code() == 4403
            assert witness.recv_until(lambda m: m["type"] == "m.deleted")


# --- children that the stream was not asked for -----------------------------------------------------------------------------


@pytest.fixture
def far(world):
    world.sql("CREATE SCHEMA far")
    world.sql("GRANT USAGE ON SCHEMA far TO walpush")
    world.sql("CREATE TABLE far.spare (u int, unit int)")
    world.sql("CREATE TABLE spare (u int, unit int)")
    for table in ("far.spare", "spare"):
        world.sql(f"ALTER TABLE {table} REPLICA IDENTITY FULL")
        world.sql(f"INSERT INTO {table} VALUES ({ASHA}, 6), ({RAVI}, 6)")
    return world


DECIDING = {
    "made": (
        "CREATE TABLE far.m_6 PARTITION OF m FOR VALUES IN (6)",
        "ALTER TABLE far.m_6 REPLICA IDENTITY FULL",
        f"INSERT INTO m VALUES ({ASHA}, 6), ({RAVI}, 6)",
    ),
    "attached": ("ALTER TABLE m ATTACH PARTITION far.spare FOR VALUES IN (6)",),
    "known as another table": ("ALTER TABLE m ATTACH PARTITION spare FOR VALUES IN (6)",),
    "moved": ("DROP TABLE far.spare", "ALTER TABLE m ATTACH PARTITION spare FOR VALUES IN (6)", None, "ALTER TABLE spare SET SCHEMA far"),
    "moved back": (
        "ALTER TABLE m ATTACH PARTITION far.spare FOR VALUES IN (6)",
        None,
        "ALTER TABLE far.spare RENAME TO m_6",
        "ALTER TABLE far.m_6 SET SCHEMA public",
    ),
    "detached and attached": (
        "ALTER TABLE m ATTACH PARTITION far.spare FOR VALUES IN (6)",
        None,
        "ALTER TABLE m DETACH PARTITION far.spare",
        None,
        "ALTER TABLE m ATTACH PARTITION far.spare FOR VALUES IN (6)",
    ),
    "schema renamed": ("ALTER TABLE m ATTACH PARTITION far.spare FOR VALUES IN (6)", None, "ALTER SCHEMA far RENAME TO farther"),
}
NOTICED = "what decides permission has changed"


def is_followed(app, walpush, mark):
    """Noticed, and all is found out anew."""
    walpush.wait_for_log(NOTICED, since=mark)
    walpush.wait_for_log("what decides permission is found out", since=mark)
    app.settle(walpush)


def do(app, walpush, statements):
    """None: what was done before is noticed first."""
    mark = walpush.mark()
    for statement in statements:
        if statement:
            app.sql(statement)
        else:
            is_followed(app, walpush, mark)
            mark = walpush.mark()
    is_followed(app, walpush, mark)


@pytest.mark.parametrize("way", DECIDING)
def test_a_deciding_child_elsewhere(far, walpush, way):
    do(far, walpush, DECIDING[way])
    with walpush.subscribe("/ws/u/6/", ASHA) as client, walpush.subscribe("/ws/u/6/", RAVI) as witness:
        with far.transaction() as cursor:
            cursor.execute("DELETE FROM m WHERE u = %s AND unit = 6", (ASHA,))
            cursor.execute("INSERT INTO parts.ev VALUES (1, 6, '2025-01-05')")
        messages, code = client.drain_to_close()
        assert code == 4403
        assert {m["type"] for m in messages} <= {"resync"}
        assert witness.recv_until(lambda m: m.get("type") == "ev.created")


def test_a_deciding_child_is_detached(far, walpush):
    """With the table goes the permission, and its rows decide nothing any more. With pgoutput a partition that goes is a hole in the stream: a row
    beside it may be in the refetch that everybody is told then."""
    do(far, walpush, DECIDING["attached"])
    with walpush.subscribe("/ws/u/6/", ASHA) as client, walpush.subscribe(PATH, ASHA) as other:
        far.sql("ALTER TABLE m DETACH PARTITION far.spare")
        assert client.close_code() == 4403
        far.sql("DELETE FROM far.spare")
        far.sql("INSERT INTO parts.ev VALUES (1, 5, '2025-01-05')")
        assert other.recv_until(lambda m: m.get("type") in ("ev.created", *(["resync"] if PLUGIN == "pgoutput" else [])))


def test_a_plain_deciding_table_gets_a_child_that_was_there(far, config, make_walpush):
    far.sql("CREATE TABLE ban (who int)")
    far.sql("CREATE TABLE old_ban (who int)")
    far.sql("ALTER TABLE old_ban REPLICA IDENTITY FULL")
    far.sql("ALTER TABLE ban REPLICA IDENTITY FULL")
    far.sql("GRANT SELECT ON ban TO walpush")
    config.set("streams.u.admit", "SELECT 1 WHERE NOT EXISTS (SELECT FROM ban WHERE who = {token.user_id}) AND {path.u} > 0")
    with make_walpush(far, config) as walpush:
        walpush.wait_for_log(LIVE)
        do(far, walpush, ["ALTER TABLE old_ban INHERIT ban"])
        with walpush.subscribe(PATH, ASHA) as client, walpush.subscribe(PATH, RAVI) as witness:
            with far.transaction() as cursor:
                cursor.execute("INSERT INTO old_ban VALUES (%s)", (ASHA,))
                cursor.execute("INSERT INTO parts.ev VALUES (1, 5, '2025-01-05')")
            assert client.close_code() == 4403
            assert witness.recv_until(lambda m: m.get("type") == "ev.created")


LEAF = "CREATE TABLE far.ev_2 PARTITION OF parts.ev FOR VALUES FROM ('2025-02-01') TO ('2025-03-01')"
ROWS = {
    "made": (LEAF, "INSERT INTO parts.ev VALUES (2, 5, '2025-02-05')"),
    "inherits": ("CREATE TABLE far.cash () INHERITS (pay)", "INSERT INTO far.cash (unit, v) VALUES (5, 'cash')"),
    "known as another table": (
        "CREATE TABLE parts.ev_2 (id int NOT NULL, unit int, at date NOT NULL)",
        None,
        "ALTER TABLE parts.ev ATTACH PARTITION parts.ev_2 FOR VALUES FROM ('2025-02-01') TO ('2025-03-01')",
        "INSERT INTO parts.ev VALUES (2, 5, '2025-02-05')",
    ),
}


@pytest.mark.parametrize("way", ROWS)
def test_rows_of_a_child_elsewhere(far, config, make_walpush, way):
    """What was committed before it was noticed is a resync; from then on the rows come. With pgoutput a partition's come at once."""
    if way == "known as another table":
        far.sql(ROWS[way][0])
    *ddl, row = [s for s in ROWS[way][way == "known as another table" :] if s]
    with make_walpush(far, config) as walpush:
        walpush.wait_for_log(LIVE)
        with walpush.subscribe(PATH, ASHA) as client:
            for statement in (*ddl, row):
                far.sql(statement)
            if PLUGIN == "pgoutput" and way != "inherits":
                assert client.recv()["type"] == "ev.created"
            else:
                assert client.recv_until(lambda m: m["type"] == "resync" and m["reason"] == "skipped")
            far.settle(walpush)
            far.sql(row.replace("(2,", "(3,"))
            assert client.recv_until(lambda m: m["type"].endswith(".created"))[-1]["data"]["unit"] == 5


def test_a_child_elsewhere_with_the_event_trigger(far, config, make_walpush, tmp_path):
    """Its rows are read from the DDL's own commit on, and nobody is told to look again."""
    install_ddl(far, tmp_path)
    config.set("database.watch", 600)
    with make_walpush(far, config) as walpush:
        walpush.wait_for_log(LIVE)
        with walpush.subscribe(PATH, ASHA) as client:
            with far.transaction() as cursor:
                cursor.execute(LEAF)
                cursor.execute("INSERT INTO parts.ev VALUES (2, 5, '2025-02-05')")
            far.sql("INSERT INTO parts.ev VALUES (3, 5, '2025-02-06')")
            assert [m["data"]["id"] for m in client.recv_n(2)] == [2, 3]
            with far.transaction() as cursor:
                cursor.execute("ALTER TABLE m ATTACH PARTITION far.spare FOR VALUES IN (6)")
            far.settle(walpush)
        with walpush.subscribe("/ws/u/6/", ASHA) as client:
            far.sql("DELETE FROM m WHERE u = %s AND unit = 6", ASHA)
            assert client.close_code() == 4403


@pytest.fixture
def replicas(far, config, make_walpush):
    with Redis() as redis:
        config.set("relay", Raw(f'{{ url = "{redis.url}" }}'))
        first = make_walpush(far, config).start()
        first.wait_for_log(LIVE)
        yield first, make_walpush(far, config).start(streaming=False)


@by_their_own_names
def test_a_child_elsewhere_and_several_replicas(far, replicas):
    holder, other = replicas
    with holder.subscribe(PATH, ASHA) as here, other.subscribe(PATH, ASHA) as there:
        far.sql(LEAF)
        far.sql("INSERT INTO parts.ev VALUES (2, 5, '2025-02-05')")
        for client in (here, there):
            assert client.recv_until(lambda m: m["type"] == "resync" and m["reason"] == "skipped")
        far.settle(holder)
        far.sql("INSERT INTO parts.ev VALUES (3, 5, '2025-02-06')")
        for client in (here, there):
            assert client.recv_until(lambda m: m["type"] == "ev.created")[-1]["data"]["id"] == 3
    do(far, holder, DECIDING["attached"])
    with other.subscribe("/ws/u/6/", ASHA) as client, other.subscribe("/ws/u/6/", RAVI) as witness:
        with far.transaction() as cursor:
            cursor.execute("DELETE FROM m WHERE u = %s AND unit = 6", (ASHA,))
            cursor.execute("INSERT INTO parts.ev VALUES (4, 6, '2025-01-05')")
        assert client.close_code() == 4403
        assert witness.recv_until(lambda m: m.get("type") == "ev.created")


@by_their_own_names
def test_what_was_missed_is_known_to_the_replica_that_gets_the_slot(far, config, make_walpush):
    """The one before it, which noticed the child and missed rows of it, does not come back to the slot."""
    away = threading.Event()

    def request(first):
        return b"" if away.is_set() and b"\0replication\0" in first else None

    with Redis() as redis, proxy(far.cluster.port, request) as port:
        config.set("relay", Raw(f'{{ url = "{redis.url}" }}'))
        holder = make_walpush(far, config, url=far.url.replace(f":{far.cluster.port}/", f":{port}/")).start()
        holder.wait_for_log(LIVE)
        other = make_walpush(far, config).start(streaming=False)
        with holder.subscribe(PATH, ASHA) as here, other.subscribe(PATH, ASHA) as there:
            away.set()
            far.sql(LEAF)
            far.sql("INSERT INTO parts.ev VALUES (2, 5, '2025-02-05')")
            other.wait_for_log(r'msg="?streaming"?( |$)')
            for client in (here, there):
                assert client.recv_until(lambda m: m["type"] == "resync" and m["reason"] == "skipped")
            far.sql("INSERT INTO parts.ev VALUES (3, 5, '2025-02-06')")
            for client in (here, there):
                assert client.recv_until(lambda m: m["type"] == "ev.created")[-1]["data"]["id"] == 3


# --- children of several tables ---------------------------------------------------------------------------------------------


@pytest.fixture
def banned(world, config):
    """heir is a child of both tables that the admit query reads, and of two that are pushed."""
    world.sql("CREATE TABLE member (u int, unit int)")
    world.sql("CREATE TABLE ban (who int)")
    world.sql("CREATE TABLE heir () INHERITS (member, ban)")
    world.sql("CREATE TABLE bill (id int PRIMARY KEY, unit int)")
    world.sql("CREATE TABLE cost (id int PRIMARY KEY, unit int)")
    world.sql("CREATE TABLE both_of (PRIMARY KEY (id)) INHERITS (bill, cost)")
    for table in ("member", "ban", "heir", "bill", "cost", "both_of"):
        world.sql(f"ALTER TABLE {table} REPLICA IDENTITY FULL")
    world.sql("GRANT SELECT ON member, ban TO walpush")
    world.sql(f"INSERT INTO heir VALUES ({ASHA}, 5, 99), ({RAVI}, 5, 98)")
    admit = "SELECT 1 FROM member WHERE u = {token.user_id} AND unit = {path.u} AND NOT EXISTS (SELECT FROM ban WHERE who = {token.user_id})"
    config.set("streams.u.admit", admit)
    config.set("streams.c", section(path="/ws/c/<int:u>/", admit=admit, groups=["c_{path.u}"]))
    config.set("membership.member", section(user="u"))
    config.set("membership.ban", section(user="who"))
    config.set("tables.bill", section(type="bill", key="bill_id", groups=["u_{unit}"]))
    config.set("tables.cost", section(type="cost", key="cost_id", groups=["c_{unit}"]))
    return world


BANS = {
    "by the first": f"DELETE FROM heir WHERE u = {ASHA}",
    "by the second": f"UPDATE heir SET who = {ASHA} WHERE u = {RAVI}",
    "by an insert": f"INSERT INTO heir VALUES (NULL, NULL, {ASHA})",
}


@pytest.mark.parametrize("listed", [False, True], ids=["", "listed"])
def test_a_child_of_two_deciding_tables(banned, config, make_walpush, listed):
    """By each way the permission ends; then the rows are as they were."""
    bans = dict(BANS)
    if listed:
        config.set("tables.heir", section(type="heir", key="heir_id", groups=["h_{unit}"]))
        banned.sql("ALTER TABLE heir ADD id serial PRIMARY KEY")
        del bans["by an insert"]  # a row without a key would be needed
    with make_walpush(banned, config) as walpush:
        walpush.wait_for_log(LIVE)
        for key, (how, ban) in enumerate(bans.items()):
            with walpush.subscribe(PATH, ASHA) as client, walpush.subscribe(PATH, RAVI) as witness:
                with banned.transaction() as cursor:
                    cursor.execute(ban)
                    cursor.execute("INSERT INTO parts.ev VALUES (%s, 5, '2025-01-05')", (key,))
                messages, code = client.drain_to_close()
                assert (code, [m for m in messages if m["type"] == "ev.created"]) == (4403, []), how
                assert witness.recv_until(lambda m: m.get("type") == "ev.created"), how
            with banned.transaction() as cursor:
                cursor.execute("DELETE FROM heir")
                cursor.execute(f"INSERT INTO heir VALUES ({ASHA}, 5, 99), ({RAVI}, 5, 98)")
            banned.settle(walpush)


def test_a_child_of_two_pushed_tables(banned, config, make_walpush):
    banned.sql("INSERT INTO both_of VALUES (1, 5)")
    with make_walpush(banned, config) as walpush:
        walpush.wait_for_log(LIVE)
        with walpush.subscribe(PATH, ASHA) as bills, walpush.subscribe("/ws/c/5/", ASHA) as costs:
            for change, heard in (
                ("UPDATE bill SET unit = 5", "bill.updated"),
                ("INSERT INTO both_of VALUES (2, 5)", "bill.created"),
                ("DELETE FROM cost WHERE id = 2", "bill.deleted"),
                ("TRUNCATE both_of", "resync"),
            ):
                banned.sql(change)
                assert (bills.recv()["type"], costs.recv()["type"]) == (heard, "resync"), change
