"""What decides permission is found, not listed: tables that an admit query reads count without a section of `membership`."""

import json
import re
import signal

import pytest

from harness.app import ASHA, RAVI
from harness.client import Closed
from harness.walpush import SIGNING_KEY, run_to_end
from throwaway.config import section

UNIT_1 = "/ws/requests/1/"
LIVE = r'msg="?live"?( |$)'


@pytest.fixture
def start(app, config, make_walpush):
    def start(**sections):
        for table in ("users", "user_units", "roles"):
            if config.get(f"membership.{table}") is not None:
                config.remove(f"membership.{table}")
        for table, options in sections.items():
            config.set(f"membership.{table}", section(**options))
        walpush = make_walpush(app, config).start()
        walpush.wait_for_log(LIVE)
        return walpush

    return start


def text_of(message):
    return (message.get("data") or {}).get("purpose", message["type"]).partition(" ")[2] or message["type"]


def hears_until(client, text):
    return [text_of(m) for m in client.recv_until(lambda m: text_of(m) == text)]


def queries(walpush):
    return json.loads(walpush.admin("/status").body)["admissions"]["queries"]


def is_closed_before(app, client, witness):
    """The client is closed by what was done, and a witness goes on."""
    app.touch(app.request, "behind it")
    assert client.close_code() == 4403
    assert hears_until(witness, "behind it")[-1] == "behind it"


def full(app, *tables):
    for table in tables:
        app.sql(f"ALTER TABLE {table} REPLICA IDENTITY FULL")


# --- tables ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM user_units WHERE user_id = %s",
        "UPDATE user_units SET unit_id = 2 WHERE user_id = %s AND unit_id = 1",
        "UPDATE users SET is_active = false WHERE id = %s",
        "UPDATE users SET status = 'Suspended' WHERE id = %s",
    ],
)
def test_no_section_is_needed(app, start, change):
    walpush = start()
    with walpush.subscribe(UNIT_1, ASHA) as client, walpush.subscribe(UNIT_1, RAVI) as witness:
        app.sql(change, ASHA)
        is_closed_before(app, client, witness)


def test_columns_that_no_query_reads_ask_nobody(app, start):
    walpush = start()
    with walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request, "before")
        hears_until(client, "before")
        before = queries(walpush)
        for _ in range(20):
            app.sql("UPDATE users SET last_login = now()")
        app.touch(app.request, "after")
        assert hears_until(client, "after") == ["after"]
        assert queries(walpush) == before


def test_a_section_names_whose_permission_it_is(app, start):
    """users changes for one: the others are not asked."""
    walpush = start(users={"user": "id"})
    with walpush.subscribe(UNIT_1, ASHA) as client, walpush.subscribe(UNIT_1, RAVI) as witness:
        app.touch(app.request, "before")
        hears_until(witness, "before")
        hears_until(client, "before")
        before = queries(walpush)
        app.sql("UPDATE users SET is_active = false WHERE id = %s", ASHA)
        is_closed_before(app, client, witness)
        assert queries(walpush) - before == 1


def test_a_section_whose_columns_leave_one_out_is_completed(app, start):
    walpush = start(users={"user": "id", "columns": ["status"]})
    with walpush.subscribe(UNIT_1, ASHA) as client, walpush.subscribe(UNIT_1, RAVI) as witness:
        app.sql("UPDATE users SET is_active = false WHERE id = %s", ASHA)
        is_closed_before(app, client, witness)


def test_ignore_is_the_authors_promise(app, start):
    walpush = start(users={"ignore": True})
    with walpush.subscribe(UNIT_1, ASHA) as client:
        app.sql("UPDATE users SET is_active = false WHERE id = %s", ASHA)
        app.touch(app.request, "heard")
        assert hears_until(client, "heard")[-1] == "heard"


# --- through what the query names ------------------------------------------------------------------------------------------

MAY_READ = "SELECT 1 FROM may_read WHERE user_id = {token.user_id} AND unit_id = {path.unit_id}"


def through_view(app):
    app.sql("CREATE TABLE grants (person int, unit int, until date)")
    app.sql("CREATE VIEW granted AS SELECT person, unit FROM grants WHERE until > '2020-01-01'")
    app.sql("CREATE VIEW may_read AS SELECT person AS user_id, unit AS unit_id FROM granted")


def through_rule_of_security(app):
    through_view(app)
    app.sql("DROP VIEW may_read")
    app.sql("CREATE TABLE may_read (user_id int, unit_id int)")
    app.sql("ALTER TABLE may_read ENABLE ROW LEVEL SECURITY")
    app.sql("CREATE POLICY mine ON may_read FOR SELECT TO walpush USING (EXISTS (SELECT FROM granted WHERE person = user_id))")
    app.sql(f"INSERT INTO may_read VALUES ({ASHA}, 1), ({RAVI}, 1)")
    full(app, "may_read")


def grant_all(app):
    app.sql(f"INSERT INTO grants VALUES ({ASHA}, 1, '2030-01-01'), ({RAVI}, 1, '2030-01-01')")
    full(app, "grants")
    for relation in ("grants", "granted", "may_read"):
        app.sql(f"GRANT SELECT ON {relation} TO walpush")


