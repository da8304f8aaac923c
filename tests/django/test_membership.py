"""A System Admin takes people into units and out of them, and open connections follow."""

import pathlib

import pytest
from harness.client import Client, Closed
from harness.walpush import ROOT, Walpush
from throwaway.config import Config
from store.models import Crate, Request, Role, Unit, User, UserUnit


@pytest.fixture(autouse=True)
def as_seeded(app):
    """What a test changed of people is as before at its end."""
    memberships = list(UserUnit.objects.all())
    people = list(User.objects.all())
    yield
    UserUnit.objects.all().delete()
    UserUnit.objects.bulk_create(memberships)
    User.objects.bulk_update(people, ["role", "status"])


@pytest.fixture
def walpush(app, tmp_path, request):
    file = ROOT / "sidecar.conf" if request.param == "shipped" else pathlib.Path(__file__).with_name(request.param)
    config = Config(file.read_text())
    app.set_up(config)  # which also takes from the role what the configuration before had needed
    with Walpush(config, tmp_path, app) as walpush:
        yield walpush


def running(config):
    return pytest.mark.parametrize("walpush", [config], indirect=True)


def subscribe(walpush, backend, name, path):
    walpush.secrets.append(backend.token(name))
    client = Client(walpush.port, path, token=backend.token(name))
    client.recv()
    return client


def unit(code):
    return Unit.objects.get(unit_code=code)


def admit(backend, name, code, method="PUT"):
    path = f"/api/units/{unit(code).id}/users/{User.objects.get(username=name).id}/"
    assert backend.call("sam", method, path)[0] == 204


def expel(backend, name, code):
    admit(backend, name, code, "DELETE")


def ask(code):
    crate = Crate.objects.filter(unit__unit_code=code, to_central=False).first()
    return Request.objects.create(request_type="Withdrawal", crate=crate, unit=crate.unit)


def heard(client):
    message = client.recv()
    return message["reason"] if message["type"] == "resync" else message["request_id"]


@running("central.conf")
def test_units_join_and_leave_an_open_connection(walpush, backend):
    """Its groups are the user's units: what is committed behind the change is heard, or not any more."""
    with subscribe(walpush, backend, "bob", "/ws/requests/") as bob:
        ask("NORTH")
        south = ask("SOUTH")
        assert heard(bob) == south.id

        admit(backend, "bob", "NORTH")
        north, south = ask("NORTH"), ask("SOUTH")
        assert [heard(bob) for _ in range(3)] == ["membership", north.id, south.id]

        expel(backend, "bob", "SOUTH")
        ask("SOUTH")
        north = ask("NORTH")
        assert [heard(bob) for _ in range(2)] == ["membership", north.id]

        expel(backend, "bob", "NORTH")
        ask("NORTH")
        assert bob.close_code() == 4403, "nobody's unit is left"


@running("shipped")
def test_who_leaves_the_unit_is_stopped(walpush, backend):
    path = f"/ws/requests/{unit('NORTH').id}/"
    with subscribe(walpush, backend, "anil", path) as anil, subscribe(walpush, backend, "asha", path) as asha:
        expel(backend, "anil", "NORTH")
        request = ask("NORTH")
        assert anil.close_code() == 4403
        assert heard(asha) == request.id
        with pytest.raises(Closed) as refused:
            subscribe(walpush, backend, "anil", path)
        assert refused.value.code == 4403


@running("shipped")
def test_who_is_suspended_is_stopped_everywhere(walpush, backend):
    user, number = User.objects.get(username="dora"), unit("SOUTH").id
    paths = f"/ws/requests/{number}/", f"/ws/crates/{number}/", f"/ws/notifications/{user.id}/"
    clients = [subscribe(walpush, backend, "dora", path) for path in paths]
    assert backend.call("sam", "PATCH", f"/api/users/{user.id}/", {"status": "Suspended"})[0] == 200
    assert [client.close_code() for client in clients] == [4403] * 3
    assert backend.call("dora", "GET", "/api/me/")[0] == 401


@running("shipped")
def test_another_role_ends_what_the_old_one_allowed(walpush, backend):
    user, number = User.objects.get(username="meena"), unit("NORTH").id
    places = subscribe(walpush, backend, "meena", f"/ws/storage/{number}/")
    requests = subscribe(walpush, backend, "meena", f"/ws/requests/{number}/")
    role = Role.objects.get(role_name="User").id
    assert backend.call("sam", "PATCH", f"/api/users/{user.id}/", {"role": role})[0] == 200
    assert places.close_code() == 4403
    request = ask("NORTH")
    assert heard(requests) == request.id


@running("updates.conf")
def test_a_frontend_without_resync_reconnects_and_has_both_units(walpush, backend):
    with subscribe(walpush, backend, "bob", "/ws/updates/") as bob:
        admit(backend, "bob", "NORTH")
        assert bob.close_code() == 1012
    with subscribe(walpush, backend, "bob", "/ws/updates/") as bob:
        for code in ("NORTH", "SOUTH"):
            request = ask(code)
            assert bob.recv()["data"]["id"] == str(request.id)
