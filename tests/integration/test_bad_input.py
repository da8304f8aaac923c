"""What is said, and done, when the configuration or the database is not as it should be.

A mistake in the file ends the process with status 2 and one line naming file and line. Trouble with the database never
ends it: it is said once, with what to do, and fixed without a restart.
"""

import re
import signal
import socket
import time

import pytest

from harness.app import ASHA
from harness.client import PATIENCE
from harness.walpush import SIGNING_KEY, free_port, run_to_end
from throwaway.config import Raw

UNIT_1 = "/ws/requests/1/"
NOWHERE = "postgresql://walpush:geheim-geheim@127.0.0.1:1/nowhere"
SLOWLY = 3 * PATIENCE  # what a person must fix is tried again up to 15 s later


def refused(config, directory, env=None, url=NOWHERE):
    """The complaint of `walpush run` about a file: its only line."""
    file = config.write(directory / "sidecar.conf")
    values = {"DATABASE_URL": url, "JWT_SIGNING_KEY": SIGNING_KEY, "WALPUSH_LISTEN_PORT": "0", "WALPUSH_ADMIN_PORT": "0"}
    done = run_to_end("run", "-c", file, env={**values, **(env or {})})
    assert done.returncode == 2, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert "geheim" not in done.stderr and SIGNING_KEY not in done.stderr
    return lines[0]


def names_line(complaint, line):
    return re.search(rf"sidecar\.conf:{line}\b", complaint) is not None


# --- the file -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "old, new, where, said",
    [
        ('slot = "${WALPUSH_SLOT:-walpush}"', 'slto = "walpush"', "slto", "slto"),
        ("token-type = ", "token_type = ", "token_type", "token_type"),
        ('type    = "crate"', 'type    = "crate"  colour = "red"', 'colour = "red"', "colour"),
        ('algorithm  = "HS256"', 'algorithm  = "none"', '"none"', "HS256"),
        ('algorithm  = "HS256"', "algorithm  = 256", "algorithm  = 256", "algorithm"),
        ('"crates_unit_{unit_id}"', '"crates_unit_{unit_id"', '"crates_unit_{unit_id"', "unit_id"),
        ('"crates_unit_{path.unit_id}"', '"crates_unit_{path.unit}"', '"crates_unit_{path.unit}"', "path.unit"),
        ('"crates_unit_{unit_id}"', '"crates_unit_{lookup.x}"', '"crates_unit_{lookup.x}"', "lookup"),
        ('"/ws/storage/<int:unit_id>/"', '"/ws/storage/<real:unit_id>/"', "<real:", "real"),
        ('"/ws/storage/<int:unit_id>/"', '"ws/storage/<int:unit_id>/"', '"ws/storage', "path"),
        ('level = "${WALPUSH_LOG_LEVEL:-info}"', 'level = "loud"', '"loud"', "level"),
        ("http://localhost:5173}", "localhost:5173}", "localhost:5173}", "origins"),
    ],
)
def test_mistakes_in_the_file(config, tmp_path, old, new, where, said):
    config.replace(old, new)
    complaint = refused(config, tmp_path)
    assert names_line(complaint, config.line_of(where)), complaint
    assert said in complaint


@pytest.mark.parametrize(
    "setting, value",
    [
        ("limits.stall", -1), ("limits.stall", 0), ("limits.bulk", 0), ("limits.bulk", "many"), ("listen.threads", 65),
        ("limits.per-user", 1.5), ("replay.bytes", "64 parsecs"), ("listen.port", 65536), ("listen.address", "localhost"),
    ],
)  # fmt: skip
def test_values_out_of_range(config, tmp_path, setting, value):
    config.set(setting, value)
    complaint = refused(config, tmp_path)
    assert setting.rpartition(".")[2] in complaint
    assert re.search(r"sidecar\.conf:\d+", complaint)


@pytest.mark.parametrize(
    "setting, value",
    [
        ("listen.compression", True),
    ],
)  # fmt: skip
def test_what_is_not_supported_yet_is_refused(config, tmp_path, setting, value):
    config.set(setting, value)
    complaint = refused(config, tmp_path)
    assert setting.rpartition(".")[2] in complaint and "not supported yet" in complaint


def test_broken_syntax(config, tmp_path):
    config.text += "\nlimits = {\n"
    assert re.search(r"sidecar\.conf:\d+", refused(config, tmp_path))


def test_the_same_group_twice(config, tmp_path):
    config.text += "\njwt = { algorithm = \"HS256\" }\n"
    assert names_line(refused(config, tmp_path), config.text.rstrip().count("\n") + 1)


def test_a_file_that_is_not_there(tmp_path):
    done = run_to_end("run", "-c", tmp_path / "nowhere.conf")
    assert done.returncode == 2
    assert "nowhere.conf" in done.stderr


def test_an_unset_variable(config, tmp_path):
    complaint = refused(config, tmp_path, env={"JWT_SIGNING_KEY": ""})
    assert "JWT_SIGNING_KEY" in complaint
    assert names_line(complaint, config.line_of("${JWT_SIGNING_KEY}"))


