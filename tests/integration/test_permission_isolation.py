"""Units never see each other's rows, whoever joins and leaves them, and nobody misses what was theirs to see.

The truth is the database's own: a second slot tells every change of a row and of a membership, in the order of commits.
"""

import collections
import json
import os
import random
import select
import threading
import time

import pytest

from harness.app import PLAIN
from harness.client import PATIENCE, SLOWDOWN, Closed, event_key
from harness.walpush import ROW_MARK

CHANGES = int(float(os.environ.get("ISOLATION_CHANGES", 20000 / SLOWDOWN)))
USERS, UNITS, FIRST_USER, FIRST_UNIT = 1000, 50, 101, 101
WRITERS = 3
# One connection hears all units of its user; who is in none is not admitted.
ADMIT = (
    "SELECT m.unit_id FROM user_units m JOIN users u ON u.id = m.user_id"
    " WHERE m.user_id = {token.user_id} AND u.is_active AND {path.unit_id}::int >= 0"
)


class Listening(threading.Thread):
    """All clients in one thread: (id, number of the change) for each message, (id, None) for a resync."""

    def __init__(self, clients):
        super().__init__(daemon=True)
        self.clients = clients  # user → Client
        self.heard = {user: [] for user in clients}
        self.codes = {}
        self.until = None  # a commit; whoever has heard of something at or behind it is done
        self._poll = select.poll()
        self._users = {}
        for user, client in clients.items():
            self._users[client.wire.sock.fileno()] = user
            self._poll.register(client.wire.sock, select.POLLIN)

    def run(self):
        while self._users and not self._is_done():
            for fd, _ in self._poll.poll(100):
                self._take(self._users[fd])

    def _is_done(self):
        return self.until and all(
            self.heard[user] and self.heard[user][-1][0][0] >= self.until for user in self._users.values()
        )

    def _take(self, user):
        client = self.clients[user]
        try:
            while True:
                message = client.recv(timeout=0.000001)
                number = None if message["type"] == "resync" else int(message["data"]["purpose"].rpartition(" ")[2])
                self.heard[user].append((event_key(message), number))
        except TimeoutError:
            return
        except Closed as closed:
            self.codes[user] = closed.code
            fd = client.wire.sock.fileno()
            self._poll.unregister(fd)
            del self._users[fd]


class Writer(threading.Thread):
    """Changes of rows, and of memberships of its own share of the users: often both in one transaction."""

    def __init__(self, app, number, rows, changes):
        super().__init__(daemon=True)
        self.app, self.number, self.rows, self.changes = app, number, rows, changes
        self.random = random.Random(number)
        self.error = None

    def run(self):
        connection = self.app.connect(autocommit=False)
        try:
            with connection.cursor() as cursor:
                while self.changes > 0:
                    self._one(cursor)
                    connection.commit()
        except Exception as error:  # the test's own thread reports it
            self.error = error
        finally:
            connection.close()

    def _one(self, cursor):
        steps = [self._change] * self.random.randint(1, 20)
        if self.random.random() < 0.5:
            steps += [self._membership] * self.random.randint(1, 3)
        self.random.shuffle(steps)
        for step in steps:
            step(cursor)

    def _change(self, cursor):
        row = self.random.choice(self.rows)
        cursor.execute(
            "UPDATE requests SET purpose = %s WHERE id = %s", (f"{ROW_MARK} {self.number * 1000000 + self.changes}", row)
        )
        self.changes -= 1

    def _membership(self, cursor):
        user = FIRST_USER + self.random.randrange(self.number, USERS, WRITERS)
        unit = FIRST_UNIT + self.random.randrange(UNITS)
        kind = self.random.choice(("join", "leave", "move"))
        if kind == "join":
            cursor.execute("INSERT INTO user_units (user_id, unit_id) VALUES (%s, %s) ON CONFLICT DO NOTHING", (user, unit))
        elif kind == "leave":
            cursor.execute(
                "DELETE FROM user_units WHERE id = (SELECT id FROM user_units WHERE user_id = %s ORDER BY random() LIMIT 1)",
                (user,),
            )
        else:
            other = FIRST_USER + self.random.randrange(self.number, USERS, WRITERS)
            cursor.execute(
                "UPDATE user_units SET user_id = %s WHERE id = (SELECT id FROM user_units m WHERE user_id = %s AND NOT EXISTS"
                " (SELECT 1 FROM user_units o WHERE o.user_id = %s AND o.unit_id = m.unit_id) LIMIT 1)",
                (other, user, other),
            )


