"""`walpush sql --ddl`: an event trigger tells of DDL at its own commit, and from there on nothing goes out that was allowed before.

database.watch is at its maximum throughout, so that it is not the comparison which notices.
"""

import json
import re
import subprocess
import threading
import time

import pytest

from harness.app import ASHA, PLUGIN, RAVI
from harness.client import PATIENCE
from harness.redis import Redis
from harness.walpush import BINARY
from throwaway.cluster import SUPERUSER
from throwaway.config import Raw, section

PATH = "/ws/u/5/"
LIVE = r'msg="?live"?( |$)'
PREFIX = "walpush.ddl"
TOLD = "DDL was committed"
LOOKS = "walpush_ddl_looks_total"


def script():
    return subprocess.run([BINARY, "sql", "--ddl"], capture_output=True, text=True, check=True, cwd="/").stdout


def sends_messages(cluster):
    """Whether the plugin does, from which walpush hears of DDL."""
    return PLUGIN == "wal2json" or int(cluster.sql("SHOW server_version_num")[0][0]) >= 140000


def install(app, tmp_path):
    if not sends_messages(app.cluster):
        pytest.skip("pgoutput sends messages from PostgreSQL 14 on")
    return install_anyway(app, tmp_path)


def install_anyway(app, tmp_path):
    file = tmp_path / "ddl.sql"
    file.write_text(script())
    return app.cluster.psql(file, dbname=app.name)


@pytest.fixture
def world(app, config, tmp_path):
    """m says who may hear of t in a unit; n would say that nobody but Ravi may."""
    for table in ("m", "n", "guarded"):
        app.sql(f"CREATE TABLE {table} (u int, unit int)")
        app.sql(f"ALTER TABLE {table} REPLICA IDENTITY FULL")
        app.sql(f"INSERT INTO {table} VALUES ({ASHA}, 5), ({RAVI}, 5)")
    app.sql("CREATE TABLE t (id int PRIMARY KEY, unit int)")
    app.sql("CREATE VIEW may AS SELECT u, unit FROM m")
    app.sql("ALTER TABLE guarded ENABLE ROW LEVEL SECURITY")
    app.sql("CREATE POLICY reads ON guarded FOR SELECT TO walpush USING (true)")
    app.sql("CREATE POLICY others ON guarded AS RESTRICTIVE FOR SELECT TO walpush USING (true)")
    app.sql("CREATE FUNCTION yes(int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true'")
    app.sql("GRANT SELECT ON m, n, may, guarded TO walpush")
    app.sql("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO walpush")
    install(app, tmp_path)
    config.set("database.watch", 600)
    config.set("streams.u", section(path="/ws/u/<int:u>/", admit=by("may"), groups=["u_{path.u}"]))
    config.set("tables.t", section(type="t", key="t_id", groups=["u_{unit}"]))
    yield app
    app.sql("ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM walpush")


def by(relation):
    return f"SELECT 1 FROM {relation} WHERE u = {{token.user_id}} AND unit = {{path.u}}"


@pytest.fixture
def start(world, config, make_walpush):
    def start(admit=None):
        if admit:
            config.set("streams.u.admit", admit)
        walpush = make_walpush(world, config).start()
        walpush.wait_for_log(LIVE)
        return walpush

    return start


def insert(app, key):
    app.sql("INSERT INTO t VALUES (%s, 5)", key)


def transaction(app, *statements):
    with app.transaction() as cursor:
        for statement in statements:
            cursor.execute(statement)


def until(client, key):
    return [m for m in client.recv_until(lambda m: m.get("t_id") == key)]


def keys(messages):
    return [m["t_id"] for m in messages if "t_id" in m]


def emit(app, transactional, prefix, content="x"):
    app.sql("SELECT pg_logical_emit_message(%s, %s, %s)", transactional, prefix, content)


# --- what DDL takes away --------------------------------------------------------------------------------------------------


