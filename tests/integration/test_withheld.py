"""What `columns` and `exclude` withhold stands in no message, and `quiet` columns alone make none."""

import itertools

import pytest

from harness.app import ASHA
from harness.client import PATIENCE
from harness.redis import Redis
from harness.walpush import ROW_MARK, fields_of
from throwaway.config import Raw, section, template
from test_reload import refuse, take

UNIT_1 = "/ws/requests/1/"
SSN = f"{ROW_MARK}-078-05-1120"  # a process that logs it fails its test
MARKS = itertools.count()
NESTED = "SELECT jsonb_build_object('id', q.id, 'name', q.name) FROM patients q WHERE q.id = {id}"


def make_patients(app, key="id"):
    """`id` and `ssn` are unique; one of them is the key."""
    app.sql(
        "CREATE TABLE patients (id serial UNIQUE, ssn text UNIQUE, name text, notes text, last_login timestamptz, updated_at timestamptz)"
    )
    app.sql(f"ALTER TABLE patients ADD PRIMARY KEY ({key}), REPLICA IDENTITY FULL")
    app.sql("GRANT SELECT ON patients TO walpush")


def listen(config, **settings):
    """To patients, beside the requests of unit 1, which mark the end of what a test waits for."""
    standard = {} if "message" in settings else {"type": "patient", "key": "patient_id"}
    config.set("tables.patients", section(**{**standard, "groups": ["patients"], **settings}))
    config.set("streams.requests.groups", ["requests_unit_{path.unit_id}", "patients"])


def admit(app, name="n"):
    return app.value(
        "INSERT INTO patients (ssn, name, notes, updated_at) VALUES (%s, %s, %s, '2001-01-01') RETURNING id", SSN, name, ROW_MARK
    )


def all_up_to_a_mark(app, client):
    """What the client was sent, without the requests, up to an update of a request that is made here."""
    mark = f"mark {next(MARKS)}"
    app.touch(app.request, mark)
    got = []
    while not ((message := client.recv())["type"] == "request.updated" and message["data"]["purpose"].endswith(mark)):
        got.append(message)
    return [message for message in got if message["type"] != "request.updated"]


# --- refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"exclude": ["ssn"]}, "exclude of patients: ssn is in the primary key"),
        ({"exclude": ["name"], "fields": ["name"]}, "fields of patients: name: exclude withholds it"),
        ({"columns": ["ssn", "id"], "fields": ["name"]}, "fields of patients: name: columns does not list it"),
        ({"exclude": ["ssn"], "message": template({"who": "patient {ssn}"})}, "message of patients: {ssn}: exclude withholds it"),
        ({"columns": ["id"], "message": template({"was": "{old.name}"})}, "message of patients: {old.name}: columns does not list it"),
        ({"quiet": ["login"]}, "quiet of patients: public.patients has no column login"),
    ],
)
def test_what_contradicts_itself_does_not_start(app, config, make_walpush, settings, said):
    make_patients(app, key="ssn")
    listen(config, **settings)
    walpush = make_walpush(app, config).spawn()
    assert walpush.wait(PATIENCE) == 2 and said in walpush.log(), walpush.log()


def test_a_key_that_becomes_withheld_while_running(app, config, make_walpush):
    """A migration makes an excluded column the key: what is known stays in force, and the column is not told."""
    make_patients(app)
    listen(config, exclude=["ssn"])
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        app.sql("ALTER TABLE patients DROP CONSTRAINT patients_pkey, ADD PRIMARY KEY (ssn), ADD extra text")
        key = admit(app)
        app.sql("DELETE FROM patients")
        created, deleted = all_up_to_a_mark(app, client)
        walpush.wait_for_log("the tables no longer fit the configuration")
        assert (created["patient_id"], created["data"]["name"], deleted["data"]) == (key, "n", {"id": key})
        assert ROW_MARK not in str(created["data"].get("ssn")) and SSN not in str(deleted)


