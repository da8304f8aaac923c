"""The application itself: who sees and may do what, and that it serves the built frontend from the same origin."""

import urllib.request

import pytest
from backend import Backend
from store.management.commands.seed import PASSWORD
from store.models import Crate, Request, SendBack, Storage, Unit, User

PAGE = "<!doctype html><title>Crates</title>"


@pytest.fixture(scope="module")
def backend(app, tmp_path_factory):
    frontend = tmp_path_factory.mktemp("dist")
    (frontend / "index.html").write_text(PAGE)
    (frontend / "assets").mkdir()
    (frontend / "assets/app-1234.js").write_text("export {}")
    with Backend(app, FRONTEND_DIR=str(frontend), WEBSOCKET_URL="wss://live.example.org") as backend:
        yield backend


def get(backend, user, path):
    status, answer = backend.call(user, "GET", path)
    assert status == 200, answer
    return answer


def unit(code):
    return Unit.objects.get(unit_code=code).id


# ---- Who sees what ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user, codes", [("asha", ["NORTH"]), ("dora", ["NORTH", "SOUTH"]), ("sam", ["NORTH", "SOUTH", "Central"])])
def test_everybody_sees_the_rows_of_their_units(backend, user, codes):
    units = {unit(code) for code in codes}
    assert {row["id"] for row in get(backend, user, "/api/units/")} == units
    for path, model in [("requests", Request), ("documents/crates", Crate), ("storage", Storage)]:
        seen = get(backend, user, f"/api/{path}/?limit=1000")
        assert {row["id"] for row in seen} == set(model.objects.filter(unit__in=units).values_list("id", flat=True))
        narrowed = get(backend, user, f"/api/{path}/?unit={unit('NORTH')}&limit=3")
        assert len(narrowed) == 3 and {row["unit"] for row in narrowed} == {unit("NORTH")}


def test_the_central_store_sees_requests_for_its_crates(backend):
    crate = Crate.objects.create(barcode="c", unit_id=unit("NORTH"), to_central=True, created_by_id=1, department_id=1)
    request = Request.objects.create(request_type="Withdrawal", status="Approved", crate=crate, unit=crate.unit)
    assert request.id in {row["id"] for row in get(backend, "kira", f"/api/requests/?unit={unit('Central')}")}
    assert backend.call("kira", "POST", f"/api/requests/{request.id}/issue/")[0] == 200
    crate.requests.all().delete()
    crate.delete()


def test_lists_are_narrowed_by_type_and_status(backend):
    found = get(backend, "sam", "/api/requests/?type=Withdrawal&status=Pending")
    wanted = Request.objects.filter(request_type="Withdrawal", status="Pending")
    assert wanted and [row["id"] for row in found] == list(wanted.values_list("id", flat=True))
    assert backend.call("sam", "GET", "/api/requests/?unit=north")[0] == 400
    assert backend.call("sam", "GET", "/api/requests/?limit=-1")[0] == 400


def test_overviews_count_and_tell(backend):
    north = unit("NORTH")
    counts = get(backend, "ravi", f"/api/dashboard/?unit={north}")
    assert sum(counts["requests"].values()) == Request.objects.filter(unit=north).count()
    assert counts["storages"] == Storage.objects.filter(unit=north).count()
    trail = get(backend, "ravi", f"/api/audit/?unit={north}&limit=5")
    assert len(trail) == 5 and trail == sorted(trail, key=lambda step: step["at"], reverse=True)
    assert {step["unit"] for step in trail} == {north}
    assert len({step["key"] for step in trail}) == 5


def test_notes_reach_who_asked_and_who_approves(backend):
    asha = User.objects.get(username="asha")
    request = Request.objects.filter(unit=unit("NORTH")).first()
    Request.objects.filter(id=request.id).update(withdrawn_by=asha)
    note = SendBack.objects.create(request=request, reason="r", created_by=asha, sendback_type="Return Note")
    seen = {name: [row["id"] for row in get(backend, name, "/api/notifications/")] for name in ("asha", "ravi", "anil", "hema")}
    assert note.id == seen["asha"][0] == seen["ravi"][0]
    assert note.id not in seen["anil"] and note.id not in seen["hema"]


# ---- Who may do what -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "user, method, path, body",
    [
        ("asha", "POST", "documents/crates/{crate}/relocate/", {"storage": "{place}"}),  # not a Store Head
        ("asha", "POST", "storage/", {"unit": "{north}", "room_name": "r", "rack_name": "r", "compartment_name": "c"}),
        ("ravi", "PATCH", "users/{asha}/", {"status": "Locked"}),  # not a System Admin
        ("ravi", "DELETE", "units/{north}/users/{asha}/", None),
        ("bob", "POST", "documents/crates/", {"barcode": "b", "unit": "{north}", "department_id": 1}),  # of another unit
        ("bob", "GET", "units/{north}/users/", None),
    ],
)
def test_what_is_not_allowed(backend, user, method, path, body):
    north = unit("NORTH")
    crate, place = Crate.objects.filter(unit=north).first(), Storage.objects.filter(unit=north).first()
    values = {"crate": crate.id, "place": place.id, "north": north, "asha": User.objects.get(username="asha").id}
    if body:
        body = {name: value.format(**values) if isinstance(value, str) else value for name, value in body.items()}
    assert backend.call(user, method, "/api/" + path.format(**values), body)[0] == 403


def test_rows_of_other_units_do_not_exist(backend):
    crate = Crate.objects.filter(unit=unit("NORTH")).first()
    assert backend.call("bob", "GET", f"/api/documents/crates/{crate.id}/")[0] == 404
    body = {"request_type": "Withdrawal", "crate": crate.id, "unit": unit("SOUTH"), "purpose": "p"}
    assert backend.call("bob", "POST", "/api/requests/", body)[0] == 400


# ---- Tokens ----------------------------------------------------------------------------------------------------------


def test_a_token_is_refreshed_and_ends_with_the_account(backend):
    login = {"username": "omar", "password": PASSWORD}
    status, answer = backend.call(None, "POST", "/api/token/", login)
    assert status == 200 and answer["user"]["role_name"] == "Store Head"
    status, fresh = backend.call(None, "POST", "/api/token/refresh/", {"refresh": answer["refresh"]})
    assert status == 200 and fresh["access"]
    assert get(backend, "omar", "/api/me/")["username"] == "omar"
    User.objects.filter(username="omar").update(status="Locked")
    assert backend.call("omar", "GET", "/api/me/")[0] == 401
    assert backend.call(None, "POST", "/api/token/", login)[0] == 401
    assert backend.call(None, "POST", "/api/token/refresh/", {"refresh": answer["refresh"]})[0] == 401
    assert backend.call(None, "GET", "/api/me/")[0] == 401


# ---- The frontend ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/index.html", "/crates/17", "/login?next=/crates"])
def test_pages_are_the_frontends(backend, path):
    with urllib.request.urlopen(backend.address + path) as answer:
        assert answer.read().decode() == PAGE
        assert answer.headers["Content-Type"].startswith("text/html")


def test_assets_and_addresses_that_are_not_there(backend):
    with urllib.request.urlopen(backend.address + "/assets/app-1234.js") as answer:
        assert answer.headers["Content-Type"].startswith("text/javascript")
    assert get(backend, None, "/api/config/") == {"websocket_url": "wss://live.example.org"}
    with pytest.raises(urllib.error.HTTPError) as missing:
        urllib.request.urlopen(backend.address + "/api/nothing/")
    assert missing.value.code == 404
