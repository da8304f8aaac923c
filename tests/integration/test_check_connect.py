"""`walpush check` cannot connect: what it says is true of this refusal, can be done, and breaks nothing else. Real servers; a stub answers only as what
stands before a server, and nobody here has: a provider's proxy.

A case yields once it has broken something; what comes behind is what a person does who reads a fix in words."""

import contextlib
import json
import re
import socket
import threading

import pytest

from harness.broken import of, server, world  # noqa: F401
from harness.proxy import error_response, proxy
from harness.tls import Identity
from throwaway.cluster import free_port

CASES = []
SSLMODE = r"sslmode=verify-full .*sslrootcert.* or sslmode=require"


def case(says, check="connection", kind="words"):
    """Registers a way to break things, whose fix matches the regular expression `says`."""

    def register(function):
        CASES.append(pytest.param(function, says, check, kind, id=function.__name__.replace("_", "-")))
        return function

    return register


def url(world, parameters="", **changes):
    """The good connection string, with more parameters or parts replaced."""
    text = world.good
    for old, new in changes.items():
        text = text.replace(*{"port": (f":{world.server.port}/", f":{new}/"), "host": ("@127.0.0.1:", f"@{new}:")}[old])
    world.env["DATABASE_URL"] = text + parameters


def with_tls(world, dns=None, days=30):
    """The server speaks TLS, with a certificate of a CA of its own: the file of the CA's certificate."""
    authority = Identity("walpush test CA")
    identity = Identity("server", days=days, dns=dns, signed_by=authority)
    server = world.server
    server._write(server.data / "server.crt", identity.certificate.decode())
    server._write(server.data / "server.key", identity.key.decode())
    server._write(server.data / "ca.crt", authority.certificate.decode())
    world.set_system(ssl="on", ssl_ca_file="ca.crt")
    world.reload()
    return world.file("ca.pem", authority.certificate.decode())


def hba(world, *lines):
    world.server.hba = "\n".join(["local all postgres trust", *lines]) + "\n"
    world.reload()


def answers(world, response):
    """What listens there answers each login with this."""
    url(world, port=world.resources.enter_context(proxy(world.server.port, request=lambda first: response)))


