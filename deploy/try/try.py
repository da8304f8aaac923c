#!/usr/bin/python3
"""`make run`: walpush at work, in one terminal.

Starts a throwaway PostgreSQL with the application's tables and sample rows, sets it up as a DBA would, starts walpush
with the shipped sidecar.conf, keeps changing requests, and shows what a subscriber of unit 1 receives. Ctrl-C ends
everything and leaves nothing behind.

From the environment:
    DATABASE_URL      use this database instead: it must be set up (sql/setup.sql), and nothing is written into it
    JWT_SIGNING_KEY   default: a new one
    TRY_USER          whose token subscribes; default 2 (asha, of unit 1), in your own database a superuser
    TRY_PATH          where; default /ws/requests/1/
    TRY_MESSAGES      end after so many messages
    WALPUSH_LISTEN_PORT, WALPUSH_ADMIN_PORT   default 8001 and 8002, or any that are free
"""

import collections
import contextlib
import json
import os
import pathlib
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy"))

import psycopg2  # noqa: E402
from throwaway.cluster import Cluster, ClusterError, free_port  # noqa: E402

WALPUSH = ROOT / "build/walpush"
CONFIG = ROOT / "sidecar.conf"
PATIENCE = 30  # seconds until walpush must listen and stream

BOLD, DIM, GREEN, RESET = ("\033[1m", "\033[2m", "\033[32m", "\033[0m") if sys.stdout.isatty() else ("",) * 4


class Trouble(Exception):
    """Something that the person at the terminal must know; the text is for them."""


# ---- The application: what its users do to the requests of unit 1 ----------------------------------------------------

ASHA, RAVI, MEENA = 2, 3, 4  # User, Section Head and Store Head of unit 1, in deploy/throwaway/sample.sql

LIFE_OF_A_REQUEST = [
    [
        "UPDATE requests SET status = 'Approved', approved_by_id = %(ravi)s, approval_date = now(), updated_at = now()"
        " WHERE id = %(request)s"
    ],
    [
        "UPDATE requests SET status = 'Issued', issued_by_id = %(meena)s, issue_date = now(), updated_at = now()"
        " WHERE id = %(request)s",
        "UPDATE crates SET status = 'Withdrawn' WHERE id = %(crate)s",
    ],
    [
        "UPDATE requests SET status = 'Returned', return_date = now(), updated_at = now() WHERE id = %(request)s",
        "UPDATE crates SET status = 'Active' WHERE id = %(crate)s",
    ],
]
NEW_REQUEST = (
    "INSERT INTO requests (request_type, crate_id, unit_id, withdrawn_by_id, purpose)"
    " VALUES ('Withdrawal', %(crate)s, 1, %(asha)s, 'Tax audit') RETURNING id"
)


class Application(threading.Thread):
    """Changes a request every `pace` seconds until told to stop. `committing` is when the last COMMIT was sent."""

    def __init__(self, url, pace):
        super().__init__(daemon=True)
        self.connection = psycopg2.connect(url)
        self.pace = pace
        self.committing = None
        self._enough = threading.Event()

    def run(self):
        with contextlib.suppress(psycopg2.Error):  # the database went away: we are being taken down
            request = crate = 1
            while True:
                for statements in LIFE_OF_A_REQUEST:
                    self._commit(statements, request, crate)
                    if self._enough.wait(self.pace):
                        return
                crate = crate % 3 + 1
                request = self._commit([NEW_REQUEST], None, crate)
                if self._enough.wait(self.pace):
                    return

    def _commit(self, statements, request, crate):
        with self.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(
                    statement, {"request": request, "crate": crate, "asha": ASHA, "ravi": RAVI, "meena": MEENA}
                )
            row = cursor.fetchone() if cursor.description else None
        self.committing = time.time()
        self.connection.commit()
        return row and row[0]

    def stop(self):
        self._enough.set()
        if self.is_alive():
            self.join(5)
        self.connection.close()


# ---- walpush, and a subscriber ---------------------------------------------------------------------------------------


