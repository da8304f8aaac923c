"""A walpush process under test: its configuration, its log, its end.

WALPUSH_BINARY names the program (default build/dev/walpush). Nothing here sleeps: tests wait for lines of the log,
for messages, or for the process's end.
"""

import os
import pathlib
import re
import signal
import subprocess
import threading
import time

import jwt

from harness.client import PATIENCE, Client, Refused, http
from throwaway.cluster import free_port
from throwaway.config import Config

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("WALPUSH_BINARY", ROOT / "build/dev/walpush")).absolute()
SANITIZED = BINARY.parent.name in ("asan", "tsan")
SHIPPED = ROOT / "sidecar.conf"

SIGNING_KEY = "key-for-tests-that-must-never-be-logged"
# Stands in the text columns that tests write; the log must never hold it.
ROW_MARK = "fertile-otter"

SANITIZER_REPORTS = (
    "AddressSanitizer",
    "LeakSanitizer",
    "ThreadSanitizer",
    "UndefinedBehaviorSanitizer",
    "runtime error:",
    "Assertion `",
)

LIVE = r'msg="?live"?( |$)'

_FIELD = re.compile(r'([\w.-]+)=("(?:\\.|[^"\\])*"|\S*)')


def shipped_config():
    """The file users get: a test process gets its ports from the environment, as in a container. A test's client answers pings only
    while the test reads from it, and on a busy machine that may be too late; so there are none, unless a test is about them."""
    return Config(SHIPPED.read_text()).set("listen.ping", 3600)


def patient(config, seconds=300):
    """Queries may run for as long as a test lets them, and wait for a lock that the test holds."""
    return config.set("database.statement-timeout", seconds).set("database.lock-timeout", seconds - 1)


def unhurried(config):
    """On a busy machine an answer of the database may be late, and a test would see a `resync`. A test about that says how late it may be."""
    return config if config.get("limits.answer") else config.set("limits.answer", 300)


def token(user, key=SIGNING_KEY, algorithm="HS256", **claims):
    """What Django SimpleJWT would issue; a claim given as None is left out."""
    now = int(time.time())
    body = {"token_type": "access", "exp": now + 900, "iat": now, "jti": os.urandom(16).hex(), "user_id": user}
    body.update(claims)
    return jwt.encode({k: v for k, v in body.items() if v is not None}, key, algorithm=algorithm)


def fields_of(line):
    """The fields of a logfmt line."""
    return {k: v[1:-1].replace('\\"', '"') if v.startswith('"') else v for k, v in _FIELD.findall(line)}


def unchecked(config):
    """The checks beside it would look at each server that a test breaks. A test about them says when they are made."""
    return config if config.get("admin.check-interval") is not None else config.set("admin.check-interval", 0)


