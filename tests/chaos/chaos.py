#!/usr/bin/python3
"""Chaos: writers write, clients come and go, everything breaks; and every client hears every change once, in order.

    make chaos SECONDS=600 SEED=7

What is promised, checker.py says in full. The seed drives every random choice: what is written, who misbehaves and how,
what breaks next. It does not drive the timing of threads and processes, so a seed repeats a run's character and not its
course; a run that finds something keeps its logs and histories, and they are what to look at.
"""

import argparse
import collections
import contextlib
import pathlib
import random
import shutil
import sys
import time

import psycopg2

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from checker import Gone, Hello, Id, Resync, Seen, Truth, Violation, check  # noqa: E402
from clients import Subscriber  # noqa: E402
from faults import Faults  # noqa: E402
from fleet import Fleet  # noqa: E402
from poison import poisoned  # noqa: E402
from sidecar import LIMITS, LONG, Sidecar  # noqa: E402
from world import World  # noqa: E402
from writers import Stranger, Writer  # noqa: E402

from harness.app import fresh_app  # noqa: E402
from harness.walpush import ROOT  # noqa: E402
from throwaway.cluster import Cluster, ClusterError  # noqa: E402

WRITERS = 4
PAUSE = 0.03  # mean seconds between a writer's transactions
PROGRESS = 5  # seconds between two lines
KINDS = ("lost", "duplicated", "out of order", "leaked", "uncommitted", "miscounted", "renumbered", "broken resume", "unfounded")
# A poison transaction holds the stream up for a minute: a run of this length has room for some, and is to have at least one.
ROOM_FOR_POISON = 240


class Run:
    def __init__(self, app, url, seconds, seed, directory, say, faults=True, replicas=1):
        self.seconds, self.seed, self.directory, self.say = seconds, seed, directory, say
        self.violations = []
        self.end = None
        self.world = World(app)
        self.sidecar = Sidecar(app, directory, url) if replicas == 1 else Fleet(app, directory, url, replicas, seed)
        self.clients = [
            Subscriber(f"client-{i:02}", place, self.sidecar, seed) for i, place in enumerate(self.world.audience())
        ]
        self.writers = [Writer(self.world, f"writer-{i}", seed, PAUSE, LIMITS) for i in range(WRITERS)]
        self.writers.append(Stranger(self.world, "stranger", seed, 5 * PAUSE))
        self.poisons = faults and seconds >= ROOM_FOR_POISON
        self.faults = Faults(self.world, self.sidecar, self.clients, seed, self.complain, self.poisons) if faults else None

    def complain(self, what, client="-"):
        self.violations.append(Violation("complaint", client, what))

    # --- the course of it --------------------------------------------------------------------------------------

    def go(self):
        self.sidecar.start(streaming=True)
        try:
            threads = [*self.clients, *self.writers] + ([self.faults] if self.faults else [])
            for thread in threads:
                thread.start()
            self._watch(self.seconds)
            self._settle()
        except (ClusterError, psycopg2.Error, AssertionError) as error:  # the report is wanted all the same
            self.complain(f"{type(error).__name__}: {error}")
        finally:
            self.sidecar.end()
        self._check()

    def _watch(self, seconds):
        start = time.monotonic()
        while (gone := time.monotonic() - start) < seconds and not self.violations:
            time.sleep(min(PROGRESS, seconds - gone))
            self.say(f"{time.monotonic() - start:4.0f} s  {self._progress()}")

    def _progress(self):
        committed = sum(writer.counts["committed"] for writer in self.writers)
        heard = sum(len(client.history) for client in self.clients)
        faults = sum(self.faults.counts.values()) if self.faults else 0
        now = f", now {self.faults.now}" if self.faults and self.faults.now else ""
        return f"{committed} transactions, {heard} messages, {faults} faults{now}"

    def _settle(self):
        """No more faults, no more writing, and everybody listens until the last marker."""
        if self.faults:
            self.faults.stopping.set()
            self.faults.join(LONG)
            if self.faults.is_alive():
                self.complain(f"fault {self.faults.now} does not end")
        for writer in self.writers:
            writer.stopping.set()
        for writer in self.writers:
            writer.join(LONG)
            if writer.error:
                self.complain(f"{writer.name}: {writer.error}")
        if not self.world.app.cluster.running:
            self.world.app.cluster.start()
        self.sidecar.wait_for_streaming()
        self.end = self.world.write_markers()
        self.world.write_markers()  # whoever hears of these has heard all that was before
        for client in self.clients:
            client.goal = self.end
        deadline = time.monotonic() + LONG
        for client in self.clients:
            client.reached.wait(max(0, deadline - time.monotonic()))
            if not client.reached.is_set():
                self.complain(f"stands at {client.last}, the end is {Id(self.end, 0)}", client.name)
            client.reached.set()
            client.join(LONG)

    # --- the verdict -------------------------------------------------------------------------------------------

    def _check(self):
        self.truth = Truth(*self.world.notices(), self.end, replicas=self.sidecar.redis is not None)
        self.passed = len(self.sidecar.passed_over())
        if self.poisons and not self.passed and not self.violations:
            self.complain("no transaction was passed over")
        for client in self.clients:
            for what in client.complaints:
                self.complain(what, client.name)
        self.verdict = check([(c.name, c.groups, c.history) for c in self.clients], self.truth)
        self.violations += self.verdict.violations

    def report(self):
        events = collections.Counter(type(e).__name__ for c in self.clients for e in c.history)
        self.resumes = sum(e.resumed for c in self.clients for e in c.history if isinstance(e, Hello))
        reasons = collections.Counter(e.reason for c in self.clients for e in c.history if isinstance(e, Resync))
        closes = collections.Counter(e.code for c in self.clients for e in c.history if isinstance(e, Gone))
        counts = sum((collections.Counter(w.counts) for w in self.writers), collections.Counter())
        say = self.say
        say(f"seed {self.seed}, {self.seconds:.0f} s: {len(self.truth.notices)} changes in {len(self.truth.by_commit)} transactions"
            f" ({counts['committed']} answered, {counts['rolled back']} rolled back, {counts['failed']} cut off), {len(self.truth.large)} with a large row,"
            f" {counts['messages']} messages by a stranger")
        if self.faults:
            say(f"{sum(self.faults.counts.values())} faults: " + _listed(self.faults.counts)
                + f"; {self.passed} transactions passed over; slowest stop of PostgreSQL {self.faults.slowest_stop:.1f} s")
        say(f"{len(self.clients)} clients: {events['Seen']} deliveries, {events['Bulk']} bulk,"
            f" {events['Hello']} connections, {self.resumes} resumed, {events['Resync']} resyncs ({_listed(reasons)}),"
            f" ends {_listed(closes)}")
        say(f"{self.verdict.delivered} changes were delivered, {self.verdict.refetched} left to a refetch")
        found = collections.Counter(v.kind for v in self.violations)
        say(", ".join(f"{found[kind]} {kind}" for kind in KINDS) + f", {found['complaint']} complaints")
        for violation in _samples(self.violations, 10):
            say(f"  {violation}")

    def keep(self):
        """What is needed to find out why."""
        for client in self.clients:
            lines = [f"{client.path} user {client.user}, {sorted(client.groups)}"]
            lines += [f"#{i} {event}" for i, event in enumerate(client.history)]
            (self.directory / f"{client.name}.history").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (self.directory / "truth").write_text("\n".join(map(str, self.truth.notices)) + "\n", encoding="utf-8")
        (self.directory / "violations").write_text("\n".join(map(str, self.violations)) + "\n", encoding="utf-8")
        (self.directory / "postgresql.log").write_text(self.world.app.cluster.log(), encoding="utf-8")


