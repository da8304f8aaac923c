"""Values of every type, as PostgreSQL has them and as `data` shows them; docs/protocol.md's table is made here."""

import json
import os
import re

import pytest

from harness.app import ASHA
from harness.walpush import ROOT
from throwaway.config import Raw

UNIT_1 = "/ws/requests/1/"
DOCUMENT = ROOT / "docs/protocol.md"
BEGIN, END = "<!-- types: made by tests/integration/test_types.py -->\n", "<!-- end of types -->\n"

# Type, value as SQL has it, what the table says of it beside.
TYPES = [
    ("smallint, integer, bigint", "9223372036854775807::bigint", "every digit; JavaScript's numbers are exact up to 2^53"),
    ("real, double precision", "0.00015::float8", ""),
    ("", "'NaN'::float8", "null, as are both infinities"),
    ("numeric", "123456789012345678901234567890.10::numeric", "a string with every digit, as `DecimalField` prints it"),
    ("", "'NaN'::numeric", "null"),
    ("boolean", "true", ""),
    ("text, varchar", "E'a \"quote\", a\\nline, ä 😀'::text", ""),
    ("char(n)", "'ab'::char(4)", "padded, as PostgreSQL keeps it"),
    ("uuid", "'6FA459EA-EE8A-3CA4-894E-DB77E160355E'::uuid", ""),
    ("date", "'2025-11-14'::date", ""),
    ("time", "'12:34:56.5'::time", "six digits of a second or none, as Python prints them"),
    ("time with time zone", "'12:34:56+02'::timetz", "as PostgreSQL prints it"),
    ("timestamp", "'2025-11-14 12:34:56.5'::timestamp", ""),
    ("timestamp with time zone", "'2025-11-14 12:34:56.5+05:30'::timestamptz", "in `data.timezone`"),
    ("", "'infinity'::timestamptz", "what Python cannot hold stays as PostgreSQL prints it"),
    ("interval", "'-1 day +02:03:04'::interval", "as `DurationField` prints it"),
    ("", "'1 year 2 mons 3 days'::interval", "years and months have no length: as PostgreSQL prints it"),
    ("bytea", "'\\x00ff10'::bytea", "Base64"),
    ("json, jsonb", """'{"a": [1, 2.50, null], "b": "x"}'::jsonb""", "itself; digits kept"),
    ("array", "ARRAY[1, NULL, 3]", "elements as their type says"),
    ("", "ARRAY[ARRAY['a', 'b\"c'], ARRAY['NULL', NULL]]", ""),
    ("", "ARRAY[1.50, 2]::numeric[]", ""),
    ("hstore", "'a=>1, b=>NULL'::hstore", "an object of strings and nulls"),
    ("inet, cidr", "'10.0.0.1'::inet", ""),
    ("", "'10.0.0.0/8'::cidr", ""),
    ("macaddr", "'08:00:2b:01:02:03'::macaddr", ""),
    ("enum", "'happy'::mood", ""),
    ("domain", "7::positive", "as its base type"),
    ("int4range, int8range, daterange", "'[1,5)'::int4range", "a string of JSON, which is what DRF makes of a `RangeField`"),
    ("numrange", "'(1.5,)'::numrange", ""),
    ("tsrange, tstzrange", "'[2025-11-14 12:00+00,2025-11-15 00:00+00)'::tstzrange", "in UTC"),
    ("money", "'1234.5'::money", "as PostgreSQL prints it, as are all types that are not named here"),
    ("bit, varbit", "B'101'", ""),
    ("xml", "'<a b=\"c\"/>'::xml", ""),
    ("point", "point(1,2)", ""),
    ("any, NULL", "NULL::integer", ""),
]


def listen_to(config, table, **settings):
    """A section of its own for a table without a unit: everybody of unit 1 hears of it."""
    text = " ".join(f"{name} = {json.dumps(value)}" for name, value in settings.items())
    config.set(f"tables.{table}", Raw(f'{{ type = "{table}" key = "key" groups = [ "everything" ] {text} }}'))
    config.set("streams.requests.groups", ["everything"])


def members(text, at=0):
    """Of the JSON object at text[at:], (name, text of the value) of each member, digits and all."""
    decoder = json.JSONDecoder()
    found = []
    at += 1
    while text[at] != "}":
        name, at = decoder.raw_decode(text, at + (text[at] == ","))
        _, end = decoder.raw_decode(text, at + 1)
        found.append((name, text[at + 1 : end]))
        at = end
    return found


def data_texts(message):
    return dict(members(dict(members(message.raw))["data"]))


def make_table(app, definition):
    app.sql(f"CREATE TABLE samples (id serial PRIMARY KEY, {definition}); ALTER TABLE samples REPLICA IDENTITY FULL")


def document_of(rows):
    lines = ["| type | value | in `data` | |", "|---|---|---|---|"]
    for name, value, shown, note in rows:
        cells = [name, f"`{value}`", f"`{shown}`", note]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def test_the_documents_table_of_types(app, config, make_walpush):
    app.sql("CREATE EXTENSION hstore")
    app.sql("CREATE TYPE mood AS ENUM ('happy'); CREATE DOMAIN positive AS integer CHECK (VALUE > 0)")
    app.sql(
        "CREATE TABLE samples AS SELECT 1 AS id, "
        + ", ".join(f"{value} AS c{i}" for i, (_, value, _) in enumerate(TYPES))
        + "; ALTER TABLE samples ADD PRIMARY KEY (id), REPLICA IDENTITY FULL"
    )
    listen_to(config, "samples")
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        app.sql("UPDATE samples SET id = 2")
        texts = data_texts(client.recv())
    table = document_of((name, value, texts[f"c{i}"], note) for i, (name, value, note) in enumerate(TYPES))
    document = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = document.partition(BEGIN)
    current, _, behind = rest.partition(END)
    if os.environ.get("WALPUSH_UPDATE_DOCS"):
        DOCUMENT.write_text(before + BEGIN + table + END + behind, encoding="utf-8")
    else:
        assert current == table, "run this test with WALPUSH_UPDATE_DOCS=1"


