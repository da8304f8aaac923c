"""A schema per tenant: `from = "tenant_*.orders"`. No row of one tenant reaches a group of another, whatever their schemas are called."""

import re
import urllib.parse

import pytest

from harness.app import ASHA, BOB, PLUGIN
from harness.redis import Redis
from harness.walpush import ROOT, SIGNING_KEY, run_to_end
from test_relay import Replicas
from test_start import wait_until
from throwaway.config import Raw, section, template

LIVE = r'msg="?live"?( |$)'
ODD = 'tenant_O\'Br"ien.ä {x} 50%'
ORDERS = {"from": "tenant_*.orders"}

of_wal2json = pytest.mark.skipif(PLUGIN == "pgoutput", reason="what a slot of wal2json is sent")


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def path_of(tenant):
    return f"/ws/t/{urllib.parse.quote(tenant, safe='')}/5/"


def make_tenant(app, tenant, columns="unit int, note text", identity="FULL"):
    """As a migration would: the schema and its table, in one transaction."""
    name = quoted(tenant)
    app.sql(f"CREATE SCHEMA {name}; CREATE TABLE {name}.orders (id serial PRIMARY KEY, {columns});"
            f" ALTER TABLE {name}.orders REPLICA IDENTITY {identity}")  # fmt: skip


def insert(app, tenant, note, unit=5):
    name = quoted(tenant).replace("%", "%%")
    app.sql(f"INSERT INTO {name}.orders (unit, note) VALUES (%s, %s)", unit, note)


@pytest.fixture
def world(app, config):
    """Two tenants, another schema with such a table, and who belongs to which."""
    app.sql("CREATE TABLE tenant_users (tenant text, user_id int, PRIMARY KEY (tenant, user_id))")
    app.sql("GRANT SELECT ON tenant_users TO walpush")
    for tenant, user in (("tenant_a", ASHA), ("tenant_b", BOB), ("tenant_new", ASHA), ("tenant_z", ASHA), (ODD, ASHA), ("other", ASHA)):
        app.sql("INSERT INTO tenant_users VALUES (%s, %s)", tenant, user)
    for tenant in ("tenant_a", "tenant_b", "other"):
        make_tenant(app, tenant)
    config.set("database.watch", 0.4).set("database.slot", app.slot)
    admit = "SELECT tenant FROM tenant_users WHERE user_id = {token.user_id} AND tenant = {path.tenant}"
    config.set("streams.t", section(path="/ws/t/<str:tenant>/<int:unit>/", admit=admit, groups=["orders_{admit.tenant}_{path.unit}"]))
    config.set("tables.orders", section(**ORDERS, type="order", key="order_id", groups=["orders_{schema}_{unit}"]))
    return app


@pytest.fixture
def walpush(world, config, make_walpush):
    with make_walpush(world, config) as walpush:
        walpush.wait_for_log(LIVE)
        yield walpush


def subscribe(walpush, tenant, user):
    return walpush.subscribe(path_of(tenant), user)


def hears_only(app, client, tenant, wanted="only this"):
    """The next thing that the client receives is the row that is inserted now."""
    insert(app, tenant, wanted)
    assert client.recv()["data"]["note"] == wanted


# --- which schemas ------------------------------------------------------------------------------------------------


def test_a_row_reaches_its_tenant_alone(world, walpush):
    with subscribe(walpush, "tenant_a", ASHA) as a, subscribe(walpush, "tenant_b", BOB) as b:
        with subscribe(walpush, "other", ASHA) as other:
            for tenant in ("tenant_a", "other", "tenant_b"):
                insert(world, tenant, f"of {tenant}")
            assert a.recv()["data"] == {"id": 1, "unit": 5, "note": "of tenant_a"}
            assert b.recv()["data"] == {"id": 1, "unit": 5, "note": "of tenant_b"}
            world.sql("UPDATE tenant_a.orders SET unit = 6; UPDATE tenant_a.orders SET unit = 5")
            assert [m["action"] for m in a.recv_n(2)] == ["moved", "updated"]
            hears_only(world, b, "tenant_b")
            world.sql("ALTER SCHEMA other RENAME TO tenant_z; UPDATE tenant_users SET tenant = 'x' WHERE tenant = 'other'")
            assert other.close_code() == 4403