ROW = "INSERT INTO t VALUES (1, 5)"
WITHOUT = f"u <> {ASHA}"
FULL = "ALTER TABLE m REPLICA IDENTITY FULL"  # else nobody knows since when an answer is so, and a resync stands for the rows
# What tells is in TELLS, and what the look that follows finds in test_membership_ddl.py; here one of each kind.
AT_ITS_COMMIT = {
    "view replaced": (by("may"), f"CREATE OR REPLACE VIEW may AS SELECT u, unit FROM m WHERE {WITHOUT}"),
    "table swapped": (by("m"), "ALTER TABLE m RENAME TO old", f"CREATE TABLE m AS SELECT * FROM old WHERE {WITHOUT}", FULL),
    "renamed and back": (by("m"), "ALTER TABLE m RENAME TO x", f"DELETE FROM x WHERE u = {ASHA}", "ALTER TABLE x RENAME TO m"),
    "identity gone and back": (
        by("m"),
        "ALTER TABLE m REPLICA IDENTITY NOTHING",
        f"DELETE FROM m WHERE u = {ASHA}",
        "ALTER TABLE m REPLICA IDENTITY FULL",
    ),
    "policy dropped": (
        by("guarded"),
        f"CREATE POLICY few ON guarded FOR SELECT TO walpush USING ({WITHOUT})",
        "DROP POLICY reads ON guarded",
    ),
    "function replaced": (
        by("m") + " AND yes(u)",
        f"CREATE OR REPLACE FUNCTION yes(int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT $1 <> {ASHA}'",
    ),
}


@pytest.mark.parametrize("way", AT_ITS_COMMIT)
def test_it_takes_effect_at_its_own_commit(world, start, way):
    """Also on rows of the same transaction, whichever came first."""
    if way == "identity gone and back" and PLUGIN == "pgoutput":
        pytest.skip("the server itself refuses the DELETE of a published table without an identity")
    admit, *statements = AT_ITS_COMMIT[way]
    walpush = start(admit)
    with walpush.subscribe(PATH, ASHA) as client, walpush.subscribe(PATH, RAVI) as witness:
        transaction(world, ROW, *statements, "INSERT INTO t VALUES (2, 5)")
        insert(world, 3)
        messages, code = client.drain_to_close()
        assert (keys(messages), code) == ([], 4403)
        assert keys(until(witness, 3)) == [1, 2, 3]
        walpush.wait_for_log(TOLD)


def test_what_it_makes_decide_is_followed_from_its_commit_on(world, start):
    """Nobody knew of that table, and the next transaction changes it."""
    walpush = start()
    with walpush.subscribe(PATH, ASHA) as client, walpush.subscribe(PATH, RAVI) as witness:
        world.sql(
            "BEGIN; CREATE OR REPLACE VIEW may AS SELECT u, unit FROM n; COMMIT;"
            f" BEGIN; DELETE FROM n WHERE u = {ASHA}; COMMIT; INSERT INTO t VALUES (1, 5)"
        )
        messages, code = client.drain_to_close()
        assert (keys(messages), code) == ([], 4403)
        assert keys(until(witness, 1)) == [1]


def test_it_costs_one_round(world, start):
    """Whatever else is found to have changed by it. A second one would keep the row for 5 s."""
    walpush = start()
    with walpush.subscribe(PATH, RAVI) as witness:
        world.sql("CREATE OR REPLACE VIEW may AS SELECT u, unit FROM n")
        insert(world, 1)
        assert until(witness, 1)
        walpush.wait_for_log("the rules have changed")
        assert (walpush.metric(LOOKS), walpush.metric("walpush_admit_rounds_total")) == (1, 1)


def test_it_is_asked_when_the_answer_can_be_another_one(world, start):
    """A walsender hands out a commit before other sessions see it. A function is replaced without a lock that admit would wait for."""
    admit, ddl = AT_ITS_COMMIT["function replaced"]
    walpush = start(admit)
    with walpush.subscribe(PATH, ASHA) as client, walpush.subscribe(PATH, RAVI) as witness:
        insert(world, 0)
        assert until(client, 0) and until(witness, 0)
        with world.cluster.without_its_standby():
            thread = threading.Thread(target=transaction, args=(world, ddl))
            thread.start()
            world.wait_until("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')")
            world.sql("SET synchronous_commit = local")
            insert(world, 1)
            time.sleep(1)
            assert walpush.metric(LOOKS) == 0
        thread.join()
        messages, code = client.drain_to_close()
        assert (keys(messages), code) == ([], 4403)
        assert until(witness, 1)


def test_changes_that_follow_are_in_order_while_ddl_goes_on(world, start):
    """Each gives the word to the other table, and takes the permission away in it: always one commit later."""
    walpush = start()
    with walpush.subscribe(PATH, RAVI) as witness:
        for turn in range(3):
            table, other = "mn"[turn % 2], "nm"[turn % 2]
            if turn > 0:  # not at the end of a turn: a change that meets the witness's question stands for the rows before it
                world.sql(f"INSERT INTO {table} VALUES ({ASHA}, 5)")
            world.sql(f"CREATE OR REPLACE VIEW may AS SELECT u, unit FROM {table}")
            with walpush.subscribe(PATH, ASHA) as client:
                insert(world, 10 * turn)
                assert until(client, 10 * turn)
                world.sql(f"CREATE OR REPLACE VIEW may AS SELECT u, unit FROM {other}")
                world.sql(f"DELETE FROM {other} WHERE u = {ASHA}")
                insert(world, 10 * turn + 1)
                messages, code = client.drain_to_close()
                assert (keys(messages), code) == ([], 4403)
        assert until(witness, 21)


