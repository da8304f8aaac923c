"""`walpush sql` takes nothing away unless asked, whoever else has the same role, publication or slot; and which names and variables it takes.

These tests need a server of their own: they change its roles and its settings. All slots are of pgoutput, which every server has.
"""

import contextlib
import os
import re
import subprocess

import psycopg2
import psycopg2.errors
import pytest
from test_operations import copy_of
from test_sql import FORBIDDEN, NEEDED, WRITE_20_MB
from test_sql_pgoutput import application_writes, filters, members, sql, things, version

from harness.bare import TEARDOWN, bare_application
from harness.walpush import BINARY, SIGNING_KEY, run_to_end, shipped_config
from throwaway.cluster import ROLE, Cluster, ClusterError

HELD = """SELECT relname::text, relacl::text, NULL FROM pg_class WHERE relacl::text ~ %s
          UNION ALL SELECT attrelid::regclass::text, attacl::text, attname FROM pg_attribute WHERE attacl::text ~ %s ORDER BY 1, 3"""
SLOT = "SELECT catalog_xmin, restart_lsn, confirmed_flush_lsn FROM pg_replication_slots"
ODD_NAMES = ["Wal.Push@x", "Wal's \"push\"", "dom\\user", "user", " Größe $slot $1 %s", "x" * 70]
PLUGIN = 'plugin = "pgoutput"'


@pytest.fixture(scope="module")
def server():
    with Cluster(fsync=False, allow_wal2json=False) as cluster:
        yield cluster


@pytest.fixture
def database(server):
    with bare_application(server) as name:
        yield name
        for slot in server.sql("SELECT slot_name FROM pg_replication_slots"):
            server.sql("SELECT pg_drop_replication_slot(%s)", slot)


class Dba:
    """One configuration, and what its DBA does with it."""

    def __init__(self, server, directory, config):
        self.server, self.directory, self.config = server, directory, config
        self.env = {"DATABASE_URL": server.url("app"), "JWT_SIGNING_KEY": SIGNING_KEY}

    def printed(self, *args):
        self.directory.mkdir(exist_ok=True)
        self.directory.chmod(0o755)
        done = run_to_end("sql", "-c", self.config.write(self.directory / "sidecar.conf"), "--plugin", "pgoutput", *args, env=self.env)
        assert done.returncode == 0, done.stderr
        script = self.directory / "setup.sql"
        script.write_text(done.stdout)
        script.chmod(0o644)
        return script

    def run(self, *args, server=None, **variables):
        variables = {"password": self.server.passwords[ROLE], **variables}
        return (server or self.server).psql(self.printed(*args), variables, dbname="app")

    def check(self):
        return run_to_end("check", "-c", self.config.write(self.directory / "sidecar.conf"), env=self.env)

    def shell(self, command):
        """As a DBA in a terminal."""
        env = dict(os.environ, PGHOST=str(self.server.directory), PGPORT=str(self.server.port), PGUSER="postgres", **self.env)
        env["PATH"] = f"{BINARY.parent}:{self.server.bin}:{env['PATH']}"
        return subprocess.run(["bash", "-o", "pipefail", "-ec", command], env=env, cwd=self.directory, capture_output=True, text=True, check=True)


@pytest.fixture
def dba(server, database, tmp_path):
    tmp_path.chmod(0o755)
    server.passwords.setdefault(ROLE, "not-set")

    def dba(config, name="one"):
        return Dba(server, tmp_path / name, config)

    return dba


@pytest.fixture
def shipped(dba):
    return dba(shipped_config().set("database.plugin", "pgoutput"))


def held(server, role=ROLE):
    return sql(server, HELD, role, role)


def notes(said, about):
    return [line for line in said.splitlines() if line.startswith("note: ") and about in line]


def apply(server, note):
    """The statement of a note, to the letter, as a DBA who copies it into psql."""
    statement = re.search(r": ((BEGIN|REVOKE|ALTER|SELECT).*;)$", note)[1]
    sql(server, statement)