def test_a_tenant_is_made_with_its_first_row(world, walpush):
    with subscribe(walpush, "tenant_new", ASHA) as new, subscribe(walpush, "tenant_b", BOB) as b:
        with world.transaction() as cursor:
            cursor.execute("CREATE SCHEMA tenant_new")
            cursor.execute("CREATE TABLE tenant_new.orders (id serial PRIMARY KEY, extra text, unit int)")
            cursor.execute("INSERT INTO tenant_new.orders (unit, extra) VALUES (5, 'first')")
        assert new.recv()["data"] == {"id": 1, "extra": "first", "unit": 5}
        hears_only(world, b, "tenant_b")


def test_an_odd_name(world, walpush):
    make_tenant(world, ODD)
    with subscribe(walpush, ODD, ASHA) as odd:
        hears_only(world, odd, ODD)
        world.sql(f"TRUNCATE {quoted(ODD)}.orders")
        assert odd.recv()["type"] == "resync"
        world.settle(walpush)
        hears_only(world, odd, ODD)


@of_wal2json
def test_a_renamed_schema_is_another_one(world, walpush):
    with subscribe(walpush, "tenant_a", ASHA) as a, subscribe(walpush, "tenant_z", ASHA) as z, subscribe(walpush, "tenant_b", BOB) as b:
        hears_only(world, a, "tenant_a")
        world.sql("ALTER SCHEMA tenant_a RENAME TO tenant_z")
        hears_only(world, z, "tenant_z")
        world.sql("ALTER SCHEMA tenant_b RENAME TO gone; ALTER SCHEMA other RENAME TO tenant_b; ALTER SCHEMA tenant_z RENAME TO tenant_a")
        insert(world, "gone", "nobody hears")
        hears_only(world, b, "tenant_b", "of what was the other one")
        hears_only(world, a, "tenant_a", "again")


def test_a_schema_whose_new_name_the_stream_does_not_know(world, walpush):
    """pgoutput sends its rows under the former name until the replication stream begins again, in PostgreSQL 13 to 15."""
    if PLUGIN != "pgoutput":
        pytest.skip("wal2json says the name that is true")
    with subscribe(walpush, "tenant_a", ASHA) as a, subscribe(walpush, "tenant_z", ASHA) as z, subscribe(walpush, "tenant_b", BOB) as b:
        hears_only(world, a, "tenant_a")
        hears_only(world, b, "tenant_b")
        mark = walpush.mark()
        world.sql("ALTER SCHEMA tenant_a RENAME TO tenant_z")
        insert(world, "tenant_z", "too soon")
        walpush.wait_for_log("a schema was renamed", since=mark)
        insert(world, "tenant_z", "after")
        z.recv_until(lambda m: m["type"] == "resync")
        hears_only(world, z, "tenant_z", "in time")
        hears_only(world, b, "tenant_b")


def test_a_dropped_schema_goes_away_silently(world, walpush):
    with subscribe(walpush, "tenant_a", ASHA) as a, subscribe(walpush, "tenant_b", BOB) as b:
        hears_only(world, b, "tenant_b")
        mark = walpush.mark()
        world.sql("DROP SCHEMA tenant_b CASCADE")
        world.settle(walpush)
        hears_only(world, a, "tenant_a")
        make_tenant(world, "tenant_b")
        hears_only(world, b, "tenant_b")
        assert "level=error" not in walpush.log(since=mark) and "level=warn" not in walpush.log(since=mark)


def test_a_schema_of_one_transaction(world, walpush):
    """Nobody knows any more what its rows were: whoever may have seen them refetches, and nobody else."""
    with subscribe(walpush, "tenant_new", ASHA) as new, subscribe(walpush, "tenant_a", ASHA) as a:
        with world.transaction() as cursor:
            cursor.execute("CREATE SCHEMA tenant_new; CREATE TABLE tenant_new.orders (id serial PRIMARY KEY, unit int)")
            cursor.execute("INSERT INTO tenant_new.orders (unit) VALUES (5)")
            cursor.execute("DROP SCHEMA tenant_new CASCADE")
        hears_only(world, a, "tenant_a")
        if PLUGIN == "wal2json":  # pgoutput does not send rows of a table that is gone at the commit's end
            assert new.recv()["type"] == "resync"


def test_each_has_its_own_columns(world, walpush):
    """Tenants are migrated one after the other."""
    with subscribe(walpush, "tenant_a", ASHA) as a, subscribe(walpush, "tenant_b", BOB) as b:
        world.sql("ALTER TABLE tenant_a.orders DROP note, ADD price numeric, ADD note text")
        insert(world, "tenant_a", "migrated")
        assert a.recv()["data"] == {"id": 1, "unit": 5, "price": None, "note": "migrated"}
        hears_only(world, b, "tenant_b")


