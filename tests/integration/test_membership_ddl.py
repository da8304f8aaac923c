"""DDL takes a permission away, and no record of the log says so: it is noticed, everybody is asked, and it is found out anew."""

import time

import pytest

from harness.app import ASHA, RAVI
from throwaway.config import Raw, section

PATH = "/ws/u/5/"
LIVE = r'msg="?live"?( |$)'
CHANGED = "what decides permission has changed"
ROLES = ("trusts", "owns", "aside")


@pytest.fixture
def world(app, config):
    """m says who may hear of t in a unit."""
    app.sql("CREATE TABLE m (u int, unit int)")
    app.sql("ALTER TABLE m REPLICA IDENTITY FULL")
    app.sql(f"INSERT INTO m VALUES ({ASHA}, 5), ({RAVI}, 5)")
    app.sql("CREATE TABLE t (id int PRIMARY KEY, unit int)")
    app.sql("CREATE VIEW may AS SELECT u, unit FROM m")
    app.sql("CREATE VIEW may_2 AS SELECT u, unit FROM may")
    app.sql("CREATE TABLE guarded (u int, unit int)")
    app.sql("ALTER TABLE guarded ENABLE ROW LEVEL SECURITY")
    app.sql("ALTER TABLE guarded REPLICA IDENTITY FULL")
    app.sql(f"INSERT INTO guarded VALUES ({ASHA}, 5), ({RAVI}, 5)")
    app.sql("CREATE POLICY reads ON guarded FOR SELECT TO walpush USING (u > 0)")
    app.sql("CREATE FUNCTION yes(int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true'")
    app.sql("CREATE TYPE rank AS ENUM ('member', 'guest')")
    app.sql("CREATE DOMAIN unit_id AS int CHECK (VALUE > 0)")
    app.sql("CREATE TABLE ranked (u int, unit int, rank rank, tenant text)")
    app.sql("ALTER TABLE ranked REPLICA IDENTITY FULL")
    app.sql(f"INSERT INTO ranked VALUES ({ASHA}, 5, 'member', 'a'), ({RAVI}, 5, 'guest', 'b')")
    app.sql("CREATE TEXT SEARCH CONFIGURATION words (COPY = simple)")
    app.sql("CREATE TEXT SEARCH DICTIONARY stops (TEMPLATE = simple)")
    app.sql("CREATE COLLATION plain FROM \"C\"")
    app.sql("CREATE FUNCTION same(int, int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT $1 = $2'")
    app.sql("CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = same)")
    app.sql("CREATE FUNCTION number_of(rank) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'")
    app.sql("CREATE OPERATOR CLASS hashed FOR TYPE int USING hash AS OPERATOR 1 =, FUNCTION 1 hashint4(int)")
    for role in ROLES:
        app.sql(f"DROP ROLE IF EXISTS {role}")
        app.sql(f"CREATE ROLE {role}")
    app.sql("GRANT trusts TO walpush")
    app.sql("GRANT trusts TO owns")
    app.sql("ALTER ROLE walpush NOBYPASSRLS")
    app.sql("CREATE TABLE kept (u int, unit int)")
    app.sql("ALTER TABLE kept ENABLE ROW LEVEL SECURITY")
    app.sql("ALTER TABLE kept REPLICA IDENTITY FULL")
    app.sql(f"INSERT INTO kept VALUES ({ASHA}, 5), ({RAVI}, 5)")
    app.sql("CREATE POLICY trusted ON kept FOR SELECT TO trusts USING (true)")
    app.sql(f"CREATE POLICY all_but_asha ON kept FOR SELECT USING (u <> {ASHA})")
    app.sql("CREATE VIEW kept_by AS SELECT u, unit FROM kept")
    app.sql("GRANT SELECT ON kept TO owns")
    app.sql("ALTER VIEW kept_by OWNER TO owns")
    app.sql("GRANT SELECT ON m, may, may_2, guarded, ranked, kept, kept_by TO walpush")
    app.sql("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO walpush")
    config.set("database.watch", 0.2)
    config.set("streams.u", section(path="/ws/u/<int:u>/", admit="SELECT 1", groups=["u_{path.u}"]))
    config.set("tables.t", section(type="t", key="t_id", groups=["u_{unit}"]))
    yield app
    app.sql("ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM walpush")
    app.sql("ALTER ROLE walpush NOBYPASSRLS")
    app.sql("ALTER ROLE walpush RESET ALL")
    for role in ROLES:
        app.sql(f"DROP OWNED BY {role} CASCADE")
        app.sql(f"DROP ROLE {role}")


