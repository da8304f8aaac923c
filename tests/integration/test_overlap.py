"""Which queries read a common table: what the server's catalog says of admit queries, lookups, data-queries and the actor query."""

import json
import signal

import pytest

from harness.walpush import fields_of
from throwaway.config import section

LIVE = r'msg="?live"?( |$)'
SAID = "the tables that a query reads are "
LAST = SAID + r'(un)?known" query="query of actor"'


@pytest.fixture
def world(app, config):
    config.set("log.level", "debug")
    for table in ("one", "two", "three", "four"):
        app.sql(f"CREATE TABLE {table} (id int, note text)")
        app.sql(f"GRANT SELECT ON {table} TO walpush")
    return app


@pytest.fixture
def start(world, config, make_walpush):
    """With a section for each query: its name is that of the lookup, or of the data-query."""

    def start(queries=(), **lookups):
        for name, query in {**dict(queries), **lookups}.items():
            add(config, name, query)
        return make_walpush(world, config).start()

    return start


def add(config, name, query, option="lookup"):
    options = {"from": "requests", "type": name, "key": f"{name}_id", "groups": [f"{name}_{{id}}"], option: query}
    config.set(f"tables.{name}", section(**options))


def known(walpush, since=0):
    """What was said of each query, by its name; the actor query is the last one."""
    walpush.wait_for_log(LAST, since=since)
    said = [fields_of(line) for line in walpush.lines[since:] if SAID in line]
    return {fields["query"]: fields for fields in said}


def tables(said, name):
    return said[f"lookup of {name}"]["tables"]


def overlap(said, name):
    """The lookups of this file among those that it overlaps with."""
    others = said[f"lookup of {name}"]["overlaps"].split(", ")
    return {other.removeprefix("lookup of ") for other in others if other.startswith("lookup of ")}


def reads(table):
    return f"SELECT note FROM {table} WHERE id = {{id}}"


# --- what is followed -------------------------------------------------------------------------------------------------------


def test_a_view_over_two_tables_and_a_query_over_one_of_them(world, config, start):
    world.sql("CREATE VIEW pair AS SELECT one.id, two.note FROM one JOIN two USING (id)")
    world.sql("CREATE VIEW above AS SELECT id, note FROM pair")
    add(config, "data", "SELECT json_build_object('note', note) FROM two WHERE id = {id}", "data-query")
    said = known(start(through=reads("above"), first=reads("one"), third=reads("three"), other=reads("four")))
    assert tables(said, "through") == "public.one, public.two"
    assert said["data-query of data"]["tables"] == "public.two"
    assert said["data-query of data"]["overlaps"] == "lookup of through"
    assert overlap(said, "first") == {"through"}
    assert overlap(said, "through") == {"first"} and "data-query of data" in said["lookup of through"]["overlaps"]
    assert said["lookup of third"]["overlaps"] == ""


def test_admit_queries_and_the_actor_query_too(start):
    said = known(start(person="SELECT username FROM users WHERE id = {id}"))
    assert said["query of actor"]["tables"] == "public.users"
    assert "admit of requests" in said["query of actor"]["overlaps"]
    assert {"query of actor", "admit of requests"} <= set(said["lookup of person"]["overlaps"].split(", "))


FUNCTION = "CREATE FUNCTION {}(int) RETURNS text {} LANGUAGE {} AS $$ {} $$"

# What is made, the query's condition, and the tables that it reads besides `four`.
FUNCTIONS = {
    "sql": ([FUNCTION.format("f_sql", "STABLE", "sql", "SELECT note FROM one WHERE id = $1")], "f_sql(id)", ["one"]),
    "plpgsql": (
        [FUNCTION.format("f_pl", "VOLATILE", "plpgsql", "BEGIN RETURN (SELECT note FROM public.two WHERE id = $1); END")],
        "f_pl(id)",
        ["two"],
    ),
    "nested": (
        [
            FUNCTION.format("f_inner", "STABLE", "sql", "SELECT note FROM three WHERE id = $1"),
            FUNCTION.format("f_outer", "STABLE", "sql", "SELECT f_inner($1)"),
        ],
        "f_outer(id)",
        ["three"],
    ),
    "a_view_in_it": (
        [
            "CREATE VIEW seen AS SELECT * FROM three",
            FUNCTION.format("f_view", "STABLE", "sql", "SELECT note FROM seen WHERE id = $1"),
        ],
        "f_view(id)",
        ["three"],
    ),
    "quoted": (
        ['CREATE TABLE "odd name" (id int)', FUNCTION.format("f_odd", "STABLE", "sql", 'SELECT \'x\' FROM "odd name" WHERE id = $1')],
        "f_odd(id)",
        ["odd name"],
    ),
    "operator": (
        [
            "CREATE FUNCTION f_op(int, text) RETURNS boolean STABLE LANGUAGE sql AS 'SELECT EXISTS (SELECT FROM one WHERE id = $1)'",
            "CREATE OPERATOR ### (FUNCTION = f_op, LEFTARG = int, RIGHTARG = text)",
        ],
        "(id ### note)::text",
        ["one"],
    ),
    "aggregate": (
        [
            "CREATE FUNCTION f_step(text, int) RETURNS text STABLE LANGUAGE sql AS 'SELECT note FROM two WHERE id = $2'",
            "CREATE AGGREGATE f_all(int) (SFUNC = f_step, STYPE = text)",
        ],
        "(SELECT f_all(id) FROM four)",
        ["two"],
    ),
    # It promises to read nothing.
    "immutable": ([FUNCTION.format("f_im", "IMMUTABLE", "sql", "SELECT note FROM one WHERE id = $1")], "f_im(id)", []),
}
ATOMIC = (
    ["CREATE FUNCTION f_at(n int) RETURNS text STABLE LANGUAGE sql BEGIN ATOMIC SELECT note FROM one WHERE id = n; END"],
    "f_at(id)",
    ["one"],
)


