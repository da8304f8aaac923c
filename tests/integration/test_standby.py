"""walpush that is led to a hot standby, which decodes from PostgreSQL 16 on: rows, answers and permission are as the standby has them."""

import contextlib
import os
import signal
import threading
import time

import psycopg2
import pytest

from harness.app import ASHA, PLUGIN, RAVI, fresh_app
from harness.client import PATIENCE
from harness.standby import decode_on, fed_by_slot, running_snapshots, wait_for_replay
from harness.walpush import Walpush
from test_versions import Dba
from throwaway.cluster import ROLE, Cluster

UNIT_1 = "/ws/requests/1/"


@contextlib.contextmanager
def own_pair(**settings):
    with Cluster({"max_locks_per_transaction": 2000, **settings}, fsync=False) as primary:
        if int(primary.sql("SHOW server_version_num")[0][0]) < 160000:
            pytest.skip("a standby decodes from PostgreSQL 16 on")
        standby = fed_by_slot(primary)
        try:
            yield primary, standby
        finally:
            standby.remove()


@pytest.fixture(scope="module")
def pair():
    with own_pair() as pair:
        yield pair


@pytest.fixture
def standby(pair):
    return pair[1]


@pytest.fixture
def app(pair):
    """Its slot is on the standby; what it does it does on the primary."""
    primary, standby = pair
    with fresh_app(primary) as app:
        decode_on(standby, app)
        yield app
        standby.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")


@pytest.fixture
def walpush(app, standby, config, tmp_path):
    with Walpush(config, tmp_path, app, url=standby.url(app.name)) as process:
        yield process


def test_rows_come_from_a_standby(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client, walpush.subscribe("/ws/notifications/2/", ASHA) as notes:
        app.sql("UPDATE requests SET status = 'Approved', approved_by_id = %s WHERE id = %s", RAVI, app.request)
        message = client.recv()
        assert (message["action"], message["updated_by"]) == ("approved", "ravi")
        assert message["data"] == app.data_of("requests", app.request)
        key = app.insert_sendback(app.request)
        assert notes.recv()["sendback_id"] == key


def test_a_url_of_two_servers_leads_to_the_standby(app, pair, config, tmp_path):
    servers = ",".join(f"127.0.0.1:{server.port}" for server in pair)
    url = f"postgresql://{ROLE}:{pair[0].passwords[ROLE]}@{servers}/{app.name}?target_session_attrs=standby"
    with Walpush(config, tmp_path, app, url=url) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request)
        assert client.recv()["request_id"] == app.request


