"""`walpush sql --switch`: the move of a slot from one plugin to the other, and what clients see of it.

On a server without wal2json the scripts move a slot of test_decoding instead.
"""

import re
import threading

import pytest

from harness.app import ASHA
from harness.load import LONG, UNIT_1, Load
from harness.redis import Redis
from harness.walpush import SIGNING_KEY, run_to_end
from throwaway.cluster import ClusterError
from throwaway.config import Raw

OTHER = {"wal2json": "pgoutput", "pgoutput": "wal2json"}
FROM_EACH = pytest.mark.parametrize("plugin", ["wal2json", "pgoutput"])
SLOTS = "SELECT slot_name, plugin FROM pg_replication_slots WHERE database = current_database()"


class Dba:
    """Runs what `walpush sql` prints. The server's wal2json, or what is taken for it, is `self.other`."""

    def __init__(self, app, config, directory):
        directory.chmod(0o755)
        self.app, self.directory = app, directory
        self.file = config.write(directory / "sidecar.conf")
        self.env = {"DATABASE_URL": app.url, "WALPUSH_SLOT": app.slot, "JWT_SIGNING_KEY": SIGNING_KEY}
        self.has_wal2json = app.can_have("wal2json")
        self.other = "wal2json" if self.has_wal2json else "test_decoding"

    def printed(self, *args):
        done = run_to_end("sql", "-c", self.file, *args, env=self.env)
        assert done.returncode == 0, done.stderr
        return done.stdout.replace("wal2json", self.other)

    def run(self, text, **variables):
        script = self.directory / "setup.sql"
        script.write_text(text)
        script.chmod(0o644)
        return self.app.cluster.psql(script, variables, dbname=self.app.name)

    def set_up(self, plugin, *args, **variables):
        return self.run(self.printed("--plugin", plugin, *args), **variables)

    def move(self, plugin, **variables):
        return self.set_up(plugin, "--switch", **variables)

    def slots(self):
        return self.app.sql(SLOTS)

    def named(self, plugin):
        return "pgoutput" if plugin == "pgoutput" else self.other

    def has(self, plugin):
        return self.slots() == [(self.app.slot, self.named(plugin))]


@pytest.fixture
def dba(bare_app, config, tmp_path):
    directory = tmp_path / "dba"
    directory.mkdir()
    tmp_path.chmod(0o755)
    return Dba(bare_app, config, directory)


@pytest.fixture
def streams(dba):
    if not dba.has_wal2json:
        pytest.skip("this server lacks wal2json")
    return dba


# --- what clients see ---------------------------------------------------------------------------------------------


def comes_back(walpush, known, epoch):
    """A client behind `known`; its first messages up to the resync."""
    client = walpush.connect(f"{UNIT_1}?since={known}&epoch={epoch}", ASHA)
    assert "resumed" not in client.established()
    assert client.recv()["reason"] == "history"
    return client


def heard(client, app, text):
    """The types of what comes, up to the row that is written now, and that message."""
    app.touch(app.request, text)
    messages = client.recv_until(lambda m: m["type"] == "request.updated" and m["data"]["purpose"].endswith(text))
    return [m["type"] for m in messages], messages[-1]


@FROM_EACH
def test_each_client_gets_one_resync_there_and_back(streams, config, make_walpush, plugin):
    app = streams.app
    streams.set_up(plugin)
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        _, last = heard(client, app, "before")
        epoch = client.hello["epoch"]
    for turn in (1, 2):
        plugin = OTHER[plugin]
        app.touch(app.request, f"never read {turn}")
        streams.move(plugin)
        assert streams.has(plugin)
        with make_walpush(app, config) as walpush, comes_back(walpush, last["id"], epoch) as client:
            types, last = heard(client, app, f"after {turn}")
            assert set(types) == {"request.updated"}
            assert walpush.metric(f'walpush_slot_plugin{{plugin="{plugin}"}}') == 1
        found = run_to_end("check", "-c", streams.file, env=streams.env)
        assert found.returncode == 0, found.stdout


@FROM_EACH
def test_what_is_committed_after_the_resync_comes(streams, config, make_walpush, plugin):
    """The load goes on while the script runs, and each client's numbers have no gap behind what it can refetch."""
    app = streams.app
    streams.set_up(plugin)
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        _, last = heard(client, app, "before")
        epoch = client.hello["epoch"]
    with Load(app) as load:
        load.wait_for(20)
        streams.move(OTHER[plugin])
        load.wait_for(20)
        with make_walpush(app, config) as walpush, comes_back(walpush, last["id"], epoch) as client:
            refetched = load.committed
            load.wait_for(50)
            goal = load.committed
            messages = client.recv_until(lambda m: "data" not in m or number(m) >= goal, timeout=LONG)
            assert {m["type"] for m in messages} == {"request.updated"}
            numbers = [number(m) for m in messages]
            assert numbers[0] <= refetched + 1 and numbers == list(range(numbers[0], numbers[-1] + 1))


