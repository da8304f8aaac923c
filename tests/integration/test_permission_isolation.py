"""Units never see each other's rows, whoever joins and leaves them, and nobody misses what was theirs to see.

The truth is the database's own: a second slot tells every change of a row and of a membership, in the order of commits. Whoever changes a
membership notes it in `moves`, in the same transaction, so the truth depends on no name, partition or replica identity.

What happens is drawn from a seed, which is printed; ISOLATION_SEED=n does the same again. `make isolation` runs the whole size.
"""

import bisect
import collections
import contextlib
import dataclasses
import datetime
import json
import os
import random
import select
import threading
import time
import uuid

import pytest

from harness.app import PLUGIN
from harness.client import PATIENCE, SLOWDOWN, Client, Closed, event_key, lsn_number
from harness.redis import Redis
from harness.shim import build_before_a_mutex
from throwaway.config import section
from test_relay import Replicas

WHOLE = "ISOLATION_WHOLE" in os.environ
UNITS, USERS = (50, 1000) if WHOLE else (12, 60)
CHANGES = int(float(os.environ.get("ISOLATION_CHANGES", (20000 if WHOLE else 1000) / SLOWDOWN)))
DDL = os.environ.get("ISOLATION_DDL", "").split()  # of the ways of DDL these, in this order; otherwise one, or all of them
WRITERS, ROWS, DESKS, FIRST_UNIT, FIRST_USER = 3, 4, 5, 101, 1
PATH = "/ws/town/"
LIVE = r'msg="?live"?( |$)'
CHANGED = "what decides permission has changed"
# database.watch: where the log alone has to tell, and where DDL is to be noticed. So often everybody can be asked again.
NEVER, OFTEN = 600, max(0.1, USERS / 500)
# Seconds from a commit of DDL, or of what no record tells: everybody is asked in turn, and all of it takes a while on a busy machine.
LATE = 2 * OFTEN + 1 * SLOWDOWN

pytestmark = pytest.mark.whole(reason="fewer changes under a sanitizer")


@dataclasses.dataclass(frozen=True)
class Variant:
    partitions: str = None  # of the memberships: list, or hash
    uuids: bool = False  # who a user is, in one spelling here and in others in the tokens
    listed: bool = True  # in the configuration's `membership`; or found
    renewals: bool = False
    slow_hubs: bool = False  # what the tap tells them waits for up to 32 ms, while they read what clients say; many renewals cross it then
    replicas: int = 1

    @property
    def asks_everybody(self):
        """A membership whose user nobody named is everybody's; so is a row of a partition of which nobody has heard."""
        return not self.listed or self.partitions is not None


# --- who sees what ----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Claims:
    """What admit and groups read of a token, beside the user: every fourth unit is hidden from a clerk; whoever is at a desk hears it."""

    role: str = "head"
    hidden: int = 0
    desk: int = 0

    def sees(self, units):
        return units if self.role == "head" else {unit for unit in units if unit % 4 != self.hidden}


@dataclasses.dataclass
class Due:
    """A change of a row, as one user is to judge it."""

    lsn: int
    number: int
    unit: int
    desk: int
    units: frozenset  # those of the user at that commit
    must: bool = True
    late: float = None  # seconds since the commit that took it away, where it may be heard that long
    when: float = 0

    def is_for(self, claims):
        seen = claims.sees(self.units)
        return bool(seen) and (self.unit in seen or self.desk == claims.desk)


@dataclasses.dataclass
class Verdict:
    leaks: int = 0
    missing: int = 0
    again: int = 0
    deliveries: int = 0
    resyncs: int = 0
    renewals: int = 0
    late: list = dataclasses.field(default_factory=list)
    notes: list = dataclasses.field(default_factory=list)  # of what is wrong

    @property
    def wrong(self):
        return self.leaks, self.missing, self.again


def judge(verdict, user, began, heard, due, end):
    """Of one client: it hears what is due from `began` to below `end`, in order and once, but for what a resync stands for.

    heard: (key, number) of a message, (key, None) of a resync, (None, claims) or, where the groups are as before, (None, (claims,))
    once other claims hold. Then what is under way may be from before, and so may be one resync: what either of them says is right.
    """
    place = {(d.lsn, d.number): i for i, d in enumerate(due)}
    lsns = [d.lsn for d in due]
    at = bisect.bisect_left(lsns, began)
    held = [Claims()]
    one_is_under_way = False

    def count_missing(upto):
        missing = [d for d in due[at:upto] if d.must and d.lsn < end and all(map(d.is_for, held))]
        verdict.missing += len(missing)
        verdict.notes += [f"{user} misses {d} by {held}" for d in missing]

    for key, what in heard:
        if key is None:
            one_is_under_way = isinstance(what, tuple)
            held.append(what[0] if one_is_under_way else what)
            verdict.renewals += 1
        elif what is None:
            verdict.resyncs += 1
            held = held if one_is_under_way else held[-1:]
            one_is_under_way = False
            at = max(at, bisect.bisect_left(lsns, key[0]))
        else:
            verdict.deliveries += 1
            i = place.get((key[0], what))
            if i is None or not any(map(due[i].is_for, held)) or (due[i].late or 0) > LATE:
                verdict.leaks += 1
                verdict.notes.append(f"{user} hears {key} {what} by {held}: {due[i] if i is not None else 'never theirs'}")
            elif i < at:
                verdict.again += 1
            else:
                if due[i].late is not None:
                    verdict.late.append(due[i].late)
                count_missing(i)
                at = i + 1
    count_missing(len(due))


