"""Records that any role can put into the log, and those that nobody can handle: what comes behind each of them arrives."""

import contextlib
import json
import signal
import time

import pytest

from harness.app import ASHA, BOB, MEENA, RAVI, fresh_app
from harness.client import PATIENCE, SLOWDOWN, assert_in_order
from harness.proxy import Ending, proxy, tampering
from harness.redis import Redis
from harness.walpush import Walpush, shipped_config
from throwaway.config import Raw, section

UNIT_1 = "/ws/requests/1/"
UNIT_2 = "/ws/requests/2/"
# Three times over 30 s, and the waits between the tries.
GIVES_UP = 60 * SLOWDOWN
MARK = b"cannot-be-decoded"
TOO_LONG = Ending("54000", "out of memory")
TOO_LARGE = Ending("XX000", "invalid memory alloc request size 1107296259")


@pytest.mark.parametrize("transactional", [True, False])
@pytest.mark.parametrize("prefix", ["walpush", "other", ""])
def test_a_logical_message_is_passed_over(app, config, make_walpush, transactional, prefix):
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        mark = walpush.mark()
        app.touch(app.request)
        first = client.recv()
        app.sql("SELECT pg_logical_emit_message(%s, %s, 'x')", transactional, prefix)
        app.touch(app.request)
        second = client.recv()
        assert_in_order([first, second])
        assert "level=error" not in walpush.log(mark) and "level=warn" not in walpush.log(mark)


def test_a_message_inside_of_a_transaction_does_not_part_it(app, config, make_walpush):
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, RAVI) as client:
        with app.transaction() as cursor:
            cursor.execute("UPDATE requests SET purpose = 'one' WHERE id = %s", (app.request,))
            cursor.execute("SELECT pg_logical_emit_message(true, 'walpush', 'x')")
            cursor.execute("SELECT pg_logical_emit_message(false, 'walpush', 'x')")
            cursor.execute("UPDATE requests SET purpose = 'two' WHERE id = %s", (app.request,))
        assert [client.recv()["data"]["purpose"] for _ in range(2)] == ["one", "two"]


# --- a row that is stepped over -----------------------------------------------------------------------------------------


def resyncs(messages):
    return [m["reason"] for m in messages if m["type"] == "resync"]


def upto(client, purpose):
    """Messages up to the change that has this purpose."""
    return client.recv_until(lambda m: m.get("data") and m["data"].get("purpose") == purpose)


def write(app, purpose, request=None):
    app.sql("UPDATE requests SET purpose = %s WHERE id = %s", purpose, request or app.request)


@pytest.fixture
def small(config):
    """Rows of more than 64 KiB are too large."""
    return config.set("limits.record-bytes", 65536)


def test_a_row_over_the_limit_is_one_resync(app, small, make_walpush):
    """To those of its table; what is behind it arrives; and so it is for whoever resumes."""
    with make_walpush(app, small) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        write(app, "before")
        since = client.recv()["id"]
        with app.transaction() as cursor:
            cursor.execute("UPDATE requests SET purpose = 'beside' WHERE id = %s", (app.request,))
            cursor.execute("UPDATE requests SET purpose = repeat('x', 100000) WHERE id = %s", (app.request,))
            cursor.execute("UPDATE requests SET purpose = 'left' WHERE id = %s", (app.request,))
        write(app, "behind")
        messages = upto(client, "behind")
        assert [m["type"] for m in messages] == ["resync", "request.updated"] and resyncs(messages) == ["skipped"]
        assert_in_order(messages)
        assert walpush.metric("walpush_records_skipped_total") == 2  # also the one whose old row is
        assert walpush.metric('walpush_resyncs_total{reason="skipped"}') == 1
        with walpush.connect(UNIT_1 + f"?since={since}&epoch={client.hello['epoch']}", ASHA) as late:
            assert resyncs(upto(late, "behind")) == ["skipped"]
        line = walpush.wait_for_log("a row is stepped over")
        assert "table=requests" in line and "commit=" in line and "limits.record-bytes" in line


