"""Whose permission a row is: the user's column and the token's claim are compared as the database would."""

import pytest

from throwaway.config import section

LIVE = r'msg="?live"?( |$)'


def world(app, type, value, before=""):
    app.sql(before or "SELECT 1")
    people_are(app, "people", type, value)
    app.sql("CREATE TABLE t (id int PRIMARY KEY)")


def people_are(app, table, type, value):
    app.sql(f"CREATE TABLE {table} (id {type} PRIMARY KEY, ok boolean)")
    app.sql(f"ALTER TABLE {table} REPLICA IDENTITY FULL")
    app.sql(f"INSERT INTO {table} VALUES (%s, true)", value)
    app.sql(f"GRANT SELECT ON {table} TO walpush")


@pytest.fixture
def start(app, config, make_walpush):
    """A stream for each table of people: /ws/s/ for `people`, /ws/s/2/ for `people_2`."""

    def start(*tables):
        for stream in ("requests", "crates", "storage", "notifications"):
            config.remove(f"streams.{stream}")
        for table in tables or ("people",):
            number = table.removeprefix("people").strip("_")
            admit = f"SELECT 1 FROM {table} WHERE id = {{token.user_id}} AND ok"
            config.set(f"streams.s{number}", section(path=f"/ws/s/{number}/" if number else "/ws/s/", admit=admit, groups=["all"]))
            config.set(f"membership.{table}", section(user="id"))
        config.set("tables.t", section(type="t", key="t_id", groups=["all"]))
        walpush = make_walpush(app, config).start()
        walpush.wait_for_log(LIVE)
        return walpush

    return start


UUID = "6fa459ea-ee8a-3ca4-894e-db77e160355e"


def revoke_is_noticed(app, client):
    app.sql("UPDATE people SET ok = false")
    app.sql("INSERT INTO t VALUES (1)")
    assert client.close_code() == 4403


SPELLINGS = (
    [("uuid", spelled) for spelled in (UUID, UUID.upper(), "{" + UUID + "}", UUID.replace("-", ""), "6fa4-59ea" + UUID[8:])]
    + [("bigint", spelled) for spelled in (7, "7", "007", " +7", " 7 ")]
    + [("smallint", "07"), ("text", UUID), ("varchar", " 7 "), ("number", "007")]
)


def test_one_user_in_many_spellings(app, start):
    """A table for each, which nobody else reads."""
    app.sql("CREATE DOMAIN number AS int CHECK (value > 0)")
    app.sql("CREATE TABLE t (id int PRIMARY KEY)")
    for number, (type, claim) in enumerate(SPELLINGS):
        people_are(app, f"people_{number}", type, UUID if type == "uuid" else claim if type in ("text", "varchar") else 7)
    walpush = start(*(f"people_{number}" for number in range(len(SPELLINGS))))
    for number, (type, claim) in enumerate(SPELLINGS):
        with walpush.subscribe(f"/ws/s/{number}/", claim) as client:
            app.sql(f"UPDATE people_{number} SET ok = false")
            app.sql("INSERT INTO t VALUES (%s)", number)
            messages, code = client.drain_to_close()
            assert (code, [m for m in messages if m["t_id"] == number]) == (4403, []), (type, claim)


def test_another_user_is_not_asked(app, start):
    world(app, "uuid", UUID)
    app.sql("INSERT INTO people VALUES ('00000000-ee8a-3ca4-894e-db77e160355e', true)")
    walpush = start()
    with walpush.subscribe("/ws/s/", UUID.upper()) as client, walpush.subscribe("/ws/s/", "00000000" + UUID[8:]) as other:
        app.sql("UPDATE people SET ok = false WHERE id = %s", UUID)
        app.sql("INSERT INTO t VALUES (1)")
        assert client.close_code() == 4403
        assert other.recv()["t_id"] == 1


def test_limits_count_one_user_in_many_spellings(app, config, start):
    config.set("limits.per-user", 2)
    world(app, "uuid", UUID)
    walpush = start()
    with walpush.subscribe("/ws/s/", UUID), walpush.subscribe("/ws/s/", UUID.upper()):
        assert walpush.connect("/ws/s/", UUID.replace("-", "")).close_code() == 4429


@pytest.mark.parametrize(
    "type, value, claim, before",
    [
        ("citext", "Bob@X.org", "bob@x.org", "CREATE EXTENSION citext"),
        ("char(8)", "bob", "bob", ""),
        ("numeric", "7.0", 7, ""),
        ("double precision", "7", "7.00", ""),
        (
            'text COLLATE "nocase"',
            "Bob",
            "bob",
            "CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
        ),
        ("number_of_somebody", "7", "7.0", "CREATE DOMAIN number_of_somebody AS numeric"),
    ],
)
def test_values_that_are_equal_and_spelled_otherwise(app, start, type, value, claim, before):
    world(app, type, value, before)
    walpush = start()
    with walpush.subscribe("/ws/s/", claim) as client:
        revoke_is_noticed(app, client)