def test_permission_is_as_the_standby_has_it(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client, walpush.subscribe(UNIT_1, RAVI) as ravi:
        app.revoke(ASHA, 1)
        app.touch(app.request)
        assert client.close_code() == 4403
        assert ravi.recv()["request_id"] == app.request
    with walpush.connect(UNIT_1, ASHA) as client:
        assert client.close_code() == 4403


# --- what a standby shows earlier than it counts it -------------------------------------------------------------------


TABLES = 2000  # as many are dropped, and the commit takes as long to apply
STOPPED = "SELECT pg_last_wal_replay_lsn() - %s < 4096"


@contextlib.contextmanager
def applying(app, standby, prepare, do):
    """The standby is stopped while it applies the commit of a statement: others see it there, and it does not count as replayed. What `prepare`
    returned for this one of several tries."""
    for _ in range(5):
        prepared = prepare()
        with stopped(app, standby, do) as in_time:
            if in_time:
                yield prepared
                return
    pytest.fail("the standby was never stopped in time")


@contextlib.contextmanager
def stopped(app, standby, do):
    """Did it come in time, and holds the server nothing that others need?"""
    app.sql(f"DO $$ BEGIN FOR i IN 1..{TABLES} LOOP EXECUTE format('CREATE TABLE dropped_%s (id int)', i); END LOOP; END $$")
    wait_for_replay(app.cluster, standby)
    ((startup,),) = standby.sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'")
    with contextlib.closing(standby.connect(app.name)) as there, there.cursor() as look:
        try:
            before = drop_and(app, do, until_seen=lambda: stop_when(look, "SELECT to_regclass('dropped_1') IS NULL", startup))
            yield is_served(standby, STOPPED, before)
        finally:
            os.kill(startup, signal.SIGCONT)
    wait_for_replay(app.cluster, standby)


def drop_and(app, do, until_seen):
    """Commits both while the other waits to see it; how far the WAL was before."""
    with app.transaction() as cursor:
        cursor.execute(f"DO $$ BEGIN FOR i IN 1..{TABLES} LOOP EXECUTE format('DROP TABLE dropped_%s', i); END LOOP; END $$")
        cursor.execute(do)
        cursor.execute("SELECT pg_current_wal_insert_lsn()")
        (before,) = cursor.fetchone()
        commit = threading.Thread(target=cursor.connection.commit)
        commit.start()
        until_seen()
        commit.join()
    return before


def stop_when(look, query, startup):
    deadline = time.monotonic() + PATIENCE
    while True:
        look.execute(query)
        if look.fetchone()[0]:
            break
        assert time.monotonic() < deadline, "the commit never came"
    time.sleep(0.005)  # the files go last, and by then it holds no lock
    os.kill(startup, signal.SIGSTOP)


def is_served(server, query, *args):
    """What a new session says, if it gets as far."""
    try:
        with contextlib.closing(server.connect(connect_timeout=2, options="-c statement_timeout=2s")) as there, there.cursor() as cursor:
            cursor.execute(query, args)
            return cursor.fetchone()[0]
    except psycopg2.OperationalError:
        return False


def test_a_grant_that_is_being_applied_gives_nothing_of_before(app, standby, walpush):
    """Who comes back meanwhile is admitted by an answer that knows the grant, and asks for what was pushed before it."""
    user = app.insert_person(100, 1)
    wait_for_replay(app.cluster, standby)
    with walpush.subscribe(UNIT_1, user) as client:
        epoch = client.hello["epoch"]
    with walpush.subscribe(UNIT_1, ASHA) as client:

        def push_two():
            app.revoke(user, 1)
            for text in ("known", "not for who was away"):
                app.touch(app.request, text)
            return client.recv_n(2)[0]["id"]

        do = f"INSERT INTO user_units (user_id, unit_id, created_at) VALUES ({user}, 1, now())"
        with applying(app, standby, push_two, do) as known:
            back = walpush.subscribe(f"{UNIT_1}?since={known}&epoch={epoch}", user)
            with pytest.raises(TimeoutError):
                back.recv(timeout=1)
        app.touch(app.request, "for both")
        messages = back.recv_until(lambda m: (m.get("data") or {}).get("purpose", "").endswith("for both"))
        back.close()
    assert [m["type"] for m in messages] == ["resync", "request.updated"]
    assert messages[0]["reason"] == "membership"


def test_an_answer_is_not_older_than_its_row(app, standby, config, tmp_path):
    """A standby's snapshot does not say that the transaction with the smaller xid still runs."""
    config.set("actor.query", "SELECT unit_name FROM units WHERE id = {id}")
    approve = "UPDATE requests SET status = 'Approved', approved_by_id = 3 WHERE id = %s"
    other = app.insert_request(1)
    with Walpush(config, tmp_path, app, url=standby.url(app.name)) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        with app.transaction() as cursor:
            cursor.execute("UPDATE units SET unit_name = 'renamed' WHERE id = 3")
            cursor.execute(approve, [app.request])
            app.sql(approve, other)
            assert client.recv()["updated_by"] == "Unit 3"
        assert client.recv()["updated_by"] == "renamed"


def test_who_comes_while_the_replay_is_paused_is_admitted_and_waits(app, standby, walpush):
    standby.sql("SELECT pg_wal_replay_pause()")
    try:
        app.touch(app.request, "later")
        client = walpush.subscribe(UNIT_1, ASHA)
    finally:
        standby.sql("SELECT pg_wal_replay_resume()")
    with client:
        assert client.recv()["data"]["purpose"].endswith("later")


# --- conflicts with recovery --------------------------------------------------------------------------------------------


def test_a_conflict_with_recovery_refuses_nobody(app, standby, config, tmp_path):
    config.set("streams.requests.admit", "SELECT 1 FROM users u, pg_sleep(0.5) WHERE u.id = {token.user_id}")
    standby.sql("ALTER SYSTEM SET max_standby_streaming_delay = 0")
    standby.sql("SELECT pg_reload_conf()")
    conflicts = "SELECT confl_lock FROM pg_stat_database_conflicts WHERE datname = %s"
    try:
        with Walpush(config, tmp_path, app, url=standby.url(app.name)) as walpush:
            client = walpush.connect(UNIT_1, ASHA)
            time.sleep(0.2)
            with app.transaction() as cursor:
                cursor.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
            client.established()
            app.touch(app.request)
            assert client.recv()["request_id"] == app.request
            client.close()
    finally:
        standby.sql("ALTER SYSTEM RESET max_standby_streaming_delay")
        standby.sql("SELECT pg_reload_conf()")
    deadline = time.monotonic() + PATIENCE
    while not standby.sql(conflicts, [app.name])[0][0]:
        assert time.monotonic() < deadline, "there was none"
        time.sleep(0.05)


# --- it becomes the primary ---------------------------------------------------------------------------------------------


def test_the_standby_is_promoted(config, tmp_path):
    """It goes on as the primary, with the slot that it has. Its timeline is another one, so there is one resync for each client."""
    with own_pair() as (primary, standby), fresh_app(primary) as app:
        decode_on(standby, app)
        with Walpush(config, tmp_path, app, url=standby.url(app.name)) as walpush:
            clients = [walpush.subscribe(UNIT_1, user) for user in (ASHA, RAVI)]
            app.touch(app.request, "before")
            assert all(client.recv()["data"]["purpose"].endswith("before") for client in clients)
            mark = walpush.mark()
            app.close()
            app.cluster = standby
            standby.sql("SELECT pg_promote()")
            app.touch(app.request, "after")
            walpush.wait_for_log("has been promoted", since=mark)
            walpush.wait_for_log("streaming.*timeline=2", since=mark)
            app.touch(app.request, "behind it")
            for client in clients:
                messages = client.recv_until(lambda m: (m.get("data") or {}).get("purpose", "").endswith("behind it"))
                assert [m["type"] for m in messages if m["type"] == "resync"] == ["resync"]
                assert messages[0]["type"] == "resync", "nothing of the new timeline comes in the old epoch"
                assert (messages[0]["reason"], messages[0]["epoch"].split("-")[1]) == ("epoch", "2")
            quiet(clients)
        app.close()
        app.cluster = primary


def quiet(clients):
    """Nothing else comes."""
    for client in clients:
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.5)


