"""The checks of `walpush check`, made beside a walpush that serves: what they find comes and goes in its log, /status and the metrics."""

import contextlib
import json
import os
import re
import signal
import time

import pytest

from harness.app import ASHA
from harness.client import PATIENCE, Client, Closed
from harness.walpush import SIGNING_KEY, fields_of, token

COMES, GOES = r'msg="a check finds something"', r'msg="a check finds this no more"'
REQUESTS = "/ws/requests/1/"


def findings(process):
    return {(f["check"], f["severity"]) for f in json.loads(process.admin("/status").body)["findings"]}


def came(process, check, since=0, timeout=None):
    return fields_of(process.wait_for_log(f"{COMES} check={check} ", since=since, timeout=timeout))


def gone(process, check, since=0):
    return fields_of(process.wait_for_log(f"{GOES} check={check} ", since=since))


@pytest.fixture
def checked(app, config, make_walpush):
    def start(interval=1, **how):
        return make_walpush(app, config.set("admin.check-interval", interval), **how).start()

    return start


def test_a_finding_comes_once_and_goes_once(app, checked):
    process = checked()
    mark = process.mark()
    app.sql("ALTER TABLE sendbacks SET UNLOGGED")
    line = came(process, "table-logged", mark)
    assert line["level"] == "error" and "sendbacks is unlogged" in line["found"]
    assert line["fix"] == "ALTER TABLE public.sendbacks SET LOGGED;" and line["stops"] == "nothing"
    assert ("table-logged", "failure") in findings(process)
    assert process.metric('walpush_findings{check="table-logged",severity="failure"}') == 1
    app.sql("ALTER TABLE crates REPLICA IDENTITY DEFAULT")  # a second finding, so a report later than the first
    came(process, "replica-identity", mark)
    assert len(re.findall(f"{COMES} check=table-logged", process.log(mark))) == 1
    app.sql("ALTER TABLE sendbacks SET LOGGED")
    assert gone(process, "table-logged", mark)["level"] == "info"
    assert findings(process) >= {("replica-identity", "failure")} and ("table-logged", "failure") not in findings(process)
    assert process.metric('walpush_findings{check="table-logged",severity="failure"}') == 0
    assert process.admin("/readyz").status == 200


def test_what_is_wrong_at_the_start_is_said_before_a_client_is_accepted(app, checked):
    app.sql("ALTER TABLE sendbacks SET UNLOGGED")
    process = checked(interval=300)
    log = process.log()
    assert re.search(f"{COMES} check=table-logged", log).start() < re.search(r"msg=\"?listening", log).start()


def test_clients_wait_two_seconds_for_the_first_look_and_no_longer(app, checked):
    """The look waits for a lock; what walpush itself asks does not wait for it."""
    with app.transaction() as cursor:
        cursor.execute("LOCK TABLE units IN ACCESS EXCLUSIVE MODE")
        process = checked(interval=300)
        assert not json.loads(process.admin("/status").body)["checked_at"]


def test_a_changed_catalog_is_looked_at_at_once(app, checked):
    """With an interval of an hour; 30 s behind the first look."""
    process = checked(interval=3600)
    mark = process.mark()
    app.sql("ALTER TABLE sendbacks SET UNLOGGED")
    came(process, "table-logged", mark, timeout=30 + PATIENCE)


def test_a_reload_is_looked_at_with_its_own_text(app, checked):
    """The file is another one again by then: what counts is what was read."""
    process = checked(interval=300)
    mark = process.mark()
    text = process.file.read_text()
    process.file.write_text(process.config.set("tables.storages.columns", ["room_name"]).text)
    process.send_signal(signal.SIGHUP)
    process.wait_for_log(r'msg="the configuration is taken over', since=mark)
    process.file.write_text(text)
    assert "columns of storages" in came(process, "columns", mark)["found"]
    assert ("columns", "warning") in findings(process)


