"""`walpush sql --plugin pgoutput`: the publication and the slot that the DBA's script makes, what it refuses, and that teardown takes it back.

These tests need a server of their own: they change its roles. It does not allow wal2json.
"""

import contextlib

import psycopg2
import psycopg2.errors
import pytest

from harness.app import MEENA
from harness.bare import TEARDOWN, bare_application
from harness.walpush import SIGNING_KEY, run_to_end, shipped_config
from throwaway.cluster import Cluster, ClusterError
from throwaway.config import Config

TABLES = ["crates", "requests", "roles", "sendbacks", "storages", "user_units", "users"]
PARAMETERS = "SELECT pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot FROM pg_publication WHERE pubname = %s"
MEMBERS = """SELECT r.prrelid::regclass::text COLLATE "C" FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
             WHERE p.pubname = %s ORDER BY 1"""
# One section of table "things", whose groups need the old value of `unit`; the slot is walpush.
THINGS = """
database = {{ url = "${{DATABASE_URL}}"  slot = "walpush"  {database} }}
jwt = {{ algorithm = "HS256"  key = "${{JWT_SIGNING_KEY}}" }}
streams = {{ things = {{ path = "/ws/<int:unit>/"  admit = "{admit}"  groups = [ "unit_{{path.unit}}" ] }} }}
tables = {{ things = {{ from = "{table}"  type = "thing"  key = "thing_id"  groups = [ "{groups}" ]  {section} }} }}
{more}
"""


def things(table="things", admit="SELECT 1", groups="unit_{unit}", section="", database="", more=""):
    return Config(THINGS.format(table=table, admit=admit, groups=groups, section=section, database=database, more=more))


@pytest.fixture(scope="module")
def server():
    with Cluster(fsync=False, allow_wal2json=False) as cluster:
        yield cluster


@pytest.fixture
def database(server):
    with bare_application(server) as name:
        yield name


@pytest.fixture
def printed(server, tmp_path):
    """What `walpush sql` prints for a configuration, in a file."""
    tmp_path.chmod(0o755)

    def write(config, *args, url=None, env=None):
        server.passwords.setdefault("walpush", "not-set")
        env = {"DATABASE_URL": url or server.url("app"), "JWT_SIGNING_KEY": SIGNING_KEY, **(env or {})}
        done = run_to_end("sql", "-c", config.write(tmp_path / "sidecar.conf"), *args, env=env)
        assert done.returncode == 0, done.stderr
        (tmp_path / "setup.sql").write_text(done.stdout)
        (tmp_path / "setup.sql").chmod(0o644)
        return tmp_path / "setup.sql"

    return write


@pytest.fixture
def run(server, database, printed):
    """Runs the script of pgoutput as the DBA does; what it said."""

    def run(config=None, *args, user="postgres", **variables):
        script = printed(config or shipped_config(), "--plugin", "pgoutput", *args)
        variables = {"password": server.passwords["walpush"], **variables}
        return server.psql(script, variables, dbname=database, user=user)

    return run


def sql(server, statement, *args):
    return server.sql(statement, args or None, dbname="app")


def members(server, publication="walpush"):
    return [name for (name,) in sql(server, MEMBERS, publication)]


def version(server):
    return int(server.sql("SHOW server_version_num")[0][0])


# --- which script -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plugin, args, is_pgoutput", [
    (None, [], False),
    ("auto", [], False),
    ("wal2json", [], False),
    ("pgoutput", [], True),
    ("pgoutput", ["--plugin", "wal2json"], False),
    (None, ["--plugin", "pgoutput"], True),
    (None, ["--plugin=pgoutput"], True),
])  # fmt: skip
def test_the_plugin_is_that_of_the_option_or_of_the_file(printed, plugin, args, is_pgoutput):
    config = shipped_config()
    if plugin:
        config.set("database.plugin", plugin)
    text = printed(config, *args, url="postgresql://walpush@127.0.0.1:1/nowhere").read_text()
    assert ("''pgoutput''" in text) == is_pgoutput
    assert ("CREATE PUBLICATION" in text) == is_pgoutput
    assert ("output_plugin_libraries" in text) != is_pgoutput
    assert ("''wal2json''" in text) != is_pgoutput


