"""What the benchmarks measure with: a PostgreSQL of their own, walpush, the load client, the floors.

Everything listens on 127.0.0.1 at free ports and lives in one temporary directory. Whatever was started is ended when
the lab closes, also after an error or a Ctrl-C.
"""

import contextlib
import json
import os
import pathlib
import queue
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from harness.app import ASHA, ROOT_USER, App  # noqa: E402
from harness.walpush import SHIPPED, SIGNING_KEY, fields_of, token  # noqa: E402
from throwaway.cluster import Cluster, free_port  # noqa: E402
from throwaway.config import Config  # noqa: E402

BUILD = pathlib.Path(os.environ.get("WALPUSH_BENCH_BUILD", ROOT / "build/release")).absolute()
PATIENCE = 120  # seconds without the event awaited, after which a run has failed
UNITS = 1000
USERS = range(101, 2101)  # of the k-th, unit 1 + k modulo UNITS
CRATES = 2000
BACKLOG_ROWS = 20_000
FILES_NEEDED = 12_000
TABLES = "public.requests,public.crates,public.storages,public.sendbacks,public.user_units,public.users,public.roles"

# A server that is not the bottleneck: what is measured comes behind it.
SERVER = {
    "max_replication_slots": 40,
    "max_wal_senders": 20,
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "synchronous_commit": "on",
    "timezone": "UTC",
}


class Failed(Exception):
    """A run that did not do what it must: no figure comes of it."""