@pytest.fixture
def start(world, config, make_walpush):
    def start(admit):
        config.set("streams.u.admit", admit)
        walpush = make_walpush(world, config).start()
        walpush.wait_for_log(LIVE)
        return walpush

    return start


def by(relation):
    return f"SELECT 1 FROM {relation} WHERE u = {{token.user_id}} AND unit = {{path.u}}"


def insert(app, key):
    app.sql("INSERT INTO t VALUES (%s, 5)", key)


def transaction(app, *statements):
    with app.transaction() as cursor:
        for statement in statements:
            cursor.execute(statement)


def hears_on(app, client, key):
    """Without an identity an answer counts from its own position on: a row that is written before that is a resync, and the next one is heard."""
    insert(app, key)
    while (message := client.recv())["type"] == "resync":
        key += 1
        insert(app, key)
    assert message["t_id"] <= key


GONE = f"DELETE FROM m WHERE u = {ASHA}"
SWAP = ("CREATE TABLE m2 AS SELECT * FROM m", "ALTER TABLE m RENAME TO m_old", "ALTER TABLE m2 RENAME TO m")
WAYS = {
    # What the log does not print, or prints under another name.
    "swapped, and then": (by("m"), SWAP, GONE),
    "swapped by schema": (
        by("m"),
        ("CREATE SCHEMA other", "ALTER TABLE m SET SCHEMA other", f"CREATE TABLE m AS SELECT * FROM other.m WHERE u <> {ASHA}"),
    ),
    "renamed and back": (by("m"), ("ALTER TABLE m RENAME TO x", f"DELETE FROM x WHERE u = {ASHA}", "ALTER TABLE x RENAME TO m")),
    "identity nothing": (by("m"), ("ALTER TABLE m REPLICA IDENTITY NOTHING",), GONE),
    "identity gone and back": (
        by("m"),
        ("ALTER TABLE m REPLICA IDENTITY NOTHING", GONE, "ALTER TABLE m REPLICA IDENTITY FULL"),
    ),
    "identity index dropped": (
        by("m"),
        (
            "ALTER TABLE m ALTER u SET NOT NULL",
            "CREATE UNIQUE INDEX m_u ON m (u)",
            "ALTER TABLE m REPLICA IDENTITY USING INDEX m_u",
            "DROP INDEX m_u",
        ),
        GONE,
    ),
    "column swapped": (
        by("m"),
        (
            "ALTER TABLE m ADD unit_2 int",
            f"UPDATE m SET unit_2 = 5 WHERE u <> {ASHA}",
            "ALTER TABLE m RENAME unit TO unit_old",
            "ALTER TABLE m RENAME unit_2 TO unit",
        ),
    ),
    # What is between the query and its tables.
    "view replaced": (by("may_2"), (f"CREATE OR REPLACE VIEW may AS SELECT u, unit FROM m WHERE u <> {ASHA}",)),
    "view swapped": (
        by("may"),
        ("ALTER VIEW may RENAME TO may_old", f"CREATE VIEW may AS SELECT u, unit FROM m WHERE u <> {ASHA}"),
    ),
    "policy changed": (by("guarded"), (f"ALTER POLICY reads ON guarded USING (u <> {ASHA})",)),
    "policy added": (
        by("guarded"),
        (f"CREATE POLICY no ON guarded AS RESTRICTIVE FOR SELECT TO walpush USING (u <> {ASHA})",),
    ),
    "row security switched on": (
        by("m"),
        ("ALTER TABLE m ENABLE ROW LEVEL SECURITY", f"CREATE POLICY p ON m TO walpush USING (u <> {ASHA})"),
    ),
    "function replaced": (
        by("m") + " AND yes(u)",
        (f"CREATE OR REPLACE FUNCTION yes(int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT $1 <> {ASHA}'",),
    ),
    # What is compared with, and by whom.
    "enum value renamed": (
        by("ranked") + " AND rank::text IN ('member', 'guest')",
        ("ALTER TYPE rank RENAME VALUE 'member' TO 'former'",),
    ),
    "text search mapping dropped": (
        by("m") + f" AND (u <> {ASHA} OR to_tsvector('words'::regconfig, 'hello') @@ 'hello'::tsquery)",
        ("ALTER TEXT SEARCH CONFIGURATION words DROP MAPPING FOR asciiword",),
    ),
    "text search dictionary changed": (
        by("m") + f" AND (u <> {ASHA} OR ts_lexize('stops', 'Hello') = ARRAY['hello'])",
        ("ALTER TEXT SEARCH DICTIONARY stops (ACCEPT = false)",),
    ),
    "role of a policy revoked": (by("kept"), ("REVOKE trusts FROM walpush",)),
    "role of a view's owner revoked": (by("kept_by"), ("REVOKE trusts FROM owns",)),
    "BYPASSRLS taken": (by("kept"), ("ALTER ROLE walpush NOBYPASSRLS",)),
    "setting of the role": (
        by("ranked") + " AND tenant IS DISTINCT FROM coalesce(current_setting('app.without', true), '')",
        ("ALTER ROLE walpush SET app.without = 'a'",),
    ),
}
BEFORE = {"BYPASSRLS taken": ("REVOKE trusts FROM walpush", "ALTER ROLE walpush BYPASSRLS")}