@pytest.mark.parametrize("through", [through_view, through_rule_of_security])
@pytest.mark.parametrize(
    "change", ["DELETE FROM grants WHERE person = %s", "UPDATE grants SET until = '2019-01-01' WHERE person = %s"]
)
def test_views_and_policies_are_followed(app, config, start, through, change):
    through(app)
    grant_all(app)
    config.set("streams.requests.admit", MAY_READ)
    walpush = start()
    with walpush.subscribe(UNIT_1, ASHA) as client, walpush.subscribe(UNIT_1, RAVI) as witness:
        app.sql(change, ASHA)
        is_closed_before(app, client, witness)


def test_a_whole_row_counts_with_all_its_columns(app, config, start):
    through_view(app)
    grant_all(app)
    config.set(
        "streams.requests.admit",
        "SELECT 1 FROM grants g WHERE g.person = {token.user_id} AND g.unit = {path.unit_id}"
        " AND to_jsonb(g) ->> 'until' > '2020-01-01'",
    )
    walpush = start()
    with walpush.subscribe(UNIT_1, ASHA) as client, walpush.subscribe(UNIT_1, RAVI) as witness:
        app.sql("UPDATE grants SET until = '2019-01-01' WHERE person = %s", ASHA)
        is_closed_before(app, client, witness)


def test_names_with_dots(app, config, start):
    """ "a.b".c and a."b.c" are two tables; the one that decides is watched, whatever the other is."""
    for table in ('"gr.an".ts', 'gr."an.ts"'):
        app.sql(f"CREATE SCHEMA {table.rpartition('.')[0]}" if table.startswith('"') else "CREATE SCHEMA gr")
        app.sql(f"CREATE TABLE {table} (person int, unit int)")
        app.sql(f"INSERT INTO {table} VALUES ({ASHA}, 1), ({RAVI}, 1)")
        full(app, table)
    app.sql('GRANT USAGE ON SCHEMA "gr.an" TO walpush')
    app.sql('GRANT SELECT ON "gr.an".ts TO walpush')
    config.set(
        "streams.requests.admit",
        'SELECT 1 FROM "gr.an".ts WHERE person = {token.user_id} AND unit = {path.unit_id}',
    )
    walpush = start()
    with walpush.subscribe(UNIT_1, ASHA) as client, walpush.subscribe(UNIT_1, RAVI) as witness:
        app.sql('DELETE FROM "gr.an".ts WHERE person = %s', ASHA)
        is_closed_before(app, client, witness)


# --- what cannot be followed -----------------------------------------------------------------------------------------------

NOT_FOLLOWED = r"not all that an admit query reads can be followed.*"


def through_function(app):
    through_view(app)
    app.sql(
        "CREATE FUNCTION may(person int) RETURNS boolean STABLE LANGUAGE plpgsql SECURITY DEFINER"
        " AS 'BEGIN RETURN EXISTS (SELECT FROM grants g WHERE g.person = may.person); END'"
    )
    return "SELECT 1 WHERE may({token.user_id}::int) AND {path.unit_id}::int = 1", r"function public\.may\(integer\)"


IS_ONE = " AND {path.unit_id}::int = 1"


def through_domain(name, query, *made):
    """With a function of its own, which the log names."""
    domains = (
        f"CREATE FUNCTION may_{name}(int) RETURNS boolean STABLE LANGUAGE plpgsql AS 'BEGIN RETURN public.may($1); END'",
        f"CREATE DOMAIN who_{name} AS int CHECK (public.may_{name}(VALUE))",
        f"CREATE DOMAIN member_{name} AS who_{name}",
    )
    return [*domains, *made], query + IS_ONE, rf"function public\.may_{name}\(integer\)"


# (what is made besides, the query, what the log says of it); behind through_function().
BEYOND = {
    "materialized": (
        ["CREATE MATERIALIZED VIEW kept AS SELECT * FROM may_read", "GRANT SELECT ON kept TO walpush"],
        MAY_READ.replace("may_read", "kept"),
        "materialized view public.kept",
    ),
    "unlogged": (
        ["CREATE UNLOGGED TABLE fleeting (user_id int, unit_id int)", "GRANT SELECT ON fleeting TO walpush"],
        MAY_READ.replace("may_read", "fleeting"),
        "unlogged table public.fleeting",
    ),
    "catalog": ([], "SELECT 1 FROM pg_roles WHERE rolname = {token.user_id} AND {path.unit_id} = 1", "system catalog pg_authid"),
    "aggregate": (
        [
            "CREATE FUNCTION step(boolean, int) RETURNS boolean STABLE LANGUAGE sql AS 'SELECT public.may($2)'",
            "CREATE AGGREGATE may_all(int) (SFUNC = step, STYPE = boolean)",
        ],
        "SELECT 1 FROM users HAVING may_all({token.user_id}::int)" + IS_ONE,
        r"function public\.step\(boolean,integer\) \(not listed: public\.grants\)",
    ),
    "domain": through_domain("domain", "SELECT 1 WHERE {token.user_id}::int::member_domain > 0"),
    "row": through_domain(
        "row",
        "SELECT 1 WHERE ('(' || {token.user_id} || ')')::members IS NOT NULL",
        "CREATE TYPE members AS (one member_row)",
    ),
    "array": through_domain("array", "SELECT 1 WHERE ARRAY[{token.user_id}::int]::member_array[] IS NOT NULL"),
    "range": through_domain(
        "range",
        "SELECT 1 WHERE ('[1,' || {token.user_id} || ']')::span IS NOT NULL",
        "CREATE TYPE span AS RANGE (subtype = who_range)",
    ),
}


