"""The benchmarks. Each yields its rounds: the floor and the thing measured, one behind the other, in the same call."""

import datetime
import subprocess
import time

from lab import BACKLOG_ROWS, PATIENCE, TABLES, UNITS, Bare, Failed, Sidecar
from report import Row, each, paired

from throwaway.config import Raw

PATH = "/ws/requests/1/"
ANY_PATH = "/ws/requests/%/"
LOG_ROOM = {"limits__group_bytes": "32 MiB"}  # what is not asked for here is how soon a slow client reads
MANY = 10_000


class Bench:
    """`rounds(lab)` yields one dictionary of figures a round; `rows(rounds)` makes the table's rows of them."""

    name = what = ""
    n_rounds = 3

    def rounds(self, lab):
        for _ in range(self.n_rounds):
            yield self.round(lab)

    def round(self, lab):
        raise NotImplementedError

    def rows(self, rounds):
        raise NotImplementedError


def payload_of(load_figures):
    return round(load_figures["bytes"] / load_figures["deliveries"])


class Fanout(Bench):
    name = "fanout"
    what = "1,000 subscribers of one group, one message at a time, 50 a second"
    n_rounds = 5
    subscribers, messages, rate = 1000, 150, 50

    def __init__(self):
        self.payload = 625

    def walpush(self, lab, **options):
        with lab.walpush(**LOG_ROOM) as sidecar:
            load = sidecar.subscribe(PATH, self.subscribers, expect=self.messages, latency=True, **options)
            before = sidecar.cpu()
            lab.write(self.messages, self.rate)
            load.received()
            cpu = sidecar.cpu() - before
            return load.result(), cpu

    def bare(self, lab):
        with Bare(lab, self.payload) as bare:
            load = bare.subscribe(self.subscribers, expect=self.messages, latency=True)
            before = bare.cpu()
            bare.send(self.messages, self.rate)
            load.received()
            cpu = bare.cpu() - before
            return load.result(), cpu

    def round(self, lab):
        figures, cpu = self.walpush(lab)
        self.payload = payload_of(figures)
        floor, floor_cpu = self.bare(lab)
        return {
            "walpush deliveries/CPU s": figures["deliveries"] / cpu,
            "bare deliveries/CPU s": floor["deliveries"] / floor_cpu,
            "walpush p99 ms": figures["latency_us"]["p99"] / 1000,
            "bare p99 ms": floor["latency_us"]["p99"] / 1000,
            "payload bytes": self.payload,
        }

    def rows(self, rounds):
        subject, floor = each(rounds, "walpush deliveries/CPU s"), each(rounds, "bare deliveries/CPU s")
        ratio = paired(rounds, "walpush deliveries/CPU s", "bare deliveries/CPU s")
        yield Row(
            self.name, self.what, "deliveries per CPU second ÷ bare epoll + send", subject, floor, ratio, least=0.85
        )


class Backlog(Bench):
    name = "backlog"
    what = "a transaction of 1,000 rows to 1,000 subscribers of one group"
    subscribers, rows_written = 1000, 1000

    def walpush(self, lab):
        with lab.walpush(**LOG_ROOM) as sidecar:
            load = sidecar.subscribe(PATH, self.subscribers, expect=self.rows_written)
            lab.write_in_one(self.rows_written, lab.unit_rows)
            load.received()
            return load.result()

    def round(self, lab):
        figures = self.walpush(lab)
        with Bare(lab, payload_of(figures)) as bare:
            load = bare.subscribe(self.subscribers, expect=self.rows_written)
            bare.send(self.rows_written, 0)
            load.received()
            floor = load.result()
        return {"walpush deliveries/s": figures["per_second"], "bare deliveries/s": floor["per_second"]}

    def rows(self, rounds):
        ratio = paired(rounds, "walpush deliveries/s", "bare deliveries/s")
        subject, floor = each(rounds, "walpush deliveries/s"), each(rounds, "bare deliveries/s")
        yield Row(
            self.name, self.what, "deliveries/s ÷ the bare loop's, one send a message", subject, floor, ratio, least=5
        )


