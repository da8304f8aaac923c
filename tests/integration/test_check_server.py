"""`walpush check` of the server: the age of wal2json, the WAL that the slot holds, clocks, certificates, partitions, Redis (harness/broken.py)."""

import contextlib
import re
import shutil
import subprocess
import time

import pytest
import redis

from harness.app import ASHA, PLUGIN
from harness.broken import BAD, Cases, found_and_mended, of, server, world  # noqa: F401
from harness.client import PATIENCE
from harness.plugins import before_2_3, before_2_5
from harness.proxy import proxy
from harness.redis import Redis
from harness.tls import Identity
from throwaway.config import Raw

WRITE_20_MB = "SELECT pg_logical_emit_message(true, 'x', repeat('x', 1 << 20)) FROM generate_series(1, 20)"
UNIT_1 = "/ws/requests/1/"

cases = Cases()
case = cases.case


def through(world, answer):
    """What the server says is changed on its way."""
    good = world.env["DATABASE_URL"]
    port = world.resources.enter_context(proxy(world.server.port, answer=answer))
    world.env["DATABASE_URL"] = good.replace(f":{world.server.port}/", f":{port}/")
    yield
    world.env["DATABASE_URL"] = good


# --- wal2json ----------------------------------------------------------------------------------------------------


def other_plugin(world, make):
    world.sql("ALTER SYSTEM SET dynamic_library_path = '" + make(world.server) + "'")
    world.reload()


def usual_plugin(world):
    world.sql("ALTER SYSTEM RESET dynamic_library_path")
    world.reload()


@case("plugin-version", kind="shell")
def a_wal2json_that_prints_no_types(world):
    world.sql("SELECT pg_logical_emit_message(true, 'walpush', 'no row')")
    world.sql("CREATE TABLE ones AS SELECT 1 AS id")
    other_plugin(world, before_2_5)
    yield  # the package of a newer one is installed
    usual_plugin(world)


@case("plugin-version", kind="shell")
def a_wal2json_that_lacks_an_option(world):
    other_plugin(world, before_2_3)
    yield
    usual_plugin(world)


# --- the version, the clock, the certificate ----------------------------------------------------------------------


@case("ddl-decoding", state="warning", kind="words")
def a_server_that_is_slow_with_ddl(world):
    yield from through(world, lambda data: re.sub(rb"server_version\0\d\d", b"server_version\x0013", data))


def shifted(seconds):
    """The server's clock; PostgreSQL's own is that of this machine."""

    def shift(data):
        return re.sub(rb"(?<!\d)1[6-9]\d{14}(?!\d)", lambda found: str(int(found[0]) + seconds * 1000000).encode(), data)

    return shift


@case("clock", state="warning", kind="words")
def a_clock_that_is_ahead(world):
    yield from through(world, shifted(5))


@case("clock", kind="words")
def a_clock_that_is_far_behind(world):
    yield from through(world, shifted(-90))


@case("clock", kind="words")
def a_clock_that_is_ahead_by_more_than_tokens_allow(world):
    world.config.set("jwt.leeway", 3)
    yield from through(world, shifted(5))


def with_tls(world, identity):
    """PostgreSQL shows the certificate; an existing one is exchanged by a reload."""
    for name, text in (("server.crt", identity.certificate), ("server.key", identity.key)):
        world.server._write(world.server.data / name, text.decode())
    world.file("root.crt", identity.certificate.decode())
    world.set_system(ssl="on")
    world.reload()
    world.env["DATABASE_URL"] = world.server.url(world.name) + f"?sslmode=verify-full&sslrootcert={world.directory}/root.crt"


@case("server-certificate", state="warning", kind="words")
def a_certificate_of_the_server_that_expires_soon(world):
    with_tls(world, Identity("database", days=5))
    yield
    with_tls(world, Identity("database", days=90))


# --- the slot ----------------------------------------------------------------------------------------------------


@case("slot-wal", state="warning", kind="words")
def wal_that_nobody_reads(world):
    world.config.set("replay.bytes", "1 MiB").set("database.warn-bytes", "1 MiB")
    world.sql(WRITE_20_MB)
    yield  # walpush starts, and reads it
    world.sql("SELECT pg_replication_slot_advance('walpush', pg_current_wal_lsn())")
    world.sql("CHECKPOINT")
    world.sql("SELECT pg_replication_slot_advance('walpush', pg_current_wal_lsn())")


