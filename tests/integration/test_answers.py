"""What late answers show, and to whom: data queries, lookups in templates and lookups that name receivers, while rows change and move,
members join and leave, and everything that the server says takes 0 to 500 ms.

The truth is the database's own: a second slot tells every change of a row and of a membership, in the order of commits. Each change gives the
row another number, so a number says at which commit its content was written.

What happens is drawn from a seed, which is printed; ANSWERS_SEED=n does the same again, ANSWERS_CHANGES=n more of it.
"""

import collections
import contextlib
import json
import os
import random
import threading
import time

import pytest

from harness.client import PATIENCE, SLOWDOWN, Client, Closed, Refused, event_key, lsn_number
from harness.proxy import proxy
from harness.redis import Redis
from harness.walpush import patient
from throwaway.config import Raw, section, template

CHANGES = int(float(os.environ.get("ANSWERS_CHANGES", 240)) / SLOWDOWN)
LATEST = 0.5  # seconds
RESTS = 3  # seconds, beyond what a resync may rest
USERS, UNITS, HOME = range(1, 9), range(1, 5), 9
WRITERS, ROWS = 3, 12
PATH = "/ws/town/"
FROM_NEWS = {"from": "news", "key": "news_id"}

pytestmark = pytest.mark.whole(reason="fewer changes under a sanitizer")


# --- the truth --------------------------------------------------------------------------------------------------------------


class Truth:
    """Of each number: its commit, its row, who may read it, and whom a lookup names. The members are those of the commit."""

    def __init__(self, app, beginning):
        self.commits, self.rows, self.readers, self.named = {}, {}, {}, {}
        members = set(beginning)
        commit = None
        for (record,) in app.sql(
            "SELECT data FROM pg_logical_slot_peek_changes('truth', NULL, NULL, 'format-version', '2', 'include-lsn', 'true',"
            " 'include-types', 'false', 'add-tables', 'public.members,public.news')"
        ):
            change = json.loads(record)
            if change["action"] == "B":
                commit, rows = lsn_number(change["lsn"]), []
            elif change["action"] == "C":
                for row in rows:
                    self._take(commit, row, members)
            elif change["table"] == "members":
                row = {c["name"]: c["value"] for c in change.get("columns", change.get("identity"))}
                (members.add if change["action"] == "I" else members.discard)((row["user_id"], row["unit_id"]))
            else:
                rows.append({c["name"]: c["value"] for c in change["columns"]})

    def _take(self, commit, row, members):
        number = row["number"]
        self.commits[number], self.rows[number] = commit, row["id"]
        self.readers[number] = {user for user in USERS if (user, row["unit_id"]) in members}
        self.named[number] = row["reader"]


def judge(truth, user, heard, end):
    """(contents that were written when the user could not read them, messages that are missing, contents that came)"""
    newer, came, contents = [], set(), 0
    covered = first = None
    for message in heard:
        lsn, index = event_key(message)
        if message["type"] in ("connection_established", "resync"):
            first = lsn if first is None else first
            if not message.get("resumed"):
                covered = max(covered or 0, lsn + (index > 0))
            continue
        kind = message["type"].partition(".")[0]
        came.add((kind, lsn, message.get("news_id")))
        number = message["number"] if kind == "told" else (message.get("data") or {}).get("number")
        if number is None or message.get("action") == "moved":
            continue
        contents += 1
        allowed = truth.named[number] == user if kind == "named" else user in truth.readers[number]
        if not allowed:
            newer.append((user, message.raw))
    missing = []
    for number, commit in truth.commits.items():
        kinds = ["shown", "told"] if user in truth.readers[number] else []
        kinds += ["named"] if truth.named[number] == user else []
        for kind in kinds:
            if max(first, covered) <= commit < end and (kind, commit, truth.rows[number]) not in came:
                missing.append((user, kind, number, f"{commit:X}"))
    return newer, missing, contents


# --- who writes, and who listens --------------------------------------------------------------------------------------------


