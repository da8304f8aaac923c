"""Messages that the configuration words: templates, for frontends with a protocol of their own."""

import json

from harness.app import ASHA, BOB, RAVI
from harness.config import Raw

UNIT_1, UNIT_2 = "/ws/requests/1/", "/ws/requests/2/"


def template(value):
    """A JSON value as the text of a template."""
    return json.dumps(value)


def section(**settings):
    """A section of `tables`."""

    def literal(value):
        if isinstance(value, (list, tuple)):
            return "[ " + ", ".join(literal(item) for item in value) + " ]"
        return value if isinstance(value, Raw) else json.dumps(value)

    return Raw("{ " + " ".join(f"{name.replace('_', '-')} = {literal(value)}" for name, value in settings.items()) + " }")


def test_a_template_makes_the_message(app, config, make_walpush):
    config.set(
        "tables.updates",
        section(
            **{"from": "requests"},
            groups=["requests_unit_{unit_id}"],
            actor="approved_by_id",
            message=template(
                {
                    "type": "data_update",
                    "entity": "request",
                    "action": "{op}",
                    "data": {"id": "{id:text}", "status": "{status}", "unit": "{unit_id}", "full": "{full_withdrawal}"},
                    "timestamp": "{commit_time}",
                    "was": "{old.status}",
                    "by": "{actor.username}",
                    "label": "{table} {id} is {status}",
                    "event": "{event_id}",
                }
            ),
        ),
    )
    config.remove("tables.requests")
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as one, walpush.subscribe(UNIT_2, BOB) as two:
        app.sql("UPDATE requests SET status = 'Approved', approved_by_id = %s WHERE id = %s", RAVI, app.request)
        message = one.recv()
        assert list(message) == ["type", "entity", "action", "data", "timestamp", "was", "by", "label", "event"]
        assert message["data"] == {"id": str(app.request), "status": "Approved", "unit": 1, "full": True}
        assert (message["action"], message["was"], message["by"]) == ("updated", "Pending", "ravi")
        assert message["label"] == f"requests {app.request} is Approved"
        app.sql("UPDATE requests SET unit_id = 2, status = 'Issued' WHERE id = %s", app.request)
        left, joined = one.recv(), two.recv()
        assert (left["action"], left["data"]["unit"], left["data"]["status"]) == ("deleted", 1, "Approved")
        assert (joined["action"], joined["data"]["unit"], joined["data"]["status"]) == ("updated", 2, "Issued")
        app.sql("DELETE FROM requests WHERE id = %s", app.request)
        gone = two.recv()
        assert (gone["action"], gone["data"]["id"], gone["data"]["status"]) == ("deleted", str(app.request), "Issued")


def test_each_receiver_gets_its_own_row_of_the_lookup(app, config, make_walpush):
    """Asha and Ravi hear of the send-back personally, each with what the lookup says of them."""
    config.set(
        "tables.sendbacks",
        section(
            lookup="SELECT u.id AS user_id, u.username, u.is_superuser AS root FROM users u WHERE u.id IN (2, 3) ORDER BY u.id",
            groups=["notifications_user_{lookup.user_id}"],
            message=template(
                {"to": "{lookup.username}", "user": "{lookup.user_id}", "root": "{lookup.root}", "id": "{event_id}"}
            ),
        ),
    )
    with make_walpush(app, config) as walpush, walpush.subscribe(f"/ws/notifications/{ASHA}/", ASHA) as asha:
        with walpush.subscribe(f"/ws/notifications/{RAVI}/", RAVI) as ravi:
            app.insert_sendback(app.request)
            one, other = asha.recv(), ravi.recv()
    assert (one["to"], one["user"], one["root"]) == ("asha", ASHA, False)
    assert (other["to"], other["user"], other["root"]) == ("ravi", RAVI, False)
    assert one["id"] == other["id"], "one message, worded for each"
