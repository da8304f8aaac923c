"""Redis refuses: it is no longer the master, or it takes nothing for a while. Nothing is lost, and whoever asks is told."""

import concurrent.futures
import contextlib
import json
import re
import time
import types

import pytest
from test_relay import Replicas

from harness.app import ASHA, fresh_app
from harness.client import PATIENCE
from harness.forwarder import Forwarder
from harness.load import LONG, UNIT_1, Load, number_of
from harness.redis import Redis
from harness.walpush import ROOT, run_to_end, shipped_config

USER, PASSWORD = "walpush", "secret-of-redis"


def wait_until(reached, what, timeout=LONG):
    deadline = time.monotonic() + timeout
    while not (found := reached()):
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(0.02)
    return found


def readiness(replica):
    answer = replica.admin("/readyz")
    return answer.status, answer.body.decode().strip()


def wait_for_readiness(replica, status, pattern=""):
    """What it says then."""
    last = []

    def reached():
        last[:] = readiness(replica)
        return last[0] == status and re.search(pattern, last[1])

    try:
        wait_until(reached, "")
    except AssertionError:
        raise AssertionError(f"/readyz says {last}, not {status} {pattern!r}; the log:\n{replica.log()}") from None
    return last[1]


def one_of(replicas, status, pattern):
    """Who says it first: the slot may go from one to the other meanwhile."""
    last = {}

    def found():
        for replica in replicas.all:
            last[replica.port] = answer = readiness(replica)
            if answer[0] == status and re.search(pattern, answer[1]):
                return replica
        return None

    return wait_until(found, lambda: f"/readyz says {last}, not {status} {pattern!r}")


def status_of(replica):
    return json.loads(replica.admin("/status").body)


def said(replica, pattern, mark=0):
    """Lines that people see by default."""
    return [line for line in replica.lines[mark:] if "level=debug" not in line and re.search(pattern, line)]


def forbid(server, *rules):
    """A user with all rights but these."""
    server.client().execute_command("ACL", "SETUSER", USER, "on", f">{PASSWORD}", "~*", "&*", "+@all", *rules)


class Pair:
    """A master and its replica behind a name, which is a forwarder here."""

    def __init__(self, first, second, forwarder):
        self.master, self.other, self.forwarder = first, second, forwarder
        self.wait_for_replication()

    def url(self, user=None):
        return f"redis://{f'{user}:{PASSWORD}@' if user else ''}127.0.0.1:{self.forwarder.port}/0"

    def wait_for_replication(self):
        wait_until(lambda: self.other.client().info("replication").get("master_link_status") == "up", "it does not replicate")

    def move_name(self):
        self.forwarder.target = self.other.port

    def promote(self):
        """And demote the master, which keeps its clients' connections. Returns when the new one was promoted."""
        self.other.client().execute_command("REPLICAOF", "NO", "ONE")
        promoted = time.monotonic()
        self.master.client().execute_command("REPLICAOF", "127.0.0.1", self.other.port)
        self.master, self.other = self.other, self.master
        return promoted

    def switch(self):
        self.move_name()
        return self.promote()


@pytest.fixture
def pair():
    with Redis() as first, Redis(replica_of=first) as second, Forwarder(first.port) as forwarder:
        yield Pair(first, second, forwarder)


def replicas_behind(pair, make_walpush, app, config, n=2, user=None):
    redis = types.SimpleNamespace(url=pair.url(user))
    replicas = Replicas(make_walpush, app, config, redis, n=n)
    for replica in replicas.all:
        replica.secrets.append(PASSWORD)
    return replicas


# --- a switchover ------------------------------------------------------------------------------------------------------


def plain(pair):
    """The append is refused, ROLE tells."""


def writable(pair):
    """The demoted master takes what its own master does not know: ROLE alone tells."""
    for server in (pair.master, pair.other):
        server.client().config_set("replica-read-only", "no")


def without_role(pair):
    """READONLY alone tells."""
    for server in (pair.master, pair.other):
        forbid(server, "-role")


