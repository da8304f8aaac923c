"""What a query of the configuration can do in the database, whatever the role and the database are set to: read, for a while."""

import concurrent.futures
import contextlib
import re
import threading

import psycopg2
import pytest

from harness.app import ASHA, BOB, RAVI
from harness.client import PATIENCE, Closed
from harness.proxy import proxy, without_options
from harness.walpush import BINARY, SIGNING_KEY, patient, run_to_end

UNIT_1 = "/ws/requests/1/"
SESSIONS = "SELECT pid FROM pg_stat_activity WHERE usename = 'walpush' AND datname = %s"

ASKING = f"{SESSIONS} AND backend_type = 'client backend'"


def admitted(walpush, user):
    """True, or the code that the connection is closed with."""
    with walpush.connect(UNIT_1, user) as client:
        try:
            return bool(client.established(timeout=PATIENCE))
        except Closed as closed:
            return closed.code


@contextlib.contextmanager
def settings(app, **values):
    """Of the role in this database, as somebody careless or worse would leave them."""
    for name, value in values.items():
        app.sql(f'ALTER ROLE walpush IN DATABASE "{app.name}" SET {name} = {value}')
    try:
        yield
    finally:
        app.sql(f'ALTER ROLE walpush IN DATABASE "{app.name}" RESET ALL')


def sessions_say(config, **wanted):
    """An admit query that admits where the session's settings are these."""
    config.set(
        "streams.requests.admit",
        " ".join(
            ["SELECT 1 WHERE {token.user_id} <> ''"]
            + [f"AND current_setting('{name}') = '{value}'" for name, value in wanted.items()]
        ),
    )
    return config


@contextlib.contextmanager
def pooler(app):
    """The URL of a server in between, with which sessions have the settings of the role alone."""
    with proxy(app.cluster.port, greeting=without_options) as port:
        yield app.url.replace(f":{app.cluster.port}/", f":{port}/") + "?sslmode=disable"


@contextlib.contextmanager
def direct(app):
    yield app.url


@pytest.mark.parametrize("through", [direct, pooler])
def test_the_session_is_what_it_must_be_whatever_the_role_is_set_to(app, config, make_walpush, through):
    config.set("database.statement-timeout", 3)
    sessions_say(
        config,
        search_path="pg_catalog,public,pg_temp",
        statement_timeout="3s",
        lock_timeout="1s",
        transaction_read_only="on",
        default_transaction_read_only="on",
        jit="off",
        TimeZone="UTC",
        client_encoding="UTF8",
    )
    with settings(
        app,
        search_path="evil, public",
        statement_timeout="0",
        lock_timeout="0",
        default_transaction_read_only="off",
        timezone="'Asia/Kolkata'",
    ):
        with through(app) as url, make_walpush(app, config, url=url) as walpush:
            assert admitted(walpush, ASHA) is True


def told(client):
    """The next row, but for when it was changed."""
    message = client.recv()
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:", message["updated_at"])
    return {name: value for name, value in message["data"].items() if name != "updated_at"}


def test_a_change_is_told_alike_whatever_the_role_is_set_to(app, config, make_walpush):
    """The session that decodes prints times and bytes."""
    app.sql("ALTER TABLE requests ADD seal bytea DEFAULT 'a\\000b', ADD takes interval DEFAULT '1 day 2 hours', ADD since timestamptz DEFAULT now()")
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request)
        wanted = told(client)
    assert wanted["takes"] and wanted["seal"] and wanted["since"]
    with settings(app, datestyle="'German, DMY'", intervalstyle="iso_8601", bytea_output="escape", timezone="'Asia/Kolkata'"):
        with pooler(app) as url, make_walpush(app, config, url=url) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
            app.touch(app.request)
            assert told(client) == wanted


def test_tables_of_the_same_name_elsewhere_admit_nobody(app, config, make_walpush):
    """Whoever may make a schema cannot put it before the application's."""
    app.sql("CREATE SCHEMA evil")
    app.sql("CREATE TABLE evil.users AS SELECT * FROM public.users")
    app.sql("UPDATE evil.users SET is_superuser = true, is_active = true, status = 'Active'")
    app.sql("GRANT USAGE ON SCHEMA evil TO walpush")
    app.sql("GRANT SELECT ON evil.users TO walpush")
    with settings(app, search_path="evil, public"), make_walpush(app, config) as walpush:
        assert admitted(walpush, BOB) == 4403
        assert admitted(walpush, RAVI) is True