def test_a_plugin_that_nobody_knows_is_wrong_usage(tmp_path):
    for args in (["--plugin", "test_decoding"], ["--plugin"]):
        done = run_to_end("sql", "-c", shipped_config().write(tmp_path / "sidecar.conf"), *args)
        assert done.returncode == 2 and done.stdout == ""
        assert "--plugin wal2json|pgoutput" in done.stderr


def test_the_order_is_role_grants_identities_publication_slot(printed):
    text = printed(shipped_config(), "--plugin", "pgoutput", url="postgresql://walpush@127.0.0.1:1/nowhere").read_text()
    steps = ["AS found (rank, problem, fix)", "CREATE ROLE", "AS lacking (statement)", "AS refused (problem, fix)", "REPLICA IDENTITY %s",
             "CREATE PUBLICATION %I", "slot :slot created"]  # fmt: skip
    assert sorted(steps, key=text.index) == steps


# --- the publication ----------------------------------------------------------------------------------------------


def test_the_publication_has_the_tables_of_sections_memberships_and_admit_queries(server, run):
    said = run()
    assert members(server) == TABLES
    assert sql(server, PARAMETERS, "walpush") == [(True,) * 5]
    assert said.count("ADD TABLE ONLY") == len(TABLES) and "slot walpush created" in said
    rows = server.sql("SELECT slot_name, plugin, slot_type, database FROM pg_replication_slots")
    assert rows == [("walpush", "pgoutput", "logical", "app")]
    if version(server) >= 180000:
        assert sql(server, "SELECT pubgencols FROM pg_publication") == [("s",)]


def test_what_an_admit_query_reads_is_published_unless_it_is_ignored(server, run):
    sql(server, "CREATE TABLE things (id int PRIMARY KEY, unit int)")
    admit = "SELECT 1 FROM users u JOIN roles r ON r.id = u.role_id WHERE u.id = {token.user_id}"
    run(things(admit=admit))
    assert members(server) == ["roles", "things", "users"]
    run(things(admit=admit, more="membership = { roles = { ignore = true } }"), "--revoke")
    assert members(server) == ["things", "users"]


def test_the_script_may_run_again_and_says_that_nothing_changes(server, run):
    run()
    before = sql(server, "SELECT oid, xmin::text FROM pg_publication UNION ALL SELECT oid, xmin::text FROM pg_publication_rel ORDER BY 1")
    said = run()
    assert "publication walpush has what it needs" in said
    assert "ALTER PUBLICATION" not in said and "CREATE PUBLICATION" not in said
    after = sql(server, "SELECT oid, xmin::text FROM pg_publication UNION ALL SELECT oid, xmin::text FROM pg_publication_rel ORDER BY 1")
    assert after == before


def test_an_existing_publication_becomes_what_it_should_be(server, run):
    sql(server, "CREATE PUBLICATION walpush FOR TABLE units, requests, crates WITH (publish = 'insert')")
    if version(server) >= 150000:
        sql(server, "ALTER PUBLICATION walpush SET TABLE units, requests (id, status), crates WHERE (id > 7)")
    said = run(None, "--revoke")
    assert members(server) == TABLES
    assert sql(server, PARAMETERS, "walpush") == [(True,) * 5]
    assert "ALTER PUBLICATION walpush DROP TABLE ONLY public.units;" in said
    if version(server) >= 150000:
        assert sql(server, "SELECT prrelid FROM pg_publication_rel WHERE prattrs IS NOT NULL OR prqual IS NOT NULL") == []
    assert "has what it needs" in run()


def test_a_table_that_the_configuration_leaves_out_leaves_the_publication_when_asked(server, run):
    run()
    run(shipped_config().remove("tables.storages"), "--revoke")
    assert members(server) == [name for name in TABLES if name != "storages"]