# --- the truth --------------------------------------------------------------------------------------------------------------


class Truth:
    """What each user was to hear, and when the user's units changed; from the log, as a slot of its own tells it."""

    def __init__(self, app, town):
        self.members = collections.defaultdict(collections.Counter)  # unit → user → memberships
        self.units_of = dict.fromkeys(town.users, frozenset())
        for user, unit in town.beginning:
            self.members[unit][user] += 1
            self.units_of[user] |= {unit}
        self.states = {user: {units} for user, units in self.units_of.items()}  # every set of units that the user had
        self.due, self.moved = collections.defaultdict(list), collections.defaultdict(list)
        self.windows = []  # from DDL to where it is known to have been noticed
        self.asked_at_any_time = float("inf")  # from here on: a new leaf is one more reason to ask everybody, wherever the log is by then
        self.ddl = []  # for whoever looks into what went wrong
        self.changes = self.moves = self.end = 0
        self._lost, self._gained = {}, set()  # within the window: (user, unit) → when; and who got one
        self._with_desks = town.variant.renewals
        self._asks_everybody = town.variant.asks_everybody
        for commit in self._commits(app):
            self._take(*commit)
        assert {u: units for u, units in self.units_of.items() if units} == town.units_of(), "the truth is none"

    @staticmethod
    def _commits(app):
        """(lsn, time, [(table, row)])"""
        commit = None
        for (record,) in app.sql(
            "SELECT data FROM pg_logical_slot_peek_changes('truth', NULL, NULL, 'format-version', '2', 'include-lsn', 'true',"
            " 'include-timestamp', 'true', 'include-types', 'false', 'add-tables', 'public.moves,public.news,public.marks')"
        ):
            change = json.loads(record)
            if change["action"] == "B":
                when = datetime.datetime.fromisoformat(change["timestamp"] + ":00").timestamp()
                commit = (lsn_number(change["lsn"]), when, [])
            elif change["action"] == "C":
                yield commit
            else:
                commit[2].append((change["table"], {c["name"]: c["value"] for c in change["columns"]}))

    def _take(self, lsn, when, rows):
        marks = [row["what"] for table, row in rows if table == "marks"]
        self.ddl += [(lsn, row["what"], row["how"]) for table, row in rows if table == "marks"]
        if "everybody" in marks:
            for user in self.units_of:
                self.moved[user].append(lsn)
        if "leaf" in marks:
            self.asked_at_any_time = min(self.asked_at_any_time, lsn)
        if "ddl" in marks and not self._is_open():
            self.windows.append([lsn, None])
        if "noticed" in marks:
            self.windows[-1][1] = lsn
            self._lost.clear()
            self._gained.clear()
        for row in [row for table, row in rows if table == "moves"]:
            self._move(lsn, when, row["user_id"], row["unit_id"], row["joined"])
        for row in [row for table, row in rows if table == "news"]:
            self._change(lsn, when, row)
        self.end = lsn if rows else self.end

    def _is_open(self):
        return bool(self.windows) and self.windows[-1][1] is None

    def _move(self, lsn, when, user, unit, joined):
        self.moves += 1
        self.members[unit][user] += 1 if joined else -1
        assert self.members[unit][user] >= 0, "the truth is none"
        is_member = self.members[unit][user] > 0
        self.units_of[user] = self.units_of[user] | {unit} if is_member else self.units_of[user] - {unit}
        self.states[user].add(self.units_of[user])
        for one in self.units_of if self._asks_everybody else (user,):
            self.moved[one].append(lsn)
        if self._is_open():
            if is_member:
                self._lost.pop((user, unit), None)
                self._gained.add((user, unit))
            else:
                self._lost[user, unit] = when
                self._excuse(user, unit, when)

    def _excuse(self, user, unit, when):
        """Everybody is stopped where the log is when DDL is noticed. That may be before its commit: the answer, which is no or comes with a
        resync, is from behind it."""
        for due in reversed(self.due[user]):
            if when - due.when > LATE:
                break
            due.must &= due.unit != unit

    def _change(self, lsn, when, row):
        self.changes += 1
        number, unit, desk = row["number"], row["unit_id"], row["desk"]
        hear = self.units_of if self._with_desks and desk is not None else [u for u, n in self.members[unit].items() if n > 0]
        for user in hear:
            must = (user, unit) not in self._gained
            self.due[user].append(Due(lsn, number, unit, desk, self.units_of[user], must, when=when))
        for (user, lost), since in self._lost.items():
            if lost == unit:
                self.due[user].append(Due(lsn, number, unit, desk, frozenset({unit}), False, when - since, when))

    def may_be_closed(self, user, offered):
        return any(not claims.sees(units) for units in self.states[user] for claims in offered)

    def owed_to_closed(self, user, last):
        """Frozen by the next change behind the last it heard; what the answer that was no left out, nobody owes."""
        stop = min(next((lsn for lsn in self.moved[user] if lsn > last), self.end), max(self.asked_at_any_time, last))
        for began, ended in self.windows:
            if ended is None or ended > last:
                stop = min(stop, max(began, last))
        return stop