# Of the server's own functions: what looks up, and what computes.
LOOKS_UP = {
    "query_to_xml": "query_to_xml('SELECT 1', false, false, '') IS NOT NULL",
    "table_to_xml": "table_to_xml('users', false, false, '') IS NOT NULL",
    "ts_stat": "EXISTS (SELECT FROM ts_stat('SELECT to_tsvector(status) FROM users'))",
    "ts_rewrite": "ts_rewrite('a'::tsquery, 'SELECT ''a''::tsquery, ''b''::tsquery') IS NOT NULL",
    "lo_get": "lo_get(1) IS NULL",
    "has_table_privilege": "has_table_privilege('users', 'SELECT')",
    "pg_has_role": "pg_has_role('walpush', 'MEMBER')",
    "row_security_active": "NOT row_security_active('users')",
    "to_regclass": "to_regclass({token.user_id}::text) IS NULL",
    "regrolein": "({token.user_id}::text)::regrole IS NULL",
    "pg_get_userbyid": "pg_get_userbyid(10) IS NOT NULL",
    "pg_table_is_visible": "pg_table_is_visible(1259)",
    "format_type": "format_type(23, NULL) = 'integer'",
    "obj_description": "obj_description(1259, 'pg_class') IS NULL",
    "txid_current": "txid_current() > 0",
    "pg_current_wal_lsn": "pg_current_wal_lsn() > '0/0'",
    "pg_lock_status": "EXISTS (SELECT FROM pg_locks)",
}
COMPUTES = [
    "to_char(now(), 'YYYY') > '2000'",
    "date_trunc('day', now()) < now()",
    "timezone('UTC', now()) IS NOT NULL",
    "concat('a', 1) || format('%s', 2) = 'a12'",
    "to_jsonb(1) = jsonb_build_array(1) -> 0",
    "json_build_object('a', 1) IS NOT NULL AND row_to_json(row(1)) IS NOT NULL",
    "array_to_string(ARRAY[1, 2], ',') = '1,2'",
    "pg_typeof(1) = 'integer'::regtype AND pg_column_size(1) = 4",
    "current_setting('server_version') IS NOT NULL AND current_user IS NOT NULL AND current_database() IS NOT NULL",
    "now() < clock_timestamp() + '1 day'::interval AND age(now()) IS NOT NULL",
    "to_tsvector('simple', 'a') @@ to_tsquery('simple', 'a')",
    "(SELECT count(*) + sum(id) FROM users) > 0 AND (SELECT jsonb_agg(id) FROM users) IS NOT NULL",
    "'2030-01-01'::date > now()",
]


def test_functions_of_the_server_that_look_up_are_not_followed(app, config, start):
    config.set("streams.requests.admit", "SELECT 1 WHERE {path.unit_id}::int = 1 AND " + " AND ".join(LOOKS_UP.values()))
    line = start().wait_for_log(NOT_FOLLOWED + "stream=requests")
    assert [name for name in LOOKS_UP if f"function pg_catalog.{name}(" not in line] == []


def test_functions_of_the_server_that_compute_are_followed(app, config, start):
    config.set("streams.requests.admit", "SELECT 1 WHERE {path.unit_id}::int = 1 AND " + " AND ".join(COMPUTES))
    assert [line for line in start().lines if "can be followed" in line] == []


def stream(config, name, admit):
    config.set(f"streams.{name}", section(path=f"/ws/{name}/<int:unit_id>/", admit=admit, groups=["all"]))


def test_what_cannot_be_followed_is_said(app, config, start):
    """Each in a stream of its own."""
    said = {"function": through_function(app)}
    for name, (made, admit, what) in BEYOND.items():
        for statement in made:
            app.sql(statement)
        said[name] = (admit, what)
    for name, (admit, _) in said.items():
        stream(config, name, admit)
    walpush = start()
    for name, (_, what) in said.items():
        walpush.wait_for_log(NOT_FOLLOWED + f"stream={name} .*" + what)


def test_what_cannot_be_followed_is_asked_again_as_time_passes(app, config, start):
    """Every minute, unless the stream says otherwise."""
    admit, _ = through_function(app)
    grant_all(app)
    config.set("streams.requests.admit", admit)
    walpush = start()
    assert "every_ms=60000" in walpush.wait_for_log(NOT_FOLLOWED + "stream=requests")
    walpush.stop()
    config.set("streams.requests.recheck", 1)
    walpush = start()
    assert "every_ms=1000" in walpush.wait_for_log(NOT_FOLLOWED + "stream=requests")
    with walpush.subscribe(UNIT_1, ASHA) as client, walpush.subscribe(UNIT_1, RAVI) as witness:
        app.sql("DELETE FROM grants WHERE person = %s", ASHA)
        with pytest.raises(Closed) as closed:
            client.recv()
        assert closed.value.code == 4403
        app.touch(app.request, "after")
        assert hears_until(witness, "after")[-1] == "after"


