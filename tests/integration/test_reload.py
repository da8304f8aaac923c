"""SIGHUP: another configuration takes the place of the one in force, or nothing changes."""

import itertools
import signal
import threading
import time

import pytest

from harness.app import ASHA, BOB, MEENA, RAVI, ROOT_USER, SAM
from harness.client import PATIENCE, Client, Closed, Refused, assert_in_order
from harness.load import Load, number_of
from harness.metrics import Metrics
from harness.redis import Redis
from harness.walpush import SIGNING_KEY, fields_of, token
from throwaway.config import Raw

UNIT_1, CRATES_1 = "/ws/requests/1/", "/ws/crates/1/"
TAKEN, REFUSED = "the configuration is taken over", "the configuration is refused"


def reload(walpush, config):
    """The log's verdict on this configuration."""
    config.write(walpush.file)
    mark = walpush.mark()
    walpush.send_signal(signal.SIGHUP)
    return fields_of(walpush.wait_for_log(f"{TAKEN}|{REFUSED}", since=mark))


def take(walpush, config):
    assert TAKEN in reload(walpush, config)["msg"], walpush.log()


def refuse(walpush, config):
    said = reload(walpush, config)
    assert REFUSED in said["msg"], said
    return said


def hears_of(client, app, request):
    app.touch(request)
    return client.recv()


# --- what changes -----------------------------------------------------------------------------------------------


def test_limits_levels_origins_and_keys(app, walpush, config):
    evil, old_key = {"Origin": "https://evil.example"}, walpush.token(ASHA)
    with walpush.subscribe(UNIT_1, ASHA) as client:
        with pytest.raises(Refused):
            walpush.connect(UNIT_1, ASHA, headers=evil)
        config.set("listen.origins", ["https://evil.example"])
        config.set("log.level", "debug")
        config.set("limits.messages-per-second", 2)
        config.set("jwt.key", "another-key-that-must-never-be-logged")
        take(walpush, config)
        with Client(walpush.port, UNIT_1, token=old_key) as refused:
            assert refused.close_code() == 4401
        new_key = token(ASHA, key="another-key-that-must-never-be-logged")
        with Client(walpush.port, UNIT_1, token=new_key, headers=evil) as admitted:
            admitted.established()
            for _ in range(10):  # three or more of them in one second, wherever that begins
                admitted.send_json({"type": "nothing"})
            assert admitted.close_code() == 1008
        walpush.wait_for_log("level=debug")
        assert hears_of(client, app, app.request)["request_id"] == app.request
    assert SIGNING_KEY not in walpush.log() and "another-key" not in walpush.log()


def test_other_rules_are_another_epoch(app, walpush, config):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        assert "purpose" not in hears_of(client, app, app.request)
        config.set("tables.requests.fields", ["status", "purpose"])
        take(walpush, config)
        message = client.recv()
        assert (message["type"], message["reason"]) == ("resync", "epoch")
        assert message["epoch"] != client.hello["epoch"]
        app.touch(app.request, "marker")
        messages = client.recv_until(lambda m: m.get("purpose", "").endswith("marker"))
        assert_in_order(messages)
    with walpush.subscribe(UNIT_1, ASHA) as client:
        assert client.hello["epoch"] == message["epoch"]


def test_a_table_more_and_a_table_less(app, walpush, config):
    users = '{ type = "user"  key = "user_id"  groups = [ "requests_unit_{unit_id}" ]  columns = [ "status" ] }'
    with walpush.subscribe(UNIT_1, ASHA) as client:
        app.sql("ALTER TABLE units REPLICA IDENTITY FULL")
        config.set("tables.units", Raw(users.replace("user", "unit").replace("{unit_id}", "{id}").replace("status", "location")))
        take(walpush, config)
        assert client.recv()["reason"] == "epoch"
        app.sql("UPDATE units SET location = 'there' WHERE id = 1")
        message = client.recv_until(lambda m: m["type"] == "unit.updated")[-1]
        assert message["data"] == {"location": "there"}
        config.remove("tables.units")
        take(walpush, config)
        assert client.recv()["reason"] == "epoch"
        app.sql("UPDATE units SET location = 'nowhere' WHERE id = 1")
        app.touch(app.request, "marker")
        messages = client.recv_until(lambda m: m["data"].get("purpose", "").endswith("marker"))
        assert all(m["type"] == "request.updated" for m in messages), messages


