"""`walpush explain` and /explain: why does this user receive nothing there, who would receive this row, who received this message?"""

import json
import re
import signal
import socket
import time
import urllib.parse

import pytest

from harness.app import ASHA, BOB, GONE, RAVI, SAM
from harness.client import PATIENCE, http
from harness.metrics import wait_for_metric
from harness.redis import Redis
from harness.walpush import ROW_MARK, run_to_end
from throwaway.config import Raw, section

UNIT_1 = "/ws/requests/1/"
TOKEN = "a-token-that-must-never-be-logged"


@pytest.fixture
def config(config):
    return config.set("admin.token", TOKEN)


@pytest.fixture
def walpush(app, config, make_walpush):
    with make_walpush(app, config) as walpush:
        walpush.secrets.append(TOKEN)
        yield walpush


def explain(walpush, *args, **env):
    return run_to_end("explain", "-c", walpush.file, *map(str, args), env={**walpush.env, **env})


def explained(walpush, *args, status=0, **env):
    """The document that it prints."""
    done = explain(walpush, "--json", *args, **env)
    assert done.returncode == status and done.stderr == "", done.stderr + done.stdout
    return json.loads(done.stdout)


def settled(walpush, user, n):
    """The user's n connections, once all are open: an answer that knows later commits holds a new one back for a moment."""
    deadline = time.monotonic() + PATIENCE
    while True:
        connections = json.loads(ask(walpush, with_token(), find=user).body)["connections"]
        if connections["open"] == n and all(c["state"] == "open" for c in connections["shown"]):
            return connections
        assert time.monotonic() < deadline, connections
        time.sleep(0.02)


def ask(walpush, headers=None, **query):
    return http(walpush.admin_port, "/explain?" + urllib.parse.urlencode(query), headers)


def with_token(token=TOKEN):
    return {"Authorization": f"Bearer {token}"}


# --- a user ----------------------------------------------------------------------------------------------------------


def test_a_user_who_is_admitted(walpush):
    with walpush.subscribe(UNIT_1, ASHA), walpush.subscribe("/ws/crates/1/", ASHA), walpush.subscribe(UNIT_1, RAVI):
        connections = settled(walpush, ASHA, 2)
        said = explained(walpush, "--user", ASHA, "--path", UNIT_1)
        assert said.pop("connections")["open"] == 2
        text = explain(walpush, "--user", ASHA, "--path", UNIT_1)
    assert said == {
        "asked": "user", "user": str(ASHA), "path": UNIT_1, "stream": "requests", "values": {"unit_id": "1"},
        "claims": {"user_id": str(ASHA)}, "admitted": True, "code": None, "step": None, "reason": None, "fix": None,
        "admit": {"rows": 1}, "groups": ["requests_unit_1"], "not_known": None,
    }  # fmt: skip
    assert sorted((c["stream"], c["state"], c["peer"], *c["groups"]) for c in connections["shown"]) == [
        ("crates", "open", "127.0.0.1", "crates_unit_1"),
        ("requests", "open", "127.0.0.1", "requests_unit_1"),
    ]
    assert text.returncode == 0
    assert text.stdout.startswith(f"user {ASHA} at {UNIT_1}: admitted\n")
    assert "groups       requests_unit_1\n" in text.stdout and "connected    2\n" in text.stdout


@pytest.mark.parametrize(
    "user, path, claims, step, code, reason",
    [
        (BOB, UNIT_1, [], "admit", 4403, "returns no row"),
        (GONE, UNIT_1, [], "admit", 4403, "returns no row"),
        (ASHA, "/ws/nowhere/", [], "path", None, "no stream has this path"),
        (ASHA, "/ws/requests/1", [], "path", None, "no stream has this path"),
        (ASHA, "/ws/requests/9223372036854775807/", [], "admit", 4403, "a value does not fit"),
        (ASHA, UNIT_1, ["token_type=refresh"], "token", 4401, "token_type"),
        ("x" * 256, UNIT_1, [], "token", 4401, "user"),
    ],
)
def test_a_user_who_is_refused(walpush, user, path, claims, step, code, reason):
    """The step that says no is named; what the client sees is its close code."""
    said = explained(walpush, "--user", user, "--path", path, *(a for c in claims for a in ("--claim", c)), status=1)
    assert said["admitted"] is False and said["step"] == step and said["code"] == code
    assert reason in said["reason"] and said["fix"] and said["groups"] == []
    text = explain(walpush, "--user", user, "--path", path, *(a for c in claims for a in ("--claim", c)))
    assert text.returncode == 1 and "not admitted" in text.stdout and said["reason"] in text.stdout