def test_a_function_whose_tables_are_listed(app, config, start):
    admit, _ = through_function(app)
    grant_all(app)
    config.set("streams.requests.admit", admit)
    walpush = start(grants={"user": "person"})
    with walpush.subscribe(UNIT_1, ASHA) as client, walpush.subscribe(UNIT_1, RAVI) as witness:
        app.sql("DELETE FROM grants WHERE person = %s", ASHA)
        is_closed_before(app, client, witness)
    assert not [line for line in walpush.lines if "can be followed" in line]


def test_a_materialized_view_whose_tables_are_listed(app, config, start):
    through_view(app)
    app.sql("CREATE TABLE other (id int)")
    app.sql("CREATE MATERIALIZED VIEW kept AS SELECT r.* FROM may_read r WHERE NOT EXISTS (SELECT FROM other WHERE id = r.unit_id)")
    app.sql("GRANT SELECT ON kept TO walpush")
    config.set("streams.requests.admit", MAY_READ.replace("may_read", "kept"))
    walpush = start(other={})
    walpush.wait_for_log(NOT_FOLLOWED + r"materialized view public\.kept \(not listed: public\.grants\)")
    walpush.stop()
    assert not [line for line in start(other={}, grants={}).lines if "can be followed" in line]


# What a function's text says, and what of that is not listed.
NAMES = [
    ("RETURN EXISTS (SELECT FROM may_read);", "public.grants"),
    ("RETURN EXISTS (SELECT FROM Public.GRANTS, other);", "public.grants"),
    ("RETURN EXISTS (SELECT FROM \"grants\", other);", "public.grants"),
    ("RETURN EXECUTE 'SELECT EXISTS (SELECT FROM grants)';", "public.grants"),
    ("RETURN EXISTS (SELECT FROM \"odd one\");", "public.odd one"),
    ("RETURN EXISTS (SELECT FROM other WHERE pg_has_role('a', 'b', 'MEMBER'));", "pg_catalog.pg_has_role"),
    ("RETURN EXISTS (SELECT FROM other o WHERE o.grants AND grants = 1);", None),
]


def test_what_a_function_names_stands_behind_it(app, config, start):
    """Each is called by another, in a stream of its own."""
    app.sql("SET check_function_bodies = off")
    through_view(app)
    app.sql("CREATE TABLE other (id int)")
    app.sql('CREATE TABLE "odd one" (id int)')
    how = "(person int) RETURNS boolean STABLE LANGUAGE plpgsql AS"
    for number, (text, _) in enumerate(NAMES):
        app.sql(f"CREATE FUNCTION may_{number}{how} $_$BEGIN {text} END$_$")
        app.sql(f"CREATE FUNCTION calls_{number}{how} 'BEGIN RETURN public . may_{number}(person); END'")
        stream(config, f"names_{number}", f"SELECT 1 WHERE calls_{number}({{token.user_id}}::int)" + IS_ONE)
    walpush = start(other={})
    for number, (text, lacks) in enumerate(NAMES):
        said = [line for line in walpush.lines if re.search(NOT_FOLLOWED + f"stream=names_{number} ", line)]
        assert len(said) == (lacks is not None), (text, said)
        assert not lacks or f"function public.calls_{number}(integer) (not listed: {lacks})" in said[0], (text, said)


def test_a_standard_body_names_too(app, config, start):
    if int(app.sql("SHOW server_version_num")[0][0]) < 140000:
        pytest.skip("PostgreSQL 14 has such bodies")
    through_view(app)
    app.sql("CREATE TABLE other (id int)")
    app.sql(
        "CREATE FUNCTION may(person int) RETURNS boolean STABLE LANGUAGE sql"
        " BEGIN ATOMIC SELECT EXISTS (SELECT FROM grants g WHERE g.person = may.person); END"
    )
    config.set("streams.requests.admit", "SELECT 1 WHERE may({token.user_id}::int) AND {path.unit_id}::int = 1")
    start(other={}).wait_for_log(NOT_FOLLOWED + r"not listed: public\.grants\)")


def test_a_function_that_is_ignored(app, config, start):
    admit, _ = through_function(app)
    config.set("streams.requests.admit", admit)
    walpush = start(may={"ignore": True})
    assert not [line for line in walpush.lines if "can be followed" in line]


def test_where_no_temporary_view_can_be_made(app, start):
    app.sql("REVOKE TEMPORARY ON DATABASE " + app.name + " FROM PUBLIC")
    walpush = start()
    walpush.wait_for_log(NOT_FOLLOWED + "temporary")


# --- while it runs ---------------------------------------------------------------------------------------------------------


def test_a_lock_delays_the_answer_and_no_start(app, start):
    """The query that makes the view waits for the lock; what comes of it is asked for again, and takes effect."""
    blocker = app.connect(autocommit=False)
    with blocker.cursor() as cursor:
        cursor.execute("LOCK TABLE user_units IN ACCESS EXCLUSIVE MODE")
    walpush = start()
    blocker.close()
    walpush.wait_for_log("the rules have changed")
    with walpush.subscribe(UNIT_1, ASHA) as client, walpush.subscribe(UNIT_1, RAVI) as witness:
        app.revoke(ASHA, 1)
        is_closed_before(app, client, witness)


