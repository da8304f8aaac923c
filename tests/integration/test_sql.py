"""The DBA's scripts: what `walpush sql` and setup.sql grant and do not, that each may run again, that teardown leaves nothing.

These tests need a server of their own: they change its settings and its roles.
"""

import contextlib
import re
import time

import psycopg2
import psycopg2.errors
import psycopg2.extras
import pytest

from harness.bare import TEARDOWN, bare_application
from harness.client import PATIENCE
from harness.walpush import SIGNING_KEY, run_to_end, shipped_config
from throwaway.cluster import ROOT, SETUP, Cluster, ClusterError

MONITORING = ROOT / "sql/monitoring.sql"

LISTED = ["requests", "crates", "storages", "sendbacks"]
MEMBERS = ["user_units", "users", "roles"]
# Everything that the queries of the shipped sidecar.conf read.
NEEDED = [
    "SELECT id, username, role_id, status, is_active, is_superuser FROM users",
    "SELECT id, role_name FROM roles",
    "SELECT user_id, unit_id FROM user_units",
    "SELECT id, unit_code FROM units",
    "SELECT id, unit_id, withdrawn_by_id FROM requests",
    "SELECT id, to_central FROM crates",
]
FORBIDDEN = [
    "SELECT password FROM users",
    "SELECT * FROM users",
    "SELECT email FROM users",
    "SELECT u FROM users u",
    "SELECT purpose FROM requests",
    "SELECT barcode FROM crates",
    "SELECT id FROM storages",
    "SELECT reason FROM sendbacks",
    "SELECT location FROM units",
    "SELECT is_active FROM roles",
    "SELECT id FROM user_units",
    "INSERT INTO units (unit_code, unit_name) VALUES ('X', 'X')",
    "UPDATE requests SET status = 'Approved'",
    "DELETE FROM sendbacks",
    "TRUNCATE requests",
    "CREATE TABLE public.mine (id int)",
    "CREATE SCHEMA mine",
    "CREATE ROLE mine",
    "ALTER TABLE requests REPLICA IDENTITY DEFAULT",
    "SELECT pg_read_file('postgresql.conf')",
    "SELECT rolpassword FROM pg_authid",
    "COPY requests TO PROGRAM 'true'",
]
WRITE_20_MB = "SELECT pg_logical_emit_message(true, 'x', repeat('x', 1 << 20)) FROM generate_series(1, 20)"


@pytest.fixture(scope="module")
def server():
    # As a DBA finds it: a version that restricts output plugins does not allow wal2json yet.
    with Cluster(fsync=False, allow_wal2json=False) as cluster:
        yield cluster


def test_every_word_that_the_server_reserves_is_quoted(server):
    source = (ROOT / "src/text/sqltext.c").read_text(encoding="utf-8")
    listed = re.findall(r'"([a-z_]+)"', source[source.index("reserved[] = {") : source.index("};", source.index("reserved[] = {"))])
    with contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'T')")
        assert {word for (word,) in cursor.fetchall()} <= set(listed)
    assert listed == sorted(listed)  # bsearch looks them up


@pytest.fixture
def database(server):
    with bare_application(server) as name:
        yield name


@pytest.fixture
def ready(server, database):
    server.setup(database)
    return database


@contextlib.contextmanager
def as_walpush(server, database, **options):
    connection = server.connect(database, "walpush", **options)
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def state(server, database):
    """All that setup.sql touches, but for the password's hash, which is salted."""
    return {
        query: server.sql(query, dbname=database)
        for query in (
            "SELECT relname, relreplident, relacl::text FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') ORDER BY 1",
            "SELECT attrelid::regclass::text, attname, attacl::text FROM pg_attribute"
            " WHERE attacl IS NOT NULL ORDER BY 1, 2",
            "SELECT nspacl::text FROM pg_namespace WHERE nspname = 'public'",
            "SELECT rolname, rolcanlogin, rolreplication, rolsuper, rolcreatedb, rolcreaterole, rolbypassrls"
            " FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1",
            "SELECT setdatabase, setrole::regrole::text, setconfig FROM pg_db_role_setting ORDER BY 1, 2",
            "SELECT slot_name, plugin, slot_type, database, temporary FROM pg_replication_slots",
            "SELECT setting FROM pg_settings WHERE name = 'output_plugin_libraries'",
        )
    }