@case("slot-wal", state="warning", kind="words")
def wal_that_an_open_transaction_holds(world):
    world.config.set("replay.bytes", "1 MiB").set("database.warn-bytes", "1 MiB")
    world.sql("BEGIN; UPDATE storages SET room_name = 'x'; PREPARE TRANSACTION 'orphan'")
    world.sql(WRITE_20_MB)
    world.sql("SELECT pg_replication_slot_advance('walpush', pg_current_wal_lsn())")
    (found,) = of(world.findings(0), "slot-wal")
    assert "the prepared transaction 'orphan' of database app" in found["fix"]["text"]
    yield
    world.sql("ROLLBACK PREPARED 'orphan'")
    world.sql("CHECKPOINT")
    world.sql("SELECT pg_replication_slot_advance('walpush', pg_current_wal_lsn())")


@case("slot-wal")
def a_slot_that_is_nearly_lost(world):
    world.set_system(max_slot_wal_keep_size="150MB")
    world.reload()
    while world.sql("SELECT safe_wal_size FROM pg_replication_slots")[0][0] > 15_000_000:
        world.sql("SELECT pg_logical_emit_message(false, 'x', repeat('x', 1 << 20))")


@case("slot-idle", state="warning")
def a_slot_that_may_not_be_idle(world):
    if not world.sql("SELECT FROM pg_settings WHERE name = 'idle_replication_slot_timeout'"):
        pytest.skip("this is new in PostgreSQL 18")
    world.set_system(idle_replication_slot_timeout="1h")
    world.reload()


# --- sessions ----------------------------------------------------------------------------------------------------


@case("database-connections", state="warning")
def a_database_that_is_nearly_full(world):
    world.sql("ALTER DATABASE app CONNECTION LIMIT 12")


@case("database-connections")
def a_database_with_too_few_connections(world):
    world.sql("ALTER DATABASE app CONNECTION LIMIT 5")


# --- tables ------------------------------------------------------------------------------------------------------


def months(world, identity):
    world.sql("CREATE TABLE events (id int, unit_id int, PRIMARY KEY (id, unit_id)) PARTITION BY LIST (unit_id)")
    for unit in (1, 2):
        world.sql(f"CREATE TABLE events_{unit} PARTITION OF events FOR VALUES IN ({unit})")
        world.sql(f"ALTER TABLE events_{unit} REPLICA IDENTITY {identity if unit == 2 else 'FULL'}")
    world.config.set("tables.storages.from", "events_1")


@case("table-siblings", state="warning", kind="conf")
def a_partition_without_its_siblings(world):
    months(world, "FULL")


@case("table-siblings", state="warning", kind="words")
def a_partition_whose_siblings_log_less(world):
    months(world, "DEFAULT")
    yield
    world.config.set("tables.storages.from", "events")
    world.sql("ALTER TABLE events_2 REPLICA IDENTITY FULL")


@case("table-siblings", state="warning", kind="conf")
def a_partition_that_is_made_later(world):
    """It comes when all were listed."""
    months(world, "FULL")
    world.sql("DROP TABLE events_2")
    assert of(world.findings(0), "table-siblings") == []
    world.sql("CREATE TABLE events_3 PARTITION OF events DEFAULT")
    world.sql("ALTER TABLE events_3 REPLICA IDENTITY FULL")


@case("table-siblings", state="warning", kind="words")
def a_partition_of_a_partition(world):
    """`others`, which is partitioned itself, is listed; and so is one partition of another."""
    world.sql("CREATE TABLE events (id int, unit_id int, PRIMARY KEY (id, unit_id)) PARTITION BY LIST (unit_id)")
    for name in ("some", "others"):
        world.sql(f"CREATE TABLE {name}_events PARTITION OF events {bounds(name)} PARTITION BY LIST (id)")
        for number in (1, 2):
            world.sql(f"CREATE TABLE {name}_{number} PARTITION OF {name}_events FOR VALUES IN ({number})")
            world.sql(f"ALTER TABLE {name}_{number} REPLICA IDENTITY FULL")
    world.config.set("tables.storages.from", "others_events")
    world.config.replace("tables = {", 'tables = { some_1 = { type = "e"  key = "e_id"  groups = [ "e_{unit_id}" ] }')
    found = of(world.findings(0), "table-siblings")
    assert [re.search(r"of which (.*?) \(1 in all\)", f["text"])[1] for f in found] == ["public.some_2"] * 2
    yield
    world.config.remove("tables.some_1")
    world.config.set("tables.storages.from", "events")