def test_a_lock_while_it_runs_takes_nothing_back(app, config, start):
    """A migration holds the table that decides for longer than the query waits: what was found of it counts on."""
    config.set("database.watch", 0.2)
    walpush = start()
    looks = "SELECT count(*) %s 0 FROM pg_stat_activity WHERE query LIKE 'CREATE TEMP VIEW%%%%' AND wait_event_type = 'Lock'"
    migration = app.connect(autocommit=False)
    with migration.cursor() as cursor:
        cursor.execute("LOCK TABLE roles IN ACCESS EXCLUSIVE MODE")
    app.sql("CREATE FUNCTION anything() RETURNS int LANGUAGE sql AS 'SELECT 1'")  # makes it look once more
    walpush.wait_for_log("what decides permission has changed")
    app.wait_until(looks % ">")
    app.wait_until(looks % "=")
    migration.close()
    with walpush.subscribe(UNIT_1, ASHA) as client, walpush.subscribe(UNIT_1, RAVI) as witness:
        app.revoke(ASHA, 1)
        is_closed_before(app, client, witness)
    assert not [line for line in walpush.lines if "can be followed" in line or "the rules have changed" in line]


def test_a_reload_finds_them_anew(app, config, start):
    through_view(app)
    grant_all(app)
    walpush = start()
    config.set("streams.requests.admit", MAY_READ)
    config.write(walpush.file)
    walpush.send_signal(signal.SIGHUP)
    walpush.wait_for_log("the configuration is taken over")
    walpush.wait_for_log("the rules have changed")
    with walpush.subscribe(UNIT_1, ASHA) as client, walpush.subscribe(UNIT_1, RAVI) as witness:
        app.sql("DELETE FROM grants WHERE person = %s", ASHA)
        is_closed_before(app, client, witness)
    assert not [line for line in walpush.lines if "what decides permission has changed" in line]


# --- what belongs to a stranger -------------------------------------------------------------------------------------------

STRANGER = r"an admit query calls what belongs to a role that is not trusted.*stream=requests.*"
ADMIT = "SELECT 1 FROM users u WHERE u.id = {token.user_id} AND u.status = 'Active'::text AND {path.unit_id}::int > 0"


@pytest.fixture
def stranger(app):
    """Whoever may log in, on a server whose schema public is open to all, as it was before PostgreSQL 15."""
    app.sql("DROP ROLE IF EXISTS stranger")
    app.sql("CREATE ROLE stranger")
    app.sql("GRANT CREATE ON SCHEMA public TO stranger")
    yield lambda text: app.sql(f"SET ROLE stranger; {text}; RESET ROLE")
    app.sql("DROP OWNED BY stranger CASCADE")
    app.sql("DROP ROLE stranger")


def an_operator(sql):
    """Better than the server's own, which takes text on both sides: it says yes where that says no."""
    sql("CREATE FUNCTION public.yes(varchar, text) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true'")
    sql("CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = text, FUNCTION = public.yes)")
    return ADMIT, r"operator public\.=\(.*function public\.yes\("


def a_function(sql):
    sql("CREATE FUNCTION public.lower(varchar) RETURNS text IMMUTABLE LANGUAGE sql AS $$SELECT 'active'::text$$")
    return ADMIT.replace("u.status = 'Active'::text", "lower(u.status) = 'active'"), r"function public\.lower\("


def a_cast(sql):
    sql("CREATE TYPE public.state AS (text text)")
    sql("CREATE FUNCTION public.state_of(varchar) RETURNS public.state IMMUTABLE LANGUAGE sql AS $$SELECT ROW('Active')::public.state$$")
    sql("CREATE CAST (varchar AS public.state) WITH FUNCTION public.state_of(varchar)")
    return ADMIT.replace("u.status", "(u.status::state).text"), r"function public\.state_of\("


@pytest.mark.parametrize("make", [an_operator, a_function, a_cast])
def test_nobody_is_admitted_by_what_a_stranger_owns(app, config, start, stranger, make):
    admit, what = make(stranger)
    config.set("streams.requests.admit", admit)
    config.set("streams.notifications.admit", "SELECT 1 FROM users u WHERE u.id = {token.user_id}")
    app.sql("UPDATE users SET status = 'Suspended' WHERE id = %s", ASHA)
    walpush = start()
    walpush.wait_for_log(STRANGER + what)
    for user in (ASHA, RAVI):
        assert walpush.connect(UNIT_1, user).close_code() == 1013
    with walpush.subscribe(f"/ws/notifications/{RAVI}/", RAVI):
        pass  # another stream


def test_open_connections_are_closed_when_it_is_found(app, config, start, stranger):
    config.set("streams.requests.admit", ADMIT)
    walpush = start()
    with walpush.subscribe(UNIT_1, ASHA) as client:
        an_operator(stranger)
        walpush.send_signal(signal.SIGHUP)
        assert client.close_code() == 1013


def test_what_the_owner_of_the_tables_made_is_trusted(app, config, start, stranger):
    """And what the database's owner made, or the schema's: extensions belong to a superuser."""
    app.sql("ALTER TABLE users OWNER TO stranger")
    admit, _ = a_function(stranger)
    config.set("streams.requests.admit", admit)
    app.sql("GRANT SELECT ON users TO walpush")
    walpush = start()
    with walpush.subscribe(UNIT_1, ASHA):
        pass