@pytest.mark.parametrize("kind", [plain, writable, without_role])
def test_a_switchover_under_load(app, make_walpush, config, pair, kind):
    """Everything comes, once and in order, on every replica, and no client is disconnected."""
    kind(pair)
    replicas = replicas_behind(pair, make_walpush, app, config, user=USER if kind is without_role else None)
    followers = replicas.followers()
    with Load(app) as load:
        load.wait_for(100)
        pair.switch()
        load.wait_for(200)
        pair.wait_for_replication()
        pair.switch()
        load.wait_for(200)
    for follower in followers:
        follower.check(load.committed)
        assert len(follower.hellos) == 1
    for replica in replicas.all:
        wait_for_readiness(replica, 200)


def test_how_soon_messages_come_after_a_switchover(app, make_walpush, config, pair, capsys):
    replicas = replicas_behind(pair, make_walpush, app, config)
    followers = replicas.followers(each=1)
    took = []
    with Load(app) as load:
        for _ in range(3):
            load.wait_for(100)
            pair.wait_for_replication()
            promoted = pair.switch()
            took.append([first_behind(follower, load, promoted) - promoted for follower in followers])
    for follower in followers:
        follower.check(load.committed)
    with capsys.disabled():
        print("\nfrom the promotion to a message committed after it, on every client, at the latest: ", end="")
        print(", ".join(f"{max(times):.2f} s" for times in took))
    assert max(map(max, took)) < PATIENCE


def first_behind(follower, load, moment):
    """When it had a number that was committed after the moment."""
    wait_until(lambda: max(load.at.values()) > moment, "nothing is committed")
    number = min(n for n, at in load.at.items() if at > moment)
    wait_until(lambda: follower.messages and number_of(follower.messages[-1]) >= number, "nothing comes any more")
    return time.monotonic()


@pytest.mark.parametrize("kind,words", [(plain, "ROLE says slave"), (without_role, "READONLY")])
def test_the_name_follows_late(app, make_walpush, config, pair, kind, words):
    """The old master is dialled again and again: not ready, said once, and messages again as soon as the name leads to the new one."""
    kind(pair)
    replicas = replicas_behind(pair, make_walpush, app, config, user=USER if kind is without_role else None)
    followers = replicas.followers(each=1)
    with Load(app) as load:
        load.wait_for(50)
        marks = {replica: replica.mark() for replica in replicas.all}
        pair.promote()
        leader = one_of(replicas, 503, f"no connection to Redis: .*{words}")
        mark = marks[leader]
        assert "relay.url" in status_of(leader)["fix"]
        dialled, since = connections(pair.other), time.monotonic()
        load.wait_for(500)
        lines, dialled = said(leader, "Redis", mark), connections(pair.other) - dialled
        pair.forwarder.target = pair.master.port
        moved = time.monotonic()
        most = 40 + 8 * (moved - since)  # four connections, each about once a second; without a backoff ten times that
        for follower in followers:
            first_behind(follower, load, moved)
        print(f"messages {time.monotonic() - moved:.2f} s after the name")
    for follower in followers:
        follower.check(load.committed)
    # Without ROLE who appends nothing is not told, and reads what is replicated: the other replica, and the connection that reads here.
    stays = 3 if kind is without_role else 0
    wait_until(lambda: len(clients_of(pair.other)) <= stays, f"it stays at the old master: {clients_of(pair.other)}")
    assert dialled < most
    assert sum("no connection to Redis" in line for line in lines) <= 4, "\n".join(lines)  # READONLY, ROLE, UNBLOCKED; two links
    assert sum("connected to Redis again" in line for line in lines) <= 4, "\n".join(lines)


def connections(server):
    return server.client().info("stats")["total_connections_received"]


def clients_of(server):
    return [client for client in server.client().client_list(_type="normal") if not client["cmd"].startswith("client")]


def test_a_master_that_is_cut_off_from_its_replicas(app, make_walpush, config, pair):
    """It stays a master by its own account and takes nothing; the name leads to another one."""
    pair.master.client().config_set("min-replicas-to-write", 1)
    replicas = replicas_behind(pair, make_walpush, app, config)
    followers = replicas.followers(each=1)
    with Load(app) as load:
        load.wait_for(50)
        pair.move_name()
        pair.other.client().execute_command("REPLICAOF", "NO", "ONE")
        moved = time.monotonic()
        for follower in followers:
            first_behind(follower, load, moved)
    for follower in followers:
        follower.check(load.committed)


