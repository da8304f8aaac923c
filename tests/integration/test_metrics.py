"""What /metrics counts is what happened, to the unit."""

import shutil
import subprocess
import time

import pytest

from harness.app import ASHA, BOB, RAVI
from harness.client import Client, Refused
from harness.metrics import Metrics, wait_for_metric

UNIT_1, UNIT_2 = "/ws/requests/1/", "/ws/requests/2/"


def mine(user):
    return f"/ws/notifications/{user}/"


def test_promtool_finds_nothing_to_complain_of(app, walpush):
    promtool = shutil.which("promtool")
    assert promtool, "promtool is missing: make deps-test"
    with walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request)
        client.recv()
        metrics = wait_for_metric(walpush, 1, "walpush_deliveries_total")
    done = subprocess.run([promtool, "check", "metrics"], input=metrics.text, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stdout + done.stderr, done.stdout + done.stderr


def test_messages_deliveries_and_bytes(app, walpush):
    """Three readers of unit 1 hear three messages in two transactions; nobody hears of unit 2."""
    before = Metrics(walpush)
    clients = [walpush.subscribe(UNIT_1, user) for user in (ASHA, RAVI, RAVI)]
    app.touch(app.request)
    first = [client.recv() for client in clients]  # or one snapshot may see both, and they share an answer
    with app.transaction() as cursor:
        cursor.execute("UPDATE requests SET status = 'Approved', approved_by_id = %s WHERE id = %s", (RAVI, app.request))
        cursor.execute("UPDATE requests SET status = 'Issued' WHERE id = %s", (app.request,))
        cursor.execute("UPDATE requests SET status = 'Rejected' WHERE id = %s", (app.request2,))
    got = [[message, *client.recv_n(2)] for message, client in zip(first, clients)]
    after = wait_for_metric(walpush, 9, "walpush_deliveries_total")

    def grew(name, **labels):
        return after(name, **labels) - (before(name, **labels) if before.has(name) else 0)

    assert after("walpush_connections", stream="requests") == 3
    assert after("walpush_connections", stream="crates") == 0
    assert grew("walpush_handshakes_total") == 3
    assert after("walpush_admissions_total", result="fresh") == 3
    assert after("walpush_admission_seconds_count") == 3
    assert grew("walpush_transactions_total") == 2
    assert grew("walpush_events_total") == 4
    for action in ("updated", "approved", "issued", "rejected"):
        assert after("walpush_events_total", table="requests", action=action) == 1, action
    assert grew("walpush_commit_to_published_seconds_count") == 2
    assert grew("walpush_commit_to_written_seconds_count") == 9
    # Whether the crate goes to the central store is asked once in each transaction for each crate; the approval asks for ravi's name.
    assert grew("walpush_lookup_seconds_count") == 4
    assert grew("walpush_lookup_failures_total") == 0
    sent = sum(len(frame(m)) for client, messages in zip(clients, got) for m in [client.hello, *messages])
    assert grew("walpush_sent_bytes_total") == sent
    for client in clients:
        client.close()
    wait_for_metric(walpush, 0, "walpush_connections", stream="requests")


def test_a_backlog_asks_the_same_question_once(app, config, make_walpush):
    """What was committed before the start is all visible in the first snapshot, and all of one crate."""
    for i in range(50):
        app.touch(app.request, f"before the start {i}")
    with make_walpush(app, config) as walpush:
        after = wait_for_metric(walpush, 50, "walpush_events_total", table="requests", action="updated")
        assert 1 <= after("walpush_lookup_seconds_count") < 10


def frame(message):
    payload = message.raw.encode()
    return bytes(2 if len(payload) < 126 else 4) + payload


def test_refusals_and_closes(walpush):
    for path in ("/ws/nowhere/", "/ws/requests/x/"):
        with pytest.raises(Refused):
            Client(walpush.port, path)
    with pytest.raises(Refused):
        Client(walpush.port, UNIT_1, headers={"Origin": "https://evil.example"})
    with pytest.raises(Refused):
        Client(walpush.port, UNIT_1, headers={"Sec-WebSocket-Version": "12"})
    assert Client(walpush.port, UNIT_1, token="nonsense").close_code() == 4401
    assert walpush.connect(UNIT_1, BOB).close_code() == 4403
    assert walpush.connect(mine(ASHA), BOB).close_code() == 4403
    with walpush.subscribe(UNIT_1, ASHA) as client:
        client.send_text("x" * 20000)
        assert client.close_code() == 1009
    metrics = wait_for_metric(walpush, 1, "walpush_closes_total", code="1009")
    for reason, n in {"path": 2, "origin": 1, "upgrade": 1, "token": 1, "forbidden": 2}.items():
        assert metrics("walpush_refusals_total", reason=reason) == n, reason
    assert metrics("walpush_refusals_total") == 7
    assert metrics("walpush_closes_total", code="4401") == 1
    assert metrics("walpush_closes_total", code="4403") == 2
    assert metrics("walpush_closes_total") == 4
    assert metrics("walpush_admissions_total", result="refused") == 2
    assert metrics("walpush_admissions_total", result="fresh") == 1
    assert metrics("walpush_handshakes_total") == 4


def test_resuming_and_resync(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        epoch = client.hello["epoch"]
        app.touch(app.request)
        last = client.recv()["id"]
    app.touch(app.request)
    with walpush.subscribe(f"{UNIT_1}?since={last}&epoch={epoch}", ASHA) as client:
        assert client.hello["resumed"] is True
        client.recv()
        app.sql("TRUNCATE requests CASCADE")
        assert client.recv()["reason"] == "truncate"
    with walpush.subscribe(f"{UNIT_1}?since={last}&epoch=another", ASHA) as client:
        assert client.recv()["reason"] == "history"
        metrics = wait_for_metric(walpush, 1, "walpush_resyncs_total", reason="history")
    assert metrics("walpush_admissions_total", result="resumed") == 1
    assert metrics("walpush_admissions_total", result="fresh") == 2
    assert metrics("walpush_resyncs_total", reason="truncate") == 1
    assert metrics("walpush_resyncs_total") == 2
    assert metrics("walpush_group_resyncs_total", reason="truncate") >= 1


def test_where_the_stream_stands(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request)
        client.recv()
        wait_for_metric(walpush, 1, "walpush_deliveries_total")
        wait_for_metric(walpush, 0, "walpush_behind_bytes", position="received")
        metrics = Metrics(walpush)
    assert metrics("walpush_ready") == metrics("walpush_streaming") == 1
    assert metrics("walpush_replay_held_bytes") > 0, "the window holds what was just published"
    assert metrics("walpush_replay_held_seconds") > 0
    assert metrics("walpush_behind_bytes", position="confirmed") >= metrics("walpush_behind_bytes", position="published")
    assert metrics("walpush_slot_retained_bytes") > 0
    assert not metrics.has("walpush_slot_safe_wal_bytes"), "this server has no max_slot_wal_keep_size"
    assert metrics("walpush_slot_wal_status", status="reserved") == 1
    assert metrics("walpush_slot_wal_status") == 1
    for connection in ("replication", "lookups", "admissions"):
        assert metrics("walpush_database_connects_total", connection=connection) == 1
    assert metrics("walpush_log_bytes") > 0 and metrics("walpush_groups") == 1
    assert metrics("process_resident_memory_bytes") == pytest.approx(walpush.rss(), rel=0.2)
    assert 0 < metrics("process_open_fds") < metrics("process_max_fds")
    assert metrics("process_start_time_seconds") == pytest.approx(time.time(), abs=600)


def test_a_reconnect_is_counted(app, walpush):
    mark = walpush.mark()
    app.end_reader()
    walpush.wait_for_log('msg="streaming"', since=mark)
    wait_for_metric(walpush, 2, "walpush_database_connects_total", connection="replication")