def bounds(name):
    return "DEFAULT" if name == "others" else "FOR VALUES IN (1)"


@case("table-foreign", state="warning", kind="words")
def a_partition_on_another_server(world):
    months(world, "FULL")
    world.config.set("tables.storages.from", "events")
    world.sql("CREATE FOREIGN DATA WRAPPER nowhere")
    world.sql("CREATE SERVER archive FOREIGN DATA WRAPPER nowhere")
    world.sql("DROP TABLE events_2")
    world.sql("ALTER TABLE events DROP CONSTRAINT events_pkey")
    world.sql("CREATE FOREIGN TABLE events_2 PARTITION OF events FOR VALUES IN (2) SERVER archive")
    yield
    world.sql("ALTER TABLE events DETACH PARTITION events_2")


@case("table-logged")
def an_unlogged_partition(world):
    months(world, "FULL")
    world.config.set("tables.storages.from", "events")
    world.sql("ALTER TABLE events_2 SET UNLOGGED")


@case("table-logged")
def two_unlogged_tables_one_of_which_refers_to_the_other(world):
    world.sql("CREATE UNLOGGED TABLE places (id int PRIMARY KEY, unit_id int)")
    world.sql("CREATE UNLOGGED TABLE racks (id int PRIMARY KEY, unit_id int, place int REFERENCES places)")
    world.sql("ALTER TABLE places REPLICA IDENTITY FULL")
    world.sql("ALTER TABLE racks REPLICA IDENTITY FULL")
    world.config.set("tables.storages.from", "racks")
    world.config.replace("tables = {", 'tables = { places = { type = "p"  key = "p_id"  groups = [ "p_{unit_id}" ] }')


@case("replica-identity")
def an_identity_index_without_the_key(world):
    world.sql("CREATE TABLE notes (id int PRIMARY KEY, code text NOT NULL UNIQUE, unit int)")
    world.sql("ALTER TABLE notes REPLICA IDENTITY USING INDEX notes_code_key")
    world.config.set("tables.storages", Raw('{ from = "notes"  type = "note"  key = "note_id"  groups = [ "storage_unit_1" ] }'))


@case("replica-identity")
def an_identity_index_without_the_key_where_a_query_gives_the_data(world):
    an_identity_index_without_the_key(world)
    world.config.set("tables.storages.data-query", "SELECT json_build_object('id', 1)")


# --- Redis -------------------------------------------------------------------------------------------------------


def relay(world, **how):
    server = world.resources.enter_context(Redis(**how))
    world.config.set("relay", Raw(f'{{ url = "{server.url}" }}'))
    return server


@case("relay", state="warning", kind="shell")
def a_redis_that_is_nearly_full(world):
    client = relay(world).client()
    for number in range(50):
        client.set(f"other:{number}", "x" * 100_000)
    client.config_set("maxmemory", int(client.info("memory")["used_memory"] * 1.05))


@case("relay", kind="words")
def a_redis_that_is_full(world):
    client = relay(world).client()
    client.set("other", "x" * 4_000_000)
    client.config_set("maxmemory", "1mb")
    (found,) = of(world.findings(1), "relay")
    assert found["fix"]["text"] == "raise maxmemory of Redis, or lower replay.seconds and replay.bytes"
    yield
    client.config_set("maxmemory", 0)


@case("relay", state="warning", kind="shell")
def a_redis_whose_administrator_has_a_password(world):
    """The fix names no password."""
    world.server.passwords["redis"] = world.server.passwords["walpush"]
    relay(world, persistent=False, password=world.server.passwords["walpush"])