def test_a_promotion_is_noticed_without_a_row(config, tmp_path):
    config.set("admin.ready-seconds", 3)
    with own_pair() as (primary, standby), fresh_app(primary) as app:
        decode_on(standby, app)
        with Walpush(config, tmp_path, app, url=standby.url(app.name)) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
            mark = walpush.mark()
            standby.sql("SELECT pg_promote()")
            walpush.wait_for_log("has been promoted", since=mark)
            assert client.recv()["type"] == "resync"


# --- what the DBA does --------------------------------------------------------------------------------------------------


@pytest.fixture
def dba(pair, bare_app_on_primary, config, tmp_path):
    tmp_path.chmod(0o755)
    return Dba(bare_app_on_primary, config, tmp_path)


@pytest.fixture
def bare_app_on_primary(pair):
    primary, standby = pair
    with fresh_app(primary) as app:
        yield app
        standby.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")


def on_standby(dba, standby, name):
    """What `walpush check` says there of that row."""
    dba.env["DATABASE_URL"] = standby.url(dba.app.name)
    return [(one["state"], one["text"]) for one in dba.findings(check=name)]


def test_the_steps_of_the_document_pass_the_check(dba, pair, config, make_walpush):
    """The script on the primary, without a slot; the slot alone on the standby."""
    primary, standby = pair
    dba.set_up(slot="", publication=dba.app.slot)
    wait_for_replay(primary, standby)
    make = f"SET statement_timeout = '{PATIENCE:.0f}s'; SELECT pg_create_logical_replication_slot(%s, %s)"
    with running_snapshots(primary):
        standby.sql(make, [dba.app.slot, PLUGIN], dbname=dba.app.name)
    dba.env["DATABASE_URL"] = standby.url(dba.app.name)
    assert dba.findings(state="failure") == []
    assert on_standby(dba, standby, "failover") == [("ok", "a slot of this standby: it stays if this server becomes the primary")]
    with make_walpush(dba.app, config, url=standby.url(dba.app.name)) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        dba.app.touch(dba.app.request)
        assert client.recv()["request_id"] == dba.app.request


@pytest.mark.parametrize(
    "setting, value, state, words",
    [
        ("hot_standby_feedback", "off", "failure", "the slot is lost"),
        ("primary_slot_name", "", "warning", "primary_slot_name is empty"),
        ("primary_conninfo", "", "warning", "does not stream"),
    ],
)
def test_check_names_what_a_slot_on_a_standby_needs(dba, standby, setting, value, state, words):
    dba.set_up(slot="")
    wait_for_replay(dba.app.cluster, standby)
    ((before,),) = standby.sql("SELECT current_setting(%s)", [setting])
    assert on_standby(dba, standby, "feedback") == [("ok", "nobody removes what the slot needs")]
    try:
        set_there(standby, setting, value)
        wait_until(lambda: any(one == state and words in text for one, text in on_standby(dba, standby, "feedback")))
    finally:
        set_there(standby, setting, before)
        wait_until(lambda: on_standby(dba, standby, "feedback")[0][0] == "ok")


def set_there(standby, setting, value):
    standby.sql(f"ALTER SYSTEM SET {setting} = %s", [value])
    standby.sql("SELECT pg_reload_conf()")


def wait_until(reached):
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.1)
