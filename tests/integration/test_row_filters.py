"""A publication with the row filters of `walpush sql --row-filters`: the messages are those of wal2json, which sends all rows, byte for byte.

What happens is drawn from a seed, which is printed; PLUGINS_SEED=n does the same again.
"""

import random

import pytest

from harness.walpush import run_to_end
from test_plugins import MIB, Pair, seed  # noqa: F401
from throwaway.config import Config, Raw

TRANSACTIONS = 1500
ACTIVE = '{ column = "status"  equals = "Active" }'
FLAGGED = '{ column = "flag"  equals = true }, { column = "unit"  equals = 1 }'
SECTION = '{{ from = "{table}"  type = "{name}"  key = "key"  groups = [ "k_{{unit}}" ]  when = ( {when} ) }}'
FILTERS = """SELECT prrelid::regclass::text, pg_get_expr(prqual, prrelid) FROM pg_publication_rel WHERE prqual IS NOT NULL
             ORDER BY prrelid::regclass::text COLLATE "C" """


def configure(text, slot):
    config = Config(text).set("database.slot", slot)
    for name, table, when in (("active", "goods", ACTIVE), ("flagged", "goods", FLAGGED), ("keyed", "keyed", ACTIVE)):
        config.set(f"tables.{name}", Raw(SECTION.format(name=name, table=table, when=when)))
    config.set("streams.requests.groups", ["k_{path.unit_id}", "requests_unit_{path.unit_id}"])
    return config.set("limits.group-bytes", 256 * MIB).set("limits.log-bytes", 512 * MIB).set("limits.bulk", 300)


class Workload:
    def __init__(self, app, seed):
        self.app, self.draw, self.next_id = app, random.Random(seed), 0

    def make_tables(self):
        columns = "(id int PRIMARY KEY, unit int, status varchar(20), flag bool, note text, big text)"
        for table in ("goods", "keyed"):
            self.app.sql(f"CREATE TABLE {table} {columns}; ALTER TABLE {table} ALTER big SET STORAGE EXTERNAL")
        self.app.sql("CREATE TABLE kid (extra int) INHERITS (goods); ALTER TABLE kid ADD PRIMARY KEY (id)")

    def some(self):
        return self.draw.randint(1, max(self.next_id, 1))

    def value(self, column):
        if column == "big":
            return "repeat(md5(random()::text), 200)"
        return self.draw.choice({"status": ["'Active'", "'Active'", "'Gone'", "' Active'", "NULL"], "flag": ["true", "false", "NULL"],
                                 "unit": ["1", "2"], "note": ["'a'", "'b'"], "id": [f"-id - {self.next_id * 10}"]}[column])  # fmt: skip

    def statement(self):
        table = self.draw.choice(["goods", "goods", "goods", "keyed"])
        kind = self.draw.random()
        if kind < 0.35:
            self.next_id += 1
            into = table if kind > 0.05 else "kid"
            values = ", ".join(self.value(column) for column in ("unit", "status", "flag", "note", "big"))
            return f"INSERT INTO {into} (id, unit, status, flag, note, big) VALUES ({self.next_id}, {values})"
        if kind < 0.85:
            changed = self.draw.sample(["status", "flag", "unit", "note", "big"], self.draw.randint(1, 3))
            where = f"id = {self.some()}" if kind < 0.8 else f"id % 9 = {self.draw.randint(0, 8)} AND id > {self.next_id - 100}"
            return f"UPDATE {table} SET " + ", ".join(f"{column} = {self.value(column)}" for column in changed) + f" WHERE {where}"
        if kind < 0.90:
            return f"UPDATE {table} SET id = {self.value('id')} WHERE id = {self.some()}"
        if kind < 0.995:
            return f"DELETE FROM {table} WHERE id = {self.some()}"
        return f"TRUNCATE {table}"

    def transaction(self):
        with self.app.transaction() as cursor:
            for _ in range(self.draw.choice([1, 1, 3, 20])):
                cursor.execute(self.statement())


def test_rows_that_no_section_counts_are_not_missed(app, config, cluster, make_walpush, seed, tmp_path, capsys):  # noqa: F811
    if not app.can_have("wal2json") or app.value("SELECT current_setting('server_version_num')::int") < 150000:
        pytest.skip("row filters came with PostgreSQL 15, and wal2json is compared")
    work = Workload(app, seed)
    work.make_tables()

    def publish():
        env = make_walpush(app, configure(config.text, app.slot)).env
        script = tmp_path / "setup.sql"
        done = run_to_end("sql", "-c", configure(config.text, app.slot).write(tmp_path / "sql.conf"), "--plugin", "pgoutput", "--row-filters", env=env)
        assert done.returncode == 0, done.stderr
        script.write_text(done.stdout)
        cluster.psql(script, {"password": cluster.passwords["walpush"], "slot": "", "publication": app.slot}, dbname=app.name)

    pair = Pair(app, lambda slot: configure(config.text, slot), make_walpush, publish)
    assert app.sql(FILTERS) == [
        ("goods", "(((flag = true) AND (unit = 1)) OR ((status)::text = 'Active'::text))"),
        ("keyed", "((status)::text = 'Active'::text)"),
    ]
    for number in range(TRANSACTIONS):
        work.transaction()
        if number % 250 == 249:
            pair.catch_up(f"round {number}")
    pair.catch_up("the end")
    told = pair.compare()
    assert min(pair.count(f'"type":"{name}.{op}"') for name in ("active", "flagged", "keyed") for op in ("created", "updated", "deleted")) > 20
    with capsys.disabled():
        print(f"\nrow filters: seed {seed}: {told} messages, the same of both plugins")