def test_what_is_rolled_back_is_nothing(world, start):
    walpush = start()
    with walpush.subscribe(PATH, ASHA) as client:
        world.sql(f"BEGIN; CREATE OR REPLACE VIEW may AS SELECT u, unit FROM m WHERE {WITHOUT}; ROLLBACK")
        world.sql("BEGIN; SAVEPOINT a; DROP VIEW may; ROLLBACK TO a; INSERT INTO t VALUES (1, 5); COMMIT")
        assert client.recv()["t_id"] == 1
        assert walpush.metric(LOOKS) == 0


def test_it_may_be_installed_while_walpush_runs(world, config, start, tmp_path):
    """It is heeded within database.watch: from then on the stream brings its messages."""
    config.set("database.watch", 0.2)
    world.sql("DROP FUNCTION walpush_ddl() CASCADE")
    walpush = start()
    mark = walpush.mark()
    install(world, tmp_path)
    walpush.wait_for_log(r'msg="?streaming"?( |$)', since=mark)
    with walpush.subscribe(PATH, ASHA) as client:
        transaction(world, ROW, f"CREATE OR REPLACE VIEW may AS SELECT u, unit FROM m WHERE {WITHOUT}")
        messages, code = client.drain_to_close()
        assert (keys(messages), code) == ([], 4403)


# --- messages that anybody sends --------------------------------------------------------------------------------------------


@pytest.fixture
def stranger(world):
    """A role that has nothing but a login."""
    world.cluster.add_role("stranger")
    connection = world.cluster.connect(world.name, "stranger")
    yield connection
    connection.close()
    world.cluster.sql("DROP ROLE stranger")


def test_without_the_trigger_nobodys_message_is_heard(world, start, stranger):
    world.sql("DROP FUNCTION walpush_ddl() CASCADE")
    walpush = start()
    with walpush.subscribe(PATH, ASHA) as client:
        with stranger.cursor() as cursor:
            for _ in range(3):
                cursor.execute("SELECT pg_logical_emit_message(true, 'walpush.ddl', repeat('x', 100000000))")
        insert(world, 1)
        assert [m.get("t_id") for m in until(client, 1)] == [1]
    assert walpush.metric(LOOKS) == 0


FLOOD_MOST = 200_000  # messages: who lags by more than limits.admit-timeout is closed, and a sanitizer on a busy machine reads slowly


@pytest.mark.parametrize("in_one", [False, True], ids=["a transaction each", "one transaction"])
def test_a_flood_costs_one_look_a_second_and_no_message(world, start, stranger, in_one):
    walpush = start()
    rounds, sent = walpush.metric("walpush_admit_rounds_total"), 0

    def flood():
        nonlocal sent
        with stranger.cursor() as cursor:
            while (time.monotonic() < began + 4 or sent < 3000) and sent < FLOOD_MOST:
                if in_one:
                    cursor.execute("SELECT pg_logical_emit_message(true, %s, 'x') FROM generate_series(1, 5000)", [PREFIX])
                    sent += 5000
                else:
                    cursor.execute("SELECT pg_logical_emit_message(true, %s, 'x')", [PREFIX])
                    sent += 1

    with walpush.subscribe(PATH, ASHA) as client:
        began = time.monotonic()
        thread = threading.Thread(target=flood)
        thread.start()
        key = 0
        while thread.is_alive():
            key += 1
            insert(world, key)
            time.sleep(0.05)
        thread.join()
        insert(world, key + 1)
        messages = client.recv_until(lambda m: m.get("t_id") == key + 1, timeout=PATIENCE * 2)
        took = time.monotonic() - began
        heard = keys(messages)
        assert sent >= 3000 and heard == sorted(set(heard))
        # What a round may have seen already is one resync; nothing is lost in silence.
        assert heard == list(range(1, key + 2)) or any(m["type"] == "resync" for m in messages)
        assert walpush.metric(LOOKS) <= took + 1
        assert walpush.metric("walpush_admit_rounds_total") - rounds <= took + 1
        assert len([line for line in walpush.lines if TOLD in line]) == 1
        assert "level=error" not in walpush.log() and "level=warn" not in walpush.log()


