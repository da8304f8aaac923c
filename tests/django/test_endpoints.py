"""Every endpoint of the application, over HTTP: exactly the right people hear of it, and exactly the right thing."""

import itertools
import json
import re

import pytest
from audience import NAMES, Audience
from harness.walpush import Walpush, shipped_config
from rest_framework.renderers import JSONRenderer
from store.models import Crate, Request, SendBack, Storage, Unit, User
from store.serializers import CrateSerializer, RequestSerializer, SendBackSerializer, StorageSerializer

TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z$")
ADMINS = {"root", "sam"}
# Who may listen to a unit, and to the places in it.
MEMBERS = {
    "NORTH": {"asha", "anil", "ravi", "meena", "dora"} | ADMINS,
    "SOUTH": {"bob", "hema", "omar", "dora"} | ADMINS,
    "Central": {"kira"} | ADMINS,
}
KEEPERS = {"NORTH": {"meena"} | ADMINS, "SOUTH": {"omar"} | ADMINS, "Central": {"kira"} | ADMINS}


@pytest.fixture(scope="module")
def audience(app, backend, tmp_path_factory):
    config = shipped_config()
    with Walpush(config, tmp_path_factory.mktemp("walpush"), app) as walpush:
        audience = Audience(walpush, backend)
        yield audience
        audience.close()


@pytest.fixture
def rows(audience):
    """Makes rows for a test; those of the others, and what was heard of making these, are past when it begins."""
    return Rows(audience)


class Rows:
    _numbers = itertools.count(1)

    def __init__(self, audience):
        self.north, self.south, self.central = Unit.objects.order_by("id")
        self.place = Storage.objects.filter(unit=self.north, compartment_name="C1").first()
        self.other_place = Storage.objects.filter(unit=self.north, compartment_name="C2").first()
        self._audience = audience

    def crate(self, **values):
        values = {"unit": self.north, "created_by": user("asha"), "department_id": 1, "storage": self.place, **values}
        crate = Crate.objects.create(barcode=f"crate {next(self._numbers)}", **values)
        self._audience.heard()
        return crate

    def request(self, kind, status="Pending", by="asha", crate=None):
        crate = crate or self.crate()
        request = Request.objects.create(
            request_type=kind, status=status, crate=crate, unit=crate.unit, withdrawn_by=user(by), purpose="why"
        )
        self._audience.heard()
        return request


def user(name):
    return User.objects.get(username=name)


# ---- What is expected ------------------------------------------------------------------------------------------------


def row(serializer, instance):
    """As the API shows it now."""
    return json.loads(JSONRenderer().render(serializer(type(instance).objects.get(pk=instance.pk)).data))


def request_message(request, action="updated", by=None, op="updated"):
    data = row(RequestSerializer, request)
    head = {"type": f"request.{op}", "action": action, "request_id": request.id, "status": data["status"]}
    return {**head, "updated_at": data["updated_at"], "updated_by": by, "data": data}


def crate_message(crate, action="updated", op="updated"):
    data = row(CrateSerializer, crate)
    head = {"type": f"crate.{op}", "action": action, "crate_id": crate.id, "status": data["status"]}
    return {**head, "updated_at": TIME, "updated_by": None, "data": data}


def storage_message(storage, op):
    data = row(StorageSerializer, storage)
    head = {"type": f"storage.{op}", "action": op, "storage_id": storage.id}
    return {**head, "updated_at": data["updated_at"], "updated_by": None, "data": data}


def note_message(note, by):
    data = row(SendBackSerializer, note)
    head = {"type": "sendback.created", "action": "sent_back", "sendback_id": note.id, "request_id": note.request_id}
    told = {"reason": note.reason, "sendback_type": note.sendback_type, "updated_at": TIME, "updated_by": by}
    return {**head, **told, "data": data}


def to_unit(stream, unit, *messages):
    people = (KEEPERS if stream == "storage" else MEMBERS)[unit.unit_code]
    return {(name, f"/ws/{stream}/{unit.id}/"): messages for name in people}


def personally(names, *messages):
    return {(name, f"/ws/notifications/{user(name).id}/"): messages for name in names}


