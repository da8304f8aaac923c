"""`walpush check` runs the queries: what only a run meets is found, said in one line, and gone once its fix is applied (harness/broken.py)."""

import re

import pytest

from harness.broken import BAD, Cases, found_and_mended, of, server, world  # noqa: F401
from throwaway.config import Raw, section

cases = Cases()
case = cases.case

MARK = "Zq7Zq7"  # in the values of rows, which are never printed
MAY_SEE = "SELECT 1 FROM users u WHERE u.id = {token.user_id} AND may_see({token.user_id}, {path.unit_id})"
BY_VALUES = "SELECT 1 FROM users u WHERE u.id = {token.user_id} AND u.is_active AND u.id = {path.unit_id}"


def people(world):
    """One person of one unit, and the tables that only functions read."""
    world.sql("INSERT INTO units (id, unit_code, unit_name) VALUES (1, 'one', 'One')")
    world.sql(f"INSERT INTO users (id, username, unit_id) VALUES (1, '{MARK}', 1)")
    world.sql("INSERT INTO user_units (user_id, unit_id) VALUES (1, 1)")
    world.sql("CREATE TABLE grants (person int, unit int)")
    world.sql("INSERT INTO grants VALUES (1, 1)")


def function(world, body, options="STABLE", name="may_see(person int, unit int)", language="sql"):
    """A function that decides who is admitted."""
    world.sql(f"CREATE FUNCTION {name} RETURNS boolean {options} LANGUAGE {language} AS $body${body}$body$")


READS_GRANTS = "SELECT EXISTS (SELECT FROM grants g WHERE g.person = $1 AND g.unit = $2)"


def admit_by_function(world, body=READS_GRANTS, options="STABLE", language="sql"):
    people(world)
    function(world, body, options, language=language)
    world.config.set("streams.storage.admit", MAY_SEE).set("membership.may_see", section(ignore=True))


# --- privileges ------------------------------------------------------------------------------------------------------


@case("query-run")
def a_function_that_reads_what_is_not_granted(world):
    admit_by_function(world)


@case("query-run")
def a_function_that_is_the_whole_query(world):
    """Neither the user nor the path is compared with a column, and no membership names a user: the values are NULL."""
    people(world)
    function(world, READS_GRANTS)
    world.config.set("streams.storage.admit", "SELECT 1 WHERE may_see({token.user_id}, {path.unit_id})")
    for table in ("user_units", "users"):
        world.config.remove(f"membership.{table}.user")


@case("query-run")
def a_function_that_is_not_called_for_null(world):
    people(world)
    function(world, READS_GRANTS, "STABLE STRICT")
    world.config.set("streams.storage.admit", "SELECT 1 WHERE may_see({token.user_id}, {path.unit_id})")


@case("query-run")
def a_function_in_plpgsql_behind_a_function(world):
    world.sql("CREATE TABLE known AS SELECT 1 AS person")
    function(world, "BEGIN RETURN EXISTS (SELECT FROM known k WHERE k.person = $1); END", "STABLE", "is_known(int)", "plpgsql")
    admit_by_function(world, "SELECT EXISTS (SELECT FROM grants g WHERE g.unit = $2) AND is_known($1)")


@case("query-run")
def a_function_that_calls_one_that_it_may_not(world):
    admit_by_function(world, "BEGIN RETURN is_known($1); END", language="plpgsql")
    function(world, "SELECT $1 = 1", "STABLE", "is_known(int)")
    world.sql("REVOKE EXECUTE ON FUNCTION is_known FROM PUBLIC")


@case("query")
def a_function_that_the_query_itself_may_not_call(world):
    admit_by_function(world, "SELECT $1 = 1")
    world.sql("REVOKE EXECUTE ON FUNCTION may_see FROM PUBLIC")


@case("query-run")
def a_function_that_reads_a_view(world):
    world.sql('CREATE VIEW "All Grants" AS SELECT id AS person FROM users')
    admit_by_function(world, 'SELECT EXISTS (SELECT FROM "All Grants" g WHERE g.person = $1)')


def private(world, name="private"):
    world.sql(f'CREATE SCHEMA "{name}"')
    world.sql(f'ALTER TABLE grants SET SCHEMA "{name}"')


@case("query-run")
def a_function_that_reads_a_schema_that_is_closed(world):
    people(world)
    private(world)
    function(world, READS_GRANTS.replace("grants", "private.grants"))
    world.config.set("streams.storage.admit", MAY_SEE).set("membership.may_see", section(ignore=True))


