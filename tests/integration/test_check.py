"""`walpush check`: each failure is made in a real server, found, said in one line, and gone once its fix is applied (harness/broken.py)."""

import contextlib
import datetime
import json
import os
import re
import secrets
import select
import socket
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from harness.broken import BAD, Cases, found_and_mended, of, server, world  # noqa: F401
from harness.proxy import error_response, proxy
from harness.redis import Redis
from harness.walpush import BINARY, SIGNING_KEY, run_to_end, shipped_config
from throwaway.cluster import free_port
from throwaway.config import Raw, section

WRITE_20_MB = "SELECT pg_logical_emit_message(true, 'x', repeat('x', 1 << 20)) FROM generate_series(1, 20)"

cases = Cases()
case = cases.case


def expired(key_file):
    """A certificate of that key whose time is over; the openssl command makes none."""
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    end = datetime.datetime(2020, 1, 1)
    certificate = x509.CertificateBuilder(name, name, key.public_key(), 1, end.replace(year=2019), end)
    return certificate.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


# --- what needs no database --------------------------------------------------------------------------------------


@case("origins", state="warning", kind="conf")
def no_page_that_may_connect(world):
    world.config.remove("listen.origins")


@case("key", kind="conf")
def a_key_of_another_kind(world):
    world.certificate("a")
    world.openssl("pkey", "-in", "a.key", "-pubout", "-out", "a.pub")
    world.config.remove("jwt.key").set("jwt.key-file", "a.pub").set("jwt.algorithm", "RS256")