def test_what_decides_permission_is_found_through_a_pooler_too(app, config, make_walpush):
    """The sessions that find it out have the names of the others."""
    app.sql("CREATE SCHEMA evil")
    app.sql("CREATE TABLE evil.user_units AS SELECT * FROM public.user_units")
    app.sql("GRANT USAGE ON SCHEMA evil TO walpush")
    app.sql("GRANT SELECT ON evil.user_units TO walpush")
    for table in ("users", "user_units", "roles"):
        config.remove(f"membership.{table}")
    with settings(app, search_path="evil, public"), pooler(app) as url, make_walpush(app, config, url=url) as walpush:
        with walpush.subscribe(UNIT_1, RAVI) as client:
            app.revoke(RAVI, 1)
            with pytest.raises(Closed) as closed:
                client.recv()
            assert closed.value.code == 4403


def test_a_function_that_writes_is_stopped(app, config, make_walpush):
    """Even one that runs with its owner's rights, and one that tries to have it otherwise."""
    app.sql("CREATE TABLE written (what text)")
    app.sql(
        "CREATE FUNCTION write_it() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS"
        " $$ BEGIN INSERT INTO public.written VALUES ('x'); RETURN 1; END $$"
    )
    app.sql(
        "CREATE FUNCTION insist() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS"
        " $$ BEGIN PERFORM set_config('transaction_read_only', 'off', true);"
        " INSERT INTO public.written VALUES ('x'); RETURN 1; END $$"
    )
    for function in ("write_it", "insist"):
        config.set("streams.requests.admit", f"SELECT {function}() WHERE {{token.user_id}} <> ''")
        with make_walpush(app, config).start(streaming=False) as walpush:
            walpush.wait_for_log('msg="?streaming')
            assert admitted(walpush, ASHA) == 1013
            assert re.search("25006|25001", walpush.wait_for_log("an admit query fails"))
    assert app.value("SELECT count(*) FROM written") == 0


def test_a_query_that_takes_too_long_is_ended_in_the_server_too(app, config, make_walpush):
    config.set("database.statement-timeout", 1)
    config.set("streams.requests.admit", "SELECT 1 FROM pg_sleep(600) WHERE {token.user_id} <> ''")
    with make_walpush(app, config) as walpush:
        assert admitted(walpush, ASHA) == 1013
        app.wait_until(
            "SELECT count(*) = 0 FROM pg_stat_activity WHERE query LIKE %s AND state = 'active' AND pid <> pg_backend_pid()",
            "%pg_sleep(600)%",
        )
        # And the connection serves the next one.
        with walpush.subscribe("/ws/crates/1/", ASHA):
            pass


LOCKED_LOOKUP = "SELECT r.withdrawn_by_id AS user_id FROM requests r, gate WHERE r.id = {request_id}"


@pytest.mark.parametrize("set_to", [None, 0.5], ids=["default", "configured"])
def test_a_query_that_waits_for_a_lock_is_ended_before_its_statement_timeout(app, config, make_walpush, set_to):
    app.sql("CREATE TABLE gate AS SELECT 1 AS open")
    app.sql("GRANT SELECT ON gate TO walpush")
    config.set("database.statement-timeout", 300).set("tables.sendbacks.lookup", LOCKED_LOOKUP)
    if set_to:
        config.set("database.lock-timeout", set_to)
    # sql/setup.sql gives the role a lock_timeout, which is only for who else uses it.
    with settings(app, lock_timeout="0"), make_walpush(app, config) as walpush, walpush.subscribe(f"/ws/notifications/{ASHA}/", ASHA) as client:
        blocker = app.connect(autocommit=False)
        with blocker.cursor() as cursor:
            cursor.execute("LOCK TABLE gate")
        app.insert_sendback(app.request)
        assert client.recv()["type"] == "resync"
        line = walpush.wait_for_log("a lookup failed")
        assert "sqlstate=55P03" in line and "lock timeout" in line
        blocker.close()


def test_a_lock_timeout_that_ends_nothing_is_refused(app, config, tmp_path):
    config.set("database.statement-timeout", 2).set("database.lock-timeout", 2)
    for command in ("run", "check"):
        done = run_to_end(command, "-c", config.write(tmp_path / "sidecar.conf"), env={"JWT_SIGNING_KEY": SIGNING_KEY, "DATABASE_URL": app.url})
        assert done.returncode != 0 and "lower it, or raise database.statement-timeout" in done.stdout + done.stderr