def test_the_limit_can_be_changed_while_it_runs(app, small, make_walpush):
    with make_walpush(app, small) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        for limit, hears in ((1 << 20, "request.updated"), (65536, "resync")):
            small.set("limits.record-bytes", limit).write(walpush.file)
            mark = walpush.mark()
            walpush.send_signal(signal.SIGHUP)
            walpush.wait_for_log("the configuration is taken over", since=mark)
            write(app, "x" * 100000)
            assert client.recv()["type"] == hears


def test_a_limit_that_ordinary_rows_reach_is_refused(app, config, make_walpush):
    walpush = make_walpush(app, config.set("limits.record-bytes", 1)).spawn()
    assert walpush.wait() == 2
    assert "limits.record-bytes is 0, or at least 64 KiB" in walpush.log()


def test_groups_of_a_table_in_the_same_transaction_are_told_too(app, small, make_walpush):
    """The crate's group is told because a crate changed, the other unit's because the row that is missing may have been its."""
    with make_walpush(app, small) as walpush, contextlib.ExitStack() as clients:
        crates = clients.enter_context(walpush.subscribe("/ws/crates/1/", ASHA))
        others = clients.enter_context(walpush.subscribe(UNIT_2, BOB))
        elsewhere = clients.enter_context(walpush.subscribe("/ws/crates/2/", BOB))
        with app.transaction() as cursor:
            cursor.execute("UPDATE requests SET purpose = repeat('x', 100000) WHERE id = %s", (app.request,))
            cursor.execute("UPDATE crates SET barcode = 'new' WHERE id = %s", (app.crate,))
        app.sql("UPDATE crates SET barcode = 'newer' WHERE id = %s", app.crate)
        app.sql("UPDATE crates SET barcode = 'newest' WHERE id = %s", app.crate2)
        write(app, "behind", app.request2)
        assert resyncs(upto(others, "behind")) == ["skipped"]
        assert resyncs(crates.recv_until(lambda m: m["type"] != "resync")) == ["skipped"]
        assert elsewhere.recv()["type"] != "resync"


def test_a_revocation_beside_it_takes_effect(app, small, make_walpush):
    another = app.insert_request(1)
    with make_walpush(app, small) as walpush, walpush.subscribe(UNIT_1, ASHA) as client, walpush.subscribe(UNIT_1, RAVI) as other:
        with app.transaction() as cursor:
            cursor.execute("UPDATE requests SET purpose = repeat('x', 100000) WHERE id = %s", (app.request,))
            cursor.execute("DELETE FROM user_units WHERE user_id = %s AND unit_id = 1", (ASHA,))
        write(app, "behind", another)
        messages, code = client.drain_to_close()
        assert code == 4403 and all(m["type"] == "resync" for m in messages)
        assert resyncs(upto(other, "behind")) == ["skipped"]


@pytest.mark.parametrize("groups", [["own_{token.user_id}", "all_b"], ["all_b", "own_{token.user_id}"]])
def test_a_close_beside_it_takes_effect(app, small, make_walpush, groups):
    """A connection hears all groups of the transaction. One closes it, which another section names too, by the unit's number."""
    admit = "SELECT 1 FROM users WHERE id = {token.user_id}"
    small.set("streams.all", Raw(f'{{ path = "/ws/all/" admit = "{admit}" groups = {json.dumps(groups)} }}'))
    small.set("tables.requests.groups", ["all_b", "own_{unit_id}"])
    on_password = Raw('{ left = { column = "password"  changes = true } }')
    accounts = {"from": "users", "type": "account", "key": "account_id", "groups": ["own_{id}"]}
    small.set("tables.accounts", section(**accounts, only_actions=True, close=4000, actions=on_password))
    with make_walpush(app, small) as walpush, walpush.subscribe("/ws/all/", ASHA) as own, walpush.subscribe("/ws/all/", RAVI) as other:
        with app.transaction() as cursor:
            cursor.execute("UPDATE requests SET purpose = repeat('x', 100000) WHERE id = %s", (app.request,))
            cursor.execute("UPDATE requests SET purpose = 'left' WHERE id = %s", (app.request,))
            cursor.execute("UPDATE requests SET purpose = 'x' WHERE unit_id = %s", (ASHA,))
            cursor.execute("UPDATE users SET password = 'new' WHERE id = %s", (ASHA,))
        messages, code = own.drain_to_close()
        assert (resyncs(messages), code) == (["skipped"], 4000)
        write(app, "behind")
        assert resyncs(upto(other, "behind")) == ["skipped"]


