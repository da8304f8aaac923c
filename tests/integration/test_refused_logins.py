"""A login that the server refuses is a person's to mend: one connection tries for all, seldom, and the log says what to do."""

import time

import pytest

from harness.app import ASHA
from harness.client import PATIENCE
from harness.proxy import error_response, proxy
from harness.walpush import fields_of

UNIT_1 = "/ws/requests/1/"
REFUSED = "cannot reach the database|not streaming, trying again"


class Door:
    """Before the server: counts the logins that come, and answers them while it has an answer."""

    def __init__(self, app):
        self.server = app.cluster.port
        self.answer = None  # (SQLSTATE, text)
        self.only = None  # bytes that stand in what is refused
        self.logins = []

    def __call__(self, first):
        if self.answer is None or (self.only is not None and self.only not in first):
            return None
        self.logins.append(time.monotonic())
        return error_response(*self.answer)


@pytest.fixture
def door(app):
    door = Door(app)
    with proxy(app.cluster.port, request=door) as port:
        door.url = app.url.replace(f":{app.cluster.port}/", f":{port}/") + "?sslmode=disable"
        yield door


def test_one_connection_tries_for_all(app, config, make_walpush, door):
    """18 in 5 s were enough for a ban: Supabase's comes after three or four."""
    door.answer = ("28P01", 'password authentication failed for user "walpush"')
    with make_walpush(app, config, url=door.url).start(streaming=False) as walpush:
        line = fields_of(walpush.wait_for_log(REFUSED))
        time.sleep(20)
        assert 2 <= len(door.logins) <= 4, door.logins
        assert line["sqlstate"] == "28P01" and line["fix"].startswith("shell: walpush sql -c "), line
        assert float(line["wait_ms"]) >= 4000
        assert b"login" in walpush.admin("/readyz").body and walpush.admin("/readyz").status == 503
        door.answer = None
        mark = walpush.mark()
        walpush.send_signal(1)  # whoever has mended it need not wait
        walpush.wait_for_log('msg="?streaming', since=mark)
        walpush.wait_for_log('msg="?live', since=mark)
        with walpush.subscribe(UNIT_1, ASHA):
            pass
        assert door.logins[1] - door.logins[0] >= 4


def test_a_password_that_changes_while_it_runs(app, config, make_walpush, door):
    """A rotation whose second half is late: sessions end, and come back to a server that refuses all of them."""
    with make_walpush(app, config, url=door.url) as walpush:
        door.answer = ("28P01", 'password authentication failed for user "walpush"')
        mark = walpush.mark()
        app.end_reader()
        app.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'walpush' AND datname = %s", app.name)
        walpush.wait_for_log(f"({REFUSED}).*28P01", since=mark)
        time.sleep(6)
        # Those that were lost at once have tried at once.
        assert len(door.logins) <= 8, door.logins
        assert len([at for at in door.logins if at > door.logins[0] + 1]) <= 2, door.logins
        door.answer = None
        walpush.wait_for_log('msg="?streaming', since=mark, timeout=PATIENCE + 60)


@pytest.mark.parametrize(
    "answer, only, fix",
    [
        (("28000", 'no pg_hba.conf entry for host "10.0.0.7", user "walpush", database "app", no encryption'), None, "sslmode="),
        (("28000", 'PAM authentication failed for user "walpush"'), None, "good for minutes"),
        (("3D000", 'database "app" does not exist'), None, "correct the database's name"),
        (("0A000", "RDS Proxy currently doesn't support command-line options"), None, "connect to PostgreSQL itself"),
        (("42501", "must be superuser or replication role to start walsender"), b"replication\0", "ALTER ROLE walpush REPLICATION;"),
        (("08P01", "unsupported startup parameter: replication"), b"replication\0", "connect to PostgreSQL itself"),
        (("53300", "sorry, too many clients already"), None, "max_connections"),
    ],
)
def test_a_refusal_is_logged_with_its_fix(app, config, make_walpush, door, answer, only, fix):
    door.answer, door.only = answer, only
    with make_walpush(app, config, url=door.url).start(streaming=False) as walpush:
        line = fields_of(walpush.wait_for_log(f"({REFUSED}).*{answer[0]}"))
        assert line["sqlstate"] == answer[0] and fix in line["fix"] and "start PostgreSQL" not in line["fix"], line


def test_what_only_replication_may_not_holds_up_nobody_else(app, config, make_walpush, door):
    door.answer, door.only = ("28000", "no pg_hba.conf entry for replication"), b"replication\0"
    with make_walpush(app, config, url=door.url).start(streaming=False) as walpush:
        walpush.wait_for_log("not streaming.*28000")
        app.wait_until("SELECT count(*) >= 5 FROM pg_stat_activity WHERE usename = 'walpush' AND datname = %s", app.name)


@pytest.mark.parametrize("kind", ["client backend", "walsender"])
def test_what_the_server_says_while_nothing_is_asked_is_in_the_log(app, config, make_walpush, kind):
    with make_walpush(app, config) as walpush:
        mark = walpush.mark()
        app.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'walpush' AND datname = %s AND backend_type = %s",
            app.name,
            kind,
        )
        line = walpush.wait_for_log("(connection lost|not streaming).*57P01", since=mark)
        assert "terminating connection due to administrator command" in line
