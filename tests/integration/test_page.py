"""The page for a person: what it shows, that nothing of it comes from elsewhere, and that no name can smuggle a script in."""

import json
import os
import re

import pytest

from harness.app import ASHA, RAVI
from harness.browser import driven, look
from harness.metrics import wait_for_metric
from harness.walpush import patient
from throwaway.config import Raw

UNIT_1 = "/ws/requests/1/"


@pytest.fixture
def page(tmp_path):
    """The page's document, once its script has shown what /status says."""

    def show(walpush, *how, **size):
        dom = look(f"http://127.0.0.1:{walpush.admin_port}/", tmp_path / "profile", "--dump-dom", *how, **size)
        assert 'data-shown="yes"' in dom, dom
        return dom

    return show


def text_of(dom, name):
    """What an element of this id holds, tags left out."""
    found = re.search(rf'<(\w+)[^>]* id="{name}"[^>]*>(.*?)</\1>', dom, re.DOTALL)
    assert found, name
    return re.sub(r"<[^>]+>", " ", found.group(2)).strip()


def status_of(walpush, query=""):
    answer = walpush.admin("/status" + query)
    assert answer.status == 200 and answer.headers["content-type"] == "application/json"
    return json.loads(answer.body)


def test_it_shows_who_listens_and_what_they_heard(app, walpush, page, tmp_path):
    with walpush.subscribe(UNIT_1, ASHA) as asha, walpush.subscribe(UNIT_1, RAVI) as ravi:
        app.sql("UPDATE requests SET status = 'Approved' WHERE id = %s", app.request)
        asha.recv(), ravi.recv()
        wait_for_metric(walpush, 2, "walpush_deliveries_total")
        dom = page(walpush)
        assert text_of(dom, "state") == "Streaming"
        assert text_of(dom, "open") == "2"
        assert re.search(r"requests\s+2", text_of(dom, "streams"))
        assert re.search(r"requests_unit_1\s+2", text_of(dom, "groups"))
        assert re.search(rf"requests\s+approved\s+{app.request}\s+requests_unit_1\s+2", text_of(dom, "events"))
        picture = tmp_path / "status.png"
        page(walpush, f"--screenshot={picture}", dark=True)
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 20000


def test_it_says_what_is_wrong_and_what_to_do(app, config, make_walpush, page):
    app.drop_slot()
    walpush = make_walpush(app, config).start(streaming=False)
    walpush.wait_for_log("not streaming.*sqlstate=42704")
    said = status_of(walpush)
    assert said["ready"] is False and app.slot in said["error"] and "walpush sql" in said["fix"]
    assert said["plugin"] is said["publication"] is None
    dom = page(walpush)
    assert text_of(dom, "state").startswith("Not streaming")
    assert said["error"] in text_of(dom, "why").replace("&quot;", '"') and said["fix"] in text_of(dom, "fix")
    assert text_of(dom, "behind") == "unknown"
    app.create_slot()
    walpush.stop()


@pytest.mark.parametrize("plugin", ["wal2json", "pgoutput"])
def test_it_says_which_plugin_the_slot_has(app, config, make_walpush, page, plugin):
    """And of pgoutput, which publication."""
    app.drop_slot()
    app.create_slot(plugin)
    with make_walpush(app, config) as walpush:
        said = status_of(walpush)
        assert said["plugin"] == plugin and said["publication"] == (app.slot if plugin == "pgoutput" else None)
        dom = page(walpush)
        assert text_of(dom, "where") == f"slot {app.slot}, {plugin}" + (f", publication {app.slot}" if plugin == "pgoutput" else "")
        metrics = wait_for_metric(walpush, 1, "walpush_slot_plugin", plugin=plugin)
        assert metrics("walpush_slot_plugin") == 1