def test_a_publication_of_everything_is_left_alone(server, run):
    kinds = ["FOR ALL TABLES"] + (["FOR TABLES IN SCHEMA public", "FOR TABLES IN SCHEMA public, TABLE units"] if version(server) >= 150000 else [])
    for kind in kinds:
        sql(server, "DROP PUBLICATION IF EXISTS walpush")
        sql(server, f"CREATE PUBLICATION walpush {kind} WITH (publish = 'insert')")
        before = members(server)
        said = run()
        assert "publication walpush is FOR ALL TABLES or FOR TABLES IN SCHEMA: it stays as it is" in said
        assert "note: walpush needs ALTER PUBLICATION walpush SET (publish = 'insert, update, delete, truncate'" in said
        assert members(server) == before and sql(server, PARAMETERS, "walpush") == [(True, False, False, False, False)]
    assert server.sql("SELECT plugin FROM pg_replication_slots") == [("pgoutput",)]


def test_the_publications_name(server, run):
    """The variable's, the file's, or the slot's, of the variable too."""
    run(slot="other")
    run(slot="other", publication="Pub \"of\" 'it'")
    run(shipped_config().set("database.publication", "named"), slot="other")
    run(slot="")
    names = sql(server, "SELECT pubname FROM pg_publication ORDER BY pubname COLLATE \"C\"")
    assert [name for (name,) in names] == ["Pub \"of\" 'it'", "named", "other", "walpush"]
    assert server.sql("SELECT slot_name FROM pg_replication_slots") == [("other",)]
    server.psql(TEARDOWN, {"slot": "other"}, dbname="app")
    assert ("other",) not in sql(server, "SELECT pubname FROM pg_publication")


def test_an_owner_of_the_tables_may_run_it(server, run):
    """CREATE on the database is what CREATE PUBLICATION needs besides; a slot, the attribute REPLICATION."""
    if version(server) < 160000:
        pytest.skip("only a superuser makes a role with REPLICATION before PostgreSQL 16")
    server.add_role("owner_", "LOGIN CREATEROLE REPLICATION")
    sql(server, "GRANT CREATE ON DATABASE app TO owner_")
    sql(server, "ALTER SCHEMA public OWNER TO owner_")
    for (table,) in sql(server, "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"):
        sql(server, f"ALTER TABLE {table} OWNER TO owner_")
    server.hba = "local all owner_ trust\n" + server.hba
    server.reload()
    run(user="owner_")
    assert members(server) == TABLES
    assert "has what it needs" in run(user="owner_")
    server.psql(TEARDOWN, dbname="app")
    sql(server, "REASSIGN OWNED BY owner_ TO postgres; DROP OWNED BY owner_; DROP ROLE owner_")


def test_odd_names(server, run):
    sql(server, "CREATE SCHEMA \"O'Brien\"")
    sql(server, 'CREATE TABLE "O\'Brien"."My ""Thing"" :slot" (id int PRIMARY KEY, unit int)')
    sql(server, 'CREATE TABLE "Select" (id int PRIMARY KEY)')
    config = things(table="O'Brien.My \\\"Thing\\\" :slot", admit='SELECT 1 FROM \\"Select\\"')
    run(config)
    assert members(server) == ['"O\'Brien"."My ""Thing"" :slot"', '"Select"']
    assert "has what it needs" in run(config)
    server.psql(TEARDOWN, dbname="app")
    assert sql(server, "SELECT 1 FROM pg_publication") == []