@pytest.mark.parametrize("through", [direct, pooler])
def test_check_waits_for_a_lock_no_longer_than_run(app, config, tmp_path, through):
    """Its own session, on the table that `admit` reads: it says that it could not look instead of waiting for the statement_timeout."""
    config.set("database.statement-timeout", 300)
    blocker = app.connect(autocommit=False)
    with contextlib.closing(blocker), blocker.cursor() as cursor, through(app) as url:
        cursor.execute("LOCK TABLE user_units IN ACCESS EXCLUSIVE MODE")
        env = {"JWT_SIGNING_KEY": SIGNING_KEY, "DATABASE_URL": url, "WALPUSH_SLOT": app.slot}
        done = run_to_end("check", "-c", config.write(tmp_path / "sidecar.conf"), env=env, timeout=5 * PATIENCE)
    assert done.returncode == 1 and "canceling statement due to lock timeout" in done.stdout, done.stdout


def test_the_role_may_read_what_is_configured_and_nothing_else(app):
    """As the role itself, with the settings that its sessions would have without walpush's."""
    connection = app.cluster.connect(app.name, user="walpush", password=app.url.split(":")[2].partition("@")[0])
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM requests")
        for forbidden in (
            "CREATE TABLE mine (x int)",
            "CREATE SCHEMA mine",
            "CREATE ROLE mine",
            "CREATE DATABASE mine",
            "UPDATE users SET is_superuser = true",
            "INSERT INTO user_units (user_id, unit_id) VALUES (5, 1)",
            "DELETE FROM requests",
            "TRUNCATE requests",
            "SELECT password FROM users",
            "SELECT * FROM pg_authid",
            "SELECT pg_read_file('/etc/passwd')",
            "COPY (SELECT 1) TO PROGRAM 'true'",
            "ALTER ROLE walpush SUPERUSER",
        ):
            cursor.execute("SET default_transaction_read_only = off")
            with pytest.raises(Exception, match="permission denied|must be|read-only|must have"):
                cursor.execute(forbidden)
            connection.rollback()


def test_what_a_token_says_is_never_sql(app, walpush):
    for user in ("2' OR '1'='1", "2; SELECT 1", "$1", "{path.unit_id}", "2::int", "(SELECT 2)", "\\' OR 1=1 --", "2\u2019 OR 1=1"):
        assert admitted(walpush, user) == 4403, user


def test_no_session_ends_for_being_idle(app, config, make_walpush):
    """An administrator's policy against idle sessions is not for one that waits for questions."""
    if not app.cluster.knows("idle_session_timeout"):
        pytest.skip("PostgreSQL 13 has no such policy")
    with settings(app, idle_session_timeout="'500ms'"), make_walpush(app, config) as walpush:
        app.wait_until(f"SELECT count(*) = 6 FROM ({SESSIONS}) AS s", app.name)  # without the one that ends after a start
        pids = {pid for (pid,) in app.sql(SESSIONS, app.name)}
        app.sql("SELECT pg_sleep(1.5)")
        assert {pid for (pid,) in app.sql(SESSIONS, app.name)} == pids
        assert admitted(walpush, ASHA) is True
        assert "level=warn" not in walpush.log()


def test_the_servers_last_words_to_a_question_that_is_out_are_in_the_log(app, config, make_walpush):
    patient(config, 60)
    waiting = f"SELECT s.pid FROM ({SESSIONS}) AS s JOIN pg_locks l ON l.pid = s.pid WHERE NOT l.granted"
    with make_walpush(app, config) as walpush:
        blocker = app.connect(autocommit=False)
        with blocker.cursor() as cursor:
            cursor.execute("LOCK TABLE user_units")  # which admit reads
        with walpush.connect(UNIT_1, ASHA) as client:
            app.wait_until(f"SELECT EXISTS ({waiting})", app.name)
            app.sql(f"SELECT pg_terminate_backend(pid) FROM ({waiting}) AS sessions", app.name)
            line = walpush.wait_for_log("connection lost.* connection=admissions")
            assert "terminating connection due to administrator command" in line and "sqlstate=57P01" in line
            blocker.close()
            client.established()  # asked once more