@case("key", kind="words")
def a_key_that_is_no_key(world):
    world.file("broken.pem", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    world.config.remove("jwt.key").set("jwt.key-file", "broken.pem").set("jwt.algorithm", "ES256")
    yield
    world.certificate("a")
    world.openssl("pkey", "-in", "a.key", "-pubout", "-out", "broken.pem")


@case("key", state="warning", kind="words")
def a_secret_that_is_too_short(world):
    world.env["JWT_SIGNING_KEY"] = "short"
    yield
    world.env["JWT_SIGNING_KEY"] = secrets.token_hex(32)


@case("certificate", kind="words")
def a_certificate_that_is_not_there(world):
    world.config.set("listen.certificate", "a.crt").set("listen.certificate-key", "a.key")
    yield
    world.certificate("a")


@case("certificate", kind="words")
def a_certificate_with_the_key_of_another(world):
    world.certificate("a")
    world.certificate("b")
    world.config.set("listen.certificate", "a.crt").set("listen.certificate-key", "b.key")
    yield
    world.config.set("listen.certificate-key", "a.key")


@case("certificate", state="warning", kind="words")
def a_certificate_that_expires_soon(world):
    world.certificate("a")
    world.openssl("req", "-x509", "-key", "a.key", "-subj", "/CN=x", "-days", "3", "-out", "a.crt")
    world.config.set("listen.certificate", "a.crt").set("listen.certificate-key", "a.key")
    yield
    world.certificate("a")


@case("certificate", kind="words")
def a_certificate_that_has_expired(world):
    world.certificate("a")
    world.file("a.crt", expired(world.directory / "a.key"))
    world.config.set("listen.certificate", "a.crt").set("listen.certificate-key", "a.key")
    yield
    world.certificate("a")


@case("file-limit", kind="conf")
def more_connections_than_files(world):
    world.config.set("limits.connections", 1_000_000)


# --- connecting --------------------------------------------------------------------------------------------------


@case("connection", kind="words")
def nobody_listens(world):
    good = world.env["DATABASE_URL"]
    world.env["DATABASE_URL"] = good.replace(f":{world.server.port}/", f":{free_port()}/")
    yield
    world.env["DATABASE_URL"] = good


@case("connection", kind="words")
def another_name_of_the_database(world):
    good = world.env["DATABASE_URL"]
    world.env["DATABASE_URL"] = good + "_of_yesterday"
    yield
    world.env["DATABASE_URL"] = good


@case("connection", kind="words")
def a_url_file_that_is_not_there(world):
    world.config.remove("database.url").set("database.url-file", "url")
    yield
    world.file("url", world.env["DATABASE_URL"] + "\n")


@case("connection", kind="shell")
def a_role_that_does_not_exist(world):
    world.env["DATABASE_URL"] = world.env["DATABASE_URL"].replace("://walpush:", "://walpush2:")


@case("connection", kind="shell")
def another_password(world):
    world.sql("ALTER ROLE walpush PASSWORD 'another'")


@case("connection", kind="shell")
def a_role_that_may_not_log_in(world):
    world.sql("ALTER ROLE walpush NOLOGIN")


@case("connection", kind="hba")
def no_line_in_pg_hba(world):
    world.server.hba = "host all postgres 127.0.0.1/32 scram-sha-256\nlocal all all scram-sha-256\n"
    world.reload()


@case("connection")
def no_right_to_connect(world):
    world.sql("REVOKE CONNECT ON DATABASE app FROM PUBLIC, walpush")


@case("connection")
def a_database_that_is_full(world):
    world.sql("ALTER DATABASE app CONNECTION LIMIT 0")


@case("connection")
def a_role_without_a_connection(world):
    world.sql("ALTER ROLE walpush CONNECTION LIMIT 0")


@case("role-connections")
def a_role_with_too_few_connections(world):
    world.sql("ALTER ROLE walpush CONNECTION LIMIT 2")


@case("role-connections", state="warning")
def a_role_with_one_connection_for_admissions(world):
    world.sql("ALTER ROLE walpush CONNECTION LIMIT 7")


@case("server-connections", state="warning", kind="restart")
def a_server_that_is_nearly_full(world):
    world.set_system(max_connections=20)
    world.restart()


@case("role-password", state="warning")
def a_password_that_expires(world):
    world.sql("ALTER ROLE walpush VALID UNTIL 'tomorrow'")


@case("role")
def a_role_that_may_not_replicate(world):
    world.sql("ALTER ROLE walpush NOREPLICATION")


@case("role-rights", state="warning", kind="words")
def a_superuser(world):
    world.sql("ALTER ROLE walpush SUPERUSER")
    yield  # a role of its own has no such right
    world.sql("ALTER ROLE walpush NOSUPERUSER")


@case("role-rights", state="warning", kind="words")
def the_applications_own_role(world):
    world.sql("ALTER TABLE storages OWNER TO walpush")
    yield
    world.sql("ALTER TABLE storages OWNER TO postgres")


@case("connection", kind="words")
def a_server_that_is_full(world):
    world.set_system(max_connections=6, superuser_reserved_connections=3)
    world.restart()
    others = [world.server.connect("app", "walpush") for _ in range(3)]
    yield
    for other in others:
        other.close()
    world.server.end_sessions("usename = 'walpush'")


@case("connection", kind="words")
def a_server_that_takes_no_connections(world):
    world.sql("SELECT pg_drop_replication_slot('walpush')")
    world.set_system(hot_standby="off")
    world.server.stop()
    world.server.be_standby()
    world.restarts = True
    world.server.start("standby")
    yield
    world.server.promote()


@case("replication", kind="words")
def a_pooler_in_between(world):
    def refuse(first):
        return error_response("08P01", "unsupported startup parameter: replication") if b"replication\0" in first else None

    good = world.env["DATABASE_URL"]
    port = world.resources.enter_context(proxy(world.server.port, request=refuse))
    world.env["DATABASE_URL"] = good.replace(f":{world.server.port}/", f":{port}/")
    yield
    world.env["DATABASE_URL"] = good


# --- the server --------------------------------------------------------------------------------------------------


@case("version", kind="words")
def an_old_server(world):
    def age(data):
        return re.sub(rb"server_version\0\d\d", b"server_version\x0012", data)

    good = world.env["DATABASE_URL"]
    port = world.resources.enter_context(proxy(world.server.port, answer=age))
    world.env["DATABASE_URL"] = good.replace(f":{world.server.port}/", f":{port}/")
    yield
    world.env["DATABASE_URL"] = good


@case("encoding", kind="shell")
def another_encoding(world):
    world.server.drop("app")
    world.sql = world.server.sql
    world.server.sql("CREATE DATABASE app TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
    yield
    world.env["DATABASE_URL"] += "_utf8"


@case("wal-level", kind="restart")
def a_wal_level_that_is_too_low(world):
    world.sql("SELECT pg_drop_replication_slot('walpush')")
    world.set_system(wal_level="replica")
    world.restart()


@case("standby", kind="words")
def a_synchronous_standby_that_is_away(world):
    world.set_system(synchronous_standby_names="nobody")
    world.reload()
    yield
    world.sql("ALTER SYSTEM RESET synchronous_standby_names")
    world.reload()


@case("slots", kind="restart")
def no_slot_is_free(world):
    world.sql("SELECT pg_drop_replication_slot('walpush')")
    world.set_system(max_replication_slots=1)
    world.restart()
    world.sql("SELECT pg_create_physical_replication_slot('standby')")


@case("walsenders", kind="restart")
def no_walsender_is_free(world):
    world.set_system(max_wal_senders=1)
    world.restart()
    world.replication()


@case("plugin", kind="shell")
def a_plugin_that_the_server_does_not_allow(world):
    if not world.sql("SELECT name FROM pg_settings WHERE name = 'output_plugin_libraries'"):
        pytest.skip("this version of PostgreSQL does not restrict output plugins")
    world.sql("ALTER SYSTEM SET output_plugin_libraries = pgoutput, test_decoding")
    world.reload()


@case("plugin", kind="shell")
def a_list_of_plugins_that_is_one_name(world):
    if not world.sql("SELECT name FROM pg_settings WHERE name = 'output_plugin_libraries'"):
        pytest.skip("this version of PostgreSQL does not restrict output plugins")
    world.sql("ALTER SYSTEM SET output_plugin_libraries = 'pgoutput, test_decoding, wal2json'")
    world.reload()


@case("plugin", kind="shell")
def a_server_without_the_plugin(world):
    world.set_system(dynamic_library_path="/nowhere")
    world.reload()
    yield  # the package is installed here; the server is told where
    world.sql("ALTER SYSTEM RESET dynamic_library_path")
    world.reload()


@case("plugin", kind="shell")
def a_server_without_the_plugin_and_without_a_slot(world):
    world.sql("SELECT pg_drop_replication_slot('walpush')")
    world.set_system(dynamic_library_path="/nowhere")
    world.reload()
    yield
    world.sql("ALTER SYSTEM RESET dynamic_library_path")
    world.reload()


@case("wal-bound", state="warning")
def no_bound_to_what_a_slot_keeps(world):
    world.set_system(max_slot_wal_keep_size="-1")
    world.reload()


@case("wal-bound", state="warning")
def a_bound_below_the_replay_window(world):
    world.set_system(max_slot_wal_keep_size="65MB")
    world.reload()


@case("primary", kind="words")
def a_standby(world):
    if world.sql("SELECT current_setting('server_version_num')::int >= 160000")[0][0]:
        pytest.skip("this version of PostgreSQL decodes on a standby too")
    world.sql("SELECT pg_drop_replication_slot('walpush')")
    world.server.stop()
    world.server.be_standby()
    world.restart()
    yield  # the primary is this one, promoted
    world.server.sql("SELECT pg_promote()")


# --- the slot ----------------------------------------------------------------------------------------------------


@case("slot")
def no_slot(world):
    world.sql("SELECT pg_drop_replication_slot('walpush')")


@case("slot-kind", kind="conf")
def a_physical_slot(world):
    world.sql("SELECT pg_drop_replication_slot('walpush')")
    world.sql("SELECT pg_create_physical_replication_slot('walpush')")


@case("slot-kind", kind="conf")
def a_slot_of_another_plugin(world):
    world.sql("SELECT pg_drop_replication_slot('walpush')")
    world.sql("SELECT pg_create_logical_replication_slot('walpush', 'test_decoding')")


@case("slot-database", kind="conf")
def a_slot_of_another_database(world):
    world.sql("SELECT pg_drop_replication_slot('walpush')")
    world.server.sql("SELECT pg_create_logical_replication_slot('walpush', 'wal2json')")


@case("slot-state", state="warning")
def a_slot_that_is_about_to_be_lost(world):
    world.set_system(max_slot_wal_keep_size="1MB")
    world.reload()
    for _ in range(3):
        world.sql(WRITE_20_MB)


@case("slot-state")
def a_lost_slot(world):
    world.set_system(max_slot_wal_keep_size="1MB")
    world.reload()
    for _ in range(3):
        world.sql(WRITE_20_MB)
    world.sql("CHECKPOINT")


@case("slot-reader")
def a_slot_that_another_program_reads(world):
    world.replication("postgres").cursor().start_replication(slot_name="walpush", options={"format-version": "2"})


# --- what a publication sends --------------------------------------------------------------------------------------

TABLES = "requests, crates, storages, sendbacks, user_units, users, roles"
THROUGH_ROOT = "WITH (publish_via_partition_root = true)"


def since(world, version):
    if world.sql("SELECT current_setting('server_version_num')::int")[0][0] < version * 10000:
        pytest.skip(f"this is new in PostgreSQL {version}")


def before(world, version):
    if world.sql("SELECT current_setting('server_version_num')::int")[0][0] >= version * 10000:
        pytest.skip(f"PostgreSQL {version} does otherwise")


def pgoutput(world, what=f"FOR TABLE {TABLES} {THROUGH_ROOT}"):
    """The slot is of pgoutput, with such a publication; None: there is none."""
    world.sql("SELECT pg_drop_replication_slot('walpush')")
    if what is not None:
        world.sql(f"CREATE PUBLICATION walpush {what}")
    world.sql("SELECT pg_create_logical_replication_slot('walpush', 'pgoutput')")


def partitioned(world, listed, what):
    """`events` has a partition and, as its partition, a table that is partitioned itself."""
    world.sql("CREATE TABLE events (id int, unit_id int, PRIMARY KEY (id, unit_id)) PARTITION BY LIST (unit_id)")
    world.sql("CREATE TABLE events_1 PARTITION OF events FOR VALUES IN (1)")
    world.sql("CREATE TABLE others PARTITION OF events DEFAULT PARTITION BY LIST (unit_id)")
    world.sql("CREATE TABLE others_1 PARTITION OF others DEFAULT")
    world.config.set("tables.storages.from", listed)
    pgoutput(world, what)


@case("publication")
def no_publication(world):
    pgoutput(world, None)


@case("publication")
def no_publication_and_no_slot(world):
    world.sql("SELECT pg_drop_replication_slot('walpush')")
    world.config.set("database.plugin", "pgoutput").set("database.publication", "order_of_tables")


@case("publication")
def a_publication_without_an_operation(world):
    pgoutput(world, f"FOR TABLE {TABLES} WITH (publish = 'insert, delete')")


@case("publication")
def a_publication_without_a_table(world):
    pgoutput(world)
    world.sql("ALTER PUBLICATION walpush DROP TABLE crates")


@case("publication")
def a_publication_without_a_table_that_decides(world):
    pgoutput(world)
    world.sql("ALTER PUBLICATION walpush DROP TABLE roles")


@case("publication")
def a_publication_without_a_table_of_an_odd_name(world):
    pgoutput(world)
    world.sql("""CREATE SCHEMA "Odd" CREATE TABLE "a ""b" (id int, unit_id int)""")
    world.sql("GRANT USAGE ON SCHEMA \"Odd\" TO walpush")
    world.config.set("tables.storages.from", 'Odd.a "b')


@case("publication")
def a_publication_without_a_child(world):
    pgoutput(world)
    for table in ("central", "remote"):
        world.sql(f"CREATE TABLE {table} () INHERITS (storages)")


@case("publication")
def a_publication_of_an_unlogged_table(world):
    world.sql("CREATE UNLOGGED TABLE events (id int PRIMARY KEY, unit_id int)")
    world.config.set("tables.storages.from", "events")
    pgoutput(world, "FOR ALL TABLES")


@case("publication")
def partitions_under_their_own_names(world):
    partitioned(world, "events", f"FOR TABLE {TABLES}, events")


@case("publication")
def partitions_without_their_root(world):
    partitioned(world, "events", f"FOR TABLE {TABLES}, events_1, others {THROUGH_ROOT}")


@case("publication")
def a_partition_as_its_root(world):
    partitioned(world, "events_1", f"FOR TABLE {TABLES}, events {THROUGH_ROOT}")


@case("publication")
def a_partition_as_its_root_with_all_tables(world):
    partitioned(world, "events_1", f"FOR ALL TABLES {THROUGH_ROOT}")


@case("publication", kind="words")
def a_root_as_its_root(world):
    partitioned(world, "others", f"FOR TABLE {TABLES}, others, events {THROUGH_ROOT}")
    yield
    world.sql("ALTER PUBLICATION walpush DROP TABLE events")


@case("publication")
def a_column_list_without_a_column_that_is_shown(world):
    since(world, 15)
    world.sql("ALTER TABLE crates REPLICA IDENTITY DEFAULT")
    pgoutput(world, f"FOR TABLE {TABLES.replace('crates', 'crates (id, unit_id, storage_id)')}")


@case("publication")
def a_column_list_without_a_column_that_decides(world):
    since(world, 15)
    world.sql("ALTER TABLE users REPLICA IDENTITY DEFAULT")
    pgoutput(world, f"FOR TABLE {TABLES.replace('users', 'users (id, is_active, status)')}")


@case("publication")
def a_row_filter(world):
    since(world, 15)
    pgoutput(world)
    world.sql("ALTER PUBLICATION walpush DROP TABLE crates")
    world.sql("ALTER PUBLICATION walpush ADD TABLE crates WHERE (unit_id > 3)")


@case("publication", kind="words")
def a_generated_column_in_a_group(world):
    before(world, 18)
    pgoutput(world)
    world.sql("ALTER TABLE storages ADD place int GENERATED ALWAYS AS (unit_id + 1) STORED")
    world.config.set("tables.storages.groups", ["storage_{place}"])
    yield
    world.config.set("tables.storages.groups", ["storage_unit_{unit_id}"])
    world.config.set("tables.storages.exclude", ["place"])


@case("publication", state="warning", kind="words")
def a_generated_column_that_is_shown(world):
    before(world, 18)
    pgoutput(world)
    world.sql("ALTER TABLE storages ADD place int GENERATED ALWAYS AS (unit_id + 1) STORED")
    yield
    world.config.set("tables.storages.exclude", ["place"])


@case("publication")
def a_generated_column_that_the_publication_could_send(world):
    since(world, 18)
    pgoutput(world)
    world.sql("ALTER TABLE storages ADD place int GENERATED ALWAYS AS (unit_id + 1) STORED")
    world.config.set("tables.storages.groups", ["storage_{place}"])


@case("published-identity")
def a_published_table_without_an_identity(world):
    world.sql("CREATE TABLE notes (note text)")
    pgoutput(world, f"FOR TABLE {TABLES}, notes")


@case("published-identity")
def a_published_table_whose_key_may_wait(world):
    world.sql("CREATE TABLE notes (id int PRIMARY KEY DEFERRABLE)")
    pgoutput(world, "FOR ALL TABLES")


@case("published-identity")
def a_published_partition_without_an_identity(world):
    partitioned(world, "events", f"FOR TABLE {TABLES}, events {THROUGH_ROOT}")
    world.sql("ALTER TABLE others_1 REPLICA IDENTITY NOTHING")


@case("published-identity")
def a_published_root_without_an_identity(world):
    world.sql("CREATE TABLE notes (id int) PARTITION BY LIST (id)")
    world.sql("CREATE TABLE notes_1 PARTITION OF notes DEFAULT")
    world.sql("ALTER TABLE notes_1 REPLICA IDENTITY FULL")
    pgoutput(world, f"FOR TABLE {TABLES}, notes {THROUGH_ROOT}")


@case("published-identity")
def an_identity_in_a_published_schema(world):
    since(world, 15)
    world.sql("CREATE SCHEMA more CREATE TABLE notes (note text)")
    pgoutput(world, f"FOR TABLE {TABLES}, TABLES IN SCHEMA more")


@case("published-identity")
def a_column_list_that_does_not_cover_the_identity(world):
    since(world, 15)
    world.sql("CREATE TABLE notes (id int PRIMARY KEY, note text)")
    world.sql("ALTER TABLE notes REPLICA IDENTITY FULL")
    pgoutput(world, f"FOR TABLE {TABLES}, notes (id)")


# --- tables ------------------------------------------------------------------------------------------------------


@case("schema")
def a_schema_that_the_role_may_not_look_into(world):
    world.sql("REVOKE USAGE ON SCHEMA public FROM PUBLIC, walpush")


@case("creators", state="warning")
def everybody_may_create_where_queries_look_for_names(world):
    world.sql("GRANT CREATE ON SCHEMA public TO PUBLIC")


@case("creators", state="warning")
def a_role_may_create_where_queries_look_for_names(world):
    world.sql("GRANT CREATE ON SCHEMA public TO pg_monitor")


@case("table", kind="words")
def a_table_that_is_missing(world):
    world.sql("ALTER TABLE storages RENAME TO places")
    yield
    world.sql("ALTER TABLE places RENAME TO storages")


@case("membership", kind="conf")
def a_column_that_admit_reads_and_its_section_leaves_out(world):
    world.config.set("membership.users.columns", ["status", "role_id"])


def through_function(world, condition):
    world.sql("CREATE TABLE grants (person int)")
    world.sql("ALTER TABLE grants REPLICA IDENTITY FULL")
    world.sql("GRANT SELECT ON grants TO walpush")
    world.sql(
        "CREATE FUNCTION may(person int) RETURNS boolean STABLE LANGUAGE plpgsql"
        f" AS $$BEGIN RETURN EXISTS (SELECT FROM grants g WHERE g.person = may.person AND {condition}); END$$"
    )
    world.config.set("streams.requests.admit", "SELECT 1 WHERE may({token.user_id}::int)")


@case("membership", kind="words")
def admit_through_a_function(world):
    through_function(world, "true")
    yield
    world.config.set("membership.may", section(ignore=True))


@case("membership", kind="words")
def admit_through_a_function_while_another_table_is_listed(world):
    through_function(world, "true")
    world.config.set("membership.crates", section())
    yield
    world.config.set("membership.grants", section(user="person"))


@case("membership", kind="words")
def admit_through_a_function_of_the_server(world):
    world.config.set("streams.requests.admit", "SELECT 1 WHERE pg_has_role({token.user_id}::text, 'app', 'MEMBER')")
    yield
    world.config.set("membership.roles_of", section(**{"from": "pg_catalog.pg_has_role", "ignore": True}))


@case("query", state="warning", kind="conf")
def a_permission_that_ends_in_a_function_whose_tables_are_listed(world):
    through_function(world, "current_date < '2100-01-01'")
    world.config.set("membership.grants", section(user="person"))


@case("membership", kind="words")
def admit_through_a_materialized_view(world):
    world.sql("CREATE TABLE grants (person int)")
    world.sql("ALTER TABLE grants REPLICA IDENTITY FULL")
    world.sql("CREATE MATERIALIZED VIEW granted AS SELECT person FROM grants")
    world.sql("GRANT SELECT ON granted TO walpush")
    world.config.set("streams.requests.admit", "SELECT 1 FROM granted WHERE person = {token.user_id}")
    yield
    world.config.set("membership.grants", section(user="person"))


@case("membership")
def no_temporary_view_can_be_made(world):
    world.sql("REVOKE TEMPORARY ON DATABASE app FROM PUBLIC")


@case("row-security")
def a_policy_that_hides_what_admit_reads(world):
    world.sql("ALTER TABLE user_units ENABLE ROW LEVEL SECURITY")
    world.sql("CREATE POLICY other ON user_units TO postgres USING (true)")


@case("row-security")
def a_policy_for_everybody_that_hides_what_a_lookup_reads(world):
    world.sql("ALTER TABLE crates ENABLE ROW LEVEL SECURITY")
    world.sql("CREATE POLICY own ON crates USING (unit_id = current_setting('app.unit', true)::int)")


@case("row-security")
def a_policy_behind_a_view_that_reads_as_who_asks(world):
    if int(world.sql("SHOW server_version_num")[0][0]) < 150000:
        pytest.skip("PostgreSQL 15 has such views")
    world.sql("ALTER TABLE user_units ENABLE ROW LEVEL SECURITY")
    world.sql("CREATE VIEW mine WITH (security_invoker = on) AS SELECT user_id FROM user_units")
    world.sql("GRANT SELECT ON mine TO walpush")
    for stream in ("requests", "crates", "storage"):
        world.config.set(f"streams.{stream}.admit", "SELECT 1 FROM mine WHERE user_id = {token.user_id}")
    world.config.set("tables.sendbacks.lookup", "SELECT 1 AS user_id")


@case("table", kind="conf")
def a_table_of_another_schema(world):
    world.sql("CREATE SCHEMA archive")
    world.sql("GRANT USAGE ON SCHEMA archive TO walpush")
    world.sql("ALTER TABLE storages SET SCHEMA archive")


@case("table", kind="words")
def a_column_that_is_missing(world):
    world.sql("ALTER TABLE storages RENAME unit_id TO plant_id")
    yield
    world.sql("ALTER TABLE storages RENAME plant_id TO unit_id")


@case("table", kind="words")
def a_view_instead_of_a_table(world):
    world.sql("ALTER TABLE storages RENAME TO places")
    world.sql("CREATE VIEW storages AS SELECT * FROM places")
    yield
    world.config.set("tables.storages.from", "places")


@case("table-logged")
def an_unlogged_table(world):
    world.sql("CREATE UNLOGGED TABLE events (id int PRIMARY KEY, unit_id int)")
    world.sql("ALTER TABLE events REPLICA IDENTITY FULL")
    world.config.set("tables.storages.from", "events")


@case("replica-identity")
def a_partition_without_its_old_rows(world):
    world.sql("CREATE TABLE events (id int, unit_id int) PARTITION BY LIST (unit_id)")
    world.sql("CREATE TABLE events_1 PARTITION OF events DEFAULT")
    world.config.set("tables.storages.from", "events")


@case("replica-identity")
def a_child_without_its_old_rows(world):
    world.sql("CREATE TABLE central (place text) INHERITS (storages)")


@case("table-partitions", state="warning", kind="words")
def a_partitioned_table_beside_its_partitions(world):
    storages = '{ type = "storage"  key = "storage_id"  groups = [ "storage_unit_{unit_id}" ] }'
    world.sql("CREATE TABLE events (id int, unit_id int) PARTITION BY LIST (unit_id)")
    world.sql("CREATE TABLE events_1 PARTITION OF events DEFAULT")
    world.sql("ALTER TABLE events REPLICA IDENTITY FULL")
    world.sql("ALTER TABLE events_1 REPLICA IDENTITY FULL")
    world.config.set("tables.storages.from", "events_1")
    world.config.replace("tables = {", f"tables = {{ events = {storages}")
    yield
    world.config.remove("tables.events")


@case("table-partitions", state="warning", kind="words")
def a_child_of_two_tables_that_are_pushed(world):
    world.sql("CREATE TABLE bills (id int, unit_id int)")
    world.sql("CREATE TABLE both_of () INHERITS (storages, bills)")
    for table in ("bills", "both_of"):
        world.sql(f"ALTER TABLE {table} REPLICA IDENTITY FULL")
    bills = '{ type = "bill"  key = "bill_id"  groups = [ "bills_{unit_id}" ] }'
    world.config.replace("tables = {", f"tables = {{ bills = {bills}")
    yield
    world.sql("ALTER TABLE both_of NO INHERIT bills")


@case("replica-identity")
def an_old_row_without_its_unit(world):
    world.sql("ALTER TABLE requests REPLICA IDENTITY DEFAULT")


@case("replica-identity")
def no_old_row_at_all(world):
    world.sql("ALTER TABLE roles REPLICA IDENTITY NOTHING")


@case("replica-identity")
def an_index_that_lacks_a_column(world):
    world.sql("ALTER TABLE user_units ALTER user_id SET NOT NULL, ALTER unit_id SET NOT NULL")
    world.sql("CREATE UNIQUE INDEX odd ON users (username)")
    world.sql("ALTER TABLE users ALTER username SET NOT NULL")
    world.sql("ALTER TABLE users REPLICA IDENTITY USING INDEX odd")


@case("replica-identity", state="warning")
def a_large_value_that_an_update_leaves_alone(world):
    world.config.set("tables.sendbacks.groups", ["sendbacks"])
    world.config.remove("tables.sendbacks.lookup")
    world.sql("ALTER TABLE sendbacks REPLICA IDENTITY DEFAULT")


# --- what messages show --------------------------------------------------------------------------------------------


@case("secrets", state="warning", kind="conf")
def a_token_in_data(world):
    world.sql("ALTER TABLE crates ADD access_token text, ADD otp int, ADD has_password bool")
    world.config.set("tables.crates.exclude", ["barcode"])


@case("secrets", state="warning", kind="words")
def a_secret_in_a_message(world):
    world.sql("ALTER TABLE storages ADD door_pin int")
    world.config.set("tables.storages.message", '{"type": "storage", "pin": "{door_pin}"}')
    yield
    world.config.set("tables.storages.columns", ["door_pin"])


@case("secrets", state="warning", kind="words")
def a_secret_among_the_fields(world):
    world.sql("ALTER TABLE sendbacks ADD ssn text")
    world.config.set("tables.sendbacks.fields", ["reason", "ssn"])
    yield
    world.config.set("tables.sendbacks.columns", ["id", "reason", "ssn"])


@case("columns", state="warning", kind="conf")
def columns_without_the_key(world):
    world.config.set("tables.storages.columns", ["room_name", "rack_name"])


@case("secrets", state="warning", kind="words")
def a_secret_that_is_the_key(world):
    world.sql("ALTER TABLE storages DROP CONSTRAINT storages_pkey CASCADE, ADD session_key text PRIMARY KEY")
    yield
    world.config.set("tables.storages.columns", ["session_key", "room_name"])


@case("quiet", state="warning", kind="words")
def a_quiet_column_that_an_action_reads(world):
    world.config.set("tables.requests.quiet", ["updated_at", "status"])
    yield
    world.config.set("tables.requests.quiet", ["updated_at"])


@case("replica-identity")
def quiet_columns_without_the_old_row(world):
    """Nothing else of this section needs a former value."""
    world.config.set("tables.storages", Raw('{ type = "s"  key = "k"  groups = [ "all" ]  quiet = [ "updated_at" ] }'))
    world.sql("ALTER TABLE storages REPLICA IDENTITY DEFAULT")


@case("table", kind="words")
def a_key_that_is_excluded(world):
    world.config.set("tables.storages.exclude", ["id"])
    yield
    world.config.remove("tables.storages.exclude")


# --- queries -----------------------------------------------------------------------------------------------------


@case("query")
def a_column_that_is_not_granted(world):
    world.sql("REVOKE SELECT (role_name) ON roles FROM walpush")


@case("query")
def a_table_that_is_not_granted(world):
    world.config.set("actor.query", 'SELECT count(*) FROM storages WHERE "location" IS NULL OR id = {id}')
    world.sql('ALTER TABLE storages ADD "location" text')


@case("query")
def a_whole_row_that_is_not_granted(world):
    world.config.set("actor.query", "SELECT row_to_json(s) FROM storages s WHERE s.id = {id};")


@case("query", kind="shell")
def a_schema_of_a_query_that_is_not_granted(world):
    world.sql("CREATE SCHEMA archive")
    world.sql("CREATE TABLE archive.people (id int PRIMARY KEY, name text)")
    world.config.set("actor.query", "SELECT name FROM archive.people WHERE id = {id}")


@case("query", kind="words")
def a_query_of_a_table_that_is_missing(world):
    world.config.set("actor.query", "SELECT name FROM people WHERE id = {id}")
    yield
    world.sql("CREATE TABLE people (id int PRIMARY KEY, name text)")
    world.sql("GRANT SELECT ON people TO walpush")


@case("query", kind="words")
def a_parameter_without_a_type(world):
    world.config.set("streams.storage.admit", "SELECT 1 WHERE {path.unit_id} IS NOT NULL")
    yield
    world.config.set("streams.storage.admit", "SELECT 1 WHERE {path.unit_id}::int IS NOT NULL")


@case("query", kind="words")
def a_query_that_writes(world):
    world.config.set("actor.query", "UPDATE users SET last_login = now() WHERE id = {id} RETURNING username")
    world.sql("GRANT SELECT, UPDATE ON users TO walpush")
    yield
    world.config.set("actor.query", "SELECT username FROM users WHERE id = {id}")


@case("query", kind="words")
def a_lookup_without_the_column_of_a_group(world):
    world.config.set("tables.sendbacks.lookup", "SELECT withdrawn_by_id FROM requests WHERE id = {request_id}")
    yield
    world.config.set("tables.sendbacks.lookup", "SELECT withdrawn_by_id AS user_id FROM requests WHERE id = {request_id}")


@case("query", kind="words")
def an_actor_without_the_column_of_a_message(world):
    world.config.set("tables.storages.message", '{"type": "storage", "who": "{actor.full_name}", "id": "{id}"}')
    yield
    world.config.set("actor.query", "SELECT username, username AS full_name FROM users WHERE id = {id}")


@case("query", kind="words")
def a_data_query_with_two_columns(world):
    world.config.set("tables.storages.data-query", "SELECT {id}::int, 2")
    yield
    world.config.set("tables.storages.data-query", "SELECT {id}::int")


PASSES = "SELECT 1 FROM passes WHERE user_id = {token.user_id} AND unit_id = {path.unit_id}"


def passes(world, admit):
    world.sql("CREATE TABLE IF NOT EXISTS passes (user_id int, unit_id int, valid_until timestamptz)")
    world.sql("ALTER TABLE passes REPLICA IDENTITY FULL")
    world.sql("GRANT SELECT ON passes TO walpush")
    world.config.set("streams.storage.admit", admit)


@case("query", state="warning", kind="conf")
def a_permission_that_ends_by_time(world):
    passes(world, PASSES + " AND valid_until > now()")


@case("query", state="warning", kind="conf")
def a_permission_that_ends_by_date(world):
    passes(world, PASSES + " AND valid_until >= CURRENT_DATE")


@case("query", state="warning", kind="conf")
def a_permission_that_ends_by_age(world):
    passes(world, PASSES + " AND age(valid_until) < '0'")


@case("query", state="warning", kind="conf")
def a_permission_that_ends_in_a_view(world):
    passes(world, PASSES)
    world.sql("CREATE VIEW good AS SELECT * FROM passes WHERE valid_until > clock_timestamp()")
    world.sql("GRANT SELECT ON good TO walpush")
    world.config.set("streams.storage.admit", PASSES.replace("passes", "good"))


@case("query", state="warning", kind="conf")
def a_permission_that_ends_in_a_function(world):
    passes(world, PASSES + " AND still_good(valid_until)")
    world.config.set("membership.still_good", section(ignore=True))  # it reads nothing
    world.sql("CREATE FUNCTION still_good(t timestamptz) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT t > LOCALTIMESTAMP'")


@case("query", state="warning", kind="conf")
def a_permission_that_ends_by_a_text_that_becomes_a_time(world):
    passes(world, PASSES + " AND valid_until > 'now'::text::timestamptz")


@case("query", kind="words")
def a_time_that_is_computed_once(world):
    passes(world, PASSES + " AND valid_until > 'now'")
    world.config.set("streams.storage.recheck", 1)
    yield
    passes(world, PASSES + " AND valid_until > now()")


@case("query", kind="words")
def a_date_that_is_computed_once(world):
    passes(world, PASSES + " AND valid_until > CAST(' Tomorrow' AS date)")
    world.config.set("streams.storage.recheck", 1)
    yield
    passes(world, PASSES + " AND valid_until > current_date + 1")


@case("query", kind="words")
def a_range_that_is_computed_once(world):
    passes(world, PASSES + " AND valid_until <@ '[today,infinity)'::tstzrange")
    world.config.set("streams.storage.recheck", 1)
    yield
    passes(world, PASSES + " AND valid_until <@ tstzrange(current_date, 'infinity')")


@case("query", kind="words")
def a_lookup_with_a_time_that_is_computed_once(world):
    world.sql("GRANT SELECT ON requests TO walpush")
    lookup = "SELECT withdrawn_by_id AS user_id FROM requests WHERE id = {request_id} AND request_date < "
    world.config.set("tables.sendbacks.lookup", lookup + "date 'today'")
    yield
    world.config.set("tables.sendbacks.lookup", lookup + "current_date")


@case("query", state="warning")
def a_large_table_that_is_read_whole(world):
    world.sql("CREATE TABLE people (id int, name text)")
    world.sql("INSERT INTO people SELECT i, 'name ' || i FROM generate_series(1, 20000) AS i")
    world.sql("ANALYZE people")
    world.sql("GRANT SELECT ON people TO walpush")
    world.config.set("actor.query", "SELECT name FROM people WHERE id = {id}")


# --- Redis -----------------------------------------------------------------------------------------------------


def relay(world, url=None, **how):
    server = world.resources.enter_context(Redis(**how))
    world.config.set("relay", Raw(f'{{ url = "{url or server.url}" }}'))
    return server


@case("relay", kind="words")
def a_redis_that_is_not_there(world):
    server = relay(world)
    server.kill()
    yield
    server.start()


@case("relay", kind="words")
def a_redis_that_does_not_let_us_in(world):
    server = relay(world, password="secret")
    world.config.set("relay.url", f"redis://127.0.0.1:{server.port}")
    yield
    world.config.set("relay.url", server.url)


@case("relay", kind="words")
def a_redis_whose_user_may_do_too_little(world):
    server = relay(world)
    server.client().execute_command("ACL", "SETUSER", "walpush", "on", ">secret", "~walpush:*", "+@all", "-xtrim")
    world.config.set("relay.url", f"redis://walpush:secret@127.0.0.1:{server.port}/0")
    yield
    server.client().execute_command("ACL", "SETUSER", "walpush", "+xtrim")


@case("relay", kind="words")
def a_redis_that_is_a_replica(world):
    master = relay(world)
    relay(world, replica_of=master)
    yield
    world.config.set("relay.url", master.url)


@case("relay", state="warning", kind="shell")
def a_redis_that_throws_away(world):
    client = relay(world).client()
    client.config_set("maxmemory", "100mb")
    client.config_set("maxmemory-policy", "allkeys-lru")


@case("relay", state="warning", kind="shell")
def a_redis_that_forgets(world):
    relay(world, persistent=False)


# --- the test of all of them -------------------------------------------------------------------------------------


@pytest.mark.parametrize("breaks, check, state, kind", cases)
def test_a_failure_is_found_and_its_mend_mends(world, breaks, check, state, kind):
    found_and_mended(world, breaks, check, state, kind)


def test_each_finding_is_a_line_with_its_fix(world):
    """The lines are made of what the JSON holds, whichever check found it: so some of each kind stand for all cases above."""
    for breaks in (no_page_that_may_connect, a_role_that_may_not_replicate, a_password_that_expires, a_column_that_is_not_granted):
        breaks(world)
    for breaks in (a_certificate_that_is_not_there, a_query_of_a_table_that_is_missing):
        next(breaks(world))
    a_redis_that_forgets(world)
    findings = world.findings(1)
    *lines, _ = world.check().stdout.splitlines()
    assert len(lines) == len(findings)
    for line, finding in zip(lines, findings):
        assert line.startswith(f"{finding['state']:<8} {finding['check']:<16} {finding['text']}"), line
        assert finding["fix"] is None or line.endswith(finding["fix"]["text"]), line
    assert {f["fix"]["kind"] for f in findings if f["fix"]} >= {"conf", "sql", "words", "shell"}
    assert {f["state"] for f in findings} >= {"ok", "warning", "failure"}


def test_enough_of_them():
    assert len([case for case in cases if case.values[2] == "failure"]) >= 25


def test_all_is_well(world):
    done = world.check()
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert [line for line in lines[:-1] if not line.startswith("ok ")] == []
    assert lines[-1] == "0 failures, 0 warnings"
    assert all(secret not in done.stdout for secret in (SIGNING_KEY, world.server.passwords["walpush"]))


def test_the_check_leaves_nothing_behind(world):
    world.sql("SELECT pg_drop_replication_slot('walpush')")
    world.sql("REVOKE SELECT (role_name) ON roles FROM walpush")
    world.check()
    assert world.sql("SELECT slot_name FROM pg_replication_slots") == []
    assert world.sql("SELECT relname FROM pg_class WHERE relname ~ '^walpush'") == []


def test_a_walpush_that_runs_may_hold_the_slot(world, make_walpush):
    class Application:
        slot = "walpush"
        url = world.env["DATABASE_URL"]

    with make_walpush(Application, world.config):
        findings = world.findings(0)
        assert of(findings, "slot-reader") == []
        assert any(f["check"] == "slot-reader" and "a walpush streams from it" in f["text"] for f in findings)
        assert any(f["check"] == "plugin" and f["text"] == "at work" for f in findings)


def test_the_json_says_all(world):
    report = json.loads(world.check("--json").stdout)
    assert set(report) == {"file", "offline", "failures", "warnings", "findings"}
    assert report["offline"] is False
    for finding in report["findings"]:
        assert set(finding) == {"check", "state", "stops", "text", "fix", "mend"} and finding["fix"] == finding["mend"]
        assert finding["state"] in ("ok", "warning", "failure", "skipped")
        assert (finding["fix"] is None) == (finding["state"] in ("ok", "skipped"))
        if finding["fix"]:
            assert set(finding["fix"]) == {"kind", "text"}
            assert finding["fix"]["kind"] in ("sql", "restart", "hba", "conf", "shell", "words")


def test_what_depends_on_a_failure_is_skipped(world):
    world.env["DATABASE_URL"] = world.env["DATABASE_URL"].replace(f":{world.server.port}/", f":{free_port()}/")
    findings = world.findings(1)
    assert [f["check"] for f in findings if f["state"] == "failure"] == ["connection"]
    assert all(f["state"] == "skipped" for f in findings if f["check"] in ("version", "slot", "table", "query", "plugin"))


@pytest.mark.parametrize(
    "what, version",
    [
        (f"FOR TABLE {TABLES}", 13),
        (f"FOR ALL TABLES {THROUGH_ROOT}", 13),
        ("FOR TABLES IN SCHEMA public", 15),
        (f"FOR TABLE {TABLES} WHERE (id > 0), TABLES IN SCHEMA public", 15),
        (f"FOR TABLE {TABLES.replace('storages', 'storages (id, unit_id)')}", 15),
    ],
)
def test_a_publication_that_sends_enough(world, what, version):
    since(world, version)
    world.sql("CREATE UNIQUE INDEX storages_identity ON storages (id, unit_id)")
    world.sql("ALTER TABLE storages ALTER unit_id SET NOT NULL, REPLICA IDENTITY USING INDEX storages_identity")
    world.config.set("tables.storages.columns", ["id", "unit_id"])
    pgoutput(world, what)
    texts = {f["check"]: f["text"] for f in world.findings(0)}
    assert texts["publication"] == "walpush sends what the rules need"
    assert texts["slot-kind"] == "logical, with pgoutput"
    assert texts["plugin"] == "pgoutput comes with PostgreSQL"


@pytest.mark.parametrize("plugin, made", [("auto", "wal2json"), ("wal2json", "wal2json"), ("pgoutput", "pgoutput")])
def test_the_plugin_of_a_slot_that_is_not_there(world, plugin, made):
    world.sql("SELECT pg_drop_replication_slot('walpush')")
    world.config.set("database.plugin", plugin)
    (found,) = of(world.findings(1), "slot")
    assert found["fix"]["text"] == f"SELECT pg_create_logical_replication_slot('walpush', '{made}');"


def test_a_slot_of_the_other_plugin(world):
    pgoutput(world)
    world.config.set("database.plugin", "wal2json")
    (found,) = of(world.findings(1), "slot-kind")
    assert found["text"] == "the slot walpush is for plugin pgoutput, and database.plugin says wal2json"
    assert found["fix"] == {"kind": "shell", "text": "walpush sql -c sidecar.conf --plugin wal2json --switch | psql -d app"}


def test_the_fixes_of_a_publication_let_the_application_update(world):
    """A table without an identity gets one before it is published; applied in their order, the fixes leave nothing to do."""
    world.sql("CREATE TABLE events (id int, unit_id int) PARTITION BY LIST (unit_id)")
    world.sql("CREATE TABLE events_1 PARTITION OF events DEFAULT")
    world.sql("INSERT INTO events VALUES (1, 1)")
    world.config.set("tables.storages.from", "events").set("database.plugin", "pgoutput")
    world.sql("SELECT pg_drop_replication_slot('walpush')")
    for finding in world.findings(1):
        if finding["state"] in BAD:
            world.apply(finding["fix"])
    assert [f for f in world.findings(0) if f["state"] in BAD] == []
    world.sql("UPDATE events SET id = 2")
    changes = world.sql(
        "SELECT count(*) FROM pg_logical_slot_peek_binary_changes('walpush', NULL, NULL,"
        " 'proto_version', '1', 'publication_names', 'walpush') WHERE get_byte(data, 0) = ascii('U')"
    )
    assert changes == [(1,)]


@pytest.mark.parametrize("args", [(), ("--json",)])
def test_a_file_that_cannot_be_read_is_2(world, args):
    del world.env["JWT_SIGNING_KEY"]
    done = world.check(*args)
    assert done.returncode == 2
    if args:
        (finding,) = json.loads(done.stdout)["findings"]
        assert (finding["check"], finding["state"]) == ("configuration", "failure")
        assert re.search(r"sidecar\.conf:\d+: .*JWT_SIGNING_KEY", finding["text"])
    else:
        assert re.match(r"failure  configuration    \S*sidecar\.conf:\d+: .*JWT_SIGNING_KEY", done.stdout)


# --- the file alone -----------------------------------------------------------------------------------------------


@pytest.fixture
def offline(tmp_path):
    """Runs `walpush check --offline` and makes sure that neither server was connected to."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        database, redis = (server.getsockname()[1] for server in servers)
        env = {"DATABASE_URL": f"postgresql://walpush@127.0.0.1:{database}/app", "JWT_SIGNING_KEY": SIGNING_KEY}
        config = shipped_config()
        config.set("relay.url", f"redis://127.0.0.1:{redis}")

        def check(*args, **more):
            done = run_to_end("check", "--offline", "-c", config.write(tmp_path / "sidecar.conf"), *args, env={**env, **more})
            assert not select.select(servers, [], [], 0)[0]
            return done

        yield config, check


def test_the_file_alone(offline):
    _, check = offline
    done = check()
    assert done.returncode == 0, done.stdout
    *lines, sum_ = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["ok", check] for check in (*"configuration origins key certificate file-limit memory path-values public groups secret-names relay".split(),)
    ]
    assert sum_ == "0 failures, 0 warnings; offline: no server was looked at"
    report = json.loads(check("--json").stdout)
    assert report["offline"] is True and report["failures"] == 0


@pytest.mark.plain(reason="the sanitizer's runtime wants terabytes of addresses")
@pytest.mark.parametrize("megabytes, log_bytes", [(1200, None), (500, None), (500, "64 MiB"), (300, None)])
def test_memory_is_compared_with_what_the_largest_row_takes(offline, tmp_path, megabytes, log_bytes):
    """The fix is followed until there is none; what it says at last is enough."""
    config, _ = offline
    if log_bytes:
        config.set("limits.log-bytes", log_bytes)
    found = []
    for _ in range(3):
        command = ["prlimit", f"--as={megabytes * 1000000}", BINARY, "check", "--offline", "--json", "-c"]
        env = dict(os.environ, DATABASE_URL="postgresql://walpush@127.0.0.1/app", JWT_SIGNING_KEY=SIGNING_KEY)
        done = subprocess.run([*command, config.write(tmp_path / "sidecar.conf")], env=env, capture_output=True, check=True)
        finding = next(f for f in json.loads(done.stdout)["findings"] if f["check"] == "memory")
        found.append(finding["state"])
        if finding["state"] == "ok":
            break
        option, value = finding["fix"]["text"].split(" = ")
        config.set(option, value.strip('"'))
    assert found[-1] == "ok" and (found == ["ok"]) == (megabytes == 1200), found


@pytest.mark.parametrize(
    "setting, value, status, check",
    [
        ("limits.stall", -1, 2, "configuration"),
        ("streams.requests.groups", ["requests_unit_{path.unit}"], 2, "configuration"),
        ("listen.compression", True, 1, "configuration"),
        ("jwt.algorithm", "RS256", 1, "key"),
        ("relay.url", "redis://127.0.0.1/x", 1, "relay"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_alone(offline, setting, value, status, check):
    config, run_check = offline
    config.set(setting, value)
    done = run_check()
    assert done.returncode == status, done.stdout
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("failure")] == [check]


def test_a_certificate_that_is_not_there_is_seen_offline(offline):
    config, check = offline
    config.set("listen.certificate", "none.crt")
    config.set("listen.certificate-key", "none.key")
    done = check()
    assert done.returncode == 1 and re.search("^failure +certificate .*none.crt", done.stdout, re.MULTILINE), done.stdout


def test_row_security_that_the_role_passes(world):
    hides = "row level security hides"
    world.sql("ALTER TABLE user_units ENABLE ROW LEVEL SECURITY")
    world.sql("ALTER ROLE walpush BYPASSRLS")
    try:
        assert hides not in world.check().stdout
    finally:
        world.sql("ALTER ROLE walpush NOBYPASSRLS")
    assert hides in world.check().stdout
    world.sql("CREATE POLICY reads ON user_units FOR SELECT TO walpush USING (unit_id > 0)")
    assert hides not in world.check().stdout
    world.sql("DROP POLICY reads ON user_units")
    world.sql("ALTER TABLE user_units DISABLE ROW LEVEL SECURITY")
    assert hides not in world.check().stdout


def test_that_policies_do_not_filter_what_is_pushed_is_said_once(world):
    for table in ("storages", "sendbacks"):
        world.sql(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    (line,) = [line for line in world.check().stdout.splitlines() if "what is pushed" in line]
    assert line.startswith("ok ") and "storages" in line and "sendbacks" in line