@pytest.fixture
def town(app, config, make_walpush):
    """50 units with four requests each, 1,000 users in one to three of them."""
    chance = random.Random(7)
    with app.transaction() as cursor:
        cursor.execute(
            "INSERT INTO units (id, unit_code, unit_name) SELECT n, 'I' || n, 'n' FROM generate_series(%s, %s) n",
            (FIRST_UNIT, FIRST_UNIT + UNITS - 1),
        )
        cursor.execute(
            "INSERT INTO users (id, username, role_id) SELECT n, 'i' || n, %s FROM generate_series(%s, %s) n",
            (PLAIN, FIRST_USER, FIRST_USER + USERS - 1),
        )
        for user in range(FIRST_USER, FIRST_USER + USERS):
            for unit in chance.sample(range(FIRST_UNIT, FIRST_UNIT + UNITS), chance.choice((1, 1, 2, 3))):
                cursor.execute("INSERT INTO user_units (user_id, unit_id) VALUES (%s, %s)", (user, unit))
    rows = {app.insert_request(unit): unit for unit in range(FIRST_UNIT, FIRST_UNIT + UNITS) for _ in range(4)}
    config.set("streams.requests.admit", ADMIT)
    config.set("streams.requests.groups", ["requests_unit_{admit.unit_id}"])
    config.set("tables.requests.columns", ["id", "purpose"])
    config.set("tables.requests.lookup", "SELECT 1 AS unit_id WHERE {id} < 0")
    config.set("limits.group-bytes", "64 MiB").set("limits.admit-timeout", 300).set("limits.stall", 3600)
    app.sql("SELECT pg_create_logical_replication_slot('truth', 'wal2json')")
    yield make_walpush(app, config), rows
    app.sql("SELECT pg_drop_replication_slot('truth')")


def history(app):
    """Per commit: (lsn, [(user, unit, joined)], [(unit, number)]), in the order of commits."""
    commits = []
    for (record,) in app.sql(
        "SELECT data FROM pg_logical_slot_peek_changes('truth', NULL, NULL, 'format-version', '2', 'include-lsn', 'true',"
        " 'include-types', 'false', 'add-tables', 'public.user_units,public.requests')"
    ):
        change = json.loads(record)
        if change["action"] == "B":
            high, _, low = change["lsn"].partition("/")
            commits.append((int(high, 16) << 32 | int(low, 16), [], []))
        elif change["action"] != "C":
            _note(change, commits[-1])
    return commits


def _note(change, commit):
    _, memberships, changes = commit
    now = {c["name"]: c["value"] for c in change.get("columns", ())}
    old = {c["name"]: c["value"] for c in change.get("identity", ())}
    if change["table"] == "requests":
        changes.append((now["unit_id"], int(now["purpose"].rpartition(" ")[2])))
        return
    if old:
        memberships.append((old["user_id"], old["unit_id"], False))
    if now:
        memberships.append((now["user_id"], now["unit_id"], True))