def test_claims(app, config, make_walpush):
    config.set("jwt.audience", "pages").set("streams.requests.groups", ["requests_unit_{path.unit_id}", "role_{token.role}"])
    with make_walpush(app, config) as walpush:
        said = explained(walpush, "--user", ASHA, "--path", UNIT_1, status=1)
        assert said["step"] == "claim" and "{token.role}" in said["reason"] and "--claim role=" in said["fix"]
        said = explained(walpush, "--user", ASHA, "--path", UNIT_1, "--claim", "role=x", "--claim", "aud=others", status=1)
        assert said["step"] == "token" and "aud" in said["reason"] and said["claims"]["aud"] == "others"
        said = explained(walpush, "--user", ASHA, "--path", UNIT_1, "--claim", "role=a b&c=%")
        assert said["groups"] == ["requests_unit_1", "role_{a b&c=%25}"]


def test_nobody_is_admitted(cluster, app, config, make_walpush):
    """The limit of one user; and a process that does not stream."""
    config.set("limits.per-user", 1)
    with make_walpush(app, config) as walpush:
        with walpush.subscribe(UNIT_1, ASHA):
            said = explained(walpush, "--user", ASHA, "--path", UNIT_1, status=1)
            assert said["step"] == "limit" and said["code"] == 4429 and said["connections"]["open"] == 1
        mark = walpush.mark()
        cluster.stop()
        walpush.wait_for_log("not streaming", since=mark)
        said = explained(walpush, "--user", RAVI, "--path", UNIT_1, status=1)
        assert said["step"] == "withheld" and "not streaming" in said["reason"] and said["code"] == 1013
        cluster.start()


def test_a_query_that_fails(app, walpush):
    """REVOKE while serving: the table is named; GRANT: green again."""
    app.sql("REVOKE SELECT ON user_units FROM walpush")
    said = explained(walpush, "--user", ASHA, "--path", UNIT_1, status=1)
    assert said["step"] == "database" and "user_units" in said["reason"] and said["admit"]["sqlstate"] == "42501"
    app.sql("GRANT SELECT ON user_units TO walpush")
    assert explained(walpush, "--user", ASHA, "--path", UNIT_1)["admitted"] is True


def test_a_query_that_takes_too_long(app, walpush):
    """It is given up, and nobody who listens waits for it."""
    blocker = app.connect(autocommit=False)
    with walpush.subscribe(UNIT_1, ASHA) as client, blocker.cursor() as cursor:
        cursor.execute("LOCK TABLE user_units IN ACCESS EXCLUSIVE MODE")
        said = explained(walpush, "--user", ASHA, "--path", UNIT_1, status=1)
        assert said["step"] == "database"
        app.touch(app.request)
        client.recv()
    blocker.close()


# --- a row -----------------------------------------------------------------------------------------------------------