class Sidecar:
    """`walpush run`; its log goes to a file and its last lines are kept for when something is wrong."""

    def __init__(self, env, log_file):
        self.last = collections.deque(maxlen=20)
        self._events = set()
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            [WALPUSH, "run", "-c", CONFIG],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C is for us; we end it in order
        )
        self._reader = threading.Thread(target=self._read, args=(log_file,), daemon=True)
        self._reader.start()

    def _read(self, log_file):
        with open(log_file, "w", encoding="utf-8") as log:
            for line in self.process.stderr:
                log.write(line)
                log.flush()
                event = re.search(r'msg="?([\w ]+)', line)
                with self._changed:
                    self.last.append(line)
                    if event:
                        self._events.add(event.group(1).split()[0])
                    self._changed.notify_all()

    def wait_for(self, *events):
        """Returns when its log has told all of these."""
        deadline = time.monotonic() + PATIENCE
        with self._changed:
            while not self._events.issuperset(events):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    wanted = " and ".join(events)
                    raise Trouble(f"walpush did not get as far as {wanted}. Its log:\n" + "".join(self.last))
                self._changed.wait(0.2)

    def stop(self):
        end(self.process)
        self._reader.join(5)


def subscribe(env, user, path):
    return subprocess.Popen(
        [WALPUSH, "listen", "-c", CONFIG, "--user", str(user), path],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def end(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# ---- What is shown ---------------------------------------------------------------------------------------------------


def show_header(env, env_file, user, path, throwaway):
    what = "a throwaway PostgreSQL" if throwaway else "the database in DATABASE_URL"
    base = f"127.0.0.1:{env['WALPUSH_LISTEN_PORT']}"
    walpush = os.path.relpath(WALPUSH)
    config = os.path.relpath(CONFIG)
    start = f". {shlex.quote(str(env_file))} &&"
    print(f"\n{BOLD}walpush pushes the changes of {what}.{RESET}\n")
    print(f"  WebSocket  ws://{base}{path}?token=…")
    print(f"  status     http://127.0.0.1:{env['WALPUSH_ADMIN_PORT']}/\n")
    print("In another terminal, here:\n")
    print(f"  {start} {walpush} listen -c {config} --user {user} {path}")
    print(f"  {start} {walpush} token -c {config} --user {user}")
    if throwaway:
        print(f"  {start} psql \"$TRY_DATABASE\" -c \"UPDATE requests SET status = 'Rejected' WHERE id = 2\"")
    print(f"\nWhat user {user} receives on {path} (Ctrl-C ends):\n", flush=True)


def show(message, committing):
    now = time.time()
    clock = time.strftime("%H:%M:%S", time.localtime(now))
    kind = message.get("type", "?")
    if "action" not in message:
        print(f"  {clock}  {DIM}{kind}{RESET}", flush=True)
        return
    key = next((f"{name[:-3]} {value}" for name, value in message.items() if name.endswith("_id")), "")
    who = f"by {message['updated_by']}" if message.get("updated_by") else ""
    what = f"{message['action']:<10} {key:<12} {message.get('status', ''):<10} {who:<10}"
    text = f"  {clock}  {GREEN}{kind:<16}{RESET} {what}"
    if committing and now - committing < 1:
        text += f" {DIM}{(now - committing) * 1000:.1f} ms after COMMIT{RESET}"
    print(text, flush=True)


def show_all(listener, application, sidecar, wanted):
    """Until `wanted` messages have come (None: for ever). The first is shown in full as well."""
    seen = 0
    for line in listener.stdout:
        message = json.loads(line)
        show(message, application and application.committing)
        if application and not application.is_alive():
            application.start()  # now that somebody listens
        if "action" in message:
            seen += 1
            if seen == 1:
                print(DIM + re.sub("^", "    ", json.dumps(message, ensure_ascii=False, indent=2), flags=re.M) + RESET)
            if seen == wanted:
                return
    listener.wait()
    raise Trouble("the subscription ended. walpush's log:\n" + "".join(sidecar.last))


# ---- Putting it together ---------------------------------------------------------------------------------------------


def port_for(variable, preferred):
    if os.environ.get(variable):
        return os.environ[variable]
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", preferred))
        except OSError:
            return str(free_port())
    return str(preferred)


def throwaway_database(stack):
    print("starting a throwaway PostgreSQL …", flush=True)
    cluster = stack.enter_context(Cluster(fsync=False))
    cluster.create_database("archive", sample=True)
    cluster.setup("archive")
    return cluster.url("archive"), cluster.url("archive", "postgres")


def check_database(url, slot):
    """That the database in DATABASE_URL is ready, before walpush is started on it. Returns a user who may see all."""
    try:
        connection = psycopg2.connect(url)
    except psycopg2.OperationalError as error:
        raise Trouble(f"DATABASE_URL: {error}") from None
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT active FROM pg_replication_slots WHERE slot_name = %s", [slot])
        found = cursor.fetchone()
        if not found:
            raise Trouble(
                f"this database has no slot {slot!r}. As its DBA:  psql -d … -v slot={slot} -f sql/setup.sql"
            )
        if found[0]:
            raise Trouble(f"slot {slot!r} is read already, by another walpush: only one can")
        try:
            cursor.execute("SELECT id FROM users WHERE is_superuser AND is_active AND status = 'Active' LIMIT 1")
        except psycopg2.Error:
            return None
        user = cursor.fetchone()
        return user and user[0]


def environment(url):
    env = dict(os.environ, DATABASE_URL=url, WALPUSH_LISTEN_ADDRESS="127.0.0.1")
    env.setdefault("JWT_SIGNING_KEY", secrets.token_hex(32))
    env["WALPUSH_LISTEN_PORT"] = port_for("WALPUSH_LISTEN_PORT", 8001)
    env["WALPUSH_ADMIN_PORT"] = port_for("WALPUSH_ADMIN_PORT", 8002)
    return env


def write_env_file(directory, env, admin_url):
    """What another terminal needs; passwords and keys stay out of what is printed."""
    names = ["DATABASE_URL", "JWT_SIGNING_KEY", "WALPUSH_LISTEN_ADDRESS", "WALPUSH_LISTEN_PORT", "WALPUSH_ADMIN_PORT"]
    lines = [f"export {name}={shlex.quote(env[name])}\n" for name in names]
    if admin_url:
        lines.append(f"TRY_DATABASE={shlex.quote(admin_url)}\n")
    file = directory / "env"
    file.write_text("".join(lines), encoding="utf-8")
    return file


def run():
    wanted = int(os.environ["TRY_MESSAGES"]) if os.environ.get("TRY_MESSAGES") else None
    url, admin_url, user = os.environ.get("DATABASE_URL"), None, ASHA
    with contextlib.ExitStack() as stack:
        directory = pathlib.Path(tempfile.mkdtemp(prefix="walpush-try-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        if url:
            user = check_database(url, os.environ.get("WALPUSH_SLOT") or "walpush")
        else:
            url, admin_url = throwaway_database(stack)
        user = os.environ.get("TRY_USER") or user
        if not user:
            raise Trouble("set TRY_USER to the id of a user who may see what TRY_PATH shows")
        path = os.environ.get("TRY_PATH") or "/ws/requests/1/"

        env = environment(url)
        sidecar = Sidecar(env, directory / "walpush.log")
        stack.callback(sidecar.stop)
        sidecar.wait_for("listening", "streaming")
        show_header(env, write_env_file(directory, env, admin_url), user, path, bool(admin_url))

        listener = subscribe(env, user, path)
        stack.callback(end, listener)
        application = None
        if admin_url:
            application = Application(admin_url, 2 if wanted is None else 0.2)
            stack.callback(application.stop)
        show_all(listener, application, sidecar, wanted)


def main():
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    try:
        run()
    except KeyboardInterrupt:
        print("\nended; nothing is left behind")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read this has gone
    except (Trouble, ClusterError) as trouble:
        print(f"walpush: {trouble}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
