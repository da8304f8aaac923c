"""Names that do not resolve: the name server takes every question and answers none, which blocks a lookup for a minute.

Nothing but the connection that waits for the name may wait with it.
"""

import contextlib
import json
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness.app import ASHA, RAVI, fresh_app
from harness.client import SLOWDOWN, Listener
from harness.metrics import Metrics
from harness.names import HANGS, Names, can_run
from harness.redis import Redis
from harness.tls import Identity
from harness.walpush import BINARY, SIGNING_KEY, fields_of
from throwaway.cluster import Cluster
from throwaway.config import Raw

pytestmark = pytest.mark.skipif(not can_run(), reason="needs root, for a mount namespace and port 53")

DB, OTHER, CACHE = "db.example.test", "other.example.test", "cache.example.test"
HERE, NOBODY = "127.0.0.1", "127.0.0.2"  # the servers listen on the first
UNIT_1 = "/ws/requests/1/"
AT_ONCE = 5 * SLOWDOWN  # seconds: a lookup hangs for far longer
assert AT_ONCE < HANGS / 2

OVER_TLS = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND usename = 'walpush'"
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'walpush' AND datname = %s"


@pytest.fixture
def names():
    with Names() as names:
        yield names


@pytest.fixture
def redis_server():
    with Redis(password="pa55word-of-redis") as server:
        yield server


def behind(url, hosts):
    """The same URL with other hosts."""
    address = url[url.index("@") + 1 : url.rindex("/")]
    port = address.rpartition(":")[2]
    return url.replace(address, ",".join(f"{host}:{port}" for host in hosts.split(",")))


@pytest.fixture
def impatient(config):
    return config.set("database.connect-timeout", 2).set("limits.admit-timeout", 1)


@pytest.fixture
def start(app, impatient, make_walpush, names):
    """A process whose database is behind these hosts."""

    def start(hosts=DB, **how):
        return make_walpush(app, impatient, url=behind(app.url, hosts), under=names.under, **how).start()

    return start


class Within:
    """The block ends in time."""

    def __enter__(self):
        self.start = time.monotonic()

    def __exit__(self, kind, *_):
        took = time.monotonic() - self.start
        assert kind or took < AT_ONCE, f"it took {took:.1f} s"


def assert_probes_answer(walpush):
    for path in ("/healthz", "/readyz", "/metrics", "/status") * 3:
        with Within():
            answer = walpush.admin(path)
        assert answer and answer.status == (503 if path == "/readyz" else 200), path


def wait_for_reason(walpush, reason):
    """/readyz says so, once the connection's first try is over."""
    deadline = time.monotonic() + AT_ONCE
    while (answer := walpush.admin("/readyz").body.decode()) != reason + "\n":
        assert time.monotonic() < deadline, answer
        time.sleep(0.02)


def assert_turned_away(walpush):
    with Within(), walpush.connect(UNIT_1, RAVI) as client:
        assert client.close_code() == 1013


def wait_for_failures(walpush, n):
    while Metrics(walpush)("walpush_names_unresolved_total") < n:
        time.sleep(0.05)


def said(walpush, since, host):
    """The lines that name the host as one that does not resolve."""
    lines = [line for line in walpush.log(since).splitlines() if 'msg="names do not resolve"' in line]
    return [line for line in lines if fields_of(line)["host"] == host]


def test_postgresql(app, start, names):
    names.know({DB: [HERE]})
    walpush = start()
    listener = Listener(walpush.subscribe(UNIT_1, ASHA))
    names.forget()
    mark = walpush.mark()
    app.sql(TERMINATE, app.name)
    names.wait_for_question(DB)
    assert_probes_answer(walpush)
    with Within():  # connect-timeout; the lookup itself is under way for a minute
        line = walpush.wait_for_log("names do not resolve", since=mark)
    assert fields_of(line)["host"] == DB and "/etc/resolv.conf" in line
    wait_for_reason(walpush, f"names do not resolve: {DB}: Temporary failure in name resolution")
    assert_turned_away(walpush)
    wait_for_failures(walpush, 5)
    assert_probes_answer(walpush)
    assert len(said(walpush, mark, DB)) == 1
    names.know({DB: [HERE]})
    walpush.wait_for_log('msg="?streaming', since=mark)
    app.touch(app.request, "after the outage")
    messages = listener.wait_until(lambda m: m)
    assert messages[-1]["data"]["purpose"].endswith("after the outage")
    with Within():
        walpush.stop()


