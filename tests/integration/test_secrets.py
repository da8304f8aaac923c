"""No part of a password reaches a log, a page or a terminal, however the URL is spelt.

The password is made of pieces that occur nowhere else, with the characters between them that split a URL. Nothing of it, not four
characters in a row, may be in what any command prints.
"""

import itertools
import re
import socket
import threading

import pytest

from harness.client import http
from harness.walpush import SIGNING_KEY, free_port, run_to_end

PIECES = ["QxJvB", "WzKpT", "YfGbN"]
SERVER = "127.0.0.1:1"  # nobody is there: what is taken for good fails at once


def password(between):
    return between.join(PIECES)


def database_urls():
    for sign in "@:/?#%&=+,;[] '\"\\!$|<>{}^`~":
        secret = password(sign)
        yield f"uri {sign}", f"postgresql://walpush:{secret}@{SERVER}/app"
        yield f"uri {sign} at its end", f"postgresql://walpush:{PIECES[0]}{sign}@{SERVER}/app"
        yield f"query {sign}", f"postgresql://{SERVER}/app?user=walpush&password={secret}"
        yield f"words {sign}", f"host=127.0.0.1 port=1 user=walpush password={secret} dbname=app"
    secret = password("x")
    yield from {
        "ports": f"postgresql://walpush:5432/{secret}@{SERVER}/app",
        "a port of letters": f"postgresql://walpush:x@127.0.0.1:{secret}/app",
        "all escaped": f"postgresql://walpush%3A{secret}%40127.0.0.1/app",
        "colon escaped": f"postgresql://walpush%3A{secret}@{SERVER}/app",
        "as a user": f"postgresql://{SERVER}/app?user=walpush:{secret}",
        "as a database": f"dbname=postgresql://walpush:{secret}@{SERVER}/app",
        "semicolons": f"host=127.0.0.1;user=walpush;password={secret}",
        "semicolons later": f"host=127.0.0.1 port=1 user=walpush;password={secret}",
        "a bad escape": f"postgresql://walpush:%zz{secret}@{SERVER}/app",
        "a zero": f"postgresql://walpush:%00{secret}@{SERVER}/app",
        "another scheme": f"postgresql+psycopg2://walpush:{secret}@{SERVER}/app",
        "java": f"jdbc:postgresql://{SERVER}/app?user=walpush&password={secret}",
        "misspelt": f"postgresql://{SERVER}/app?user=walpush&passwort={secret}",
        "no scheme": f"walpush:{secret}@{SERVER}/app",
        "alone": secret,
        "quoted": f"'postgresql://walpush:{secret}@{SERVER}/app'",
        "an open quote": f"host=127.0.0.1 port=1 password='{secret}",
        "ssl": f"postgresql://walpush:x@{SERVER}/app?sslmode=require&sslpassword={secret}",
        "several hosts": f"postgresql://walpush:{PIECES[0]}@{PIECES[1]}@127.0.0.1:1,127.0.0.1:2/app",
        "right": f"postgresql://walpush:{PIECES[0]}%40{PIECES[1]}@{SERVER}/app",
    }.items()


def assert_hidden(text, what):
    for piece in PIECES:
        for at in range(len(piece) - 3):
            assert piece[at : at + 4] not in text, f"{what} shows {piece[at : at + 4]}: {text}"


OTHERS = itertools.cycle(
    [["check", "--json"], ["sql"], ["health"], ["token", "--user", "1"], ["listen", "--user", "1", "/ws/crates/1/"]]
)


def commands(file, env):
    """`check`, which connects, and one of the others, in turn: of the URL they say what all say who read the file."""
    for command in (["check"], next(OTHERS)):
        done = run_to_end(command[0], "-c", file, *command[1:], env=env)
        yield " ".join(command), done.stdout + done.stderr


def all_that_run_says(make_walpush, app, config, url, env):
    """Its log, and the pages if it starts."""
    walpush = make_walpush(app, config, url=url, env=env)
    walpush.spawn()
    try:
        walpush.wait_for_log("cannot reach the database|cannot start|sidecar.conf:")
        if "RELAY_URL" in env:
            walpush.wait_for_log("no connection to Redis|cannot start|sidecar.conf:")
        pages = [http(walpush.admin_port, path) for path in ("/", "/status", "/metrics", "/readyz")] if walpush.process.poll() is None else []
    except ConnectionError:
        pages = []  # it ended meanwhile
    finally:
        walpush.process.kill()
        walpush.wait()
    return walpush.log() + "".join(page.body.decode() for page in pages)


@pytest.mark.parametrize("which", range(5))
def test_database_url(bare_app, config, make_walpush, tmp_path, which):
    config.set("database.connect-timeout", 1)
    spellings = list(database_urls())[which::5]
    for name, url in spellings:
        env = {"DATABASE_URL": url, "JWT_SIGNING_KEY": SIGNING_KEY, "WALPUSH_ADMIN_PORT": str(free_port())}
        file = config.write(tmp_path / "sidecar.conf")
        for command, said in commands(file, env):
            assert_hidden(said, f"{command}, {name}")
        assert_hidden(all_that_run_says(make_walpush, bare_app, config, url, {}), f"run, {name}")