class Walpush:
    """`walpush run`, from start to stop. As a context manager it is stopped, and its end checked, on the way out."""

    def __init__(self, config, directory, app, url=None, env=None, files=None, under=()):
        self.config = unchecked(unhurried(config))
        self.file = config.write(pathlib.Path(directory) / "sidecar.conf")
        self.admin_port = free_port()
        url = url or app.url
        self.env = self._environment(DATABASE_URL=url, WALPUSH_SLOT=app.slot, **(env or {}))
        self.secrets = [SIGNING_KEY, ROW_MARK, *re.findall(r"://[^:/@]*:([^@]+)@", url)]
        self.lines = []
        self.port = None
        self._changed = threading.Condition()
        self.process = None
        self.tls = None  # the context of clients, once a certificate is configured
        self._files = files  # the limit of open files that it is started with
        self._under = under  # the command that runs it

    def _environment(self, **more):
        values = dict(
            os.environ,
            JWT_SIGNING_KEY=SIGNING_KEY,
            WALPUSH_LISTEN_ADDRESS="127.0.0.1",
            WALPUSH_LISTEN_PORT="0",
            WALPUSH_ADMIN_ADDRESS="127.0.0.1",
            WALPUSH_ADMIN_PORT=str(self.admin_port),
        )
        values.update(more)
        return values

    def __enter__(self):
        return self if self.process else self.start()

    def __exit__(self, kind, *_):
        if kind is not None:
            self._end_now()
            print(self.log())
        elif self.process.poll() is None:
            self.stop()

    def spawn(self):
        """Starts the process and returns at once."""
        self.process = subprocess.Popen(
            [*self._limited(), str(BINARY), "run", "-c", str(self.file)],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        return self

    def _limited(self):
        limit = ["prlimit", f"--nofile={self._files}:{self._files}"] if self._files else []
        return [*limit, *map(str, self._under)]

    def start(self, streaming=True):
        """Starts the process and waits until it listens, and unless told otherwise until it streams and has caught up: before that nobody
        is admitted, and a test that holds up the log would wait for its own end."""
        mark = len(self.lines)
        self.spawn()
        self.port = int(fields_of(self.wait_for_log(r'msg="?listening"?( |$)', since=mark))["port"])
        if streaming:
            self.wait_for_log(LIVE, since=mark)
        return self

    # --- the log ---------------------------------------------------------------------------------------------

    def _read(self, pipe):
        for line in pipe:
            with self._changed:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def mark(self):
        """A place in the log, for wait_for_log's `since`."""
        return len(self.lines)

    def wait_for_log(self, pattern, since=0, timeout=None):
        """The first line from `since` on that the regular expression finds."""
        deadline = time.monotonic() + (timeout or PATIENCE)
        wanted = re.compile(pattern)
        at = since
        with self._changed:
            while True:
                for at in range(at, len(self.lines)):
                    if wanted.search(self.lines[at]):
                        return self.lines[at]
                at = len(self.lines)
                left = deadline - time.monotonic()
                if left <= 0 or not self._reader.is_alive() and at == len(self.lines):
                    break
                self._changed.wait(min(left, 0.5))
        raise AssertionError(f"no log line matches {pattern!r}; the log from there on:\n" + "\n".join(self.lines[since:]))

    def log(self, since=0):
        return "\n".join(self.lines[since:])

    # --- as a client -----------------------------------------------------------------------------------------

    def token(self, user, **claims):
        """A token, remembered as something that must not be logged."""
        text = token(user, **claims)
        self.secrets.append(text)
        return text

    def connect(self, path, user, **how):
        """A client whose first message is still to be read."""
        return Client(self.port, path, token=self.token(user), **{"tls": self.tls, **how})

    def subscribe(self, path, user, **how):
        """A client that has been admitted."""
        client = self.connect(path, user, **how)
        client.hello = client.established()
        return client

    def wait_for_room(self, path, user, **how):
        """A client that is let in as soon as the process has noticed that another one left."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self.subscribe(path, user, **how)
            except Refused as refused:
                assert refused.status == 503 and time.monotonic() < deadline, refused

    def metric(self, name):
        """The value of one line of /metrics, named with its labels, or without them the sum; 0 if there is none yet."""
        lines = self.admin("/metrics").body.decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if re.match(re.escape(name) + "[ {]", line))

    def admin(self, path):
        return http(self.admin_port, path)

    # --- signals, memory, the end ----------------------------------------------------------------------------

    def send_signal(self, number):
        self.process.send_signal(number)

    def rss(self):
        """Resident memory in bytes."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", text).group(1)) * 1024

    def peak_rss(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", text).group(1)) * 1024

    def wait(self, timeout=None):
        """The exit status, once all of the log is read."""
        status = self.process.wait(timeout or PATIENCE)
        self._reader.join(PATIENCE)
        return status

    def stop(self, number=signal.SIGTERM, status=0):
        """Asks the process to end, and checks how it does."""
        self.send_signal(number)
        try:
            got = self.wait()
        except subprocess.TimeoutExpired:
            self._end_now()
            raise AssertionError("walpush did not end; its log:\n" + self.log()) from None
        self.check_log()
        assert got == status, f"exit status {got}, expected {status}; the log:\n{self.log()}"

    def kill(self):
        """As a crash: no goodbye."""
        self._end_now()
        self.check_log()

    def _end_now(self):
        if self.process.poll() is None:
            self.process.kill()
        self.wait()

    def check_log(self):
        log = self.log()
        for report in SANITIZER_REPORTS:
            assert report not in log, log
        for secret in self.secrets:
            assert secret not in log, "a secret or row data stands in the log:\n" + log


def run_to_end(*args, env=None, timeout=None, stdin=None):
    """Runs `walpush ARGS` until it ends; CompletedProcess with texts."""
    done = subprocess.run(
        [str(BINARY), *map(str, args)],
        env=dict(os.environ, **(env or {})),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout or PATIENCE,
        check=False,
    )
    for report in SANITIZER_REPORTS:
        assert report not in done.stderr, done.stderr
    return done
