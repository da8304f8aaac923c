"""A throwaway PostgreSQL server: initdb, run, break, remove.

Needs the standard library and psycopg2. The server listens on 127.0.0.1 with passwords (SCRAM), so that roles, grants
and pg_hba count as they do in production; there is no `replication` line in pg_hba, because logical replication does
not need one. The superuser `postgres` comes in through the Unix socket, which lies in a directory that only the
server's user may enter: no password is asked there, because SCRAM costs both sides some milliseconds each time.

    with Cluster() as pg:
        pg.create_database("app")           # with the application's tables
        pg.setup("app")                     # what the DBA does: role, grants, slot
        pg.url("app")                       # postgresql://walpush:…@127.0.0.1:port/app
        pg.kill()                           # as a crash
        pg.start()
"""

import atexit
import base64
import contextlib
import fcntl
import hashlib
import hmac
import os
import pathlib
import pwd
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse

import psycopg2

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
SCHEMA = HERE / "schema.sql"
SAMPLE = HERE / "sample.sql"
SETUP = ROOT / "sql/setup.sql"

SUPERUSER = "postgres"
ROLE = "walpush"  # what sql/setup.sql makes for the sidecar
PATIENCE = 60 * float(os.environ.get("WALPUSH_TEST_SLOWDOWN", "1"))  # seconds for a start or a stop

# What a stop sends: see "Shutting Down the Server" in PostgreSQL's manual.
_STOP = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

# Of memory, in bytes: above it, data that may be lost with the machine lies there.
_MUCH = 12 << 30

# The application's tables and the sidecar's grants are made once, and copied for each database.
_PREPARED = "prepared"
_SERVERS_OWN = ("template0", "template1")

_HBA = """\
local  all  postgres           trust
local  all  all                scram-sha-256
host   all  all  127.0.0.1/32  scram-sha-256
"""


class ClusterError(Exception):
    """The server or psql did not do what was asked; the text says what it printed."""


def is_away(error):
    """Whether it tells of a server that is not there, or not any more; one that ends in the middle of a statement leaves an error without a code."""
    return isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError)) or (
        isinstance(error, psycopg2.DatabaseError) and not error.pgcode
    )


def find_binaries():
    """The newest PostgreSQL that has wal2json; PG_BINDIR names one by hand."""
    if "PG_BINDIR" in os.environ:
        return pathlib.Path(os.environ["PG_BINDIR"])
    found = [
        lib.parent.parent / "bin"
        for lib in pathlib.Path("/usr/lib/postgresql").glob("*/lib/wal2json.so")
        if (lib.parent.parent / "bin/initdb").exists()
    ]
    if not found:
        raise ClusterError("no PostgreSQL with wal2json under /usr/lib/postgresql; `make deps-test` installs it")
    return max(found, key=lambda directory: [int(part) for part in directory.parent.name.split(".")])


class _Ports:
    """Ports of 127.0.0.1 that belong to this process until it ends. The system gives none of them to a client, because they lie below its
    range, and no other process that asks here gets one, because each is a byte of a file with a lock on it."""

    FIRST = 10000

    def __init__(self):
        self._file = None
        self._mine = set()

    def take(self):
        if not self._file:
            self._file = open(pathlib.Path(tempfile.gettempdir()) / f"walpush-ports-{os.getuid()}", "ab")
        clients = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
        end = max(clients, self.FIRST + 10000)
        for _ in range(10000):
            port = random.randrange(self.FIRST, end)
            if port not in self._mine and self._lock(port):
                self._mine.add(port)
                if self._is_free(port):
                    return port
        raise ClusterError(f"no free port from {self.FIRST} to {end - 1}")

    def _lock(self, port):
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            return False
        return True

    @staticmethod
    def _is_free(port):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                return False
        return True


free_port = _Ports().take


