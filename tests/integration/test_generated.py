"""What each plugin shows of stored generated columns: docs/protocol.md, "Values"."""

import pytest

from harness.app import ASHA
from throwaway.config import section

UNIT_1 = "/ws/requests/1/"


def told(app, config, make_walpush):
    """Of an INSERT and an UPDATE: the generated column's value, None where it is not in `data`; and whether it is named in `unchanged`."""
    app.sql("CREATE TABLE things (id int, unit int, n int, twice int GENERATED ALWAYS AS (n * 2) STORED, PRIMARY KEY (id, unit))")
    config.set("tables.things", section(type="thing", key="thing_id", groups=["requests_unit_{unit}"]))
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        app.sql("INSERT INTO things VALUES (1, 1, 3)")
        app.sql("UPDATE things SET n = 4")
        messages = client.recv_n(2)
        return [(m["data"].get("twice"), m.get("unchanged") == ["twice"]) for m in messages], walpush.log()


def test_wal2json_shows_them(app, config, make_walpush):
    app.drop_slot()
    app.create_slot("wal2json")
    assert told(app, config, make_walpush)[0] == [(6, False), (8, False)]


def test_pgoutput_does_not_send_them_by_itself(app, config, make_walpush):
    """Which is said at the start. In messages it is absent, and not called unchanged, because it is not."""
    app.drop_slot()
    app.create_slot("pgoutput")
    said, log = told(app, config, make_walpush)
    assert said == [(None, False), (None, False)]
    assert "the publication leaves something out" in log and "twice" in log


def test_pgoutput_sends_them_if_the_publication_says_so(app, config, make_walpush):
    if app.value("SELECT current_setting('server_version_num')::int") < 180000:
        pytest.skip("publish_generated_columns exists from PostgreSQL 18 on")
    app.drop_slot()
    app.create_slot("pgoutput")
    app.sql(f"ALTER PUBLICATION {app.slot} SET (publish_generated_columns = stored)")
    assert told(app, config, make_walpush)[0] == [(6, False), (8, False)]