def refusals(server, queries):
    refused = []
    with contextlib.closing(server.connect("app", ROLE)) as connection, connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = off")
        for query in queries:
            try:
                cursor.execute(query)
            except psycopg2.errors.InsufficientPrivilege:
                refused.append(query)
    return refused


# --- grants -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", ["", "shared"])
def test_two_configurations_of_one_role(server, shipped, dba, shared):
    """Each with a slot; with a publication of its own, or one for both. Whichever script ran last, both work."""
    sql(server, "CREATE TABLE things (id int PRIMARY KEY, unit int)")
    database = f'{PLUGIN} publication = "{shared or "other"}"'
    other = dba(things(admit="SELECT 1 FROM units WHERE id = {path.unit}", database=database).set("database.slot", "other"), "other")
    if shared:
        shipped.config.set("database.publication", shared)
    for who in (shipped, other, shipped, other):
        said = who.run()
        assert "REVOKE ALL ON TABLE" not in re.sub("note: .*", "", said)
    for who in (shipped, other):
        done = who.check()
        assert done.returncode == 0, done.stdout
    assert refusals(server, [*NEEDED, "SELECT id FROM units"]) == []
    assert server.sql("SELECT slot_name FROM pg_replication_slots ORDER BY 1") == [("other",), ("walpush",)]
    if shared:
        assert "things" in members(server, shared) and "requests" in members(server, shared)


def test_what_the_role_has_besides_is_named_and_stays(server, shipped):
    sql(server, "CREATE TABLE elsewhere (id int)")
    shipped.run()
    sql(server, f"GRANT SELECT ON users, elsewhere TO {ROLE}; GRANT INSERT, SELECT (location) ON units TO {ROLE}")
    before = held(server)
    said = shipped.run()
    assert held(server) == before
    assert [re.match(rf"note: role {ROLE} has (.*), which no query of this configuration needs", note)[1] for note in notes(said, "which no query")] == [
        "SELECT on public.elsewhere",
        "INSERT, SELECT (location) on public.units",
        "SELECT on public.users",
    ]
    for note in notes(said, "which no query"):
        apply(server, note)
    assert refusals(server, NEEDED) == [] and refusals(server, FORBIDDEN) == FORBIDDEN
    assert refusals(server, ["SELECT id FROM elsewhere"]) == ["SELECT id FROM elsewhere"]
    assert notes(shipped.run(), "which no query") == []


@pytest.mark.parametrize("args, variables, revokes", [
    (["--revoke"], {}, True),
    ([], {"revoke": "on"}, True),
    (["--revoke"], {"revoke": ""}, True),
    ([], {"revoke": ""}, False),
    (["--revoke"], {"revoke": "off"}, False),
])  # fmt: skip
def test_it_is_taken_away_when_asked(server, shipped, args, variables, revokes):
    shipped.run()
    exact = held(server)
    sql(server, f"GRANT SELECT ON users TO {ROLE}; GRANT INSERT, SELECT (location) ON units TO {ROLE}; GRANT SELECT ON pg_authid TO {ROLE}")
    said = shipped.run(*args, **variables)
    assert ("\nREVOKE ALL ON TABLE public.users FROM walpush; GRANT SELECT (" in said) == revokes
    assert bool(notes(said, "which no query")) != revokes
    sql(server, f"REVOKE SELECT ON pg_authid FROM {ROLE}")  # the server's own tables are never counted
    assert (held(server) == exact) == revokes
    assert refusals(server, NEEDED) == []


def test_a_whole_table_that_a_query_takes_stays_whole(server, dba):
    sql(server, "CREATE TABLE things (id int PRIMARY KEY, unit int)")
    who = dba(things(more='actor = { query = "SELECT row_to_json(u) FROM units u WHERE u.id = {id}" }', database=PLUGIN))
    who.run()
    sql(server, f"GRANT INSERT ON units TO {ROLE}")
    assert "GRANT SELECT ON TABLE public.units" in who.run("--revoke")
    assert refusals(server, ["SELECT * FROM units"]) == [] and len(refusals(server, FORBIDDEN[-10:-5])) == 5