def _samples(violations, most):
    """The first few of each kind."""
    shown = collections.Counter()
    for violation in violations:
        shown[violation.kind] += 1
        if shown[violation.kind] <= most:
            yield violation


def _listed(counter):
    return ", ".join(f"{n} {name}" for name, n in sorted(counter.items(), key=str))


def run(seconds, seed, say=print, faults=True, keep=False, replicas=1):
    """One run on a server of its own, which a run without violations leaves no trace of, unless told to."""
    directory = ROOT / "build" / "chaos" / f"seed-{seed}"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    with contextlib.ExitStack() as resources:
        cluster = resources.enter_context(Cluster({"max_connections": 200}))
        app = resources.enter_context(fresh_app(cluster)).set_up()
        url = resources.enter_context(poisoned(app))
        it = Run(app, url, seconds, seed, directory, say, faults, replicas)
        it.go()
        it.report()
        if it.violations or keep:
            it.keep()
            say(f"logs and histories: {directory}")
        else:
            shutil.rmtree(directory)
    return it


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--no-faults", dest="faults", action="store_false", help="clients misbehave, nothing else")
    parser.add_argument("--replicas", type=int, default=1, help="more than one: on one slot, over a Redis")
    parser.add_argument("--keep", action="store_true", help="keep the logs in any case")
    options = parser.parse_args()
    print(f"chaos for {options.seconds:.0f} s, seed {options.seed}", flush=True)

    def say(text):
        print(text, flush=True)

    it = run(options.seconds, options.seed, say, options.faults, options.keep, options.replicas)
    return 1 if it.violations else 0


if __name__ == "__main__":
    sys.exit(main())