def test_a_stranger_is_a_failure_of_check(app, config, stranger, tmp_path):
    """The shipped queries compare a varchar with a literal, whose type is the server's choice: theirs is the stranger's, too."""
    an_operator(stranger)
    found = [f["text"] for f in findings_of(app, config, tmp_path) if f["state"] == "failure"]
    assert [text.split(" (")[0] for text in found] == [f"admit of {s}" for s in ("requests", "crates", "storage", "notifications")]
    assert all("operator public.=" in text and "role stranger" in text for text in found)


# --- check -----------------------------------------------------------------------------------------------------------------


def all_findings(app, config, tmp_path):
    file = config.write(tmp_path / "check.conf")
    env = {"DATABASE_URL": app.url, "JWT_SIGNING_KEY": SIGNING_KEY, "WALPUSH_SLOT": app.slot}
    done = run_to_end("check", "--json", "-c", file, env=env)
    return json.loads(done.stdout)["findings"]


def findings_of(app, config, tmp_path):
    return [f for f in all_findings(app, config, tmp_path) if f["check"] == "membership"]


def test_check_prints_what_it_found_and_what_a_change_costs(app, config, tmp_path):
    for table in ("users", "user_units", "roles"):
        config.remove(f"membership.{table}")
    config.set("membership.user_units", section(user="user_id"))
    found = {f["text"].partition(":")[0]: f for f in findings_of(app, config, tmp_path)}
    assert sorted(found) == ["public.roles", "public.user_units", "public.users"]
    assert {f["state"] for f in found.values()} == {"ok"}
    assert "asks the user in user_id" in found["public.user_units"]["text"]
    assert "asks everybody" in found["public.users"]["text"]
    assert "membership.users.user" in found["public.users"]["text"]
    for column in ("id", "is_active", "status", "is_superuser", "role_id"):
        assert column in found["public.users"]["text"].partition(": ")[2].partition(";")[0].split(", ")


TIED = "finds rows of public.user_units by something else than user_id = {token.user_id}"


def test_check_doubts_a_promise_that_the_query_does_not_keep(app, config, tmp_path):
    """`user` says that a row concerns that user alone; the query must compare that column with the claim."""
    app.sql("CREATE VIEW mine AS SELECT unit_id AS unit, user_id AS who FROM user_units")
    app.sql("GRANT SELECT ON mine, users TO walpush")
    promise = section(user="user_id")
    kept = [
        "SELECT 1 FROM user_units WHERE user_id = {token.user_id}",
        "SELECT 1 FROM user_units m WHERE {token.user_id} = m.user_id::text",
        "SELECT 1 FROM user_units m JOIN users u ON u.id = m.user_id WHERE u.id = {token.user_id}",
        "SELECT 1 FROM users u WHERE u.id = {token.user_id} AND EXISTS (SELECT FROM user_units m WHERE m.user_id = u.id AND m.unit_id = {path.unit_id})",
        "SELECT 1 FROM users WHERE id = {token.user_id} AND id IN (SELECT user_id FROM user_units)",
        "SELECT 1 FROM mine WHERE who = {token.user_id} AND unit = {path.unit_id}",
        "WITH m AS (SELECT * FROM user_units) SELECT 1 FROM m WHERE user_id = {token.user_id}",
        "SELECT 1 FROM users WHERE id = {token.user_id}",
        "SELECT 1 FROM users u LEFT JOIN user_units m ON m.user_id = u.id WHERE u.id = {token.user_id} AND (u.is_superuser OR m.unit_id = 1)",
        "SELECT 1 FROM users u WHERE u.id = {token.user_id} AND (u.is_superuser OR u.id IN (SELECT user_id FROM user_units))",
        "SELECT 1 FROM users u WHERE u.id = {token.user_id} AND NOT EXISTS (SELECT FROM user_units m WHERE m.user_id = u.id)",
        "SELECT 1 FROM user_units m JOIN users u ON u.id = m.user_id WHERE u.id::text = {token.user_id}",
        "SELECT 1 FROM users u JOIN (SELECT DISTINCT user_id FROM user_units) m ON m.user_id = u.id WHERE u.id = {token.user_id}::bigint",
    ]
    broken = [
        "SELECT 1 FROM user_units WHERE (user_id = {token.user_id} OR user_id = 0) AND unit_id = {path.unit_id}",
        "SELECT 1 FROM user_units WHERE NOT (user_id = {token.user_id} AND unit_id = {path.unit_id})",
        "SELECT 1 FROM user_units WHERE CASE WHEN unit_id = 1 THEN true ELSE user_id = {token.user_id} END",
        "SELECT 1 FROM user_units WHERE coalesce(user_id = {token.user_id}, true)",
        "SELECT 1 FROM user_units m LEFT JOIN users u ON u.id = m.user_id AND u.id = {token.user_id} WHERE m.unit_id = 1 OR u.is_active",
        "SELECT 1 FROM user_units m FULL JOIN users u ON u.id = m.user_id AND u.id = {token.user_id} WHERE m.unit_id = 1 OR u.is_active",
        "SELECT 1 FROM user_units m WHERE m.unit_id = 1 OR EXISTS (SELECT FROM users u WHERE u.id = m.user_id AND u.id = {token.user_id})",
        "SELECT 1 FROM users u WHERE u.role_id IN (SELECT user_id FROM user_units) OR u.email = {token.user_id}",
        "SELECT 1 FROM user_units WHERE user_id = {token.user_id}::float8",
        "SELECT 1 FROM user_units WHERE user_id = {token.user_id}::numeric",
        "SELECT 1 FROM user_units WHERE user_id = {token.user_id}::numeric::int",
        "SELECT 1 FROM user_units WHERE user_id::text = {token.user_id}::char(3)",
        "SELECT 1 FROM (SELECT user_id, rank() OVER (ORDER BY unit_id) AS r FROM user_units) m WHERE user_id = {token.user_id} AND r < 3",
        "SELECT 1 FROM users u JOIN (SELECT user_id FROM user_units ORDER BY unit_id LIMIT 1) m ON m.user_id = u.id WHERE u.id = {token.user_id}",
        "SELECT 1 FROM user_units WHERE unit_id = {path.unit_id}",
        "SELECT 1 FROM user_units WHERE user_id = {token.boss}",
        "SELECT 1 FROM user_units WHERE user_id = {token.user_id}::int + 1",
        "SELECT 1 FROM user_units m JOIN users u ON u.id = m.user_id WHERE lower(u.email) = lower({token.email})",
        "SELECT 1 FROM user_units m JOIN user_units b ON b.unit_id = m.unit_id WHERE m.user_id = {token.user_id}",
        "SELECT 1 FROM mine WHERE unit = {path.unit_id} AND {token.user_id} <> ''",
    ]
    names = [name for name in ("requests", "crates", "storage") if config.get(f"streams.{name}")]
    for at in range(0, len(kept) + len(broken), len(names)):
        queries = dict(zip(names, (kept + broken)[at : at + len(names)]))
        for name, query in queries.items():
            config.set(f"streams.{name}.admit", query)
        config.set("membership.user_units", promise)
        said = [f for f in all_findings(app, config, tmp_path) if TIED in f["text"]]
        for name, query in queries.items():
            about = [f for f in said if f"admit of {name}" in f["text"]]
            assert bool(about) == (query in broken), query
            assert {f["state"] for f in about} <= {"warning"}
            assert all("membership.user_units.user" in f["fix"]["text"] for f in about)