def assert_heard(audience, *expected):
    """Nothing else was said, to nobody else, in no other order."""
    wanted = {key: messages for part in expected for key, messages in part.items()}
    heard = audience.heard()
    assert set(heard) == set(wanted)
    for key, messages in heard.items():
        assert len(messages) == len(wanted[key]), (key, messages)
        for got, want in zip(messages, wanted[key]):
            got = {name: value for name, value in got.items() if name != "id"}
            if want["updated_at"] is TIME:  # the table has no such column: the time of the commit
                assert TIME.match(got["updated_at"])
                want = {**want, "updated_at": got["updated_at"]}
            assert got == want, key


def done(answer, status=200):
    assert answer[0] == status, answer
    return answer[1]


# ---- Who is let in ---------------------------------------------------------------------------------------------------


def test_everybody_is_admitted_to_what_is_theirs_and_to_nothing_else(audience):
    admitted = {(name, f"/ws/notifications/{user(name).id}/") for name in NAMES}
    for unit in Unit.objects.all():
        for stream in ("requests", "crates", "storage"):
            admitted |= set(to_unit(stream, unit))
    assert audience.admitted() == admitted
    assert len(audience.refused) == len(NAMES) * (9 + len(NAMES)) - len(admitted)


# ---- Requests --------------------------------------------------------------------------------------------------------


def test_create(audience, backend, rows):
    crate = rows.crate()
    body = {"request_type": "Withdrawal", "crate": crate.id, "unit": crate.unit_id, "purpose": "Tax audit"}
    made = done(backend.call("asha", "POST", "/api/requests/", body), 201)
    message = request_message(Request.objects.get(id=made["id"]), "created", op="created")
    assert message["data"] == made
    assert_heard(audience, to_unit("requests", rows.north, message))


def test_approve(audience, backend, rows):
    request = rows.request("Withdrawal")
    answer = done(backend.call("ravi", "POST", f"/api/requests/{request.id}/approve/"))
    message = request_message(request, "approved", by="ravi")
    assert message["data"] == answer and answer["status"] == "Approved" and answer["approved_by"] == user("ravi").id
    assert_heard(audience, to_unit("requests", rows.north, message))


def test_reject(audience, backend, rows):
    request = rows.request("Destruction")
    done(backend.call("ravi", "POST", f"/api/requests/{request.id}/reject/", {"reason": "Keep it"}))
    note = SendBack.objects.get(request=request)
    assert_heard(
        audience,
        to_unit("requests", rows.north, request_message(request, "rejected")),
        to_unit("crates", rows.north, crate_message(request.crate)),
        personally(["asha", "ravi"], note_message(note, by="ravi")),
    )


def test_send_back(audience, backend, rows):
    request = rows.request("Storage", by="dora")
    done(backend.call("ravi", "POST", f"/api/requests/{request.id}/send-back/", {"reason": 'Which "years"?\n☂'}))
    note = SendBack.objects.get(request=request)
    assert_heard(
        audience,
        to_unit("requests", rows.north, request_message(request, "sent_back")),
        personally(["dora", "ravi"], note_message(note, by="ravi")),
    )


def test_allocate_storage_and_the_store_head_sees_the_place(audience, backend, rows):
    request = rows.request("Storage", "Approved")
    body = {"storage": rows.other_place.id}
    done(backend.call("meena", "POST", f"/api/requests/{request.id}/allocate-storage/", body))
    crate = crate_message(request.crate, "relocated")
    assert crate["data"]["storage"] == rows.other_place.id and "meena" in MEMBERS["NORTH"]
    assert_heard(
        audience,
        to_unit("requests", rows.north, request_message(request, "allocated", by="meena")),
        to_unit("crates", rows.north, crate),
    )


def test_issue(audience, backend, rows):
    request = rows.request("Withdrawal", "Approved")
    done(backend.call("meena", "POST", f"/api/requests/{request.id}/issue/"))
    crate = crate_message(request.crate)
    assert crate["status"] == "Withdrawn"
    assert_heard(
        audience,
        to_unit("requests", rows.north, request_message(request, "issued", by="meena")),
        to_unit("crates", rows.north, crate),
    )