def raise_file_limit():
    """For walpush and the load client, which have a socket each for 10,000 connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < FILES_NEEDED:
        raise SystemExit(f"bench: {FILES_NEEDED} open files a process are needed, {hard} are allowed: ulimit -Hn")


def cpu_seconds(pid):
    """CPU time of all the process's threads so far, user and system; the kernel counts it in nanoseconds."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def tree(pid):
    """The process and all its descendants."""
    found = [pid]
    for parent in found:
        for task in pathlib.Path(f"/proc/{parent}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found += map(int, (task / "children").read_text().split())
    return found


class Lines:
    """The lines a process prints, each awaited with a deadline."""

    def __init__(self, process):
        self._process = process
        self._queue = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self._process.stdout:
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    def next(self, start="", timeout=PATIENCE):
        """The next line, which must begin so."""
        try:
            line = self._queue.get(timeout=timeout)
        except queue.Empty:
            raise Failed(f"{self._process.args[0]} said nothing for {timeout} s") from None
        if line is None or not line.startswith(start):
            raise Failed(f"{self._process.args[0]} said {line!r} instead of {start!r}")
        return line


class Load:
    """wsload: subscribers, all connected when this returns."""

    def __init__(self, lab, port, path, connections, user=ROOT_USER, **options):
        command = [str(BUILD / "bench/wsload"), "--port", str(port), "--path", path, "--timeout", str(PATIENCE)]
        command += ["--connections", str(connections), "--token", token(user)]
        for name, value in {"sources": 4, "linger": 250, **options}.items():
            command += [f"--{name}"] + ([] if value is True else [str(value)])
        self.connections = connections
        self._storms = int(options.get("storms", 0))
        self.process = lab.spawn(command, stdout=subprocess.PIPE, stderr=lab.log, text=True)
        self.lines = Lines(self.process)
        self.connected()

    def connected(self):
        self.lines.next(f"connected {self.connections}")

    def received(self):
        """Returns when all that is expected has come; the client then lingers for what comes too much."""
        self.lines.next("received")

    def stop(self):
        """Ends one that expects nothing in particular; its figures."""
        self.process.terminate()
        return self.result()

    def result(self, strict=True):
        figures = json.loads(self.lines.next("{"))
        if self.process.wait(PATIENCE) != 0 and strict:
            raise Failed(f"the load client found something wrong: {figures}")
        return figures


class Sidecar:
    """`walpush run` with the shipped configuration, its limits on who connects taken off."""

    program = BUILD / "walpush"

    def __init__(self, lab, slot, **settings):
        self.lab, self.slot = lab, slot
        config = Config(SHIPPED.read_text()).set("limits.per-user", 0).set("limits.handshakes-per-second", 0)
        for name, value in settings.items():
            config.set(name.replace("__", ".").replace("_", "-"), value)
        self.config = config
        self.log = lab.directory / f"walpush-{next(lab.numbers)}.log"

    def __enter__(self):
        self.file = self.config.write(self.log.with_suffix(".conf"))
        self.admin = free_port()
        env = dict(
            os.environ,
            DATABASE_URL=self.lab.app.url,
            WALPUSH_SLOT=self.slot,
            JWT_SIGNING_KEY=SIGNING_KEY,
            WALPUSH_LISTEN_ADDRESS="127.0.0.1",
            WALPUSH_LISTEN_PORT="0",
            WALPUSH_ADMIN_ADDRESS="127.0.0.1",
            WALPUSH_ADMIN_PORT=str(self.admin),
        )
        with open(self.log, "wb") as log:
            self.process = self.lab.spawn([str(self.program), "run", "-c", str(self.file)], env=env, stderr=log)
        self.port = int(fields_of(self.wait_for("listening"))["port"])
        self.wait_for("live")
        return self

    def __exit__(self, *_):
        self.lab.end(self.process)

    def wait_for(self, message):
        """The log's line with this message."""
        wanted = re.compile(rf'^.* msg="?{re.escape(message)}"?( .*)?$', re.MULTILINE)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            found = wanted.search(self.log.read_text(errors="replace"))
            if found:
                return found.group()
            time.sleep(0.005)
        raise Failed(f"walpush never said {message!r}:\n" + self.log.read_text(errors="replace")[-2000:])

    def subscribe(self, path, connections, **options):
        return Load(self.lab, self.port, path, connections, **options)

    def cpu(self):
        return cpu_seconds(self.process.pid)

    def metric(self, name):
        """The sum over its labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if re.match(re.escape(name) + "[ {]", line))

    def rss(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", text).group(1)) * 1024


class Bare:
    """wsbare, the bare broadcaster: as much of Sidecar as the fan-out needs."""

    def __init__(self, lab, payload):
        self.lab, self.payload = lab, payload

    def __enter__(self):
        command = [str(BUILD / "bench/wsbare"), "--bytes", str(self.payload)]
        self.process = self.lab.spawn(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.lab.log, text=True
        )
        self.lines = Lines(self.process)
        self.port = int(self.lines.next("port").split()[1])
        return self

    def __exit__(self, *_):
        self.lab.end(self.process)

    def subscribe(self, connections, **options):
        return Load(self.lab, self.port, "/", connections, **options)

    def send(self, count, rate):
        self.process.stdin.write(f"send {count} {rate}\n")
        self.process.stdin.flush()

    def cpu(self):
        return cpu_seconds(self.process.pid)


class Lab:
    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="walpush-bench-"))
        self.numbers = iter(range(1_000_000))
        self._running = []
        self.log = open(self.directory / "log", "ab")
        self.cluster = self.app = None

    def __enter__(self):
        try:
            self.cluster = Cluster(SERVER, fsync=False).start()
            self.app = App(self.cluster).set_up()
            self._populate()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for process in list(self._running):
            self.end(process)
        if self.cluster:
            self.cluster.remove()
        self.log.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def errors(self):
        """What the programs said on stderr."""
        return (self.directory / "log").read_text(errors="replace")[-3000:]

    # --- processes -----------------------------------------------------------------------------------------------

    def spawn(self, command, **how):
        how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": self.log, **how}
        process = subprocess.Popen(command, **how)
        self._running.append(process)
        return process

    def end(self, process, patience=20):
        """Asks it to end, and makes it end."""
        if process in self._running:
            self._running.remove(process)
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()

    def run(self, command, **how):
        """To its end; what it printed."""
        process = self.spawn(command, stdout=subprocess.PIPE, text=True, **how)
        try:
            out, _ = process.communicate(timeout=PATIENCE)
        finally:
            self.end(process)
        if process.returncode != 0:
            raise Failed(f"{command[0]} failed: {out}{self.errors()}")
        return out

    # --- rows ----------------------------------------------------------------------------------------------------

    def _populate(self):
        """A thousand units with a request each, many requests of unit 2 for the backlog, and users."""
        sql = self.app.sql
        sql(
            "INSERT INTO units (id, unit_code, unit_name, location) SELECT n, 'U' || n, 'Unit ' || n, 'here'"
            " FROM generate_series(4, %s) n",
            UNITS,
        )
        first = sql(
            "INSERT INTO crates (barcode, created_by_id, unit_id, department_id)"
            " SELECT 'C' || n, 2, 1 + n %% %s, 1 FROM generate_series(0, %s) n RETURNING id",
            UNITS,
            CRATES - 1,
        )[0][0]
        insert = (
            "INSERT INTO requests (request_type, crate_id, unit_id, withdrawn_by_id, purpose)"
            " SELECT 'Withdrawal', %s + n %% %s, {}, 2, 'withdrawn for the audit' FROM generate_series(0, %s) n"
            " RETURNING id"
        )
        self.unit_rows = sql(insert.format("1 + n %% 1000"), first, CRATES, UNITS - 1)[0][0]
        self.backlog_rows = sql(insert.format("2"), first, CRATES, BACKLOG_ROWS - 1)[0][0]
        sql(
            "INSERT INTO users SELECT (jsonb_populate_record(u, jsonb_build_object("
            "'id', n, 'username', 'user' || n, 'email', n || '@example.org'))).*"
            " FROM users u, generate_series(%s, %s) n WHERE u.id = %s",
            USERS.start,
            USERS.stop - 1,
            ASHA,
        )
        sql(
            "INSERT INTO user_units (user_id, unit_id, created_at)"
            " SELECT n, 1 + (n - %s) %% %s, now() FROM generate_series(%s, %s) n",
            USERS.start,
            UNITS,
            USERS.start,
            USERS.stop - 1,
        )
        sql("VACUUM ANALYZE")

    def tokens_of_users(self):
        """A file with a token of each user."""
        path = self.directory / "tokens"
        path.write_text("".join(token(user) + "\n" for user in USERS))
        return path

    def write_command(self, count, rate, first=None, rows=1):
        """pgwrite as the application's role: request `first` is unit 1's, the next one unit 2's."""
        url = self.cluster.url(self.app.name, "postgres")
        command = [str(BUILD / "bench/pgwrite"), "--url", url, "--count", str(count), "--rate", str(rate)]
        return command + ["--first", str(first or self.unit_rows), "--rows", str(rows)]

    def write(self, count, rate, **where):
        return json.loads(self.run(self.write_command(count, rate, **where)))

    def write_in_one(self, rows, ident):
        """One transaction of so many updates of one request."""
        with self.app.transaction() as cursor:
            cursor.execute(
                "DO $$ BEGIN FOR i IN 1..%s LOOP UPDATE requests SET purpose = 'withdrawn for the audit, change ' || i,"
                " updated_at = clock_timestamp() WHERE id = %s; END LOOP; END $$",
                (rows, ident),
            )

    def call(self, procedure):
        """In a thread, which the caller joins."""
        def work():
            with contextlib.closing(self.app.connect()) as connection, connection.cursor() as cursor:
                cursor.execute(f"CALL {procedure}()")

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    @contextlib.contextmanager
    def durable(self):
        """PostgreSQL's own default for the time of the block: a commit waits until it is on the disk."""
        self._set_fsync("on")
        try:
            yield
        finally:
            self._set_fsync("off")

    def _set_fsync(self, value):
        self.app.sql(f"ALTER SYSTEM SET fsync = {value}")
        self.app.sql("SELECT pg_reload_conf()")
        self.app.wait_until("SELECT current_setting('fsync') = %s", value)

    # --- slots ---------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def fresh_slot(self, copy_of=None, plugin="wal2json"):
        """A slot that begins now, or where another one begins."""
        name = f"bench_{next(self.numbers)}"
        if copy_of:
            self.app.sql("SELECT pg_copy_logical_replication_slot(%s, %s, false, %s)", copy_of, name, plugin)
        else:
            self.app.sql("SELECT pg_create_logical_replication_slot(%s, 'wal2json')", name)
        try:
            yield name
        finally:
            self.app.wait_until("SELECT NOT active FROM pg_replication_slots WHERE slot_name = %s", name, timeout=60)
            self.app.sql("SELECT pg_drop_replication_slot(%s)", name)

    @contextlib.contextmanager
    def walpush(self, **settings):
        with self.fresh_slot() as slot, Sidecar(self, slot, **settings) as sidecar:
            yield sidecar

    def read(self, count, rate, snapshot, **where):
        """The floor of latency: pgread while so many changes are written; its figures."""
        with self.fresh_slot() as slot:
            command = [str(BUILD / "bench/pgread"), "--url", self.app.url, "--slot", slot, "--tables", TABLES]
            command += ["--expect", str(count)] + (["--snapshot"] if snapshot else [])
            process = self.spawn(command, stdout=subprocess.PIPE, text=True)
            try:
                lines = Lines(process)
                lines.next("streaming")
                self.write(count, rate, **where)
                return json.loads(lines.next("{"))
            finally:
                self.end(process)