def test_streams_that_change(app, walpush, config):
    """Who listens to one that is as it was stays; the others connect anew, and are judged by what stands there now."""
    config.set("limits.drain", 0)
    take(walpush, config)
    with walpush.subscribe(UNIT_1, ASHA) as requests, walpush.subscribe(CRATES_1, ASHA) as crates:
        config.set("streams.requests.admit", f"SELECT 1 FROM users WHERE id = {{token.user_id}} AND id = {RAVI}")
        take(walpush, config)
        assert requests.close_code() == 1012
        assert walpush.connect(UNIT_1, ASHA).close_code() == 4403
        with walpush.subscribe(UNIT_1, RAVI) as ravi:
            assert hears_of(ravi, app, app.request)["request_id"] == app.request
            config.remove("streams.requests")
            take(walpush, config)
            assert ravi.close_code() == 1012
        with pytest.raises(Refused) as refused:
            walpush.connect(UNIT_1, RAVI)
        assert refused.value.status == 404
        app.sql("UPDATE crates SET barcode = 'moved on' WHERE id = %s", app.crate)
        assert crates.recv()["crate_id"] == app.crate


def test_what_needs_a_restart_is_named_and_stays(walpush, config):
    config.set("listen.threads", 7).set("limits.group-bytes", "2 MiB").set("limits.stall", 30)
    take(walpush, config)
    line = walpush.wait_for_log("need a restart")
    assert fields_of(line)["options"] == "listen.threads, limits.group-bytes"
    assert walpush.admin("/healthz").status == 200


# --- what is refused ----------------------------------------------------------------------------------------------


BAD = (
    ("limits.stall", "soon", "limits.stall"),
    ("limits.nonsense", 1, "not known"),
    ("tables.requests.groups", ["unit_{no_such_column}"], "no_such_column"),
    ("tables.requests.from", "no_such_table", "no_such_table"),
    ("streams.requests.admit", "SELECT 1 FROM no_such_table", "no_such_table"),
    ("streams.requests.admit", "SELECT {token.user_id} FRO users", "syntax error"),
    ("tables.requests.lookup", "SELECT nothing AS unit_id FROM crates WHERE id = {crate_id}", "nothing"),
    ("actor.query", "SELECT password_of(u) FROM users u WHERE id = {id}", "password_of"),
    ("jwt.key", "${NO_SUCH_VARIABLE}", "NO_SUCH_VARIABLE"),
    ("jwt.algorithm", "RS256", "RS256"),
    ("listen", Raw("{"), "syntax"),
)


def test_a_bad_file_changes_nothing(app, walpush, config):
    shipped = config.text
    with walpush.subscribe(UNIT_1, ASHA) as client:
        for setting, value, error in BAD:
            config.text = shipped
            config.set("log.level", "error")  # would be seen
            config.set(setting, value)
            said = refuse(walpush, config)
            assert error in said["error"] and int(said["line"]) > 0, (setting, value, said)
            assert hears_of(client, app, app.request)["request_id"] == app.request, (setting, value)
            with walpush.subscribe(UNIT_1, ASHA) as newcomer:
                assert hears_of(newcomer, app, app.request)["request_id"] == app.request, (setting, value)
            assert client.recv()["request_id"] == app.request, (setting, value)
    metrics = Metrics(walpush)
    assert metrics("walpush_reloads_total", result="refused") == len(BAD)
    assert metrics("walpush_reloads_total", result="taken") == 0


def test_a_refusal_says_the_first_error_and_how_many_there_are(walpush, config):
    config.set("limits.stall", "soon").set("tables.requests.lookup", "SELECT {token.user_id} AS unit_id")
    config.set("streams.crates.groups", ["crates_unit_{path.unit}"])
    said = refuse(walpush, config)
    assert "groups of crates" in said["error"] and "and 2 more errors" in said["error"], said


def test_a_file_that_is_gone(walpush):
    walpush.file.unlink()
    mark = walpush.mark()
    walpush.send_signal(signal.SIGHUP)
    assert "cannot be read" in walpush.wait_for_log(REFUSED, since=mark)


def test_without_the_database_a_reload_waits_and_the_next_takes_its_place(cluster, app, walpush, config):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        cluster.stop()
        walpush.wait_for_log("not streaming")
        for stall in (30, 40):
            mark = walpush.mark()
            config.set("limits.stall", stall).write(walpush.file)
            walpush.send_signal(signal.SIGHUP)
            walpush.wait_for_log("reading the configuration again", since=mark)
        cluster.start()
        app.close()  # the stop ended the test's own connection
        walpush.wait_for_log(TAKEN)
        assert hears_of(client, app, app.request)["request_id"] == app.request
    assert Metrics(walpush)("walpush_reloads_total", result="taken") == 1