def test_redis(app, impatient, start, names, redis_server):
    impatient.set("relay", Raw(f'{{ url = "{behind(redis_server.url, CACHE)}" }}')).set("limits.drain", 1)
    names.know({DB: [HERE], CACHE: [HERE]})
    walpush = start()
    walpush.secrets.append(redis_server.password)
    listener = Listener(walpush.subscribe(UNIT_1, ASHA))
    names.know({DB: [HERE]})
    mark = walpush.mark()
    redis_server.client().client_kill_filter(_type="normal", skipme=True)
    names.wait_for_question(CACHE)
    assert_probes_answer(walpush)
    wait_for_failures(walpush, 2)
    assert_probes_answer(walpush)
    wait_for_reason(walpush, f"names do not resolve: {CACHE}: Temporary failure in name resolution")
    assert_turned_away(walpush)
    assert len(said(walpush, mark, CACHE)) == 1 and "relay.url" in said(walpush, mark, CACHE)[0]
    app.touch(app.request, "during the outage")
    names.know({DB: [HERE], CACHE: [HERE]})
    messages = listener.wait_until(lambda m: m)
    assert messages[-1]["data"]["purpose"].endswith("during the outage")


@pytest.mark.parametrize("which", [DB, CACHE])
def test_sigterm_during_a_lookup(app, impatient, start, names, redis_server, which):
    """However long the lookups still take: the process does not wait for them."""
    impatient.set("database.connect-timeout", 300)
    impatient.set("relay", Raw(f'{{ url = "{behind(redis_server.url, CACHE)}" }}')).set("limits.drain", 1)
    known = {DB: [HERE], CACHE: [HERE]}
    names.know(known)
    walpush = start()
    client = walpush.subscribe(UNIT_1, ASHA)
    names.know({name: addresses for name, addresses in known.items() if name != which})
    app.sql(TERMINATE, app.name)
    redis_server.client().client_kill_filter(_type="normal", skipme=True)
    names.wait_for_question(which)
    with Within():
        walpush.send_signal(signal.SIGTERM)
        assert client.drain_to_close()[1] == 1012
        assert walpush.wait() == 0
    walpush.check_log()


def test_the_start_waits_for_no_name(app, impatient, make_walpush, names):
    """From the start on: what the probes say is what there is to say."""
    walpush = make_walpush(app, impatient, url=behind(app.url, DB), under=names.under).start(streaming=False)
    assert_probes_answer(walpush)
    wait_for_reason(walpush, f"names do not resolve: {DB}: Temporary failure in name resolution")
    names.know({DB: [HERE]})
    walpush.wait_for_log('msg="?streaming')
    with Within():
        walpush.stop()


# --- several addresses, several hosts ---------------------------------------------------------------------------------


def order(names, host):
    """The addresses of a name as the C library gives them to a program: it sorts them."""
    command = [*names.under, "getent", "ahosts", host]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [line.split()[0] for line in lines if "STREAM" in line]


@pytest.mark.parametrize("addresses", [["::1", HERE], [HERE, NOBODY]], ids=["dead-first", "dead-last"])
def test_the_addresses_of_a_name_are_tried_in_turn(app, impatient, start, names, redis_server, addresses):
    impatient.set("relay", Raw(f'{{ url = "{behind(redis_server.url, CACHE)}" }}'))
    names.know({DB: addresses, CACHE: addresses})
    if order(names, DB) != addresses:
        pytest.skip("no IPv6 here")
    walpush = start()
    with walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request, "served")
        assert client.recv()["data"]["purpose"].endswith("served")
    assert json.loads(walpush.admin("/status").body)["relay"]["up"]
    assert "no connection to Redis" not in walpush.log()
    walpush.stop()


def test_a_name_is_looked_up_for_each_connection(app, start, names):
    """A failover by DNS is followed: no address is kept from one connection to the next."""
    names.know({DB: [HERE]})
    walpush = start()
    names.know({DB: [NOBODY]})
    mark = walpush.mark()
    app.sql(TERMINATE, app.name)
    walpush.wait_for_log(f"{NOBODY}.*refused", since=mark)
    names.know({DB: [HERE]})
    walpush.wait_for_log('msg="?streaming', since=mark)
    walpush.stop()


@pytest.mark.parametrize("hosts", [f"{OTHER},{DB}", f"{DB},{OTHER}", f"{OTHER},{HERE}"], ids=["first", "last", "address"])
def test_a_host_of_a_list_that_does_not_resolve_is_left_out(app, start, names, hosts):
    names.know({DB: [HERE]})
    walpush = start(hosts)
    assert said(walpush, 0, OTHER)
    with walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request, "served")
        assert client.recv()["data"]["purpose"].endswith("served")
    walpush.stop()