@case("relay", kind="words")
def a_redis_that_lacks_replicas(world):
    client = relay(world).client()
    client.config_set("min-replicas-to-write", 1)
    yield
    client.config_set("min-replicas-to-write", 0)


@case("relay", kind="words")
def a_redis_whose_user_has_other_keys(world):
    server = relay(world)
    server.client().execute_command("ACL", "SETUSER", "walpush", "on", ">secret", "~other:*", "+@all")
    world.config.set("relay.url", f"redis://walpush:secret@127.0.0.1:{server.port}/0")
    fix = of(world.findings(1), "relay")[0]["fix"]["text"]
    yield  # what an administrator types
    server.client().execute_command(*re.search(r"ACL SETUSER .*", fix)[0].split())


@case("relay", kind="words")
def a_sentinel(world):
    server = relay(world)
    good = world.config.text
    server.kill()
    (server.directory / "sentinel.conf").write_text(f"port {server.port}\nsentinel monitor m 127.0.0.1 1 1\n")
    sentinel = world.resources.enter_context(sentinel_of(server))
    yield
    sentinel.terminate()
    sentinel.wait()
    server.start()
    assert world.config.text == good


@contextlib.contextmanager
def sentinel_of(server):
    file = server.directory / "sentinel.conf"
    program = shutil.which("redis-check-rdb") or shutil.which("redis-sentinel")
    process = subprocess.Popen(["redis-sentinel", file, "--sentinel"], executable=program, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(server))
        yield process
    finally:
        process.kill()
        process.wait()


def answers(server):
    with contextlib.suppress(redis.ConnectionError):
        return server.client().ping()
    return False


def wait_until(holds):
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


# --- the test of all of them -------------------------------------------------------------------------------------


@pytest.mark.parametrize("breaks, check, state, kind", cases)
def test_a_failure_is_found_and_its_mend_mends(world, breaks, check, state, kind):
    """And nothing else fails because of the fix."""
    found_and_mended(world, breaks, check, state, kind)
    assert failing(world.findings(None)) == set()


def test_a_slot_that_is_left_on_a_standby(world):
    """Before PostgreSQL 16 nothing can read it there, and a later one may be walpush's own. With it gone, no other check fails that did not before."""
    if world.sql("SELECT current_setting('server_version_num')::int >= 160000")[0][0]:
        pytest.skip("a standby of this version decodes, and may have a slot of its own")
    world.server.stop()
    world.server.be_standby()
    world.restart()
    try:
        before = world.findings(1)
        (found,) = of(before, "slot-left")
        assert found["state"] == "warning" and "slot walpush is left from when it was the primary" in found["text"]
        world.apply(found["fix"])
        after = world.findings(1)
        assert of(after, "slot-left") == []
        assert failing(after) <= failing(before)
    finally:
        world.server.sql("SELECT pg_promote()")


def failing(findings):
    return {finding["check"] for finding in findings if finding["state"] == "failure"}


# --- what is no finding ------------------------------------------------------------------------------------------


GOOD = []


def good(function):
    GOOD.append(pytest.param(function, id=function.__name__.replace("_", "-")))
    return function


@good
def rows_that_wait(world):
    world.sql("SELECT pg_logical_emit_message(true, 'walpush', 'no row')")
    world.sql("CREATE TABLE ones AS SELECT 1 AS id")


@good
def less_wal_than_is_warned_about(world):
    world.sql(WRITE_20_MB)


@good
def wal_without_a_warning(world):
    world.config.set("replay.bytes", "1 MiB").set("database.warn-bytes", 0)
    world.sql(WRITE_20_MB)


@good
def a_certificate_for_long(world):
    with_tls(world, Identity("database", days=90))


@good
def a_certificate_that_nobody_verifies(world):
    with_tls(world, Identity("database", days=5))
    world.env["DATABASE_URL"] = world.server.url(world.name) + "?sslmode=require"


@good
def a_clock_that_is_a_little_off(world):
    next(through(world, shifted(1)))


@good
def a_clock_within_what_tokens_allow(world):
    """2 s are warned about whatever tokens allow; a failure it is not."""
    world.config.set("jwt.leeway", 60)