class Groups(Bench):
    name = "groups"
    what = "10,000 subscribers in 1,000 groups, 1,000 changes/s"
    changes, rate = 5000, 1000

    def walpush(self, lab):
        with lab.walpush() as sidecar:
            load = sidecar.subscribe(
                ANY_PATH, MANY, groups=UNITS, expect=self.changes // UNITS, latency=True, inflight=256
            )
            before = sidecar.cpu()
            written = lab.write(self.changes, self.rate, rows=UNITS)
            load.received()
            cpu = sidecar.cpu() - before
            return load.result(), cpu, written

    def round(self, lab):
        figures, cpu, written = self.walpush(lab)
        floor = lab.read(self.changes, self.rate, snapshot=False, rows=UNITS)
        return {
            "walpush p50 ms": figures["latency_us"]["p50"] / 1000,
            "walpush p99 ms": figures["latency_us"]["p99"] / 1000,
            "bare reader p50 ms": floor["latency_us"]["p50"] / 1000,
            "bare reader p99 ms": floor["latency_us"]["p99"] / 1000,
            "walpush CPU %": 100 * cpu / written["seconds"],
            "changes/s": written["written"] / written["seconds"],
        }

    def rows(self, rounds):
        subject, floor = each(rounds, "walpush p99 ms"), each(rounds, "bare reader p99 ms")
        behind = paired(rounds, "walpush p99 ms", "bare reader p99 ms", lambda a, b: a - b)
        yield Row(
            self.name,
            self.what,
            "p99 commit→client, ms behind a bare reader's receipt; no gap",
            subject,
            floor,
            behind,
            most=10,
        )
        cpu = each(rounds, "walpush CPU %")
        yield Row(self.name, self.what, "CPU, % of a core", cpu, None, cpu)


class Latency(Bench):
    name = "latency"
    what = "commit→client at 50 changes/s"
    n_rounds = 4
    changes, rate = 200, 50

    def walpush(self, lab, subscribers, **settings):
        with lab.walpush(**settings) as sidecar:
            load = sidecar.subscribe(PATH, subscribers, expect=self.changes, latency=True)
            lab.write(self.changes, self.rate)
            load.received()
            return load.result()["latency_us"]

    def round(self, lab):
        with lab.durable():
            durable = self.walpush(lab, 100), lab.read(self.changes, self.rate, snapshot=True)["latency_us"]
        volatile = self.walpush(lab, 100), lab.read(self.changes, self.rate, snapshot=True)["latency_us"]
        alone = self.walpush(lab, 1)
        named = {
            "walpush": durable[0],
            "bare reader": durable[1],
            "walpush, fsync off": volatile[0],
            "bare reader, fsync off": volatile[1],
            "walpush, fsync off, one subscriber": alone,
        }
        return {f"{name} {p} ms": us[p] / 1000 for name, us in named.items() for p in ("p50", "p99")}

    def row(self, rounds, what, subject, floor, **target):
        measure = "p50 ÷ a bare reader's that sees it in a snapshot"
        ratio = paired(rounds, f"{subject} p50 ms", f"{floor} p50 ms")
        yield Row(
            self.name,
            what,
            measure,
            each(rounds, f"{subject} p50 ms"),
            each(rounds, f"{floor} p50 ms"),
            ratio,
            most=target.get("p50"),
        )
        behind = paired(rounds, f"{subject} p99 ms", f"{floor} p99 ms", lambda a, b: a - b)
        measure = "p99, ms behind that reader's"
        yield Row(
            self.name,
            what,
            measure,
            each(rounds, f"{subject} p99 ms"),
            each(rounds, f"{floor} p99 ms"),
            behind,
            most=target.get("p99"),
        )

    def rows(self, rounds):
        hundred = f"{self.what}, 100 subscribers"
        yield from self.row(rounds, hundred, "walpush", "bare reader", p50=1.3, p99=5)
        yield from self.row(rounds, f"{hundred}; fsync off", "walpush, fsync off", "bare reader, fsync off")
        alone = f"{self.what}, one subscriber; fsync off"
        yield from self.row(rounds, alone, "walpush, fsync off, one subscriber", "bare reader, fsync off")


