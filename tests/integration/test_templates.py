"""Messages that the configuration words: templates, for frontends with a protocol of their own."""

import signal

from harness.app import ASHA, BOB, RAVI
from harness.client import PATIENCE
from throwaway.config import Raw, section, template

UNIT_1, UNIT_2 = "/ws/requests/1/", "/ws/requests/2/"


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


# --- what the server says by itself -----------------------------------------------------------------------------------


def own_words(config, resync):
    """Unit 1's requests once more, on a path whose frontend has its own protocol."""
    stream = config.get("streams.requests")
    config.set("streams.words", Raw(stream.replace("/ws/requests/<int:unit_id>/", "/ws/words/<int:unit_id>/")))
    config.set(
        "streams.words.hello",
        template({"type": "welcome", "unit": "{path.unit_id}", "user": "{token.user_id}", "from": "{event_id}", "new": "{resumed}"}),
    )
    config.set("streams.words.resync", resync)
    config.set("limits.bulk", 3)
    config.remove("tables.requests.lookup")  # which would not be asked beyond the limit
    config.set("tables.requests.groups", ["requests_unit_{unit_id}"])


WORDS = "/ws/words/1/"


def test_a_stream_words_hello_resync_and_bulk(app, config, make_walpush):
    own_words(config, template({"type": "reload", "why": "{reason}", "stream": "{stream}", "at": "{event_id}"}))
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as standard:
        with walpush.connect(WORDS, ASHA) as client:
            hello = client.recv()
            assert list(hello) == ["type", "unit", "user", "from", "new"]
            assert (hello["type"], hello["unit"], hello["user"], hello["new"]) == ("welcome", 1, str(ASHA), False)
            with app.transaction() as cursor:
                for _ in range(5):
                    cursor.execute("UPDATE requests SET purpose = purpose || '.' WHERE id = %s", (app.request,))
            messages, own = standard.recv_n(4), client.recv_n(4)
            assert messages[:3] == own[:3]
            assert (messages[3]["type"], messages[3]["count"]) == ("request.bulk", 2)
            assert own[3] == {"type": "reload", "why": "bulk", "stream": "words", "at": messages[3]["id"]}
            app.sql("TRUNCATE requests CASCADE")
            mark = standard.recv_until(lambda m: m["type"] == "resync")[-1]
            assert client.recv() == {"type": "reload", "why": "truncate", "stream": "words", "at": mark["id"]}


def test_a_stream_closes_in_place_of_resync(app, config, make_walpush):
    own_words(config, "close")
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as standard:
        with walpush.connect(WORDS, ASHA) as client:
            first = client.recv()
            with app.transaction() as cursor:
                for _ in range(5):
                    cursor.execute("UPDATE requests SET purpose = purpose || '.' WHERE id = %s", (app.request,))
            messages, code = client.drain_to_close()
            assert (len(messages), code) == (3, 1012)
            assert standard.recv_n(4)[3]["type"] == "request.bulk"
        with walpush.connect(f"{WORDS}?since={first['from']}&epoch=another", ASHA) as client:
            assert client.recv()["type"] == "welcome"
            app.touch(app.request)
            assert client.recv()["type"] == "request.updated", "it has just connected: nothing to refetch, nor to close for"
            app.sql("TRUNCATE requests CASCADE")
            assert client.close_code() == 1012


def test_what_is_lost_is_told_in_the_streams_words(app, config, make_walpush):
    """The history has a hole, and a reader was too slow: neither stands in the logs."""
    own_words(config, template({"type": "reload", "why": "{reason}", "at": "{event_id}", "of": "{epoch}"}))
    stream = config.get("streams.words")
    config.set("streams.closing", Raw(stream.replace("/ws/words/", "/ws/closing/")))
    config.set("streams.closing.resync", "close")
    config.set("limits.group-bytes", "64 KiB")
    config.set("limits.bulk", 1000)
    with make_walpush(app, config) as walpush:
        with walpush.connect(WORDS, ASHA) as client, walpush.connect("/ws/closing/1/", ASHA) as closing:
            assert client.recv()["type"] == closing.recv()["type"] == "welcome"
            mark = walpush.mark()
            walpush.send_signal(signal.SIGSTOP)
            app.cluster.end_sessions("pid = %s", app.reader())
            app.drop_slot()
            app.create_slot()
            walpush.send_signal(signal.SIGCONT)
            walpush.wait_for_log('msg="?streaming', since=mark, timeout=3 * PATIENCE)
            message = client.recv()
            assert (message["type"], message["why"]) == ("reload", "gap")
            assert closing.close_code() == 1012
        with walpush.connect(WORDS, ASHA, receive_buffer=4096) as slow, walpush.connect(
            "/ws/closing/1/", ASHA, receive_buffer=4096
        ) as closing:
            assert slow.recv()["type"] == closing.recv()["type"] == "welcome"
            for number in range(8):  # more than the sockets and the group's log hold
                app.sql("UPDATE requests SET purpose = %s WHERE id = %s", f"{number}" * 900000, app.request)
            app.settle(walpush)
            messages = slow.recv_until(lambda m: m["type"] == "reload")
            assert messages[-1]["why"] == "history"
            assert closing.drain_to_close()[1] == 1012


# --- the last message ---------------------------------------------------------------------------------------------------


def test_a_message_can_be_the_last(app, config, make_walpush):
    config.set("tables.requests.actions.returned", Raw('{ column = "status"  becomes = "Returned"  close = 4000 }'))
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as one, walpush.subscribe(UNIT_2, BOB) as two:
        other = app.insert_request(1)
        start = one.recv()["id"]
        with app.transaction() as cursor:
            cursor.execute("UPDATE requests SET status = 'Issued' WHERE id = %s", (app.request,))
            cursor.execute("UPDATE requests SET status = 'Returned' WHERE id = %s", (app.request,))
            cursor.execute("UPDATE requests SET status = 'Issued' WHERE id = %s", (other,))
        messages, code = one.drain_to_close()
        assert [m["action"] for m in messages] == ["issued", "returned"]
        assert code == 4000
        app.touch(app.request2, "marker")
        assert two.recv()["action"] == "updated"
        epoch = one.hello["epoch"]
        with walpush.subscribe(f"{UNIT_1}?since={start}&epoch={epoch}", ASHA) as back:
            assert [m["action"] for m in back.recv_n(3)] == ["issued", "returned", "issued"], "whoever comes later only reads it"
            app.touch(app.request)
            assert back.recv()["action"] == "updated"


def test_every_message_of_a_section_can_be_the_last(app, config, make_walpush):
    config.set("tables.requests.close", 3999)
    config.set("limits.bulk", 1)
    with make_walpush(app, config) as walpush:
        with walpush.subscribe(UNIT_1, ASHA) as client:
            app.sql("UPDATE requests SET unit_id = 2 WHERE id = %s", app.request)
            messages, code = client.drain_to_close()
            assert ([m["action"] for m in messages], code) == (["moved"], 3999)
        with walpush.subscribe(UNIT_2, BOB) as client:
            app.sql("UPDATE requests SET purpose = purpose || '.' WHERE unit_id = 2")
            messages, code = client.drain_to_close()
            assert (len(messages), code) == (1, 3999)
