"""Another frontend, with the protocol that it has always spoken, served by updates.conf and nothing else."""

import pathlib
import re
import time

import pytest
from backend import Backend
from database import Database
from django.db import transaction
from harness.client import Client, Closed
from harness.walpush import Walpush
from throwaway.config import Config
from store.models import Crate, Request, SendBack, Unit, User

CONF = pathlib.Path(__file__).with_name("updates.conf")
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z$")
ID = re.compile(r"^[1-9]\d*$")

# What `data` of each entity holds, to the last member.
DATA = {
    "request": {"id": ID, "status": re.compile("."), "request_type": re.compile("^(Storage|Withdrawal|Destruction)$")},
    "crate": {"id": ID, "crate_number": None, "status": re.compile("^(Active|Withdrawn|Archived|Destroyed)$")},
    "sendback": {"id": ID},
}


class Frontend:
    """Understands its protocol's messages, to the last member, and nothing else."""

    def __init__(self, walpush, backend, user):
        self._client = Client(walpush.port, "/ws/updates/", token=backend.token(user))
        hello = self._client.recv()
        assert list(hello) == ["type", "message"] and isinstance(hello["message"], str)
        assert hello["type"] == "connection_established"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._client.wire.close()

    def message(self):
        message = self._client.recv()
        understand = {"data_update": _check_update, "pong": _check_pong, "force_logout": _check_logout}
        assert message["type"] in understand, f"this frontend does not know {message.raw}"
        understand[message["type"]](message)
        return message

    def update(self):
        """The next update as (entity, action, data)."""
        message = self.message()
        assert message["type"] == "data_update", message.raw
        return message["entity"], message["action"], message["data"]

    def ping(self, timestamp):
        self._client.send_json({"type": "ping", "timestamp": timestamp})

    def closed(self):
        return self._client.close_code()


def _check_update(message):
    assert list(message) == ["type", "entity", "action", "data", "timestamp"], message.raw
    assert message["action"] in ("created", "updated", "deleted"), message.raw
    assert TIME.match(message["timestamp"]), message.raw
    expected = DATA[message["entity"]]
    assert list(message["data"]) == list(expected), message.raw
    for name, pattern in expected.items():
        value = message["data"][name]
        assert value is None if pattern is None else isinstance(value, str) and pattern.match(value), message.raw


def _check_pong(message):
    assert list(message) == ["type", "timestamp"], message.raw


def _check_logout(message):
    assert list(message) == ["type", "reason", "timestamp"], message.raw
    assert message["reason"] and isinstance(message["reason"], str), message.raw
    assert TIME.match(message["timestamp"]), message.raw


@pytest.fixture(scope="module")
def app(cluster):
    with Database(cluster, Config(CONF.read_text())).used_by_django() as app:
        yield app


@pytest.fixture(scope="module")
def backend(app):
    with Backend(app) as backend:
        yield backend


@pytest.fixture
def config():
    return Config(CONF.read_text())


@pytest.fixture
def walpush(app, config, tmp_path):
    with Walpush(config, tmp_path, app) as walpush:
        yield walpush


@pytest.fixture
def listen(walpush, backend):
    """Opens this frontend for a user, and closes it at the end."""
    opened = []

    def listen(user):
        walpush.secrets.append(backend.token(user))
        opened.append(Frontend(walpush, backend, user))
        return opened[-1]

    yield listen
    for frontend in opened:
        frontend.__exit__()


@pytest.fixture
def north():
    return Unit.objects.get(unit_code="NORTH")


@pytest.fixture
def south():
    return Unit.objects.get(unit_code="SOUTH")


def make_request(unit, **values):
    crate = Crate.objects.filter(unit=unit).first()
    asked = User.objects.filter(units=unit).first()
    values = {"request_type": "Withdrawal", "crate": crate, "unit": unit, "withdrawn_by": asked, **values}
    return Request.objects.create(**values)


def assert_silent(frontend, unit):
    """The next thing that it hears is what is done now."""
    request = make_request(unit)
    assert frontend.update() == ("request", "created", _request(request))


def _request(request):
    return {"id": str(request.id), "status": request.status, "request_type": request.request_type}