class Relay(Latency):
    name = "relay"
    what = "commit→client at 100 subscribers, 50 changes/s, through a Redis stream and without"

    def round(self, lab):
        from harness.redis import Redis  # python3-redis is there after `make bench-deps`

        with Redis(persistent=False) as redis:
            through = self.walpush(lab, 100, relay=Raw(f'{{ url = "{redis.url}" }}'))
        without = self.walpush(lab, 100)
        return {
            "with relay p50 ms": through["p50"] / 1000,
            "with relay p99 ms": through["p99"] / 1000,
            "without p50 ms": without["p50"] / 1000,
            "without p99 ms": without["p99"] / 1000,
        }

    def rows(self, rounds):
        subject, floor = each(rounds, "with relay p50 ms"), each(rounds, "without p50 ms")
        ratio = paired(rounds, "with relay p50 ms", "without p50 ms")
        yield Row(self.name, self.what, "p50 ÷ the same without", subject, floor, ratio, most=2)


class Decode(Bench):
    name = "decode"
    what = "200,000 updates of requests, 100 a transaction, waiting in the slot"
    updates = 200_000

    @staticmethod
    def define(lab, updates):
        lab.app.sql(f"""CREATE OR REPLACE PROCEDURE bench_backlog() LANGUAGE plpgsql AS $$ DECLARE first int; BEGIN
                FOR i IN 0..{updates // 100 - 1} LOOP
                    first := {lab.backlog_rows} + i * 100 % {BACKLOG_ROWS};
                    UPDATE requests SET purpose = 'withdrawn for the audit, round ' || i, updated_at = clock_timestamp()
                        WHERE id BETWEEN first AND first + 99;
                    COMMIT;
                END LOOP; END $$""")

    def write(self, lab):
        self.define(lab, self.updates)
        lab.app.sql("CALL bench_backlog()")
        return lab.app.value("SELECT pg_current_wal_flush_lsn()::text")

    OPTIONS = {
        "wal2json": {
            "format-version": "2",
            "include-types": "false",
            "include-type-oids": "true",
            "include-lsn": "true",
            "include-timestamp": "true",
            "include-xids": "true",
            "add-msg-prefixes": "walpush",
            "add-tables": TABLES,
        },
        "pgoutput": {"proto_version": "1", "publication_names": "bench"},
    }

    def floor(self, lab, slot, end, plugin="wal2json", file="/dev/null"):
        """pg_recvlogical, from "streaming initiated" to its end."""
        command = [str(lab.cluster.bin / "pg_recvlogical"), "-d", lab.app.url, "-S", slot, "--start", "-f", str(file)]
        command += ["-v", "--no-loop", "--endpos", end]
        for name, value in self.OPTIONS[plugin].items():
            command += ["-o", f"{name}={value}"]
        process = lab.spawn(command, stderr=subprocess.PIPE, text=True)
        start = None
        for line in process.stderr:
            if "streaming initiated" in line:
                start = time.monotonic()
        if process.wait(PATIENCE) != 0 or start is None:
            raise Failed("pg_recvlogical failed")
        return self.updates / (time.monotonic() - start)

    def walpush(self, lab, slot, **settings):
        """From "streaming" to "live": when all that was committed before the start is published."""
        with Sidecar(lab, slot, **settings) as sidecar:
            cpu = sidecar.cpu()
            took = log_time(sidecar.wait_for("live")) - log_time(sidecar.wait_for("streaming"))
        return self.updates / took.total_seconds(), cpu

    def rounds(self, lab):
        plain = {"tables__requests__groups": ["requests_unit_{unit_id}"]}
        with lab.fresh_slot() as origin:
            end = self.write(lab)
            for _ in range(self.n_rounds):
                figures = {}
                with lab.fresh_slot(origin) as slot:
                    figures["walpush rows/s"], figures["walpush CPU s"] = self.walpush(lab, slot)
                with lab.fresh_slot(origin) as slot:
                    figures["pg_recvlogical rows/s"] = self.floor(lab, slot, end)
                with lab.fresh_slot(origin) as slot:
                    figures["walpush rows/s, no lookup"], _ = self.walpush(lab, slot, **plain)
                yield figures

    def rows(self, rounds):
        floor = each(rounds, "pg_recvlogical rows/s")
        for key, say in (("walpush rows/s", "with its lookup"), ("walpush rows/s, no lookup", "without a lookup")):
            ratio = paired(rounds, key, "pg_recvlogical rows/s")
            yield Row(
                self.name,
                f"{self.what}; {say}",
                "rows/s ÷ pg_recvlogical to /dev/null",
                each(rounds, key),
                floor,
                ratio,
                least=0.8,
            )