def test_names_are_text_and_nothing_else(app, config, make_walpush, page):
    """A key that is HTML, and a group named by it."""
    evil = "<img src=x onerror=document.title=1>"
    app.sql("CREATE TABLE tags (name text PRIMARY KEY, n int)")
    app.sql("ALTER TABLE tags REPLICA IDENTITY FULL")
    app.sql("GRANT SELECT ON tags TO walpush")
    config.set("tables.tags", Raw('{ type = "tag"  key = "tag"  groups = [ "tag_{name}" ] }'))
    walpush = make_walpush(app, config).start()
    app.sql("INSERT INTO tags VALUES (%s, 1)", evil)
    wait_for_metric(walpush, 1, "walpush_events_total", table="tags")
    dom = page(walpush)
    assert "&lt;img src=x" in text_of(dom, "events") and "<img" not in dom
    assert re.search(r"<title>walpush: Streaming</title>", dom)
    walpush.stop()


def find(page, wanted, token=None):
    """Types it into the search, and the token if the page asks for one; what the page then says."""
    if token is not None:
        page.wait_for("!byId('token').hidden")
        page.run(f"byId('token').value = {json.dumps(token)}")
    page.run(f"byId('found-note').textContent = ''; byId('find').value = {json.dumps(wanted)}; byId('ask').requestSubmit()")
    return page.wait_for("byId('found-note').textContent")


def test_the_search_asks_for_the_token_and_finds(app, config, make_walpush, tmp_path):
    """A user, a group and a key; the token stays in the tab alone, and a wrong one is asked for again."""
    token = "a-token-that-must-never-be-logged"
    config.set("admin.token", token)
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as asha:
        walpush.secrets.append(token)
        app.touch(app.request)
        message = asha.recv()
        with driven(f"http://127.0.0.1:{walpush.admin_port}/", tmp_path / "profile") as page:
            page.wait_for("document.body.dataset.shown === 'yes'")
            assert page.wait_for("!byId('search').hidden")
            assert "token" in find(page, str(ASHA), "another-token-of-this-length")
            assert page.run("byId('result').hidden && sessionStorage.length === 0")
            find(page, str(ASHA), token)
            assert page.run("byId('token').hidden && byId('token').value === ''")
            assert re.search(r"requests\s+unit_id=1\s+127.0.0.1\s+\S.*requests_unit_1", page.run("byId('found-user').innerText"))
            find(page, "requests_unit_1")
            assert page.run("byId('found-groups').innerText").split() == ["requests_unit_1", "1"]
            find(page, str(app.request))
            assert message["id"] in page.run("byId('found-events').innerText")
            assert page.run("localStorage.length === 0 && !document.cookie && !location.href.includes('token')")
            # The same tab keeps it over a reload of the page; nothing of the document has it.
            page.go(f"http://127.0.0.1:{walpush.admin_port}/?again")
            page.wait_for("location.search === '?again' && document.body && document.body.dataset.shown === 'yes'")
            find(page, "nobody <b>of</b> this name")
            assert "no user" in page.run("byId('found-user').innerText") and not page.run("document.documentElement.outerHTML.includes('must-never')")


def test_without_a_token_there_is_no_search(walpush, page):
    assert status_of(walpush)["explain"] is False
    assert re.search(r'<section[^>]* id="search"[^>]* hidden', page(walpush))


def test_nothing_comes_from_elsewhere(walpush):
    answer = walpush.admin("/")
    assert answer.status == 200 and answer.headers["content-type"] == "text/html; charset=utf-8"
    body = answer.body.decode()
    policy = answer.headers["content-security-policy"]
    nonce = re.search(r"script-src 'nonce-([0-9a-f]{32})'", policy).group(1)
    assert policy.startswith("default-src 'none';") and "connect-src 'self'" in policy
    assert body.count(f'nonce="{nonce}"') == 2 and "{{nonce}}" not in body
    urls = re.findall(r"""(?:src|href|url|fetch)\s*[=(]\s*["']([^"']+)""", body)
    assert urls and all(url.startswith("/") or url == "data:," for url in urls), urls
    assert "://" not in body.replace("http://www.w3.org/2000/svg", "")
    assert nonce not in walpush.admin("/").body.decode(), "a nonce is for one answer"