def test_children_are_listed_and_partitions_are_not(server, run):
    sql(server, "CREATE TABLE things (id int PRIMARY KEY, unit int)")
    sql(server, "CREATE TABLE child (PRIMARY KEY (id)) INHERITS (things)")
    sql(server, "CREATE UNLOGGED TABLE fleeting (PRIMARY KEY (id)) INHERITS (things)")
    run(things())
    assert members(server) == ["child", "things"]
    sql(server, "DROP TABLE things CASCADE")
    sql(server, "CREATE TABLE things (id int PRIMARY KEY, unit int) PARTITION BY RANGE (id)")
    sql(server, "CREATE TABLE part PARTITION OF things FOR VALUES FROM (0) TO (9)")
    run(things())
    assert members(server) == ["things"]
    sql(server, "ALTER PUBLICATION walpush DROP TABLE things")
    run(things(table="part"))
    assert members(server) == ["part"]  # without its root it is published as itself
    said = run(things(table="part", admit="SELECT 1 FROM things"))
    assert members(server) == ["things"]
    assert "note: public.part is a partition of public.things, which is published" in said


def test_what_is_not_in_the_log_is_not_published(server, run):
    sql(server, "CREATE UNLOGGED TABLE fleeting (id int PRIMARY KEY, unit int)")
    sql(server, "CREATE TABLE solid (id int PRIMARY KEY, unit int)")
    sql(server, "CREATE VIEW shown AS SELECT id, unit FROM solid")
    for table, what in (("fleeting", "not an ordinary logged table"), ("shown", "a view")):
        said = run(things(table=table, admit="SELECT 1 FROM shown"), "--revoke")
        assert f"note: public.{table} is not in the publication: it is {what}" in said
        assert members(server) == ["solid"]


# --- row filters --------------------------------------------------------------------------------------------------

ACTIVE = 'when = ( { column = "status"  equals = "it\'s" }, { column = "unit"  equals = 1 } )'
FLAGGED = 'when = ( { column = "flag"  equals = true } )'


def filters(server):
    return sql(server, "SELECT r.prrelid::regclass::text, pg_get_expr(prqual, prrelid) FROM pg_publication_rel r WHERE prqual IS NOT NULL")


@pytest.fixture
def filtered(server, database):
    if version(server) < 150000:
        pytest.skip("row filters came with PostgreSQL 15")
    sql(server, "CREATE TABLE things (id int PRIMARY KEY, unit int, status varchar(9), flag bool, amount numeric)")


def test_row_filters_are_made_when_they_are_asked_for(server, filtered, run):
    config = things(section=ACTIVE)
    assert "row filter" not in run(config).lower() and filters(server) == []
    run(config, "--row-filters", "--revoke")
    assert filters(server) == [("things", "(((status)::text = 'it''s'::text) AND (unit = 1))")]
    assert "has what it needs" in run(config, "--row-filters")
    sql(server, "INSERT INTO things VALUES (1, 1), (2, 2)")
    application_writes(server, ["things"])
    run(things(section=FLAGGED), "--row-filters", "--revoke")
    assert filters(server) == [("things", "(flag = true)")]
    run(config)
    assert filters(server) == [] and members(server) == ["things"]


def test_a_publication_with_the_filter_that_the_rules_allow_is_enough(server, filtered, run, tmp_path):
    def check(config):
        env = {"DATABASE_URL": server.url("app"), "JWT_SIGNING_KEY": SIGNING_KEY}
        return run_to_end("check", "-c", config.write(tmp_path / "checked.conf"), env=env).stdout

    active, flagged = (things(section=section, database='plugin = "pgoutput"') for section in (ACTIVE, FLAGGED))
    run(active, "--row-filters")
    assert "row filter" not in check(active)
    assert "has a row filter for public.things" in check(flagged)
    assert "has a row filter for public.things" in check(things(database='plugin = "pgoutput"'))


@pytest.mark.parametrize("section, more, statement, reason", [
    (ACTIVE + ' actions = { a = { on = "delete" } }', "", "", "a section has actions"),
    (ACTIVE, "", "ALTER TABLE things ALTER status TYPE varchar COLLATE own", "compares in another way"),
    ('when = ( { column = "amount"  equals = "1.0" } )', "", "", "compares in another way"),
    (ACTIVE, "membership = { things = { user = \"unit\" } }", "", "it decides permission"),
    (ACTIVE + ' lookup = "SELECT 1 AS one"', "", "", "a section asks a query"),
])  # fmt: skip
def test_no_row_filter_where_something_could_tell_the_difference(server, filtered, run, section, more, statement, reason):
    sql(server, "CREATE COLLATION own (locale = 'C')")
    if statement:
        sql(server, statement)
    said = run(things(section=section, more=more), "--row-filters")
    (line,) = [line for line in said.splitlines() if line.startswith("note: no row filter for public.things: ")]
    assert reason in line
    assert filters(server) == [] and "things" in members(server)