def test_replicas_that_reload_one_after_the_other(app, config, make_walpush):
    """Each is told the new rules; their clients are told `epoch`, and then hear the same again."""
    with Redis() as redis:
        config.set("relay", Raw(f'{{ url = "{redis.url}" }}')).set("limits.admit-timeout", 60)
        replicas = [make_walpush(app, config).start(), make_walpush(app, config).start(streaming=False)]
        clients = [replica.subscribe(UNIT_1, ASHA) for replica in replicas]
        app.touch(app.request, "before")
        assert clients[0].recv() == clients[1].recv()
        config.set("tables.requests.fields", ["status", "purpose"])
        for replica in replicas:
            take(replica, config)
        for client in clients:
            client.recv_until(lambda m: (m["type"], m.get("reason")) == ("resync", "epoch"))
        app.touch(app.request, "behind")
        last = [client.recv_until(lambda m: m.get("purpose", "").endswith("behind"))[-1] for client in clients]
        assert last[0] == last[1]
        for replica in replicas:
            replica.stop()


# --- under load ------------------------------------------------------------------------------------------------------


class Follower(threading.Thread):
    """Hears the load's numbers on one connection, which must not end, and notes when."""

    def __init__(self, walpush, user):
        super().__init__(daemon=True)
        self.client = walpush.subscribe(UNIT_1, user)
        self.heard = []  # (when, message)
        self.error = None
        self._changed = threading.Condition()
        self.start()

    def run(self):
        try:
            while True:
                message = self.client.recv(timeout=3600)
                with self._changed:
                    self.heard.append((time.monotonic(), message))
                    self._changed.notify_all()
        except (Closed, OSError, AssertionError) as error:
            with self._changed:
                self.error = error
                self._changed.notify_all()

    def check(self, load):
        """Numbers follow each other; behind a `resync` they begin anew no later than what a refetch of that moment shows."""
        with self._changed:
            last = lambda: self.error or (self.heard and number_of(self.heard[-1][1]) == load.committed)  # noqa: E731
            assert self._changed.wait_for(last, 3 * PATIENCE), f"{len(self.heard)} messages, {load.committed} commits"
            assert not self.error, self.error
        resyncs, expected, refetched = 0, 1, None
        for when, message in self.heard:
            number = number_of(message)
            if number is None:
                assert (message["type"], message["reason"]) == ("resync", "epoch"), message
                resyncs, refetched = resyncs + 1, when
                continue
            if refetched is not None:
                assert number == 1 or load.at[number - 1] < refetched, f"{number} is the first behind a resync"
                expected, refetched = number, None
            assert number == expected, f"{number} instead of {expected}"
            expected = number + 1
        assert refetched is None
        return resyncs


def broken(config, number):
    """Another mistake each time."""
    return [
        lambda: config.set("limits.stall", -1),
        lambda: config.set("tables.requests.groups", ["unit_{no_such_column}"]),
        lambda: config.set("streams.requests.admit", "SELECT 1 FROM no_such_table"),
        lambda: config.replace("streams = {", "streams = {{"),
    ][number % 4]()


RELOADS = 36  # three times other rules, and each mistake three times


def test_many_reloads_under_load(app, config, make_walpush, capsys):
    """A third of them broken files, some of the others with other rules: no connection is dropped, no change is lost."""
    # Rules that change have the window read again. The window is bounded by bytes and not by time, and the log by neither: what leaves the
    # log before a slow machine has delivered it is a `resync` of its own, with the reason `history`.
    config.set("replay.bytes", 256 << 10).set("database.status-interval", 0.5)
    config.set("replay.seconds", 3600).set("limits.group-bytes", 256 << 20)
    walpush = make_walpush(app, config).start()
    followers = [Follower(walpush, user) for user in (ASHA, RAVI, MEENA, ROOT_USER, SAM)]
    # Rows of before the followers connected are not theirs; the shipped file must stand as it was for each round.
    shipped, fields, rules, verdicts = config.text, itertools.cycle((["status"], ["status", "unit_id"])), ["status"], []
    start = time.monotonic()
    with Load(app) as load:
        for number in range(RELOADS):
            load.wait_for(20)
            config.text = shipped
            if number % 12 == 1:
                rules = next(fields)
            config.set("tables.requests.fields", rules)
            config.set("limits.stall", 60 + number)
            config.set("log.level", ("info", "debug")[number % 2])
            if number % 3 == 2:
                broken(config, number)
            verdicts.append(TAKEN in reload(walpush, config)["msg"])
    took = time.monotonic() - start
    assert [number for number, taken in enumerate(verdicts) if not taken] == list(range(2, RELOADS, 3))
    resyncs = {follower.check(load) for follower in followers}
    assert len(resyncs) == 1 and resyncs.pop() >= 1
    metrics = Metrics(walpush)
    assert metrics("walpush_handshakes_total") == metrics("walpush_connections", stream="requests") == len(followers)
    assert metrics("walpush_closes_total") == 0
    with capsys.disabled():
        print(f"\n{RELOADS} reloads in {took:.1f} s, {sum(verdicts)} taken over, {load.committed} changes")
    for follower in followers:
        follower.client.wire.close()
    walpush.stop()