class Cluster:
    """One server in one temporary directory. `settings` go into postgresql.conf, values as PostgreSQL reads them. Without `fsync` its data
    may be lost with the machine, and lies in memory if there is room."""

    def __init__(self, settings=None, fsync=True, allow_wal2json=True):
        self.bin = find_binaries()
        self.port = free_port()
        self.passwords = {SUPERUSER: secrets.token_hex(16)}
        self.process = None
        self._prepared = False
        self._drop_to = pwd.getpwnam(SUPERUSER) if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="walpush-pg-", dir=None if fsync else _memory()))
        atexit.register(self.remove)
        if self._drop_to:
            os.chown(self.directory, self._drop_to.pw_uid, self._drop_to.pw_gid)
        self.data = self.directory / "data"
        self.log_file = self.directory / "log"
        self._initdb()
        self._configure(settings or {}, fsync, allow_wal2json)

    def __enter__(self):
        if not self.running:
            self.start()
        return self

    def __exit__(self, *_):
        self.remove()

    # --- making --------------------------------------------------------------------------------------------------

    def command(self, program, *args):
        """The command line that runs a server program as the user who owns the data."""
        command = [str(self.bin / program), *map(str, args)]
        if self._drop_to:
            who = [f"--reuid={self._drop_to.pw_uid}", f"--regid={self._drop_to.pw_gid}", "--init-groups"]
            command = ["setpriv", *who, "--", *command]
        return command

    def _initdb(self):
        password = self.directory / "password"
        self._write(password, self.passwords[SUPERUSER])
        # The C locale exists everywhere, sorts by bytes and keeps the server's messages in English. PostgreSQL 13 keeps an md5 of the
        # password unless it is told that SCRAM will ask for it.
        how = ["--username", SUPERUSER, "--pwfile", password, "--auth=scram-sha-256"]
        how += ["--encoding=UTF8", "--locale=C", "--no-sync"]
        done = subprocess.run(
            self.command("initdb", "-D", self.data, *how),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ClusterError("initdb failed:\n" + done.stdout + done.stderr)
        password.unlink()

    def _configure(self, settings, fsync, allow_wal2json):
        lines = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.directory,
            "wal_level": "logical",
            "max_replication_slots": 10,
            "max_wal_senders": 10,
            "max_prepared_transactions": 10,
            "password_encryption": "scram-sha-256",
            "fsync": "on" if fsync else "off",
            "logging_collector": "off",
        }
        # Only newer minor versions know this setting, and the others do not start with it.
        if allow_wal2json and self.knows("output_plugin_libraries"):
            lines["output_plugin_libraries"] = "pgoutput, test_decoding, wal2json"
        lines.update(settings)
        text = "".join(f"{name} = '{str(value).replace(chr(39), chr(39) * 2)}'\n" for name, value in lines.items())
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as conf:
            conf.write("\n" + text)
        self._write(self.data / "pg_hba.conf", _HBA)

    @property
    def hba(self):
        """The text of pg_hba.conf; what is set counts after reload()."""
        return (self.data / "pg_hba.conf").read_text(encoding="utf-8")

    @hba.setter
    def hba(self, text):
        self._write(self.data / "pg_hba.conf", text)

    def _write(self, file, text):
        file.write_text(text, encoding="utf-8")
        file.chmod(0o600)
        if self._drop_to:
            os.chown(file, self._drop_to.pw_uid, self._drop_to.pw_gid)

    def knows(self, setting):
        """Whether this version of the server has the setting; the server need not run."""
        command = self.command("postgres", "--describe-config")
        text = subprocess.run(command, cwd=self.directory, capture_output=True, text=True, check=True).stdout
        return any(line.split("\t", 1)[0] == setting for line in text.splitlines())

    # --- life ----------------------------------------------------------------------------------------------------

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def start(self, state="ready"):
        """Starts the server and returns when it takes connections; or reaches "standby", in which it may take none."""
        assert not self.running, "the server runs already"
        with open(self.log_file, "ab") as log:
            # A session of its own: Ctrl-C in the terminal is for us, and we stop the server when we are done with it.
            self.process = subprocess.Popen(
                self.command("postgres", "-D", self.data),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._until(lambda: self._state() == state, "did not start")
        return self

    def _state(self):
        """The server itself writes in its pid file when it is ready; pg_ctl looks at the same line."""
        if not self.running:
            raise ClusterError("PostgreSQL ended at start; its log:\n" + self.log())
        try:
            lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return None
        # A crash leaves the file behind: its pid tells the old one from ours.
        return lines[7].strip() if len(lines) >= 8 and int(lines[0]) == self.process.pid else None

    def stop(self, mode="fast", timeout=None):
        """Stops the server: "smart" waits for clients to go, "fast" ends them, "immediate" skips the checkpoint."""
        if self.running:
            self.begin_stop(mode)
            self.wait(timeout)

    def begin_stop(self, mode="fast"):
        """Asks the server to stop and returns at once."""
        self.process.send_signal(_STOP[mode])

    def wait(self, timeout=None):
        """Returns when the server has ended."""
        try:
            self.process.wait(timeout or PATIENCE)
        except subprocess.TimeoutExpired:
            raise ClusterError("PostgreSQL did not stop; its log:\n" + self.log()) from None

    def restart(self, mode="fast"):
        self.stop(mode)
        return self.start()

    def reload(self):
        """Has the server read its configuration again; it does so when it gets round to it."""
        self.process.send_signal(signal.SIGHUP)

    def be_standby(self):
        """What it is from the next start on, until it is promoted."""
        self._write(self.data / "standby.signal", "")

    def promote(self):
        """Makes a standby that takes no connections a primary; returns when it takes them."""
        self._write(self.data / "promote", "")
        self.process.send_signal(signal.SIGUSR1)
        self._until(lambda: self._state() == "ready", "was not promoted")

    @contextlib.contextmanager
    def without_its_standby(self):
        """Commits wait for a standby that is not there, and nobody sees them. Without an end of it, not even a database could be dropped."""
        self.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        self.reload()
        try:
            yield
        finally:
            self.sql("ALTER SYSTEM RESET synchronous_standby_names")
            self.reload()

    def kill(self):
        """Ends the server and all its processes as a crash would, and returns when none is left."""
        children = _children(self.process.pid)
        self.process.kill()
        self.process.wait()
        for child in children:
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it noticed the postmaster's death by itself
        # A new server would find the shared memory still in use.
        self._until(lambda: not any(_alive(child) for child in children), "left processes behind")

    def remove(self):
        """Stops the server without ceremony and deletes its directory. May be called again."""
        if self.running:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
        atexit.unregister(self.remove)

    def _until(self, reached, failure):
        deadline = time.monotonic() + PATIENCE
        while not reached():
            if time.monotonic() > deadline:
                raise ClusterError(f"PostgreSQL {failure} in {PATIENCE:.0f} s; its log:\n" + self.log())
            time.sleep(0.01)

    def log(self):
        """All that the server has logged so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    # --- use -----------------------------------------------------------------------------------------------------

    def url(self, dbname, user=ROLE):
        """Over TCP, with the password that setup() or add_role() gave the role."""
        quote = urllib.parse.quote
        return f"postgresql://{quote(user)}:{quote(self.passwords[user])}@127.0.0.1:{self.port}/{quote(dbname)}"

    def connect(self, dbname="postgres", user=SUPERUSER, autocommit=True, **options):
        """A psycopg2 connection. With autocommit each statement is a transaction, unless it says BEGIN."""
        if user == SUPERUSER:
            options = {"host": str(self.directory), "password": self.passwords[user], **options}
            connection = psycopg2.connect(dbname=dbname, user=user, port=self.port, **options)
        else:
            connection = psycopg2.connect(self.url(dbname, user), **options)
        if autocommit:
            connection.autocommit = True
        return connection

    def sql(self, text, args=None, dbname="postgres"):
        """Runs one statement as superuser; the rows, if it returns some."""
        connection = self.connect(dbname)
        try:
            with connection.cursor() as cursor:
                cursor.execute(text, args)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def end_sessions(self, where, *args):
        """Ends those of pg_stat_activity, and returns when they are gone. From PostgreSQL 14 on pg_terminate_backend could wait itself."""
        ended = self.sql(f"SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE {where}", args)
        pids = [pid for pid, _ in ended]
        gone = "SELECT 1 FROM pg_stat_activity WHERE pid = ANY (%s)"
        self._until(lambda: not self.sql(gone, [pids]), "did not end a session")

    def psql(self, script, variables=None, dbname="postgres", user=SUPERUSER):
        """Runs a file, as a DBA would; what it printed. ClusterError at the first statement that fails."""
        command = [str(self.bin / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(script)]
        for name, value in (variables or {}).items():
            command += ["-v", f"{name}={value}"]
        env = dict(os.environ, PGHOST=str(self.directory), PGPORT=str(self.port), PGDATABASE=dbname, PGUSER=user)
        env["PGPASSWORD"] = self.passwords[user]
        done = subprocess.run(
            command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        if done.returncode != 0:
            raise ClusterError(f"{script} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def setup(self, dbname, slot="walpush", role=ROLE, script=SETUP):
        """What the DBA does: sql/setup.sql, or what `walpush sql` prints for another configuration. The role's password is
        made up and remembered for url()."""
        password = self.passwords.setdefault(role, secrets.token_hex(16))
        return self.psql(script, {"role": role, "slot": slot, "password": password}, dbname)

    def add_role(self, name, options="LOGIN"):
        """Creates a role with a made-up password. `options` is SQL, from the test."""
        password = self.passwords[name] = secrets.token_hex(16)
        self.sql(f'CREATE ROLE "{name}" {options} PASSWORD %s', [password])

    def create_database(self, name, schema=True, sample=False):
        """A new database. With the schema, the sidecar's role may use it, and what is missing is only the slot."""
        if schema and not self._prepared:
            self.copy_database(_PREPARED, "template1")
            self.psql(SCHEMA, dbname=_PREPARED)
            self.setup(_PREPARED, slot="")
            self.sql(f"ALTER ROLE {ROLE} PASSWORD %s", [_quick_secret(self.passwords[ROLE])])
            self._prepared = True
        self.copy_database(name, _PREPARED if schema else "template0")
        if sample:
            self.psql(SAMPLE, dbname=name)

    def copy_database(self, name, template):
        """A database like another, to which nobody may be connected. One of the server's own is made as 15 and later have it: before, everybody
        could create in `public`, of which `walpush check` warns."""
        self.sql(f'CREATE DATABASE "{name}" TEMPLATE {template}')
        if template in _SERVERS_OWN and int(self.sql("SHOW server_version_num")[0][0]) < 150000:
            self.sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC", dbname=name)

    def drop(self, name):
        """Drops a database with its slots, ending who uses them."""
        for slot, pid in self.sql("SELECT slot_name, active_pid FROM pg_replication_slots WHERE database = %s", [name]):
            if pid:
                self.end_sessions("pid = %s", pid)
            self.sql("SELECT pg_drop_replication_slot(%s)", [slot])
        self.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _memory():
    """A directory in memory, if there is much of it: a database is a thousand files, and a disk remembers for seconds which it has deleted."""
    shared = pathlib.Path("/dev/shm")
    if not shared.is_dir():
        return None
    room = os.statvfs(shared)
    available = int(re.search(r"MemAvailable: *(\d+) kB", pathlib.Path("/proc/meminfo").read_text(encoding="ascii")).group(1)) * 1024
    return shared if min(room.f_bavail * room.f_frsize, available) >= _MUCH else None


def _quick_secret(password):
    """What the server keeps of a password, with one round of hashing where it would take 4,096: each session costs both sides as many."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 1)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    encoded = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return "SCRAM-SHA-256$1:{}${}:{}".format(*encoded)


def _children(parent):
    """The direct children of a process. PostgreSQL's processes are all children of the postmaster."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            stat = _stat(int(entry.name))
            if stat and int(stat[1]) == parent:
                found.append(int(entry.name))
    return found


def _alive(pid):
    """A zombie is not: where nobody reaps (a container without init) it stays for ever."""
    stat = _stat(pid)
    return stat is not None and stat[0] not in "ZX"


def _stat(pid):
    """State, parent and so on, from behind the name, which may hold spaces and parentheses."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return text.rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