def test_check_doubts_a_promise_about_texts(app, config, tmp_path):
    """A text is the user as it is spelled; a comparison that takes two spellings for one is about others too. COLLATE shows in no plan."""
    app.sql("CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    app.sql("CREATE TABLE guests (who text, short varchar(3), name text COLLATE loose, number int)")
    app.sql("ALTER TABLE guests REPLICA IDENTITY FULL; GRANT SELECT ON guests TO walpush")
    app.sql("CREATE VIEW loosely AS SELECT who COLLATE loose AS who FROM guests; GRANT SELECT ON loosely TO walpush")
    for query, user, is_kept in (
        ("SELECT 1 FROM guests WHERE who = {token.user_id}", "who", True),
        ("SELECT 1 FROM guests WHERE short = {token.user_id}", "short", True),
        ('SELECT 1 FROM guests WHERE who = {token.user_id} COLLATE "C"', "who", True),
        ("SELECT 1 FROM guests WHERE who = {token.user_id} COLLATE loose", "who", False),
        ("SELECT 1 FROM loosely WHERE who = {token.user_id}", "who", False),
        ("SELECT 1 FROM guests WHERE who = name AND name = {token.user_id}", "who", False),
        ("SELECT 1 FROM guests WHERE who::bpchar = {token.user_id}::bpchar", "who", False),
        ("SELECT 1 FROM guests WHERE short = {token.user_id}::varchar(3)", "short", False),
        ("SELECT 1 FROM guests WHERE who = {token.user_id}::uuid::text", "who", False),
        ("SELECT 1 FROM guests WHERE who = {token.user_id}::int::text", "who", False),
        ("SELECT 1 FROM guests WHERE number = {token.user_id}", "number", True),
        ("SELECT 1 FROM guests WHERE number::text = {token.user_id}", "number", True),
        ("SELECT 1 FROM guests WHERE number::text = {token.user_id} COLLATE loose", "number", False),
    ):
        config.set("membership.guests", section(user=user))
        config.set("streams.requests.admit", query)
        said = [f for f in all_findings(app, config, tmp_path) if "public.guests" in f["text"] and "nobody but" in f["text"]]
        assert bool(said) != is_kept, query
        assert all(f["state"] == "warning" and "admit of requests" in f["text"] for f in said)


def test_check_doubts_a_promise_about_children(app, config, tmp_path):
    """Of a partition the plan says another name, and none at all where the value that chooses it is a parameter."""
    app.sql("CREATE TABLE seats (user_id int, unit_id int) PARTITION BY LIST (unit_id)")
    app.sql("CREATE TABLE seats_1 PARTITION OF seats FOR VALUES IN (1)")
    app.sql("CREATE TABLE seats_rest PARTITION OF seats DEFAULT")
    app.sql("CREATE TABLE heirs (user_id int, unit_id int); CREATE TABLE heirs_old () INHERITS (heirs)")
    app.sql("ALTER TABLE heirs REPLICA IDENTITY FULL; ALTER TABLE heirs_old REPLICA IDENTITY FULL")
    app.sql("GRANT SELECT ON seats, heirs, heirs_old TO walpush")
    of_user, of_unit = "user_id = {token.user_id}", "unit_id = {path.unit_id}"
    for table in ("seats", "heirs"):
        config.set(f"membership.{table}", section(user="user_id"))
    for table, where, is_kept in (
        ("seats", f"{of_user} AND {of_unit}", True),
        ("seats", of_user, True),
        ("seats", of_unit, False),
        ("seats", "user_id > 0", False),
        ("heirs", f"{of_user} AND {of_unit}", True),
        ("heirs", of_unit, False),
        ("heirs m JOIN users u ON u.id = m.user_id", "u.id = {token.user_id}", True),
        ("seats m JOIN users u ON u.id = m.user_id", "u.id = {token.user_id}", True),
        ("seats m JOIN users u ON u.id > m.user_id", "u.id = {token.user_id}", False),
    ):
        config.set("streams.requests.admit", f"SELECT 1 FROM {table} WHERE {where}")
        said = [f for f in all_findings(app, config, tmp_path) if "by something else than user_id" in f["text"]]
        about = [f for f in said if f"rows of public.{table[:5]}" in f["text"] and "admit of requests" in f["text"]]
        assert bool(about) != is_kept, (table, where)


REFUSED = {
    "a parameter without a type": ("SELECT 1 WHERE {token.user_id} IS NOT NULL", "42P18"),
    "a table that is missing": ("SELECT 1 FROM nowhere WHERE id = {token.user_id}", "42P01"),
    "a column that is not granted": ("SELECT 1 FROM users WHERE id = {token.user_id} AND email <> ''", "42501"),
    "a function that is missing": ("SELECT 1 WHERE may_read({token.user_id}::int)", "42883"),
}


def test_a_query_that_the_server_refuses_is_said_at_start(app, config, start):
    """Everybody who comes would get 1013; that is known before anybody comes. And again at a reload, of the query that is new."""
    queries = list(REFUSED.values())
    streams = ["requests", "crates", "storage", "notifications"]
    for stream, (query, _) in zip(streams[:3], queries):
        config.set(f"streams.{stream}.admit", query)
    walpush = start()
    said = [line for line in walpush.lines if "the server refuses this query" in line]
    assert [re.search(r"sqlstate=(\w+)", line)[1] for line in said] == [sqlstate for _, sqlstate in queries[:3]]
    assert [f'query="admit of {stream}"' in line for stream, line in zip(streams, said)] == [True] * 3
    with walpush.subscribe(f"/ws/notifications/{ASHA}/", ASHA):
        pass
    mark = walpush.mark()
    config.set("streams.notifications.admit", queries[3][0])
    config.write(walpush.file)
    walpush.process.send_signal(signal.SIGHUP)
    walpush.wait_for_log(r'the server refuses this query.*query="admit of notifications".*sqlstate=42883', since=mark)


def test_a_time_that_is_computed_once_is_said_at_start(app, config, start):
    """Not so a text, nor a text that is cast at each run. And again at a reload."""
    app.sql("CREATE TABLE passes (user_id int, until timestamptz, note text); ALTER TABLE passes REPLICA IDENTITY FULL")
    app.sql("GRANT SELECT ON passes TO walpush")
    passes = "SELECT 1 FROM passes WHERE user_id = {token.user_id} AND "
    config.set("streams.requests.admit", passes + "until > 'now'")
    config.set("streams.crates.admit", passes + "until > 'now'::text::timestamptz")
    config.set("streams.storage.admit", passes + "note = 'now'")
    walpush = start()
    said = [line for line in walpush.lines if "computes this time once" in line]
    assert len(said) == 1 and 'query="admit of requests"' in said[0] and "literal=now" in said[0]
    mark = walpush.mark()
    config.set("streams.storage.admit", passes + "until > timestamptz 'Today'")
    config.write(walpush.file)
    walpush.process.send_signal(signal.SIGHUP)
    walpush.wait_for_log(r'computes this time once.*query="admit of storage".*literal=today', since=mark)


def test_check_fails_for_a_time_that_is_computed_once_and_not_for_a_text(app, config, tmp_path):
    app.sql("CREATE TABLE passes (user_id int, until timestamptz, note text, short varchar(9), kind jsonb)")
    app.sql("ALTER TABLE passes REPLICA IDENTITY FULL; GRANT SELECT ON passes TO walpush")
    for where, state in (
        ("until > 'now'", "failure"),
        ("until::date >= 'today'", "failure"),
        ("until > date('tomorrow')", "failure"),
        ("until = ANY ('{{yesterday,now}}')", "failure"),
        ("until BETWEEN 'yesterday' AND 'infinity' AND note <> 'now'", "failure"),
        ("until > 'now'::text::timestamptz", "warning"),
        ("until > (SELECT 'tomorrow'::varchar)::date", "warning"),
        ("note = 'now' AND short IN ('today', 'tomorrow') AND 'now' BETWEEN note AND short", None),
        ("kind @> '{{\"at\":\"now\"}}' AND until::date <> '2026-01-01'", None),
    ):
        config.set("streams.requests.admit", f"SELECT 1 FROM passes WHERE user_id = {{token.user_id}} AND {where}")
        findings = all_findings(app, config, tmp_path)
        assert any("admit of requests" in f["text"] for f in findings if f["check"] == "query")
        said = [f for f in findings if "computed once" in f["text"] or "what time it is" in f["text"]]
        assert [f["state"] for f in said] == ([state] if state else []), where