OTHER_MESSAGES = [(False, PREFIX), (True, "walpush"), (True, PREFIX + "."), (True, "walpush.dd"), (True, "WALPUSH.DDL"), (True, "")]


def test_any_other_message_is_nothing(world, start):
    walpush = start()
    rounds = walpush.metric("walpush_admit_rounds_total")
    with walpush.subscribe(PATH, ASHA) as client:
        for key, (transactional, prefix) in enumerate(OTHER_MESSAGES):
            emit(world, transactional, prefix)
            with world.transaction() as cursor:
                cursor.execute("INSERT INTO t VALUES (%s, 5)", (key,))
                cursor.execute("SELECT pg_logical_emit_message(%s, %s, 'x')", (transactional, prefix))
            assert client.recv().get("t_id") == key, (transactional, prefix)
            assert walpush.metric(LOOKS) == 0, (transactional, prefix)
        assert walpush.metric("walpush_admit_rounds_total") == rounds
    with walpush.subscribe(PATH, ASHA) as client:  # but this one is
        emit(world, True, PREFIX)
        walpush.wait_for_log(TOLD)


@pytest.mark.parametrize("content", ["", '"\\\n\x01', "x" * 20_000_000], ids=["empty", "to be escaped", "large"])
def test_what_the_message_says_does_not_matter(world, start, content):
    walpush = start()
    with walpush.subscribe(PATH, ASHA) as client:
        emit(world, True, PREFIX, content)
        insert(world, 1)
        assert until(client, 1)
        assert walpush.metric(LOOKS) == 1


# --- several replicas -------------------------------------------------------------------------------------------------------


@pytest.fixture
def replicas(world, config, make_walpush):
    with Redis() as redis:
        config.set("relay", Raw(f'{{ url = "{redis.url}" }}'))
        first = make_walpush(world, config).start()
        yield first, make_walpush(world, config).start(streaming=False)


def position(walpush):
    return json.loads(walpush.admin("/status").body)["relay"]["position"]


def test_all_replicas_hear_of_it(world, replicas):
    holder, other = replicas
    with holder.subscribe(PATH, ASHA) as here, other.subscribe(PATH, ASHA) as there, other.subscribe(PATH, RAVI) as witness:
        insert(world, 0)
        assert [until(c, 0)[-1]["t_id"] for c in (here, there, witness)] == [0, 0, 0]
        transaction(world, ROW, f"CREATE OR REPLACE VIEW may AS SELECT u, unit FROM m WHERE {WITHOUT}")
        insert(world, 2)
        for client in (here, there):
            messages, code = client.drain_to_close()
            assert (keys(messages), code) == ([], 4403)
        assert keys(until(witness, 2)) == [1, 2]


def test_who_gets_the_slot_looks_before_it_goes_on(world, replicas):
    """The message was handled by the replica that is gone; this one has not compared anything since."""
    holder, other = replicas
    with other.subscribe(PATH, ASHA) as client, other.subscribe(PATH, RAVI) as witness:
        world.sql("CREATE OR REPLACE VIEW may AS SELECT u, unit FROM n")
        insert(world, 1)
        assert keys(until(client, 1)) == keys(until(witness, 1)) == [1]
        holder.kill()
        transaction(world, f"DELETE FROM n WHERE u = {ASHA}", "INSERT INTO t VALUES (2, 5)")
        messages, code = client.drain_to_close(timeout=PATIENCE * 2)
        assert (keys(messages), code) == ([], 4403)
        assert until(witness, 2)


# --- the script --------------------------------------------------------------------------------------------------------------


TRIGGERS = "SELECT evtname, evtevent, evtenabled, evtowner::regrole::text, evtfoid::regproc::text FROM pg_event_trigger ORDER BY 1"


def told(app):
    """How many messages the slot holds; nothing is left in it."""
    if PLUGIN == "pgoutput":
        options = "'proto_version', '1', 'publication_names', %s, 'messages', 'true'"
        changes = app.sql(f"SELECT data FROM pg_logical_slot_get_binary_changes(%s, NULL, NULL, {options})", app.slot, app.slot)
        # M, the flag of a transactional one, and the LSN
        return len([1 for (data,) in changes if re.match(rb"M\x01.{8}walpush\.ddl\0", bytes(data), re.DOTALL)])
    changes = app.sql(
        "SELECT data FROM pg_logical_slot_get_changes(%s, NULL, NULL, 'format-version', '2', 'add-msg-prefixes', %s)",
        app.slot,
        PREFIX,
    )
    return len([change for (data,) in changes if (change := json.loads(data))["action"] == "M" and change["transactional"]])