def number(message):
    return int(message["data"]["purpose"].split(" ")[1])


def test_replicas_that_were_all_stopped(streams, config, make_walpush):
    """The Redis stream outlives the move: its readers begin anew behind it."""
    app = streams.app
    with Redis() as redis:
        config.set("relay", Raw(f'{{ url = "{redis.url}" }}')).set("limits.admit-timeout", 60).set("limits.drain", 1)
        streams.set_up("wal2json")
        known = []
        replicas = [make_walpush(app, config).start(), make_walpush(app, config).start(streaming=False)]
        clients = [replica.subscribe(UNIT_1, ASHA) for replica in replicas]
        for client in clients:
            app.touch(app.request, "before")
        for client in clients:
            known.append((client.recv_n(2)[-1]["id"], client.hello["epoch"]))
        with pytest.raises(ClusterError, match="Stop walpush first, all replicas of it"):
            streams.move("pgoutput")
        replicas[0].stop()
        app.wait_until("SELECT active FROM pg_replication_slots WHERE slot_name = %s", app.slot)
        with pytest.raises(ClusterError, match="is being read"):  # by the one that was waiting for the slot
            streams.move("pgoutput")
        replicas[1].stop()
        app.touch(app.request, "never read")
        streams.move("pgoutput")
        replicas = [make_walpush(app, config).start(), make_walpush(app, config).start(streaming=False)]
        clients = [comes_back(replica, *it) for replica, it in zip(replicas, known)]
        app.touch(app.request, "after")
        for client in clients:
            messages = client.recv_until(lambda m: m["data"]["purpose"].endswith("after"))
            assert {m["type"] for m in messages} == {"request.updated"}
        for replica in replicas:
            replica.stop()


@FROM_EACH
def test_a_file_that_names_the_other_plugin(streams, config, make_walpush, plugin):
    """The sentence names the script; once it has run, the process that waits streams by itself."""
    app = streams.app
    streams.set_up(plugin)
    config.set("database.plugin", OTHER[plugin])
    walpush = make_walpush(app, config)
    walpush.start(streaming=False)
    walpush.wait_for_log(f"has plugin {plugin}, and database.plugin says {OTHER[plugin]}: move the slot with what walpush sql --switch prints")
    streams.move(OTHER[plugin])
    with walpush.subscribe(UNIT_1, ASHA) as client:
        heard(client, app, "after")
    walpush.stop()


# --- the script ---------------------------------------------------------------------------------------------------


@FROM_EACH
def test_it_makes_what_the_script_of_its_plugin_makes(dba, plugin):
    """And may run again; without a slot it makes one, and without --switch there is a slot that is refused."""
    dba.set_up(OTHER[plugin])
    dba.app.touch(dba.app.request, "never read")
    with pytest.raises(ClusterError, match=rf"HINT:  Move it: walpush sql --plugin {dba.named(plugin)} --switch"):
        dba.set_up(plugin)
    said = dba.move(plugin)
    assert re.search(rf"slot {dba.app.slot} of {dba.named(OTHER[plugin])} is given up with [1-9]\d+ bytes of WAL \(", said)
    assert f"slot {dba.app.slot} has plugin {dba.named(plugin)} now" in said
    assert "is older than publication" not in said
    assert (f"note: publication {dba.app.slot} is not read any more" in said) == (plugin == "wal2json")
    assert dba.has(plugin)
    said = dba.move(plugin)
    assert f"slot {dba.app.slot} has plugin {dba.named(plugin)} already: nothing is moved" in said and "given up" not in said
    assert dba.has(plugin)
    state = dba.app.sql("SELECT relname, relreplident, relacl::text FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1")
    dba.set_up(plugin)
    assert dba.app.sql("SELECT relname, relreplident, relacl::text FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1") == state
    dba.app.drop_slot()
    assert f"slot {dba.app.slot} created" in dba.move(plugin)
    assert dba.has(plugin)


def test_a_slot_that_is_read_is_refused_before_anything_else(streams, config, make_walpush):
    """All but the slot can be had while walpush runs."""
    app = streams.app
    streams.set_up("wal2json")
    with make_walpush(app, config):
        with pytest.raises(ClusterError, match=rf"slot {app.slot} has plugin wal2json and is being read, by process {app.reader()}"):
            streams.move("pgoutput")
        assert streams.has("wal2json") and app.value("SELECT count(*) FROM pg_publication") == 0
        streams.set_up("pgoutput", slot="")
        assert streams.has("wal2json") and app.value("SELECT pubname FROM pg_publication") == app.slot
    said = streams.move("pgoutput")
    assert f"publication {app.slot} has what it needs" in said and streams.has("pgoutput")