def test_a_bad_number_from_the_environment(config, tmp_path):
    complaint = refused(config, tmp_path, env={"WALPUSH_LISTEN_PORT": "http"})
    assert names_line(complaint, config.line_of("${WALPUSH_LISTEN_PORT"))


def test_a_connection_string_that_is_none(config, tmp_path):
    complaint = refused(config, tmp_path, url="postgresql://walpush:geheim geheim@[")
    assert names_line(complaint, config.line_of("${DATABASE_URL}"))


# --- ports ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["WALPUSH_LISTEN_PORT", "WALPUSH_ADMIN_PORT"])
def test_a_port_in_use(app, config, tmp_path, which):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        values = {
            "DATABASE_URL": app.url,
            "WALPUSH_SLOT": app.slot,
            "JWT_SIGNING_KEY": SIGNING_KEY,
            "WALPUSH_LISTEN_ADDRESS": "127.0.0.1",
            "WALPUSH_LISTEN_PORT": "0",
            "WALPUSH_ADMIN_PORT": "0",
            which: port,
        }
        done = run_to_end("run", "-c", config.write(tmp_path / "sidecar.conf"), env=values)
    assert done.returncode in (1, 2), done.stderr
    assert port in done.stderr and "in use" in done.stderr.lower(), done.stderr


# --- the tables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "old, new, said",
    [
        ('"crates_unit_{unit_id}"', '"crates_unit_{plant_id}"', "plant_id"),
        ('fields  = [ "status" ]                #', 'fields  = [ "colour" ]  #', "colour"),
        ('column = "storage_id"', 'column = "shelf_id"', "shelf_id"),
        ('actor   = "created_by_id"', 'actor   = "made_by_id"', "made_by_id"),
        ('user_units = { user = "user_id" }', 'user_units = { user = "usr" }', "usr"),
        ("    storages = {", "    shelves = {", "shelves"),
    ],
)
def test_names_that_the_database_does_not_know(app, config, make_walpush, old, new, said):
    """Only the database can tell, so it is found out once that is there; the process ends as for any other mistake."""
    config.replace(old, new)
    process = make_walpush(app, config).spawn()
    assert process.wait() == 2, process.log()
    (line,) = [line for line in process.lines if "level=error" in line]
    assert re.search(rf"sidecar\.conf:{config.line_of(new)}\b", line) and said in line
    process.check_log()


def test_a_query_of_admit_that_is_wrong_is_an_alarm_and_1013(app, config, make_walpush):
    config.set("streams.requests.admit", "SELECT 1 FROM no_such_table WHERE id = {token.user_id}")
    with make_walpush(app, config).start(streaming=False) as walpush:
        with walpush.connect(UNIT_1, ASHA) as client:
            assert client.close_code() == 1013
        line = walpush.wait_for_log("42P01")
        assert "level=error" in line
        with walpush.subscribe("/ws/crates/1/", ASHA) as client:
            app.sql("UPDATE crates SET status = 'Archived' WHERE id = %s", app.crate)
            assert client.recv()["type"] == "crate.updated"


def test_a_lookup_that_is_wrong_is_an_alarm_and_a_resync(app, config, make_walpush):
    config.set("tables.sendbacks.lookup", "SELECT nothing AS user_id FROM requests WHERE id = {request_id}")
    with make_walpush(app, config).start(streaming=False) as walpush:
        walpush.wait_for_log("streaming")
        path = f"/ws/notifications/{ASHA}/"
        with walpush.subscribe(path, ASHA) as client, walpush.subscribe(UNIT_1, ASHA) as unit:
            app.insert_sendback(app.request)
            app.touch(app.request)
            assert client.recv()["type"] == "resync"
            assert unit.recv()["request_id"] == app.request
        walpush.wait_for_log("42703")


def test_a_lookup_that_fails_for_one_row_is_a_resync(app, config, make_walpush):
    config.set(
        "tables.sendbacks.lookup",
        "SELECT withdrawn_by_id / (id - {request_id}) AS user_id FROM requests WHERE id = {request_id}",
    )
    with make_walpush(app, config) as walpush:
        with walpush.subscribe(f"/ws/notifications/{ASHA}/", ASHA) as client:
            app.insert_sendback(app.request)
            assert client.recv()["type"] == "resync"


def test_a_lookup_that_takes_too_long_is_a_resync(app, config, make_walpush):
    config.set("database.statement-timeout", 1)
    config.set(
        "tables.sendbacks.lookup", "SELECT 2 AS user_id FROM pg_sleep(600) WHERE {request_id}::int > 0"
    )
    with make_walpush(app, config) as walpush:
        with walpush.subscribe(f"/ws/notifications/{ASHA}/", ASHA) as client, walpush.subscribe(UNIT_1, ASHA) as unit:
            app.insert_sendback(app.request)
            app.touch(app.request)
            assert client.recv()["type"] == "resync"
            assert unit.recv()["request_id"] == app.request


# --- the database -----------------------------------------------------------------------------------------------------


