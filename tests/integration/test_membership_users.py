"""Whose permission a row is: the user's column and the token's claim are compared as the database would."""

import pytest

from harness.config import section

LIVE = r'msg="?live"?( |$)'


def world(app, type, value, before=""):
    app.sql(before or "SELECT 1")
    app.sql(f"CREATE TABLE people (id {type} PRIMARY KEY, ok boolean)")
    app.sql("ALTER TABLE people REPLICA IDENTITY FULL")
    app.sql("INSERT INTO people VALUES (%s, true)", value)
    app.sql("CREATE TABLE t (id int PRIMARY KEY)")
    app.sql("GRANT SELECT ON people TO walpush")


@pytest.fixture
def start(app, config, make_walpush):
    def start(claim="user_id"):
        config.set("jwt.user-claim", claim)
        for stream in ("requests", "crates", "storage", "notifications"):
            config.remove(f"streams.{stream}")
        admit = f"SELECT 1 FROM people WHERE id = {{token.{claim}}} AND ok"
        config.set("streams.s", section(path="/ws/s/", admit=admit, groups=["all"]))
        config.set("tables.t", section(type="t", key="t_id", groups=["all"]))
        config.set("membership.people", section(user="id"))
        walpush = make_walpush(app, config).start()
        walpush.wait_for_log(LIVE)
        return walpush

    return start


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
        app.sql("UPDATE people SET ok = false")
        app.sql("INSERT INTO t VALUES (1)")
        assert client.close_code() == 4403
