"""The peers: Django Channels behind Daphne with Redis, and a push server on Node's ws with PostgreSQL's NOTIFY.

All three are measured by the same load client over the same database, and the same Django process writes. For walpush
and Node its signals are off, since neither needs them.
"""

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import time

from benches import LOG_ROOM, PATH, Bench
from lab import ROOT, Lines, Load, cpu_seconds, free_port
from report import Row, each, paired

PEERS = ROOT / "tests/bench/peers"
INSTALLED = ROOT / "build/bench"
PYTHON = INSTALLED / "venv/bin/python"


def missing():
    """What `make bench-deps` has not installed; empty: everything is there."""
    wanted = {"Django Channels": PYTHON.exists(), "ws": (INSTALLED / "node/node_modules/ws").exists()}
    wanted["redis-tools"] = shutil.which("redis-cli") is not None
    wanted["python3-redis"] = importlib.util.find_spec("redis") is not None
    wanted["node"] = shutil.which("node") is not None
    return [name for name, there in wanted.items() if not there]


def versions():
    """The packages as installed, for the report."""
    freeze = (PEERS / "requirements.txt").read_text().split("\n")
    packages = [
        line.replace("==", " ")
        for line in freeze
        if line.split("==")[0] in ("Django", "channels", "channels_redis", "daphne")
    ]
    redis = subprocess.run(["redis-cli", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    script = "console.log('ws ' + require('ws/package.json').version + ', pg ' + require('pg/package.json').version)"
    ws = subprocess.run(
        ["node", "-e", script], cwd=INSTALLED / "node", capture_output=True, text=True, check=True
    ).stdout.strip()
    return ", ".join([*packages, f"Redis {redis}", f"Node.js {node}", ws])


def django_environment(lab, redis_port=0, signals=False):
    cluster = lab.cluster
    return dict(
        os.environ,
        PYTHONPATH=str(PEERS),
        DATABASE_NAME=lab.app.name,
        DATABASE_USER="postgres",
        DATABASE_PASSWORD=cluster.passwords["postgres"],
        DATABASE_HOST="127.0.0.1",
        DATABASE_PORT=str(cluster.port),
        REDIS_PORT=str(redis_port),
        LIVE_SIGNALS="1" if signals else "0",
    )


@contextlib.contextmanager
def running(lab, *command, **how):
    process = lab.spawn(list(map(str, command)), **how)
    try:
        yield process
    finally:
        lab.end(process)


def await_port(port):
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class Subject:
    """Something that pushes: its port, its processes, and what the writer must be told."""

    def __init__(self, name, port, pids, environment, **load):
        self.name, self.port, self.pids, self.environment, self.load = name, port, pids, environment, load

    def cpu(self):
        return sum(map(cpu_seconds, self.pids))


@contextlib.contextmanager
def walpush(lab):
    with lab.walpush(**LOG_ROOM) as sidecar:
        yield Subject("walpush", sidecar.port, [sidecar.process.pid], django_environment(lab))


@contextlib.contextmanager
def channels(lab):
    from harness.redis import Redis  # python3-redis is there after `make bench-deps`

    port = free_port()
    with Redis(persistent=False) as redis:
        environment = django_environment(lab, redis.port, signals=True)
        daphne = [INSTALLED / "venv/bin/daphne", "-b", "127.0.0.1", "-p", port, "live.asgi:application"]
        with running(lab, *daphne, env=environment, stderr=subprocess.DEVNULL) as server:
            await_port(port)
            # Twisted's listen queue has 50 places.
            yield Subject("Channels", port, [server.pid, redis.process.pid], environment, loose=True, inflight=32)


@contextlib.contextmanager
def node(lab):
    if not lab.app.sql("SELECT 1 FROM pg_trigger WHERE tgname = 'notify_request'"):
        lab.cluster.psql(PEERS / "notify.sql", dbname=lab.app.name)
    lab.app.sql("ALTER TABLE requests ENABLE TRIGGER notify_request")
    environment = dict(
        os.environ,
        DATABASE_URL=lab.cluster.url(lab.app.name, "postgres"),
        NODE_PATH=str(INSTALLED / "node/node_modules"),
    )
    try:
        with running(lab, "node", PEERS / "notify.js", env=environment, stdout=subprocess.PIPE, text=True) as server:
            port = int(Lines(server).next("port").split()[1])
            lab.app.wait_until("SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE query = 'LISTEN requests')")
            yield Subject("Node ws", port, [server.pid], django_environment(lab), loose=True)
    finally:
        lab.app.sql("ALTER TABLE requests DISABLE TRIGGER notify_request")


class Writer:
    """The Django process that saves; ready when this returns, writing once it is told to go on."""

    def __init__(self, lab, subject, count, rate):
        command = [PYTHON, "-m", "live.write", lab.unit_rows, count, rate]
        self.lab = lab
        self.process = lab.spawn(
            list(map(str, command)), env=subject.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        Lines(self.process).next("ready")

    def __enter__(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self

    def __exit__(self, *_):
        self.lab.end(self.process)


def measure(lab, make, connections, count, rate):
    with make(lab) as subject:
        with_writer = Writer(lab, subject, count, rate)
        load = Load(lab, subject.port, PATH, connections, expect=count, latency=True, **subject.load)
        before = subject.cpu()
        with with_writer:
            load.received()
            cpu = subject.cpu() - before
            return load.result(strict=False), cpu


class Peers(Bench):
    name = "peers"
    what = "one Django process saves requests of one group"
    crowd, load = 1000, 100
    changes = {walpush: 1500, channels: 15, node: 300}  # for the crowd: about as long each
    at_rate = 8

    def round(self, lab):
        figures = {}
        for make, name in ((walpush, "walpush"), (channels, "Channels"), (node, "Node ws")):
            busy, cpu = measure(lab, make, self.crowd, self.changes[make], 0)
            calm, _ = measure(lab, make, self.load, self.at_rate, 1)
            figures[f"{name} deliveries/s"] = busy["per_second"]
            figures[f"{name} deliveries/CPU s"] = busy["deliveries"] / cpu
            figures[f"{name} p95 ms"] = calm["latency_us"]["p95"] / 1000
        return figures

    def rows(self, rounds):
        crowd = f"{self.crowd:,} subscribers of one group, a Django process saves as fast as it can"
        calm = f"{self.load} subscribers, 1 save a second by Django"
        for name, least, most in (("Channels", 25, 0.25), ("Node ws", None, None)):
            for key in ("deliveries/s", "deliveries/CPU s"):
                subject, peer = each(rounds, f"walpush {key}"), each(rounds, f"{name} {key}")
                ratio = paired(rounds, f"walpush {key}", f"{name} {key}")
                target = least if key == "deliveries/s" else None
                yield Row(self.name, crowd, f"{key} ÷ that of {name}", subject, peer, ratio, least=target)
            subject, peer = each(rounds, "walpush p95 ms"), each(rounds, f"{name} p95 ms")
            ratio = paired(rounds, "walpush p95 ms", f"{name} p95 ms")
            yield Row(self.name, calm, f"p95 save→client ÷ that of {name}", subject, peer, ratio, most=most)