def test_the_status_document(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request)
        message = client.recv()
        wait_for_metric(walpush, 1, "walpush_deliveries_total")
        said = status_of(walpush)
        assert "history" not in said
        assert said["positions"]["behind_bytes"]["published"] == 0
        assert said["connections"] == {
            "open": 1,
            "most": said["connections"]["most"],
            "refused": 0,
            "behind": 0,
            "streams": {"requests": 1, "crates": 0, "storage": 0, "notifications": 0},
        }
        assert said["groups"] == [{"name": "requests_unit_1", "connections": 1}]
        event = said["events"][0]
        assert event.pop("time").endswith("Z")
        assert event == {
            "id": message["id"], "table": "requests", "action": "updated", "key": str(app.request),
            "group": "requests_unit_1", "groups": 1, "receivers": 1,
        }  # fmt: skip
        assert said["wal"]["status"] == "reserved" and said["wal"]["retained_bytes"] > 0
        assert said["wal"]["safe_bytes"] is None and said["wal"]["lost_in_seconds"] is None
        history = status_of(walpush, "?history")["history"]
    assert {len(column) for column in history.values()} == {len(history["deliveries"])}


def test_too_far_behind_is_not_ready(app, config, make_walpush):
    """With nobody to publish, because a lookup waits for a lock, the server's end runs away."""
    config.set("admin.ready-bytes", 65536)
    patient(config, 60)
    walpush = make_walpush(app, config).start()
    wait_for_metric(walpush, 1, "walpush_ready")
    blocker = app.connect(autocommit=False)
    with blocker.cursor() as cursor:
        cursor.execute("LOCK TABLE crates IN ACCESS EXCLUSIVE MODE")
        for _ in range(3):
            app.touch(app.request, os.urandom(50000).hex())  # which nothing can compress
        app.wait_until("SELECT count(*) > 0 FROM pg_stat_activity WHERE usename = 'walpush' AND wait_event_type = 'Lock'")
        wait_for_metric(walpush, 0, "walpush_ready")
        answer = walpush.admin("/readyz")
        assert answer.status == 503 and b"too far behind" in answer.body
        assert walpush.admin("/healthz").status == 200
    blocker.close()
    wait_for_metric(walpush, 1, "walpush_ready")
    walpush.stop()


def test_the_slot_holds_much_wal(app, config, make_walpush):
    config.set("database.warn-bytes", 1)
    walpush = make_walpush(app, config).start()
    app.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '1GB'")
    app.sql("SELECT pg_reload_conf()")
    try:
        assert "retained_bytes=" in walpush.wait_for_log("level=warn.*keep much WAL")
        app.wait_until("SELECT safe_wal_size IS NOT NULL FROM pg_replication_slots WHERE slot_name = %s", app.slot)
        app.touch(app.request, "x" * 1000000)
        app.end_reader()  # asked again behind every reconnect
        wait_for_metric(walpush, 2, "walpush_database_connects_total", connection="replication")
        metrics = wait_for_metric(walpush, 1, "walpush_slot_wal_status", status="reserved")
        assert metrics("walpush_slot_retained_bytes") > 0
    finally:
        app.sql("ALTER SYSTEM RESET max_slot_wal_keep_size")
        app.sql("SELECT pg_reload_conf()")
    walpush.stop()


def test_it_shows_what_the_checks_find(app, config, make_walpush, page, tmp_path):
    app.sql("ALTER TABLE sendbacks SET UNLOGGED")
    walpush = make_walpush(app, config.set("admin.check-interval", 300)).start()
    dom = page(walpush, f"--screenshot={tmp_path / 'found.png'}")
    assert text_of(dom, "state") == "Streaming, but a check fails"
    assert "sendbacks is unlogged" in text_of(dom, "why") and "ALTER TABLE public.sendbacks SET LOGGED;" in text_of(dom, "fix")
    assert "failure: table-logged" in text_of(dom, "findings") and "ALTER TABLE public.sendbacks SET LOGGED;" in text_of(dom, "findings")
    assert re.search(r"Looked at \d\d:\d\d:\d\d UTC", text_of(dom, "checked"))


def test_it_hides_what_the_checks_do_not_find(walpush, page):
    assert re.search(r'<section[^>]* id="found"[^>]* hidden', page(walpush))