def in_place_of_a_server(world, response):
    """A program that speaks another protocol, or hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))
    world.resources.callback(listener.close)

    def serve():
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listener.accept()
                with peer:
                    peer.recv(8192)
                    peer.sendall(response)

    threading.Thread(target=serve, daemon=True).start()
    url(world, port=listener.getsockname()[1])


# --- TLS ---------------------------------------------------------------------------------------------------------


@case(SSLMODE)
def only_hostssl(world):
    with_tls(world)
    hba(world, "hostssl all all 127.0.0.1/32 scram-sha-256")
    url(world, "?sslmode=disable")
    yield
    url(world, "?sslmode=require")


@case(SSLMODE)
def a_line_that_rejects_what_is_not_encrypted(world):
    with_tls(world)
    hba(world, "hostnossl all all all reject", "host all all 127.0.0.1/32 scram-sha-256")
    url(world, "?sslmode=disable")
    yield
    url(world, "?sslmode=require")


@case("^hostssl app walpush 127.0.0.1/32 scram-sha-256$", kind="hba")
def no_line_on_a_server_with_tls(world):
    with_tls(world)
    hba(world)


@case("^sslmode=require in database.url, and as first line of pg_hba.conf, then reload: hostssl app walpush 127.0.0.1/32 ")
def no_line_and_no_tls_from_the_client(world):
    with_tls(world)
    hba(world)
    url(world, "?sslmode=disable")
    yield
    hba(world, "hostssl app walpush 127.0.0.1/32 scram-sha-256")
    url(world, "?sslmode=require")


@case("sslrootcert .*name the certificate of the CA")
def no_root_certificate(world):
    ca = with_tls(world)
    url(world, "?sslmode=verify-full")
    yield
    url(world, f"?sslmode=verify-full&sslrootcert={ca}")


@case("sslrootcert .*name the certificate of the CA")
def a_root_certificate_file_that_is_not_there(world):
    ca = with_tls(world)
    url(world, "?sslmode=verify-full&sslrootcert=/nowhere/ca.pem")
    yield
    url(world, f"?sslmode=verify-full&sslrootcert={ca}")


@case("sslrootcert .*name the certificate of the CA")
def the_certificate_of_another_ca(world):
    ca = with_tls(world)
    other = world.file("other.pem", Identity("another CA").certificate.decode())
    url(world, f"?sslmode=verify-full&sslrootcert={other}")
    yield
    url(world, f"?sslmode=verify-full&sslrootcert={ca}")


@case("certificate has expired")
def a_server_certificate_that_has_expired(world):
    ca = with_tls(world, days=-1)
    url(world, f"?sslmode=verify-full&sslrootcert={ca}")
    yield
    ca = with_tls(world)
    url(world, f"?sslmode=verify-full&sslrootcert={ca}")


@case("as `host` .* the name that the certificate has.* `hostaddr`")
def a_private_link_with_another_name(world):
    ca = with_tls(world, dns="db.internal")
    url(world, f"?sslmode=verify-full&sslrootcert={ca}")
    yield
    url(world, f"?sslmode=verify-full&sslrootcert={ca}&hostaddr=127.0.0.1", host="db.internal")


@case("turn ssl on there")
def tls_with_a_server_that_has_none(world):
    url(world, "?sslmode=require")
    yield
    with_tls(world)


@case("ssl_min_protocol_version")
def tls_of_another_version(world):
    with_tls(world)
    world.set_system(ssl_max_protocol_version="TLSv1.2")
    world.reload()
    url(world, "?sslmode=require&ssl_min_protocol_version=TLSv1.3")
    yield
    url(world, "?sslmode=require")


@case("client certificate: let sslcert and sslkey")
def a_server_that_asks_for_a_client_certificate(world):
    with_tls(world)
    hba(world, "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca")
    url(world, "?sslmode=require")
    yield
    hba(world, "hostssl all all 127.0.0.1/32 scram-sha-256")


@case("sslkey .*mode 0600")
def a_client_key_that_others_may_read(world):
    with_tls(world)
    Identity("client").write(world.directory)
    (world.directory / "tls.key").chmod(0o666)
    url(world, f"?sslmode=require&sslcert={world.directory}/tls.crt&sslkey={world.directory}/tls.key")
    yield
    url(world, "?sslmode=require")


@case("write sslmode=")
def an_sslmode_that_is_none(world):
    url(world, "?sslmode=on")
    yield
    url(world, "?sslmode=prefer")


# --- what stands before the server -------------------------------------------------------------------------------

TO_ITSELF = "^connect to PostgreSQL itself"


@case(TO_ITSELF)
def a_proxy_that_knows_no_options(world):
    answers(world, error_response("0A000", "Feature not supported: RDS Proxy currently doesn't support command-line options."))
    yield
    url(world)


@case(TO_ITSELF)
def a_pooler_that_knows_no_such_tenant(world):
    answers(world, error_response("XX000", "Tenant or user not found"))
    yield
    url(world)


@case("full host name")
def a_proxy_that_wants_the_name_of_its_host(world):
    answers(world, error_response("XX000", "Endpoint ID is not specified. Either please upgrade the postgres client library"))
    yield
    url(world)


@case("good for minutes.*database.url-file")
def a_token_that_has_expired(world):
    answers(world, error_response("28000", 'PAM authentication failed for user "walpush"'))
    yield
    url(world)


@case(TO_ITSELF)
def a_pooler_that_knows_no_such_database(world):
    answers(world, error_response("08P01", "no such database: app"))
    yield
    url(world)


@case("another program answers there")
def a_web_server(world):
    in_place_of_a_server(world, b"HTTP/1.1 400 Bad Request\r\n\r\n")
    yield
    url(world)


@case("hangs up")
def a_load_balancer_without_a_server(world):
    in_place_of_a_server(world, b"")
    url_of_it = world.env["DATABASE_URL"] + "?sslmode=disable&gssencmode=disable"
    world.env["DATABASE_URL"] = url_of_it
    yield
    url(world)


# --- what libpq says by itself -----------------------------------------------------------------------------------


@case("start PostgreSQL there, or correct host and port")
def nobody_listens(world):
    url(world, port=free_port())
    yield
    url(world)


@case("write the password into database.url")
def no_password(world):
    world.env["DATABASE_URL"] = re.sub(r":[^:@/]+@", "@", world.good)
    yield
    url(world)


@case("write the password into database.url")
def an_empty_password(world):
    world.env["DATABASE_URL"] = re.sub(r":[^:@/]+@", ":@", world.good)
    yield
    url(world)


@case("correct the role's line in that password file")
def another_password_in_the_password_file(world):
    world.env["PGPASSFILE"] = str(world.file("pgpass", "*:*:*:*:wrong\n"))
    (world.directory / "pgpass").chmod(0o600)
    world.env["DATABASE_URL"] = re.sub(r":[^:@/]+@", "@", world.good)
    yield
    url(world)


@case("pg_service.conf")
def a_service_that_is_not_defined(world):
    world.env["PGSERVICEFILE"] = str(world.file("services", "[other]\nhost=127.0.0.1\n"))
    url(world, "?service=shop")
    yield
    world.file("services", "[shop]\nconnect_timeout=20\n")


@case("service file that walpush may read")
def a_service_file_that_is_not_there(world):
    world.env["PGSERVICEFILE"] = "/nowhere/services"
    url(world, "?service=shop")
    yield
    world.env["PGSERVICEFILE"] = str(world.file("services", "[shop]\nconnect_timeout=20\n"))


@case("target_session_attrs .* asks for another server")
def only_a_standby_will_do(world):
    url(world, "?target_session_attrs=standby")
    yield
    url(world, "?target_session_attrs=any")


@case("write target_session_attrs=primary")
def a_kind_of_server_that_is_none(world):
    url(world, "?target_session_attrs=master")
    yield
    url(world, "?target_session_attrs=primary")


@case("correct `options`")
def an_option_that_the_server_does_not_know(world):
    url(world, "?options=-c%20nothing_of_this_name%3D1")
    yield
    url(world)


@case("^ALTER DATABASE app ALLOW_CONNECTIONS true;$", kind="sql")
def a_database_that_takes_no_connections(world):
    world.server.sql("ALTER DATABASE app ALLOW_CONNECTIONS false")
    world.sql, world.psql = world.server.sql, lambda text: world.server.sql(text)


# --- who manages the server --------------------------------------------------------------------------------------


def role(world, name):
    world.server.sql(f"CREATE ROLE {name}")
    world.resources.callback(world.server.sql, f"DROP ROLE {name}")


@case("^set max_slot_wal_keep_size = '10240MB' in the instance's DB parameter group", check="wal-bound")
def an_unbounded_slot_on_rds(world):
    role(world, "rds_superuser")
    world.set_system(max_slot_wal_keep_size="-1")
    world.reload()
    yield
    world.set_system(max_slot_wal_keep_size="10240MB")
    world.reload()


@case("^nothing can bound it on Azure", check="wal-bound")
def an_unbounded_slot_on_azure(world):
    role(world, "azure_pg_admin")
    world.set_system(max_slot_wal_keep_size="-1")
    world.reload()
    yield
    world.set_system(max_slot_wal_keep_size="10240MB")
    world.reload()


@case("^set the database flag cloudsql.logical_decoding = on", check="wal-level")
def a_wal_level_that_is_too_low_on_cloud_sql(world):
    world.sql("SELECT pg_drop_replication_slot('walpush')")
    role(world, "cloudsqlsuperuser")
    world.set_system(wal_level="replica")
    world.restarts = True
    world.server.restart()
    yield
    world.set_system(wal_level="logical")
    world.server.restart()
    world.sql("SELECT pg_create_logical_replication_slot('walpush', 'wal2json')")


@case("security group", check="connection")
def no_line_on_a_server_of_amazon(world):
    """Before a connection the host's name shows it: the address is given beside it."""
    with_tls(world)
    hba(world)
    url(world, "?hostaddr=127.0.0.1", host="app.c9.eu-central-1.rds.amazonaws.com")
    yield
    hba(world, "host all all 127.0.0.1/32 scram-sha-256")