def test_an_excluded_column_that_is_renamed_while_running(app, config, make_walpush):
    """Its new name is not excluded, but then the rules do not fit the table any more: what is known stays in force."""
    make_patients(app)
    listen(config, exclude=["ssn"])
    key = admit(app)
    with make_walpush(app, config) as walpush:
        app.settle(walpush)
        with walpush.subscribe(UNIT_1, ASHA) as client:
            app.sql("ALTER TABLE patients RENAME ssn TO number")
            app.sql("UPDATE patients SET name = 'm'")
            (message,) = all_up_to_a_mark(app, client)
            walpush.wait_for_log("the tables no longer fit the configuration.*has no column ssn")
            assert (message["patient_id"], message["data"]["name"]) == (key, "m") and SSN not in str(message)


def test_a_reload_that_withholds_the_key_changes_nothing(app, config, make_walpush):
    make_patients(app)
    listen(config, exclude=["ssn"])
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        config.set("tables.patients.exclude", ["ssn", "id"])
        assert "id is in the primary key" in refuse(walpush, config)["error"]
        admit(app)
        (message,) = all_up_to_a_mark(app, client)
        assert list(message["data"]) == ["id", "name", "notes", "last_login", "updated_at"]


# --- sent nowhere ---------------------------------------------------------------------------------------------------


@pytest.fixture
def redis_server():
    with Redis() as server:
        yield server


def relay_entries(server):
    client = server.client()
    return [entry for key in client.keys("*") if client.type(key) in (b"stream", "stream") for entry in client.xrange(key)]


