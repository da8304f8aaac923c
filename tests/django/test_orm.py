"""What no signal handler is told of is pushed too; what is rolled back is not; and whoever refetches finds it."""

import threading

import pytest
from django.db import connection, transaction
from django.db.models import F, Value
from django.db.models.functions import Concat
from harness.client import Client
from harness.walpush import Walpush, shipped_config
from store.models import Crate, Request, SendBack, Unit, User


@pytest.fixture
def unit():
    return Unit.objects.get(unit_code="NORTH")


@pytest.fixture
def client(app, backend, unit, tmp_path):
    with Walpush(shipped_config(), tmp_path, app) as walpush:
        walpush.secrets.append(backend.token("asha"))
        with Client(walpush.port, f"/ws/requests/{unit.id}/", token=backend.token("asha")) as client:
            client.established()
            yield client


def made(unit, count=3):
    crate = Crate.objects.filter(unit=unit, to_central=False).first()
    asked = User.objects.get(username="asha")
    return [Request(request_type="Storage", crate=crate, unit=unit, purpose="p", withdrawn_by=asked) for _ in range(count)]


def heard(client, count):
    return [(m["action"], m["request_id"], m["data"].get("purpose")) for m in client.recv_n(count)]


def test_writes_that_signals_never_see(client, unit):
    rows = Request.objects.bulk_create(made(unit))
    assert heard(client, 3) == [("created", row.id, "p") for row in rows]

    those = Request.objects.filter(id__in=[row.id for row in rows])
    those.update(purpose=Concat(F("purpose"), Value("!")))
    assert sorted(heard(client, 3)) == [("updated", row.id, "p!") for row in rows]

    for row in rows:
        row.purpose = f"row {row.id}"
    Request.objects.bulk_update(rows, ["purpose"])
    assert sorted(heard(client, 3)) == [("updated", row.id, f"row {row.id}") for row in rows]

    with connection.cursor() as cursor:
        cursor.execute("UPDATE requests SET status = 'Approved' WHERE id = %s", [rows[0].id])
    assert heard(client, 1) == [("approved", rows[0].id, f"row {rows[0].id}")]

    those.delete()
    assert sorted(heard(client, 3)) == [("deleted", row.id, None) for row in rows]


def test_what_is_rolled_back_never_was(client, unit):
    kept, undone, marker = Request.objects.bulk_create(made(unit))
    heard(client, 3)

    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Request.objects.filter(id=undone.id).update(purpose="undone")
        _ = 1 / 0

    with transaction.atomic():
        Request.objects.filter(id=kept.id).update(purpose="kept")
        with pytest.raises(ZeroDivisionError), transaction.atomic():  # a savepoint
            Request.objects.filter(id=undone.id).update(purpose="undone")
            SendBack.objects.create(request=undone, reason="r", created_by_id=1, sendback_type="Return Note")
            _ = 1 / 0

    Request.objects.filter(id=marker.id).update(purpose="marker")
    assert heard(client, 2) == [("updated", kept.id, "kept"), ("updated", marker.id, "marker")]


def test_whoever_refetches_on_a_message_finds_what_it_tells(client, backend, unit):
    (request,) = Request.objects.bulk_create(made(unit, 1))
    heard(client, 1)
    path = f"/api/requests/storage/{request.id}/update/"
    count = 40

    def write():
        for number in range(count):
            assert backend.call("asha", "PATCH", path, {"purpose": f"number {number}"})[0] == 200

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(count):
            told = client.recv()["data"]
            status, found = backend.call("asha", "GET", f"/api/requests/{request.id}/")
            assert status == 200 and told["purpose"] == f"number {number}"
            assert found["updated_at"] >= told["updated_at"], "the row is older than the message about it"
    finally:
        writer.join()
