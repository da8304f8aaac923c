"""`walpush check` reads the configuration with suspicion: each doubtful set-up is found, with its line, and good ones are left alone."""

import json
import re

import pytest

from harness.broken import BAD, Cases, found_and_mended, of, server, world  # noqa: F401
from harness.walpush import SIGNING_KEY, run_to_end, shipped_config
from throwaway.config import section

ENV = {"DATABASE_URL": "postgresql://walpush@127.0.0.1/app", "JWT_SIGNING_KEY": SIGNING_KEY}
MEMBER = "SELECT 1 FROM user_units m WHERE m.user_id = {token.user_id} AND m.unit_id = {path.unit_id}"
ANY_USER = "SELECT 1 FROM users u WHERE u.id = {token.user_id} AND u.is_active"
MAY_READ = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO walpush"
LINTS = ("path-values", "public", "groups", "secret-names", "secrets", "reads")

cases = Cases()
case = cases.case


# --- who may hear too much ----------------------------------------------------------------------------------------


@case("path-values", state="warning", kind="words")
def another_tenant_is_admitted(world):
    world.config.set("streams.crates.admit", ANY_USER)
    yield
    world.config.set("streams.crates.admit", MEMBER)


@case("path-values", state="warning", kind="words")
def one_of_two_values_is_not_asked_about(world):
    world.config.set("streams.crates.path", "/ws/crates/<int:unit_id>/<int:storage_id>/")
    world.config.set("streams.crates.groups", ["crates_unit_{path.unit_id}", "crates_{path.storage_id}"])
    world.config.set("tables.crates.groups", ["crates_unit_{unit_id}", "crates_{storage_id}"])
    yield
    world.config.set("streams.crates.admit", f"{MEMBER} AND EXISTS (SELECT 1 FROM storages s WHERE s.id = {{path.storage_id}}"
                     " AND s.unit_id = m.unit_id)")  # fmt: skip


@case("path-values", state="warning", kind="words")
def a_role_of_the_token_is_no_user(world):
    """Tenants share their roles: this is not the exception for the user's own groups."""
    world.config.set("streams.crates.admit", ANY_USER)
    world.config.set("streams.crates.groups", ["crates_{token.role}_{path.unit_id}"])
    world.config.set("tables.crates.groups", ["crates_{status}_{unit_id}"])
    yield
    world.config.set("streams.crates.admit", MEMBER)


@case("path-values", state="warning", kind="words")
def a_value_of_the_path_that_nothing_uses(world):
    world.config.set("streams.crates.path", "/ws/crates/<int:unit_id>/<slug:view>/")
    yield
    world.config.set("streams.crates.path", "/ws/crates/<int:unit_id>/")


@case("public", state="warning", kind="words")
def nobody_is_asked_who_he_is(world):
    world.config.set("streams.crates.admit", "SELECT 1 FROM units WHERE id = {path.unit_id}")
    yield
    world.config.set("streams.crates.public", True)


@case("public", state="warning", kind="words")
def a_group_beside_the_users_own(world):
    world.config.set("streams.all", section(path="/ws/all/", admit="SELECT 1", groups=["u_{token.user_id}", "everybody"]))
    world.config.set("tables.units", section(type="unit", key="unit_id", groups=["u_{id}", "everybody"]))
    world.sql("ALTER TABLE units REPLICA IDENTITY FULL")
    world.sql("GRANT SELECT ON units TO walpush")
    yield
    world.config.set("streams.all.admit", ANY_USER)


@case("public", state="warning", kind="conf")
def a_public_stream_that_asks(world):
    world.config.set("streams.crates.public", True)


# --- pages that stay dark -----------------------------------------------------------------------------------------


@case("groups", state="warning", kind="words")
def a_group_with_another_name(world):
    """Both sides are said: nobody hears of the table, and the page stays dark."""
    world.config.set("tables.storages.groups", ["storages_unit_{unit_id}"])
    yield
    world.config.set("tables.storages.groups", ["storage_unit_{unit_id}"])


@case("groups", state="warning", kind="words")
def a_value_spelled_as_a_text(world):
    world.config.set("tables.storages.groups", ["storage_unit_5"])
    yield
    world.config.set("tables.storages.groups", ["storage_unit_{unit_id}"])


@case("groups", state="warning", kind="words")
def two_values_for_one(world):
    world.config.set("streams.storage.groups", ["storage_unit_{path.unit_id}_{token.role}"])
    yield
    world.config.set("streams.storage.groups", ["storage_unit_{path.unit_id}"])