def test_usage_of_every_schema_that_is_named(server, dba):
    """Of listed tables that no query reads, of tables, functions and types in queries; and EXECUTE of these functions."""
    sql(server, 'CREATE SCHEMA "My Shop"; CREATE SCHEMA lib; CREATE SCHEMA kinds; CREATE SCHEMA ops')
    sql(server, 'CREATE TABLE "My Shop".things (id int PRIMARY KEY, unit int)')
    sql(server, "CREATE TYPE kinds.kind AS ENUM ('a')")
    sql(server, "CREATE FUNCTION lib.same(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1'")
    sql(server, "CREATE FUNCTION lib.eq(int, int) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT $1 OPERATOR(pg_catalog.=) $2'")
    sql(server, "CREATE OPERATOR ops.=== (leftarg = int, rightarg = int, function = lib.eq)")
    sql(server, "REVOKE EXECUTE ON FUNCTION lib.same(int), lib.eq(int, int) FROM PUBLIC")
    admit = "SELECT 1 WHERE lib.same({path.unit}) OPERATOR(ops.===) 1 AND 'a'::kinds.kind = 'a'"
    who = dba(things(table="My Shop.things", admit=admit, database=PLUGIN))
    who.run()
    schemas = "SELECT nspname FROM pg_namespace WHERE nspname IN ('lib', 'kinds', 'ops', 'My Shop') AND NOT has_schema_privilege(%s, oid, 'USAGE')"
    assert sql(server, schemas, ROLE) == []
    assert refusals(server, ["SELECT lib.same(1) OPERATOR(ops.===) 1 AND 'a'::kinds.kind = 'a'"]) == []
    done = who.check()
    assert done.returncode == 0, done.stdout
    before = sql(server, "SELECT nspname, nspacl::text FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1")
    assert "GRANT" not in who.run()
    assert sql(server, "SELECT nspname, nspacl::text FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1") == before


# --- the publication ----------------------------------------------------------------------------------------------


def test_tables_of_others_stay_in_the_publication(server, shipped):
    sql(server, "CREATE PUBLICATION walpush FOR TABLE units")
    said = shipped.run()
    assert {"units", "requests"} <= set(members(server))
    (note,) = notes(said, "publication walpush has")
    assert "public.units, which this configuration does not name. If no other slot needs it: " in note
    assert notes(shipped.run(), "publication walpush has") == [note]
    assert shipped.check().returncode == 0
    apply(server, note)
    assert "units" not in members(server) and "requests" in members(server)
    assert notes(shipped.run(), "publication walpush has") == []
    sql(server, "ALTER PUBLICATION walpush ADD TABLE units")
    assert notes(shipped.run("--revoke"), "publication walpush has") == []
    assert "units" not in members(server)


def test_the_application_writes_whatever_else_the_publication_had(server, dba):
    """It published inserts alone, for which no replica identity is needed. What needs one now leaves, and says so."""
    sql(server, "CREATE TABLE things (id int PRIMARY KEY, unit int); CREATE TABLE keyed (id int PRIMARY KEY); CREATE TABLE bare (id int)")
    sql(server, "CREATE TABLE tree (id int) PARTITION BY RANGE (id); CREATE TABLE twig PARTITION OF tree FOR VALUES FROM (0) TO (9)")
    for table in ("things", "keyed", "bare", "tree"):
        sql(server, f"INSERT INTO {table} (id) VALUES (1)")
    sql(server, "CREATE PUBLICATION walpush FOR TABLE keyed, bare, tree WITH (publish = 'insert')")
    said = dba(things(database=PLUGIN)).run()
    assert members(server) == ["keyed", "things"]
    assert "ALTER PUBLICATION walpush DROP TABLE ONLY public.bare;" in said
    application_writes(server, ["things", "keyed", "bare", "tree"])