@case("^GRANT rds_replication TO walpush;$", check="role", kind="sql")
def a_role_that_may_not_replicate_on_rds(world):
    role(world, "rds_replication")
    role(world, "rds_superuser")
    world.sql("ALTER ROLE walpush NOREPLICATION")
    # This is no RDS, whose servers let its members replicate: here the attribute has to.
    grant = world.psql
    world.psql = lambda text: (grant(text), world.sql("ALTER ROLE walpush REPLICATION"))


# --- roles and databases of any name -----------------------------------------------------------------------------

NAMES = ["Walpush", "svc.walpush", "walpush@contoso.onmicrosoft.com", "all", 'wal "push"', "wal'push $HOME"]


@contextlib.contextmanager
def named(world, name):
    """The set-up as it was, with a role and a database of this name."""
    server = world.server
    role_of, database = server.passwords["walpush"], world.name
    server.passwords[name] = role_of
    world.name = name
    quoted = '"{}"'.format(name.replace('"', '""'))
    server.sql("SELECT pg_drop_replication_slot('walpush')")
    server.sql(f"ALTER DATABASE app RENAME TO {quoted}")
    server.sql(f"ALTER ROLE walpush RENAME TO {quoted}")
    server.sql(f"ALTER ROLE {quoted} PASSWORD '{role_of}'")
    server.sql("SELECT pg_create_logical_replication_slot('walpush', 'wal2json')", dbname=name)
    world.env["DATABASE_URL"] = server.url(name, name)
    try:
        yield quoted
    finally:
        server.hba = world.hba
        world.reload()
        server.sql("SELECT pg_drop_replication_slot('walpush')")
        server.sql(f"ALTER DATABASE {quoted} RENAME TO {database}")
        server.sql(f"ALTER ROLE {quoted} RENAME TO walpush")
        server.sql(f"ALTER ROLE walpush PASSWORD '{role_of}' CONNECTION LIMIT -1 REPLICATION LOGIN")