def test_one_that_is_not_migrated_stops_nobody(world, config, make_walpush):
    config.set("tables.orders", section(**ORDERS, type="order", key="order_id", groups=["orders_{schema}_{unit}"], fields=["note"]))
    world.sql("ALTER TABLE tenant_b.orders DROP note")
    with make_walpush(world, config) as walpush, subscribe(walpush, "tenant_a", ASHA) as a, subscribe(walpush, "tenant_b", BOB) as b:
        walpush.wait_for_log("they are left out.*tables=1.*tenant_b.orders has no column note")
        world.sql("INSERT INTO tenant_b.orders (unit) VALUES (5)")
        assert b.recv()["type"] == "resync"
        hears_only(world, a, "tenant_a")
        world.sql("ALTER TABLE tenant_b.orders ADD note text")
        world.settle(walpush)
        hears_only(world, b, "tenant_b")


def test_a_column_that_nobody_has_is_refused(world, config, make_walpush):
    config.set("tables.orders", section(**ORDERS, type="order", key="order_id", groups=["orders_{schema}_{shop}"]))
    walpush = make_walpush(world, config)
    walpush.spawn()
    assert walpush.process.wait(30) == 2
    assert "has no column shop" in walpush.log()


# --- what is told -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["TRUNCATE tenant_a.orders", "UPDATE tenant_a.orders SET note = note"])
def test_a_resync_is_the_tenants_alone(world, config, make_walpush, how):
    """Of a TRUNCATE, and of a lookup that fails for one tenant."""
    if "UPDATE" in how:
        lookup = "SELECT CASE {schema} WHEN 'tenant_a' THEN 1 / ({unit}::int - 5) ELSE 5 END AS unit"
        config.set("tables.orders", section(**ORDERS, type="order", key="order_id", groups=["orders_{schema}_{lookup.unit}"], lookup=lookup))
    world.sql("INSERT INTO tenant_a.orders (unit, note) VALUES (5, 'there')")
    with make_walpush(world, config) as walpush, subscribe(walpush, "tenant_a", ASHA) as a, subscribe(walpush, "tenant_b", BOB) as b:
        world.sql(how)
        assert a.recv()["type"] == "resync"
        hears_only(world, b, "tenant_b")


def test_the_placeholder(world, config, make_walpush):
    """In a lookup, a data-query and a message; and beside a column of that name."""
    world.sql("ALTER TABLE tenant_a.orders ADD schema text; ALTER TABLE tenant_b.orders ADD schema text")
    world.sql("""CREATE FUNCTION units(tenant text, id int) RETURNS SETOF int LANGUAGE plpgsql STABLE SECURITY DEFINER AS
                 $$BEGIN RETURN QUERY EXECUTE format('SELECT unit FROM %I.orders WHERE id = $1', tenant) USING id; END$$""")
    config.set("tables.orders", section(
        **ORDERS, groups=["orders_{schema}_{lookup.unit}"], lookup="SELECT unit FROM units({schema}, {id}) AS unit",
        message=template({"of": "{schema}", "is": "{\"schema\"}", "text": "{schema}/{table}", "unit": "{lookup.unit}"})))  # fmt: skip
    config.set("tables.more", section(
        **ORDERS, type="more", key="id_", groups=["orders_{schema}_{unit}"], **{"data-query": "SELECT jsonb_build_object('of', {schema}::text, 'id', {id}::int)"}))  # fmt: skip
    with make_walpush(world, config) as walpush, subscribe(walpush, "tenant_a", ASHA) as a, subscribe(walpush, "tenant_b", BOB) as b:
        world.sql("INSERT INTO tenant_a.orders (unit, schema) VALUES (5, 'tenant_b')")
        world.sql("INSERT INTO tenant_b.orders (unit, schema) VALUES (5, 'tenant_a')")
        for client, mine, other in ((a, "tenant_a", "tenant_b"), (b, "tenant_b", "tenant_a")):
            by_query, by_template = client.recv_n(2)
            assert by_query["data"] == {"of": mine, "id": 1}
            assert by_template == {"of": mine, "is": other, "text": f"{mine}/orders", "unit": 5}


