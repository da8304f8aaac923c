"""The application's database, one a test: its people, its rows, and the slot that walpush reads.

What a test writes goes through ordinary autocommit connections, as the Django application's would.
"""

import contextlib
import itertools
import os
import time
import weakref

import psycopg2.errors

from harness.client import PATIENCE
from harness.walpush import ROW_MARK
from throwaway.cluster import ROLE

PLUGIN = os.environ.get("WALPUSH_TEST_PLUGIN", "wal2json")  # of the slots

# People. Unit 1 is where things happen; unit 2 must hear nothing of it; unit 3 is the central store.
ROOT_USER, ASHA, RAVI, MEENA, BOB, SAM, GONE, HEAD2 = range(1, 9)
SYSTEM_ADMIN, SECTION_HEAD, STORE_HEAD, PLAIN = range(1, 5)

_PEOPLE = [
    # id, name, role, superuser, status, units
    (ROOT_USER, "root", PLAIN, True, "Active", ()),
    (ASHA, "asha", PLAIN, False, "Active", (1,)),
    (RAVI, "ravi", SECTION_HEAD, False, "Active", (1,)),
    (MEENA, "meena", STORE_HEAD, False, "Active", (1,)),
    (BOB, "bob", PLAIN, False, "Active", (2,)),
    (SAM, "sam", SYSTEM_ADMIN, False, "Active", ()),
    (GONE, "gone", PLAIN, False, "Suspended", (1,)),
    (HEAD2, "hema", SECTION_HEAD, False, "Active", (2,)),
]


@contextlib.contextmanager
def fresh_app(cluster):
    """A database with the application's rows, for the time of the block. The DBA has not made a slot."""
    app = App(cluster)
    try:
        yield app
    finally:
        if not cluster.running:
            cluster.start()
        app.drop()