def setting(server, name):
    found = server.sql("SELECT setting FROM pg_settings WHERE name = %s", [name])
    return found[0][0] if found else None


# --- setup.sql -----------------------------------------------------------------------------------------------


def test_teardown_takes_the_event_trigger_back(server, ready, tmp_path):
    file = tmp_path / "ddl.sql"
    file.write_text(run_to_end("sql", "--ddl").stdout)
    server.psql(file, dbname=ready)
    for _ in range(2):
        server.psql(TEARDOWN, dbname=ready)
        assert server.sql("SELECT evtname FROM pg_event_trigger", dbname=ready) == []


def test_setup_may_run_again(server, ready):
    once = state(server, ready)
    server.setup(ready)
    assert without_defaults(state(server, ready)) == without_defaults(once)


def test_setup_bounds_the_roles_connections(server, ready):
    limit = "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'walpush'"
    assert server.sql(limit) == [(-1,)], "only where somebody says how many processes there are"
    server.psql(SETUP, {"replicas": "3"}, dbname=ready)
    assert server.sql(limit) == [(66,)]
    server.setup(ready)
    assert server.sql(limit) == [(66,)]


def test_setup_makes_the_slot(server, ready):
    rows = server.sql("SELECT slot_name, plugin, slot_type, database, temporary FROM pg_replication_slots")
    assert rows == [("walpush", "wal2json", "logical", ready, False)]


def test_a_role_without_a_password_is_told_of(server, database):
    server.psql(SETUP, dbname=database)
    assert server.sql("SELECT rolpassword FROM pg_authid WHERE rolname = 'walpush'") == [(None,)]
    assert server.sql("SELECT slot_name FROM pg_replication_slots") == [("walpush",)]


def test_a_slot_that_outlives_failover(server, database):
    if server.sql("SELECT current_setting('server_version_num')::int < 170000")[0][0]:
        pytest.skip("slots follow a failover from PostgreSQL 17 on")
    server.psql(SETUP, {"failover": "on"}, dbname=database)
    assert server.sql("SELECT failover FROM pg_replication_slots") == [(True,)]


def test_setup_without_a_slot(server, database):
    server.setup(database, slot="")
    assert server.sql("SELECT slot_name FROM pg_replication_slots") == []


def test_setup_adds_to_the_allowed_plugins(server, database):
    if setting(server, "output_plugin_libraries") is None:
        pytest.skip("this version of PostgreSQL does not restrict output plugins")
    server.sql("ALTER SYSTEM SET output_plugin_libraries = pgoutput, 'test_decoding', 'decoder_raw'")
    server.restart()
    server.setup(database)
    assert setting(server, "output_plugin_libraries") == "pgoutput, test_decoding, decoder_raw, wal2json"
    server.psql(TEARDOWN, dbname=database)
    assert setting(server, "output_plugin_libraries") == "pgoutput, test_decoding, decoder_raw"
    server.sql("ALTER SYSTEM RESET output_plugin_libraries")
    server.restart()


def test_old_rows_are_logged_whole(server, ready):
    full = server.sql("SELECT relname FROM pg_class WHERE relreplident = 'f'", dbname=ready)
    assert {name for (name,) in full} == {*LISTED, *MEMBERS}


def refusals(server, database, queries):
    """Of the queries, those that the role is not permitted."""
    refused = []
    with as_walpush(server, database) as cursor:
        # Read-only is a default that the role itself can lift: what counts is what it has been granted.
        cursor.execute("SET default_transaction_read_only = off")
        for query in queries:
            try:
                cursor.execute(query)
            except psycopg2.errors.InsufficientPrivilege:
                refused.append(query)
    return refused


def test_the_role_reads_what_it_needs(server, ready):
    assert refusals(server, ready, NEEDED) == []


def test_the_role_does_nothing_else(server, ready):
    assert refusals(server, ready, FORBIDDEN) == FORBIDDEN


def test_the_roles_sessions_are_bounded(server, ready):
    with as_walpush(server, ready) as cursor:
        for name, value in {
            "default_transaction_read_only": "on",
            "statement_timeout": "10s",
            "lock_timeout": "2s",
            "idle_in_transaction_session_timeout": "30s",
        }.items():
            cursor.execute("SELECT current_setting(%s)", [name])
            assert cursor.fetchone() == (value,), name