def test_the_placeholder_in_another_section(world, config, make_walpush):
    config.set("tables.orders", section(**{"from": "tenant_a.orders"}, type="order", key="order_id", groups=["orders_{schema}_{unit}"]))
    with make_walpush(world, config) as walpush, subscribe(walpush, "tenant_a", ASHA) as a:
        insert(world, "tenant_b", "not listed")
        hears_only(world, a, "tenant_a")


def test_a_new_tenant_changes_nothing_for_the_others(world, config, make_walpush):
    """Event ids stay valid: nobody is closed or told to refetch, and whoever comes back after a crash goes on."""
    walpush = make_walpush(world, config).start()
    client = subscribe(walpush, "tenant_a", ASHA)
    insert(world, "tenant_a", "one")
    known, epoch = client.recv(), client.hello["epoch"]
    insert(world, "tenant_a", "missed")
    make_tenant(world, "tenant_new")
    world.settle(walpush)
    assert client.recv()["data"]["note"] == "missed"
    hears_only(world, client, "tenant_a")
    walpush.kill()
    with make_walpush(world, config) as walpush, walpush.connect(f"{path_of('tenant_a')}?since={known['id']}&epoch={epoch}", ASHA) as again:
        assert again.established()["resumed"]
        assert [m["data"]["note"] for m in again.recv_n(2)] == ["missed", "only this"]


def test_another_section_of_a_table_that_matches(world, config, make_walpush):
    """Both tell of the row, in the order of the file."""
    config.set("tables.one", section(**{"from": "tenant_a.orders"}, type="one", key="one_id", groups=["orders_{schema}_{unit}"]))
    with make_walpush(world, config) as walpush, subscribe(walpush, "tenant_a", ASHA) as a, subscribe(walpush, "tenant_b", BOB) as b:
        insert(world, "tenant_a", "twice")
        assert sorted(m["type"] for m in a.recv_n(2)) == ["one.created", "order.created"]
        hears_only(world, b, "tenant_b")


def test_partitioned_tables(world, config, make_walpush):
    for tenant in ("tenant_p", "tenant_q"):
        world.sql(f"CREATE SCHEMA {tenant}; CREATE TABLE {tenant}.orders (id int, unit int, note text, PRIMARY KEY (id, unit)) PARTITION BY LIST (unit);"
                  f" CREATE TABLE {tenant}.orders_5 PARTITION OF {tenant}.orders FOR VALUES IN (5)")  # fmt: skip
        world.sql("INSERT INTO tenant_users VALUES (%s, %s)", tenant, ASHA)
    with make_walpush(world, config) as walpush, subscribe(walpush, "tenant_p", ASHA) as p, subscribe(walpush, "tenant_q", ASHA) as q:
        world.sql("INSERT INTO tenant_p.orders VALUES (1, 5, 'p')")
        world.sql("CREATE TABLE tenant_q.orders_6 PARTITION OF tenant_q.orders FOR VALUES IN (6)")
        world.sql("INSERT INTO tenant_q.orders VALUES (2, 6, 'elsewhere'), (1, 5, 'q')")
        assert (p.recv()["data"]["note"], q.recv()["data"]["note"]) == ("p", "q")


def test_the_example_of_the_document(app, config, make_walpush):
    text = (ROOT / "docs/configuration.md").read_text()
    example = next(block for block in re.findall(r"```conf\n(.*?)```", text, re.DOTALL) if "tenant_*.orders" in block)
    settings = dict(re.findall(r"^(\w+) = (\{.*?^\})", example, re.DOTALL | re.MULTILINE))
    app.sql("CREATE TABLE tenants_client (id int PRIMARY KEY, name text, schema_name text)")
    app.sql("CREATE TABLE tenants_member (client_id int, user_id int, PRIMARY KEY (client_id, user_id))")
    app.sql("GRANT SELECT ON tenants_client, tenants_member TO walpush")
    app.sql("INSERT INTO tenants_client VALUES (1, 'acme', 'tenant_1'), (2, 'bolt', 'tenant_2')")
    app.sql("INSERT INTO tenants_member VALUES (1, %s), (2, %s)", ASHA, BOB)
    for tenant in ("tenant_1", "tenant_2"):
        make_tenant(app, tenant, "shop_id int, note text")
    for setting in ("streams", "tables"):
        config.set(setting, Raw(settings[setting]))
    with make_walpush(app, config) as walpush, walpush.subscribe("/ws/acme/orders/5/", ASHA) as a, walpush.subscribe("/ws/bolt/orders/5/", BOB) as b:
        with walpush.connect("/ws/bolt/orders/5/", ASHA) as stranger:
            assert stranger.close_code() == 4403
        app.sql("INSERT INTO tenant_1.orders (shop_id, note) VALUES (5, 'acme')")
        app.sql("INSERT INTO tenant_2.orders (shop_id, note) VALUES (5, 'bolt')")
        assert (a.recv()["data"]["note"], b.recv()["data"]["note"]) == ("acme", "bolt")