def test_a_transaction_that_is_older_than_the_publication(dba):
    """It commits later. A copy of the slot would have its rows, and pgoutput stops at them or leaves them out. The old slot is there meanwhile."""
    app, said = dba.app, []
    dba.set_up("wal2json")
    with app.transaction() as cursor:
        cursor.execute("UPDATE requests SET purpose = 'older' WHERE id = %s", (app.request,))
        mover = threading.Thread(target=lambda: said.append(dba.move("pgoutput")))
        mover.start()
        app.wait_until("SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name ~ '^walpush_move_')")
        assert (app.slot, dba.other) in dba.slots()
    mover.join(LONG)
    assert said and dba.has("pgoutput")
    app.touch(app.request2, "younger")
    peek = "SELECT data FROM pg_logical_slot_peek_binary_changes(%s, NULL, NULL, 'proto_version', '1', 'publication_names', %s)"
    read = b"".join(bytes(data) for (data,) in app.sql(peek, app.slot, app.slot))
    assert b"younger" in read and b"older" not in read


def test_a_plugin_that_cannot_be_had_costs_nothing(dba):
    dba.set_up("pgoutput")
    text = dba.printed("--plugin", "wal2json", "--switch").replace(f"'{dba.other}', true)", "'no_such_plugin', true)")
    with pytest.raises(ClusterError, match="no_such_plugin"):
        dba.run(text)
    assert dba.has("pgoutput")


def test_what_fails_half_way_may_run_again(dba):
    dba.set_up("wal2json")
    text = dba.printed("--plugin", "pgoutput", "--switch")
    broken = text.replace("pg_copy_logical_replication_slot(:'moving'", "no_such_function(:'moving'")
    assert broken != text
    with pytest.raises(ClusterError, match="no_such_function"):
        dba.run(broken)
    assert dba.slots() == []
    assert f"slot {dba.app.slot} created" in dba.run(text)
    assert dba.has("pgoutput")


def test_no_slot_is_left_for_the_move(dba):
    dba.set_up("wal2json")
    fill = "SELECT pg_create_physical_replication_slot('fill_' || n) FROM generate_series(1, %s) AS n"
    room = "SELECT current_setting('max_replication_slots')::int - count(*) FROM pg_replication_slots"
    dba.app.sql(fill, dba.app.value(room))
    try:
        with pytest.raises(ClusterError, match="and the move needs one more for a moment"):
            dba.move("pgoutput")
        assert (dba.app.slot, dba.other) in dba.slots() and dba.app.value("SELECT count(*) FROM pg_publication") == 0
    finally:
        dba.app.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name ~ '^fill_'")
    dba.move("pgoutput")
    assert dba.has("pgoutput")


@pytest.mark.parametrize("had, variables, has", [(False, {}, False), (True, {}, True), (False, {"failover": "on"}, True)])
def test_failover_stays(dba, had, variables, has):
    if dba.app.value("SELECT current_setting('server_version_num')::int < 170000"):
        pytest.skip("slots follow a failover from PostgreSQL 17 on")
    dba.set_up("wal2json", **({"failover": "on"} if had else {}))
    said = dba.move("pgoutput", **variables)
    assert dba.has("pgoutput")
    assert dba.app.value("SELECT failover FROM pg_replication_slots WHERE slot_name = %s", dba.app.slot) is has
    assert ("with -v failover=on" in said) is has


@pytest.mark.parametrize("plugin, args, says", [
    (None, ["--switch"], "--switch moves the slot to which plugin? Add --plugin pgoutput"),
    ("auto", ["--switch"], "--switch moves the slot to which plugin?"),
    ("pgoutput", ["--switch", "--ddl"], "usage: walpush sql"),
    ("pgoutput", ["--switch"], None),
    ("wal2json", ["--switch", "--plugin", "pgoutput"], None),
])  # fmt: skip
def test_the_plugin_to_move_to_has_a_name(config, tmp_path, plugin, args, says):
    if plugin:
        config.set("database.plugin", plugin)
    env = {"DATABASE_URL": "postgresql://walpush@127.0.0.1:1/nowhere", "JWT_SIGNING_KEY": SIGNING_KEY}
    done = run_to_end("sql", "-c", config.write(tmp_path / "sidecar.conf"), *args, env=env)
    assert (done.returncode, done.stdout == "") == ((2, True) if says else (0, False))
    if says:
        assert says in done.stderr
    else:
        assert "slot :slot has plugin pgoutput now" in done.stdout
