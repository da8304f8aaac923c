"""`walpush check` where nobody reads the slot: it decodes what waits, as walpush will, and leaves it there; and it names who holds WAL."""

import time

import pytest

from harness.broken import of, server, world  # noqa: F401
from harness.proxy import Ending, proxy, tampering

SLOT = "SELECT confirmed_flush_lsn, restart_lsn, catalog_xmin FROM pg_replication_slots WHERE slot_name = 'walpush'"
ROWS = "INSERT INTO roles (id, role_name, is_active) SELECT i, 'role ' || i, true FROM generate_series(100, 1100) AS i"


def finding(world, check):
    (found,) = [f for f in world.findings(None) if f["check"] == check]
    return found


def through(world, **how):
    port = world.resources.enter_context(proxy(world.server.port, **how))
    world.env["DATABASE_URL"] = world.env["DATABASE_URL"].replace(f":{world.server.port}/", f":{port}/") + "?sslmode=disable"


@pytest.mark.parametrize("plugin", ["wal2json", "pgoutput"])
def test_what_waits_is_decoded_and_stays(world, plugin):
    if plugin == "pgoutput":
        world.sql("SELECT pg_drop_replication_slot('walpush')")
        world.sql("CREATE PUBLICATION walpush FOR ALL TABLES WITH (publish_via_partition_root = true)")
        world.sql("SELECT pg_create_logical_replication_slot('walpush', 'pgoutput')")
    world.sql(ROWS)
    before = world.sql(SLOT)
    found = finding(world, "waiting")
    assert found["state"] == "ok" and "can be decoded" in found["text"], found
    assert world.sql(SLOT) == before


def test_what_the_slots_plugin_cannot_send_is_found(world):
    """Written before there was a publication: pgoutput stops there for good, and the slot looks well."""
    world.sql("SELECT pg_drop_replication_slot('walpush')")
    world.sql("SELECT pg_create_logical_replication_slot('walpush', 'pgoutput')")
    world.sql(ROWS)
    world.sql("CREATE PUBLICATION walpush FOR ALL TABLES WITH (publish_via_partition_root = true)")
    (found,) = of(world.findings(1), "waiting")
    assert "42704" in found["text"] and "make a new one" in found["fix"]["text"], found
    world.sql("SELECT pg_drop_replication_slot('walpush')")
    world.sql("SELECT pg_create_logical_replication_slot('walpush', 'pgoutput')")
    assert of(world.findings(0), "waiting") == []


@pytest.mark.parametrize("skip, state", [(True, "warning"), (False, "failure")])
def test_a_row_that_is_too_large_is_found(world, skip, state):
    """The server's error for a row of half a gigabyte, which takes minutes to make; it comes at a record of a row here."""
    too_large = Ending("XX000", "invalid memory alloc request size 1107296259")
    through(world, answer=tampering(lambda record: too_large if b'"role 500"' in record else None))
    world.config.set("database.skip", skip)
    world.sql(ROWS)
    (found,) = of(world.findings(None), "waiting")
    assert found["state"] == state and "invalid memory alloc" in found["text"] and "A row is too large" in found["fix"]["text"], found


def test_it_takes_ten_seconds_at_most_and_says_what_is_left(world):
    class Slow:
        def __init__(self):
            self.is_stream = False

        def __call__(self, data):
            self.is_stream = self.is_stream or data[:1] == b"W"
            time.sleep(1 if self.is_stream else 0)
            return data

    through(world, answer=Slow)
    for _ in range(3):
        world.sql(ROWS.replace("1100", "4100"))
        world.sql("DELETE FROM roles WHERE id >= 100")
    before = world.sql(SLOT)
    start = time.monotonic()
    (found,) = of(world.findings(0), "waiting")
    assert 10 <= time.monotonic() - start < 20
    assert found["state"] == "warning" and " MB are left" in found["text"], found
    time.sleep(1)
    assert world.sql(SLOT) == before


def test_a_prepared_transaction_holds_the_slot(world):
    connection = world.server.connect("app", autocommit=False)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE requests SET purpose = '2pc'")
        cursor.execute("PREPARE TRANSACTION 'or''phan'")
    connection.close()
    try:
        assert of(world.findings(None), "prepared") == []  # a young one ends by itself
        world.sql("SELECT pg_drop_replication_slot('walpush')")
        (found,) = of(world.findings(1), "prepared")
        assert "the slot is made only after its end" in found["text"], found
        assert found["fix"]["text"] == "in database app: COMMIT PREPARED 'or''phan' or ROLLBACK PREPARED 'or''phan'", found
    finally:
        world.sql("ROLLBACK PREPARED 'or''phan'")
    world.sql("SELECT pg_create_logical_replication_slot('walpush', 'wal2json')")
    assert of(world.findings(0), "prepared") == []