def test_a_list_of_which_nothing_is_left(app, impatient, make_walpush, names):
    """The other is there, and refuses: both troubles are said."""
    names.know({DB: [NOBODY]})
    url = behind(app.url, f"{OTHER},{DB}")
    walpush = make_walpush(app, impatient, url=url, under=names.under).start(streaming=False)
    walpush.wait_for_log(f"{NOBODY}.*refused.*; and names do not resolve: {OTHER}: ")
    walpush.stop()


class Standby:
    """As much of a standby as a client learns before it asks: it is in recovery."""

    def __init__(self, address, port):
        self._listener = socket.create_server((address, port), family=socket.AF_INET6)
        self.visitors = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._greet(client)

    def _greet(self, client):
        with client:
            while len(client.recv(8192)) == 8:  # SSLRequest and GSSENCRequest: no
                client.sendall(b"N")
            self.visitors += 1
            status = {"server_version": "15.0", "in_hot_standby": "on", "default_transaction_read_only": "off"}
            parameters = [(b"S", b"%s\0%s\0" % (name.encode(), value.encode())) for name, value in status.items()]
            for kind, body in [(b"R", b"\0\0\0\0"), *parameters, (b"Z", b"I")]:
                client.sendall(kind + (len(body) + 4).to_bytes(4, "big") + body)
            client.recv(8192)


def test_a_name_for_a_primary_and_its_standby(app, impatient, make_walpush, names):
    """libpq by itself asks one address of a name for its role, and goes on to the next name."""
    names.know({DB: ["::1", HERE]})
    if order(names, DB) != ["::1", HERE]:
        pytest.skip("no IPv6 here")
    url = behind(app.url, DB) + "?target_session_attrs=primary"
    with Standby("::1", app.cluster.port) as standby:
        make_walpush(app, impatient, url=url, under=names.under).start().stop()
    assert standby.visitors >= 3


# --- what libpq goes by the name for ----------------------------------------------------------------------------------


def test_the_password_file_goes_by_the_name(app, impatient, make_walpush, names, tmp_path):
    password = app.url.split(":")[2].split("@")[0]
    file = tmp_path / "pgpass"
    file.write_text(f"{HERE}:*:*:*:wrong\n{DB}:*:*:*:{password}\n")
    file.chmod(0o600)
    names.know({DB: [HERE]})
    url = behind(app.url.replace(f":{password}@", "@"), DB)
    walpush = make_walpush(app, impatient, url=url, under=names.under, env={"PGPASSFILE": str(file)}).start()
    walpush.secrets.append(password)
    walpush.stop()


def test_the_certificate_is_verified_against_the_name(names, impatient, make_walpush, tmp_path):
    identity = Identity("db", dns=DB)
    identity.write(tmp_path)
    with Cluster(fsync=False) as cluster:
        for name in ("server.crt", "server.key"):
            cluster._write(cluster.data / name, (identity.certificate if name.endswith("crt") else identity.key).decode())
        cluster.sql("ALTER SYSTEM SET ssl = on")
        cluster.reload()
        with fresh_app(cluster) as app:
            app.set_up()
            names.know({DB: [HERE], OTHER: [HERE]})
            url = behind(app.url, "HOST") + f"?sslmode=verify-full&sslrootcert={tmp_path}/tls.crt"
            with make_walpush(app, impatient, url=url.replace("HOST", DB), under=names.under) as walpush:
                app.wait_until(f"SELECT ({OVER_TLS}) = 6")
            walpush = make_walpush(app, impatient, url=url.replace("HOST", OTHER), under=names.under)
            with walpush.start(streaming=False):
                walpush.wait_for_log(f"not match host name .*{OTHER}")


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def check(app, impatient, names, tmp_path):
    """`walpush check`, begun."""
    file = impatient.write(tmp_path / "sidecar.conf")
    env = {"DATABASE_URL": behind(app.url, DB), "JWT_SIGNING_KEY": SIGNING_KEY, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    # As in a terminal: what is started in the background of a script ignores Ctrl-C, and so would its children.
    command = ["env", "--default-signal=INT", *names.under, BINARY, "check", "-c", file]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    yield process
    process.kill()
    process.wait()


def test_check_ends_in_time_and_says_what_to_do(check):
    with Within():
        text, _ = check.communicate(timeout=AT_ONCE)
    line = next(line for line in text.splitlines() if line.startswith("failure"))
    assert f"names do not resolve: {DB}: " in line and "/etc/resolv.conf" in line
    assert check.returncode == 1 and "msg=" not in text


def test_check_is_ended_by_ctrl_c(check, names):
    names.wait_for_question(DB)
    check.send_signal(signal.SIGINT)
    with Within():
        assert check.wait(AT_ONCE) == -signal.SIGINT