def test_the_servers_last_words_come_whatever_is_sent_meanwhile(app, config, make_walpush):
    """Sending reads too: what libpq took in then is looked at, although the next read finds the end alone."""
    with make_walpush(app, config) as walpush, concurrent.futures.ThreadPoolExecutor(8) as people:
        over = threading.Event()

        def come_and_go():
            while not over.is_set():
                admitted(walpush, ASHA)

        asking = [people.submit(come_and_go) for _ in range(8)]
        try:
            for _ in range(30):
                app.wait_until(f"SELECT count(*) >= 2 FROM ({ASKING}) AS sessions", app.name)
                app.cluster.end_sessions(f"pid IN (SELECT pid FROM ({ASKING}) AS sessions)", app.name)
        finally:
            over.set()
        for one in asking:
            one.result()
        lost = [line for line in walpush.lines if "connection lost" in line]
        assert len(lost) >= 30
        assert [line for line in lost if "sqlstate=57P01" not in line] == []


def test_the_servers_last_words_are_in_the_log(app, config, make_walpush):
    with make_walpush(app, config) as walpush:
        mark = walpush.mark()
        app.sql(f"SELECT pg_terminate_backend(pid) FROM ({SESSIONS}) AS sessions", app.name)
        for connection in ("lookups", "admissions"):
            line = walpush.wait_for_log(f"connection lost.* connection={connection}", since=mark)
            assert "terminating connection due to administrator command" in line and "sqlstate=57P01" in line
        walpush.wait_for_log(r'msg="?streaming"?', since=mark)


# --- what others may create where names are looked for ----------------------------------------------------------------------

TYPES = 'oid regproc regclass int2 int4 int8 name text "char" xid xid8 pg_lsn numeric float8 interval bool'.split()
TYPES += "int2[] int2vector oid[] text[] name[]".split()
OPERATORS = "= <> < > <= >= + - * / || ~ !~ ~* ~~".split()
TRAPS = """
DO $make$
DECLARE a text; b text; name text;
BEGIN
    FOREACH a IN ARRAY %(types)s LOOP
        FOREACH name IN ARRAY %(names)s LOOP
            EXECUTE format('CREATE FUNCTION %%I(%%s) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE ''trapped''; END$$', name, a);
        END LOOP;
        FOREACH b IN ARRAY %(types)s LOOP
            EXECUTE format('CREATE FUNCTION trap(%%s, %%s) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE ''trapped''; END$$', a, b);
            FOREACH name IN ARRAY %(operators)s LOOP
                CONTINUE WHEN EXISTS (SELECT FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprname = name
                                      AND oprleft = a::regtype AND oprright = b::regtype);
                EXECUTE format('CREATE OPERATOR %%s (FUNCTION = trap, LEFTARG = %%s, RIGHTARG = %%s)', name, a, b);
            END LOOP;
        END LOOP;
    END LOOP;
END
$make$
"""


def traps(app):
    """In `public`, a function for each that the program's SQL may call, and an operator for each pair of the catalog's types that the server
    itself has none for: what fits better than the server's own would be called, as whoever asks."""
    known = {name for (name,) in app.sql("SELECT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace")}
    called = {name.decode() for name in re.findall(rb"\b([a-z][a-z0-9_]+)\(", BINARY.read_bytes())} & known
    assert {"format", "starts_with", "pg_current_snapshot"} <= called
    with app.connect().cursor() as cursor:
        cursor.execute(TRAPS, {"types": TYPES, "operators": OPERATORS, "names": sorted(called)})


def test_walpush_itself_asks_with_the_servers_names_and_operators(app, config, make_walpush, tmp_path):
    for table in ("users", "user_units", "roles"):
        config.remove(f"membership.{table}")
    config.set("database.watch", 1)
    traps(app)
    with pytest.raises(psycopg2.Error, match="trapped"):  # they are set: a comparison by cast is one of them
        app.sql("SELECT 1 FROM pg_class c WHERE c.oid = 'pg_class'::regclass")
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request)
        assert client.recv()["type"] == "request.updated"
        app.sql("ALTER TABLE user_units ADD COLUMN note text")
        walpush.wait_for_log("what decides permission has changed")
        app.sql("UPDATE user_units SET unit_id = unit_id")  # asked again, and how far the WAL is
        app.touch(app.request)
        assert client.recv_until(lambda m: m["type"] == "request.updated")
        for doubt in ("trapped", "level=error", "level=warn"):
            assert doubt not in walpush.log()
    env = {"DATABASE_URL": app.url, "JWT_SIGNING_KEY": SIGNING_KEY, "WALPUSH_SLOT": app.slot}
    done = run_to_end("check", "-c", config.write(tmp_path / "check.conf"), env=env)
    assert "trapped" not in done.stdout and " 0 failures" in f" {done.stdout.splitlines()[-1]}", done.stdout
