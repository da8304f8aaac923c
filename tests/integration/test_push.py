"""What a subscriber receives for what the application writes, message by message."""

import datetime
import re
import statistics
import time

import pytest

from harness.app import ASHA, BOB, MEENA, RAVI, SAM
from harness.client import SLOWDOWN, assert_in_order, event_key
from harness.walpush import ROW_MARK

UNIT_1, UNIT_2 = "/ws/requests/1/", "/ws/requests/2/"
ID = re.compile(r"^[0-9A-F]{1,8}/[0-9A-F]{1,8}-\d+$")


def mine(user):
    return f"/ws/notifications/{user}/"


def assert_next_is_marker(app, client, request):
    """Whatever the client should not have heard would have to come before this."""
    app.touch(request, "marker")
    message = client.recv()
    assert (message["action"], message["request_id"]) == ("updated", request), message.raw
    assert message["data"]["purpose"].endswith("marker"), message.raw


def test_first_message_says_where_the_stream_begins(walpush):
    with walpush.connect(UNIT_1, ASHA) as client:
        hello = client.recv()
    assert list(hello) == ["type", "stream", "epoch", "id"]
    assert hello["type"] == "connection_established"
    assert hello["stream"] == "requests"
    assert ID.match(hello["id"])
    assert re.match(r"^\d+-1-[0-9a-f]{8}-[0-9a-f]{16}$", hello["epoch"])