def test_a_membership_that_cannot_be_read_asks_everybody(app, small, make_walpush):
    app.sql("ALTER TABLE user_units ADD COLUMN note text")
    with make_walpush(app, small) as walpush, walpush.subscribe(UNIT_1, ASHA) as client, walpush.subscribe(UNIT_1, RAVI) as other:
        before = walpush.metric("walpush_admit_queries_total")
        app.sql("UPDATE users SET status = 'Active' WHERE id = %s", RAVI)
        with app.transaction() as cursor:
            cursor.execute("UPDATE user_units SET unit_id = 2, note = repeat('x', 100000) WHERE user_id = %s", (ASHA,))
        write(app, "behind")
        messages, code = client.drain_to_close()
        assert code == 4403 and all(m["type"] == "resync" for m in messages)
        assert len(resyncs(upto(other, "behind"))) <= 1
        assert walpush.metric("walpush_admit_queries_total") > before


def test_the_connection_is_renewed_behind_a_large_record(app, config, make_walpush):
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        mark = walpush.mark()
        app.sql("UPDATE requests SET purpose = repeat('x', 20000000) WHERE id = %s", app.request)
        walpush.wait_for_log("connection is renewed", since=mark)
        walpush.wait_for_log(r'msg="?streaming"?', since=mark)
        write(app, "behind")
        messages = upto(client, "behind")
        assert not resyncs(messages)
        assert "level=warn" not in walpush.log(mark) and "level=error" not in walpush.log(mark)


# --- what the server cannot decode, and what cannot be read --------------------------------------------------------------


class Place:
    """An application whose stream fails at one transaction, and the processes on it. `change` is what becomes of a record."""

    def __init__(self, cluster, directory, resources, change, replicas=1, **settings):
        self.app = resources.enter_context(fresh_app(cluster)).set_up()
        self.other = self.app.insert_request(1)
        port = resources.enter_context(proxy(cluster.port, answer=tampering(change)))
        url = self.app.url.replace(f":{cluster.port}/", f":{port}/") + "?sslmode=disable"
        config = shipped_config().set("limits.admit-timeout", 60)
        for name, value in settings.items():
            config.set(name.replace("_", "."), value)
        self.replicas = []
        for i in range(replicas):
            (directory / str(i)).mkdir(parents=True)
            self.replicas.append(Walpush(config, directory / str(i), self.app, url=url).start(streaming=i == 0))
            resources.callback(self._end, self.replicas[-1])
        self.walpush = self.replicas[0]
        listen = [resources.enter_context(one.subscribe(UNIT_1, ASHA)) for one in self.replicas]
        self.clients = [*listen, resources.enter_context(self.replicas[-1].subscribe(UNIT_2, BOB))]
        self.revoked = resources.enter_context(self.replicas[-1].subscribe(UNIT_1, MEENA))
        self.fail()

    def _end(self, one):
        if one.process.poll() is None:
            one.stop()

    def fail(self):
        with self.app.transaction() as cursor:
            cursor.execute("UPDATE requests SET purpose = %s WHERE id = %s", (MARK.decode(), self.other))
            cursor.execute("DELETE FROM user_units WHERE user_id = %s AND unit_id = 1", (MEENA,))
            cursor.execute("UPDATE users SET status = 'Suspended' WHERE id = %s", (MEENA,))
        write(self.app, "behind")
        write(self.app, "behind", self.app.request2)

    def trouble(self):
        """What /readyz says while it lasts."""
        deadline = time.monotonic() + PATIENCE
        while (ready := self.walpush.admin("/readyz")).status == 200:
            assert time.monotonic() < deadline, "ready, and nothing moves"
            time.sleep(0.1)
        return ready.body.decode()

    def passes(self, most=1):
        """It is passed over, what is behind it arrives, who was revoked in it hears nothing, and a restart does not meet it again."""
        deadline = time.monotonic() + GIVES_UP
        while not (holders := [one for one in self.replicas if "a transaction is passed over" in one.log()]):
            assert time.monotonic() < deadline, self.walpush.log()
            time.sleep(0.1)
        for request in (self.app.request, self.app.request2):
            write(self.app, "behind", request)  # where the transaction is not known, all that was there is passed over
        for client in self.clients:
            found = resyncs(upto(client, "behind"))
            assert set(found) == {"skipped"} and len(found) <= most, found
        messages, code = self.revoked.drain_to_close()
        assert code == 4403 and all(m["type"] == "resync" for m in messages)
        # A replica that takes over in this moment may pass over it too; clients were told once all the same.
        assert {one.metric("walpush_transactions_skipped_total") for one in holders} == {1}
        self.walpush.stop()
        self.walpush.start(streaming=len(self.replicas) == 1)
        with self.walpush.subscribe(UNIT_1, ASHA) as client:
            write(self.app, "later")
            upto(client, "later")