@pytest.fixture
def installed(app, tmp_path):
    install(app, tmp_path)
    told(app)
    return app


def test_it_may_run_again_and_can_be_taken_back(app, tmp_path):
    for _ in range(2):
        assert install(app, tmp_path) == ""
        assert app.sql(TRIGGERS) == [
            ("walpush_ddl", "ddl_command_end", "A", SUPERUSER, "walpush_ddl"),
            ("walpush_ddl_drop", "sql_drop", "A", SUPERUSER, "walpush_ddl"),
        ]
    functions = "SELECT proowner::regrole::text, prosecdef, proconfig FROM pg_proc WHERE proname = 'walpush_ddl'"
    assert app.sql(functions) == [(SUPERUSER, True, ["search_path=pg_catalog"])]
    app.sql(re.search(r"^-- +(DROP FUNCTION .*)$", script(), re.MULTILINE).group(1))
    assert app.sql(TRIGGERS) == app.sql(functions) == []


def test_a_function_of_that_name_changes_hands(app, tmp_path):
    app.cluster.sql("CREATE ROLE early")
    app.sql("GRANT CREATE ON SCHEMA public TO early")
    app.sql("SET ROLE early; CREATE FUNCTION walpush_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; RESET ROLE")
    install(app, tmp_path)
    assert app.value("SELECT proowner::regrole::text FROM pg_proc WHERE proname = 'walpush_ddl'") == SUPERUSER
    app.sql("DROP OWNED BY early")
    app.cluster.sql("DROP ROLE early")


TELLS = [
    "CREATE TABLE x (id int)",
    "CREATE INDEX x_id ON x (id)",
    "ALTER TABLE x REPLICA IDENTITY FULL",
    "ALTER TABLE x ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY p ON x USING (true)",
    "DROP POLICY p ON x",
    "GRANT SELECT ON x TO walpush",
    "REVOKE SELECT ON x FROM walpush",
    "CREATE VIEW v AS SELECT id FROM x",
    "CREATE MATERIALIZED VIEW w AS SELECT id FROM x",
    "REFRESH MATERIALIZED VIEW w",
    "DROP MATERIALIZED VIEW w",
    "ALTER VIEW v RENAME TO v2",
    "DROP VIEW v2",
    "CREATE FUNCTION f(int, int) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = f)",
    "DROP OPERATOR === (int, int)",
    "ALTER FUNCTION f(int, int) RENAME TO g",
    "DROP FUNCTION g(int, int)",
    "CREATE SCHEMA s",
    "ALTER TABLE x SET SCHEMA s",
    "DROP TABLE s.x",
    "DROP SCHEMA s",
    "CREATE ROLE owner; DROP OWNED BY owner; DROP ROLE owner",
    "CREATE DOMAIN d AS int",
    "CREATE FUNCTION c(int) RETURNS point LANGUAGE sql AS 'SELECT point(0, 0)'; CREATE CAST (int AS point) WITH FUNCTION c(int)",
    "DROP CAST (int AS point)",
]


def test_what_tells(installed):
    silent = []
    installed.sql("SET session_replication_role = replica")
    for statement in TELLS:
        installed.sql(statement)
        if not told(installed):
            silent.append(statement)
    assert silent == []


def test_what_is_temporary_does_not(installed):
    for statement in (
        "CREATE TEMP TABLE x (id serial PRIMARY KEY, a text)",
        "CREATE INDEX ON x (a)",
        "ALTER TABLE x ADD b int",
        "CREATE TEMP VIEW v AS SELECT id FROM x",
        "DROP VIEW v",
        "DROP TABLE x",
        "CREATE TABLE IF NOT EXISTS requests (id int)",
        "ANALYZE requests",
    ):
        installed.sql(statement)
        assert told(installed) == 0, statement


def test_whoever_may_run_ddl_needs_no_right_to_send(installed):
    """And what a session has set does not matter."""
    installed.cluster.sql("CREATE ROLE maker")
    installed.sql(
        "DO $$ DECLARE f regprocedure; BEGIN FOR f IN SELECT oid FROM pg_proc WHERE proname = 'pg_logical_emit_message' LOOP"
        " EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f); END LOOP; END $$"
    )
    installed.sql("CREATE SCHEMA made AUTHORIZATION maker")
    told(installed)
    installed.sql("SET ROLE maker; SET search_path = made; CREATE TABLE x (id int); RESET ROLE; RESET search_path")
    assert told(installed) == 1
    installed.sql("DROP OWNED BY maker CASCADE")
    installed.cluster.sql("DROP ROLE maker")