def test_lists_and_filters_of_others_stay_unless_the_application_could_not_write(server, dba):
    if version(server) < 150000:
        pytest.skip("column lists and row filters came with PostgreSQL 15")
    for table in ("things", "narrow", "fine", "hidden", "seen"):
        sql(server, f"CREATE TABLE {table} (id int PRIMARY KEY, unit int); INSERT INTO {table} VALUES (1, 1)")
    sql(server, "ALTER TABLE narrow REPLICA IDENTITY FULL")
    lists = "narrow (id), fine (id), hidden WHERE (unit > 1), seen WHERE (id > 1), things (id)"
    sql(server, f"CREATE PUBLICATION walpush FOR TABLE {lists} WITH (publish = 'insert')")
    dba(things(database=PLUGIN)).run()
    assert members(server) == ["fine", "hidden", "narrow", "seen", "things"]
    listed = "SELECT prrelid::regclass::text FROM pg_publication_rel WHERE prattrs IS NOT NULL OR prqual IS NOT NULL ORDER BY 1"
    assert sql(server, listed) == [("fine",), ("seen",)]
    application_writes(server, ["things", "narrow", "fine", "hidden", "seen"])


def test_a_root_of_others_is_named(server, dba):
    """Its partition comes under its name: this configuration would hear nothing of it, and to drop it would stop the other one."""
    sql(server, "CREATE TABLE tree (id int PRIMARY KEY, unit int) PARTITION BY RANGE (id)")
    sql(server, "CREATE TABLE things PARTITION OF tree FOR VALUES FROM (0) TO (9)")
    sql(server, "CREATE PUBLICATION walpush FOR TABLE tree")
    who = dba(things(database=PLUGIN))
    (note,) = notes(who.run(), "publication walpush has")
    assert "public.tree, which this configuration does not name, so that rows of its partitions come as its own, and this configuration misses" in note
    assert members(server) == ["things", "tree"] and who.check().returncode == 1
    apply(server, note)
    assert members(server) == ["things"] and who.check().returncode == 0


ACTIVE, OTHER = ('when = ( { column = "unit"  equals = %d } )' % unit for unit in (1, 2))


def test_rows_that_others_are_sent_are_not_filtered_out(server, dba):
    """A filter comes with a table that is new in the publication, or when asked. It goes by itself: then more is sent."""
    if version(server) < 150000:
        pytest.skip("row filters came with PostgreSQL 15")
    sql(server, "CREATE TABLE things (id int PRIMARY KEY, unit int)")
    one, other = dba(things(section=ACTIVE, database=PLUGIN)), dba(things(section=OTHER, database=PLUGIN), "other")
    one.run("--row-filters")
    assert filters(server) == [("things", "(unit = 1)")]
    assert notes(one.run("--row-filters"), "no row filter") == [] and filters(server) == [("things", "(unit = 1)")]
    said = other.run("--row-filters")
    assert filters(server) == [] and members(server) == ["things"]
    (note,) = notes(said, "no row filter for public.things: publication walpush has it without this one")
    assert "walpush sql --plugin pgoutput --row-filters --revoke" in note
    said = one.run("--row-filters")
    assert filters(server) == [] and notes(said, "no row filter")
    one.run("--row-filters", "--revoke")
    assert filters(server) == [("things", "(unit = 1)")]


# --- the slot -----------------------------------------------------------------------------------------------------


def lose(server):
    """The slot, for good."""
    server.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
    server.sql("SELECT pg_reload_conf()")
    for _ in range(3):
        sql(server, WRITE_20_MB)
    server.sql("CHECKPOINT")
    server.sql("ALTER SYSTEM RESET max_slot_wal_keep_size")
    server.restart()
    assert server.sql("SELECT wal_status FROM pg_replication_slots") == [("lost",)]


