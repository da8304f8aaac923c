"""central.conf: what concerns crates of the central store reaches the Central unit as well, and reaches nobody twice."""

import contextlib
import pathlib

import pytest
from database import Database
from harness.walpush import Walpush
from throwaway.config import Config
from store.models import Crate, Request, Unit, User, UserUnit

CONF = pathlib.Path(__file__).with_name("central.conf")


@pytest.fixture(scope="module")
def app(cluster):
    with Database(cluster, Config(CONF.read_text())).used_by_django() as app:
        UserUnit.objects.create(user=User.objects.get(username="dora"), unit=unit("Central"))
        yield app


@pytest.fixture(scope="module")
def people(app, tmp_path_factory):
    """Connections by name: of North, of South, of the central store, of all three."""
    with Walpush(Config(CONF.read_text()), tmp_path_factory.mktemp("walpush"), app) as walpush, contextlib.ExitStack() as open:
        yield {
            name: open.enter_context(walpush.subscribe("/ws/requests/", User.objects.get(username=name).id))
            for name in ("asha", "bob", "kira", "dora")
        }


def unit(code):
    return Unit.objects.get(unit_code=code)


def crate_of(code, to_central):
    return Crate.objects.filter(unit=unit(code), to_central=to_central).first() or Crate.objects.create(
        barcode=f"{code} {to_central}", unit=unit(code), to_central=to_central, created_by_id=1, department_id=1
    )


def ask_for(crate):
    return Request.objects.create(request_type="Withdrawal", crate=crate, unit=crate.unit)


def assert_heard_by(people, names, key):
    """All of them hear of it, once and alike; the others hear next of something else."""
    marks = {code: ask_for(crate_of(code, False)) for code in ("NORTH", "SOUTH", "Central")}
    units = {"asha": ["NORTH"], "bob": ["SOUTH"], "kira": ["Central"], "dora": ["NORTH", "SOUTH", "Central"]}
    ids = set()
    for name, client in people.items():
        if name in names:
            message = client.recv()
            assert message["request_id"] == key, name
            ids.add(message["id"])
        assert [m["request_id"] for m in client.recv_n(len(units[name]))] == [marks[code].id for code in units[name]], name
    assert len(ids) == 1


def test_a_request_for_a_crate_of_the_central_store(people):
    request = ask_for(crate_of("NORTH", True))
    assert_heard_by(people, {"asha", "kira", "dora"}, request.id)
    request.status = "Approved"
    request.save()
    assert_heard_by(people, {"asha", "kira", "dora"}, request.id)
    key = request.id
    request.delete()
    assert_heard_by(people, {"asha", "kira", "dora"}, key)


def test_a_request_for_another_crate(people):
    assert_heard_by(people, {"bob", "dora"}, ask_for(crate_of("SOUTH", False)).id)


def test_the_central_units_own_request(people):
    assert_heard_by(people, {"kira", "dora"}, ask_for(crate_of("Central", True)).id)


def test_a_crate_that_goes_there_later(people):
    crate = Crate.objects.create(barcode="later", unit=unit("SOUTH"), created_by_id=1, department_id=1)
    request = ask_for(crate)
    assert_heard_by(people, {"bob", "dora"}, request.id)
    crate.to_central = True
    crate.save()
    request.status = "Approved"
    request.save()
    assert_heard_by(people, {"bob", "kira", "dora"}, request.id)