def test_a_row_of_nothing_but_trouble(app, config, make_walpush):
    long_number = "-123456789012345678901234567890.012345678901234567890"
    controls = "".join(chr(c) for c in range(1, 32)) + '\x7f"\\/\u2028\u2029 😀 \ufeff é'
    make_table(
        app,
        'number numeric, huge numeric, "quo""ted" text, "back\\slash" text, "größe" text, "{b}" text, doc json, deep jsonb, "0" int',
    )
    listen_to(config, "samples", fields=['quo"ted'])
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        app.sql(
            "INSERT INTO samples (number, huge, \"quo\"\"ted\", \"back\\slash\", \"größe\", \"{b}\", doc, deep, \"0\")"
            " VALUES (%s, '1e400', %s, %s, %s, '{}', %s, %s, 0)",
            long_number,
            controls,
            controls[::-1],
            "\U0010ffff",
            '{"n": 1e400, "m": 1.0000000000000000000001}',
            "[" * 30 + '"\\u2028"' + "]" * 30,
        )
        message = client.recv()
        texts = data_texts(message)
        assert json.loads(texts["number"]) == long_number
        assert json.loads(texts["huge"]) == "1" + "0" * 400
        assert message["data"]['quo"ted'] == controls == message['quo"ted']
        assert message["data"]["back\\slash"] == controls[::-1]
        assert message["data"]["größe"] == "\U0010ffff"
        assert message["data"]["{b}"] == "{}"
        assert texts["doc"] == '{"n": 1e400, "m": 1.0000000000000000000001}'
        assert texts["0"] == "0"
        app.sql("UPDATE samples SET \"0\" = 1")
        assert data_texts(client.recv()) == {**texts, "0": "1"}, "large values come out of the old row, the same"


def test_a_text_of_20_mb_is_cut_by_the_rule_or_arrives_whole(app, config, make_walpush):
    make_table(app, "content text, small int")
    app.sql("ALTER TABLE samples ALTER content SET STORAGE EXTERNAL")
    listen_to(config, "samples", fields=["small"])
    text = "0123456789abcdeé" * (20 * 1024 * 1024 // 17)
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        app.sql("INSERT INTO samples (content, small) VALUES (%s, 1)", text)
        message = client.recv()
        assert (message["data"], message["truncated"], message["small"]) == (None, True, 1)
        app.sql("INSERT INTO samples (content, small) VALUES ('short', 2)")
        assert client.recv()["data"]["content"] == "short"
        assert walpush.peak_rss() < 200 * 2**20
    config.set("limits.row-bytes", "32 MiB")
    config.set("limits.transaction-bytes", "64 MiB")
    config.set("replay.seconds", 0)
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        app.sql("UPDATE samples SET small = 3 WHERE small = 1")
        message = client.recv()
        assert message["data"]["content"] == text
        app.sql("INSERT INTO samples (content, small) VALUES ('short', 4)")
        assert client.recv()["data"] == {"id": 3, "content": "short", "small": 4}


def test_a_row_of_100_columns(app, config, make_walpush):
    make_table(app, ", ".join(f"column_{i} integer" for i in range(100)))
    listen_to(config, "samples", exclude=["column_50"])
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        app.sql(
            f"INSERT INTO samples ({', '.join(f'column_{i}' for i in range(100))}) VALUES ({', '.join(map(str, range(100)))})"
        )
        data = client.recv()["data"]
        assert list(data.items()) == [("id", 1), *((f"column_{i}", i) for i in range(100) if i != 50)]


def test_another_time_zone(app, config, make_walpush):
    """As DRF with TIME_ZONE: the offset of that moment in that zone, Z where it is none; ranges stay in UTC."""
    make_table(app, "at timestamptz, local timestamp, many timestamptz[], span tstzrange")
    listen_to(config, "samples")
    config.set("data.timezone", "Europe/London")
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        for month, wanted in (("01", "2025-01-15T12:30:00Z"), ("07", "2025-07-15T13:30:00+01:00")):
            moment = f"2025-{month}-15 12:30:00+00"
            app.sql(
                "INSERT INTO samples (at, local, many, span) VALUES (%s, '2025-07-15 12:30', ARRAY[%s::timestamptz],"
                " tstzrange(%s, NULL))",
                moment,
                moment,
                moment,
            )
            message = client.recv()
            data = message["data"]
            assert (data["at"], data["many"], data["local"]) == (wanted, [wanted], "2025-07-15T12:30:00")
            assert json.loads(data["span"])["lower"] == f"2025-{month}-15T12:30:00+00:00"
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|\+01:00)", message["updated_at"])


def test_foreign_keys_may_keep_their_names(app, config, make_walpush):
    config.set("data.relations", False)
    with make_walpush(app, config) as walpush, walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request)
        data = client.recv()["data"]
        assert data["unit_id"] == 1 and "unit" not in data


@pytest.mark.parametrize("zone", ["Mars/Olympus"])
def test_a_zone_that_postgresql_does_not_know(app, config, make_walpush, zone):
    config.set("data.timezone", zone)
    walpush = make_walpush(app, config)
    walpush.start(streaming=False)
    assert zone in walpush.wait_for_log("Mars")
    walpush.stop()
