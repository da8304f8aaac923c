"""The fault driver: one fault after the other, some of them two at a time, until told to stop."""

import collections
import contextlib
import os
import random
import signal
import subprocess
import threading
import time

import poison
import psycopg2
import psycopg2.extras
from checker import Id

from harness.app import PLUGIN
from harness.client import PATIENCE
from throwaway.cluster import ClusterError

LONGEST_PASS = 2 * PATIENCE  # three tries over 30 s, the waits between them, and what else is broken just then
# With which another reader can begin; pgoutput wants names too.
OPTIONS = {"wal2json": {"format-version": "2"}, "pgoutput": {"proto_version": "1"}}
LONGEST_STOP = 30  # seconds; a fast shutdown under load, with its checkpoint. One that waits for a walsender takes 60


def _answers(connection):
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return True
    except psycopg2.Error:
        return False


class Faults(threading.Thread):
    """Each fault leaves everything running again, but not everything connected again."""

    def __init__(self, world, sidecar, subscribers, seed, complain, poisoned):
        super().__init__(name="faults", daemon=True)
        self.world, self.sidecar, self.subscribers, self.complain = world, sidecar, subscribers, complain
        self.app, self.cluster = world.app, world.app.cluster
        self.random = random.Random(f"{seed}/faults")
        self.counts = collections.Counter()
        self.slowest_stop = 0
        self.stopping = threading.Event()
        self.now = ""
        self._menu = {
            self.sidecar_killed: 5,
            self.sidecar_terminated: 2,
            self.sidecar_replaced: 2,
            self.sidecar_paused: 3,
            self.walsender_ended: 4,
            self.sql_sessions_ended: 4,
            self.sockets_cut: 4,
            self.postgresql_fast: 2,
            self.postgresql_immediate: 2,
            self.postgresql_and_sidecar: 2,
            self.server_process_killed: 2,
            self.table_locked: 3,
            self.queries_slow: 3,
            self.slot_taken: 1,
            self.slot_advanced: 1,
            self.slot_made_anew: 1,
        }
        # What leaves the slot to walpush, and it its tries.
        self._beside_poison = [
            self.sidecar_paused,
            self.walsender_ended,
            self.sql_sessions_ended,
            self.sockets_cut,
            self.postgresql_fast,
            self.postgresql_immediate,
        ]
        if sidecar.redis:
            on_redis = {
                self.redis_restarted: 3,
                self.redis_forgot: 2,
                self.redis_away: 2,
                self.redis_frozen: 2,
                self.redis_switched: 4,
            }
            self._menu |= on_redis
            self._beside_poison += on_redis
        if poisoned:
            self._menu[self.poison_transaction] = 1

    def run(self):
        order = list(self._menu)
        self.random.shuffle(order)  # each at least once, if there is time
        while not self.stopping.wait(self.random.uniform(0.2, 2.5)):
            fault = order.pop() if order else self.random.choices(list(self._menu), self._menu.values())[0]
            self.now = fault.__name__
            try:
                fault()
            except Exception as error:
                self.complain(f"fault {self.now}: {type(error).__name__}: {error}")
                return
            if log := self.sidecar.died():
                self.complain(f"walpush ended by itself during {self.now}:\n{log[-4000:]}")
                return
            self.counts[self.now.replace("_", " ")] += 1
            self.now = ""

    def _moment(self, most):
        time.sleep(self.random.uniform(0, most))

    # --- the sidecar -------------------------------------------------------------------------------------------

    def sidecar_killed(self):
        self.sidecar.kill()
        if self.random.random() < 0.5:
            self._moment(2)
        self.sidecar.start()

    def sidecar_terminated(self):
        self.sidecar.stop()
        self._moment(1)
        self.sidecar.start()

    def sidecar_replaced(self):
        self.sidecar.replace()

    def sidecar_paused(self):
        thaw = self.sidecar.freeze()
        self._moment(3)
        thaw()

    # --- its connections ---------------------------------------------------------------------------------------

    def walsender_ended(self):
        for _ in range(self.random.choice((1, 1, 3))):
            self._end("backend_type = 'walsender'")
            self._moment(0.3)

    def sql_sessions_ended(self):
        for _ in range(self.random.choice((1, 3, 10))):
            self._end("backend_type = 'client backend'")
            self._moment(0.1)

    def _end(self, which):
        self.app.sql(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'walpush' AND {which}"
            " AND datname = current_database()"
        )

    def sockets_cut(self):
        for subscriber in self.random.sample(self.subscribers, len(self.subscribers) // 3):
            subscriber.cut.set()

    # --- PostgreSQL --------------------------------------------------------------------------------------------

    def postgresql_fast(self):
        self._stop_postgresql("fast")
        self.cluster.start()

    def postgresql_immediate(self):
        self._stop_postgresql("immediate")
        self.cluster.start()

    def postgresql_and_sidecar(self):
        """The machine that both run on goes down."""
        self.sidecar.kill()
        self._stop_postgresql(self.random.choice(("fast", "immediate")))
        if self.random.random() < 0.5:
            self.sidecar.start()
            self.cluster.start()
        else:
            self.cluster.start()
            self.sidecar.start()

    def server_process_killed(self):
        """While it runs a query of walpush, or none: every session of the cluster ends."""
        pids = self.app.sql("SELECT pid FROM pg_stat_activity WHERE usename = 'walpush' AND backend_type = 'client backend'")
        if not pids:
            return
        self.app.close()
        with contextlib.closing(self.app.connect()) as witness:
            try:
                os.kill(self.random.choice(pids)[0], signal.SIGKILL)
            except ProcessLookupError:
                return
            self._until(lambda: not _answers(witness))
        self._until(lambda: _answers(self.app.connect()))

    def _until(self, holds):
        deadline = time.monotonic() + LONGEST_STOP
        while True:
            with contextlib.suppress(psycopg2.OperationalError):
                if holds():
                    return
            assert time.monotonic() < deadline, "PostgreSQL does not come back"
            time.sleep(0.05)

    # --- its queries -------------------------------------------------------------------------------------------

    def table_locked(self):
        """Longer than a query waits: rows are sent without its answer."""
        self._lock(self.random.uniform(1, 6))

    def queries_slow(self):
        """A lock that is let go before a query gives up: answers are late, and so are changes behind them."""
        for _ in range(self.random.choice((1, 5, 10))):
            self._lock(self.random.uniform(0.05, 0.8))
            self._moment(0.3)

    def _lock(self, seconds):
        table = self.random.choice(("users", "user_units", "roles"))
        with self.app.transaction() as cursor:
            cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            time.sleep(seconds)

    def _stop_postgresql(self, mode):
        self.app.close()
        start = time.monotonic()
        try:
            self.cluster.stop(mode)
        except ClusterError:  # reported below; what follows is a crash
            self.cluster.kill()
        took = time.monotonic() - start
        self.slowest_stop = max(self.slowest_stop, took)
        if took > LONGEST_STOP:
            self.complain(f"PostgreSQL took {took:.1f} s for a stop -m {mode}")
        self._moment(1)

    # --- Redis -------------------------------------------------------------------------------------------------

    def redis_restarted(self):
        self.sidecar.redis.restart()

    def redis_forgot(self):
        """Restarted without what it held, as one that does not persist."""
        self.sidecar.redis.lose_everything()

    def redis_away(self):
        self.sidecar.redis.kill()
        self._moment(5)
        self.sidecar.redis.start()

    def redis_frozen(self):
        thaw = self.sidecar.redis.freeze()
        self._moment(3)
        thaw()

    def redis_switched(self):
        """There and, half the time, back again. Nobody stays with a server that is no longer the master."""
        for _ in range(self.random.choice((1, 2))):
            self.sidecar.redis.switch(
                killed=self.random.random() < 0.3,
                writable=self.random.random() < 0.3,
                pause=self.random.choice((0, 0.2, 1, 3)),
            )
            self._moment(2)
        if self.now == "redis_switched":  # and not beside something that holds the stream up
            self._wait_for_news()

    def _wait_for_news(self):
        """What is written from here on arrives. The writers never rest. Where Redis lost that a transaction was passed over, it is
        met once more."""
        position = Id.parse(self.app.value("SELECT pg_current_wal_insert_lsn()::text") + "-0")
        deadline = time.monotonic() + LONGEST_PASS
        while not any(subscriber.last and subscriber.last > position for subscriber in self.subscribers):
            if time.monotonic() > deadline:
                raise AssertionError("nobody hears of anything any more")
            time.sleep(0.05)

    # --- what cannot be decoded --------------------------------------------------------------------------------

    def poison_transaction(self):
        """The stream ends in it each time, until it is passed over. Other things happen meanwhile; with a process its tries end."""
        before = self.sidecar.passed_over()
        poison.write(self.world, self.random.choice(list(poison.KINDS)), self.random)
        if self.random.random() < 0.5:
            self._moment(20)
            self.sidecar_killed()
        for fault in self.random.sample(self._beside_poison, 3):
            self._moment(6)
            fault()
        deadline = time.monotonic() + LONGEST_PASS
        while self.sidecar.passed_over() == before:
            if time.monotonic() > deadline:
                raise AssertionError("it is not passed over")
            time.sleep(0.2)

    # --- the slot ----------------------------------------------------------------------------------------------

    def _without_reader(self, work):
        """Does something to the slot while the sidecar cannot have it, being stopped."""
        thaw = self.sidecar.freeze(everyone=True)
        try:
            self._free_slot()
            return work()
        finally:
            thaw()

    def _free_slot(self):
        """A walsender that is only just starting is not yet there to be ended, and has the slot a moment later."""
        deadline = time.monotonic() + PATIENCE
        quiet = 0
        while quiet < 3:
            self._end("backend_type = 'walsender'")
            time.sleep(0.02)
            quiet = 0 if self.app.reader() else quiet + 1
            if time.monotonic() > deadline:
                raise AssertionError("the walsender does not end")

    def slot_taken(self):
        """Another reader has it, and confirms nothing, or (pg_recvlogical) all that it reads."""
        other = self._without_reader(self.random.choice((self._hold, self._read_away)))
        time.sleep(self.random.choice((1, 3, 12)))
        other()

    def _hold(self):
        connection = psycopg2.connect(
            self.cluster.url(self.app.name), connection_factory=psycopg2.extras.LogicalReplicationConnection
        )
        cursor = connection.cursor()
        cursor.start_replication(slot_name=self.app.slot, options=OPTIONS[PLUGIN] | self._names())
        return connection.close

    def _names(self):
        return {"publication_names": self.app.slot} if PLUGIN == "pgoutput" else {}

    def _read_away(self):
        command = [str(self.cluster.bin / "pg_recvlogical"), "--dbname", self.app.url, "--slot", self.app.slot]
        command += [f"--option={name}={value}" for name, value in (OPTIONS[PLUGIN] | self._names()).items()]
        process = subprocess.Popen(
            [*command, "--start", "--file", "/dev/null", "--status-interval", "1", "--no-loop"],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.app.wait_until(
            "SELECT active FROM pg_replication_slots WHERE slot_name = %s", self.app.slot
        )

        def end():
            process.terminate()
            process.wait()

        return end

    def slot_advanced(self):
        self._without_reader(
            lambda: self.app.sql("SELECT pg_replication_slot_advance(%s, pg_current_wal_flush_lsn())", self.app.slot)
        )

    def slot_made_anew(self):
        self._without_reader(self.app.drop_slot)
        self._moment(1)
        self.app.create_slot()