class Plugins(Decode):
    """The floor is the same program with the other plugin. Bytes are what pg_recvlogical writes, without the frames of the replication protocol."""

    name = "plugins"
    what = "200,000 updates of requests, 100 a transaction, waiting in the slot, without a lookup: pgoutput ÷ wal2json"

    def rounds(self, lab):
        plain = {"tables__requests__groups": ["requests_unit_{unit_id}"], "database__publication": "bench"}
        lab.app.sql("DROP PUBLICATION IF EXISTS bench")
        lab.app.sql(f"CREATE PUBLICATION bench FOR TABLE {TABLES}, user_units, roles, users, units")
        with lab.fresh_slot() as origin:
            end = self.write(lab)
            for turn in range(self.n_rounds):
                figures = {}
                for plugin in ("wal2json", "pgoutput") if turn % 2 else ("pgoutput", "wal2json"):
                    with lab.fresh_slot(origin, plugin) as slot:
                        rate, cpu = self.walpush(lab, slot, **plain)
                    file = lab.directory / plugin
                    file.unlink(missing_ok=True)  # pg_recvlogical appends
                    with lab.fresh_slot(origin, plugin) as slot:
                        self.floor(lab, slot, end, plugin, file)
                    figures[f"{plugin} rows/s"] = rate
                    figures[f"{plugin} CPU s"] = cpu
                    figures[f"{plugin} bytes a row"] = file.stat().st_size / self.updates
                yield figures

    def rows(self, rounds):
        for measure, bound in (("rows/s", {"least": 1.7}), ("bytes a row", {"most": 0.3}), ("CPU s", {"most": 1})):
            ours, floor = f"pgoutput {measure}", f"wal2json {measure}"
            ratio = paired(rounds, ours, floor)
            yield Row(self.name, self.what, measure, each(rounds, ours), each(rounds, floor), ratio, **bound)


QUERY = "SELECT jsonb_build_object('purpose', purpose, 'was', {purpose}::text) FROM requests WHERE id = {id}"
PLAIN = {"tables__requests__groups": ["requests_unit_{unit_id}"]}


class Query(Latency):
    name = "query"
    what = "commit→client at 100 subscribers, 50 changes/s, with a data query and without"

    def round(self, lab):
        asked, plain = self.walpush(lab, 100, tables__requests__data_query=QUERY, **PLAIN), self.walpush(lab, 100, **PLAIN)
        return {f"{name} {p} ms": us[p] / 1000 for name, us in (("asked", asked), ("plain", plain)) for p in ("p50", "p99")}

    def rows(self, rounds):
        for p in ("p50", "p99"):
            behind = paired(rounds, f"asked {p} ms", f"plain {p} ms", lambda a, b: a - b)
            subject, floor = each(rounds, f"asked {p} ms"), each(rounds, f"plain {p} ms")
            yield Row(self.name, self.what, f"{p}, ms behind the same without", subject, floor, behind)