@case("query-run")
def a_function_with_a_path_of_its_own_to_a_schema_that_is_closed(world):
    people(world)
    private(world)
    function(world, "BEGIN RETURN EXISTS (SELECT FROM grants g WHERE g.person = $1); END", "STABLE SET search_path = private", language="plpgsql")
    world.sql("CREATE SCHEMA other CREATE TABLE grants (person int)")
    world.config.set("streams.storage.admit", MAY_SEE).set("membership.may_see", section(ignore=True))


@case("query-run")
def a_function_of_an_owner_who_may_not(world):
    world.sql("DROP ROLE IF EXISTS rds_replication")
    world.sql("CREATE ROLE rds_replication")  # a role that is dropped afterwards
    admit_by_function(world, options="STABLE SECURITY DEFINER SET search_path = public, pg_temp")
    world.sql("ALTER FUNCTION may_see OWNER TO rds_replication")


@case("query-run")
def a_lookup_through_a_function(world):
    people(world)
    world.sql("CREATE FUNCTION heads(int) RETURNS SETOF int STABLE LANGUAGE sql AS 'SELECT person FROM grants WHERE unit = $1'")
    world.config.set("tables.sendbacks.lookup", "SELECT heads({request_id}) AS user_id")


@case("query-run")
def a_data_query_through_a_function(world):
    people(world)
    world.sql("INSERT INTO storages (unit_id, room_name, rack_name, compartment_name) VALUES (1, 'a', 'b', 'c')")
    world.sql("CREATE FUNCTION as_json(int) RETURNS json STABLE LANGUAGE sql AS 'SELECT to_json(g) FROM grants g WHERE unit = $1'")
    world.config.set("tables.storages.data-query", "SELECT as_json({unit_id})")


@case("query-run")
def an_actor_through_a_function(world):
    people(world)
    world.sql("CREATE FUNCTION name_of(int) RETURNS text STABLE LANGUAGE sql AS 'SELECT person::text FROM grants WHERE person = $1'")
    world.config.set("actor.query", "SELECT name_of(u.id) AS username FROM users u WHERE u.id = {id}")


# --- names -----------------------------------------------------------------------------------------------------------


@case("query-run")
def a_function_that_finds_its_table_only_on_the_applications_path(world):
    people(world)
    private(world)
    world.sql("SET check_function_bodies = off; CREATE FUNCTION may_see(person int, unit int) RETURNS boolean STABLE"
              f" LANGUAGE sql AS '{READS_GRANTS}'; RESET check_function_bodies")
    world.config.set("streams.storage.admit", MAY_SEE).set("membership.may_see", section(ignore=True))


@case("query-run")
def a_function_that_finds_a_function_only_on_the_applications_path(world):
    people(world)
    private(world, "Odd one")
    function(world, "SELECT EXISTS (SELECT FROM \"Odd one\".grants WHERE person = $1)", "STABLE", '"Odd one".is_known(int)')
    function(world, "BEGIN RETURN is_known($1); END", language="plpgsql")
    world.config.set("streams.storage.admit", MAY_SEE).set("membership.may_see", section(ignore=True))


@case("query-run", kind="words")
def a_function_whose_table_is_in_two_schemas(world):
    people(world)
    private(world)
    world.sql("CREATE SCHEMA other CREATE TABLE grants (person int, unit int)")
    function(world, f"BEGIN RETURN ({READS_GRANTS}); END", language="plpgsql")
    world.config.set("streams.storage.admit", MAY_SEE).set("membership.may_see", section(ignore=True))
    yield
    world.sql("GRANT USAGE ON SCHEMA other TO walpush")
    world.sql("GRANT SELECT ON other.grants TO walpush")
    world.sql("ALTER FUNCTION may_see SET search_path = other, pg_temp")


@case("query-run", kind="words")
def a_function_that_asks_for_a_column_that_is_gone(world):
    admit_by_function(world, "BEGIN RETURN EXISTS (SELECT FROM grants g WHERE g.person = $1); END", language="plpgsql")
    world.sql("GRANT SELECT ON grants TO walpush")
    world.sql("ALTER TABLE grants RENAME person TO someone")
    yield
    world.sql("ALTER TABLE grants RENAME someone TO person")


@case("query-run", kind="words")
def a_function_that_reads_a_setting(world):
    admit_by_function(world, "SELECT current_setting('app.unit')::int = $2")
    yield
    world.sql("CREATE OR REPLACE FUNCTION may_see(person int, unit int) RETURNS boolean STABLE LANGUAGE sql"
              " AS $$SELECT current_setting('app.unit', true)::int = $2$$")