def test_the_role_streams_over_tcp(server, ready):
    """Role, password, pg_hba, plugin and slot together: the first change arrives."""
    factory = psycopg2.extras.LogicalReplicationConnection
    with as_walpush(server, ready, connection_factory=factory, autocommit=False) as cursor:
        cursor.start_replication(slot_name="walpush", options={"format-version": "2"}, decode=True)
        server.sql("UPDATE user_units SET unit_id = 2 WHERE id = 1", dbname=ready)

        class Arrived(Exception):
            pass

        def take(message):
            if '"action":"U"' in message.payload:
                raise Arrived(message.payload)

        with pytest.raises(Arrived, match='"identity":.*"unit_id"') as arrived:
            cursor.consume_stream(take)
        assert '"name":"user_id","type":"integer","value":2' in str(arrived.value)
    # The walsender notices only when it next looks at its socket; teardown must not find the slot in use.
    server.end_sessions("pid IN (SELECT active_pid FROM pg_replication_slots)")


def test_names_that_need_quotes(server, database):
    server.setup(database, role="Wal's \"push\"")
    assert server.sql("SELECT rolreplication FROM pg_roles WHERE rolname = %s", ["Wal's \"push\""]) == [(True,)]
    server.psql(TEARDOWN, {"role": "Wal's \"push\""}, dbname=database)
    assert server.sql("SELECT 1 FROM pg_roles WHERE rolname = %s", ["Wal's \"push\""]) == []


def test_the_password_is_not_logged(server, ready):
    server.sql("ALTER SYSTEM SET log_statement = 'all'")
    server.restart()
    server.passwords["walpush"] = "a-password-that-nobody-else-has"
    server.setup(ready)
    log = server.log()
    assert "REPLICA IDENTITY" in log or "GRANT SELECT" in log  # statements are logged at all
    assert "a-password-that-nobody-else-has" not in log
    with as_walpush(server, ready) as cursor:
        cursor.execute("SELECT 1")
    server.sql("ALTER SYSTEM RESET log_statement")
    server.restart()


# --- what setup.sql refuses ----------------------------------------------------------------------------------


def test_setup_says_who_may_create_where_queries_look_for_names(server, ready):
    """And what takes it away, in one piece: PUBLIC's right may be what the migrations live on."""

    role = "migrator"
    server.sql(f"CREATE ROLE {role}")

    def notes():
        return [line for line in server.setup(ready).splitlines() if "may create" in line]

    server.sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC", dbname=ready)
    assert notes() == []
    server.sql("GRANT CREATE ON SCHEMA public TO PUBLIC", dbname=ready)
    server.sql(f"ALTER TABLE storages OWNER TO {role}", dbname=ready)
    (note,) = notes()
    assert note.startswith("note: PUBLIC may create in schema public")
    assert note.endswith(f"GRANT CREATE ON SCHEMA public TO {role}; REVOKE CREATE ON SCHEMA public FROM PUBLIC;")
    server.sql(note.partition("it: ")[2], dbname=ready)
    (note,) = notes()  # who owns one of many tables does not decide about all
    assert f"{role} may create" in note
    tables = "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    for (table,) in server.sql(tables, dbname=ready):
        server.sql(f"ALTER TABLE {table} OWNER TO {role}", dbname=ready)
    assert notes() == []
    server.sql(f"REASSIGN OWNED BY {role} TO postgres", dbname=ready)
    server.sql(f"DROP OWNED BY {role}", dbname=ready)
    server.sql(f"DROP ROLE {role}")


def test_setup_names_a_missing_table(server, database):
    server.sql("DROP TABLE sendbacks", dbname=database)
    with pytest.raises(ClusterError, match=r"there is no table public\.sendbacks[\s\S]*HINT:.*migrations"):
        server.setup(database)
    assert server.sql("SELECT slot_name FROM pg_replication_slots") == []


@pytest.mark.parametrize("role", ["postgres", "application"])
def test_setup_leaves_other_roles_alone(server, database, role):
    """The URL at hand is the application's own, say: it would be made read-only."""
    server.add_role("application")
    server.sql("ALTER TABLE storages OWNER TO application", dbname=database)
    with pytest.raises(ClusterError, match=r"role (postgres is a superuser|application owns tables)[\s\S]*HINT:.*one of its own"):
        server.setup(database, role=role)
    assert server.sql("SELECT setconfig FROM pg_db_role_setting") == []
    server.sql("REASSIGN OWNED BY application TO postgres; DROP ROLE application", dbname=database)