# --- several replicas ---------------------------------------------------------------------------------------------


def test_replicas_find_schemas_by_themselves(world, config, make_walpush):
    """What goes through the relay names sections and schemas, not what one of them has found."""
    config.set("database.watch", 60)  # nobody looks: the leader finds the schema by its row, the other one never does
    with Redis() as redis:
        two = Replicas(make_walpush, world, config, redis, n=2)
        leader = two.leader()
        follower = next(replica for replica in two.all if replica is not leader)
        with subscribe(follower, "tenant_new", ASHA) as new, subscribe(follower, "tenant_b", BOB) as b:
            make_tenant(world, "tenant_new")
            hears_only(world, new, "tenant_new")
            world.sql("TRUNCATE tenant_new.orders")
            assert new.recv()["type"] == "resync"
            hears_only(world, b, "tenant_b")
            leader.kill()
            two.leader(of=[follower])
            hears_only(world, new, "tenant_new", "after")


# --- the DBA's script, the publication and walpush check ----------------------------------------------------------


@pytest.fixture
def script(world, cluster, config, tmp_path):
    """Runs what `walpush sql` prints for this plugin; what it said."""

    def run(plugin):
        env = {"DATABASE_URL": world.url, "JWT_SIGNING_KEY": SIGNING_KEY}
        done = run_to_end("sql", "-c", config.write(tmp_path / "sidecar.conf"), "--plugin", plugin, env=env)
        assert done.returncode == 0, done.stderr
        tmp_path.chmod(0o755)
        (tmp_path / "setup.sql").write_text(done.stdout)
        (tmp_path / "setup.sql").chmod(0o644)
        return cluster.psql(tmp_path / "setup.sql", {"slot": world.slot, "password": cluster.passwords["walpush"]}, dbname=world.name)

    return run


@pytest.fixture
def check(world, config, tmp_path):
    """Lines of `walpush check`, each as (state, check, text)."""

    def run():
        env = {"DATABASE_URL": world.url, "JWT_SIGNING_KEY": SIGNING_KEY}
        done = run_to_end("check", "-c", config.write(tmp_path / "sidecar.conf"), env=env)
        return [re.match(r"(\S+) +(\S+) +(.*)", line).groups() for line in done.stdout.splitlines()[:-1]]

    return run


@pytest.fixture
def published(world, script):
    """A publication of what the script finds, and a slot behind it."""
    world.drop_slot()
    world.sql(f"DROP PUBLICATION IF EXISTS {world.slot}")
    assert "note: tenant_*.orders has 2 tables; run this again when a schema is made" in script("pgoutput")
    return world


def of(lines, check, *states):
    return [line for line in lines if line[1] == check and line[0] in (states or ("warning", "failure"))]


def test_the_publication_has_it_when_the_script_has_run_again(published, config, make_walpush, script, check):
    """Until then it is named, once; nobody is closed, and the others hear on. Then its groups refetch, and they alone."""
    assert published.value("SELECT count(*) FROM pg_publication_tables WHERE pubname = %s AND tablename = 'orders'", published.slot) == 2
    with make_walpush(published, config) as walpush:
        with subscribe(walpush, "tenant_new", ASHA) as new, subscribe(walpush, "tenant_b", BOB) as b:
            mark = walpush.mark()
            make_tenant(published, "tenant_new")
            walpush.wait_for_log("do not send|does not send these tables.*tables=tenant_new.orders", since=mark)
            insert(published, "tenant_new", "not sent")
            hears_only(published, b, "tenant_b")
            (line,) = of(check(), "publication")
            assert line[0] == "warning"
            assert f"does not send tenant_new.orders | SQL: ALTER PUBLICATION {published.slot} ADD TABLE ONLY tenant_new.orders;" in line[2]
            assert f"ALTER PUBLICATION {published.slot} ADD TABLE ONLY tenant_new.orders" in script("pgoutput")
            mark = walpush.mark()
            published.wait_until("SELECT true")
            insert(published, "tenant_new", "sent")
            wait_until(lambda: insert(published, "tenant_b", "ticks") or b.recv()["type"] and "groups are told" in walpush.log(since=mark))
            new.recv_until(lambda m: m["type"] == "resync")
            hears_only(published, new, "tenant_new")
            assert len(re.findall("does not send these tables", walpush.log())) == 1
            assert not of(check(), "publication")
    with make_walpush(published, config) as walpush:  # and what is there at a start is no news
        assert "does not send" not in walpush.log()