def test_a_database_that_is_not_there_yet(cluster, app, config, make_walpush):
    app.close()
    cluster.stop()
    walpush = make_walpush(app, config).start(streaming=False)
    line = walpush.wait_for_log("level=(warn|error)")
    assert str(cluster.port) in line or "refused" in line
    with walpush.connect(UNIT_1, ASHA) as client:
        assert client.close_code() == 1013
    mark = walpush.mark()
    cluster.start()
    walpush.wait_for_log('msg="?streaming', since=mark, timeout=SLOWLY)
    with walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request)
        assert client.recv()["request_id"] == app.request
    complaints = [line for line in walpush.lines if re.search("level=(warn|error)", line)]
    assert len(complaints) < 10, "the same trouble is said once, not at every try"
    walpush.stop()


def test_a_host_that_answers_nothing(app, config, make_walpush):
    """A listener that accepts and keeps silent: connect-timeout counts."""
    config.set("database.connect-timeout", 1)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        url = f"postgresql://walpush:geheim@127.0.0.1:{deaf.getsockname()[1]}/app"
        walpush = make_walpush(app, config, url=url).start(streaming=False)
        walpush.wait_for_log("level=(warn|error).*(1000 ms|timeout)")
        walpush.stop()


def test_a_wrong_password(app, config, make_walpush):
    url = re.sub(r"(//[^:]*:)[^@]*@", r"\1geheim-geheim@", app.url)
    walpush = make_walpush(app, config, url=url).start(streaming=False)
    line = walpush.wait_for_log("level=(warn|error)")
    assert "password" in line
    walpush.stop()


def test_a_missing_slot_is_said_and_waited_for(app, config, make_walpush):
    app.drop_slot()
    walpush = make_walpush(app, config).start(streaming=False)
    line = walpush.wait_for_log("42704")
    assert app.slot in line and "walpush sql" in line
    with walpush.connect(UNIT_1, ASHA) as client:
        assert client.close_code() == 1013
    app.create_slot()
    walpush.wait_for_log('msg="?streaming', timeout=SLOWLY)
    with walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request)
        assert client.recv()["request_id"] == app.request
    assert sum("42704" in line for line in walpush.lines) == 1
    walpush.stop()


def test_a_slot_of_another_plugin(app, config, make_walpush):
    app.drop_slot()
    app.create_slot(plugin="test_decoding")
    walpush = make_walpush(app, config).start(streaming=False)
    line = walpush.wait_for_log("test_decoding")
    assert "wal2json" in line and "walpush sql" in line
    app.drop_slot()
    app.create_slot()
    walpush.wait_for_log('msg="?streaming', timeout=SLOWLY)
    walpush.stop()


def test_a_slot_held_by_another_is_waited_for_never_taken(app, config, make_walpush):
    with make_walpush(app, config) as holder:
        standby = make_walpush(app, config).start(streaming=False)
        standby.wait_for_log("55006")
        with standby.connect(UNIT_1, ASHA) as client:
            assert client.close_code() == 1013
        with holder.subscribe(UNIT_1, ASHA) as client:
            app.touch(app.request)
            assert client.recv()["request_id"] == app.request
    # The holder has gone: the other one streams, without a word to it.
    standby.wait_for_log('msg="?streaming', timeout=SLOWLY)
    with standby.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request)
        assert client.recv()["request_id"] == app.request
    standby.stop()


def test_the_slot_is_dropped_and_made_again(app, config, make_walpush):
    """Whoever was connected before cannot know what happened in between: resync."""
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        mark = walpush.mark()
        # Held still, so that it cannot take the slot again at once.
        walpush.send_signal(signal.SIGSTOP)
        app.cluster.end_sessions("pid = %s", app.reader())
        app.drop_slot()
        app.touch(app.request, "unheard")
        app.create_slot()
        walpush.send_signal(signal.SIGCONT)
        walpush.wait_for_log('msg="?streaming', since=mark, timeout=SLOWLY)
        message = client.recv()
        assert message["type"] == "resync"
        app.touch(app.request, "heard")
        assert client.recv()["data"]["purpose"].endswith("heard")


def test_a_stop_while_nothing_works_is_quick_and_clean(app, config, make_walpush):
    walpush = make_walpush(app, config, url=f"postgresql://x:geheim@127.0.0.1:{free_port()}/x").start(streaming=False)
    walpush.wait_for_log("level=(warn|error)")
    start = time.monotonic()
    walpush.stop()
    assert time.monotonic() - start < PATIENCE / 2


def test_a_table_without_a_usable_identity_is_said(app, config, make_walpush):
    """wal2json skips its updates and deletes, so they are lost in silence."""
    app.sql("ALTER TABLE crates REPLICA IDENTITY NOTHING")
    walpush = make_walpush(app, config).start()
    walpush.wait_for_log(r"level=(warn|error).*crates", timeout=2)
    walpush.stop()


def test_raw_is_what_it_says(config):
    """The editor of these tests itself: a wrong edit would make every test above pass for the wrong reason."""
    config.set("limits.bulk", Raw("0x10"))
    assert config.get("limits.bulk") == "0x10"
    assert config.get("limits.stall") is None