def test_requests_crates_and_send_backs_of_ones_units(listen, north, south):
    asha, dora, bob = listen("asha"), listen("dora"), listen("bob")
    request = make_request(north)
    for frontend in (asha, dora):
        assert frontend.update() == ("request", "created", _request(request))

    request.status = "Approved"
    request.save()
    crate = Crate.objects.create(barcode="u1", created_by=request.withdrawn_by, unit=north, department_id=1)
    note = SendBack.objects.create(request=request, created_by=request.withdrawn_by, sendback_type="Return Note")
    for frontend in (asha, dora):
        assert frontend.update() == ("request", "updated", _request(request))
        assert frontend.update() == ("crate", "created", {"id": str(crate.id), "crate_number": None, "status": "Active"})
        assert frontend.update() == ("sendback", "created", {"id": str(note.id)})

    gone = str(note.id), str(crate.id), _request(request)
    note.delete()
    crate.delete()
    for frontend in (asha, dora):
        assert frontend.update() == ("sendback", "deleted", {"id": gone[0]})
        assert frontend.update() == ("crate", "deleted", {"id": gone[1], "crate_number": None, "status": "Active"})
    request.delete()
    for frontend in (asha, dora):
        assert frontend.update() == ("request", "deleted", gone[2])
    assert_silent(bob, south)


def test_what_moves_is_deleted_for_those_who_lose_it(listen, north, south):
    asha, bob = listen("asha"), listen("bob")
    request = make_request(north)
    assert asha.update()[1] == "created"
    request.unit = south
    request.save()
    assert asha.update() == ("request", "deleted", _request(request))
    assert bob.update() == ("request", "updated", _request(request))


@pytest.mark.parametrize("timestamp", ["2026-01-01T12:00:00.000Z", "", "é\u2028\\", 1764000000000, 1e-7, None])
def test_ping(listen, timestamp):
    frontend = listen("asha")
    frontend.ping(timestamp)
    assert frontend.message() == {"type": "pong", "timestamp": timestamp}


def test_a_changed_password_logs_its_user_out(listen, backend, north):
    asha, other_tab, anil = listen("asha"), listen("asha"), listen("anil")
    body = {"old_password": "walpush-demo", "new_password": "another-walpush-demo"}
    assert backend.call("asha", "POST", "/api/me/password/", body)[0] == 204
    for frontend in (asha, other_tab):
        message = frontend.message()
        assert (message["type"], message["reason"]) == ("force_logout", "password_changed")
        assert frontend.closed() == 4001
    assert_silent(anil, north)


@pytest.mark.parametrize("status", ["Inactive", "Suspended", "Locked"])
def test_a_status_that_leaves_active_logs_its_user_out(listen, backend, walpush, north, status):
    anil, dora = listen("anil"), listen("dora")
    user = User.objects.get(username="anil")
    assert backend.call("sam", "PATCH", f"/api/users/{user.id}/", {"status": status})[0] == 200
    try:
        message = anil.message()
        assert (message["type"], message["reason"]) == ("force_logout", "account_deactivated")
        assert anil.closed() == 4001
        assert_silent(dora, north)
        with pytest.raises(Closed) as refused:
            Client(walpush.port, "/ws/updates/", token=backend.token("anil")).recv()
        assert refused.value.code == 4403
    finally:
        User.objects.filter(id=user.id).update(status="Active")


def test_other_changes_of_a_user_are_nobodys_business(listen, backend, north):
    """A login among them, which writes last_login."""
    ravi = listen("ravi")
    user = User.objects.get(username="ravi")
    body = {"username": "ravi", "password": "walpush-demo"}
    assert backend.call(None, "POST", "/api/token/", body)[0] == 200
    assert backend.call("sam", "PATCH", f"/api/users/{user.id}/", {"full_name": "Ravi M."})[0] == 200
    User.objects.create(username=f"new{time.monotonic_ns()}")
    assert_silent(ravi, north)


def test_a_user_without_units_hears_of_nothing_and_is_logged_out_too(listen, backend, north):
    user = User.objects.create(username="nobody", role=User.objects.get(username="asha").role)
    user.set_password("walpush-demo")
    user.save()
    nobody = listen("nobody")
    make_request(north)
    user.set_password("another-walpush-demo")
    user.save()
    assert nobody.message()["type"] == "force_logout"
    assert nobody.closed() == 4001


class TestTooMuch:
    """Where others get a bulk message or a resync, this frontend is closed, and refetches when it is back."""

    @pytest.fixture
    def config(self, config):
        return config.set("limits.bulk", 10)

    def test_a_large_transaction(self, listen, north, south):
        hema, bob = listen("hema"), listen("bob")
        requests = [make_request(north, purpose="old") for _ in range(30)]
        with transaction.atomic():
            for request in requests:
                request.unit = south
                request.save()
        for frontend in (hema, bob):
            heard = 0
            with pytest.raises(Closed) as closed:
                while frontend.update()[1] == "updated":
                    heard += 1
            assert closed.value.code == 1012
            assert heard <= 10

    def test_truncate(self, app, listen):
        hema = listen("hema")
        app.sql("TRUNCATE sendbacks")
        assert hema.closed() == 1012
        listen("hema")
