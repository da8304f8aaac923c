"""Records that any role can put into the log, and those that nobody can handle: what comes behind each of them arrives."""

import pytest

from harness.app import ASHA, RAVI
from harness.client import assert_in_order

UNIT_1 = "/ws/requests/1/"


@pytest.mark.parametrize("transactional", [True, False])
@pytest.mark.parametrize("prefix", ["walpush", "other", ""])
def test_a_logical_message_is_passed_over(app, config, make_walpush, transactional, prefix):
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        mark = walpush.mark()
        app.touch(app.request)
        first = client.recv()
        app.sql("SELECT pg_logical_emit_message(%s, %s, 'x')", transactional, prefix)
        app.touch(app.request)
        second = client.recv()
        assert_in_order([first, second])
        assert "level=error" not in walpush.log(mark) and "level=warn" not in walpush.log(mark)


def test_a_message_inside_of_a_transaction_does_not_part_it(app, config, make_walpush):
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, RAVI) as client:
        with app.transaction() as cursor:
            cursor.execute("UPDATE requests SET purpose = 'one' WHERE id = %s", (app.request,))
            cursor.execute("SELECT pg_logical_emit_message(true, 'walpush', 'x')")
            cursor.execute("SELECT pg_logical_emit_message(false, 'walpush', 'x')")
            cursor.execute("UPDATE requests SET purpose = 'two' WHERE id = %s", (app.request,))
        assert [client.recv()["data"]["purpose"] for _ in range(2)] == ["one", "two"]