class Burst(Bench):
    name = "burst"
    what = "200,000 updates with as many data queries, 100 a transaction, committed while it streams"
    n_rounds = 2
    updates = 200_000
    room = {"limits__group_bytes": "512 MiB", "limits__log_bytes": "1 GiB", "limits__stall": 300}

    def walpush(self, lab, **settings):
        """Seconds from the first commit until all is with the client, and how many rows are told without their query's answer."""
        with lab.walpush(**self.room, **settings) as sidecar:
            load = sidecar.subscribe("/ws/requests/2/", 1, expect=self.updates)
            start = time.monotonic()
            writing = lab.call("bench_backlog")
            load.received()
            took = time.monotonic() - start
            writing.join()
            load.result()
            return took, sidecar.metric("walpush_answers_void_total") + sidecar.metric("walpush_lookups_left_out_total")

    def rounds(self, lab):
        Decode.define(lab, self.updates)
        for _ in range(self.n_rounds):
            asked, fell_back = self.walpush(lab, tables__requests__data_query=QUERY, **PLAIN)
            plain, _ = self.walpush(lab, **PLAIN)
            yield {"asked s": asked, "plain s": plain, "fell back": fell_back}

    def rows(self, rounds):
        ratio = paired(rounds, "asked s", "plain s")
        subject, floor = each(rounds, "asked s"), each(rounds, "plain s")
        yield Row(self.name, self.what, "seconds ÷ the same without queries", subject, floor, ratio, most=3)
        fell_back = each(rounds, "fell back")
        yield Row(self.name, self.what, "rows told without the answer", fell_back, None, fell_back)


def log_time(line):
    return datetime.datetime.strptime(line.split(" ", 1)[0], "time=%Y-%m-%dT%H:%M:%S.%fZ")


class Connections(Bench):
    name = "connections"
    what = "10,000 connections, token verified, admitted, idle"
    idle = 26  # seconds: every connection is pinged once in 25

    def round(self, lab):
        with lab.walpush() as sidecar:
            sidecar.subscribe(PATH, 100).stop()  # what is allocated once
            rss = sidecar.rss()
            load = sidecar.subscribe(ANY_PATH, MANY, groups=UNITS, inflight=256)
            time.sleep(1)
            rss = sidecar.rss() - rss
            before, start = sidecar.cpu(), time.monotonic()
            time.sleep(self.idle)
            cpu = (sidecar.cpu() - before) / (time.monotonic() - start)
            figures = load.stop()
        return {
            "admissions/s": MANY / figures["connect_seconds"],
            "RSS bytes a connection": rss / MANY,
            "idle CPU %": 100 * cpu,
        }

    def rows(self, rounds):
        rss, rate, cpu = (each(rounds, key) for key in ("RSS bytes a connection", "admissions/s", "idle CPU %"))
        yield Row(self.name, self.what, "resident bytes a connection", rss, None, rss, most=4096)
        yield Row(self.name, self.what, "admissions/s", rate, None, rate, least=3000)
        yield Row(self.name, self.what, "CPU while idle, pings and all, % of a core", cpu, None, cpu, most=1)


class Users(Bench):
    name = "users"
    what = "10,000 connections of 2,000 users in 1,000 units"

    def round(self, lab):
        with lab.walpush() as sidecar:
            load = sidecar.subscribe(ANY_PATH, MANY, groups=UNITS, inflight=256, tokens=lab.tokens_of_users())
            return {"admissions/s": MANY / load.stop()["connect_seconds"]}

    def rows(self, rounds):
        rate = each(rounds, "admissions/s")
        yield Row(self.name, self.what, "admissions/s", rate, None, rate)


class Storm(Bench):
    name = "storm"
    what = "10,000 connections hang up and come back with `since`, twice, during 100 changes/s"
    n_rounds = 1
    changes, rate = 1000, 100

    def round(self, lab):
        with lab.walpush(**LOG_ROOM) as sidecar:
            load = sidecar.subscribe(ANY_PATH, MANY, groups=UNITS, storms=2, expect=self.changes // UNITS, inflight=256)
            lab.write(self.changes, self.rate, rows=UNITS)
            load.connected()
            load.connected()
            load.received()
            seconds = load.result()["storm_seconds"]
        return {"first storm s": seconds[0], "second storm s": seconds[1]}

    def rows(self, rounds):
        seconds = each(rounds, "first storm s") + each(rounds, "second storm s")
        yield Row(
            self.name,
            self.what,
            "seconds until all are back, each resumed, nothing lost or twice",
            seconds,
            None,
            seconds,
        )


ALL = [Fanout, Latency, Relay, Query, Groups, Backlog, Decode, Plugins, Burst, Connections, Users, Storm]
