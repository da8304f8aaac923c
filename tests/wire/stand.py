"""A server under attack, and those who must not notice: a writer, and two bystanders who receive each of its changes in order."""

import pathlib
import re
import subprocess
import threading
import time

from heads import MEMBERS
from peer import HANG
from script import HANDSHAKE

from harness.app import ASHA, RAVI, fresh_app
from harness.client import PATIENCE, Closed, event_key
from harness.load import UNIT_1, Load, number_of
from harness.tls import Identity, trusting
from harness.walpush import Walpush, shipped_config

RATE = 20  # changes a second
_LISTEN = "0A"  # in /proc/net/tcp
# By how much resident memory may differ between two quiet moments.
MEMORY = 16 << 20
# Fewer freed bytes kept by AddressSanitizer, so that memory says something under it too.
QUARANTINE = ":quarantine_size_mb=8"


class Bystander(threading.Thread):
    """Listens, and checks each change as it comes."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.count = 0
        self.end = None  # what ended its listening
        self._client = client
        self._last = (0, 0)
        self.start()

    def run(self):
        try:
            while self.end is None:
                self._take(self._client.recv(timeout=3600))
        except (Closed, OSError, AssertionError, ValueError) as error:
            self.end = f"{type(error).__name__}: {error}"

    def _take(self, message):
        key = event_key(message)
        if number_of(message) != self.count + 1 or key <= self._last:
            self.end = f"after change {self.count} came {message.raw[:200]}"
        self.count += 1
        self._last = key


class Stand:
    """`with` starts it all and stops it all. `watch` and `settle` give the findings; a process that ended is one."""

    def __init__(self, cluster, tls, directory, library=None, options=""):
        self.name = "TLS" if tls else "plain"
        self.is_tls = tls
        self._library = library
        self._fresh = fresh_app(cluster)
        self.app = self._fresh.__enter__().set_up()
        self._insert_members()
        directory = pathlib.Path(directory) / self.name
        directory.mkdir(parents=True, exist_ok=True)
        self.walpush = Walpush(self._config(directory), directory, self.app, env=self._environment(options))
        self.load = None
        self.bystanders = []
        self._healthy = time.monotonic()
        self._health = None

    def _insert_members(self):
        """Like asha, but for what must be unique."""
        self.app.sql(
            "INSERT INTO users SELECT (jsonb_populate_record(u, jsonb_build_object("
            "'id', n, 'username', 'user' || n, 'email', n || '@example.org'))).*"
            " FROM users u, generate_series(%s, %s) n WHERE u.id = %s",
            MEMBERS.start, MEMBERS.stop - 1, ASHA,
        )  # fmt: skip
        self.app.sql(
            "INSERT INTO user_units (user_id, unit_id, created_at) SELECT n, 1, now() FROM generate_series(%s, %s) n",
            MEMBERS.start, MEMBERS.stop - 1,
        )  # fmt: skip

    def _config(self, directory):
        config = shipped_config().set("limits.handshake", HANDSHAKE).set("listen.threads", 2).set("limits.drain", 0)
        config.set("database.admit-connections", 1)  # or those on demand would count as descriptors that did not come back
        if self.is_tls:
            self._identity = Identity("wire", days=30)
            self._identity.write(directory)
            config.set("listen.certificate", str(directory / "tls.crt"))
            config.set("listen.certificate-key", str(directory / "tls.key"))
        return config

    def _environment(self, options):
        more = {"ASAN_OPTIONS": options + QUARANTINE}
        if self._library:
            more["LD_LIBRARY_PATH"] = str(self._library)
        return more

    def __enter__(self):
        try:
            self.begin()
        except BaseException:
            self.__exit__(BaseException)
            raise
        return self

    def begin(self):
        """Also after the process ended: everything anew but the database."""
        if self.load:
            self.load.__exit__()
        self.walpush.start()
        self._check_library()
        self.walpush.tls = trusting(self._identity) if self.is_tls else None
        self.app.touch(self.app.request, "0")
        self.app.settle(self.walpush)
        self.bystanders = [Bystander(self.walpush.subscribe(UNIT_1, user)) for user in (ASHA, RAVI)]
        self._health = Health(self.walpush)
        self.load = Load(self.app, rate=RATE).__enter__()

    def _check_library(self):
        """A run against another library than was asked for would prove nothing."""
        maps = pathlib.Path(f"/proc/{self.walpush.process.pid}/maps").read_text(encoding="utf-8")
        loaded = set(re.findall(r"/\S*libwebsockets[.-]\S*", maps))
        if self._library:
            assert loaded and all(path.startswith(str(self._library)) for path in loaded), f"loaded: {loaded}"

    def __exit__(self, kind=None, *_):
        if self.load:
            self.load.__exit__()
        process = self.walpush.process
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()
        self._fresh.__exit__(None, None, None)

    # --- while it is attacked ------------------------------------------------------------------------------------

    def watch(self):
        """What is wrong at the moment."""
        if self._is_gone():
            return [f"the process ended with status {self.walpush.wait()}"]
        found = [f"bystander {i + 1}: {b.end}" for i, b in enumerate(self.bystanders) if b.end]
        found += [f"bystander {i + 1} is silent for {HANG:.0f} s" for i, b in enumerate(self.bystanders) if self._is_silent(b)]
        if self._health.silence() > HANG:
            found.append(f"/healthz is silent for {HANG:.0f} s")
        return found

    def _is_gone(self):
        """Its connections break off a moment before it can be waited for."""
        try:
            self.walpush.process.wait(1 if any(b.end for b in self.bystanders) else 0)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _is_silent(self, bystander):
        """The next change was committed, and did not come."""
        at = self.load.at.get(bystander.count + 1)
        return at is not None and time.monotonic() - at > HANG

    # --- at rest -------------------------------------------------------------------------------------------------

    def rests(self):
        """Waits until the bystanders are the only connections; whether it came to that."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.walpush.metric("walpush_connections") == len(self.bystanders) == self._sockets():
                return True
            time.sleep(0.2)
        return False

    def descriptors(self):
        return len(list(pathlib.Path(f"/proc/{self.walpush.process.pid}/fd").iterdir()))

    def _stay(self, descriptors):
        """How many are there beyond these at every look within a second: the probe has one of its own now and then."""
        more = self.descriptors() - descriptors
        for _ in range(10):
            if more <= 0:
                break
            time.sleep(0.1)
            more = min(more, self.descriptors() - descriptors)
        return more

    def _sockets(self):
        """Connections that the kernel has for the server's port, on the server's side."""
        return count_sockets(self.walpush.port)

    def settle(self, descriptors, memory):
        """What did not come back, compared with these, and what the bystanders missed. `memory` may not be known."""
        found = self.watch()
        if found:
            return found
        if not self.rests():
            connections, sockets = self.walpush.metric("walpush_connections"), self._sockets()
            return [f"walpush_connections stays at {connections:.0f}, with {sockets} sockets, for {len(self.bystanders)} bystanders"]
        if (more := self._stay(descriptors)) > 0:
            found.append(f"{more} descriptors did not come back")
        self.growth = self.walpush.rss() - memory if memory else 0
        if self.growth > MEMORY:
            found.append(f"{self.growth >> 10} KiB of memory did not come back")
        return found + self._missed()

    def _missed(self):
        self.load.__exit__()
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and any(b.end is None and b.count < self.load.committed for b in self.bystanders):
            time.sleep(0.02)
        return [
            f"bystander {i + 1} heard {b.count} of {self.load.committed} changes{', then ' + b.end if b.end else ''}"
            for i, b in enumerate(self.bystanders)
            if b.count != self.load.committed or b.end
        ]

    def stop(self):
        """The process ends in order, and its log has neither a sanitizer's report nor a token."""
        try:
            self.walpush.stop()
            assert "eyJ" not in self.walpush.log(), "a token is in the log"
        except AssertionError as error:
            return [str(error)[-4000:]]
        return []


class Health(threading.Thread):
    """Asks /healthz all the time."""

    def __init__(self, walpush):
        super().__init__(daemon=True)
        self._walpush = walpush
        self._process = walpush.process
        self._asked = None  # since when the question that is not answered waits
        self.start()

    def run(self):
        while self._process.poll() is None:
            self._asked = self._asked or time.monotonic()
            try:
                answer = self._walpush.admin("/healthz")
            except OSError:
                continue  # it waits on, and so the silence grows
            if answer is not None and answer.status == 200:
                self._asked = None
            time.sleep(0.2)

    def silence(self):
        asked = self._asked
        return time.monotonic() - asked if asked else 0


def count_sockets(port):
    """The server's side of the connections to this port that a process still holds."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table if f":{port:04X} " in line]
    return sum(row[1].endswith(f":{port:04X}") and row[3] != _LISTEN and row[9] != "0" for row in rows)