SETTINGS = {
    "exclude": {"exclude": ["ssn", "updated_at"]},
    "columns": {"columns": ["id", "name"]},
    "excluded key": {"key": "ssn", "exclude": ["ssn"], "message": template({"type": "p", "name": "{name}", "was": "{old.name}"})},
    "unlisted key": {"key": "ssn", "columns": ["name"], "message": template({"type": "p", "all": "{name} {old.name} {op}"})},
    "query": {"exclude": ["ssn", "updated_at"], "data_query": NESTED},
    "query that fails": {"data_query": "SELECT to_jsonb(q) / 0 FROM patients q WHERE q.id = {id}"},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_no_way_out_for_a_withheld_value(app, config, make_walpush, redis_server, tmp_path, settings):
    """Inserted, changed beside and by itself, moved by its key, deleted; read by a replica, from the relay, the audit log, the status."""
    settings = dict(settings)
    make_patients(app, key=settings.pop("key", "id") if "message" in settings else "id")
    listen(config, **settings)
    config.set("audit.file", "../audit.jsonl").set("log.level", "debug")
    config.set("relay", Raw(f'{{ url = "{redis_server.url}" }}'))
    with make_walpush(app, config) as walpush, make_walpush(app, config).start(streaming=False) as other:
        with walpush.subscribe(UNIT_1, ASHA) as client, other.subscribe(UNIT_1, ASHA) as reader:
            key = admit(app)
            app.sql("UPDATE patients SET name = 'm' WHERE id = %s", key)
            app.sql("UPDATE patients SET ssn = ssn || '-2' WHERE id = %s", key)
            app.sql("UPDATE patients SET id = id + 1000, ssn = ssn || '-3' WHERE id = %s", key)
            app.sql("DELETE FROM patients WHERE id = %s", key + 1000)
            got = all_up_to_a_mark(app, client)
            assert len(got) >= 5 and [str(m) for m in got] == [str(reader.recv()) for _ in got]
        entries = relay_entries(redis_server)
        status = [one.admin("/status").body.decode() for one in (walpush, other)]
        walpush.stop()
        other.stop()
    audit = (tmp_path / "audit.jsonl").read_text()
    assert len(entries) >= 5 and audit.count('"table":"patients"') >= 5 and '"table": "patients"' in status[0].replace('":"', '": "')
    for place in (got, entries, status, audit, walpush.log(), other.log()):
        assert "078-05" not in str(place)
        assert "2001-01-01" not in str(place) or "data_query" in settings and "exclude" not in settings


# --- data-query without an answer -----------------------------------------------------------------------------------


NO_ANSWER = (
    NESTED,  # the row is gone by then
    "SELECT NULL::jsonb WHERE {id} > 0",
    "SELECT to_jsonb(q) / 0 FROM patients q WHERE q.id = {id}",
    "SELECT 'no json ' || id FROM patients WHERE id = {id}",
    "SELECT to_jsonb(q) FROM nothing.of_that_name q WHERE q.id = {id}",
)


def test_without_an_answer_the_row_stays_hidden(app, config, make_walpush):
    """A table for each query, without `columns` and with them."""
    make_patients(app)
    cases = {f"patients_{i}": case for i, case in enumerate(itertools.product(NO_ANSWER, ({}, {"columns": ["id", "name"]})))}
    for table, (query, columns) in cases.items():
        app.sql(f"CREATE TABLE {table} (LIKE patients INCLUDING ALL)")
        app.sql(f"ALTER TABLE {table} REPLICA IDENTITY FULL")
        app.sql(f"GRANT SELECT ON {table} TO walpush")
        how = {"type": "patient", "key": "patient_id", "groups": ["patients"], **columns}
        config.set(f"tables.{table}", section(**how, data_query=query.replace("patients", table)))
    listen(config)
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        for table, (query, columns) in cases.items():
            with app.transaction() as cursor:
                cursor.execute(f"INSERT INTO {table} (id, ssn, name) VALUES (7, %s, 'n')", (SSN,))
                cursor.execute(f"UPDATE {table} SET name = 'm' WHERE id = 7")
                cursor.execute(f"DELETE FROM {table} WHERE id = 7")
            created, updated, deleted = all_up_to_a_mark(app, client)
            if columns:
                assert [m["data"] for m in (created, updated)] == [{"id": 7, "name": "n"}, {"id": 7, "name": "m"}], query
                assert "truncated" not in created, query
            else:
                assert [(m["data"], m["truncated"]) for m in (created, updated)] == [(None, True)] * 2, query
            assert (deleted["patient_id"], deleted["data"]) == (7, {"id": 7}), (query, columns)


def test_a_deleted_row_without_a_key_stays_hidden(app, config, make_walpush):
    """A query speaks for this table, and REPLICA IDENTITY FULL brings the whole row."""
    app.sql("CREATE TABLE patients (id int, ssn text, name text)")
    app.sql("ALTER TABLE patients REPLICA IDENTITY FULL")
    app.sql("GRANT SELECT ON patients TO walpush")
    listen(config, data_query=NESTED)
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        app.sql("INSERT INTO patients VALUES (7, %s, 'n')", SSN)
        app.sql("DELETE FROM patients")
        created, deleted = all_up_to_a_mark(app, client)
        assert created["data"] in ({"id": 7, "name": "n"}, None), "its query may have run after the delete"
        assert (deleted["data"], deleted["truncated"], deleted["patient_id"]) == (None, True, None)


# --- quiet ----------------------------------------------------------------------------------------------------------


def test_quiet_columns_alone_make_no_message(app, config, make_walpush):
    make_patients(app)
    listen(config, exclude=["last_login"], quiet=["last_login", "updated_at", "notes"])
    key = admit(app)
    app.sql("UPDATE patients SET notes = repeat(md5('x'), 10000)")  # apart from the row: an update that leaves it alone does not send it
    with make_walpush(app, config) as walpush:
        app.settle(walpush)
        with walpush.subscribe(UNIT_1, ASHA) as client:
            for change in (
                "last_login = now()",
                "last_login = NULL, updated_at = now()",
                "updated_at = '2025-11-14', name = name",
                "notes = repeat(md5('y'), 10000)",
            ):
                app.sql(f"UPDATE patients SET {change}")
            assert all_up_to_a_mark(app, client) == []
            for change in ("name = 'm', last_login = now()", "ssn = NULL", "name = name"):
                app.sql(f"UPDATE patients SET {change}")
            assert [m["action"] for m in all_up_to_a_mark(app, client)] == ["updated"] * 3, "what changes nothing is told as ever"
            with app.transaction() as cursor:
                cursor.execute("UPDATE patients SET last_login = '2025-11-14'")
                cursor.execute("UPDATE patients SET name = 'o'")
            (message,) = all_up_to_a_mark(app, client)
            assert message["id"].endswith("-1") and message["patient_id"] == key, "what is quiet takes no number"


def test_without_quiet_an_update_of_excluded_columns_is_told(app, config, make_walpush):
    make_patients(app)
    listen(config, exclude=["last_login"])
    admit(app)
    with make_walpush(app, config) as walpush:
        app.settle(walpush)
        with walpush.subscribe(UNIT_1, ASHA) as client:
            app.sql("UPDATE patients SET last_login = now()")
            (message,) = all_up_to_a_mark(app, client)
            assert "last_login" not in message["data"]


def test_without_the_old_row_nothing_is_quiet(app, config, make_walpush):
    make_patients(app)
    listen(config, quiet=["last_login"])
    admit(app)
    app.sql("ALTER TABLE patients REPLICA IDENTITY DEFAULT")
    with make_walpush(app, config) as walpush:
        app.settle(walpush)
        with walpush.subscribe(UNIT_1, ASHA) as client:
            app.sql("UPDATE patients SET last_login = now()")
            assert len(all_up_to_a_mark(app, client)) == 1


def test_what_an_action_reads_is_never_quiet(app, config, make_walpush):
    make_patients(app)
    listen(config, quiet=["last_login", "name"], actions=Raw('{ seen = { column = "last_login"  changes = true } }'))
    admit(app)
    with make_walpush(app, config) as walpush:
        app.settle(walpush)
        with walpush.subscribe(UNIT_1, ASHA) as client:
            app.sql("UPDATE patients SET name = 'm'")
            app.sql("UPDATE patients SET last_login = now()")
            assert [m["action"] for m in all_up_to_a_mark(app, client)] == ["seen"]


def test_quiet_is_taken_over_by_a_reload(app, config, make_walpush):
    make_patients(app)
    listen(config)
    admit(app)
    with make_walpush(app, config) as walpush:
        app.settle(walpush)
        with walpush.subscribe(UNIT_1, ASHA) as client:
            app.sql("UPDATE patients SET last_login = now()")
            assert len(all_up_to_a_mark(app, client)) == 1
            config.set("tables.patients.quiet", ["last_login"])
            take(walpush, config)
            said = client.recv()
            assert (said["type"], said["reason"]) == ("resync", "epoch"), "ids have another meaning"
            all_up_to_a_mark(app, client)  # what the slot had not forgotten yet comes again
            app.sql("UPDATE patients SET last_login = NULL")
            assert all_up_to_a_mark(app, client) == []


# --- secrets --------------------------------------------------------------------------------------------------------


def test_a_column_named_like_a_secret_is_said_once(app, config, make_walpush):
    """At the start, and when a migration adds one: it is in `data` from then on."""
    make_patients(app)
    listen(config)
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        said = [line for line in walpush.lines if "columns that look like secrets are sent" in line]
        assert [fields_of(line)["columns"] for line in said] == ["patients: ssn"]
        mark = walpush.mark()
        app.sql("ALTER TABLE requests ADD remark text")
        app.touch(app.request)
        assert "remark" in client.recv()["data"]
        assert "a table has changed" in walpush.log(mark) and "secrets" not in walpush.log(mark)
        app.sql("ALTER TABLE patients ADD otp text, ADD has_otp boolean")
        mark = walpush.mark()
        admit(app)
        assert "otp" in all_up_to_a_mark(app, client)[0]["data"]
        line = walpush.wait_for_log("columns that look like secrets are sent", since=mark)
        assert fields_of(line)["columns"] == "patients: ssn, otp"
        config.set("tables.patients.exclude", ["ssn", "otp"])
        mark = walpush.mark()
        take(walpush, config)
        assert client.recv()["type"] == "resync"
        app.sql("INSERT INTO patients (name, otp) VALUES ('m', 'x')")
        got = all_up_to_a_mark(app, client)
        assert got and not any({"ssn", "otp"} & set(message["data"]) for message in got)
        assert "secrets" not in walpush.log(mark)
