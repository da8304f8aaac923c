"""Several replicas on one slot: whoever holds it feeds the others through a Redis stream."""

import contextlib
import json
import re
import signal
import time

import pytest

from harness.app import ASHA, MEENA, RAVI, ROOT_USER, SAM
from harness.client import PATIENCE, SLOWDOWN, Listener
from harness.load import LONG, UNIT_1, Follower, Load
from harness.redis import Redis
from harness.walpush import ROOT, ROW_MARK
from harness.wsload import Wsload
from throwaway.config import Raw, section, template

MIB = 1 << 20
USERS = (ASHA, RAVI, MEENA, ROOT_USER, SAM)


@pytest.fixture(scope="module")
def lasting():
    """A Redis that keeps what it has acknowledged."""
    with Redis() as server:
        yield server


@pytest.fixture
def redis_server(lasting):
    lasting.client().flushall()
    return lasting


@pytest.fixture
def forgetful():
    with Redis(persistent=False) as server:
        yield server


class Replicas:
    """Processes on one slot and one Redis; clients are spread over them, and move to the next when theirs ends."""

    def __init__(self, make_walpush, app, config, redis, n=3, **relay):
        relay = "".join(f" {name} = {value}" for name, value in relay.items())
        config.set("relay", Raw(f'{{ url = "{redis.url}"{relay} }}'))
        if config.get("limits.admit-timeout") is None:
            config.set("limits.admit-timeout", 60)  # whoever comes early waits until its replica is live
        config.set("limits.group-bytes", 256 * MIB).set("limits.log-bytes", 256 * MIB).set("limits.drain", 1)
        self.app, self.redis = app, redis
        self._make = lambda: make_walpush(app, config)
        self.all = [self._make().start()]
        self.all += [self._make().start(streaming=False) for _ in range(n - 1)]
        self._turn = 0

    def running(self):
        return [replica for replica in self.all if replica.process.poll() is None]

    def leader(self, of=None):
        """Whoever streams from the slot; a moment may pass until somebody does, and says so. One that is stopped cannot be asked."""
        deadline = time.monotonic() + LONG
        while True:
            for replica in of or self.running():
                if json.loads(replica.admin("/status").body)["relay"]["role"].startswith("feeds"):
                    return replica
            assert time.monotonic() < deadline, "nobody streams"
            time.sleep(0.02)

    def wait_for_position(self, replica, lsn):
        """Until it has read the stream so far."""
        deadline = time.monotonic() + LONG
        while True:
            position = json.loads(replica.admin("/status").body)["relay"]["position"]
            if self.app.value("SELECT %s::pg_lsn >= %s::pg_lsn", position, lsn):
                return
            assert time.monotonic() < deadline, f"it stands at {position}"
            time.sleep(0.02)

    def replace(self, replica, end):
        end(replica)
        self.all[self.all.index(replica)] = self._make().start(streaming=False)

    def address(self):
        """Of one after the other, as a load balancer would."""
        running = self.running()
        self._turn += 1
        replica = running[self._turn % len(running)]
        return replica.port, replica.token

    def followers(self, each=2):
        return [Follower(self.address, user) for user in USERS for _ in range(each)]


@pytest.fixture
def replicas(make_walpush, app, config, redis_server):
    return Replicas(make_walpush, app, config, redis_server)


@pytest.fixture
def two(make_walpush, app, config, redis_server):
    """Where it is about one that holds the slot and one that does not."""
    return Replicas(make_walpush, app, config, redis_server, n=2)


def test_each_replica_tells_its_clients_in_order(app, replicas):
    """And metrics tell who does what."""
    clients = [replica.subscribe(UNIT_1, ASHA) for replica in replicas.all]
    for i in range(20):
        app.touch(app.request, f"number {i}")
    heard = [[client.recv() for _ in range(20)] for client in clients]
    assert heard[0] == heard[1] == heard[2]
    assert [m["data"]["purpose"].split()[-1] for m in heard[0]] == [str(i) for i in range(20)]
    numbers = [metrics(replica) for replica in replicas.all]
    assert [n["walpush_relay_leads"] for n in numbers].count(1) == 1
    assert all(n["walpush_relay_up"] == 1 for n in numbers)
    assert all(n["walpush_relay_read_total"] >= 20 for n in numbers)
    assert sum(n["walpush_relay_appended_total"] >= 20 for n in numbers) == 1
    assert sum(n["walpush_relay_leaderships_total"] for n in numbers) == 1
    assert all(n["walpush_relay_refused_total"] == 0 for n in numbers)