# --- row level security ----------------------------------------------------------------------------------------------


@case("query-run")
def a_policy_that_reads_a_setting(world):
    people(world)
    world.sql("ALTER TABLE user_units ENABLE ROW LEVEL SECURITY")
    world.sql("CREATE POLICY tenant ON user_units USING (unit_id = current_setting('app.unit')::int)")
    world.resources.callback(world.server.sql, "ALTER ROLE walpush NOBYPASSRLS")


@case("rows-seen")
def a_policy_for_the_role_that_hides_every_row(world):
    people(world)
    world.sql("ALTER TABLE user_units ENABLE ROW LEVEL SECURITY")
    world.sql("CREATE POLICY own ON user_units TO walpush USING (user_id = current_setting('app.user', true)::int)")
    world.sql("ANALYZE user_units")


@case("rows-seen", state="warning")
def a_policy_for_the_role_over_a_table_that_was_emptied(world):
    """Nobody can tell whether the policy hides rows: the files are not empty, and the statistics know of none."""
    people(world)
    world.sql("DELETE FROM user_units")
    world.sql("ANALYZE user_units")
    world.sql("ALTER TABLE user_units ENABLE ROW LEVEL SECURITY")
    world.sql("CREATE POLICY own ON user_units TO walpush USING (user_id < 0)")


@case("rows-seen")
def a_restrictive_policy_that_hides_every_row(world):
    people(world)
    world.sql("ALTER TABLE user_units ENABLE ROW LEVEL SECURITY")
    world.sql("CREATE POLICY all_of_it ON user_units TO walpush USING (true)")
    world.sql("CREATE POLICY tenant ON user_units AS RESTRICTIVE USING (unit_id = current_setting('app.unit', true)::int)")
    world.sql("ANALYZE user_units")
    world.resources.callback(world.server.sql, "ALTER ROLE walpush NOBYPASSRLS")


@case("rows-seen")
def a_policy_that_hides_what_a_function_reads(world):
    admit_by_function(world)
    world.sql("GRANT SELECT ON grants TO walpush")
    world.sql("ALTER TABLE grants ENABLE ROW LEVEL SECURITY")
    world.sql("CREATE POLICY tenant ON grants USING (unit = current_setting('app.unit', true)::int)")
    world.sql("CREATE POLICY walpush_reads ON grants TO postgres USING (true)")
    world.sql("ANALYZE grants")


# --- functions that do more than read --------------------------------------------------------------------------------


WRITES = "CREATE FUNCTION note(int) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN INSERT INTO grants VALUES ($1, 0); RETURN true; END'"
READS_ONLY = "CREATE OR REPLACE FUNCTION may_see(person int, unit int) RETURNS boolean STABLE LANGUAGE sql AS 'SELECT $1 = 1'"


@case("query-run", kind="words")
def a_function_that_says_stable_and_calls_one_that_writes(world):
    admit_by_function(world, "BEGIN RETURN note($1); END", language="plpgsql")
    world.sql(WRITES)
    world.sql("GRANT SELECT, INSERT ON grants TO walpush")
    yield
    assert world.sql("SELECT count(*) FROM grants") == [(1,)]
    world.sql("DROP FUNCTION may_see")
    world.sql(READS_ONLY)


@case("query-run", kind="words")
def a_function_that_says_stable_and_writes(world):
    admit_by_function(world, "BEGIN INSERT INTO grants VALUES ($1, $2); RETURN true; END", "STABLE SECURITY DEFINER", language="plpgsql")
    yield
    world.sql("DROP FUNCTION may_see")
    world.sql(READS_ONLY)


@case("query-run", state="warning", kind="words")
def a_function_that_does_not_say_that_it_only_reads(world):
    admit_by_function(world, options="SECURITY DEFINER")
    yield
    world.sql("ALTER FUNCTION may_see STABLE")


@case("query-run", state="warning", kind="words")
def a_volatile_function_of_the_server(world):
    world.config.set("streams.storage.admit", BY_VALUES + " AND random() < 2")
    yield
    world.config.set("streams.storage.admit", BY_VALUES)