# Looked at as DDL of what decides, although no row of a table can show it here.
SEEN = (
    "ALTER DOMAIN unit_id ADD CHECK (VALUE < 9)",
    "DROP COLLATION plain",
    "ALTER TYPE rank ADD VALUE 'owner'",
    "ALTER FUNCTION yes(int) COST 2",
    "ALTER OPERATOR === (int, int) SET (RESTRICT = eqsel)",
    "ALTER OPERATOR CLASS hashed USING hash RENAME TO scattered",
    "ALTER OPERATOR FAMILY hashed USING hash ADD OPERATOR 1 = (bigint, bigint)",
    "CREATE CAST (rank AS int) WITH FUNCTION number_of(rank)",
    "ALTER TYPE rank RENAME TO grade",
    "ALTER TEXT SEARCH CONFIGURATION words RENAME TO terms",
    "ALTER TEXT SEARCH CONFIGURATION terms DROP MAPPING FOR word",
    "GRANT aside TO trusts",
)
# What an application does all day.
UNSEEN = (
    "CREATE TEMP TABLE mine (id serial PRIMARY KEY, rank rank, units int[])",
    "CREATE TYPE pg_temp.colour AS ENUM ('red')",
    "CREATE DOMAIN pg_temp.small AS int CHECK (VALUE < 9)",
    "CREATE FUNCTION pg_temp.one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "ALTER TYPE pg_temp.colour RENAME VALUE 'red' TO 'blue'",
    "CREATE TABLE aside (id serial PRIMARY KEY, units int[])",
    "GRANT trusts TO aside",
    "ALTER ROLE owns SET work_mem = '8MB'",
    "VACUUM (ANALYZE, FREEZE) m",
    "DROP TABLE mine",
)


@pytest.mark.parametrize("way", WAYS)
def test_what_ddl_takes_away_is_noticed(world, start, way):
    admit, together, *then = WAYS[way]
    transaction(world, *BEFORE.get(way, ("SELECT",)))
    walpush = start(admit)
    with walpush.subscribe(PATH, ASHA) as client, walpush.subscribe(PATH, RAVI) as witness:
        insert(world, 1)
        assert (client.recv()["t_id"], witness.recv()["t_id"]) == (1, 1)
        transaction(world, *together)
        for statement in then:
            walpush.wait_for_log(CHANGED)
            world.sql(statement)
        messages, code = client.drain_to_close()
        assert code == 4403
        assert {m["type"] for m in messages} <= {"resync"}  # as long as a table has no identity, nobody knows since when an answer is so
        hears_on(world, witness, 2)