@case("groups", state="warning", kind="words")
def one_group_of_several(world):
    world.config.set("tables.storages.groups", ["storage_unit_{unit_id}", "storages_of_all_units"])
    yield
    world.config.set("tables.storages.groups", ["storage_unit_{unit_id}"])


@case("groups", state="warning", kind="words")
def a_stream_waits_for_one_in_vain(world):
    world.config.set("streams.storage.groups", ["storage_unit_{path.unit_id}", "storage_unit{path.unit_id}"])
    yield
    world.config.set("streams.storage.groups", ["storage_unit_{path.unit_id}"])


# --- secrets ------------------------------------------------------------------------------------------------------


def django_users(world):
    """The columns of django.contrib.auth that matter here."""
    world.sql("CREATE TABLE auth_user (id serial PRIMARY KEY, password varchar(128), username varchar(150), is_active bool)")
    world.sql("ALTER TABLE auth_user REPLICA IDENTITY FULL")
    world.sql("GRANT SELECT ON auth_user TO walpush")
    world.config.set("streams.users", section(path="/ws/users/", admit=ANY_USER, groups=["users"]))


@case("secrets", state="warning", kind="conf")
def the_password_hash_of_django(world):
    django_users(world)
    world.config.set("tables.auth_user", section(type="user", key="user_id", groups=["users"]))


@case("secrets", state="warning", kind="conf")
def a_hash_by_its_name_alone(world):
    world.sql("ALTER TABLE storages ADD hash text, ADD user_pass text, ADD session_key text")


@pytest.mark.parametrize("row", ["row_to_json(u)", "to_jsonb(u.*)", "json_build_object('login', u.username, 'x', u.password)"])
def test_a_data_query_that_takes_the_password(world, row):
    django_users(world)
    world.config.set("tables.auth_user", section(type="user", key="user_id", groups=["users"], columns=["id", "username"]))
    assert [f["check"] for f in world.findings(0) if f["state"] in BAD] == []
    world.config.set("tables.auth_user.data-query", f"SELECT {row} FROM auth_user u WHERE u.id = {{id}}")
    (found,) = [f for f in world.findings(0) if f["state"] in BAD]
    assert found["check"] == "reads" and "reads password of auth_user" in found["text"] and "(line " in found["text"]
    world.config.set("tables.auth_user.data-query", "SELECT json_build_object('login', username) FROM auth_user WHERE id = {id}")
    assert [f for f in world.findings(0) if f["state"] in BAD] == []


@case("secret-names", state="warning", kind="words")
def a_template_that_shows_a_secret_of_a_lookup(world):
    world.sql("ALTER TABLE units ADD pin text")
    world.sql("GRANT SELECT ON units TO walpush")
    world.config.set("tables.storages.lookup", "SELECT pin FROM units WHERE id = {unit_id}").set("tables.storages.reads-ignore", ["units"])
    world.config.set("tables.storages.message", '{"type": "storage", "pin": "{lookup.pin}"}')
    yield
    world.config.set("tables.storages.message", '{"type": "storage"}')


# --- what queries read --------------------------------------------------------------------------------------------


@case("reads", state="warning", kind="words")
def a_lookup_whose_table_no_section_tells(world):
    world.config.remove("tables.requests.reads-ignore")
    yield
    world.config.set("tables.requests.reads-ignore", ["units", "public.crates"])


@case("reads", state="warning", kind="words")
def a_lookup_whose_tables_another_section_tells_to_others(world):
    """Changes of crates are told, but not to those who hear of requests."""
    world.config.set("tables.requests.reads-ignore", ["units"])
    yield
    world.config.set("tables.central", section(**{"from": "crates", "type": "x", "key": "x_id", "groups": ["requests_unit_{unit_id}"]}))


@case("reads", state="warning", kind="words")
def a_data_query_that_joins(world):
    world.sql(MAY_READ)
    world.config.set("tables.storages.data-query", "SELECT row_to_json(x) FROM (SELECT s.id, u.unit_name FROM storages s"
                     " JOIN units u ON u.id = s.unit_id WHERE s.id = {id}) x")  # fmt: skip
    yield
    world.config.set("tables.storages.reads-ignore", ["units"])


@case("reads", state="warning", kind="words")
def a_table_behind_a_function(world):
    world.sql("CREATE FUNCTION name_of(int) RETURNS text LANGUAGE sql STABLE AS 'SELECT unit_name FROM public.units WHERE id = $1'")
    world.sql("GRANT SELECT ON units TO walpush")
    world.config.set("tables.storages.data-query", "SELECT json_build_object('unit', name_of({unit_id}))")
    yield
    world.config.set("tables.storages.reads-ignore", ["units"])