def metrics(replica):
    lines = replica.admin("/metrics").body.decode().splitlines()
    return {line.split()[0]: float(line.split()[1]) for line in lines if line.startswith("walpush_relay_")}


def test_a_transaction_that_is_read_in_parts(app, replicas):
    """Its first group is told too: a replica reads 500 entries at a time, and what it read first is published with the last."""
    clients = [replica.subscribe("/ws/storage/1/", SAM) for replica in replicas.all]
    with app.transaction() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # no foreign keys
        cursor.execute(
            "INSERT INTO storages (unit_id, room_name, rack_name, compartment_name)"
            " SELECT n, 'room', 'rack', 'compartment' FROM generate_series(1, 1500) n"
        )
    for client in clients:
        assert client.recv()["type"] == "storage.created"


def test_a_message_worded_for_each_receiver(app, config, make_walpush, redis_server):
    """One number and two wordings, on every replica."""
    config.set(
        "tables.sendbacks",
        section(
            lookup="SELECT id AS user_id, username FROM users WHERE id IN (2, 3) ORDER BY id",
            groups=["notifications_user_{lookup.user_id}"],
            message=template({"to": "{lookup.username}", "type": "{op}", "id": "{event_id}"}),
        ),
    )
    replicas = Replicas(make_walpush, app, config, redis_server, n=2)
    clients = [(r.subscribe(f"/ws/notifications/{user}/", user), name) for r in replicas.all for user, name in ((ASHA, "asha"), (RAVI, "ravi"))]
    app.insert_sendback(app.request)
    heard = [(client.recv(), name) for client, name in clients]
    assert all(message["to"] == name for message, name in heard)
    assert len({message["id"] for message, _ in heard}) == 1


def test_half_a_transaction_of_another_holder(app, config, make_walpush, redis_server):
    """The first holder left a row's receivers to the end, and died before it. The next one knows them, but their message has an earlier number."""
    app.sql("CREATE TABLE homes (unit int)")
    app.sql("INSERT INTO homes VALUES (1)")
    config.set("tables.sendbacks", section(lookup="SELECT unit FROM homes", groups=["requests_unit_{lookup.unit}"], type="sendback", key="sendback_id"))
    replicas = Replicas(make_walpush, app, config, redis_server, n=1, wait=1)  # nothing is safe, so the slot stays where it is
    first = replicas.all[0]
    with first.subscribe(UNIT_1, ASHA) as client:
        with app.transaction() as cursor:
            cursor.execute("INSERT INTO sendbacks (request_id, reason, created_at, created_by_id, sendback_type) VALUES (%s, '', now(), %s, 'x')", (app.request, RAVI))
            cursor.execute("UPDATE requests SET purpose = 'two' WHERE id = %s", (app.request,))
        known = client.recv()
        assert known["type"] == "request.updated" and client.recv()["reason"] == "lookup"
    first.kill()
    redis = redis_server.client()
    (stream,) = [key for key in redis.keys() if redis.type(key) == b"stream"]
    entries = redis.xrange(stream)
    (mark,) = [at for at, (_, fields) in enumerate(entries) if fields.get(b"r") == b"lookup"]
    redis.xdel(stream, *[entry for entry, _ in entries[mark:]])
    redis.execute_command("XSETID", stream, entries[mark - 1][0])
    app.sql("GRANT SELECT ON homes TO walpush")
    replicas.replace(first, lambda replica: None)
    with replicas.all[0].connect(f"{UNIT_1}?since={known['id']}&epoch={client.hello['epoch']}", ASHA) as client:
        assert client.established()["resumed"]
        assert client.recv()["reason"] == "skipped"
        app.touch(app.request, "three")
        assert client.recv()["type"] == "request.updated"


@pytest.mark.whole(reason="fewer clients and changes under a sanitizer")
def test_many_clients_on_every_replica(app, make_walpush, config, redis_server, wsload, capsys):
    connections, changes = (300, 1000) if SLOWDOWN < 3 else (30, 200)
    config.set("limits.per-user", 0).set("limits.handshakes-per-second", 0)
    replicas = Replicas(make_walpush, app, config, redis_server)
    options = {"connections": connections, "expect": changes, "sources": 2}
    with contextlib.ExitStack() as stack:
        loads = [stack.enter_context(Wsload(wsload, one, UNIT_1, ASHA, **options)) for one in replicas.all]
        witnesses = [stack.enter_context(one.subscribe(UNIT_1, ASHA)) for one in replicas.all]
        for i in range(changes):
            app.touch(app.request, f"number {i}")
        heard = [witness.recv_n(changes) for witness in witnesses]
        figures = [load.result() for load in loads]
    assert heard[0] == heard[1] == heard[2]
    assert [m["data"]["purpose"].split()[-1] for m in heard[0]] == [str(i) for i in range(changes)]
    assert all(f["min"] == f["max"] == changes for f in figures)
    with capsys.disabled():
        print(f"\n{sum(f['deliveries'] for f in figures)} deliveries to {3 * connections} clients of 3 replicas")