def test_no_row_filter_for_what_an_admit_query_reads(server, filtered, run):
    said = run(things(section=ACTIVE, admit="SELECT 1 FROM things"), "--row-filters")
    assert "note: no row filter for public.things: an admit query reads it" in said and filters(server) == []


def test_no_row_filter_for_a_partitioned_table(server, filtered, run):
    """The statement below fails if there is one: a later partition has its key as replica identity."""
    sql(server, "DROP TABLE things; CREATE TABLE things (id int PRIMARY KEY, unit int, flag bool) PARTITION BY RANGE (id)")
    sql(server, "CREATE TABLE part PARTITION OF things FOR VALUES FROM (0) TO (9)")
    said = run(things(section=FLAGGED), "--row-filters")
    assert "note: no row filter for public.things: it is partitioned" in said and filters(server) == []
    sql(server, "CREATE TABLE later PARTITION OF things FOR VALUES FROM (9) TO (99)")
    sql(server, "INSERT INTO things VALUES (10, 1, true)")
    application_writes(server, ["things"])


def test_row_filters_are_for_pgoutput_alone(tmp_path):
    done = run_to_end("sql", "-c", shipped_config().write(tmp_path / "sidecar.conf"), "--row-filters", env={"DATABASE_URL": "postgresql:///x", "JWT_SIGNING_KEY": SIGNING_KEY})
    assert done.returncode == 2 and done.stdout == "" and "--plugin pgoutput --row-filters" in done.stderr


# --- the application goes on --------------------------------------------------------------------------------------


def application_writes(server, tables):
    """An UPDATE and a DELETE of each, undone."""
    connection = server.connect("app", autocommit=False)
    with contextlib.closing(connection), connection.cursor() as cursor:
        for table in tables:
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
            cursor.execute(f"UPDATE {table} SET id = id")
            cursor.execute(f"DELETE FROM {table}")
            connection.rollback()


def test_the_application_updates_and_deletes_after_the_script(server, run):
    # The script's identity is what makes this one pass: without one PostgreSQL refuses both.
    sql(server, "ALTER TABLE sendbacks DROP CONSTRAINT sendbacks_pkey")
    run()
    application_writes(server, ["units", *TABLES])
    sql(server, "ALTER TABLE sendbacks REPLICA IDENTITY DEFAULT")
    with pytest.raises(psycopg2.errors.ObjectNotInPrerequisiteState):
        application_writes(server, ["sendbacks"])
    run()
    application_writes(server, ["sendbacks"])


@pytest.mark.parametrize("how", ["no key", "NOTHING", "index gone"])
def test_a_table_without_an_identity_gets_one_from_the_script(server, run, how):
    sql(server, "CREATE TABLE things (id int NOT NULL, unit int)")
    if how == "NOTHING":
        sql(server, "ALTER TABLE things ADD PRIMARY KEY (id), REPLICA IDENTITY NOTHING")
    elif how == "index gone":
        sql(server, "CREATE UNIQUE INDEX gone ON things (id)")
        sql(server, "ALTER TABLE things REPLICA IDENTITY USING INDEX gone")
        sql(server, "DROP INDEX gone")
    run(things(groups="all"))
    assert members(server) == ["things"]
    sql(server, "INSERT INTO things VALUES (1, 1)")
    application_writes(server, ["things"])


def refused(run, config, *lines):
    with pytest.raises(ClusterError, match="the publication was not touched") as error:
        run(config)
    for line in lines:
        assert line in str(error.value)