class Worker(threading.Thread):
    def __init__(self, work, *arguments):
        super().__init__(daemon=True)
        self._work, self._arguments, self.error = work, arguments, None
        self.start()

    def run(self):
        try:
            self._work(*self._arguments)
        except Exception as error:  # the test's own thread reports it
            self.error = error

    def finish(self):
        self.join(10 * PATIENCE)
        if self.error:
            raise self.error
        assert not self.is_alive()


def write(app, chance, rows):
    """Half of the changes leave the row where it is, because what moves is void anyway."""
    with contextlib.closing(app.connect()) as connection, connection.cursor() as cursor:
        for _ in range(CHANGES // WRITERS):
            kind = chance.random()
            if kind < 0.1:
                cursor.execute(
                    "INSERT INTO members VALUES (%s, %s) ON CONFLICT DO NOTHING", (chance.choice(USERS), chance.choice(UNITS))
                )
            elif kind < 0.2:
                cursor.execute(
                    "DELETE FROM members WHERE user_id = %s AND unit_id = %s", (chance.choice(USERS), chance.choice(UNITS))
                )
            else:
                change = "reader = %s" if kind < 0.4 else "unit_id = %s" if kind < 0.6 else "seen = %s"
                value = chance.choice(USERS if kind < 0.4 else UNITS)
                cursor.execute(
                    f"UPDATE news SET number = nextval('numbers'), {change} WHERE id = %s", (value, chance.choice(rows))
                )
            time.sleep(chance.expovariate(1 / 0.02))


class Listener:
    """Goes to the next process when its own ends, and names what it heard last."""

    def __init__(self, processes, user):
        self.processes, self.user = processes, user
        self.heard = []
        self.until = None  # a commit
        self.since = None  # when it was passed
        self.worker = Worker(self._listen)

    def _listen(self):
        turn = self.user
        while not self._is_done():
            turn += 1
            process = self.processes[turn % len(self.processes)]
            if process.process.poll() is not None:
                continue
            with contextlib.suppress(Closed, Refused, OSError):
                self._hear(process)

    def _hear(self, process):
        query = ""
        if self.heard:
            epoch = next(m["epoch"] for m in reversed(self.heard) if "epoch" in m)
            query = f"?since={self.heard[-1]['id']}&epoch={epoch}"
        with Client(process.port, PATH + query, token=process.token(self.user)) as client:
            while not self._is_done():
                with contextlib.suppress(TimeoutError):
                    self.heard.append(client.recv(timeout=0.1))

    def _is_done(self):
        """A resync may rest for two seconds."""
        if self.until is None or not self.heard or event_key(self.heard[-1])[0] <= self.until:
            return False
        self.since = self.since or time.monotonic()
        return time.monotonic() - self.since > RESTS


# --- the town ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def chance():
    seed = int(os.environ.get("ANSWERS_SEED") or random.randrange(1 << 32))
    print(f"ANSWERS_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def late(app, cluster, chance):
    """The database's URL, on a way on which all but the replication stream is late."""
    here = threading.local()

    class Late:
        """The thread that reads the server is another one than that which knows the client."""

        def __init__(self):
            self.streams = here.streams

        def __call__(self, data):
            if not self.streams:
                time.sleep(chance.uniform(0, LATEST))
            return data

    def port_for(first):
        here.streams = b"replication" in first
        return cluster.port

    with proxy(port_for, answer=Late) as port:
        yield app.url.replace(f":{cluster.port}/", f":{port}/") + "?sslmode=disable"


def build(app, chance):
    app.sql("CREATE TABLE members (user_id int, unit_id int, PRIMARY KEY (user_id, unit_id))")
    app.sql("CREATE TABLE news (id serial PRIMARY KEY, unit_id int, reader int, number bigint, seen int)")
    app.sql("CREATE SEQUENCE numbers")
    for table in ("members", "news"):
        app.sql(f"ALTER TABLE {table} REPLICA IDENTITY FULL")
        app.sql(f"GRANT SELECT ON {table} TO walpush")
    members = {(user, HOME) for user in USERS} | {(user, unit) for user in USERS for unit in UNITS if chance.random() < 0.6}
    for member in members:
        app.sql("INSERT INTO members VALUES (%s, %s)", *member)
    rows = [
        app.value(
            "INSERT INTO news (unit_id, reader, number) VALUES (%s, %s, nextval('numbers')) RETURNING id",
            chance.choice(UNITS),
            chance.choice(USERS),
        )
        for _ in range(ROWS)
    ]
    app.sql("INSERT INTO news (id, unit_id, reader, number) VALUES (0, %s, 0, 0)", HOME)
    app.sql("SELECT pg_create_logical_replication_slot('truth', 'wal2json')")
    return members, rows


def configure(config):
    for stream in ("requests", "crates", "storage", "notifications"):
        config.remove(f"streams.{stream}")
    for table in ("users", "user_units", "roles"):
        config.remove(f"membership.{table}")
    groups = ["shown_{admit.unit_id}", "told_{admit.unit_id}", "named_{token.user_id}"]
    admit = "SELECT unit_id FROM members WHERE user_id = {token.user_id}"
    config.set("streams.town", section(path=PATH, admit=admit, groups=groups))
    config.set("membership.members", section(user="user_id"))
    query = "SELECT jsonb_build_object('number', number) FROM news WHERE id = {id}"
    config.set("tables.shown", section(**FROM_NEWS, type="shown", groups=["shown_{unit_id}"], **{"data-query": query}))
    lookup = "SELECT reader FROM news WHERE id = {id}"
    config.set("tables.named", section(**FROM_NEWS, type="named", groups=["named_{lookup.reader}"], lookup=lookup, columns=["number"]))
    message = {"type": "told", "id": "{event_id}", "news_id": "{id}", "number": "{lookup.number}"}
    lookup = "SELECT number FROM news WHERE id = {id}"
    told = {"from": "news", "groups": ["told_{unit_id}"], "lookup": lookup, "message": template(message)}
    config.set("tables.told", section(**told))
    patient(config).set("limits.admit-timeout", 300)


def settle(app, listeners):
    """Everybody has heard of a commit behind all others."""
    end = app.value("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
    deadline = time.monotonic() + 10 * PATIENCE
    for listener in listeners:
        listener.until = int(end)
    while any(listener.worker.is_alive() for listener in listeners):
        app.sql("UPDATE news SET number = nextval('numbers') WHERE id = 0")
        assert time.monotonic() < deadline, "somebody has not heard of the end"
        time.sleep(0.2)
    return int(end)


@pytest.mark.parametrize("replicas", [1, 2])
def test_content_is_not_newer_than_its_permission(app, config, make_walpush, late, chance, replicas, capsys):
    members, rows = build(app, chance)
    configure(config)
    with contextlib.ExitStack() as resources:
        resources.callback(lambda: app.sql("SELECT pg_drop_replication_slot('truth')"))
        if replicas > 1:
            config.set("relay", Raw(f'{{ url = "{resources.enter_context(Redis()).url}" }}'))
        processes = [make_walpush(app, config, url=late).start(streaming=n == 0) for n in range(replicas)]
        processes[0].wait_for_log(r'msg="?live"?( |$)')
        listeners = [Listener(processes, user) for user in USERS]
        for listener in listeners:
            while not listener.heard and listener.worker.is_alive():
                time.sleep(0.05)
        writers = [Worker(write, app, random.Random(chance.random()), rows) for _ in range(WRITERS)]
        if replicas > 1:  # with what it has said of a transaction, and has not
            time.sleep(CHANGES / WRITERS * 0.01)
            processes[0].kill()
        for writer in writers:
            writer.finish()
        end = settle(app, listeners)
        for listener in listeners:
            listener.worker.finish()
        truth = Truth(app, members)
    verdicts = [judge(truth, listener.user, listener.heard, end) for listener in listeners]
    newer, missing = [[one for verdict in verdicts for one in verdict[i]] for i in (0, 1)]
    counts = collections.Counter(m["type"].partition(".")[0] for listener in listeners for m in listener.heard)
    contents = sum(verdict[2] for verdict in verdicts)
    with capsys.disabled():
        print(f"\nanswers: {len(truth.commits)} changes, {contents} contents, {counts}: {len(newer)} newer, {len(missing)} missing")
    assert (newer, missing) == ([], [])
    assert contents > CHANGES