# --- who listens ------------------------------------------------------------------------------------------------------------


class Listening(threading.Thread):
    """All clients in one thread: see judge() for what it keeps of what they hear. Now and then one renews its token."""

    def __init__(self, town, clients):
        super().__init__(daemon=True)
        self.town, self.clients = town, clients
        self.heard = {user: [] for user in clients}
        self.codes = {}
        self.until = None  # a commit; whoever has heard of something behind it has heard all of it, and is done
        self.error = None
        self.offered = {user: {} for user in clients}  # by the token's expiry
        self.accepted = {}
        self.renewed = threading.Event()  # somebody was told so
        self._random = random.Random(f"{town.seed} renewals")
        self._reached = dict.fromkeys(clients, 0)
        self._poll = select.poll()
        self._users = {}
        for user, client in clients.items():
            self._users[client.wire.sock.fileno()] = user
            self._poll.register(client.wire.sock, select.POLLIN)

    def run(self):
        try:
            while self._users and not self._is_done():
                for fd, _ in self._poll.poll(100):
                    self._take(fd)
        except Exception as error:  # the test's own thread reports it
            self.error = error

    def is_waiting(self, user):
        """It closed, perhaps, because of a token that had no other answer."""
        return bool(self.offered[user]) and self.accepted.get(user) != max(self.offered[user])

    def _is_done(self):
        return self.until and all(self._reached[user] > self.until for user in self._users.values())

    def _take(self, fd):
        user = self._users[fd]
        client = self.clients[user]
        try:
            while True:
                self._note(user, client.recv(timeout=0.000001))
                if self.town.variant.renewals and not self.until and self._random.random() < (0.15 if self.town.variant.slow_hubs else 0.02):
                    for _ in range(self._random.choice((1, 1, 2))):  # the last one wins
                        self._renew(user, client)
        except TimeoutError:
            return
        except (Closed, OSError) as closed:
            self.codes[user] = getattr(closed, "code", 1006)
            self._poll.unregister(fd)
            del self._users[fd]

    def _note(self, user, message):
        if message["type"] == "auth_ok":
            expiry = int(datetime.datetime.fromisoformat(message["expires_at"]).timestamp())
            self.accepted[user] = expiry
            self.renewed.set()
            claims = self.offered[user][expiry]
            self.heard[user].append((None, (claims,) if "epoch" in message else claims))
            return
        key = event_key(message)
        self._reached[user] = key[0]
        self.heard[user].append((key, None if message["type"] == "resync" else message["data"]["number"]))

    def _renew(self, user, client):
        claims = Claims(self._random.choice(("head", "clerk")), self._random.randrange(4), self._random.randrange(DESKS))
        expiry = int(time.time()) + 3600 + len(self.offered[user])
        expiry = max([expiry, *(known + 1 for known in self.offered[user])])
        self.offered[user][expiry] = claims
        client.send_json({"type": "auth", "token": self.town.token(user, claims, exp=expiry)})


# --- who writes -------------------------------------------------------------------------------------------------------------

JOIN = (
    "WITH one AS (INSERT INTO members (user_id, unit_id) VALUES (%s, %s) ON CONFLICT DO NOTHING RETURNING user_id, unit_id)"
    " INSERT INTO moves (user_id, unit_id, joined) SELECT user_id::text, unit_id, true FROM one"
)
LEAVE = (
    "WITH one AS (DELETE FROM members WHERE user_id = %s AND unit_id = %s RETURNING user_id, unit_id)"
    " INSERT INTO moves (user_id, unit_id, joined) SELECT user_id::text, unit_id, false FROM one"
)
NOTE = "INSERT INTO moves (user_id, unit_id, joined) VALUES (%s, %s, %s)"


class Worker(threading.Thread):
    """Whose error the test's own thread reports."""

    def __init__(self, town, name):
        super().__init__(daemon=True)
        self.town, self.app = town, town.app
        self.random = random.Random(f"{town.seed} {name}")
        self.error = None

    def run(self):
        connection = self.app.connect(autocommit=False)
        try:
            with connection.cursor() as cursor:
                self.work(connection, cursor)
        except Exception as error:
            self.error = error
            self.town.over.set()
        finally:
            connection.close()

    def finish(self):
        self.join(20 * PATIENCE)
        if self.error:
            raise self.error
        assert not self.is_alive()