def test_setup_refuses_a_slot_of_another_plugin(server, database):
    server.sql("SELECT pg_create_logical_replication_slot('walpush', 'test_decoding')", dbname=database)
    with pytest.raises(ClusterError, match="slot walpush exists, but for plugin test_decoding"):
        server.setup(database)


def test_setup_refuses_when_no_slot_is_left(server, database):
    server.sql("ALTER SYSTEM SET max_replication_slots = 1")
    server.restart()
    server.sql("SELECT pg_create_physical_replication_slot('standby')")
    with pytest.raises(ClusterError, match="all 1 replication slots are in use"):
        server.setup(database)
    server.sql("SELECT pg_drop_replication_slot('standby')")
    server.sql("ALTER SYSTEM RESET max_replication_slots")
    server.restart()


def test_setup_refuses_a_wal_level_that_is_too_low(server, database):
    server.sql("ALTER SYSTEM SET wal_level = replica")
    server.restart()
    with pytest.raises(ClusterError, match=r"wal_level is replica[\s\S]*HINT:.*wal_level = logical"):
        server.setup(database)
    server.sql("ALTER SYSTEM RESET wal_level")
    server.restart()


# --- walpush sql: the script of another configuration ----------------------------------------------------------------


@pytest.fixture
def script(server, tmp_path):
    """Runs what `walpush sql` prints for a configuration, through psql as the DBA does; returns what `walpush check` says."""
    tmp_path.chmod(0o755)

    def run(database, config, *args, **variables):
        password = server.passwords.setdefault("walpush", "not-set")
        env = {"DATABASE_URL": server.url(database), "JWT_SIGNING_KEY": SIGNING_KEY}
        file = config.write(tmp_path / "sidecar.conf")
        done = run_to_end("sql", "-c", file, *args, env=env)
        assert done.returncode == 0, done.stderr
        assert SIGNING_KEY not in done.stdout and password not in done.stdout
        (tmp_path / "setup.sql").write_text(done.stdout)
        (tmp_path / "setup.sql").chmod(0o644)
        server.psql(tmp_path / "setup.sql", {"password": password, **variables}, dbname=database)
        return run_to_end("check", "-c", file, env=env)

    return run


def test_the_script_makes_the_check_green(server, database, script):
    done = script(database, shipped_config())
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1].startswith("0 failures"), done.stdout
    assert refusals(server, database, NEEDED) == []
    assert refusals(server, database, FORBIDDEN) == FORBIDDEN


def test_the_script_needs_no_database(tmp_path):
    file = shipped_config().write(tmp_path / "sidecar.conf")
    env = {"DATABASE_URL": "postgresql://reader@127.0.0.1:1/nowhere", "JWT_SIGNING_KEY": SIGNING_KEY}
    done = run_to_end("sql", "-c", file, env=env)
    assert done.returncode == 0, done.stderr
    assert "\\set role 'reader'" in done.stdout


def test_the_script_refuses_a_configuration_that_is_none(tmp_path):
    file = shipped_config().replace("unit_{lookup.unit_id}", "unit_{nobody.unit_id}").write(tmp_path / "sidecar.conf")
    env = {"DATABASE_URL": "postgresql://reader@127.0.0.1:1/nowhere", "JWT_SIGNING_KEY": SIGNING_KEY}
    done = run_to_end("sql", "-c", file, env=env)
    assert done.returncode == 2 and done.stdout == ""
    assert "sidecar.conf:" in done.stderr and "{nobody.unit_id}" in done.stderr


def test_another_configuration_gets_what_it_needs_and_no_more(server, ready, script):
    server.sql("CREATE SCHEMA archive", dbname=ready)
    server.sql("CREATE TABLE archive.notes (id int PRIMARY KEY, unit_id int, body text, secret text)", dbname=ready)
    server.sql("CREATE VIEW archive.names AS SELECT id, username FROM users", dbname=ready)
    config = shipped_config()
    config.set("tables.sendbacks.lookup", "SELECT n.id AS user_id, n.* FROM archive.names n WHERE n.id = {request_id};")
    config.set("tables.storages.from", "archive.notes")
    config.set("actor.query", "SELECT count(*) FROM storages WHERE {id} > 0 -- all of them")
    done = script(ready, config, "--revoke")
    assert done.returncode == 0, done.stdout
    assert refusals(server, ready, ["SELECT * FROM archive.names", "SELECT id FROM storages"]) == []
    gone = ["SELECT id FROM archive.notes", "SELECT rack_name FROM storages", "SELECT withdrawn_by_id FROM requests"]
    assert refusals(server, ready, gone) == gone
    identity = server.sql("SELECT relreplident FROM pg_class WHERE relname = 'notes'", dbname=ready)
    assert identity == [("f",)]
    server.psql(TEARDOWN, dbname=ready)