def test_a_lost_slot_is_told_of_and_stays(server, shipped):
    """All else is done first: a missing grant must not wait for somebody who decides about the slot."""
    shipped.run()
    lose(server)
    sql(server, f"REVOKE SELECT (username) ON users FROM {ROLE}")
    with pytest.raises(ClusterError, match=r"ERROR:  slot walpush is lost \((WAL removed|wal_removed)\): nothing is pushed") as error:
        shipped.run()
    said = str(error.value)
    assert "GRANT SELECT (" in said and "done: DATABASE_URL" not in said
    assert server.sql("SELECT slot_name, wal_status FROM pg_replication_slots") == [("walpush", "lost")]
    assert refusals(server, NEEDED) == []
    shipped.shell(re.search(r"(walpush sql .*)$", said, re.MULTILINE)[1])
    assert server.sql("SELECT slot_name, plugin, wal_status FROM pg_replication_slots") == [("walpush", "pgoutput", "reserved")]
    assert shipped.check().returncode == 0
    assert "done: DATABASE_URL" in shipped.run()


@pytest.mark.parametrize("args, variables", [(["--recreate-slot"], {}), ([], {"recreate_slot": "on"})])
def test_a_lost_slot_is_made_again_when_asked(server, shipped, args, variables):
    knows_failover = version(server) >= 170000
    shipped.run(**({"failover": "on"} if knows_failover else {}))
    lose(server)
    said = shipped.run(*args, **variables)
    assert "slot walpush was given up by the server, and is made again" in said
    assert server.sql("SELECT wal_status FROM pg_replication_slots") == [("reserved",)]
    if knows_failover:
        assert server.sql("SELECT failover FROM pg_replication_slots") == [(True,)]
    before = server.sql(SLOT)
    said = shipped.run("--recreate-slot")
    assert server.sql(SLOT) == before and "made again" not in said, "a slot that can be read stays"


# --- a standby ----------------------------------------------------------------------------------------------------


