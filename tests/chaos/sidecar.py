"""The sidecar under chaos: one process after the other, with one log each."""

import signal
import threading

from harness.client import PATIENCE
from harness.walpush import Walpush, fields_of, free_port, shipped_config, token
from throwaway.config import Raw

LONG = 3 * PATIENCE

LIMITS = {
    "replay.seconds": 30,
    "limits.bulk": 60,
    "limits.row-bytes": 16 << 10,
    "limits.record-bytes": 64 << 10,
    "limits.transaction-bytes": 256 << 10,
    "limits.group-bytes": 512 << 10,
    "limits.stall": 3,
    "limits.drain": 1,
}


def config():
    """The shipped file with small limits, and one stream more whose connections hear three groups."""
    made = shipped_config()
    for name, value in LIMITS.items():
        made.set(name, value)
    groups = '[ "requests_unit_{path.unit_id}", "crates_unit_{path.unit_id}", "notifications_user_{token.user_id}" ]'
    admit = made.get("streams.requests.admit")
    return made.set(
        "streams.desk", Raw(f'{{ path = "/ws/desk/<int:unit_id>/"  admit = {admit}  groups = {groups} }}')
    )


class Sidecar:
    """Clients ask it for the port of the moment."""

    def __init__(self, app, directory, url, configuration=None):
        self.app, self.directory, self.url = app, directory, url
        self.config = configuration or config()
        self.redis = None
        self.generation = 0
        self.process = None
        self._processes = []
        self.port = free_port()  # nobody listens yet
        self._expected = threading.Event()  # the process may be gone

    def token(self, user):
        return token(user)

    def start(self, streaming=False):
        self.generation += 1
        directory = self.directory / f"walpush-{self.generation:03}"
        directory.mkdir(parents=True)
        process = Walpush(self.config, directory, self.app, url=self.url)
        process.start(streaming=streaming)
        self._processes.append(process)
        self.process, self.port = process, process.port
        self._expected.clear()

    def kill(self):
        self._expected.set()
        self.process.kill()
        self._keep_log(self.process)

    def stop(self):
        self._expected.set()
        self.process.stop()
        self._keep_log(self.process)

    def replace(self):
        """As a rolling update: the next one is there before the last one has ended."""
        old = self.process
        self._expected.set()
        old.send_signal(signal.SIGTERM)
        self.start()
        assert old.wait() == 0, old.log()
        old.check_log()
        self._keep_log(old)

    def freeze(self, everyone=False):
        """Returns what ends it."""
        process = self.process
        process.send_signal(signal.SIGSTOP)
        return lambda: process.send_signal(signal.SIGCONT)

    def died(self):
        """The log of a process that has ended and nobody had asked for it."""
        if self._expected.is_set() or self.process.process.poll() is None:
            return None
        return self.process.log()

    def passed_over(self):
        """The commits of the transactions that were passed over, as any of the processes said."""
        lines = (line for process in self._processes for line in list(process.lines))
        return {fields_of(line)["commit"] for line in lines if 'msg="a transaction is passed over' in line}

    def wait_for_streaming(self):
        self.app.wait_until(
            "SELECT coalesce(bool_and(active), false) FROM pg_replication_slots WHERE slot_name = %s",
            self.app.slot,
            timeout=LONG,
        )

    def end(self):
        if self.process is not None:
            if self.process.process.poll() is None:
                self.process.process.kill()
            self.process.wait()
            self._keep_log(self.process)

    def _keep_log(self, process):
        (process.file.parent / "log").write_text(process.log() + "\n", encoding="utf-8")