def test_the_leader_is_killed_under_load(app, replicas):
    """Whoever was on another replica notices nothing; the others resume there."""
    followers = replicas.followers()
    with Load(app) as load:
        for _ in range(3):
            load.wait_for(100)
            replicas.replace(replicas.leader(), lambda replica: replica.kill())
        load.wait_for(100)
    for follower in followers:
        follower.check(load.committed)


def test_another_streams_soon_after_a_kill(app, replicas):
    """The connection of a killed process breaks cleanly: no timeout of PostgreSQL is waited for."""
    leader = replicas.leader()
    other = next(replica for replica in replicas.all if replica is not leader)
    client = other.subscribe(UNIT_1, ASHA)
    start = time.monotonic()
    leader.kill()
    app.touch(app.request, "afterwards")
    assert client.recv(timeout=LONG)["data"]["purpose"].endswith("afterwards")
    took = time.monotonic() - start
    print(f"another replica streamed {took:.2f} s after the kill")
    assert took < PATIENCE


def test_rolling_restart_under_load(app, replicas):
    followers = replicas.followers()
    with Load(app) as load:
        for replica in list(replicas.all):
            load.wait_for(50)
            replicas.replace(replica, lambda r: r.stop())
        load.wait_for(100)
    for follower in followers:
        follower.check(load.committed, resumed=1)


def test_a_leader_that_stops_publishes_first(app, two):
    """What was committed by then goes through Redis, and back to its own clients before they are closed."""
    rows = 300
    leader = two.leader()
    clients = [replica.subscribe(UNIT_1, ASHA) for replica in two.all]
    with app.transaction() as cursor:
        for i in range(rows):
            cursor.execute("UPDATE requests SET purpose = %s WHERE id = %s", (f"{ROW_MARK} {i}", app.request))
    leader.stop()
    for client, replica in zip(clients, two.all):
        messages = client.recv_n(rows)
        assert [int(m["data"]["purpose"].split()[-1]) for m in messages] == list(range(rows))
        if replica is leader:
            assert client.close_code() == 1012
    successor = two.leader()
    assert successor is not leader


def test_a_new_replica_knows_the_window(app, two, make_walpush):
    with two.all[0].subscribe(UNIT_1, ASHA) as client:
        for i in range(10):
            app.touch(app.request, f"number {i}")
        messages = [client.recv() for _ in range(10)]
        epoch = client.hello["epoch"]
    late = two._make().start(streaming=False)
    with late.connect(f"{UNIT_1}?since={messages[3]['id']}&epoch={epoch}", ASHA) as client:
        assert client.established()["resumed"]
        assert [client.recv() for _ in range(6)] == messages[4:]


def test_a_revocation_overtakes_nothing_on_any_replica(app, two):
    clients = [replica.subscribe(UNIT_1, ASHA) for replica in two.all]
    app.touch(app.request, "before")
    with app.transaction() as cursor:
        cursor.execute("UPDATE requests SET purpose = 'never seen' WHERE id = %s", (app.request,))
        cursor.execute("DELETE FROM user_units WHERE user_id = %s", (ASHA,))
    for client in clients:
        messages, code = client.drain_to_close()
        assert [m["data"]["purpose"].split()[-1] for m in messages] == ["before"]
        assert code == 4403


def ahead(app, hello, bytes):
    """A `since` that no replica has read yet."""
    position = int(app.value("SELECT pg_current_wal_insert_lsn() - '0/0'")) + bytes
    return f"{UNIT_1}?since={position >> 32:X}/{position & 0xFFFFFFFF:X}-1&epoch={hello['epoch']}"


def test_a_client_that_is_ahead_of_its_replica_waits(app, two):
    """Replicas are milliseconds apart; who changes from one to another must not be told to refetch for that. Who is ahead of everything is."""
    late = next(replica for replica in two.all if replica is not two.leader())
    with late.subscribe(UNIT_1, ASHA) as client:
        path, nowhere = ahead(app, client.hello, 20000), ahead(app, client.hello, 1 << 40)
    with late.connect(path, ASHA) as client:
        mark = late.mark()
        with app.transaction() as cursor:  # it waits for seconds, not for as long as a hundred commits may take
            for i in range(100):
                cursor.execute("UPDATE requests SET purpose = %s WHERE id = %s", (f"number {i}", app.request))
        assert client.established()["resumed"]
        assert "refused" not in late.log(mark)
    with late.connect(nowhere, ASHA) as client:
        assert "resumed" not in client.established()
        assert client.recv()["reason"] == "history"