class App:
    """Each is a copy of the first database of its server, which nobody uses otherwise: copying is faster than making the rows anew."""

    _numbers = itertools.count(1)
    _firsts = weakref.WeakKeyDictionary()  # the rows of a server's first database
    _ROWS = ("storage_a", "storage_b", "crate", "crate2", "request", "request2")

    def __init__(self, cluster, name=None):
        if cluster not in self._firsts:
            self._firsts[cluster] = self._make_first(cluster)
        self._open(cluster, name or f"app_{next(self._numbers)}")
        vars(self).update(self._firsts[cluster])
        cluster.copy_database(self.name, "first_app")

    def _open(self, cluster, name):
        self.cluster = cluster
        self.name = name
        self.slot = f"walpush_{self.name}"  # slots are the server's, not the database's
        self._connection = None

    @classmethod
    def _make_first(cls, cluster):
        app = cls.__new__(cls)
        app._open(cluster, "first_app")
        cluster.create_database(app.name)
        app._populate()
        app.close()
        return {row: getattr(app, row) for row in cls._ROWS}

    @property
    def url(self):
        """What DATABASE_URL is for the sidecar. After set_up()."""
        return self.cluster.url(self.name)

    def connect(self, autocommit=True):
        """A new connection of the application's."""
        return self.cluster.connect(self.name, autocommit=autocommit)

    def sql(self, query, *args):
        """On the test's own connection, committed at once; the rows, if there are any."""
        if self._connection is None or self._connection.closed:
            self._connection = self.connect()
        with self._connection.cursor() as cursor:
            cursor.execute(query, args or None)
            return cursor.fetchall() if cursor.description else None

    def value(self, query, *args):
        return self.sql(query, *args)[0][0]

    @contextlib.contextmanager
    def transaction(self):
        """A cursor whose work is committed at the end of the block."""
        connection = self.connect(autocommit=False)
        try:
            with connection.cursor() as cursor:
                yield cursor
            connection.commit()
        finally:
            connection.close()

    def wait_until(self, query, *args, timeout=None):
        """Polls until the query's first value is true: for states of the server that nobody announces."""
        deadline = time.monotonic() + (timeout or PATIENCE)
        while not self.value(query, *args):
            assert time.monotonic() < deadline, f"never true: {query}"
            time.sleep(0.02)

    def reader(self):
        """The pid of the walsender that reads the slot; None if nobody does."""
        return self.value("SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", self.slot)

    def end_reader(self):
        """Ends the walsender that reads the slot, as an administrator would."""
        self.wait_until("SELECT active_pid IS NOT NULL FROM pg_replication_slots WHERE slot_name = %s", self.slot)
        assert self.value("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s", self.slot)

    def close(self):
        """Lets go of the test's own connection; the next statement makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def drop(self):
        self.close()
        self.cluster.drop(self.name)

    # --- the slot --------------------------------------------------------------------------------------------

    def set_up(self):
        """The slot: the rest of what the DBA does, which sql/setup.sql shows, was done in the database that this one is copied from."""
        self.create_slot()
        # The script grants what the queries of the shipped file read; those of tests read other columns too.
        self.sql(f"GRANT SELECT ON requests, crates, storages, sendbacks, user_units, roles, units TO {ROLE}")
        return self

    def create_slot(self, plugin=None):
        """Of the plugin that the tests run with. A publication of all tables brings those that a test makes."""
        plugin = plugin or PLUGIN
        if plugin == "pgoutput" and not self.value("SELECT count(*) FROM pg_publication WHERE pubname = %s", self.slot):
            self.sql(f"CREATE PUBLICATION {self.slot} FOR ALL TABLES WITH (publish_via_partition_root = true)")
        self.sql("SELECT pg_create_logical_replication_slot(%s, %s)", self.slot, plugin)

    def can_have(self, plugin):
        """Whether the server has it: `make pg-matrix` runs with some that have pgoutput alone."""
        try:
            self.sql("SELECT pg_create_logical_replication_slot('wanted_' || pg_backend_pid(), %s, true)", plugin)
        except psycopg2.errors.UndefinedFile:
            return False
        self.close()  # and with the session its slot
        return True

    def drop_slot(self):
        self.sql("SELECT pg_drop_replication_slot(%s)", self.slot)

    def wait_for_no_reader(self):
        self.wait_until("SELECT NOT active FROM pg_replication_slots WHERE slot_name = %s", self.slot)

    # --- rows ------------------------------------------------------------------------------------------------

    def _populate(self):
        """Units, roles, people, and a few rows of unit 1 and unit 2."""
        with self.transaction() as cursor:
            for number, code in enumerate(("U1", "U2", "Central"), start=1):
                cursor.execute(
                    "INSERT INTO units (id, unit_code, unit_name, location, created_at, updated_at)"
                    " VALUES (%s, %s, %s, 'here', now(), now())",
                    (number, code, f"Unit {number}"),
                )
            for number, name in enumerate(("System Admin", "Section Head", "Store Head", "User"), start=1):
                cursor.execute("INSERT INTO roles (id, role_name, is_active) VALUES (%s, %s, true)", (number, name))
            for person in _PEOPLE:
                _insert_person(cursor, *person)
        self.storage_a = self.insert_storage(1)
        self.storage_b = self.insert_storage(1)
        self.crate = self.insert_crate(1, self.storage_a)
        self.crate2 = self.insert_crate(2, self.insert_storage(2))
        self.request = self.insert_request(1)
        self.request2 = self.insert_request(2)

    def insert_person(self, number, *units, role=PLAIN):
        with self.transaction() as cursor:
            _insert_person(cursor, number, f"user{number}", role, False, "Active", units)
        return number

    def revoke(self, user, unit):
        self.sql("DELETE FROM user_units WHERE user_id = %s AND unit_id = %s", user, unit)

    def grant(self, user, unit):
        self.sql("INSERT INTO user_units (user_id, unit_id, created_at) VALUES (%s, %s, now())", user, unit)

    def insert_storage(self, unit):
        return self.value(
            "INSERT INTO storages (unit_id, room_name, rack_name, compartment_name, created_at, updated_at)"
            " VALUES (%s, 'room', 'rack', 'compartment', now(), now()) RETURNING id",
            unit,
        )

    def insert_crate(self, unit, storage=None, **columns):
        values = {
            "barcode": f"{ROW_MARK}-{time.monotonic_ns()}",
            "creation_date": "2025-11-14 12:00:00+00",
            "created_by_id": ASHA,
            "status": "Active",
            "storage_id": storage,
            "unit_id": unit,
            "department_id": 1,
            "to_central": False,
            "to_be_retained": False,
            **columns,
        }
        return self._insert("crates", values)

    def insert_request(self, unit, **columns):
        values = {
            "request_type": "Withdrawal",
            "crate_id": self.crate if unit == 1 else self.crate2,
            "unit_id": unit,
            "request_date": "2025-11-14 12:34:56.120000+00",
            "status": "Pending",
            "withdrawn_by_id": ASHA if unit == 1 else BOB,
            "purpose": f"{ROW_MARK} audit",
            "full_withdrawal": True,
            "created_at": "2025-11-14 12:34:56.123456+00",
            "updated_at": "2025-11-14 12:34:56.123456+00",
            **columns,
        }
        return self._insert("requests", values)

    def insert_sendback(self, request, user=RAVI, kind="Change Request"):
        values = {
            "request_id": request,
            "reason": f"{ROW_MARK}: wrong shelf",
            "created_at": "2025-11-14 13:00:00+00",
            "created_by_id": user,
            "sendback_type": kind,
        }
        return self._insert("sendbacks", values)

    def _insert(self, table, values):
        names = ", ".join(values)
        marks = ", ".join(["%s"] * len(values))
        return self.value(f"INSERT INTO {table} ({names}) VALUES ({marks}) RETURNING id", *values.values())

    def touch(self, request, text="touched"):
        """An update of a request that no action matches: what tests use as a marker."""
        self.sql("UPDATE requests SET purpose = %s WHERE id = %s", f"{ROW_MARK} {text}", request)

    def settle(self, walpush):
        """Returns when walpush has published all that was committed so far: whoever subscribes now hears nothing of it."""
        deadline = time.monotonic() + PATIENCE
        while (ready := walpush.admin("/readyz")).status != 200:  # who asks to be admitted while it catches up for long is turned away
            assert time.monotonic() < deadline, ready.body
            time.sleep(0.05)
        with walpush.subscribe("/ws/requests/2/", ROOT_USER) as probe:
            text = f"settled {time.monotonic_ns()}"
            self.touch(self.request2, text)
            probe.recv_until(lambda m: (m.get("data") or {}).get("purpose", "").endswith(text))

    # --- what a message must say of a row --------------------------------------------------------------------

    def data_of(self, table, key):
        """The row as Django REST framework's ModelSerializer prints it, worked out from the catalog and psycopg2's types."""
        foreign = {
            name
            for (name,) in self.sql(
                "SELECT a.attname FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid"
                " AND a.attnum = ANY (c.conkey) WHERE c.contype = 'f' AND c.conrelid = %s::regclass",
                table,
            )
        }
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SET timezone = 'UTC'")
            cursor.execute(f"SELECT * FROM {table} WHERE id = %s", (key,))
            row = cursor.fetchone()
            names = [column.name for column in cursor.description]
        connection.close()
        return {
            name[:-3] if name in foreign and name.endswith("_id") else name: json_value(value)
            for name, value in zip(names, row)
        }


def json_value(value):
    """As rest_framework.fields do."""
    if hasattr(value, "isoformat"):
        text = value.isoformat()
        return text[:-6] + "Z" if text.endswith("+00:00") else text
    return value


def _insert_person(cursor, number, name, role, superuser, status, units):
    cursor.execute(
        "INSERT INTO users (id, username, password, first_name, last_name, is_staff, is_active, is_superuser, date_joined,"
        " full_name, email, role_id, unit_id, status, created_at, updated_at)"
        " VALUES (%s, %s, '!', '', '', false, true, %s, now(), %s, %s, %s, %s, %s, now(), now())",
        (number, name, superuser, name.title(), f"{name}@example.org", role, units[0] if units else None, status),
    )
    for unit in units:
        cursor.execute("INSERT INTO user_units (user_id, unit_id, created_at) VALUES (%s, %s, now())", (number, unit))