def test_a_standby_says_what_to_run_where(server, shipped):
    standby = copy_of(server)
    try:
        with pytest.raises(ClusterError, match="this server is a standby: nothing was changed") as error:
            shipped.run(server=standby)
        said = str(error.value)
        assert "Run this on the primary" in said and "role, grants, replica identities and publication come here from there" in said
        assert server.sql("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]) == [] and sql(server, "SELECT 1 FROM pg_publication") == []
        if version(server) < 160000:
            assert "before PostgreSQL 16 a standby has none" in said
        else:
            decodes_there(server, standby, shipped, said)
        with pytest.raises(ClusterError) as error:
            shipped.run(server=standby, slot="")
        assert "slot" not in str(error.value).split("HINT:")[1].lower()
    finally:
        standby.remove()


def decodes_there(server, standby, dba, said):
    """The steps that it says, to the letter."""
    settings = "ALTER SYSTEM SET hot_standby_feedback = on"
    standby.sql(settings)
    standby.reload()
    dba.run(slot="")
    there = re.search(r"(SELECT pg_create_logical_replication_slot\('walpush', 'pgoutput'\);)", said)[1]
    here = re.search(r"(SELECT pg_log_standby_snapshot\(\);)", said)[1]
    standby._until(lambda: standby.sql("SELECT 1 FROM pg_publication WHERE pubname = 'walpush'", dbname="app"), "did not replay")
    making = subprocess.Popen([server.bin / "psql", "-X", "-h", str(standby.directory), "-p", str(standby.port), "-U", "postgres", "-d", "app", "-c", there])
    standby._until(lambda: server.sql(here) and making.poll() is not None, "made no slot")
    assert making.returncode == 0 and standby.sql("SELECT plugin FROM pg_replication_slots") == [("pgoutput",)]
    with pytest.raises(ClusterError, match="Slot walpush is here already: run it there with -v slot="):
        dba.run(server=standby)


# --- names and variables ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("how", ["url", "variable"])
def test_a_role_of_any_name(server, dba, name, how):
    """From the file's URL as from -v; the script's messages can be copied; and no other role is touched."""
    who = dba(shipped_config().set("database.plugin", "pgoutput"))
    server.passwords[name] = "a pass'word \\ of its own"
    server.passwords[ROLE] = server.passwords[name]
    try:
        if how == "url":
            who.env["DATABASE_URL"] = server.url("app", name)
        said = who.run(**({"role": name} if how == "variable" else {}))
        who.env["DATABASE_URL"] = server.url("app", name)
        real = name[:63]
        ((quoted,),) = server.sql("SELECT quote_ident(%s)", [real])
        assert f"role {quoted} created" in said and f"with role {quoted}\n" in said and f"TO {quoted};" in said
        assert server.sql("SELECT rolname FROM pg_roles WHERE rolreplication AND NOT rolsuper") == [(real,)]
        done = who.check()
        assert done.returncode == 0, done.stdout
        sql(server, f"GRANT INSERT ON units TO {quoted}")
        (note,) = notes(who.run(role=name), "which no query")
        assert note.startswith(f"note: role {quoted} has INSERT on public.units,")
        apply(server, note)
        assert notes(who.run(role=name), "which no query") == []
        server.create_database("second", schema=False)
        server.sql(f"CREATE TABLE t (id int); GRANT SELECT ON t TO {quoted}", dbname="second")
        server.psql(TEARDOWN, {"role": real}, dbname="app")
        server.drop("second")
    finally:
        server.drop("second")
        server.psql(TEARDOWN, {"role": name[:63]}, dbname="app")
        server.passwords[ROLE] = "not-set"
    assert server.sql("SELECT 1 FROM pg_roles WHERE rolreplication AND NOT rolsuper") == []


def test_empty_variables_are_not_given(server, shipped, monkeypatch):
    """As where a shell's variable was not set. An empty password would take away the one that the role has."""
    shipped.run()
    password = "SELECT rolpassword FROM pg_authid WHERE rolname = %s"
    before = server.sql(password, [ROLE])
    assert before != [(None,)]
    empty = dict.fromkeys(("role", "publication", "failover", "revoke", "recreate_slot", "replicas", "password"), "")
    assert "publication walpush has what it needs" in shipped.run(**empty)
    assert server.sql(password, [ROLE]) == before
    assert server.sql("SELECT rolconnlimit FROM pg_roles WHERE rolname = %s", [ROLE]) == [(-1,)]
    monkeypatch.setenv("WALPUSH_PASSWORD", "of the environment's own")
    shipped.run(**empty)
    with contextlib.closing(psycopg2.connect(host="127.0.0.1", port=server.port, dbname="app", user=ROLE, password="of the environment's own")):
        pass


@pytest.mark.parametrize("variables, says", [
    ({"revoke": "maybe"}, "-v revoke=maybe: that is neither on nor off"),
    ({"recreate_slot": "'"}, "-v recreate_slot=': that is neither on nor off"),
    ({"failover": "o\"n"}, "-v failover=o\"n: that is neither on nor off"),
    ({"replicas": "-1"}, "-v replicas=-1: that is no number of processes"),
    ({"replicas": "99999999999"}, "that is no number of processes"),
    ({"slot": "Wal-Push"}, "'Wal-Push' is no name of a slot"),
    ({"slot": "x" * 64}, "is no name of a slot"),
])  # fmt: skip
def test_odd_values_are_refused_before_anything_is_changed(server, shipped, variables, says):
    with pytest.raises(ClusterError, match=r"HINT:  Give") as error:
        shipped.run(**variables)
    assert says in str(error.value)
    assert server.sql("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]) == [] and sql(server, "SELECT 1 FROM pg_publication") == []


def test_the_event_trigger_takes_none_of_these(tmp_path):
    for option in ("--revoke", "--recreate-slot"):
        done = run_to_end("sql", "--ddl", option)
        assert done.returncode == 2 and done.stdout == "" and "[--revoke] [--recreate-slot]" in done.stderr