def test_a_table_whose_identity_does_not_count_is_refused(server, run):
    sql(server, "CREATE TABLE things (id int PRIMARY KEY DEFERRABLE, unit int)")
    sql(server, "CREATE TABLE solid (id int PRIMARY KEY)")
    config = things(groups="all", admit="SELECT 1 FROM solid")
    refused(run, config, "public.things has no replica identity", "ALTER TABLE public.things REPLICA IDENTITY FULL;")
    assert sql(server, "SELECT 1 FROM pg_publication") == [] and server.sql("SELECT 1 FROM pg_replication_slots") == []
    sql(server, "INSERT INTO things VALUES (1, 1)")
    application_writes(server, ["things"])
    sql(server, "ALTER TABLE public.things REPLICA IDENTITY FULL;")
    run(config)
    assert members(server) == ["solid", "things"]
    application_writes(server, ["things"])


def test_a_refusal_leaves_an_existing_publication_alone(server, run):
    sql(server, "CREATE TABLE things (id int PRIMARY KEY DEFERRABLE, unit int)")
    sql(server, "CREATE PUBLICATION walpush FOR TABLE units")
    refused(run, things(groups="all"))
    assert members(server) == ["units"] and sql(server, PARAMETERS, "walpush") == [(True, True, True, True, False)]


def test_a_partitioned_table_without_a_primary_key_is_refused(server, run):
    """Each of its partitions may have one: the next need not."""
    sql(server, "CREATE TABLE things (id int NOT NULL, unit int) PARTITION BY RANGE (id)")
    sql(server, "CREATE TABLE part PARTITION OF things (PRIMARY KEY (id)) FOR VALUES FROM (0) TO (9)")
    refused(run, things(), "public.things has no primary key, so a partition that is made later has no replica identity",
            "ALTER TABLE public.things ADD PRIMARY KEY (…); with the columns of its partition key RANGE (id)")  # fmt: skip
    assert sql(server, "SELECT 1 FROM pg_publication") == []
    sql(server, "ALTER TABLE ONLY things ADD PRIMARY KEY (id)")
    refused(run, things())  # it counts when all partitions have it
    sql(server, "ALTER INDEX things_pkey ATTACH PARTITION part_pkey")
    run(things())
    sql(server, "CREATE TABLE later PARTITION OF things FOR VALUES FROM (10) TO (19)")
    sql(server, "INSERT INTO things VALUES (1, 1), (11, 1)")
    application_writes(server, ["things", "part", "later"])


def test_a_partition_that_lacks_an_identity(server, run):
    sql(server, "CREATE TABLE things (id int PRIMARY KEY, unit int) PARTITION BY RANGE (id)")
    sql(server, "CREATE TABLE part PARTITION OF things FOR VALUES FROM (0) TO (9)")
    sql(server, "ALTER TABLE part REPLICA IDENTITY NOTHING")
    run(things())
    sql(server, "INSERT INTO things VALUES (1, 1)")
    application_writes(server, ["things"])


def test_a_root_promises_no_more_than_its_partitions_log(server, run):
    """The server describes a partition's row with its root's identity: columns that the partition does not log would come as null."""
    sql(server, "CREATE TABLE things (id int PRIMARY KEY, unit int) PARTITION BY RANGE (id)")
    sql(server, "CREATE TABLE part PARTITION OF things (unit NOT NULL) FOR VALUES FROM (0) TO (9)")
    sql(server, "CREATE UNIQUE INDEX by_unit ON part (unit)")
    sql(server, "ALTER TABLE things REPLICA IDENTITY FULL")
    sql(server, "ALTER TABLE part REPLICA IDENTITY USING INDEX by_unit")
    run(things())
    identities = sql(server, "SELECT relname, relreplident FROM pg_class WHERE relname IN ('things', 'part') ORDER BY 1")
    assert identities == [("part", "f"), ("things", "d")]