def test_what_is_refused_says_what_to_do(config, tmp_path):
    file = config.write(tmp_path / "sidecar.conf")
    url = f"postgresql://walpush:{password('@')}@{SERVER}/app"
    done = run_to_end("run", "-c", file, env={"DATABASE_URL": url, "JWT_SIGNING_KEY": SIGNING_KEY})
    assert done.returncode == 2
    line = config.line_of("${DATABASE_URL}")
    assert re.search(rf"sidecar\.conf:{line}: database\.url .*one @.*write @ as %40", done.stderr), done.stderr


def test_url_file(bare_app, config, make_walpush, tmp_path):
    secret = tmp_path / "url"
    config.remove("database.url")
    config.set("database.url-file", str(secret))
    config.set("database.connect-timeout", 1)
    env = {"JWT_SIGNING_KEY": SIGNING_KEY, "WALPUSH_ADMIN_PORT": str(free_port())}
    for name, url in list(database_urls())[:12] + [("a zero byte", f"postgresql://walpush:12\0{PIECES[0]}@{SERVER}/app")]:
        secret.write_text(url)
        file = config.write(tmp_path / "sidecar.conf")
        for command, said in commands(file, env):
            assert_hidden(said, f"{command}, {name}")
        said = all_that_run_says(make_walpush, bare_app, config, "unused", {})
        assert_hidden(said, f"run, {name}")
    secret.write_text(f"postgresql://walpush:{password('@')}@{SERVER}/app")
    assert "write @ as %40" in all_that_run_says(make_walpush, bare_app, config, "unused", {})


def relay_urls():
    for sign in "@:/?#%&[] ":
        yield sign, f"redis://walpush:{password(sign)}@127.0.0.1:1/0"
        yield f"digits and {sign}", f"redis://walpush:12{sign}{password('x')}@127.0.0.1:1/0"
    yield "all escaped", f"redis://walpush%3A{password('x')}%40127.0.0.1:1"
    yield "as a database", f"redis://127.0.0.1:1/{password('x')}"


def test_relay_url(bare_app, config, make_walpush, tmp_path):
    config.set("database.connect-timeout", 1)
    config.set("relay.url", "${RELAY_URL}")
    nowhere = f"postgresql://walpush@{SERVER}/app"
    for name, url in relay_urls():
        env = {"DATABASE_URL": nowhere, "JWT_SIGNING_KEY": SIGNING_KEY, "WALPUSH_ADMIN_PORT": str(free_port()), "RELAY_URL": url}
        file = config.write(tmp_path / "sidecar.conf")
        for command, said in commands(file, env):
            assert_hidden(said, f"{command}, {name}")
        assert_hidden(all_that_run_says(make_walpush, bare_app, config, nowhere, {"RELAY_URL": url}), f"run, {name}")


class Parrot:
    """A server that repeats in an error what it is told, as some do."""

    def __init__(self, serve):
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.heard = threading.Event()
        threading.Thread(target=self._accept, args=(serve,), daemon=True).start()

    def _accept(self, serve):
        while True:
            try:
                connection, _ = self.sock.accept()
            except OSError:
                return
            with connection:
                serve(self, connection)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()


def redis_parrot(parrot, connection):
    """Redis where AUTH has another name."""
    said = b""
    while chunk := connection.recv(4096):
        said += chunk
        if PIECES[0].encode() in said:
            parrot.heard.set()
            words = b"".join(b"`%s`, " % word for word in said.split(b"\r\n")[4::2] if word)
            connection.sendall(b"-ERR unknown command `AUTH`, with args beginning with: " + words + b"\r\n")
            return


def postgres_parrot(parrot, connection):
    """A proxy that wants the password in clear."""
    connection.recv(4096)
    connection.sendall(b"R" + (8).to_bytes(4, "big") + (3).to_bytes(4, "big"))
    said = connection.recv(4096)[5:].rstrip(b"\0")
    parrot.heard.set()
    error = b"SFATAL\0C28P01\0Mwrong password " + said + b"\0\0"
    connection.sendall(b"E" + (len(error) + 4).to_bytes(4, "big") + error)


def test_a_redis_that_repeats_the_password(app, config, make_walpush, tmp_path):
    with Parrot(redis_parrot) as parrot:
        url = f"redis://walpush:{password('x')}@127.0.0.1:{parrot.port}"
        config.set("relay.url", url)
        walpush = make_walpush(app, config)
        walpush.start(streaming=False)
        line = walpush.wait_for_log("no connection to Redis")
        assert parrot.heard.is_set() and "user or password of relay.url is refused" in line
        done = run_to_end("check", "-c", walpush.file, env=walpush.env)
        said = walpush.log() + done.stdout + done.stderr + http(walpush.admin_port, "/status").body.decode()
        walpush.process.kill()
    assert_hidden(said, "run and check")


def test_a_database_that_repeats_the_password(bare_app, config, make_walpush):
    with Parrot(postgres_parrot) as parrot:
        url = f"postgresql://walpush:{password('x')}@127.0.0.1:{parrot.port}/app?sslmode=disable&gssencmode=disable"
        walpush = make_walpush(bare_app, config, url=url)
        walpush.start(streaming=False)
        walpush.wait_for_log("cannot reach the database.*is not shown")
        assert parrot.heard.is_set()
        done = run_to_end("check", "-c", walpush.file, env=walpush.env)
        said = walpush.log() + done.stdout + done.stderr + http(walpush.admin_port, "/status").body.decode()
        walpush.process.kill()
    assert_hidden(said, "run and check")