def test_functions_are_followed_by_their_source(world, start):
    cases = dict(FUNCTIONS)
    if int(world.value("SHOW server_version_num")) >= 140000:
        cases["atomic"] = ATOMIC
    for made, _, _ in cases.values():
        for statement in made:
            world.sql(statement)
    said = known(start({name: f"SELECT 1 FROM four WHERE note = {call} AND id = {{id}}" for name, (_, call, _) in cases.items()}))
    for name, (_, _, wanted) in cases.items():
        assert tables(said, name) == ", ".join(f"public.{table}" for table in sorted([*wanted, "four"])), name


def test_partitions_and_children_wait_for_each_other(world, start):
    """A query on the parent waits for a lock on a child; queries on two children do not wait for each other."""
    world.sql("CREATE TABLE ev (id int, note text) PARTITION BY RANGE (id)")
    world.sql("CREATE TABLE ev_1 PARTITION OF ev FOR VALUES FROM (0) TO (10)")
    world.sql("CREATE TABLE ev_2 PARTITION OF ev FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (id)")
    world.sql("CREATE TABLE ev_2_1 PARTITION OF ev_2 FOR VALUES FROM (10) TO (20)")
    world.sql("CREATE TABLE heir (more int) INHERITS (one)")
    names = ("ev", "ev_1", "ev_2", "ev_2_1", "one", "heir")
    said = known(start({name: reads(name) for name in names}))
    assert tables(said, "ev") == "public.ev, public.ev_1, public.ev_2, public.ev_2_1"
    assert {name: overlap(said, name) for name in names} == {
        "ev": {"ev_1", "ev_2", "ev_2_1"},
        "ev_1": {"ev"},
        "ev_2": {"ev", "ev_2_1"},
        "ev_2_1": {"ev", "ev_2"},
        "one": {"heir"},
        "heir": {"one"},
    }


def test_tables_of_policies_count(world, start):
    """Those for SELECT, where row level security is on."""
    for table in ("two", "three"):
        world.sql(f"CREATE POLICY seen ON {table} FOR SELECT TO walpush USING (EXISTS (SELECT FROM one WHERE one.id = {table}.id))")
    world.sql("ALTER TABLE two ENABLE ROW LEVEL SECURITY")
    world.sql("ALTER TABLE four ENABLE ROW LEVEL SECURITY")
    world.sql("CREATE POLICY made ON four FOR INSERT TO walpush WITH CHECK (EXISTS (SELECT FROM one WHERE one.id = four.id))")
    said = known(start(one=reads("one"), two=reads("two"), three=reads("three"), four=reads("four")))
    assert {name: overlap(said, name) for name in ("one", "two", "three", "four")} == {
        "one": {"two"},
        "two": {"one"},
        "three": set(),
        "four": set(),
    }


def test_a_materialized_view_is_read_itself(world, start):
    world.sql("CREATE MATERIALIZED VIEW kept AS SELECT * FROM one")
    world.sql("GRANT SELECT ON kept TO walpush")
    said = known(start(kept=reads("kept"), again=reads("kept") + " AND note IS NOT NULL", one=reads("one")))
    assert tables(said, "kept") == "public.kept"
    assert overlap(said, "kept") == {"again"} and overlap(said, "one") == set()


def test_what_lookups_read_decides_no_permission(world, start):
    walpush = start(one=reads("one"))
    known(walpush)
    asked = lambda: json.loads(walpush.admin("/status").body)["admissions"]["queries"]  # noqa: E731
    with walpush.subscribe("/ws/requests/1/", 2):
        before = asked()
        world.sql("INSERT INTO one VALUES (1, 'a')")
        world.sql("UPDATE one SET note = 'b'")
        world.settle(walpush)
        assert asked() == before + 1  # of settle()
    assert not [line for line in walpush.lines if "can be followed" in line or "level=error" in line or "level=warn" in line]