def test_a_row(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as asha, walpush.subscribe(UNIT_1, RAVI), walpush.subscribe(UNIT_1, RAVI):
        app.sql("UPDATE requests SET status = 'Approved' WHERE id = %s", app.request)
        message = asha.recv()
        said = explained(walpush, "--table", "requests", "--key", app.request)
        text = explain(walpush, "--table", "requests", "--key", app.request)
    last = said.pop("last")
    assert said == {
        "asked": "row", "table": "requests", "key": str(app.request), "found": True, "step": None, "reason": None, "fix": None,
        "sections": [{"section": "requests", "counts": True, "lookup": {"rows": 0}, "groups": ["requests_unit_1"]}],
        "groups": ["requests_unit_1"],
        "receivers": {"connections": 3, "users": 2, "shown": said["receivers"]["shown"],
                      "groups": [{"group": "requests_unit_1", "connections": 3}]},
        "not_known": None,
    }  # fmt: skip
    assert sorted(said["receivers"]["shown"]) == [str(ASHA), str(RAVI)]
    assert last.pop("published").endswith("Z")
    assert last == {
        "id": message["id"], "table": "requests", "action": "approved", "key": str(app.request),
        "groups": ["requests_unit_1"], "group_count": 1, "receivers": 3,
    }  # fmt: skip
    assert f"requests {app.request}: the row is there\n" in text.stdout
    assert "3 connections of 2 users" in text.stdout and "approved" in text.stdout
    assert ROW_MARK not in text.stdout and "Approved" not in text.stdout


def test_a_lookup_and_a_row_that_is_not_counted(app, config, make_walpush):
    """The groups of the lookup are there too; a section whose `when` leaves the row out says so."""
    config.set("tables.closed", Raw('{ from = "requests" type = "closed" key = "request_id" groups = [ "closed_{unit_id}" ]'
                                    ' when = { column = "status" equals = "Nothing" } }'))  # fmt: skip
    app.sql("UPDATE crates SET to_central = true WHERE id = (SELECT crate_id FROM requests WHERE id = %s)", app.request)
    with make_walpush(app, config) as walpush:
        said = explained(walpush, "--table", "public.requests", "--key", app.request)
    by_name = {s["section"]: s for s in said["sections"]}
    assert by_name["closed"]["counts"] is False and by_name["closed"]["groups"] == []
    crate = app.value("SELECT crate_id IS NOT NULL FROM requests WHERE id = %s", app.request)
    assert by_name["requests"]["lookup"] == {"rows": 1 if crate else 0}
    assert said["groups"] == ["requests_unit_1"] + ["requests_unit_3"] * crate


def test_rows_that_are_not_there(app, walpush):
    said = explained(walpush, "--table", "requests", "--key", 99999999, status=1)
    assert said["found"] is False and said["step"] == "row" and said["last"] is None
    said = explained(walpush, "--table", "requests", "--key", "not-a-number", status=1)
    assert said["found"] is None and said["step"] == "key"
    said = explained(walpush, "--table", "nothing", "--key", 1, status=1)
    assert said["found"] is None and said["step"] == "table"
    app.sql("REVOKE SELECT ON requests FROM walpush")
    app.touch(app.request)
    wait_for_metric(walpush, 1, "walpush_events_total", table="requests")
    said = explained(walpush, "--table", "requests", "--key", app.request, status=1)
    assert said["step"] == "database" and "GRANT SELECT" in said["fix"] and said["last"]["action"] == "updated"


def test_keys_of_several_columns_and_of_text(app, config, make_walpush):
    app.sql("CREATE TABLE parts (a int, b text, unit int, PRIMARY KEY (a, b))")
    app.sql("CREATE TABLE tags (name text PRIMARY KEY, is_hot bool, bytes bytea)")
    app.sql("ALTER TABLE parts REPLICA IDENTITY FULL")
    app.sql("ALTER TABLE tags REPLICA IDENTITY FULL")
    app.sql("INSERT INTO parts VALUES (1, 'x \"y\"', 1)")
    app.sql("INSERT INTO tags VALUES ('it''s [1]', true, '\\xABCD')")
    app.sql("GRANT SELECT ON parts, tags TO walpush")
    config.set("tables.parts", section(type="part", key="part_id", groups=["requests_unit_{unit}"]))
    config.set("tables.tags", Raw('{ type = "tag" key = "tag" groups = [ "tag_{name}_{is_hot}_{bytes}" ]'
                                  ' when = { column = "is_hot" equals = "true" } }'))  # fmt: skip
    with make_walpush(app, config) as walpush:
        app.sql("UPDATE parts SET unit = 2")
        app.sql("UPDATE tags SET is_hot = is_hot")
        wait_for_metric(walpush, 2, "walpush_events_total", table="tags")  # its INSERT came before the start
        said = explained(walpush, "--table", "parts", "--key", '[1, "x \\"y\\""]')
        assert said["groups"] == ["requests_unit_2"] and said["last"]["key"] == '[1,"x \\"y\\""]'
        said = explained(walpush, "--table", "parts", "--key", "1", status=1)
        assert said["step"] == "key" and "array of 2" in said["fix"]
        for key in ("it's [1]", '"it\'s [1]"'):
            said = explained(walpush, "--table", "tags", "--key", key)
            assert said["groups"] == said["last"]["groups"] and said["groups"][0].replace("{", "").replace("}", "") == "tag_it's [1]_true_abcd"


# --- a message -------------------------------------------------------------------------------------------------------


def test_a_message(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as asha, walpush.subscribe(UNIT_1, RAVI) as ravi:
        for _ in range(3):
            app.touch(app.request)
        ids = [asha.recv()["id"] for _ in range(3)]
        assert [ravi.recv()["id"] for _ in range(3)] == ids
        said = [explained(walpush, "--event", i) for i in ids]
        text = explain(walpush, "--event", ids[0])
    for i, document in zip(ids, said):
        assert document["found"] is True and document["event"]["id"] == document["id"] == i
        assert document["event"]["groups"] == ["requests_unit_1"] and document["event"]["receivers"] == 2
        written = document["written"]
        assert written["connections"] == 2
        assert document["event"]["published"] <= written["first"] <= written["last"]
    assert "written      to 2 connections, from 20" in text.stdout
    missing = explained(walpush, "--event", "0/1-1", status=1)
    assert missing["found"] is False and missing["event"] is None and "10,000" in missing["reason"]


def test_a_message_that_nobody_listened_to(app, walpush):
    with walpush.subscribe("/ws/requests/2/", BOB) as bob:
        app.touch(app.request)
        app.touch(app.request2)
        other = bob.recv()["id"]
        events = json.loads(walpush.admin("/status").body)["events"]
        unheard = explained(walpush, "--event", events[1]["id"])
        assert unheard["event"]["receivers"] == 0
        assert unheard["written"] == {"connections": 0, "first": None, "last": None}
        assert explained(walpush, "--event", other)["written"]["connections"] == 1


# --- search ----------------------------------------------------------------------------------------------------------


def test_search(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as asha:
        app.touch(app.request)
        message = asha.recv()
        user = json.loads(ask(walpush, with_token(), find=ASHA).body)
        group = json.loads(ask(walpush, with_token(), find="requests_unit_1").body)
        braces = json.loads(ask(walpush, with_token(), find="requests_unit_{1}").body)
        key = json.loads(ask(walpush, with_token(), find=app.request).body)
        nothing = json.loads(ask(walpush, with_token(), find="nothing like it").body)
    assert user["connections"]["open"] == 1 and user["connections"]["shown"][0]["groups"] == ["requests_unit_1"]
    assert group["groups"] == braces["groups"] == [{"group": "requests_unit_1", "connections": 1}]
    assert [e["id"] for e in key["events"]] == [message["id"]]
    assert nothing["groups"] == nothing["events"] == [] and nothing["connections"]["open"] == 0


# --- who may ask -----------------------------------------------------------------------------------------------------


def test_without_a_token_it_is_off(app, config, make_walpush):
    with make_walpush(app, config.remove("admin.token")) as walpush:
        for headers in (None, with_token(), {"Authorization": "Bearer "}):
            answer = ask(walpush, headers, find="1")
            assert answer.status == 404 and b"admin.token" in answer.body
        # A token of the file: a reload is enough. One that is removed turns it off again.
        config.set("admin.token", TOKEN).write(walpush.file)
        reload(walpush)
        assert ask(walpush, with_token(), find="1").status == 200
        config.remove("admin.token").write(walpush.file)
        reload(walpush)
        assert ask(walpush, with_token(), find="1").status == 404


def reload(walpush):
    mark = walpush.mark()
    walpush.send_signal(signal.SIGHUP)
    walpush.wait_for_log("the configuration is taken over", since=mark)


@pytest.mark.parametrize(
    "headers",
    [None, {"Authorization": TOKEN}, {"Authorization": f"Basic {TOKEN}"}, with_token(TOKEN + "x"), with_token(TOKEN[:-1]),
     with_token(""), with_token("x" * len(TOKEN)), with_token(TOKEN.upper())],
    ids=["none", "bare", "basic", "longer", "shorter", "empty", "other", "capitals"],
)  # fmt: skip
def test_a_wrong_token_is_refused(walpush, headers):
    """With a sentence, a line without the token, and a count; nothing is said of anybody."""
    answer = ask(walpush, headers, user=ASHA, path=UNIT_1)
    assert answer.status == 403 and b"Authorization: Bearer" in answer.body and b"admitted" not in answer.body
    assert walpush.metric('walpush_admin_refusals_total{reason="token"}') == 1
    line = walpush.wait_for_log("a request to the admin port is refused.*reason=token")
    assert TOKEN not in line and (not headers or headers["Authorization"][-10:].strip() not in line)


def test_questions_that_are_none(walpush):
    for query in ({}, {"user": 1}, {"path": "/"}, {"table": "x"}, {"event": "x"}, {"user": 1, "path": "/", "find": 1},
                  {"user": 1, "path": "/", "claims": "[]"}, {"user": 1, "path": "/", "claims": '{"a":{}}'},
                  {"find": "x" * 2000}, {"find": b"\xff"}, {"user": b"\xff", "path": "/"}):  # fmt: skip
        answer = ask(walpush, with_token(), **query)
        assert answer.status == 400 and b"error" in answer.body, query
    assert http(walpush.admin_port, "/explain?find=1", with_token(), method="POST").status in (405, 501)


def test_one_question_at_a_time(app, walpush):
    """The others are told to ask again; one that hangs up before its answer leaves no trace."""
    blocker = app.connect(autocommit=False)
    with blocker.cursor() as cursor:
        cursor.execute("LOCK TABLE user_units IN ACCESS EXCLUSIVE MODE")
        with socket.create_connection(("127.0.0.1", walpush.admin_port)) as gone:
            gone.sendall(f"GET /explain?user={ASHA}&path={UNIT_1} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
            app.wait_until("SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%%user_units%%'")
            answer = ask(walpush, with_token(), find="1")
            assert answer.status == 503 and b"another question" in answer.body
    blocker.close()
    assert explained(walpush, "--user", ASHA, "--path", UNIT_1)["admitted"] is True
    assert app.value("SELECT count(*) <= 1 FROM pg_stat_activity WHERE query LIKE '%%user_units%%' AND state <> 'idle' AND pid <> pg_backend_pid()")


def test_it_stops_while_a_question_is_open(app, config, make_walpush):
    blocker = app.connect(autocommit=False)
    walpush = make_walpush(app, config).start()
    with blocker.cursor() as cursor, socket.create_connection(("127.0.0.1", walpush.admin_port)) as asked:
        cursor.execute("LOCK TABLE user_units IN ACCESS EXCLUSIVE MODE")
        asked.sendall(f"GET /explain?user={ASHA}&path={UNIT_1} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
        app.wait_until("SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%%user_units%%'")
        walpush.stop()
    blocker.close()


@pytest.mark.parametrize("token", ["short", "with a blank in it", "ünïcödé-of-some-length"])
def test_a_token_that_is_none(app, config, tmp_path, token):
    config.set("admin.token", token)
    file = config.write(tmp_path / "sidecar.conf")
    done = run_to_end("check", "-c", file, "--offline", env={"DATABASE_URL": app.url, "JWT_SIGNING_KEY": "k" * 32})
    assert done.returncode == 2 and "admin.token should be 16" in done.stdout and token not in done.stdout


def test_a_token_file(app, config, make_walpush, tmp_path):
    (tmp_path / "token").write_text(TOKEN + "\n")
    config.remove("admin.token").set("admin.token-file", str(tmp_path / "token"))
    with make_walpush(app, config) as walpush:
        assert ask(walpush, with_token(), find="1").status == 200
        assert explained(walpush, "--user", ASHA, "--path", UNIT_1)["admitted"] is True


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_database_alone(app, config, make_walpush):
    """Without a token, or without a process: it says what it cannot know."""
    walpush = make_walpush(app, config.remove("admin.token"))
    said = explained(walpush, "--user", ASHA, "--path", UNIT_1)
    assert said["admitted"] is True and said["groups"] == ["requests_unit_1"] and "connections" not in said
    assert "not who is connected" in said["not_known"]
    said = explained(walpush, "--user", BOB, "--path", UNIT_1, status=1)
    assert said["step"] == "admit"
    said = explained(walpush, "--table", "requests", "--key", app.request)
    assert said["groups"] == ["requests_unit_1"] and "last" not in said and "receivers" not in said
    assert "not the action of the last change" in said["not_known"]
    done = explain(walpush, "--event", "0/1-1")
    assert done.returncode == 1 and "only a running process" in done.stderr and "admin.token" in done.stderr
    text = explain(walpush, "--table", "requests", "--key", app.request).stdout
    assert "not known    the database alone" in text


def test_no_process_and_no_database(cluster, app, config, make_walpush):
    walpush = make_walpush(app, config)
    done = explain(walpush, "--event", "0/1-1")
    assert done.returncode == 1 and "nobody answers" in done.stderr
    done = explain(walpush, "--user", ASHA, "--path", UNIT_1, DATABASE_URL=re.sub(r":\d+/", ":1/", app.url))
    assert done.returncode == 1 and done.stdout == ""


def test_another_token_than_the_process_has(app, config, make_walpush):
    with make_walpush(app, config) as walpush:
        config.set("admin.token", "another-token-of-the-length").write(walpush.file)
        done = explain(walpush, "--user", ASHA, "--path", UNIT_1)
        assert done.returncode == 1 and "SIGHUP" in done.stderr and TOKEN not in done.stderr


@pytest.mark.parametrize(
    "args",
    [[], ["--user", "1"], ["--path", "/"], ["--table", "x"], ["--key", "1"], ["--event", "x"], ["--user", "", "--path", "/"],
     ["--user", "1", "--path", "/", "--event", "0/1-1"], ["--user", "1", "--path", "/", "--claim", "x"], ["--claim", "a=b", "--event", "0/1-1"],
     ["--user", "\udcff", "--path", "/"], ["--user", "x" * 2000, "--path", "/"], ["more"], ["--nothing"]],
)  # fmt: skip
def test_usage(walpush, args):
    done = explain(walpush, *args)
    assert done.returncode == 2 and done.stdout == "" and "usage: walpush explain" in done.stderr


def test_the_hubs_count_apart(app, config, make_walpush):
    """Four threads, a connection or two each."""
    config.set("listen.threads", 4)
    with make_walpush(app, config) as walpush:
        clients = [walpush.subscribe(UNIT_1, user) for user in (ASHA, RAVI, SAM) * 2]
        app.touch(app.request)
        ids = {client.recv()["id"] for client in clients}
        said = explained(walpush, "--event", ids.pop())
        assert not ids and said["written"]["connections"] == said["event"]["receivers"] == 6
        for client in clients:
            client.close()


def test_two_replicas(app, config, make_walpush):
    """Each answers for itself, and says that it does: both have published the message, and each knows its own readers."""
    with Redis() as redis:
        config.set("relay", Raw(f'{{ url = "{redis.url}" }}')).set("limits.admit-timeout", 60)
        first = make_walpush(app, config).start()
        second = make_walpush(app, config).start(streaming=False)
        with first.subscribe(UNIT_1, ASHA) as asha, second.subscribe(UNIT_1, RAVI) as ravi, second.subscribe(UNIT_1, RAVI):
            app.touch(app.request)
            message = asha.recv()
            assert ravi.recv()["id"] == message["id"]
            said = [explained(walpush, "--event", message["id"]) for walpush in (first, second)]
            assert [s["event"]["receivers"] for s in said] == [1, 2]
            rows = [explained(walpush, "--table", "requests", "--key", app.request) for walpush in (first, second)]
            assert [r["receivers"]["shown"] for r in rows] == [[str(ASHA)], [str(RAVI)]]
            assert [r["last"]["id"] for r in rows] == [message["id"]] * 2
            user = explained(second, "--user", ASHA, "--path", UNIT_1)
            assert user["admitted"] is True and user["connections"]["open"] == 0
            for document in (*said, *rows, user):
                assert "this replica" in document["not_known"]
        second.stop()
        first.stop()