def test_what_else_is_looked_at(world, start):
    walpush = start(by("m"))
    for statement in SEEN:
        mark = walpush.mark()
        world.sql(statement)
        walpush.wait_for_log(CHANGED, since=mark)


def test_what_is_not_of_it_asks_nobody(world, start):
    walpush = start(by("m"))
    for statement in UNSEEN:
        world.sql(statement)
        time.sleep(0.4)
    assert walpush.metric("walpush_watched_changes_total") == 0


def test_what_is_found_anew_is_followed_by_the_log(world, start):
    """The view reads another table now, which nobody knew of. From there on the order is exact again."""
    walpush = start(by("may"))
    with walpush.subscribe(PATH, ASHA) as client, walpush.subscribe(PATH, RAVI) as witness:
        world.sql("CREATE TABLE n (u int, unit int)")
        world.sql("ALTER TABLE n REPLICA IDENTITY FULL")
        world.sql(f"INSERT INTO n VALUES ({ASHA}, 5), ({RAVI}, 5)")
        world.sql("CREATE OR REPLACE VIEW may AS SELECT u, unit FROM n")
        walpush.wait_for_log("the rules have changed")
        insert(world, 1)
        client.recv_until(lambda m: m.get("t_id") == 1)
        transaction(world, f"DELETE FROM n WHERE u = {ASHA}", "INSERT INTO t VALUES (2, 5)")
        assert client.close_code() == 4403
        assert witness.recv_until(lambda m: m.get("t_id") == 2)


def test_a_stranger_who_comes_later_closes_what_is_open(world, start):
    world.sql("CREATE TABLE names (u int, unit int, name varchar)")
    world.sql(f"INSERT INTO names VALUES ({ASHA}, 5, 'x')")
    world.sql("ALTER TABLE names REPLICA IDENTITY FULL")
    world.sql("GRANT SELECT ON names TO walpush")
    world.sql("DROP ROLE IF EXISTS late")
    world.sql("CREATE ROLE late")
    world.sql("GRANT CREATE ON SCHEMA public TO late")
    walpush = start(by("names") + " AND name = 'x'::text")
    try:
        with walpush.subscribe(PATH, ASHA) as client:
            world.sql(
                "SET ROLE late; CREATE FUNCTION yes(varchar, text) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true';"
                " CREATE OPERATOR = (LEFTARG = varchar, RIGHTARG = text, FUNCTION = yes); RESET ROLE"
            )
            assert client.close_code() == 1013
        world.sql("DROP OWNED BY late CASCADE")
        walpush.wait_for_log("the rules have changed", since=walpush.mark() - 1)
        with walpush.subscribe(PATH, ASHA):
            pass
    finally:
        world.sql("DROP OWNED BY late CASCADE")
        world.sql("DROP ROLE late")


def test_what_does_not_decide_asks_nobody(world, start):
    walpush = start(by("m"))
    with walpush.subscribe(PATH, ASHA) as client:
        world.sql("CREATE TABLE unrelated (id int)")
        world.sql("CREATE INDEX ON m (unit)")
        world.sql("ANALYZE m")
        world.sql("VACUUM m")
        world.sql("ALTER TABLE unrelated ADD x int")

        insert(world, 1)
        assert client.recv()["t_id"] == 1
        # Something that does: by then all of it was compared.
        world.sql("ALTER TABLE m ADD x int")
        walpush.wait_for_log(CHANGED)
        assert len([line for line in walpush.lines if CHANGED in line]) == 1


# --- the replica identity of what is pushed --------------------------------------------------------------------------------


