"""wal2json and pgoutput: the same changes give the same messages, ids and order, byte for byte.

Two processes read one database, each through a slot of its own plugin. What happens is drawn from a seed, which is printed; PLUGINS_SEED=n does the
same again, PLUGINS_CHANGES=n that many changes (`make plugins`: 200,000). What may differ is in docs/protocol.md: generated columns.
"""

import json
import os
import random

import pytest

from harness.app import ASHA, BOB
from harness.client import SLOWDOWN, Listener
from harness.load import LONG
from test_types import TYPES
from throwaway.config import Config, Raw, section, template

UNIT_1, UNIT_2 = "/ws/requests/1/", "/ws/requests/2/"
CHANGES = int(os.environ.get("PLUGINS_CHANGES") or 10000)
MIB = 1 << 20

# The types of the documented table, each once; those that need an extension or a type of its own are made below.
VALUES = [value for _, value, _ in TYPES if not value.startswith("NULL")]
TEXTS = ["''", "'x'", "E'a \"quote\", a\\\\nline, ä 😀'", "repeat('large ', 2000)", "NULL", "E'\\\\x01\\\\x1f'", "'\\u2028'"]


class Workload:
    """Statements, some in transactions, some of them rolled back in part. Counts the rows that are left."""

    def __init__(self, app, seed):
        self.app, self.draw = app, random.Random(seed)
        self.changes, self.next_id, self.added = 0, 0, 0
        self.tenants = []

    def make_tables(self):
        self.app.sql("CREATE EXTENSION hstore")
        self.app.sql("CREATE TYPE mood AS ENUM ('happy'); CREATE DOMAIN positive AS integer CHECK (VALUE > 0)")
        columns = ", ".join(f"{value} AS c{i}" for i, value in enumerate(VALUES))
        self.app.sql(f"CREATE TABLE samples AS SELECT 0 AS id, {columns} LIMIT 0; ALTER TABLE samples ADD PRIMARY KEY (id), REPLICA IDENTITY FULL")
        for table, identity in (("whole", "FULL"), ("keyed", "DEFAULT")):
            self.app.sql(f"CREATE TABLE {table} (id int, unit int, note text, big text, n numeric, PRIMARY KEY (id, unit))")
            self.app.sql(f"ALTER TABLE {table} REPLICA IDENTITY {identity}; ALTER TABLE {table} ALTER big SET STORAGE EXTERNAL")
        self.app.sql("CREATE TABLE kid (extra int) INHERITS (whole); ALTER TABLE kid REPLICA IDENTITY FULL")
        self.app.sql("CREATE TABLE parted (id int, unit int, shelf int, note text, PRIMARY KEY (id, unit)) PARTITION BY LIST (unit)")
        for unit in (1, 2):
            self.app.sql(f"CREATE TABLE parted_{unit} PARTITION OF parted FOR VALUES IN ({unit}); ALTER TABLE parted_{unit} REPLICA IDENTITY FULL")
        self.app.sql('CREATE TABLE "Odd ""name" ("Id" int PRIMARY KEY, "größe {x}" text, doc jsonb)')

        for tenant in ("tenant_1", 'tenant "Ä.x'):
            self.make_tenant(tenant)

    def make_tenant(self, name):
        """With a row, and its table perhaps in another order."""
        columns = self.draw.choice(["id int PRIMARY KEY, unit int, note text, more int", "note text, unit int, id int PRIMARY KEY"])
        schema = '"' + name.replace('"', '""') + '"'
        with self.app.transaction() as cursor:
            cursor.execute(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.things ({columns}); ALTER TABLE {schema}.things REPLICA IDENTITY FULL")
            cursor.execute(f"INSERT INTO {schema}.things (id, unit) VALUES ({self.new()}, 1)")
        self.tenants.append(schema)

    def of_tenant(self):
        draw, table = self.draw, f"{self.draw.choice(self.tenants)}.things"
        return draw.choice([
            f"INSERT INTO {table} (id, unit, note) VALUES ({self.new()}, {draw.randint(1, 2)}, {self.text()})",
            f"UPDATE {table} SET unit = 3 - unit WHERE id > {self.next_id - 500}",
            f"UPDATE {table} SET note = {self.text()} WHERE id > {self.next_id - 300}",
            f"DELETE FROM {table} WHERE id % 3 = 0",
            f"TRUNCATE {table}",
        ])  # fmt: skip

    def text(self):
        return self.draw.choice(TEXTS)

    def new(self):
        self.next_id += 1
        return self.next_id

    def some(self):
        return self.draw.randint(1, max(self.next_id, 1))

    def statement(self):
        draw, kind = self.draw, self.draw.random()
        if draw.random() < 0.1:
            return self.of_tenant()
        table = draw.choice(["whole", "keyed"])
        if kind < 0.25:
            return f"INSERT INTO {table} (id, unit, note, big, n) VALUES ({self.new()}, {draw.randint(1, 2)}, {self.text()}, {self.text()}, {draw.randint(-9, 9)}.50)"
        if kind < 0.29:
            return f"INSERT INTO kid (id, unit, note, extra) VALUES ({self.new()}, {draw.randint(1, 2)}, {self.text()}, 7)"
        if kind < 0.35:
            return f"INSERT INTO parted VALUES ({self.new()}, {draw.randint(1, 2)}, {draw.randint(1, 2)}, {self.text()})"
        if kind < 0.45:
            values = ", ".join(value if draw.random() < 0.8 else "NULL" for value in VALUES)
            return f"INSERT INTO samples SELECT {self.new()}, {values}"
        if kind < 0.50:
            return f'INSERT INTO "Odd ""name" VALUES ({self.new()}, {self.text()}, \'{{"a": [1, 2.50, null]}}\')'
        if kind < 0.65:
            column = draw.choice(["note", "big"])
            return f"UPDATE {table} SET {column} = {self.text()} WHERE id BETWEEN {self.some()} AND {self.some()} AND id % 7 = 0"
        if kind < 0.70:
            return f"UPDATE {table} SET n = n + 1 WHERE id = {self.some()}"
        if kind < 0.76:
            return f"UPDATE {table} SET unit = 3 - unit WHERE id = {self.some()}"  # to others, and another key
        if kind < 0.78:
            return f"UPDATE parted SET shelf = 3 - shelf WHERE id = {self.some()}"  # which the root's key does not hold
        if kind < 0.80:
            return f"UPDATE parted SET unit = 3 - unit, note = {self.text()} WHERE id % 11 = {draw.randint(0, 10)} AND id > {self.next_id - 200}"
        if kind < 0.84:
            return f"UPDATE samples SET c0 = NULL, c{draw.randrange(1, len(VALUES))} = DEFAULT WHERE id > {self.next_id - 40}"
        if kind < 0.87:
            return f"UPDATE {table} SET id = -id WHERE id = {self.some()} AND NOT EXISTS (SELECT FROM {table} AS o WHERE o.id = -{table}.id)"
        if kind < 0.97:
            return f"DELETE FROM {draw.choice([table, 'parted', 'samples'])} WHERE id = {self.some()}"
        if kind < 0.995:
            return f"UPDATE whole SET n = n WHERE unit = {draw.randint(1, 2)} AND id > {self.next_id - 100}"
        return f"TRUNCATE {draw.choice(['whole, keyed', 'samples', 'parted', 'keyed'])}"

    def transaction(self):
        with self.app.transaction() as cursor:
            for _ in range(self.draw.choice([1, 1, 2, 5, 40])):
                inside = self.draw.random() < 0.2
                if inside:
                    cursor.execute("SAVEPOINT here")
                cursor.execute(self.statement())
                self.changes += max(cursor.rowcount, 0)
                if inside:
                    cursor.execute("ROLLBACK TO here" if self.draw.random() < 0.5 else "RELEASE here")

    def change_table(self):
        """Nobody is behind when it comes, so both read the same catalog for what follows."""
        self.added += 1
        if self.draw.random() < 0.3:
            self.make_tenant(f"tenant_new_{self.added}")
            return
        self.app.sql(
            self.draw.choice(
                [
                    f"ALTER TABLE whole ADD COLUMN added_{self.added} int DEFAULT 5",
                    f"ALTER TABLE keyed ADD COLUMN added_{self.added} text",
                    "ALTER TABLE whole ALTER n TYPE numeric(20, 2)",
                    "ALTER TABLE samples ALTER c0 TYPE numeric",
                    f"ALTER TABLE {self.draw.choice(self.tenants)}.things ADD COLUMN added_{self.added} int DEFAULT 5",
                    f"ALTER TABLE whole RENAME COLUMN note TO note_{self.added}; ALTER TABLE whole RENAME COLUMN note_{self.added} TO note",
                    "ALTER TABLE keyed DROP COLUMN n; ALTER TABLE keyed ADD COLUMN n numeric DEFAULT 1",
                    "ALTER TABLE parted DETACH PARTITION parted_2; ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES IN (2)",
                ]
            )
        )


def configure(text, slot):
    config = Config(text).set("database.slot", slot)
    for table in ("whole", "keyed"):
        config.set(f"tables.{table}", Raw(f'{{ type = "{table}" key = "key" groups = [ "k_{{unit}}" ] }}'))
    config.set("tables.parted", Raw('{ type = "parted" key = "key" groups = [ "k_{shelf}" ] }'))
    config.set("tables.things", Raw('{ from = "tenant*.things" type = "thing" key = "key" groups = [ "k_{unit}" ] }'))
    of_schema = {"of": "{schema}", "id": "{event_id}", "row": "{id}", "note": "{note}", "op": "{op}"}
    config.set("tables.told", section(**{"from": "tenant*.things"}, groups=["everything"], message=template(of_schema)))
    config.set("tables.samples", Raw('{ type = "sample" key = "key" groups = [ "everything" ] }'))
    config.set("tables.odd", Raw(r'{ from = "Odd \"name" type = "odd" key = "key" groups = [ "everything" ] }'))
    config.set("streams.requests.groups", ["everything", "k_{path.unit_id}", "requests_unit_{path.unit_id}"])
    config.set("data.timezone", "Asia/Kolkata")
    return config.set("limits.group-bytes", 256 * MIB).set("limits.log-bytes", 512 * MIB).set("limits.bulk", 300)


class Pair:
    """A process for each plugin, and the same clients at both."""

    def __init__(self, app, configured, make_walpush, publish=None):
        """`configured` makes the configuration for a slot, `publish` its publication, or else it is of all tables."""
        self.app = app
        self.processes, self.listeners = [], []
        app.drop_slot()
        for plugin in ("wal2json", "pgoutput"):
            if plugin == "pgoutput":
                app.slot += "_pg"
                if publish:
                    publish()
            app.create_slot(plugin)
            self.processes.append(make_walpush(app, configured(app.slot)).start())
        for process in self.processes:
            clients = [process.subscribe(path, user) for path, user in ((UNIT_1, ASHA), (UNIT_2, BOB))]
            self.listeners.append([Listener(client) for client in clients])

    def catch_up(self, mark):
        for request, at in ((self.app.request, 0), (self.app.request2, 1)):
            self.app.touch(request, mark)
            for listeners in self.listeners:
                listeners[at].wait_until(lambda heard: any(mark in m.raw for m in heard[-3:]), timeout=LONG * SLOWDOWN)

    def count(self, what):
        """In the messages of wal2json."""
        return sum(what in m.raw for listener in self.listeners[0] for m in listener.messages)

    def compare(self):
        (json_1, json_2), (pg_1, pg_2) = ([list(listener.messages) for listener in listeners] for listeners in self.listeners)
        for one, other in ((json_1, pg_1), (json_2, pg_2)):
            for at, (ours, theirs) in enumerate(zip(one, other)):
                assert ours.raw == theirs.raw, f"message {at}; before it came\n" + "\n".join(m.raw[:300] for m in one[max(at - 5, 0) : at])
            assert len(one) == len(other)
        return len(json_1) + len(json_2)


@pytest.fixture
def seed():
    seed = int(os.environ.get("PLUGINS_SEED") or random.randrange(1 << 32))
    print(f"PLUGINS_SEED={seed}")
    return seed


def test_both_plugins_give_the_same_messages(app, config, make_walpush, seed, capsys):
    if not all(app.can_have(plugin) for plugin in ("wal2json", "pgoutput")):
        pytest.skip("this server lacks one of the two")
    work = Workload(app, seed)
    work.make_tables()
    pair = Pair(app, lambda slot: configure(config.text, slot), make_walpush)
    rounds = 0
    while work.changes < CHANGES:
        before = work.changes
        while work.changes < before + 1000 and work.changes < CHANGES:
            work.transaction()
        rounds += 1
        pair.catch_up(f"round {rounds}")
        work.change_table()
        pair.catch_up(f"altered {rounds}")
        if CHANGES > 10000:
            with capsys.disabled():
                print(f"\r{work.changes} of {CHANGES} changes", end="", flush=True)
    told = pair.compare()
    assert pair.count('"of":"tenant_1"') and pair.count('"of":"tenant_new_') + (CHANGES < 10000)
    with capsys.disabled():
        print(f"\nplugins: seed {seed}: {work.changes} changes, {work.added} tables altered, {told} messages, the same of both plugins")
