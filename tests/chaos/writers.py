"""Writers: threads that change rows of the listed tables in real transactions, until told to stop."""

import random
import threading
import time

from world import UNITS

from harness.app import ASHA, BOB, HEAD2, MEENA, RAVI
from harness.walpush import ROW_MARK
from throwaway.cluster import is_away

STATUSES = ("Pending", "Sent Back", "Approved", "Issued", "Returned", "Rejected", "Completed")


def emit(cursor, random):
    """A logical message, which any role may send, and which is nobody's."""
    size = random.choices((10, 1_000_000), (97, 3))[0]
    prefix = random.choice(("walpush", "other", ""))
    cursor.execute("SELECT pg_logical_emit_message(%s, %s, repeat('x', %s))", (random.random() < 0.5, prefix, size))


class Writer(threading.Thread):
    """Updates and deletes its own rows, and all writers' anchors. A lost connection is made again; what it did not hear
    answered may be committed or not: only the slot knows."""

    def __init__(self, world, name, seed, pause, limits):
        super().__init__(name=name, daemon=True)
        self.world, self.pause, self.bulk, self.large = world, pause, limits["limits.bulk"], limits["limits.record-bytes"]
        self.random = random.Random(f"{seed}/{name}")
        self.rows = {"requests": [], "crates": [], "storages": [], "sendbacks": []}
        self.counts = {"committed": 0, "rolled back": 0, "failed": 0}
        self.stopping = threading.Event()
        self.error = None

    def run(self):
        connection = None
        while not self.stopping.is_set():
            try:
                if connection is None or connection.closed:
                    connection = self._connect()
                self._transaction(connection)
            except Exception as error:
                if not is_away(error):  # the run is worth nothing then, and must say so
                    self.error = error
                    raise
                self.counts["failed"] += 1
                if connection is not None:
                    connection.close()
                connection = None
                self.stopping.wait(0.1)
            self.stopping.wait(self.random.expovariate(1 / self.pause))
        if connection is not None:
            connection.close()

    def _connect(self):
        return self.world.app.connect(autocommit=False)

    # --- transactions ------------------------------------------------------------------------------------------

    def _transaction(self, connection):
        kept = {table: list(keys) for table, keys in self.rows.items()}
        with connection.cursor() as cursor:
            if self.random.random() < 0.1:
                cursor.execute("SET LOCAL synchronous_commit = off")
            self._body(cursor)
            if self.random.random() < 0.08:
                connection.rollback()
                self.rows = kept
                self.counts["rolled back"] += 1
            else:
                connection.commit()
                self.counts["committed"] += 1

    def _body(self, cursor):
        kind = self.random.random()
        if kind < 0.004:
            cursor.execute(f"TRUNCATE {self.random.choice(('storages', 'sendbacks'))}")
            self._some(cursor, 3)
        elif kind < 0.006:
            self._some(cursor, 3)
            self._large(cursor)
            self._some(cursor, 3)
        elif kind < 0.025:
            self._bulk(cursor)
            self._some(cursor, 3)
        elif kind < 0.12:
            self._some(cursor, 40)
        elif kind < 0.25:
            self._with_savepoints(cursor)
        else:
            self._some(cursor, 5)
        if self.random.random() < 0.03:
            self._membership(cursor)

    def _membership(self, cursor):
        """Nobody's permission is another one by it, but admit must be asked again. The last statement, so that nobody waits in a circle."""
        if self.random.random() < 0.05:
            cursor.execute("UPDATE roles SET is_active = is_active")  # everybody
        else:
            user = self.random.choice((ASHA, RAVI, MEENA, BOB, HEAD2))
            cursor.execute("UPDATE user_units SET created_at = now() WHERE user_id = %s", (user,))

    def _some(self, cursor, most):
        for _ in range(self.random.randint(1, most)):
            self._one(cursor)
        if self.random.random() < 0.02:
            emit(cursor, self.random)

    def _large(self, cursor):
        """Rows whose record is not decoded, because it holds too much: new, or old as well. They are gone at the end."""
        text = "%0*x" % (self.large, self.random.getrandbits(4 * self.large))
        key = self._insert(
            cursor, "requests", request_type="", crate_id=self._crate(), unit_id=self._unit(), purpose=text
        )
        if self.random.random() < 0.5:
            cursor.execute("UPDATE requests SET unit_id = %s, purpose = 'small' WHERE id = %s", (self._unit(), key))
        else:
            cursor.execute("DELETE FROM requests WHERE id = %s", (key,))

    def _with_savepoints(self, cursor):
        for _ in range(self.random.randint(1, 4)):
            kept = {table: list(keys) for table, keys in self.rows.items()}
            cursor.execute("SAVEPOINT here")
            self._some(cursor, 4)
            if self.random.random() < 0.5:
                cursor.execute("ROLLBACK TO SAVEPOINT here")
                self.rows = kept

    def _bulk(self, cursor):
        """More of one table than limits.bulk, most times."""
        n = self.random.randint(self.bulk // 2, self.bulk * 3)
        unit, table = self._unit(), self.random.choice(("requests", "crates", "storages"))
        if self.random.random() < 0.5:
            self._insert_many(cursor, table, unit, n)
        else:
            keys = self.rows[table][-n:]
            cursor.execute(f"UPDATE {table} SET unit_id = %s WHERE id = ANY (%s)", (unit, keys))

    def _insert_many(self, cursor, table, unit, n):
        if table == "requests":
            columns, values = "request_type, crate_id, unit_id, purpose", "'', %s, %s, 'many'"
            arguments = [self._crate(), unit]
        elif table == "crates":
            columns, values = "barcode, created_by_id, unit_id, department_id", "'', %s, %s, 1"
            arguments = [ASHA, unit]
        else:
            columns, values = "unit_id, room_name, rack_name, compartment_name", "%s, 'many', '', ''"
            arguments = [unit]
        cursor.execute(
            f"INSERT INTO {table} ({columns}) SELECT {values} FROM generate_series(1, %s) RETURNING id", [*arguments, n]
        )
        self.rows[table] += [key for (key,) in cursor.fetchall()]

    # --- single changes ----------------------------------------------------------------------------------------

    def _unit(self):
        return self.random.choice(UNITS)

    def _crate(self):
        world = self.world
        kind = self.random.choice((world.crates, world.central_crates, world.wavering_crates))
        return kind[self._unit()]

    def _text(self):
        """Mostly short; at times beyond a page (TOAST) or limits.row-bytes. Random, so that it does not compress."""
        size = self.random.choices((10, 300, 5_000, 40_000), (80, 15, 3, 2))[0]
        return f"{ROW_MARK} " + "%0*x" % (size, self.random.getrandbits(4 * size))

    def _one(self, cursor):
        table = self.random.choices(tuple(self.rows), (5, 3, 2, 2))[0]
        keys = self.rows[table]
        kind = self.random.random()
        if kind < 0.4 or not keys:
            keys.append(getattr(self, "_insert_" + table)(cursor))
        elif kind < 0.55:
            key = keys.pop(self.random.randrange(len(keys)))
            cursor.execute(f"DELETE FROM {table} WHERE id = %s", (key,))
        else:
            getattr(self, "_update_" + table)(cursor, self.random.choice(keys))

    def _insert(self, cursor, table, **values):
        names, marks = ", ".join(values), ", ".join(["%s"] * len(values))
        cursor.execute(f"INSERT INTO {table} ({names}) VALUES ({marks}) RETURNING id", list(values.values()))
        return cursor.fetchone()[0]

    def _insert_requests(self, cursor):
        return self._insert(
            cursor, "requests", request_type="", crate_id=self._crate(), unit_id=self._unit(), purpose=self._text()
        )

    def _insert_crates(self, cursor):
        return self._insert(cursor, "crates", barcode="", created_by_id=ASHA, unit_id=self._unit(), department_id=1)

    def _insert_storages(self, cursor):
        return self._insert(
            cursor, "storages", unit_id=self._unit(), room_name=ROW_MARK, rack_name="", compartment_name=""
        )

    def _insert_sendbacks(self, cursor):
        request = self.world.requests[self._unit()]
        return self._insert(
            cursor, "sendbacks", request_id=request, reason=self._text(), created_by_id=ASHA, sendback_type=""
        )

    def _update_requests(self, cursor, key):
        kind = self.random.random()
        if kind < 0.2:
            cursor.execute("UPDATE requests SET unit_id = %s WHERE id = %s", (self._unit(), key))
        elif kind < 0.4:
            cursor.execute("UPDATE requests SET purpose = %s WHERE id = %s", (self._text(), key))
        elif kind < 0.5:
            key = self.world.requests[self._unit()]
            cursor.execute("UPDATE requests SET approved_by_id = %s WHERE id = %s", (ASHA, key))
        else:
            status = self.random.choice(STATUSES)
            cursor.execute("UPDATE requests SET status = %s, approved_by_id = %s WHERE id = %s", (status, ASHA, key))

    def _update_crates(self, cursor, key):
        kind = self.random.random()
        if kind < 0.1:
            key = self.world.wavering_crates[self._unit()]
            cursor.execute("UPDATE crates SET to_central = NOT to_central WHERE id = %s", (key,))
        elif kind < 0.4:
            cursor.execute("UPDATE crates SET unit_id = %s WHERE id = %s", (self._unit(), key))
        else:
            cursor.execute("UPDATE crates SET storage_id = %s WHERE id = %s", (self.random.randint(1, 1000), key))

    def _update_storages(self, cursor, key):
        cursor.execute("UPDATE storages SET room_name = 'room', unit_id = %s WHERE id = %s", (self._unit(), key))

    def _update_sendbacks(self, cursor, key):
        cursor.execute("UPDATE sendbacks SET created_at = now() WHERE id = %s", (key,))


class Stranger(Writer):
    """A role that may nothing, and so may send messages."""

    def __init__(self, world, name, seed, pause):
        super().__init__(world, name, seed, pause, {"limits.bulk": 0, "limits.record-bytes": 0})
        self.counts["messages"] = 0
        world.app.cluster.add_role(name)

    def _connect(self):
        return self.world.app.cluster.connect(self.world.app.name, user=self.name, autocommit=False)

    def _transaction(self, connection):
        with connection.cursor() as cursor:
            emit(cursor, self.random)
        connection.commit()
        self.counts["messages"] += 1