def replay(commits, units_of):
    """What each user was to hear, as (commit, number), the commits that changed the user's units, and whether one left none."""
    members = collections.defaultdict(set)
    for user, units in units_of.items():
        for unit in units:
            members[unit].add(user)
    due, moved, homeless = collections.defaultdict(list), collections.defaultdict(list), set()
    for lsn, memberships, changes in commits:
        for user, unit, joined in memberships:
            (members[unit].add if joined else members[unit].discard)(user)
            (units_of[user].add if joined else units_of[user].discard)(unit)
        for user in {user for user, _, _ in memberships}:
            moved[user].append(lsn)
            if not units_of[user]:
                homeless.add(user)
        for unit, number in changes:
            for user in members[unit]:
                due[user].append((lsn, number))
    return due, moved, homeless


def check(hello, heard, due, end):
    """(leaks, missing) of one client: it hears what is due below `end`, in order, but for what a resync stands for."""
    at = next((i for i, (lsn, _) in enumerate(due) if lsn >= hello[0]), len(due))
    theirs = set(due)
    leaks = missing = 0
    for (lsn, _), number in heard:
        if number is None:
            while at < len(due) and due[at][0] < lsn:
                at += 1
        elif (lsn, number) not in theirs:
            leaks += 1
        else:
            while at < len(due) and due[at] != (lsn, number):
                missing += 1
                at += 1
            at += 1
    missing += sum(lsn < end for lsn, _ in due[at:])
    return leaks, missing


def test_isolation(app, town, capsys):
    walpush, rows = town
    units_of = collections.defaultdict(set)
    for user, unit in app.sql("SELECT user_id, unit_id FROM user_units"):
        units_of[user].add(unit)
    walpush.start()
    users = range(FIRST_USER, FIRST_USER + USERS)
    clients = {user: walpush.connect("/ws/requests/0/", user) for user in users}
    hellos = {user: event_key(client.established()) for user, client in clients.items()}
    listening = Listening(clients)
    listening.start()
    started = time.monotonic()
    writers = [Writer(app, n, list(rows)[n::WRITERS], CHANGES // WRITERS) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(20 * PATIENCE)
        assert not writer.is_alive() and not writer.error, writer.error
    with app.transaction() as cursor:  # of the last commit everybody hears
        cursor.execute("UPDATE requests SET purpose = %s WHERE id = ANY (%s)", (f"{ROW_MARK} 0", list(rows)))
    commits = history(app)
    end = commits[-1][0]
    with app.transaction() as cursor:
        cursor.execute("UPDATE requests SET purpose = %s WHERE id = ANY (%s)", (f"{ROW_MARK} 0", list(rows)))
    listening.until = end
    listening.join(20 * PATIENCE)
    took = time.monotonic() - started
    due, moved, homeless = replay(commits, units_of)
    leaks = missing = deliveries = resyncs = 0
    for user in users:
        heard = [entry for entry in listening.heard[user] if entry[0][0] <= end]
        owed = end + 1
        if user in listening.codes:
            assert listening.codes[user] == 4403 and user in homeless, f"user {user}: {listening.codes[user]}"
            # Frozen by the next change behind the last it heard; what the answer that was no left out, nobody owes.
            last = heard[-1][0][0] if heard else hellos[user][0]
            owed = next(lsn for lsn in moved[user] if lsn > last or not heard)
        counts = check(hellos[user], heard, due[user], owed)
        leaks, missing = leaks + counts[0], missing + counts[1]
        deliveries += sum(number is not None for _, number in heard)
        resyncs += sum(number is None for _, number in heard)
    assert not listening.is_alive(), "somebody has not heard of the end"
    changes, moves = sum(len(c) for _, _, c in commits), sum(len(m) for _, m, _ in commits)
    with capsys.disabled():
        print(
            f"\nisolation: {changes} changes, {moves} joined or left, {deliveries} deliveries, {resyncs} resyncs,"
            f" {len(listening.codes)} closed, {took:.1f} s: {leaks} leaks, {missing} missing"
        )
    assert (leaks, missing) == (0, 0)
    assert deliveries > changes
    assert len(listening.codes) < USERS // 2