class Writer(Worker):
    """Changes of rows, and of memberships of its own share of the users: often both in one transaction."""

    def __init__(self, town, number):
        super().__init__(town, f"writer {number}")
        self.number, self.made = number, 0
        self.rows, self.users = town.rows[number::WRITERS], town.users[number::WRITERS]

    def work(self, connection, cursor):
        while not self.town.over.is_set() and (self.town.for_as_long or self.made < CHANGES // WRITERS):
            steps = [self._change] * self.random.randint(1, 20)
            if self.random.random() < (0.5 if self.town.variant.listed else 0.05):  # everybody is asked, and hears nothing meanwhile
                steps += [self._membership] * self.random.randint(1, 3)
            self.random.shuffle(steps)
            for step in steps:
                step(cursor)
            connection.commit()
            self.town.committed(len(steps))
            if self.town.for_as_long:
                self.town.over.wait(0.1)

    def _change(self, cursor):
        self.made += 1
        cursor.execute(
            "UPDATE news SET number = %s WHERE id = %s", (self.number * 1000000 + self.made, self.random.choice(self.rows))
        )

    def _membership(self, cursor):
        """What is selected here stays: nobody else changes these users, and DDL waits for the transaction."""
        user, unit = self.random.choice(self.users), self.random.choice(self.town.open_units)
        cursor.execute("SELECT unit_id FROM members WHERE user_id = %s ORDER BY unit_id", (user,))
        units = [unit for (unit,) in cursor.fetchall()]
        kind = self.random.choice(("join", "join", "leave", "hand over", "transfer"))
        if kind == "join":
            cursor.execute(JOIN, (user, unit))
        elif kind == "leave" and units:
            cursor.execute(LEAVE, (user, self.random.choice(units)))
        elif kind == "hand over" and units:
            self._update(cursor, user, units, self.random.choice(self.users), self.random.choice(units))
        elif kind == "transfer" and units:
            self._update(cursor, user, units, user, unit)

    def _update(self, cursor, user, units, to_user, to_unit):
        unit = to_unit if user != to_user else self.random.choice(units)
        cursor.execute("SELECT FROM members WHERE user_id = %s AND unit_id = %s", (to_user, to_unit))
        if cursor.fetchone() is not None:
            return
        cursor.execute(
            "UPDATE members SET user_id = %s, unit_id = %s WHERE user_id = %s AND unit_id = %s", (to_user, to_unit, user, unit)
        )
        cursor.execute(NOTE, (user, unit, False))
        cursor.execute(NOTE, (to_user, to_unit, True))


class Planter(Worker):
    """Leaves of the partitioned memberships, while the writers write: rows are in them at once, and the log alone tells."""

    def work(self, connection, cursor):
        while self.town.wait_for_changes(CHANGES // 10):
            if not (self._split if self.town.variant.partitions == "hash" else self._open)(cursor):
                break
            cursor.execute("INSERT INTO marks (what) VALUES ('leaf')")
            connection.commit()
            self.town.open_units = self.town.units[: self.town.with_leaves]

    def _split(self, cursor):
        """A leaf makes way for two."""
        town = self.town
        modulus, remainder = town.leaves.pop(0)
        cursor.execute("LOCK TABLE members IN ACCESS EXCLUSIVE MODE")
        cursor.execute(f"ALTER TABLE members DETACH PARTITION members_{modulus}_{remainder}")
        for half in (remainder, remainder + modulus):
            leaf = f"members_{2 * modulus}_{half}"
            cursor.execute(f"CREATE TABLE {leaf} PARTITION OF members FOR VALUES WITH (MODULUS {2 * modulus}, REMAINDER {half})")
            town.leaves.append((2 * modulus, half))
        cursor.execute(f"INSERT INTO members SELECT * FROM members_{modulus}_{remainder}")
        cursor.execute(f"DROP TABLE members_{modulus}_{remainder}")
        return modulus < 16

    def _open(self, cursor):
        """Units that nobody could join: their leaf is made, or filled and attached."""
        town = self.town
        units = town.units[town.with_leaves : town.with_leaves + 2]
        if not units:
            return False
        leaf, bounds = f"members_{units[0]}", f"FOR VALUES IN ({', '.join(map(str, units))})"
        joining = [(user, unit) for unit in units for user in self.random.sample(town.users, len(town.users) // 10)]
        if self.random.random() < 0.5:
            cursor.execute("LOCK TABLE members IN ACCESS EXCLUSIVE MODE")
            cursor.execute(f"CREATE TABLE {leaf} PARTITION OF members {bounds}")
        else:
            cursor.execute(f"CREATE TABLE {leaf} (LIKE members INCLUDING ALL)")
        cursor.executemany(f"INSERT INTO {leaf} (user_id, unit_id) VALUES (%s, %s)", joining)
        cursor.executemany(NOTE, [(user, unit, True) for user, unit in joining])
        cursor.execute("SELECT FROM pg_inherits WHERE inhrelid = %s::regclass", (leaf,))
        if cursor.fetchone() is None:
            cursor.execute("LOCK TABLE members IN ACCESS EXCLUSIVE MODE")
            cursor.execute(f"ALTER TABLE members ATTACH PARTITION {leaf} {bounds}")
        town.with_leaves += len(units)
        return True


class Migrator(Worker):
    """DDL that takes memberships away and gives some, while the writers write; each is noticed before the next."""

    def work(self, connection, cursor):
        self.connection, self.cursor, self.n, self.changes = connection, cursor, 0, 0
        ways = ["swap", "swap_for_partitions", "rename", "identity", "view", "other_view", "leaf", "new_leaf"]
        for self.way in DDL or self.random.sample(ways, len(ways) if WHOLE else 1):
            self._settle()
            self.n += 1
            getattr(self, "_" + self.way)()
        self._settle()

    def _settle(self):
        """Everybody hears again."""
        deadline = time.monotonic() + 5 * PATIENCE
        for process in self.town.processes:
            while any((now := json.loads(process.admin("/status").body)["admissions"])[of] for of in ("unanswered", "held")):
                assert time.monotonic() < deadline, now
                self.town.over.wait(0.01)
        self.town.wait_for_changes(100)

    def _pairs(self, *relations):
        found = collections.Counter()
        for relation in relations:
            self.cursor.execute(f"SELECT user_id::text, unit_id FROM {relation}")
            found.update(self.cursor.fetchall())
        return found

    @contextlib.contextmanager
    def _ddl(self):
        """What it takes and gives is noted, and it is committed and noticed."""
        self.cursor.execute("LOCK TABLE members IN ACCESS EXCLUSIVE MODE")
        before = self._pairs("members", "may")
        yield
        after = self._pairs("members", "may")
        self.cursor.executemany(NOTE, [(*pair, False) for pair in (before - after).elements()])
        self.cursor.executemany(NOTE, [(*pair, True) for pair in (after - before).elements()])
        self._commit_and_wait(f"INSERT INTO marks (what, how) VALUES ('ddl', '{self.way}')")
        # What was found is in force when something behind it is compared; the first of the two may be met while it is looked for.
        for _ in range(2):
            self._commit_and_wait("CREATE OR REPLACE FUNCTION fence() RETURNS int LANGUAGE sql AS 'SELECT 1'")

    def _commit_and_wait(self, statement):
        self.cursor.execute(statement)
        marks = [process.mark() for process in self.town.processes]
        self.connection.commit()
        for process, mark in zip(self.town.processes, marks):
            process.wait_for_log(CHANGED, since=mark)

    def _noticed(self):
        self.cursor.execute("INSERT INTO marks (what) VALUES ('noticed')")
        self.connection.commit()

    def _take_some_from(self, table):
        pairs = sorted(self._pairs(table))
        some = self.random.sample(pairs, len(pairs) // 10 + 1)
        self.cursor.executemany(f"DELETE FROM {table} WHERE user_id = %s AND unit_id = %s", some)
        return some

    def _swap(self, how="", leaves=()):
        new = f"members_{self.n}"
        with self._ddl():
            self.cursor.execute(f"CREATE TABLE {new} (LIKE members INCLUDING ALL) {how}")
            for i, leaf in enumerate(leaves):
                self.cursor.execute(f"CREATE TABLE {new}_{i} PARTITION OF {new} {leaf}")
            self.cursor.execute(f"INSERT INTO {new} SELECT * FROM members")
            self._take_some_from(new)
            self.cursor.execute(f"GRANT SELECT ON {new} TO walpush")
            self.cursor.execute(f"ALTER TABLE members RENAME TO members_old_{self.n}")
            self.cursor.execute(f"ALTER TABLE {new} RENAME TO members")
        self._noticed()

    def _swap_for_partitions(self):
        self._swap("PARTITION BY HASH (user_id)", [f"FOR VALUES WITH (MODULUS 2, REMAINDER {i})" for i in (0, 1)])

    def _rename(self):
        with self._ddl():
            self.cursor.execute("ALTER TABLE members RENAME TO nameless")
            self._take_some_from("nameless")
            self.cursor.execute("ALTER TABLE nameless RENAME TO members")
        self._noticed()

    def _identity(self):
        """What the writers take away meanwhile is in no record. A server refuses that for a table that is published."""
        if PLUGIN == "pgoutput":
            return
        self.cursor.execute("SELECT coalesce(array_agg(relid::text), '{members}') FROM pg_partition_tree('members') WHERE isleaf")
        (tables,) = self.cursor.fetchone()
        for identity in ("NOTHING", "DEFAULT"):
            with self._ddl():
                for table in tables:
                    self.cursor.execute(f"ALTER TABLE {table} REPLICA IDENTITY {identity}")
            if identity == "NOTHING":
                self._settle()
        self._noticed()

    def _view(self):
        for condition in (f"unit_id <> {self.random.choice(self.town.open_units)}", "true"):
            with self._ddl():
                self.cursor.execute(f"CREATE OR REPLACE VIEW may AS SELECT user_id, unit_id FROM annex WHERE {condition}")
            self._noticed()
            self._settle()

    def _other_view(self):
        with self._ddl():
            self.cursor.execute(f"ALTER VIEW may RENAME TO may_{self.n}")
            hidden = self.random.choice(self.town.open_units)
            self.cursor.execute(f"CREATE VIEW may AS SELECT user_id, unit_id FROM annex WHERE unit_id <> {hidden}")
            self.cursor.execute("GRANT SELECT ON may TO walpush")
        self._noticed()

    def _leaf(self):
        """Detached, changed, and attached again; then the log tells of it."""
        unit = self.random.choice(self.town.annexed)
        with self._ddl():
            self.cursor.execute(f"ALTER TABLE annex DETACH PARTITION annex_{unit}")
        self._noticed()
        self._settle()
        joining = [(user, unit) for user in self.random.sample(self.town.users, USERS // 10)]
        self.cursor.executemany(f"INSERT INTO annex_{unit} VALUES (%s, %s) ON CONFLICT DO NOTHING", joining)
        self.connection.commit()
        with self._ddl():
            self.cursor.execute(f"ALTER TABLE annex ATTACH PARTITION annex_{unit} FOR VALUES IN ({unit})")
        self._noticed()
        self._settle()
        self._take_from_leaf(f"annex_{unit}")

    def _new_leaf(self):
        """It has rows from the beginning; once it is noticed the log tells of it."""
        unit = next(unit for unit in self.town.units if unit not in self.town.annexed)
        self.town.annexed.append(unit)
        with self._ddl():
            self.cursor.execute(f"CREATE TABLE annex_{unit} PARTITION OF annex FOR VALUES IN ({unit})")
            joining = [(user, unit) for user in self.random.sample(self.town.users, USERS // 10)]
            self.cursor.executemany("INSERT INTO annex VALUES (%s, %s)", joining)
        self._noticed()
        self._settle()
        self._take_from_leaf(f"annex_{unit}")

    def _change_own(self):
        self.changes += 1
        for i, row in enumerate(self.town.own_rows):
            self.cursor.execute("UPDATE news SET number = %s WHERE id = %s", (9000000 + self.changes * 1000 + i, row))

    def _take_from_leaf(self, leaf):
        """With changes of the same transaction, before and behind."""
        before = self._pairs("may")
        self.cursor.execute("INSERT INTO marks (what) VALUES ('everybody')")  # no section says whose they are
        self._change_own()
        self._take_some_from(leaf)
        self._change_own()
        self.cursor.executemany(NOTE, [(*pair, False) for pair in (before - self._pairs("may")).elements()])
        self.connection.commit()
        self.town.wait_for_changes(50)


# --- where ------------------------------------------------------------------------------------------------------------------

ADMIT = (
    "SELECT m.unit_id FROM members m JOIN people p ON p.id = m.user_id WHERE m.user_id = {token.user_id} AND p.is_active"
)
ADMIT_BY_CLAIMS = ADMIT + " AND ({token.role} = 'head' OR m.unit_id % 4 <> {token.hidden}::int)"


class Town:
    """Units with rows, users in one to three of them, and walpush."""

    def __init__(self, app, variant, seed):
        self.app, self.variant, self.seed = app, variant, seed
        self.over = threading.Event()
        self.for_as_long = False  # the writers go on until it is over
        self.units = list(range(FIRST_UNIT, FIRST_UNIT + UNITS))
        numbers = range(FIRST_USER, FIRST_USER + USERS)
        # Letters in each, so that there are two cases.
        self.users = [str(uuid.UUID(int=0xABCDEF << 104 | n)) if variant.uuids else str(n) for n in numbers]
        self.with_leaves = UNITS // 2 if variant.partitions == "list" else UNITS
        self.open_units = self.units[: self.with_leaves]
        self.leaves = []
        self.processes = []
        self._made, self._step = 0, threading.Condition()
        self._make_tables()
        self._populate()

    def _make_tables(self):
        sql, key = self.app.sql, "uuid" if self.variant.uuids else "int"
        sql(f"CREATE TABLE people (id {key} PRIMARY KEY, is_active boolean NOT NULL DEFAULT true)")
        by = {"list": "PARTITION BY LIST (unit_id)", "hash": "PARTITION BY HASH (user_id)", None: ""}[self.variant.partitions]
        sql(f"CREATE TABLE members (user_id {key}, unit_id int, PRIMARY KEY (user_id, unit_id)) {by}")
        if self.variant.partitions == "list":
            for i in range(0, self.with_leaves, 2):
                units = ", ".join(map(str, self.open_units[i : i + 2]))
                sql(f"CREATE TABLE members_{self.units[i]} PARTITION OF members FOR VALUES IN ({units})")
        elif self.variant.partitions == "hash":
            self.leaves = [(4, remainder) for remainder in range(4)]
            for modulus, r in self.leaves:
                sql(f"CREATE TABLE members_4_{r} PARTITION OF members FOR VALUES WITH (MODULUS {modulus}, REMAINDER {r})")
        sql("CREATE TABLE news (id serial PRIMARY KEY, unit_id int NOT NULL, desk int, number int NOT NULL)")
        sql("ALTER TABLE news REPLICA IDENTITY FULL")
        sql("CREATE TABLE moves (id serial PRIMARY KEY, user_id text, unit_id int, joined boolean)")
        sql("CREATE TABLE marks (id serial PRIMARY KEY, what text, how text)")
        sql("GRANT SELECT ON people, members, news TO walpush")

    def _populate(self):
        chance = random.Random(f"{self.seed} town")
        many = (2, 3, 4) if self.variant.renewals else (1, 1, 2, 3)
        self.beginning = [
            (user, unit) for user in self.users for unit in chance.sample(self.open_units, chance.choice(many))
        ]
        with self.app.transaction() as cursor:
            cursor.executemany("INSERT INTO people (id) VALUES (%s)", [(user,) for user in self.users])
            cursor.executemany("INSERT INTO members (user_id, unit_id) VALUES (%s, %s)", self.beginning)
            cursor.executemany(
                "INSERT INTO news (unit_id, desk, number) VALUES (%s, %s, 0)",
                [(unit, unit % DESKS if row == 1 else None) for unit in self.units for row in range(ROWS)],
            )
        rows = [row for (row,) in self.app.sql("SELECT id FROM news ORDER BY id")]
        self.own_rows = rows[::ROWS]  # of whoever works beside the writers
        self.rows = [row for row in rows if row not in self.own_rows]
        self.app.sql("SELECT pg_create_logical_replication_slot('truth', 'wal2json')")

    def configure(self, config, admit=None, watch=NEVER):
        for stream in ("requests", "crates", "storage", "notifications"):
            config.remove(f"streams.{stream}")
        for table in ("users", "user_units", "roles"):
            config.remove(f"membership.{table}")
        groups = ["unit_{admit.unit_id}"] + ["desk_{token.desk}"] * self.variant.renewals
        admit = admit or (ADMIT_BY_CLAIMS if self.variant.renewals else ADMIT)
        config.set("streams.town", section(path=PATH, admit=admit, groups=groups))
        config.set("tables.news", section(type="news", key="news_id", groups=["unit_{unit_id}", "desk_{desk}"]))
        if self.variant.listed:
            config.set("membership.members", section(user="user_id"))
            config.set("membership.people", section(user="id"))
        config.set("limits.group-bytes", "64 MiB").set("limits.admit-timeout", 300).set("limits.stall", 3600)
        config.set("limits.messages-per-second", 1000)
        config.set("database.lock-timeout", 4)  # DDL locks for longer than usual where everything is slow
        config.set("database.watch", watch)

    def start(self, make_walpush, config, redis, env):
        if redis:
            self.processes = Replicas(make_walpush, self.app, config, redis, n=self.variant.replicas).all
        else:
            self.processes = [make_walpush(self.app, config, env=env).start()]
        for process in self.processes:
            process.wait_for_log(LIVE)

    def token(self, user, claims, **more):
        """A claim of uuid is in upper case, without hyphens, in braces, with hyphens at other places, or as the database prints it."""
        n = self.users.index(user)
        plain = user.replace("-", "")
        spelled = [user.upper(), plain, "{" + user + "}", plain[:4] + "-" + plain[4:], user, "{" + plain.upper() + "}"]
        claim = spelled[n % len(spelled)] if self.variant.uuids else int(user)
        process = self.processes[n % len(self.processes)]
        return process.token(claim, role=claims.role, hidden=claims.hidden, desk=claims.desk, **more)

    def connect(self, user):
        process = self.processes[self.users.index(user) % len(self.processes)]
        return Client(process.port, PATH, token=self.token(user, Claims()))

    def units_of(self):
        """As the database has it now."""
        found = collections.defaultdict(set)
        for relation in ("members", "may")[: 1 + self.for_as_long]:
            for user, unit in self.app.sql(f"SELECT user_id::text, unit_id FROM {relation}"):
                found[user].add(unit)
        return found

    def committed(self, n):
        with self._step:
            self._made += n
            self._step.notify_all()

    def wait_for_changes(self, more):
        """Until so many more are committed from now; False once it is over."""
        with self._step:
            goal = self._made + more
            assert self._step.wait_for(lambda: self._made >= goal or self.over.is_set(), 20 * PATIENCE)
        return not self.over.is_set()

    def end(self):
        self.over.set()
        with self._step:
            self._step.notify_all()

    def change_all(self):
        """Of this commit everybody hears."""
        self.app.sql("UPDATE news SET number = -id")


# Six times of sixteen, up to 32 ms.
SLOW_HUBS = r"""
	static _Thread_local unsigned chance;

	if (!chance)
		chance = (unsigned)syscall(SYS_gettid) * 2654435761u;
	chance = chance * 1664525 + 1013904223;
	if (chance >> 28 < 6)
		usleep(chance >> 17 & 0x7fff);
"""


@pytest.fixture
def build(app, config, make_walpush, tmp_path, capsys):
    """Makes the town and lets it live: what came of it is printed and returned."""
    seed = int(os.environ.get("ISOLATION_SEED") or random.randrange(1 << 32))
    with contextlib.ExitStack() as stack:
        def build(variant, prepare=None, workers=(), **how):
            town = Town(app, variant, seed)
            stack.callback(lambda: app.sql("SELECT pg_drop_replication_slot('truth')"))
            if prepare:
                prepare(town)
            town.configure(config, **how)
            redis = stack.enter_context(Redis()) if variant.replicas > 1 else None
            town.start(make_walpush, config, redis, build_before_a_mutex(tmp_path, SLOW_HUBS) if variant.slow_hubs else {})
            return live(town, [worker(town, worker.__name__) for worker in workers], capsys)

        yield build


def change_until_somebody_renewed(town, listening):
    """Writers may be done before a program that is slow today has sent much."""
    deadline = time.monotonic() + 5 * PATIENCE
    while not listening.renewed.wait(0.1):
        assert listening.is_alive() and time.monotonic() < deadline, listening.error
        town.change_all()


def live(town, workers, capsys):
    clients = {user: town.connect(user) for user in town.users}
    hellos = {user: event_key(client.established()) for user, client in clients.items()}
    listening = Listening(town, clients)
    listening.start()
    started = time.monotonic()
    writers = [Writer(town, n) for n in range(WRITERS)]
    for worker in writers + workers:
        worker.start()
    for worker in workers if town.for_as_long else writers:
        worker.finish()
    if town.variant.renewals:
        change_until_somebody_renewed(town, listening)
    town.end()
    for worker in writers + workers:
        worker.finish()
    town.change_all()
    truth = Truth(town.app, town)
    town.change_all()
    listening.until = truth.end
    listening.join(20 * PATIENCE)
    took = time.monotonic() - started
    if listening.error:
        raise listening.error
    assert not listening.is_alive(), f"somebody has not heard of the end; seed {town.seed}"
    verdict = Verdict()
    for user in town.users:
        heard = [(key, what) for key, what in listening.heard[user] if not key or what is None or key[0] <= truth.end]
        owed = truth.end + 1
        if user in listening.codes:
            offered = [Claims(), *listening.offered[user].values()]
            # A token that was sent to a connection that is closed resets it, and what was said last is lost.
            codes = (4403, 1006) if listening.is_waiting(user) else (4403,)
            assert listening.codes[user] in codes and truth.may_be_closed(user, offered), f"{user}: {listening.codes[user]}"
            last = max([hellos[user][0], *(key[0] for key, _ in heard if key)])
            owed = last if listening.is_waiting(user) else truth.owed_to_closed(user, last)
        judge(verdict, user, hellos[user][0], heard, truth.due[user], owed)
    with capsys.disabled():
        late = f", {len(verdict.late)} within {max(verdict.late):.2f} s of what took them away" if verdict.late else ""
        print(
            f"\nisolation: seed {town.seed}: {truth.changes} changes, {truth.moves} joined or left, {verdict.deliveries} deliveries,"
            f" {verdict.resyncs} resyncs, {verdict.renewals} renewals, {len(listening.codes)} closed, {took:.1f} s:"
            f" {verdict.leaks} leaks, {verdict.missing} missing{late}"
        )
    if verdict.wrong != (0, 0, 0):
        print("closed:", listening.codes, "\nDDL:", truth.ddl, "\n" + "\n".join(verdict.notes[:100]))
    assert verdict.wrong == (0, 0, 0), f"leaks, missing, heard again; ISOLATION_SEED={town.seed}"
    assert verdict.deliveries > truth.changes
    assert len(listening.codes) < USERS // 2
    return verdict


VARIANTS = {
    "listed": Variant(),
    "list": Variant(partitions="list"),
    "hash": Variant(partitions="hash"),
    "uuid": Variant(uuids=True),
    "found": Variant(listed=False),
    "renewals": Variant(renewals=True),
    "slow hubs": Variant(renewals=True, slow_hubs=True),
    "all": Variant(partitions="list", uuids=True, renewals=True),
    "all, found": Variant(partitions="hash", uuids=True, listed=False, renewals=True),
}
TOWNS = [(name, replicas) for replicas in (1, 3) for name in VARIANTS if not VARIANTS[name].slow_hubs or replicas == 1]
if not WHOLE:
    TOWNS = [("hash", 1), ("uuid", 1), ("found", 1), ("renewals", 1), ("slow hubs", 1), ("all", 3)]


PLAIN = pytest.mark.plain(reason="a sanitizer's library must be the first")


@pytest.mark.parametrize(
    "name, replicas", [pytest.param(*town, marks=PLAIN if VARIANTS[town[0]].slow_hubs else ()) for town in TOWNS]
)
def test_isolation(build, name, replicas):
    variant = dataclasses.replace(VARIANTS[name], replicas=replicas)
    verdict = build(variant, workers=[Planter] if variant.partitions else [])
    assert bool(verdict.renewals) == variant.renewals


ADMIT_OF_BOTH = (
    "SELECT a.unit_id FROM (SELECT user_id, unit_id FROM members UNION ALL SELECT user_id, unit_id FROM may) a"
    " JOIN people p ON p.id = a.user_id WHERE a.user_id = {token.user_id} AND p.is_active"
)


def annex(town):
    """Further memberships, which a view shows; half of the units have some."""
    town.for_as_long = True
    town.annexed = town.units[: UNITS // 2]
    town.app.sql("CREATE TABLE annex (user_id int, unit_id int, PRIMARY KEY (user_id, unit_id)) PARTITION BY LIST (unit_id)")
    chance = random.Random(f"{town.seed} annex")
    for unit in town.annexed:
        town.app.sql(f"CREATE TABLE annex_{unit} PARTITION OF annex FOR VALUES IN ({unit})")
        for user in chance.sample(town.users, USERS // 10):
            town.app.sql("INSERT INTO annex VALUES (%s, %s)", user, unit)
            town.beginning.append((user, unit))
    town.app.sql("CREATE VIEW may AS SELECT user_id, unit_id FROM annex")
    town.app.sql("GRANT SELECT ON may TO walpush")


@pytest.mark.parametrize("replicas", [1, 3] if WHOLE else [1])
def test_isolation_with_ddl(build, replicas):
    """What DDL took away is heard for `database.watch` at the most; once it is noticed, nothing of it is heard, and the log tells again."""
    build(Variant(replicas=replicas), annex, [Migrator], admit=ADMIT_OF_BOTH, watch=OFTEN)