def test_a_whole_row_needs_the_whole_table(server, ready, script):
    config = shipped_config().set("actor.query", "SELECT row_to_json(s) FROM storages s WHERE s.id = {id}")
    done = script(ready, config)
    assert done.returncode == 0, done.stdout
    assert refusals(server, ready, ["SELECT * FROM storages"]) == []


def test_a_key_that_is_enough_stays(server, ready, script):
    server.sql("ALTER TABLE users REPLICA IDENTITY DEFAULT", dbname=ready)
    config = shipped_config().remove("membership.users.columns")
    for stream in ("requests", "crates", "storage", "notifications"):
        config.set(f"streams.{stream}.admit", "SELECT 1 FROM users WHERE id = {token.user_id}")
    done = script(ready, config)
    assert done.returncode == 0, done.stdout
    assert server.sql("SELECT relreplident FROM pg_class WHERE relname = 'users'", dbname=ready) == [("d",)]


# --- teardown.sql --------------------------------------------------------------------------------------------


def test_teardown_undoes_setup_and_may_run_again(server, database):
    before = state(server, database)
    server.setup(database)
    server.psql(MONITORING, dbname=database)
    assert state(server, database) != before
    for _ in range(2):
        server.psql(TEARDOWN, dbname=database)
        after = state(server, database)
        # PostgreSQL writes the default rights of a table and a schema out once they have been granted.
        assert without_defaults(after) == without_defaults(before)


def without_defaults(state_of):
    return {
        query: [tuple(None if str(value).startswith("{postgres=") else value for value in row) for row in rows]
        for query, rows in state_of.items()
        if "nspacl" not in query
    }


def test_teardown_refuses_while_the_slot_is_read(server, ready):
    factory = psycopg2.extras.LogicalReplicationConnection
    with as_walpush(server, ready, connection_factory=factory, autocommit=False) as cursor:
        cursor.start_replication(slot_name="walpush", options={"format-version": "2"})
        with pytest.raises(ClusterError, match=r"slot walpush is being read by process \d+[\s\S]*Stop walpush"):
            server.psql(TEARDOWN, dbname=ready)
        server.end_sessions("pid IN (SELECT active_pid FROM pg_replication_slots)")


def test_teardown_keeps_a_role_that_another_database_needs(server, ready):
    server.create_database("other", schema=False)
    server.sql("CREATE TABLE t (id int)", dbname="other")
    server.sql("GRANT SELECT ON t TO walpush", dbname="other")
    server.psql(TEARDOWN, dbname=ready)
    assert server.sql("SELECT 1 FROM pg_roles WHERE rolname = 'walpush'") == [(1,)]
    server.drop("other")


# --- monitoring.sql ------------------------------------------------------------------------------------------


def watch(server, database):
    connection = server.connect(database, cursor_factory=psycopg2.extras.RealDictCursor)
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT * FROM walpush_monitoring")
        rows = cursor.fetchall()
    assert len(rows) == 1
    return rows[0]


@pytest.fixture
def watched(server, ready):
    for _ in range(2):  # it may run again
        server.psql(MONITORING, {"warn_bytes": 16 * 1024 * 1024}, dbname=ready)
    return ready


def test_monitoring_of_a_slot_that_nobody_reads(server, watched):
    before = watch(server, watched)
    assert (before["slot_name"], before["database"], before["active"]) == ("walpush", watched, False)
    assert (before["state"], before["finding"], before["wal_status"]) == ("warning", "unread", "reserved")
    assert before["meaning"] and before["hint"]
    server.sql("UPDATE requests SET purpose = repeat('x', 100000)", dbname=watched)
    after = watch(server, watched)
    assert after["lag_bytes"] > before["lag_bytes"]
    assert after["retained_bytes"] >= after["lag_bytes"]


