#!/usr/bin/python3
"""`make demo`: the whole application, live, on this machine.

Starts a throwaway PostgreSQL, the Django backend with sample rows and the built frontend, and walpush with the shipped
sidecar.conf; prints where to look and who to be. Ctrl-C ends everything and leaves nothing behind.

From the environment:
    DEMO_PORT, WALPUSH_LISTEN_PORT, WALPUSH_ADMIN_PORT    default 8000, 8001 and 8002, or any that are free
    DEMO_ORIGINS                                          further origins of pages that walpush admits
    DEMO_MINUTES                                          end after so many minutes
"""

import contextlib
import os
import pathlib
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy"))

from throwaway.cluster import Cluster, ClusterError, free_port  # noqa: E402
from throwaway.config import Config  # noqa: E402

BACKEND = ROOT / "deploy/demo/backend"
FRONTEND = ROOT / "deploy/demo/frontend/dist"
PYTHON = ROOT / "build/venv/bin/python"
WALPUSH = pathlib.Path(os.environ.get("WALPUSH_BINARY", ROOT / "build/walpush")).absolute()
ROLE = "docstore"
PASSWORD = "walpush-demo"
PATIENCE = 60 * float(os.environ.get("WALPUSH_TEST_SLOWDOWN", "1"))  # seconds for a start or a stop


class Trouble(Exception):
    """Something that the person at the terminal must know; the text is for them."""


class Service:
    """A program that serves HTTP. It may be ended and started again, on the same port and with the same log."""

    def __init__(self, name, command, env, ready_url, log_file, cwd=None):
        self.name = name
        self.command = [str(word) for word in command]
        self.env = env
        self.ready_url = ready_url
        self.log_file = log_file
        self.cwd = cwd
        self.process = None

    def start(self):
        """Returns when it answers its readiness URL with 200."""
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.cwd,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us; we end it in order
            )
        deadline = time.monotonic() + PATIENCE
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Trouble(f"{self.name} did not start; the end of its log:\n{self.log()[-3000:]}")
            time.sleep(0.05)
        return self

    def _ready(self):
        try:
            with urllib.request.urlopen(self.ready_url, timeout=2) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, number=signal.SIGTERM):
        if not self.running:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self):
        """As a crash: the program and whatever it started."""
        if self.running:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def log(self):
        return self.log_file.read_text(encoding="utf-8", errors="replace")