@case("reads", state="warning", kind="words")
def the_names_of_actors(world):
    world.config.remove("actor.reads-ignore")
    yield
    world.config.set("actor.reads-ignore", ["users"])


@case("reads", state="warning", kind="words")
def a_table_is_ignored_that_nothing_reads(world):
    world.config.set("tables.requests.reads-ignore", ["crates", "units", "storages"])
    yield
    world.config.set("tables.requests.reads-ignore", ["crates", "units"])


def test_each_table_is_said_once(world):
    world.sql(MAY_READ)
    query = "SELECT row_to_json(x) FROM (SELECT q.id, c.to_central, n.unit_name FROM requests q JOIN crates c ON c.id = q.crate_id" \
        " JOIN units n ON n.id = q.unit_id WHERE q.id = {id}) x"  # fmt: skip
    world.config.set("tables.requests.data-query", query).remove("tables.requests.reads-ignore")
    said = [f["text"] for f in of(world.findings(0), "reads")]
    assert [re.search(r"reads (\w+)", text).group(1) for text in said] == ["crates", "units"], said
    assert all(re.match(r"lookup of requests \(line \d+\)", text) for text in said), said


# --- the line -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("breaks, check, state, kind", cases)
def test_found_and_mended(world, breaks, check, state, kind):
    found_and_mended(world, breaks, check, state, kind)


@pytest.mark.parametrize(
    "setting, value, line",
    [
        ("streams.crates.admit", ANY_USER, '[ "crates_unit_{path.unit_id}" ]'),
        ("streams.crates.admit", "SELECT 1", "[ \"crates_unit_{path.unit_id}\" ]"),
        ("tables.storages.groups", ["storage_5"], '[ "storage_5" ]'),
    ],
)  # fmt: skip
def test_the_line_is_said(tmp_path, setting, value, line):
    config = shipped_config()
    config.set(setting, value)
    findings = offline(tmp_path, config)
    number = config.text.count("\n", 0, config.text.index(line.replace('[ "', '["').replace('" ]', '"]') if line not in config.text else line)) + 1
    assert any(f"(line {number})" in f["text"] for f in findings if f["check"] in LINTS and f["state"] in BAD), (number, findings)


# --- good ones ----------------------------------------------------------------------------------------------------


def offline(tmp_path, config):
    done = run_to_end("check", "--offline", "--json", "-c", config.write(tmp_path / "sidecar.conf"), env=ENV)
    return json.loads(done.stdout)["findings"]


TOLD = {"type": "unit", "key": "unit_id"}