GARBAGE = b'{"action":"U","schema":"public","table":"requests","colu\xff\x00 '


class InsteadOfBegin:
    """The BEGIN of the transaction that is marked, once it is known which that is."""

    def __init__(self):
        self.is_next, self.begin = False, None

    def __call__(self, record):
        if MARK in record and not self.begin:
            self.is_next = True
            return Ending("57P01", "terminating connection due to administrator command")
        if self.is_next and record.startswith((b'{"action":"B"', b"B")):  # of wal2json, of pgoutput
            self.begin, self.is_next = record, False
        return b"garbage" if record == self.begin else None


def instead_of_row(what):
    return lambda record: what if MARK in record else None


@pytest.fixture(scope="module")
def places(cluster, tmp_path_factory):
    """All at the same time, because each takes half a minute."""
    with contextlib.ExitStack() as resources:
        redis = resources.enter_context(Redis())
        relay = Raw(f'{{ url = "{redis.url}" }}')
        wanted = {
            "54000": (instead_of_row(TOO_LONG), {}),
            "XX000": (instead_of_row(TOO_LARGE), {}),
            "a row": (instead_of_row(GARBAGE), {}),
            "a BEGIN": (InsteadOfBegin(), {}),
            "refused": (instead_of_row(TOO_LONG), {"database_skip": Raw("false")}),
            "replicas": (instead_of_row(TOO_LONG), {"replicas": 3, "relay": relay}),
        }
        yield {
            name: Place(cluster, tmp_path_factory.mktemp("place"), resources, change, **how)
            for name, (change, how) in wanted.items()
        }


def test_its_readiness_is_in_the_servers_words(places):
    assert "out of memory" in places["54000"].trouble()
    assert "invalid memory alloc request size" in places["XX000"].trouble()
    status = places["54000"].walpush.admin("/status").body.decode()
    assert "too large for the slot's plugin" in status


@pytest.mark.parametrize("name", ["54000", "XX000", "a row", "replicas"])
def test_a_transaction_that_fails_for_good_is_passed_over(places, name):
    places[name].passes()


def test_one_that_is_not_known_is_told_twice(places):
    """At once, and when all that ran then has ended."""
    places["a BEGIN"].passes(most=2)


def test_it_is_not_passed_over_where_that_is_refused(places):
    place = places["refused"]
    line = place.walpush.wait_for_log("the stream cannot go on", timeout=GIVES_UP)
    statement = line[line.index("SELECT pg_replication_slot_advance") :].split('"')[0]
    assert place.walpush.admin("/readyz").status == 503
    assert "pg_replication_slot_advance" in place.walpush.admin("/status").body.decode()
    place.walpush.stop()
    place.app.sql(statement)
    place.walpush.start()
    with place.walpush.subscribe(UNIT_1, ASHA) as client:
        write(place.app, "later")
        upto(client, "later")