def test_a_schema_that_is_not_published_does_not_stop_a_start(published, config, make_walpush):
    make_tenant(published, "tenant_new")
    with make_walpush(published, config) as walpush, subscribe(walpush, "tenant_b", BOB) as b:
        walpush.wait_for_log("does not send these tables.*tables=tenant_new.orders")
        hears_only(published, b, "tenant_b")


def test_a_schema_that_is_not_published_any_more(published, config, make_walpush):
    """That is no new tenant: everybody refetches, as where another table is taken away."""
    with make_walpush(published, config) as walpush, subscribe(walpush, "tenant_a", ASHA) as a:
        published.sql(f"ALTER PUBLICATION {published.slot} DROP TABLE tenant_a.orders")
        assert a.recv()["reason"] == "skipped"


@of_wal2json
def test_the_script_covers_those_that_are_there(world, script, check):
    for tenant in ("tenant_c", ODD):
        make_tenant(world, tenant, identity="DEFAULT")
    assert len(of(check(), "replica-identity", "failure")) == 2
    script("wal2json")
    assert not of(check(), "replica-identity")
    make_tenant(world, "tenant_later", identity="DEFAULT")
    (line,) = of(check(), "replica-identity", "failure")
    assert "tenant_later.orders" in line[2] and "REPLICA IDENTITY FULL" in line[2]


def test_two_hundred_tenants_are_readable(world, config, check):
    """The first ones are named, and the rest is counted; what is the same for all is said once."""
    config.set("tables.orders", section(**ORDERS, type="order", key="order_id", groups=["orders_{unit}"], fields=["note"]))
    for i in range(200):
        make_tenant(world, f"tenant_{i:03}", "unit int, note text, password text", identity="DEFAULT")
    world.sql("ALTER TABLE tenant_007.orders DROP note")
    lines = check()
    assert len(lines) < 100  # 202 tables, four kinds of findings
    assert [line[2] for line in of(lines, "replica-identity", "failure")][-1].startswith("197 more of the tables that match tenant_*.orders | ")
    assert len(of(lines, "replica-identity", "failure")) == 4
    assert "tenant_007.orders has no column note" in of(lines, "table")[0][2]
    world.sql("ALTER TABLE tenant_007.orders ADD note text")
    lines = check()
    assert len(of(lines, "secrets")) == 1
    assert ("ok", "patterns", "202 tables match tenant_*.orders") in lines
    assert "orders_{unit} has no {schema}: rows of all schemas that match reach whoever may listen to it" in of(lines, "patterns")[0][2]


def test_nothing_matches(world, config, check):
    config.set("tables.orders", section(**{"from": "shop_*.orders"}, type="order", key="order_id", groups=["orders_{schema}"]))
    (line,) = of(check(), "patterns")
    assert line[0] == "warning" and "no schema of this database matches shop_* and has a table orders" in line[2]


def test_a_column_named_as_the_placeholder(world, check):
    world.sql("ALTER TABLE tenant_a.orders ADD schema text")
    (line,) = of(check(), "patterns")
    assert "tenant_a.orders has a column named schema, and {schema} is the name of its schema" in line[2]
    assert '{"schema"}' in line[2]


def test_explain_names_the_schema(world, config, make_walpush):
    """Who would receive a row of a tenant; of which one must be said."""
    world.sql("GRANT USAGE ON SCHEMA tenant_a, tenant_b TO walpush; GRANT SELECT ON tenant_a.orders, tenant_b.orders TO walpush")
    world.sql("INSERT INTO tenant_a.orders (unit) VALUES (7); INSERT INTO tenant_b.orders (unit) VALUES (8)")
    with make_walpush(world, config) as walpush:
        for arguments, wanted in ((["--table", "tenant_b.orders"], "orders_{tenant_b}_{8}"), (["--table", "orders"], "a table that matches a pattern by its schema too")):
            done = run_to_end("explain", "-c", walpush.file, "--json", *arguments, "--key", "1", env=walpush.env)
            assert wanted in done.stdout, done.stdout