GOOD = {
    "a-public-lobby": (
        {"path": "/ws/lobby/", "admit": "SELECT 1", "groups": ["lobby"], "public": True},
        {**TOLD, "groups": ["lobby"]},
    ),
    "public-rooms": (
        {"path": "/ws/room/<slug:room>/", "admit": "SELECT 1", "groups": ["room_{path.room}"], "public": True},
        {**TOLD, "groups": ["room_{unit_code}"]},
    ),
    "the-users-own-by-the-token-alone": (
        {"path": "/ws/me/", "admit": "SELECT 1", "groups": ["me_{token.user_id}"]},
        {**TOLD, "groups": ["me_{id}"]},
    ),
    "the-users-own-in-parts": (
        {"path": "/ws/me/<slug:part>/", "admit": ANY_USER, "groups": ["me_{token.user_id}_{path.part}"]},
        {**TOLD, "groups": ["me_{id}_{unit_code}"]},
    ),
    "groups-of-the-answer": (
        {"path": "/ws/mine/", "admit": "SELECT unit_id FROM user_units WHERE user_id = {token.user_id}", "groups": ["mine_{admit.unit_id}"]},
        {**TOLD, "groups": ["mine_{id}"]},
    ),
    "a-stream-of-two-templates": (
        {"path": "/ws/two/<int:unit_id>/", "admit": MEMBER, "groups": ["two_{path.unit_id}", "two_of_{token.user_id}", "everybody"]},
        {**TOLD, "groups": ["two_{id}", "two_of_{id}", "everybody"]},
    ),
    "a-value-for-the-hello-alone": (
        {"path": "/ws/hello/<slug:tab>/", "admit": ANY_USER, "groups": ["hello"], "hello": '{"type": "hello", "tab": "{path.tab}"}'},
        {**TOLD, "groups": ["hello"]},
    ),
    "a-value-that-admit-alone-needs": (
        {"path": "/ws/door/<slug:key>/", "admit": ANY_USER + " AND {path.key} <> ''", "groups": ["door"]},
        {**TOLD, "groups": ["door"]},
    ),
    "the-row-that-was": (
        {"path": "/ws/old/<int:unit_id>/", "admit": MEMBER, "groups": ["old_{path.unit_id}"]},
        {**TOLD, "groups": ["old_{old.id}"]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_good_ones_are_left_alone(tmp_path, name):
    stream, table = GOOD[name]
    config = shipped_config()
    config.set("streams.good", section(**stream)).set("tables.units", section(**table))
    assert [f for f in offline(tmp_path, config) if f["state"] in BAD] == []


def test_the_users_claim_has_another_name(tmp_path):
    config = shipped_config()
    config.text = config.text.replace("{token.user_id}", "{token.sub}")
    config.set("jwt.user-claim", "sub")
    config.set("streams.me", section(path="/ws/me/", admit="SELECT 1", groups=["me_{token.sub}"]))
    config.set("tables.units", section(groups=["me_{id}"], **TOLD))
    assert [f for f in offline(tmp_path, config) if f["state"] in BAD] == []
    config.set("streams.me.groups", ["me_{token.user_id}"])
    assert [f["check"] for f in offline(tmp_path, config) if f["state"] in BAD] == ["public"]


def test_what_queries_read_and_sections_tell(world):
    """A parent of the same table, and a table that a section of its own tells to the same groups, are no finding."""
    world.sql(MAY_READ)
    world.config.set("tables.storages.lookup", "SELECT s.unit_id FROM storages s WHERE s.id < {id}")
    world.config.set("tables.storages.groups", ["storage_unit_{unit_id}", "storage_unit_{lookup.unit_id}"])
    world.config.set("tables.crates.data-query", "SELECT json_build_object('id', c.id, 'at', s.id) FROM crates c"
                     " LEFT JOIN storages s ON s.id = c.storage_id WHERE c.id = {id}")  # fmt: skip
    world.config.set("tables.at", section(**{"from": "storages", "type": "x", "key": "x_id", "groups": ["crates_unit_{unit_id}"]}))
    assert [f for f in world.findings(0) if f["state"] in BAD] == []


# --- all errors of a file -----------------------------------------------------------------------------------------


def lines_of(text):
    return [int(line) for line in re.findall(r"sidecar\.conf:(\d+): ", text)]


@pytest.fixture
def many_errors(tmp_path):
    """Errors of conf, of a template, of a query: found in another order than that of the lines."""
    config = shipped_config()
    config.set("limits.stall", "soon").set("streams.crates.groups", ["crates_unit_{path.unit}"])
    config.set("tables.requests.lookup", "SELECT {token.user_id} AS unit_id").set("tables.storages.colums", ["id"])
    return config.write(tmp_path / "sidecar.conf")


def test_all_errors_are_said_in_the_order_of_lines(many_errors):
    for args in (("--offline",), ()):
        done = run_to_end("check", "-c", many_errors, *args, env=ENV)
        assert done.returncode == 2
        assert done.stdout.splitlines()[-1] == "4 failures, 0 warnings"
        lines = lines_of(done.stdout)
        assert len(lines) == 4 and lines == sorted(lines), done.stdout
    report = json.loads(run_to_end("check", "-c", many_errors, "--offline", "--json", env=ENV).stdout)
    assert report["failures"] == 4
    assert [lines_of(finding["text"])[0] for finding in report["findings"]] == lines
    done = run_to_end("run", "-c", many_errors, env=ENV)
    assert done.returncode == 2 and lines_of(done.stderr) == lines
    done = run_to_end("sql", "-c", many_errors, env=ENV)
    assert done.returncode == 2 and lines_of(done.stderr) == lines[:1] and "and 3 more errors" in done.stderr


def test_the_list_of_errors_ends_somewhere(tmp_path):
    file = tmp_path / "sidecar.conf"
    file.write_text(shipped_config().text + "".join(f"nonsense{i} = {i}\n" for i in range(80)))
    for command, out in (("check", "stdout"), ("run", "stderr")):
        done = run_to_end(command, "-c", file, env=ENV)
        said = getattr(done, out)
        assert done.returncode == 2 and len(lines_of(said)) == 50 and "30 more errors" in said
    assert json.loads(run_to_end("check", "--json", "-c", file, env=ENV).stdout)["failures"] == 80