@case("query-run", state="warning", kind="words")
def a_volatile_function_in_a_view_of_a_view(world):
    world.sql("CREATE SEQUENCE numbers")
    world.sql("CREATE VIEW counted AS SELECT id, nextval('numbers') AS n FROM users")
    world.sql("CREATE VIEW of_them AS SELECT * FROM counted")
    world.sql("GRANT SELECT ON of_them TO walpush")
    world.config.set("actor.query", "SELECT n AS username FROM of_them WHERE id = {id}")
    yield
    assert world.sql("SELECT is_called FROM numbers") == [(False,)]
    world.config.set("actor.query", "SELECT username FROM users WHERE id = {id}")


@case("query-run", state="warning", kind="words")
def a_volatile_function_in_a_policy(world):
    people(world)
    world.sql("ALTER TABLE user_units ENABLE ROW LEVEL SECURITY")
    world.sql("CREATE POLICY locked ON user_units TO walpush USING (random() < 2)")
    yield
    world.sql("DROP POLICY locked ON user_units")
    world.sql("CREATE POLICY locked ON user_units TO walpush USING (true)")


@case("query-run", state="warning", kind="words")
def a_volatile_function_of_an_operator(world):
    people(world)
    function(world, "SELECT $1 = $2", "VOLATILE", "same(int, int)")
    world.sql("CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = same)")
    world.config.set("streams.storage.admit", BY_VALUES + " AND u.id === {path.unit_id}").set("membership.same", section(ignore=True))
    yield
    world.sql("ALTER FUNCTION same IMMUTABLE")


# --- time ------------------------------------------------------------------------------------------------------------


@case("query-run", state="warning", kind="words")
def a_query_that_takes_too_long(world):
    admit_by_function(world, "BEGIN PERFORM pg_sleep(20); RETURN true; END", language="plpgsql")
    yield
    world.sql("DROP FUNCTION may_see")
    world.sql(READS_ONLY)


@case("query-run", state="warning", kind="words")
def a_query_that_waits_for_a_lock(world):
    admit_by_function(world, "BEGIN RETURN EXISTS (SELECT FROM grants); END", language="plpgsql")
    world.sql("GRANT SELECT ON grants TO walpush")
    other = world.server.connect("app", autocommit=False)
    other.cursor().execute("LOCK TABLE grants IN ACCESS EXCLUSIVE MODE")
    yield
    other.close()


# --- values ----------------------------------------------------------------------------------------------------------


@case("query-run", kind="words")
def a_value_that_is_no_number(world):
    people(world)
    world.sql(f"INSERT INTO storages (unit_id, room_name, rack_name, compartment_name) VALUES (1, '{MARK}', 'b', 'c')")
    world.sql("GRANT SELECT (room_name) ON storages TO walpush")
    world.config.set("tables.storages.data-query", "SELECT {room_name}::int")
    yield
    world.config.set("tables.storages.data-query", "SELECT {room_name}::text")


@case("query-run", kind="words")
def a_value_that_is_no_number_in_a_statement_of_a_function(world):
    """The text of such a statement has the value, and so has the server's, although it is about a name."""
    people(world)
    world.sql("CREATE FUNCTION by_name(text) RETURNS int STABLE LANGUAGE plpgsql"
              " AS $$DECLARE n int; BEGIN EXECUTE 'SELECT count(*) FROM \"' || $1 || '\"' INTO n; RETURN n; END$$")
    world.config.set("streams.notifications.admit", "SELECT by_name(u.username) FROM users u WHERE u.username = {token.name} AND {path.user_id} > 0")
    world.config.set("membership.by_name", section(ignore=True))
    world.sql("GRANT SELECT (username) ON users TO walpush")
    yield
    world.config.set("streams.notifications.admit", "SELECT 1 FROM users u WHERE u.username = {token.name} AND {path.user_id} > 0")


@case("query-run", kind="words")
def a_subquery_with_two_rows(world):
    people(world)
    world.sql("INSERT INTO units (id, unit_code, unit_name) VALUES (2, 'two', 'Two')")
    world.sql("INSERT INTO user_units (user_id, unit_id) VALUES (1, 2)")
    world.config.set("actor.query", "SELECT (SELECT unit_id FROM user_units WHERE user_id = {id}) AS username FROM users WHERE id = {id}")
    yield
    world.config.set("actor.query", "SELECT username FROM users WHERE id = {id}")


@case("query-run", kind="words")
def a_function_that_raises(world):
    people(world)
    function(world, "BEGIN RAISE EXCEPTION '% may not', (SELECT username FROM users WHERE id = $1); END", "STABLE", language="plpgsql")
    world.config.set("streams.notifications.admit", "SELECT 1 FROM users u WHERE u.id = {token.user_id} AND u.id = {path.user_id} AND may_see(u.id, 1)")
    yield
    world.sql("DROP FUNCTION may_see")
    world.sql(READS_ONLY)