# --- it takes nothing for a while --------------------------------------------------------------------------------------


@contextlib.contextmanager
def setting(server, name, value):
    client = server.client()
    before = client.config_get(name)[name]
    client.config_set(name, value)
    yield
    client.config_set(name, before)


def out_of_memory(server):
    return setting(server, "maxmemory", "1mb")


def too_few_replicas(server):
    return setting(server, "min-replicas-to-write", 1)


@contextlib.contextmanager
def cannot_save(server):
    """A directory is in the way of the snapshot's file."""
    client, file = server.client(), server.directory / "dump.rdb"
    with setting(server, "save", "3600 1"):
        file.unlink(missing_ok=True)
        file.mkdir()
        client.bgsave()
        wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "it saves all the same")
        yield
        file.rmdir()
        client.bgsave()
        wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "ok", "it does not save")


@contextlib.contextmanager
def forbidden(server, *commands):
    forbid(server, *(f"-{command}" for command in commands))
    yield
    forbid(server)


def xadd_forbidden(server):
    return forbidden(server, "xadd")


def eval_forbidden(server):
    return forbidden(server, "eval")


@pytest.fixture
def server():
    with Redis() as server:
        forbid(server)
        yield server


def replicas_of(server, make_walpush, app, config, n=2):
    redis = types.SimpleNamespace(url=f"redis://{USER}:{PASSWORD}@127.0.0.1:{server.port}/0")
    replicas = Replicas(make_walpush, app, config, redis, n=n)
    for replica in replicas.all:
        replica.secrets.append(PASSWORD)
    return replicas


REFUSALS = [
    (out_of_memory, "OOM command not allowed", "maxmemory"),
    (cannot_save, "MISCONF Redis is configured to save", "disk"),
    (too_few_replicas, "NOREPLICAS Not enough good replicas", "min-replicas-to-write"),
    (xadd_forbidden, "The user executing the script can't run this|ACL failure in script", None),
    (eval_forbidden, "NOPERM .*'eval'", "walpush check"),
]


class Refusing:
    """A Redis of its own, and an application with two replicas behind it."""

    def __init__(self, cluster, make_walpush, resources):
        self.server = resources.enter_context(Redis())
        forbid(self.server)
        self.app = resources.enter_context(fresh_app(cluster)).set_up()
        self.replicas = replicas_of(self.server, make_walpush, self.app, shipped_config())
        for replica in self.replicas.all:
            resources.callback(replica.kill)
        self.followers = self.replicas.followers(each=1)

    def takes_nothing_for_a_while(self, refuse, words, mend):
        server, leader = self.server, self.replicas.leader()
        wait_for_readiness(leader, 200)
        with Load(self.app) as load:
            load.wait_for(50)
            mark = leader.mark()
            with refuse(server):
                wait_for_readiness(leader, 503, f"Redis refuses what is appended to the stream: .*({words})")
                status = status_of(leader)
                assert re.search(words, status["trouble"]) and not status["ready"]
                assert status["relay"]["waited_seconds"] > 10
                assert leader.metric("walpush_relay_append_lag_seconds") > 10
                assert mend is None or mend in status["fix"]
                refused, evals = leader.metric("walpush_relay_refused_total"), called(server, "eval")
                load.wait_for(400)
                lines = said(leader, words, mark)
                # Append, the end of the stream, the leader's name; and both links each time they are dialled anew, every 10 s.
                once = [line for line in lines if "dialling anew" not in line]
                assert lines and len(once) <= 3, "\n".join(lines)
                refused, evals = leader.metric("walpush_relay_refused_total") - refused, called(server, "eval") - evals
                assert evals <= 3 * refused + 10  # for each the end of the stream and one batch, not all that waits
            load.wait_for(50)
        for follower in self.followers:
            follower.check(load.committed)
        for replica in self.replicas.all:
            wait_for_readiness(replica, 200)


def test_it_takes_nothing_for_a_while(cluster, make_walpush):
    """All kinds at the same time, because each takes until it counts as a stall."""
    with contextlib.ExitStack() as resources, concurrent.futures.ThreadPoolExecutor(len(REFUSALS)) as pool:
        each = [Refusing(cluster, make_walpush, resources) for _ in REFUSALS]
        running = [pool.submit(one.takes_nothing_for_a_while, *how) for one, how in zip(each, REFUSALS)]
        for one in running:
            one.result()