def test_an_approval_reaches_everybody_in_the_unit_and_nobody_else(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as asha, walpush.subscribe(UNIT_1, RAVI) as ravi, walpush.subscribe(
        UNIT_1, SAM
    ) as sam, walpush.subscribe(UNIT_2, BOB) as bob:
        app.sql(
            "UPDATE requests SET status = 'Approved', approved_by_id = %s, approval_date = now(),"
            " updated_at = '2025-11-15 01:02:03.12+00' WHERE id = %s",
            RAVI,
            app.request,
        )
        data = app.data_of("requests", app.request)
        for client in (asha, ravi, sam):
            message = client.recv()
            assert list(message) == [
                "type", "action", "request_id", "status", "updated_at", "updated_by", "data", "id",
            ]  # fmt: skip
            assert ID.match(message["id"]) and message["id"].endswith("-1")
            assert event_key(message) > event_key(client.hello)
            assert message == {
                "type": "request.updated",
                "action": "approved",
                "request_id": app.request,
                "status": "Approved",
                "updated_at": "2025-11-15T01:02:03.120000Z",
                "updated_by": "ravi",
                "data": data,
                "id": message["id"],
            }
            assert list(message["data"]) == list(data)
        assert "unit" in data and "unit_id" not in data, "the expectation itself must name the relation as DRF does"
        assert_next_is_marker(app, bob, app.request2)


ACTIONS = [
    ("status = 'Rejected'", "rejected", None),
    ("status = 'Sent Back'", "sent_back", None),
    (f"status = 'Issued', issued_by_id = {MEENA}, issue_date = now()", "issued", "meena"),
    ("status = 'Returned', return_date = now()", "returned", None),
    (f"status = 'Completed', allocation_date = now(), allocated_by_id = {MEENA}", "allocated", "meena"),
    ("purpose = 'fertile-otter again'", "updated", None),
    ("status = 'Pending'", "updated", None),  # becomes what it was: no action's business
]


def test_actions(app, walpush):
    """Each of a request that is new."""
    with walpush.subscribe(UNIT_1, ASHA) as client:
        for change, action, by in ACTIONS:
            request = app.insert_request(1)
            assert client.recv()["type"] == "request.created"
            app.sql(f"UPDATE requests SET {change} WHERE id = %s", request)
            message = client.recv()
            assert (message["type"], message["action"], message["updated_by"]) == ("request.updated", action, by), change
            assert message["status"] == message["data"]["status"], change
            assert message["data"] == app.data_of("requests", request), change


def test_insert_and_delete(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        key = app.insert_request(1)
        created = client.recv()
        assert (created["type"], created["action"], created["request_id"]) == ("request.created", "created", key)
        assert created["data"] == app.data_of("requests", key)
        app.sql("DELETE FROM requests WHERE id = %s", key)
        deleted = client.recv()
        assert list(deleted) == ["type", "action", "request_id", "updated_at", "updated_by", "data", "id"]
        assert (deleted["type"], deleted["action"], deleted["request_id"]) == ("request.deleted", "deleted", key)
        assert deleted["data"] == {"id": key}


def test_a_request_that_moves_leaves_one_unit_and_joins_the_other(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as left, walpush.subscribe(UNIT_2, BOB) as joined:
        app.sql("UPDATE requests SET unit_id = 2 WHERE id = %s", app.request)
        gone, come = left.recv(), joined.recv()
        assert (gone["type"], gone["action"], gone["data"]) == ("request.deleted", "moved", {"id": app.request})
        assert "status" not in gone
        assert (come["type"], come["action"]) == ("request.updated", "updated")
        assert come["data"] == app.data_of("requests", app.request) and come["data"]["unit"] == 2
        assert gone["id"].endswith("-1") and come["id"].endswith("-2"), "left before joined"
        assert_next_is_marker(app, joined, app.request2)


def test_rows_of_one_transaction_come_in_order_with_indexes_from_one(app, walpush):
    keys = [app.insert_request(1) for _ in range(5)]
    app.settle(walpush)
    with walpush.subscribe(UNIT_1, ASHA) as client:
        with app.transaction() as cursor:
            for key in reversed(keys):
                cursor.execute("UPDATE requests SET full_withdrawal = false WHERE id = %s", (key,))
        messages = client.recv_n(5)
        assert [m["request_id"] for m in messages] == keys[::-1]
        assert [m["id"].rpartition("-")[2] for m in messages] == ["1", "2", "3", "4", "5"]
        assert len({m["id"].rpartition("-")[0] for m in messages}) == 1
        app.touch(app.request)
        later = client.recv()
        assert event_key(later) > event_key(messages[-1]) and later["id"].endswith("-1")


def test_indexes_count_all_messages_of_the_transaction_whatever_their_groups(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        with app.transaction() as cursor:
            cursor.execute("UPDATE requests SET full_withdrawal = false WHERE id = %s", (app.request2,))
            cursor.execute("UPDATE crates SET status = 'Withdrawn' WHERE id = %s", (app.crate,))
            cursor.execute("UPDATE requests SET full_withdrawal = false WHERE id = %s", (app.request,))
        assert client.recv()["id"].endswith("-3")


def test_what_is_rolled_back_is_never_seen(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        connection = app.connect(autocommit=False)
        with connection.cursor() as cursor:
            cursor.execute("UPDATE requests SET status = 'Approved' WHERE id = %s", (app.request,))
        connection.rollback()
        with connection.cursor() as cursor:
            cursor.execute("UPDATE requests SET status = 'Issued' WHERE id = %s", (app.request,))
            cursor.execute("SAVEPOINT here")
            cursor.execute("UPDATE requests SET status = 'Returned' WHERE id = %s", (app.request,))
            cursor.execute("DELETE FROM requests WHERE id = %s", (app.request,))
            cursor.execute("ROLLBACK TO here")
            cursor.execute("UPDATE requests SET full_withdrawal = false WHERE id = %s", (app.request,))
        connection.commit()
        connection.close()
        issued, other = client.recv_n(2)
        assert issued["action"] == "issued" and issued["id"].endswith("-1")
        assert other["action"] == "updated" and other["id"].endswith("-2")
        assert_next_is_marker(app, client, app.request)


def test_transactions_come_in_commit_order_not_in_the_order_of_their_writes(app, walpush):
    other = app.insert_request(1)
    app.settle(walpush)
    with walpush.subscribe(UNIT_1, ASHA) as client:
        early = app.connect(autocommit=False)
        with early.cursor() as cursor:
            cursor.execute("UPDATE requests SET status = 'Issued' WHERE id = %s", (app.request,))
        app.touch(other)
        early.commit()
        early.close()
        messages = client.recv_n(2)
        assert [m["request_id"] for m in messages] == [other, app.request]
        assert_in_order(messages)


def test_a_prepared_transaction_is_heard_when_it_commits(app, walpush):
    if app.value("SELECT current_setting('max_prepared_transactions')::int") == 0:
        pytest.skip("the server has max_prepared_transactions = 0")
    with walpush.subscribe(UNIT_1, ASHA) as client:
        connection = app.connect(autocommit=False)
        connection.tpc_begin("walpush-test")
        with connection.cursor() as cursor:
            cursor.execute("UPDATE requests SET status = 'Issued' WHERE id = %s", (app.request,))
        connection.tpc_prepare()
        other = app.insert_request(1)
        assert client.recv()["request_id"] == other
        connection.tpc_commit()
        assert client.recv()["action"] == "issued"
        connection.close()


def test_crates(app, walpush):
    with walpush.subscribe("/ws/crates/1/", ASHA) as client:
        before = datetime.datetime.now(datetime.timezone.utc)
        app.sql("UPDATE crates SET storage_id = %s WHERE id = %s", app.storage_b, app.crate)
        moved = client.recv()
        after = datetime.datetime.now(datetime.timezone.utc)
        assert (moved["type"], moved["action"], moved["crate_id"]) == ("crate.updated", "relocated", app.crate)
        assert moved["data"] == app.data_of("crates", app.crate)
        assert moved["data"]["storage"] == app.storage_b
        # Crates have no updated_at: the commit's time stands in.
        when = datetime.datetime.fromisoformat(moved["updated_at"].replace("Z", "+00:00"))
        assert before <= when <= after
        app.sql("UPDATE crates SET status = 'Archived' WHERE id = %s", app.crate)
        assert client.recv()["action"] == "updated"
        key = app.insert_crate(1, app.storage_a, destruction_date="2031-02-03")
        created = client.recv()
        assert (created["type"], created["crate_id"]) == ("crate.created", key)
        assert created["data"]["destruction_date"] == "2031-02-03"
        assert created["data"] == app.data_of("crates", key)


def test_storages_are_for_the_store_head_and_administrators(app, walpush):
    with walpush.subscribe("/ws/storage/1/", MEENA) as head, walpush.subscribe("/ws/storage/1/", SAM) as admin:
        with walpush.connect("/ws/storage/1/", ASHA) as asha:
            assert asha.close_code() == 4403
        key = app.insert_storage(1)
        app.insert_storage(2)
        app.sql("UPDATE storages SET room_name = 'vault' WHERE id = %s", key)
        for client in (head, admin):
            created, updated = client.recv_n(2)
            assert (created["type"], created["storage_id"]) == ("storage.created", key)
            assert (updated["type"], updated["data"]["room_name"]) == ("storage.updated", "vault")


def test_a_sendback_goes_to_the_requester_and_the_section_heads_personally(app, walpush):
    with walpush.subscribe(mine(ASHA), ASHA) as requester, walpush.subscribe(
        mine(RAVI), RAVI
    ) as approver, walpush.subscribe(mine(MEENA), MEENA) as other, walpush.subscribe(mine(BOB), BOB) as stranger:
        key = app.insert_sendback(app.request)
        for client in (requester, approver):
            message = client.recv()
            assert list(message) == [
                "type", "action", "sendback_id", "request_id", "reason", "sendback_type",
                "updated_at", "updated_by", "data", "id",
            ]  # fmt: skip
            assert (message["type"], message["action"]) == ("sendback.created", "sent_back")
            assert (message["sendback_id"], message["request_id"]) == (key, app.request)
            assert message["updated_by"] == "ravi"
            assert message["data"] == app.data_of("sendbacks", key)
        # Marker: a sendback that does concern the others.
        marker = app.insert_sendback(app.insert_request(1, withdrawn_by_id=MEENA))
        assert other.recv()["sendback_id"] == marker
        marker = app.insert_sendback(app.request2)
        assert stranger.recv()["sendback_id"] == marker


def test_a_request_for_a_central_crate_reaches_the_central_unit_too(app, walpush):
    crate = app.insert_crate(1, app.storage_a, to_central=True)
    with walpush.subscribe(UNIT_1, ASHA) as unit, walpush.subscribe("/ws/requests/3/", SAM) as central:
        app.touch(app.request, "not central")
        key = app.insert_request(1, crate_id=crate)
        assert [m["request_id"] for m in unit.recv_n(2)] == [app.request, key]
        message = central.recv()
        assert (message["action"], message["request_id"]) == ("created", key)


def test_one_connection_with_several_groups_gets_one_ordered_stream(app, config, make_walpush):
    config.set("streams.requests.groups", ["requests_unit_{path.unit_id}", "crates_unit_{path.unit_id}"])
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        expected = []
        for i in range(30):
            with app.transaction() as cursor:
                for table, key in (("requests", app.request), ("crates", app.crate), ("requests", app.request)):
                    if (i + len(table)) % 3:
                        cursor.execute(f"UPDATE {table} SET status = %s WHERE id = %s", (f"Active {i}", key))
                        expected.append((table[:-1], f"Active {i}"))
        messages = client.recv_n(len(expected))
        assert [(m["type"].partition(".")[0], m["status"]) for m in messages] == expected
        assert_in_order(messages)


def test_truncate_is_a_resync_for_the_groups_of_the_table(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as unit, walpush.subscribe(mine(ASHA), ASHA) as notes, walpush.subscribe(
        "/ws/crates/1/", ASHA
    ) as crates:
        app.sql("TRUNCATE requests, sendbacks")
        for client in (unit, notes):
            message = client.recv()
            assert list(message) == ["type", "reason", "id", "epoch"]
            assert message["type"] == "resync"
            assert message["epoch"] == client.hello["epoch"]
            assert event_key(message) > event_key(client.hello)
        key = app.insert_request(1)
        assert unit.recv()["request_id"] == key
        app.sql("UPDATE crates SET status = 'Archived' WHERE id = %s", app.crate)
        assert crates.recv()["type"] == "crate.updated", "no resync for a table that was not truncated"


def test_without_an_old_row_the_group_that_was_left_is_told_to_refetch(app, walpush):
    app.sql("ALTER TABLE requests REPLICA IDENTITY DEFAULT")
    with walpush.subscribe(UNIT_1, ASHA) as left, walpush.subscribe(UNIT_2, BOB) as joined:
        app.sql("UPDATE requests SET unit_id = 2 WHERE id = %s", app.request)
        assert left.recv()["type"] == "resync"
        heard = joined.recv_until(lambda m: m.get("request_id") == app.request)
        assert heard[-1]["data"]["unit"] == 2
        app.sql("DELETE FROM requests WHERE id = %s", app.request2)
        assert joined.recv()["type"] == "resync", "a delete whose unit nobody knows"


def without_lookup(config):
    """Requests whose groups come from columns alone."""
    config.remove("tables.requests.lookup")
    return config.set("tables.requests.groups", ["requests_unit_{unit_id}"])


def test_bulk(app, config, make_walpush):
    without_lookup(config).set("limits.bulk", 20)
    keys = [app.insert_request(1) for _ in range(50)]
    with make_walpush(app, config) as walpush:
        app.settle(walpush)
        with walpush.subscribe(UNIT_1, ASHA) as client, walpush.subscribe(UNIT_2, BOB) as other:
            with app.transaction() as cursor:
                cursor.execute("UPDATE requests SET full_withdrawal = false WHERE id = ANY (%s)", (keys,))
                cursor.execute("UPDATE requests SET full_withdrawal = false WHERE id = %s", (app.request2,))
            *single, bulk = client.recv_n(21)
            assert all(m["type"] == "request.updated" for m in single)
            assert list(bulk) == ["type", "action", "count", "id"]
            assert (bulk["type"], bulk["action"], bulk["count"]) == ("request.bulk", "bulk", 30)
            assert_in_order(single + [bulk])
            assert_next_is_marker(app, client, app.request)
            # The limit is of one table for one group: unit 2 had one change.
            assert other.recv()["type"] == "request.updated"


def insert_bulk(app, count):
    app.sql(
        "INSERT INTO requests (request_type, crate_id, unit_id, request_date, status, withdrawn_by_id, purpose,"
        " full_withdrawal, created_at, updated_at)"
        " SELECT request_type, crate_id, unit_id, request_date, 'Bulk', withdrawn_by_id, purpose, full_withdrawal,"
        " created_at, updated_at FROM requests, generate_series(1, %s) WHERE id = %s",
        count,
        app.request,
    )


def test_bulk_at_the_default_limit(app, config, make_walpush):
    insert_bulk(app, 1500)
    with make_walpush(app, without_lookup(config)) as walpush:
        app.settle(walpush)
        with walpush.subscribe(UNIT_1, ASHA) as client:
            app.sql("UPDATE requests SET full_withdrawal = false WHERE status = 'Bulk'")
            *single, bulk = client.recv_n(1001)
            assert {m["type"] for m in single} == {"request.updated"}
            assert (bulk["type"], bulk["count"]) == ("request.bulk", 500)
            assert_next_is_marker(app, client, app.request)


def test_bulk_where_a_lookup_names_groups(app, walpush):
    """Past the limit no lookup is asked, so every group that it could name has to refetch."""
    insert_bulk(app, 1500)
    app.settle(walpush)
    with walpush.subscribe(UNIT_1, ASHA) as client, walpush.subscribe("/ws/requests/3/", SAM) as central:
        app.sql("UPDATE requests SET full_withdrawal = false WHERE status = 'Bulk'")
        messages = client.recv_until(lambda m: m["type"] != "request.updated")
        assert len(messages) == 1001
        assert messages[-1]["type"] in ("request.bulk", "resync")
        assert central.recv()["type"] == "resync"
        app.touch(app.request, "afterwards")
        client.recv_until(lambda m: m.get("data") and m["data"]["purpose"].endswith("afterwards"))


def test_bulk_spares_the_groups_that_need_no_lookup(app, config, make_walpush):
    """They get one message for the rest; only those that a lookup would have named refetch."""
    config.set("tables.requests.groups", ["requests_unit_{unit_id}", "central_{lookup.unit_id}"])
    config.set("streams.crates.groups", ["central_{path.unit_id}"])
    config.set("limits.bulk", 5)
    insert_bulk(app, 8)
    with make_walpush(app, config) as walpush:
        app.settle(walpush)
        with walpush.subscribe(UNIT_1, ASHA) as client, walpush.subscribe("/ws/crates/3/", SAM) as central:
            app.sql("UPDATE requests SET full_withdrawal = false WHERE status = 'Bulk'")
            messages = client.recv_n(6)
            assert {m["type"] for m in messages[:5]} == {"request.updated"}
            assert (messages[5]["type"], messages[5]["count"]) == ("request.bulk", 3)
            assert (central.recv()["type"]) == "resync"
            assert_next_is_marker(app, client, app.request)


def test_a_row_beyond_row_bytes_comes_without_its_data(app, config, make_walpush):
    config.set("limits.row-bytes", 4096)
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request, "x" * 5000)
        large = client.recv()
        assert (large["request_id"], large["data"], large["truncated"]) == (app.request, None, True)
        app.touch(app.request, "small again")
        small = client.recv()
        assert "truncated" not in small
        assert small["data"] == app.data_of("requests", app.request)


def test_a_megabyte_in_one_column(app, config, make_walpush):
    config.set("limits.row-bytes", 4 << 20).set("limits.group-bytes", 16 << 20)
    text = f"{ROW_MARK} " + "é\n" * 500_000
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        app.sql("UPDATE requests SET purpose = %s WHERE id = %s", text, app.request)
        assert client.recv()["data"]["purpose"] == text


def test_an_unchanged_long_value_is_still_told(app, walpush):
    # Long and incompressible, so that it is stored out of line and not sent again by PostgreSQL.
    app.sql(
        "UPDATE requests SET purpose = (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 1000) i) WHERE id = %s",
        app.request,
    )
    app.settle(walpush)
    with walpush.subscribe(UNIT_1, ASHA) as client:
        app.sql("UPDATE requests SET status = 'Issued' WHERE id = %s", app.request)
        message = client.recv()
        assert "unchanged" not in message
        assert message["data"] == app.data_of("requests", app.request)
        # Without the old row it is left out and named: never null.
        app.sql("ALTER TABLE requests REPLICA IDENTITY DEFAULT")
        app.sql("UPDATE requests SET status = 'Returned' WHERE id = %s", app.request)
        message = client.recv_until(lambda m: m["type"] == "request.updated")[-1]
        assert message["unchanged"] == ["purpose"]
        expected = app.data_of("requests", app.request)
        del expected["purpose"]
        assert message["data"] == expected


TEXTS = [
    'quotes " and \\ and / and \\"',
    "control " + "".join(map(chr, range(1, 32))) + "\x7f",
    "line separators \u2028 and \u2029, a BOM \ufeff",
    "emoji 🦦 and a flag 🇮🇳, combining e\u0301, far plane \U0010fffd",
    "{purpose} ${HOME} %s </script> \\u0041",
    "",
]


def test_texts_arrive_as_they_were_written(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        for text in TEXTS:
            app.sql("UPDATE requests SET purpose = %s WHERE id = %s", text, app.request)
            assert client.recv()["data"]["purpose"] == text


@pytest.mark.parametrize(
    "written, read",
    [
        ("2025-11-14 12:34:56.120000+05:30", "2025-11-14T07:04:56.120000Z"),
        ("2025-11-14 12:34:56+00", "2025-11-14T12:34:56Z"),
        ("0999-12-31 23:59:59.000001+00", "0999-12-31T23:59:59.000001Z"),
    ],
)
def test_times_are_utc_in_iso_8601(app, walpush, written, read):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        app.sql("UPDATE requests SET updated_at = %s WHERE id = %s", written, app.request)
        message = client.recv()
        assert message["updated_at"] == read
        assert message["data"]["updated_at"] == read


@pytest.mark.whole(reason="it measures latency")
def test_latency_on_an_idle_process(app, walpush, record_property, capsys):
    """From before the commit to the parsed message: a median of 50, printed."""
    took = []
    with walpush.subscribe(UNIT_1, ASHA) as client:
        for i in range(50):
            start = time.perf_counter()
            app.sql("UPDATE requests SET purpose = %s WHERE id = %s", f"{ROW_MARK} {i}", app.request)
            assert client.recv()["data"]["purpose"].endswith(f" {i}")
            took.append((time.perf_counter() - start) * 1000)
    median = statistics.median(took)
    record_property("latency_ms", median)
    with capsys.disabled():
        print(f"\nstatement to message: median {median:.1f} ms, worst of 50 {max(took):.1f} ms")
    assert median < 1000 * SLOWDOWN