@pytest.mark.parametrize("breaks, check, state, kind", cases)
def test_a_failure_is_found_and_its_mend_mends(world, breaks, check, state, kind):
    shown = []
    findings = world.findings

    def and_no_value(status):
        found = findings(status)
        shown.append(found)
        assert MARK not in str(found), "a value of a row is printed"
        return found

    world.findings = and_no_value
    found_and_mended(world, breaks, check, state, kind)
    for finding in of(shown[0], check):
        assert re.search(r"\(line \d+\)|no row of", finding["text"]), finding
        assert "\n" not in finding["text"] + finding["fix"]["text"]


# --- good ones -------------------------------------------------------------------------------------------------------


def set_up(world, admit, tables, user="walpush", path="<int:unit>", **settings):
    """A configuration of one stream and one table, and what its own script does. The role is `user`."""
    config = world.config
    for name in ("streams", "tables", "membership", "actor"):
        config.remove(name)
    config.set("streams", section(rooms=section(path=f"/ws/rooms/{path}/", admit=admit, groups=["rooms_{path.unit}"])))
    config.set("tables", tables)
    for name, value in settings.items():
        config.set(name, value)
    world.sql("SELECT pg_drop_replication_slot('walpush')")
    world.config.write(world.directory / "sidecar.conf")
    password = world.server.passwords.setdefault(user, world.server.passwords["walpush"])
    world.shell(f"walpush sql -c sidecar.conf | WALPUSH_PASSWORD={password} psql -q -v role={user} -d app")
    world.env["DATABASE_URL"] = world.server.url(world.name, user)


def rooms(name="rooms", **settings):
    return section(rooms=section(**{"from": name, "type": "room", "key": "room_id", "groups": ["rooms_{unit}"]}, **settings))


GOOD = []


def good(function):
    GOOD.append(pytest.param(function, id=function.__name__.replace("_", "-")))
    return function


@good
def another_role_another_schema_and_keys_that_are_uuids(world):
    world.sql("CREATE SCHEMA campus")
    world.sql("CREATE TABLE campus.rooms (id uuid PRIMARY KEY, unit uuid NOT NULL)")
    world.sql("CREATE TABLE campus.members (person uuid, unit uuid, PRIMARY KEY (person, unit))")
    world.sql("INSERT INTO campus.members VALUES (gen_random_uuid(), gen_random_uuid())")
    set_up(
        world,
        "SELECT 1 FROM campus.members m WHERE m.person = {token.user_id} AND m.unit = {path.unit}",
        rooms("campus.rooms"),
        user="walpush2",
        path="<uuid:unit>",
    )


def members(world, rows=True):
    world.sql("CREATE TABLE rooms (id int PRIMARY KEY, unit int NOT NULL)")
    world.sql("CREATE TABLE members (person int, unit int, PRIMARY KEY (person, unit))")
    if rows:
        world.sql("INSERT INTO members SELECT i, i % 7 FROM generate_series(1, 100) AS i")
        world.sql("INSERT INTO rooms SELECT i, i % 7 FROM generate_series(1, 100) AS i")


BY_MEMBERS = "SELECT 1 FROM members m WHERE m.person = {token.user_id} AND m.unit = {path.unit}"


@good
def tables_that_are_empty(world):
    members(world, rows=False)
    set_up(world, BY_MEMBERS, rooms())