class Demo:
    """Everything, from start to end. A context manager; the parts may be ended and started in between."""

    def __init__(self, ports=None, access_seconds=900, websocket_url=None):
        self.page, self.live, self.admin = ports or (free_port(), free_port(), free_port())
        self.access_seconds = access_seconds
        self.websocket_url = websocket_url or f"ws://127.0.0.1:{self.live}"
        self._stack = contextlib.ExitStack()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.page}"

    def __enter__(self):
        with self._stack:
            self.directory = pathlib.Path(tempfile.mkdtemp(prefix="walpush-demo-"))
            self._stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
            self.cluster = self._stack.enter_context(Cluster(fsync=False))
            self._make_database()
            self.walpush = self._service("walpush", *self._walpush())
            self.backend = self._service("backend", *self._backend())
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _service(self, name, command, env, ready_url, cwd=None):
        service = Service(name, command, env, ready_url, self.directory / f"{name}.log", cwd)
        self._stack.callback(service.stop)
        return service.start()

    def _make_database(self):
        self.cluster.add_role(ROLE)
        self.cluster.sql(f"CREATE DATABASE {ROLE} OWNER {ROLE} TEMPLATE template0")
        self.key = secrets.token_hex(32)
        self.backend_env = dict(
            os.environ,
            DATABASE_URL=self.cluster.url(ROLE, ROLE),
            SECRET_KEY=secrets.token_hex(32),
            JWT_SIGNING_KEY=self.key,
            SEED_PASSWORD=PASSWORD,
            BIND=f"127.0.0.1:{self.page}",
            WEBSOCKET_URL=self.websocket_url,
            FRONTEND_DIR=str(FRONTEND),
            ACCESS_TOKEN_SECONDS=str(self.access_seconds),
        )
        for command in (["migrate", "--verbosity=0", "--run-syncdb"], ["seed"]):
            done = subprocess.run(
                [PYTHON, "manage.py", *command],
                cwd=BACKEND,
                env=self.backend_env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise Trouble(f"manage.py {command[0]} failed:\n{done.stdout}{done.stderr}")
        self.cluster.setup(ROLE)

    def _walpush(self):
        origins = [f"http://{host}:{self.page}" for host in ("127.0.0.1", "localhost")]
        config = Config((ROOT / "sidecar.conf").read_text(encoding="utf-8"))
        config.set("listen.origins", origins + os.environ.get("DEMO_ORIGINS", "").split())
        file = config.write(self.directory / "sidecar.conf")
        env = dict(
            os.environ,
            DATABASE_URL=self.cluster.url(ROLE),
            JWT_SIGNING_KEY=self.key,
            WALPUSH_LISTEN_ADDRESS="127.0.0.1",
            WALPUSH_LISTEN_PORT=str(self.live),
            WALPUSH_ADMIN_PORT=str(self.admin),
        )
        return [WALPUSH, "run", "-c", file], env, f"http://127.0.0.1:{self.admin}/readyz"

    def _backend(self):
        command = [PYTHON, "-m", "gunicorn", "-c", BACKEND / "gunicorn.conf.py", "docstore.wsgi"]
        return command, self.backend_env, f"{self.address}/api/config/", BACKEND


# ---- At the terminal ---------------------------------------------------------------------------------------------------


def port_for(variable, preferred):
    if os.environ.get(variable):
        return int(os.environ[variable])
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", preferred))
        except OSError:
            return free_port()
    return preferred


WELCOME = """
  {address}      the application; two windows, two people
  http://127.0.0.1:{admin}/            walpush itself

  asha    User          North Plant        ravi    Section Head   North Plant: approves
  bob     User          South Plant        meena   Store Head     North Plant: issues, allocates, relocates
  dora    User          both               sam     System Admin   every unit

  Everybody's password is {password}. Whatever changes a row is seen at once, psql as well:

  . {env} && psql "$DEMO_DATABASE" -c "UPDATE requests SET status = 'Approved' WHERE status = 'Pending'"

Ctrl-C ends it.
"""


def run():
    for what, where, fix in (
        ("walpush", WALPUSH, "make"),
        ("the Python environment", PYTHON, "make demo-deps"),
        ("the frontend", FRONTEND / "index.html", "make demo"),
    ):
        if not where.exists():
            raise Trouble(f"{what} is not built ({where}): {fix}")
    ports = [
        port_for(name, at)
        for name, at in (("DEMO_PORT", 8000), ("WALPUSH_LISTEN_PORT", 8001), ("WALPUSH_ADMIN_PORT", 8002))
    ]
    print("starting PostgreSQL, the backend and walpush …", flush=True)
    with Demo(ports) as demo:
        env = demo.directory / "env"  # with the database's password, which is not printed
        env.write_text(f"DEMO_DATABASE={shlex.quote(demo.cluster.url(ROLE, ROLE))}\n", encoding="utf-8")
        print(WELCOME.format(address=demo.address, admin=demo.admin, password=PASSWORD, env=env), flush=True)
        end = time.monotonic() + 60 * float(os.environ.get("DEMO_MINUTES") or "inf")
        while time.monotonic() < end:
            for service in (demo.backend, demo.walpush):
                if not service.running:
                    raise Trouble(f"{service.name} has ended; the end of its log:\n{service.log()[-3000:]}")
            time.sleep(0.5)


def main():
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    try:
        run()
    except KeyboardInterrupt:
        print("\nended; nothing is left behind")
    except (Trouble, ClusterError) as trouble:
        print(f"walpush: {trouble}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