@pytest.mark.parametrize("how", ["restart", "lose_everything"])
def test_redis_restarts_under_load(app, replicas, how):
    """Nobody is disconnected and nothing is lost: what Redis forgot is filled again from the slot's window."""
    followers = replicas.followers()
    with Load(app) as load:
        for _ in range(2):
            load.wait_for(100)
            getattr(replicas.redis, how)()
        load.wait_for(100)
    for follower in followers:
        follower.check(load.committed)
        assert len(follower.hellos) == 1


def test_redis_is_away_for_a_while(app, two):
    followers = two.followers(each=1)
    with Load(app) as load:
        load.wait_for(50)
        two.redis.kill()
        load.wait_for(200)
        assert two.all[0].admin("/readyz").status == 503
        two.redis.start()
        load.wait_for(50)
    for follower in followers:
        follower.check(load.committed)
        assert len(follower.hellos) == 1


def test_postgresql_stops_while_redis_is_away(app, two, cluster):
    with Load(app) as load:
        load.wait_for(50)
        two.redis.kill()
        load.wait_for(50)
        start = time.monotonic()
        cluster.stop("fast")
        took = time.monotonic() - start
        cluster.start()
        two.redis.start()
        load.wait_for(50)
    print(f"pg_ctl stop took {took:.2f} s")
    assert took < PATIENCE


def test_what_no_window_reaches_is_refetched_once(app, make_walpush, config, forgetful):
    """Redis forgot what the slot had been confirmed behind: whoever had not read it is told to refetch, and nobody else."""
    config.set("replay.seconds", 0)
    replicas = Replicas(make_walpush, app, config, forgetful)
    leader = replicas.leader()
    late = next(replica for replica in replicas.all if replica is not leader)
    listeners = [Listener(replica.subscribe(UNIT_1, ASHA)) for replica in replicas.all]
    app.touch(app.request, "heard by all")
    for listener in listeners:
        listener.wait_until(lambda m: len(m) >= 1)
    late.send_signal(signal.SIGSTOP)
    forgetful.client().client_kill_filter(_type="normal")  # what it had asked is not answered any more; the others dial anew
    app.touch(app.request, "missed by one")
    handled = app.value("SELECT pg_current_wal_lsn()")
    app.wait_until(
        "SELECT confirmed_flush_lsn >= %s FROM pg_replication_slots WHERE slot_name = %s", handled, app.slot, timeout=LONG
    )
    leader = replicas.leader(of=[replica for replica in replicas.all if replica is not late])
    leader.send_signal(signal.SIGSTOP)  # nothing more is confirmed; what is, it has read
    handled = app.value("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = %s", app.slot)
    for replica in replicas.all:
        if replica not in (late, leader):
            replicas.wait_for_position(replica, handled)
    forgetful.lose_everything()
    leader.send_signal(signal.SIGCONT)
    late.send_signal(signal.SIGCONT)
    app.touch(app.request, "afterwards")
    for replica, listener in zip(replicas.all, listeners):
        messages = listener.wait_until(lambda m: len(m) >= 3)
        assert [(m["type"], m.get("reason")) for m in messages] == [
            ("request.updated", None),
            ("resync", "gap") if replica is late else ("request.updated", None),
            ("request.updated", None),
        ]
        assert messages[2]["data"]["purpose"].endswith("afterwards")


def test_one_that_lost_the_slot_cannot_interleave(app, replicas):
    """Stopped while it has entries to append, replaced, and woken: what it still sends is refused or the same."""
    followers = replicas.followers()
    with Load(app) as load:
        for _ in range(3):
            load.wait_for(100)
            leader = replicas.leader()
            leader.send_signal(signal.SIGSTOP)
            app.sql(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s", app.slot
            )
            app.wait_until(
                "SELECT active FROM pg_replication_slots WHERE slot_name = %s", app.slot, timeout=LONG
            )
            load.wait_for(50)
            leader.send_signal(signal.SIGCONT)
        load.wait_for(100)
    for follower in followers:
        follower.check(load.committed)


def append_script():
    """As the C compiler puts it together."""
    text = next(text for path in (ROOT / "src").glob("*/*.c") if "append_script[]" in (text := path.read_text(encoding="utf-8")))

    def literals(pattern):
        return "".join(re.findall(r'"([^"]*)"', re.search(pattern, text, re.DOTALL).group(1)))

    return literals(r"#define TAIL_FUNCTION(.*?)\n\n") + literals(r"append_script\[\] =(.*?);\n")