def test_virtual_generated_columns_with_a_full_identity_are_refused(server, run):
    if version(server) < 180000:
        pytest.skip("generated columns are virtual from PostgreSQL 18 on")
    sql(server, "CREATE TABLE things (id int PRIMARY KEY, unit int, twice int GENERATED ALWAYS AS (unit * 2) VIRTUAL)")
    sql(server, "INSERT INTO things VALUES (1, 1)")
    run(things(groups="all", section='columns = [ "id" ]'))
    application_writes(server, ["things"])
    refused(run, things(), "public.things needs REPLICA IDENTITY FULL and has the virtual generated column twice")
    application_writes(server, ["things"])


def test_stored_generated_columns_are_published(server, run):
    sql(server, "CREATE TABLE things (id int PRIMARY KEY, unit int, twice int GENERATED ALWAYS AS (unit * 2) STORED)")
    sql(server, "INSERT INTO things VALUES (1, 1)")
    if version(server) >= 180000:
        sql(server, "CREATE PUBLICATION other FOR TABLE things")
        refused(run, things(), "is in publication other", "ALTER PUBLICATION other SET (publish_generated_columns = stored);")
        application_writes(server, ["things"])
        sql(server, "ALTER PUBLICATION other SET (publish_generated_columns = stored)")
    run(things())
    application_writes(server, ["things"])


# --- the slot -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make, complaint", [
    ("SELECT pg_create_logical_replication_slot('walpush', 'test_decoding')", "slot walpush exists, but for plugin test_decoding"),
    ("SELECT pg_create_physical_replication_slot('walpush')", "slot walpush exists, but it is a physical one"),
])  # fmt: skip
def test_a_slot_of_another_kind_is_refused_before_anything_else(server, run, make, complaint):
    sql(server, make)
    with pytest.raises(ClusterError, match=complaint):
        run()
    assert server.sql("SELECT 1 FROM pg_roles WHERE rolname = 'walpush'") == [] and sql(server, "SELECT 1 FROM pg_publication") == []
    server.sql("SELECT pg_drop_replication_slot('walpush')")


def test_a_slot_of_another_database_is_refused(server, run):
    server.sql("SELECT pg_create_logical_replication_slot('walpush', 'pgoutput')")
    with pytest.raises(ClusterError, match="slot walpush exists, but in database postgres"):
        run()
    server.sql("SELECT pg_drop_replication_slot('walpush')")


def test_a_slot_that_is_older_than_its_publication_is_told_of(server, run):
    sql(server, "SELECT pg_create_logical_replication_slot('walpush', 'pgoutput')")
    assert "note: slot walpush is older than publication walpush" in run()
    assert "is older than" not in run()


# --- teardown, and walpush ----------------------------------------------------------------------------------------


def test_teardown_drops_the_publication(server, run):
    sql(server, "CREATE TABLE things (id int NOT NULL, unit int)")
    config = things(more='membership = { users = { user = "id" } }')
    for publication in (None, "another"):
        variables = {"publication": publication} if publication else {}
        run(config, **variables)
        for _ in range(2):
            server.psql(TEARDOWN, {"tables": "things", **variables}, dbname="app")
            assert sql(server, "SELECT 1 FROM pg_publication") == [] and server.sql("SELECT 1 FROM pg_replication_slots") == []
            assert sql(server, "SELECT 1 FROM pg_class WHERE relreplident = 'f'") == []
            assert server.sql("SELECT 1 FROM pg_roles WHERE rolname = 'walpush'") == []
    sql(server, "INSERT INTO things VALUES (1, 1)")
    application_writes(server, ["things"])


def test_walpush_streams_from_what_the_script_made(bare_app, printed, config, make_walpush):
    env = {"WALPUSH_SLOT": bare_app.slot}
    script = printed(config, "--plugin", "pgoutput", url=bare_app.url, env=env)
    bare_app.cluster.psql(script, dbname=bare_app.name)
    with make_walpush(bare_app, config) as walpush:
        with walpush.subscribe("/ws/requests/1/", MEENA) as client:
            bare_app.sql("UPDATE requests SET status = 'Approved' WHERE id = %s", bare_app.request)
            message = client.recv()
            assert message["action"] == "approved" and message["request_id"] == bare_app.request