LOSSES = {
    "default": ("ALTER TABLE t REPLICA IDENTITY DEFAULT",),
    "an index": (
        "ALTER TABLE t ALTER unit SET NOT NULL",
        "CREATE UNIQUE INDEX t_unit ON t (id, unit)",
        "ALTER TABLE t REPLICA IDENTITY USING INDEX t_unit",
    ),
    "a swap": (
        "CREATE TABLE t_new (LIKE t INCLUDING ALL)",
        "INSERT INTO t_new SELECT * FROM t",
        "ALTER TABLE t RENAME TO t_old",
        "ALTER TABLE t_new RENAME TO t",
    ),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("only, wanted", [(True, ["approved", "resync"]), (False, ["approved", "updated"])])
def test_an_action_that_cannot_be_told_is_not_passed_over(world, config, start, loss, only, wanted):
    """Without the old row nobody knows whether it became so now; a page that hears of actions alone must look again."""
    world.sql("ALTER TABLE t ADD status text")
    world.sql("ALTER TABLE t REPLICA IDENTITY FULL")
    world.sql("INSERT INTO t VALUES (1, 5, 'new'), (2, 5, 'new')")
    actions = "{ approved = { column = \"status\" becomes = \"approved\" } }"
    config.set("tables.t", section(type="t", key="t_id", groups=["all"], only_actions=only, actions=Raw(actions)))
    config.set("streams.u.groups", ["all"])
    walpush = start("SELECT 1")
    with walpush.subscribe(PATH, ASHA) as client:
        world.sql("UPDATE t SET status = 'approved' WHERE id = 1")
        first = client.recv()
        transaction(world, *LOSSES[loss])
        world.sql("UPDATE t SET status = 'approved' WHERE id = 2")
        heard = [first, client.recv_until(lambda m: m.get("t_id") == 2 or m["type"] == "resync")[-1]]
        assert [m.get("action") or m["type"] for m in heard] == wanted


@pytest.mark.parametrize("loss", ["ALTER TABLE t REPLICA IDENTITY NOTHING", "ALTER TABLE t DROP CONSTRAINT t_pkey"])
def test_updates_that_the_log_does_not_hold_are_said(world, start, loss):
    """Nothing comes that could be sent; the log says so, with what fixes it, and for as long as it is so."""
    walpush = start("SELECT 1")
    mark = walpush.mark()
    world.sql(loss)
    line = walpush.wait_for_log("does not hold the updates and deletes of a table", since=mark)
    assert "tables=public.t" in line and "REPLICA IDENTITY FULL" in line and "level=error" in line
    world.sql("ALTER TABLE t REPLICA IDENTITY FULL")


# --- what no record tells --------------------------------------------------------------------------------------------------


def test_a_grant_that_no_record_tells_shows_nothing_of_before(world, config, start):
    """Everybody is held back until the round's answer, which knows of the grant; what was held back is older, perhaps."""
    config.set("streams.u.groups", ["u_{admit.unit}"])
    world.sql("ALTER TABLE m REPLICA IDENTITY NOTHING")
    world.sql(f"INSERT INTO m VALUES ({ASHA}, 7)")
    walpush = start("SELECT unit FROM m WHERE u = {token.user_id} AND {path.u}::int > 0")
    walpush.wait_for_log("the log does not hold all changes")
    with walpush.subscribe(PATH, ASHA) as client:
        for _ in range(2):  # the first round begins at once, the second some seconds later
            mark = walpush.mark()
            world.sql("CREATE OR REPLACE FUNCTION yes(int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true'")
            walpush.wait_for_log(CHANGED, since=mark)
        world.sql("INSERT INTO t VALUES (1, 6)")
        mark = walpush.mark()
        world.sql(f"UPDATE m SET unit = 6 WHERE u = {ASHA} AND unit = 7")
        walpush.wait_for_log("admitted anew", since=mark)
        world.sql("INSERT INTO t VALUES (2, 6)")
        heard = client.recv_until(lambda m: m.get("t_id") == 2)
        assert heard[0]["type"] == "resync"
        assert [m["t_id"] for m in heard if "t_id" in m] == [2]


def test_it_is_looked_at_before_database_watch_has_passed(world, config, start):
    """The look, and what follows from it, take their time: so the next one begins earlier than that, on a busy machine now and then."""
    config.set("database.watch", 2)
    start(by("m"))
    session = "FROM pg_stat_activity WHERE datname = current_database() AND starts_with(query, 'WITH RECURSIVE rel ')"
    looks = [""]
    for _ in range(5):
        world.wait_until(f"SELECT max(query_start)::text <> %s {session}", looks[-1])
        looks.append(world.value(f"SELECT max(query_start)::text {session}"))
    early = "SELECT %s::timestamptz - %s::timestamptz < interval '2 s'"
    assert any(world.value(early, later, earlier) for earlier, later in zip(looks[1:], looks[2:])), looks