def test_the_script_appends_behind_the_expected_tail_alone(redis_server):
    """What a replica would send that lost the slot unawares: entries that Redis by itself would take, because their ids are greater."""
    redis, script = redis_server.client(), append_script()
    first, second = ["100-1", 4, "e", 101, "p", "0-0"], ["200-1", 4, "e", 201, "p", "100-1"]
    assert redis.eval(script, 1, "stream", "0-0", *first) == 1
    for expected in ("0-0", "99-1", "100-0", "100-2", "200-1"):
        assert redis.eval(script, 1, "stream", expected, *second) == [b"100-1", b"101"]
        assert redis.xlen("stream") == 1
    assert redis.eval(script, 1, "stream", "100-1", *second) == 1
    assert redis.xlen("stream") == 2


def test_the_slot_waits_for_the_replicas_of_redis(app, make_walpush, config, redis_server):
    with Redis(replica_of=redis_server) as second:
        replicas = Replicas(make_walpush, app, config.set("replay.seconds", 0), redis_server, n=1, wait=1)
        app.touch(app.request, "one")
        lsn = app.value("SELECT pg_current_wal_lsn()")
        app.wait_until(
            "SELECT confirmed_flush_lsn >= %s FROM pg_replication_slots WHERE slot_name = %s", lsn, app.slot, timeout=LONG
        )
        second.kill()
        with replicas.all[0].subscribe(UNIT_1, ASHA) as client:
            app.touch(app.request, "two")
            client.recv()
            before = app.value("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = %s", app.slot)
            second.start()
            app.wait_until(
                "SELECT confirmed_flush_lsn > %s FROM pg_replication_slots WHERE slot_name = %s",
                before,
                app.slot,
                timeout=LONG,
            )


def test_a_password(app, make_walpush, config):
    with Redis(password="p@ss/word %") as server:
        server.password = "p%40ss%2Fword%20%25"
        url = server.url
        config.set("relay", Raw(f'{{ url = "{url}" }}'))
        walpush = make_walpush(app, config).start()
        walpush.secrets += ["p@ss/word", "p%40ss"]
        with walpush.subscribe(UNIT_1, ASHA) as client:
            app.touch(app.request, "one")
            client.recv()


def test_a_wrong_password_is_said(app, make_walpush, config):
    with Redis(password="secret") as server:
        config.set("relay", Raw(f'{{ url = "redis://:other@127.0.0.1:{server.port}/0" }}'))
        walpush = make_walpush(app, config).start(streaming=False)
        walpush.secrets.append("other")
        assert "WRONGPASS" in walpush.wait_for_log("no connection to Redis")


def test_the_replica_that_has_the_slot_makes_the_checks(make_walpush, app, config, redis_server):
    """And the next one goes on when it ends."""
    finds = 'msg="a check finds something" check=table-logged '
    two = Replicas(make_walpush, app, config.set("admin.check-interval", 1), redis_server, n=2)
    leader = two.leader()
    (other,) = [replica for replica in two.all if replica is not leader]
    marks = {replica: replica.mark() for replica in two.all}
    app.sql("ALTER TABLE sendbacks SET UNLOGGED")
    leader.wait_for_log(finds, since=marks[leader])
    deadline = time.monotonic() + PATIENCE
    while json.loads(other.admin("/status").body)["checked_at"]:  # of its start
        assert time.monotonic() < deadline
    assert json.loads(other.admin("/status").body)["findings"] == [] and not re.search(finds, other.log(marks[other]))
    leader.stop()
    other.wait_for_log(finds, since=marks[other])


def test_a_query_that_a_stranger_decides_admits_nobody_at_any_replica(make_walpush, app, config, redis_server):
    two = Replicas(make_walpush, app, config.set("admin.check-interval", 1), redis_server, n=2)
    clients = [replica.subscribe(UNIT_1, ASHA) for replica in two.all]
    app.sql("CREATE ROLE stranger; GRANT CREATE ON SCHEMA public TO stranger; SET ROLE stranger")
    try:
        app.sql("CREATE FUNCTION public.same(varchar, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true'")
        app.sql("CREATE OPERATOR public.= (FUNCTION = public.same, LEFTARG = varchar, RIGHTARG = text)")
        assert [client.close_code() for client in clients] == [1013, 1013]
    finally:
        app.sql("RESET ROLE; DROP OWNED BY stranger; DROP ROLE stranger")