def fails(findings):
    return [finding for finding in findings if finding["state"] == "failure"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_quoted_for_where_its_fix_goes(world, name):
    with named(world, name) as quoted:
        assert fails(world.findings(0)) == []
        for breaks, check, kind in [
            (f"ALTER ROLE {quoted} CONNECTION LIMIT 0", "connection", "sql"),
            (f"ALTER ROLE {quoted} CONNECTION LIMIT 2", "role-connections", "sql"),
            (f"ALTER ROLE {quoted} NOREPLICATION", "role", "sql"),
            (f"ALTER ROLE {quoted} NOLOGIN", "connection", "shell"),
            (f"ALTER ROLE {quoted} VALID UNTIL 'tomorrow'", "role-password", "sql"),
            (f"ALTER DATABASE {quoted} CONNECTION LIMIT 0", "connection", "sql"),
            (f"REVOKE CONNECT ON DATABASE {quoted} FROM PUBLIC, {quoted}", "connection", "sql"),
            (None, "connection", "hba"),
        ]:
            if breaks:
                world.server.sql(breaks)
            else:
                hba(world, "host all postgres 127.0.0.1/32 scram-sha-256")
            (found,) = of(world.findings(None), check)
            assert found["fix"]["kind"] == kind, found
            world.apply(found["fix"])
            assert fails(world.findings(0)) == [], found


@pytest.mark.parametrize("name", NAMES[:3])
def test_who_owns_a_table_is_found_under_any_name(world, name):
    with named(world, name) as quoted:
        world.sql(f"ALTER TABLE storages OWNER TO {quoted}")
        (found,) = of(world.findings(0), "role-rights")
        assert "owns public.storages" in found["text"]
        world.sql("ALTER TABLE storages OWNER TO postgres")


# --- the test of all of them -------------------------------------------------------------------------------------


@pytest.mark.parametrize("breaks, says, check, kind", CASES)
def test_a_refusal_is_said_as_it_is(world, breaks, says, check, kind):
    world.good = world.env["DATABASE_URL"]
    steps = breaks(world)
    if steps is not None:
        next(steps)
    (found,) = of(world.findings(None), check)
    assert found["fix"]["kind"] == kind and re.search(says, found["fix"]["text"]), found
    assert breaks is nobody_listens or "start PostgreSQL" not in found["fix"]["text"]
    assert world.server.passwords["walpush"] not in json.dumps(found)
    if steps is not None:
        next(steps, None)
    else:
        world.apply(found["fix"])
    after = world.findings(None)
    assert of(after, check) == [] and fails(after) == [], after


def test_no_fix_of_a_managed_server_is_for_a_machine_of_ones_own(world):
    """Everything that a restart or ALTER SYSTEM would mend at once."""
    role(world, "neon_superuser")
    world.set_system(max_slot_wal_keep_size="-1", max_connections=20, max_wal_senders=1)
    world.restarts = True
    world.server.restart()
    world.replication()
    findings = world.findings(1)
    assert {"wal-bound", "server-connections", "walsenders"} <= {f["check"] for f in findings if f["fix"]}
    for finding in findings:
        if finding["fix"]:
            assert finding["fix"]["kind"] not in ("restart", "hba"), finding
            assert not re.search("ALTER SYSTEM|pg_hba|postgresql.conf|apt-get", finding["fix"]["text"]), finding