def test_return(audience, backend, rows):
    request = rows.request("Withdrawal", "Issued", crate=rows.crate(status="Withdrawn"))
    body = {"storage": rows.other_place.id, "reason": "Complete"}
    done(backend.call("meena", "POST", f"/api/requests/{request.id}/return/", body))
    note = SendBack.objects.get(request=request)
    assert note.sendback_type == "Return Note"
    assert_heard(
        audience,
        to_unit("requests", rows.north, request_message(request, "returned")),
        to_unit("crates", rows.north, crate_message(request.crate, "relocated")),
        personally(["asha", "ravi"], note_message(note, by="meena")),
    )


@pytest.mark.parametrize("kind", ["Storage", "Withdrawal", "Destruction"])
def test_update(audience, backend, rows, kind):
    request = rows.request(kind, "Sent Back")
    body = {"purpose": "For the years 2011 to 2014", "expected_return_date": "2026-03-01T00:00:00Z"}
    done(backend.call("asha", "PATCH", f"/api/requests/{kind.lower()}/{request.id}/update/", body))
    message = request_message(request)
    assert message["status"] == "Pending" and message["data"]["purpose"] == body["purpose"]
    assert_heard(audience, to_unit("requests", rows.north, message))


def test_a_request_for_a_crate_of_the_central_store_reaches_that_unit_too(audience, backend, rows):
    request = rows.request("Withdrawal", crate=rows.crate(to_central=True))
    done(backend.call("ravi", "POST", f"/api/requests/{request.id}/approve/"))
    message = request_message(request, "approved", by="ravi")
    assert_heard(audience, to_unit("requests", rows.north, message), to_unit("requests", rows.central, message))


# ---- Crates and places -----------------------------------------------------------------------------------------------


def test_a_crate_is_made_edited_and_relocated(audience, backend, rows):
    body = {"barcode": "new crate", "unit": rows.south.id, "department_id": 7, "destruction_date": "2031-05-01"}
    made = done(backend.call("bob", "POST", "/api/documents/crates/", body), 201)
    crate = Crate.objects.get(id=made["id"])
    message = crate_message(crate, "created", op="created")
    assert message["data"] == made
    assert_heard(audience, to_unit("crates", rows.south, message))

    done(backend.call("bob", "PUT", f"/api/documents/crates/{crate.id}/", {**body, "to_be_retained": True}))
    message = crate_message(crate)
    assert message["data"]["to_be_retained"] is True
    assert_heard(audience, to_unit("crates", rows.south, message))

    place = Storage.objects.filter(unit=rows.south).first()
    done(backend.call("omar", "POST", f"/api/documents/crates/{crate.id}/relocate/", {"storage": place.id}))
    message = crate_message(crate, "relocated")
    assert message["data"]["storage"] == place.id
    assert_heard(audience, to_unit("crates", rows.south, message))


def test_a_place_is_made_and_edited(audience, backend, rows):
    body = {"unit": rows.north.id, "room_name": "Room C", "rack_name": "Rack 1", "compartment_name": "C1"}
    made = done(backend.call("meena", "POST", "/api/storage/", body), 201)
    place = Storage.objects.get(id=made["id"])
    message = storage_message(place, "created")
    assert message["data"] == made
    assert_heard(audience, to_unit("storage", rows.north, message))

    done(backend.call("meena", "PUT", f"/api/storage/{place.id}/", {**body, "shelf_name": "top"}))
    assert_heard(audience, to_unit("storage", rows.north, storage_message(place, "updated")))


# ---- Nothing to say --------------------------------------------------------------------------------------------------


def test_what_is_refused_is_heard_by_nobody(audience, backend, rows):
    request = rows.request("Withdrawal")
    for name, path, status in [
        ("asha", "approve", 403),  # not a Section Head
        ("hema", "approve", 404),  # of another unit
        ("meena", "issue", 409),  # not approved
    ]:
        assert backend.call(name, "POST", f"/api/requests/{request.id}/{path}/")[0] == status
    assert backend.call("ravi", "POST", f"/api/requests/{request.id}/reject/", {})[0] == 400
    assert backend.call(None, "POST", f"/api/requests/{request.id}/approve/")[0] == 401
    assert_heard(audience)


@pytest.mark.parametrize("path", ["me", "units", "requests", "documents/crates", "storage", "dashboard", "audit", "notifications"])
def test_reading_is_heard_by_nobody(audience, backend, path):
    done(backend.call("ravi", "GET", f"/api/{path}/"))
    assert_heard(audience)