# --- what is unknown --------------------------------------------------------------------------------------------------------


def test_a_refused_query_is_unknown_and_the_others_are_not(start):
    said = known(start(gone=reads("nowhere"), odd="SELECT nothing AND id = {id}", same=reads("nowhere"), one=reads("one")))
    assert "unknown" in said["lookup of gone"]["msg"] and "unknown" in said["lookup of odd"]["msg"]
    assert tables(said, "one") == "public.one"
    assert "nowhere" in said["lookup of gone"]["error"]


def test_without_temporary_views_all_is_unknown_and_the_start_goes_on(world, start):
    world.sql(f"REVOKE TEMPORARY ON DATABASE {world.name} FROM PUBLIC")
    walpush = start(one=reads("one"))
    assert {fields["msg"] for fields in known(walpush).values()} == {SAID + "unknown"}
    world.settle(walpush)


def test_a_lock_delays_no_start_and_is_asked_about_again(world, start):
    blocker = world.connect(autocommit=False)
    with blocker.cursor() as cursor:
        cursor.execute("LOCK TABLE one IN ACCESS EXCLUSIVE MODE")
    walpush = start(one=reads("one"), both="SELECT two.note FROM one JOIN two USING (id) WHERE id = {id}", two=reads("two"))
    said = known(walpush)
    assert "unknown" in said["lookup of one"]["msg"] and "unknown" in said["lookup of both"]["msg"]
    assert tables(said, "two") == "public.two" and overlap(said, "two") == set()
    mark = walpush.mark()
    blocker.close()
    said = known(walpush, mark)
    assert overlap(said, "one") == {"both"} and overlap(said, "two") == {"both"}


# --- while it runs ----------------------------------------------------------------------------------------------------------


def look_again(world, walpush):
    """DDL that makes the catalog be read again; what is said then."""
    mark = walpush.mark()
    world.sql("CREATE OR REPLACE FUNCTION anything() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    return known(walpush, mark)


def test_it_is_asked_again_after_ddl(world, config, start):
    config.set("database.watch", 0.2)
    world.sql("CREATE VIEW pair AS SELECT one.id, two.note FROM one JOIN two USING (id)")
    walpush = start(pair=reads("pair"), three=reads("three"))
    assert overlap(known(walpush), "three") == set()
    world.sql("CREATE OR REPLACE VIEW pair AS SELECT one.id, three.note FROM one JOIN three USING (id)")
    assert overlap(look_again(world, walpush), "three") == {"pair"}


def test_a_lock_while_it_runs_takes_nothing_back(world, config, start):
    config.set("database.watch", 0.2)
    walpush = start(one=reads("one"), both="SELECT two.note FROM one JOIN two USING (id) WHERE id = {id}")
    assert overlap(known(walpush), "one") == {"both"}
    with world.transaction() as cursor:
        cursor.execute("LOCK TABLE one IN ACCESS EXCLUSIVE MODE")
        assert overlap(look_again(world, walpush), "one") == {"both"}


@pytest.mark.parametrize("locked", [False, True])
def test_a_reload_has_other_queries(world, config, start, locked):
    """If a lock hides what is new, nothing that was known of other queries stands for it."""
    config.set("database.statement-timeout", 0.5)
    walpush = start(one=reads("one"), two=reads("two"))
    assert overlap(known(walpush), "two") == set()
    config.remove("tables.one")
    add(config, "three", "SELECT two.note FROM two JOIN three USING (id) WHERE id = {id}")
    config.write(walpush.file)
    mark = walpush.mark()
    with world.transaction() as cursor:
        if locked:
            cursor.execute("LOCK TABLE three IN ACCESS EXCLUSIVE MODE")
        walpush.send_signal(signal.SIGHUP)
        walpush.wait_for_log("the configuration is taken over", since=mark)
        said = known(walpush, mark)
    assert "lookup of one" not in said
    assert tables(said, "two") == "public.two"
    assert ("unknown" in said["lookup of three"]["msg"]) == locked
    assert overlap(said, "two") == (set() if locked else {"three"})


KILLS = """
CREATE FUNCTION kill() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_query() LIKE 'CREATE TEMP VIEW walpush_reads_0 %' THEN
        PERFORM pg_terminate_backend(pg_backend_pid());
    END IF;
END $$"""


def test_a_lost_connection_stops_nothing_and_is_made_again(world, start):
    """The session ends while it makes the first view."""
    world.sql(KILLS.replace("%", "%%"))
    world.sql("CREATE EVENT TRIGGER kills ON ddl_command_start WHEN TAG IN ('CREATE VIEW') EXECUTE FUNCTION kill()")
    walpush = start(one=reads("one"))
    walpush.wait_for_log("cannot find out which tables the queries read; trying again")
    world.settle(walpush)
    assert not [line for line in walpush.lines if SAID in line]
    world.sql("DROP EVENT TRIGGER kills")
    assert tables(known(walpush), "one") == "public.one"
