"""Transactions at which the stream ends each time: a stand-in between the sidecars and PostgreSQL knows them by a mark in a row.

It reads each record that the plugin prints. PostgreSQL itself has no trouble with them, so the truth has them like all others.
"""

import contextlib

from world import UNITS

from harness.app import ASHA
from harness.proxy import Ending, proxy, tampering

KINDS = {
    "poison-out-of-memory": Ending("54000", "out of memory"),
    "poison-alloc-request": Ending("XX000", "invalid memory alloc request size 1107296259"),
    "poison-garbage": b'{"action":"I","schema":"public","table":"requests","colu\xff\x00 ',
}
_CHANGES = {mark.encode(): change for mark, change in KINDS.items()}


def _change(record):
    if b"poison-" not in record:
        return None
    return next((change for mark, change in _CHANGES.items() if mark in record), None)


@contextlib.contextmanager
def poisoned(app):
    """Yields the URL of the database behind the stand-in, which outlives the server's stops."""
    port = app.cluster.port
    with proxy(port, answer=tampering(_change)) as front:
        yield app.url.replace(f":{port}/", f":{front}/") + "?sslmode=disable"


def write(world, mark, random):
    """One such transaction: rows before the bad one, and behind it. Nobody else touches that one: its old row is as bad."""
    with world.app.transaction() as cursor:
        for bad in (False, True, False):
            cursor.execute(
                "INSERT INTO requests (request_type, crate_id, unit_id, purpose) VALUES ('', %s, %s, %s)",
                (world.crates[random.choice(UNITS)], random.choice(UNITS), mark if bad else "beside"),
            )
            cursor.execute("UPDATE crates SET created_by_id = %s WHERE id = %s", (ASHA, world.crates[random.choice(UNITS)]))