def test_files_are_named_relative_to_the_configuration(app, config, make_walpush):
    config.remove("jwt.key").set("jwt.key-file", "signing.key").set("admin.check-interval", 300)
    process = make_walpush(app, config)
    (process.file.parent / "signing.key").write_text(SIGNING_KEY)
    process.start()
    status = json.loads(process.admin("/status").body)
    assert status["checked_at"] and {f["check"] for f in status["findings"]} <= {"wal-bound"}


def test_off(app, checked):
    app.sql("ALTER TABLE sendbacks SET UNLOGGED")
    process = checked(interval=0)
    assert "check=" not in process.log() and json.loads(process.admin("/status").body)["checked_at"] is None


def test_an_admit_query_that_a_stranger_decides_stops_its_stream_alone(app, checked):
    process = checked()
    asha = process.subscribe(REQUESTS, ASHA)
    mark = process.mark()
    app.sql("CREATE ROLE stranger; GRANT CREATE ON SCHEMA public TO stranger")
    try:
        app.sql("SET ROLE stranger; CREATE FUNCTION public.same(varchar, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';"
                " CREATE OPERATOR public.= (FUNCTION = public.same, LEFTARG = varchar, RIGHTARG = text)")  # fmt: skip
        assert asha.close_code() == 1013
        line = came(process, "membership", mark)
        assert line["stops"] == "admissions" and "public.same" in line["found"]
        with pytest.raises(Closed):
            process.subscribe(REQUESTS, ASHA)
        assert any(f["stops"] for f in json.loads(process.admin("/status").body)["findings"])
    finally:
        app.sql("RESET ROLE; DROP OPERATOR IF EXISTS public.= (varchar, text); DROP OWNED BY stranger; DROP ROLE stranger")
    gone(process, "membership", mark)


def test_a_look_ends_with_the_process(app, checked):
    with app.transaction() as cursor:
        cursor.execute("LOCK TABLE units IN ACCESS EXCLUSIVE MODE")
        process = checked(interval=300)
        children = f"/proc/{process.process.pid}/task/{process.process.pid}/children"
        (child,) = open(children).read().split()
        process.stop()
    assert not os.path.exists(f"/proc/{child}")



def test_an_outage_of_admissions_is_red_until_the_first_answer(app, checked):
    """A table that admit reads loses its grant. Five users try, for a minute."""
    process = checked()
    asha = process.subscribe(REQUESTS, ASHA)
    mark = process.mark()
    app.sql("REVOKE SELECT ON users FROM walpush")
    assert asha.close_code() == 1013
    deadline = time.monotonic() + 60 + PATIENCE
    while process.admin("/readyz").status == 200:
        assert time.monotonic() < deadline
        for user in (1, 2, 3, 4, 5):
            assert process.connect(REQUESTS, user).close_code() == 1013
        time.sleep(1)  # a browser's patience
    assert process.admin("/readyz").body == b"the database has answered no admission for a minute: see the log\n"
    assert process.metric("walpush_ready") == 0
    line = came(process, "query", mark)
    assert "GRANT SELECT" in line["fix"] and line["level"] == "error"
    assert len(re.findall("an admit query fails", process.log(mark))) == 1
    app.sql("GRANT SELECT ON users TO walpush")
    gone(process, "query", mark)
    while process.admin("/readyz").status != 200:
        assert time.monotonic() < deadline + PATIENCE
        with contextlib.suppress(Closed):
            process.subscribe(REQUESTS, ASHA)


def test_tokens_that_are_refused_are_an_alarm_and_walpush_stays_ready(app, checked):
    process = checked(interval=0)
    tokens = lambda: json.loads(process.admin("/status").body)["tokens"]  # noqa: E731
    process.subscribe(REQUESTS, ASHA)
    for _ in range(21):
        assert Client(process.port, REQUESTS, token=token(ASHA, key="another key, as long as the first")).close_code() == 4401
    deadline = time.monotonic() + PATIENCE
    while not tokens()["alarm"]:
        assert time.monotonic() < deadline, tokens()
    assert tokens() == {"refused": 21, "of": 22, "alarm": True}
    assert process.admin("/readyz").status == 200
    process.subscribe(REQUESTS, ASHA)
    while tokens()["alarm"]:
        assert time.monotonic() < deadline, tokens()
