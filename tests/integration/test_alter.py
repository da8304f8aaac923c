"""Tables that change while they are streamed: what comes next is shown as the table is then."""

from harness.app import ASHA

UNIT_1 = "/ws/requests/1/"


def test_a_column_is_added_renamed_and_dropped(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        app.sql("ALTER TABLE requests ADD extra integer DEFAULT 7")
        app.touch(app.request)
        assert client.recv()["data"]["extra"] == 7
        app.sql("ALTER TABLE requests RENAME extra TO other")
        app.touch(app.request)
        data = client.recv()["data"]
        assert data["other"] == 7 and "extra" not in data
        app.sql("ALTER TABLE requests DROP other")
        key = app.insert_request(1)
        data = client.recv()["data"]
        assert data == app.data_of("requests", key)
        assert "other" not in data


TYPES = [
    ("integer DEFAULT 5", "TYPE numeric(8,2)", 5, "5.00"),
    ("integer DEFAULT 5", "TYPE text", 5, "5"),
    ("text DEFAULT '{\"a\": 1}'", "TYPE jsonb USING extra::jsonb", '{"a": 1}', {"a": 1}),
    ("timestamptz DEFAULT '2025-11-14 12:00+00'", "TYPE date", "2025-11-14T12:00:00Z", "2025-11-14"),
]


def test_a_column_changes_its_type(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        for definition, alter, before, after in TYPES:
            app.sql(f"ALTER TABLE requests ADD extra {definition}")
            app.touch(app.request)
            assert client.recv()["data"]["extra"] == before, alter
            app.sql("ALTER TABLE requests ALTER extra DROP DEFAULT")
            app.sql(f"ALTER TABLE requests ALTER extra {alter}")
            app.touch(app.request)
            messages = client.recv_until(lambda m: m["data"]["extra"] == after)  # noqa: B023
            assert len(messages) == 1, f"{alter}: the rewrite is no change of a row"
            app.sql("ALTER TABLE requests DROP extra")


def test_a_column_that_becomes_a_relation_is_called_so_after_the_next_look(app, walpush):
    """A constraint alone changes no row; the catalog is read again when a row does not fit."""
    app.sql("ALTER TABLE requests ADD shelf_id integer")
    with walpush.subscribe(UNIT_1, ASHA) as client:
        app.sql("ALTER TABLE requests ADD FOREIGN KEY (shelf_id) REFERENCES storages (id)")
        app.touch(app.request)
        assert "shelf" in client.recv()["data"]


def test_many_changes_while_rows_stream(app, walpush):
    """Rows of before an ALTER and behind it in one stream: each is shown as far as row and catalog agree, and none is missing."""
    with walpush.subscribe(UNIT_1, ASHA) as client:
        for number in range(20):
            app.sql(f"ALTER TABLE requests ADD extra_{number} integer DEFAULT {number}")
            app.touch(app.request, str(number))
            if number >= 5:
                app.sql(f"ALTER TABLE requests DROP extra_{number - 5}")
        messages = client.recv_n(20)
        assert [m["data"]["purpose"].split(" ")[1] for m in messages] == [str(n) for n in range(20)]
        app.touch(app.request)
        data = client.recv()["data"]
        assert {name: value for name, value in data.items() if name.startswith("extra")} == {
            f"extra_{n}": n for n in range(15, 20)
        }


def test_a_column_that_the_rules_need_goes_away_and_comes_back(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        mark = walpush.mark()
        app.sql("ALTER TABLE requests RENAME status TO state")
        app.touch(app.request)
        walpush.wait_for_log("no longer fit the configuration", since=mark)
        assert client.recv()["request_id"] == app.request
        app.sql("ALTER TABLE requests RENAME state TO status")
        app.sql("UPDATE requests SET status = 'Returned' WHERE id = %s", app.request)
        message = client.recv_until(lambda m: m["action"] == "returned")[-1]
        assert message["status"] == "Returned"