def test_monitoring_says_which_plugin_and_whether_its_publication_exists(server, watched):
    row = watch(server, watched)
    assert (row["plugin"], row["publication"], row["publication_exists"]) == ("wal2json", None, None)
    server.sql("SELECT pg_drop_replication_slot('walpush')")
    server.sql("SELECT pg_create_logical_replication_slot('walpush', 'pgoutput')", dbname=watched)
    row = watch(server, watched)
    assert (row["plugin"], row["publication"], row["publication_exists"]) == ("pgoutput", "walpush", False)
    assert (row["state"], row["finding"]) == ("critical", "unpublished") and "walpush" in row["meaning"]
    server.sql("CREATE PUBLICATION walpush", dbname=watched)
    row = watch(server, watched)
    assert (row["publication_exists"], row["finding"]) == (True, "unread")
    server.psql(MONITORING, {"publication": "o'ther"}, dbname=watched)
    row = watch(server, watched)
    assert (row["publication"], row["publication_exists"], row["finding"]) == ("o'ther", False, "unpublished")


def test_monitoring_knows_nothing_of_another_databases_publication(server, watched):
    server.sql("SELECT pg_drop_replication_slot('walpush')")
    server.sql("SELECT pg_create_logical_replication_slot('walpush', 'pgoutput')")
    row = watch(server, watched)
    assert (row["plugin"], row["publication"], row["publication_exists"], row["finding"]) == ("pgoutput", None, None, "unread")
    server.sql("SELECT pg_drop_replication_slot('walpush')")


def test_monitoring_of_a_slot_that_is_read(server, watched):
    factory = psycopg2.extras.LogicalReplicationConnection
    with as_walpush(server, watched, connection_factory=factory, autocommit=False) as cursor:
        cursor.start_replication(slot_name="walpush", options={"format-version": "2"})
        row = watch(server, watched)
        assert (row["active"], row["state"], row["finding"], row["hint"]) == (True, "ok", "streaming", None)
        assert row["active_pid"] > 0
        server.sql(WRITE_20_MB, dbname=watched)
        assert watch(server, watched)["finding"] == "behind"
        server.end_sessions("pid IN (SELECT active_pid FROM pg_replication_slots)")


def test_monitoring_says_when_the_slot_is_lost(server, watched):
    assert watch(server, watched)["lost_in"] is None, "there is no limit"
    server.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '1GB'")
    server.sql("SELECT pg_reload_conf()")
    server.sql("UPDATE requests SET purpose = repeat('x', 100000)", dbname=watched)
    try:
        deadline = time.monotonic() + PATIENCE
        while (row := watch(server, watched))["safe_wal_size"] is None:  # the server reads its configuration in its own time
            assert time.monotonic() < deadline
            time.sleep(0.02)
        if row["wal_bytes_per_second"] is None:
            assert server.sql("SHOW server_version_num")[0][0] < "140000" and row["lost_in"] is None
        else:
            assert row["lost_in"].total_seconds() == pytest.approx(row["safe_wal_size"] / row["wal_bytes_per_second"], rel=0.1)
    finally:
        server.sql("ALTER SYSTEM RESET max_slot_wal_keep_size")
        server.sql("SELECT pg_reload_conf()")


def test_monitoring_of_a_missing_slot(server, watched):
    server.sql("SELECT pg_drop_replication_slot('walpush')", dbname=watched)
    row = watch(server, watched)
    assert (row["state"], row["finding"], row["active"]) == ("critical", "missing", False)


def test_monitoring_of_a_lost_slot(server, watched):
    server.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
    server.sql("SELECT pg_reload_conf()")
    for _ in range(3):  # each more than a WAL segment of 16 MB
        server.sql(WRITE_20_MB, dbname=watched)
    row = watch(server, watched)
    assert (row["state"], row["finding"]) == ("critical", "unreserved"), row
    server.sql("CHECKPOINT")
    row = watch(server, watched)
    assert (row["state"], row["finding"], row["invalidation_reason"]) == ("critical", "lost", "wal_removed"), row
    server.sql("ALTER SYSTEM RESET max_slot_wal_keep_size")
    server.restart()


def test_monitoring_may_be_read_by_an_exporter(server, watched):
    server.add_role("exporter")
    server.sql("GRANT pg_monitor TO exporter")
    connection = server.connect(watched, "exporter")
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT state FROM walpush_monitoring")
        assert cursor.fetchone() == ("warning",)
    server.sql("DROP ROLE exporter")
