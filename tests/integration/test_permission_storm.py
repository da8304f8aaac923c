"""Ten thousand clients, or what the limit of open files allows, that come back at once: all are admitted, by fewer queries than there are clients."""

import contextlib
import json
import os
import resource

import pytest

from harness.client import PATIENCE, SLOWDOWN
from harness.wsload import Wsload

USERS = 10
# When all are back, a busy server may have yet to notice that they hung up: it needs files for both.
FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
EACH = int(os.environ.get("STORM_EACH", min(1000, FILES // 25) if SLOWDOWN < 3 else 100))

pytestmark = pytest.mark.whole(reason="fewer clients and changes under a sanitizer")
PATH = "/ws/requests/1/"


def test_ten_thousand_that_come_back_at_once_are_all_admitted(app, config, make_walpush, wsload, capsys):
    users = [app.insert_person(100 + i, 1) for i in range(USERS)]
    config.set("limits.per-user", 0).set("limits.handshakes-per-second", 0)
    # All stand in one queue. How long a slow machine takes for the last of them is not the question.
    config.set("limits.handshake", 300).set("limits.admit-timeout", 300)
    with make_walpush(app, config) as walpush, contextlib.ExitStack() as stack:
        app.settle(walpush)
        options = {"connections": EACH, "expect": 1, "sources": 2, "inflight": EACH, "storms": 1, "timeout": int(9 * PATIENCE)}
        loads = [Wsload(wsload, walpush, PATH, user, **options) for user in users]  # all of them dial now
        for load in loads:
            stack.enter_context(load)
        app.touch(app.request)
        figures = [load.result() for load in loads]
        admissions = json.loads(walpush.admin("/status").body)["admissions"]
        refused = walpush.metric('walpush_admissions_total{result="refused"}')
    clients = 2 * USERS * EACH
    seconds = max(figure["storm_seconds"][0] for figure in figures)
    with capsys.disabled():
        print(
            f"\n{USERS * EACH} clients of {USERS} users came back in {seconds:.1f} s;"
            f" {admissions['queries']} admit queries for {clients} admissions"
        )
    for figure in figures:
        assert figure["established"] == EACH
        assert figure["unresumed"] == 0
    assert refused == 0
    assert admissions["asked"] >= clients
    # How many share one depends on how fast they come beside how fast the database answers.
    assert admissions["queries"] < clients