@good
def a_limit_that_is_enough(world):
    world.sql("ALTER DATABASE app CONNECTION LIMIT 200")


@good
def a_whole_partitioned_table(world):
    months(world, "FULL")
    world.config.set("tables.storages.from", "events")


@good
def all_partitions_by_themselves(world):
    months(world, "FULL")
    world.config.replace("tables = {", 'tables = { events_2 = { type = "e"  key = "e_id"  groups = [ "storage_unit_{unit_id}" ] }')


@good
def an_identity_index_with_the_key(world):
    world.sql("CREATE TABLE notes (id int PRIMARY KEY, unit int NOT NULL, UNIQUE (unit, id))")
    world.sql("ALTER TABLE notes REPLICA IDENTITY USING INDEX notes_unit_id_key")
    world.config.set("tables.storages", Raw('{ from = "notes"  type = "note"  key = "note_id"  groups = [ "storage_unit_{unit}" ] }'))


@good
def an_identity_index_whose_messages_name_no_key(world):
    world.sql("CREATE TABLE notes (id int PRIMARY KEY, code text NOT NULL, unit int NOT NULL, UNIQUE (code, unit))")
    world.sql("ALTER TABLE notes REPLICA IDENTITY USING INDEX notes_code_unit_key")
    world.config.set("tables.storages", Raw('{ from = "notes"  groups = [ "storage_unit_{unit}" ] }'))
    world.config.set("tables.storages.message", '{"code": "{code}"}')


@good
def a_redis_with_room(world):
    client = relay(world).client()
    client.config_set("maxmemory", "200mb")
    client.config_set("maxmemory-policy", "volatile-lru")


@pytest.mark.parametrize("makes", GOOD)
def test_what_is_right_is_no_finding(world, makes):
    makes(world)
    assert [f for f in world.findings(0) if f["state"] in BAD] == []


def test_the_figure_is_said(world):
    world.sql(WRITE_20_MB)
    (found,) = [f for f in world.findings(0) if f["check"] == "slot-wal"]
    assert re.fullmatch(r"2\d MB of WAL are kept for the slot, of which 2\d MB are not confirmed", found["text"])


# --- while walpush serves ----------------------------------------------------------------------------------------


def test_run_stops_at_a_wal2json_that_prints_no_types(app, config, make_walpush):
    """Nothing is passed over: with a newer one every row comes."""
    if PLUGIN != "wal2json":
        pytest.skip("the slot is of pgoutput")
    app.sql("ALTER SYSTEM SET dynamic_library_path = '" + before_2_5(app.cluster) + "'")
    app.sql("SELECT pg_reload_conf()")
    try:
        process = make_walpush(app, config).start()
        with process.subscribe(UNIT_1, ASHA) as client:
            app.touch(app.request)
            process.wait_for_log(r"wal2json before 2\.5 does not print: install wal2json 2\.5 or later")
            wait_until(lambda: b"wal2json before 2.5" in process.admin("/readyz").body)
            time.sleep(35)  # longer than a place is tried before it is passed over
            assert process.admin("/readyz").status == 503
            assert "passed over" not in process.log()
            app.sql("ALTER SYSTEM RESET dynamic_library_path")
            app.sql("SELECT pg_reload_conf()")
            assert client.recv()["request_id"] == app.request
            wait_until(lambda: process.admin("/readyz").status == 200)
    finally:
        app.sql("ALTER SYSTEM RESET dynamic_library_path")
        app.sql("SELECT pg_reload_conf()")


def test_wal_that_is_held_is_found_while_walpush_serves(app, config, make_walpush):
    config.set("admin.check-interval", 1).set("replay.bytes", "1 MiB").set("database.warn-bytes", "1 MiB")
    process = make_walpush(app, config).start()
    app.sql("BEGIN; UPDATE storages SET room_name = room_name; PREPARE TRANSACTION 'orphan'")
    try:
        app.sql(WRITE_20_MB)
        line = process.wait_for_log(r'msg="a check finds something" check=slot-wal .*')
        assert "the prepared transaction 'orphan'" in line
        assert "check=plugin-version" not in process.log()
    finally:
        app.sql("ROLLBACK PREPARED 'orphan'")