@good
def row_level_security_with_a_policy_for_the_role(world):
    members(world)
    for table in ("members", "rooms"):
        world.sql(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        world.sql(f"CREATE POLICY walpush_reads ON {table} FOR SELECT TO walpush USING (true)")
    set_up(world, BY_MEMBERS, rooms())


@good
def row_level_security_over_an_empty_table(world):
    members(world)
    world.sql("ALTER TABLE members ENABLE ROW LEVEL SECURITY")
    world.sql("CREATE POLICY walpush_reads ON members FOR SELECT TO walpush USING (true)")
    world.sql("DELETE FROM members")
    set_up(world, BY_MEMBERS, rooms())


@good
def a_role_that_row_level_security_does_not_bind(world):
    members(world)
    world.sql("ALTER TABLE members ENABLE ROW LEVEL SECURITY")
    world.sql("ALTER ROLE walpush BYPASSRLS")
    world.resources.callback(world.server.sql, "ALTER ROLE walpush NOBYPASSRLS")
    set_up(world, BY_MEMBERS, rooms())


def by_function(world, options, body="SELECT EXISTS (SELECT FROM members m WHERE m.person = $1 AND m.unit = $2)"):
    members(world)
    function(world, body, options)
    set_up(
        world,
        "SELECT 1 WHERE may_see({token.user_id}, {path.unit})",
        rooms(),
        membership=section(members=section(user="person")),
    )


@good
def a_function_with_security_definer(world):
    by_function(world, "STABLE SECURITY DEFINER SET search_path = public, pg_temp")


@good
def a_function_that_reads_what_is_granted(world):
    members(world)
    world.sql("DROP TABLE members CASCADE")
    world.sql("DROP TABLE rooms")
    world.sql("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO walpush")
    world.resources.callback(world.sql, "ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM walpush")
    by_function(world, "STABLE")
    world.sql("GRANT SELECT ON members TO walpush")


@good
def a_function_that_raises_for_null(world):
    """A value that was made up, or is NULL, says nothing about the function."""
    members(world, rows=False)
    function(world, "BEGIN IF $1 IS NULL OR $1 = 1 THEN RAISE EXCEPTION 'nobody'; END IF; RETURN true; END", "STABLE", language="plpgsql")
    set_up(
        world,
        "SELECT 1 WHERE may_see({token.user_id}, {path.unit})",
        rooms(),
        membership=Raw("{ may_see = { ignore = true } }"),
    )


@good
def a_lookup_and_an_actor_of_many_rows(world):
    members(world)
    set_up(
        world,
        BY_MEMBERS,
        section(
            rooms=section(
                type="room",
                key="room_id",
                lookup="SELECT m.person AS person FROM members m, generate_series(1, 1000) WHERE m.unit = {unit}",
                groups=["rooms_{lookup.person}", "rooms_{unit}"],
            )
        ),
    )
    world.config.set("tables.rooms.reads-ignore", ["members"])


@pytest.mark.parametrize("makes", GOOD)
def test_nothing_is_found_in_a_good_set_up(world, makes):
    makes(world)
    assert [finding for finding in world.findings(0) if finding["state"] in BAD + ("skipped",)] == []


# --- what is said ----------------------------------------------------------------------------------------------------


def texts(world, check):
    return [finding["text"] for finding in world.findings(None) if finding["check"] == check]


def test_it_says_with_what_a_query_ran_and_what_the_role_sees(world):
    people(world)
    said = texts(world, "query-run")
    assert "admit of storage: runs, with the values of rows that exist" in said
    assert [text for text in said if text.startswith("lookup of sendbacks: runs; no row gave a value for {request_id}")], said
    seen = texts(world, "rows-seen")
    assert "walpush's role sees rows of public.user_units, public.users" in seen, seen
    assert "empty: public.roles" in seen, seen


def test_the_values_are_of_one_row(world):
    """A function that raises for any other pair of user and unit."""
    people(world)
    function(world, "BEGIN IF $1 <> 1 OR $2 <> 1 THEN RAISE EXCEPTION 'who'; END IF; RETURN true; END", language="plpgsql")
    query = "SELECT 1 FROM user_units m WHERE m.user_id = {token.user_id} AND m.unit_id = {path.unit_id} AND may_see({token.user_id}, {path.unit_id})"
    world.config.set("streams.storage.admit", query).set("membership.may_see", section(ignore=True))
    assert "admit of storage: runs, with the values of rows that exist" in texts(world, "query-run")
    world.sql("CREATE OR REPLACE FUNCTION may_see(person int, unit int) RETURNS boolean STABLE LANGUAGE plpgsql"
              " AS $$BEGIN IF $1 = 1 AND $2 = 1 THEN RAISE EXCEPTION 'this one'; END IF; RETURN true; END$$")
    assert [finding["fix"]["kind"] for finding in of(world.findings(1), "query-run")] == ["words"]


def test_all_together_are_bounded(world):
    """13 queries that would take a second each: those that come after 10 s are not run, and that is said. The harness waits 20 s."""
    admit_by_function(world, "BEGIN PERFORM pg_sleep(20); RETURN true; END", language="plpgsql")
    for i in range(13):
        stream = section(path=f"/ws/slow{i}/<int:unit_id>/", admit=MAY_SEE, groups=["storage_unit_{path.unit_id}"])
        world.config.set(f"streams.slow{i}", stream)
    found = of(world.findings(0), "query-run")
    assert len(found) < 14 and re.match(r"\d+ quer(y was|ies were) not run", found[-1]["text"]), found