def test_a_link_that_is_made_while_it_cannot_save_is_one(app, make_walpush, config, server):
    """Then Redis refuses PING as if it were a write, and lets the stream be read."""
    replicas = replicas_of(server, make_walpush, app, config)
    leader = replicas.leader()
    wait_for_readiness(leader, 200)
    with Load(app) as load:
        load.wait_for(50)
        with cannot_save(server):
            server.client().client_kill_filter(_type="normal", skipme=True)
            wait_for_readiness(leader, 503, "Redis refuses what is appended to the stream: MISCONF")
    wait_for_readiness(leader, 200)


def test_it_does_not_let_itself_be_read(app, make_walpush, config, server):
    """What was appended is not lost, and both replicas say why their clients receive nothing."""
    replicas = replicas_of(server, make_walpush, app, config)
    followers = replicas.followers(each=1)
    with Load(app) as load:
        load.wait_for(50)
        with forbidden(server, "xread"):
            for replica in replicas.all:
                wait_for_readiness(replica, 503, "Redis refuses to let the stream be read: NOPERM")
        load.wait_for(50)
    for follower in followers:
        follower.check(load.committed)


def test_what_is_asked_besides_is_said_once(app, make_walpush, config, server):
    walpush = replicas_of(server, make_walpush, app, config, n=1).all[0]
    with forbidden(server, "set", "xlen"), walpush.subscribe(UNIT_1, ASHA) as client:
        for command, pattern in (("set", "does not take the leader's name"), ("xlen", "does not say how long")):
            wait_until(lambda: rejected(server, command) >= 3, f"{command} is not asked")  # noqa: B023
            assert len(said(walpush, pattern)) == 1
        app.touch(app.request, "all the same")
        assert client.recv()["data"]["purpose"].endswith("all the same")


def called(server, command, how="calls"):
    return server.client().info("commandstats").get(f"cmdstat_{command}", {}).get(how, 0)


def rejected(server, command):
    return called(server, command, "rejected_calls")


def test_postgresql_stops_while_redis_refuses(app, make_walpush, config, server, cluster):
    """The queue is full, so that nothing is read from the slot, not even that PostgreSQL waits."""
    replicas = replicas_of(server, make_walpush, app, config, n=1)
    followers = replicas.followers(each=1)
    with Load(app, text="x" * 20000) as load:
        load.wait_for(50)
        with out_of_memory(server):
            wait_until(lambda: status_of(replicas.all[0])["relay"]["queued_bytes"] > 8 << 20, "the queue does not fill")
            start = time.monotonic()
            cluster.stop("fast")
            took = time.monotonic() - start
            cluster.start()
            load.wait_for(10)
        load.wait_for(50)
    print(f"pg_ctl stop took {took:.2f} s")
    assert took < PATIENCE
    for follower in followers:
        follower.check(load.committed)


# --- the user of the documents ------------------------------------------------------------------------------------------


def documented_rules():
    return re.search(r"^ACL SETUSER walpush (.*)$", (ROOT / "docs/scaling.md").read_text(), re.M).group(1)


def test_the_documented_user_suffices(app, make_walpush, config, server):
    """For `walpush check`, which leaves no key behind, and for the stream."""
    rules = re.sub(r" \+select\b", "", documented_rules()).replace("PASSWORD", PASSWORD)  # the URL names no database but 0
    server.client().execute_command("ACL", "SETUSER", USER, "reset")
    server.client().execute_command("ACL", "SETUSER", USER, *rules.split())
    walpush = replicas_of(server, make_walpush, app, config, n=1).all[0]
    with walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request, "one")
        client.recv()
    assert not said(walpush, "NOPERM")
    walpush.stop()
    keys = set(server.client().keys())
    done = run_to_end("check", "--json", "-c", walpush.file, env=walpush.env)
    findings = [f for f in json.loads(done.stdout)["findings"] if f["check"] == "relay" and f["state"] != "ok"]
    assert findings == [], findings
    wait_until(lambda: set(server.client().keys()) <= keys, f"check leaves keys beside {keys}")
