"""Two Redis, one the replica of the other, behind a forwarder: what befalls Redis befalls the master, and the roles change."""

import contextlib
import signal
import time

import redis

from harness.client import PATIENCE
from harness.proxy import proxy
from harness.redis import Redis


class Redises:
    """New connections go to the master of the moment; those to an earlier one stay there."""

    def __init__(self):
        self.master, self.replica = Redis(), Redis()
        self.replica.replica_of = self.master
        self._resources = contextlib.ExitStack()
        port = self._resources.enter_context(proxy(lambda _: self.master.port))
        for one in (self.master, self.replica):
            self._resources.callback(one.__exit__)
        self.url = f"redis://127.0.0.1:{port}/0"

    @property
    def started(self):
        return self.replica.process is not None

    @property
    def running(self):
        return self.master.process is not None and self.master.process.poll() is None

    def start(self):
        self.master.start()
        if not self.started:
            self.replica.start()
        self._hurry()

    def end(self):
        self._resources.close()

    def restart(self):
        self.master.restart()
        self._hurry()

    def lose_everything(self):
        self.master.lose_everything()
        self._hurry()

    def kill(self):
        self.master.kill()

    def freeze(self):
        """Returns what ends it."""
        process = self.master.process
        process.send_signal(signal.SIGSTOP)
        return lambda: process.send_signal(signal.SIGCONT)

    def _hurry(self):
        """A master waits 5 s for more replicas before it sends its data to one."""
        self.master.client().config_set("repl-diskless-sync-delay", 0)

    # --- a switchover ------------------------------------------------------------------------------------------

    def switch(self, killed, writable, pause):
        """The replica becomes master, and the master, killed before or not, its replica. `pause` seconds lie between the two; a
        `writable` replica takes commands as if it were none. What was not replicated yet is lost."""
        old, new = self.master, self.replica
        self._wait_for_replica()
        if killed:
            old.kill()
        new.client().replicaof("NO", "ONE")
        new.replica_of, old.replica_of = None, new
        self.master, self.replica = new, old
        self._hurry()
        time.sleep(pause)
        if killed:
            old.start()
        else:
            old.client().replicaof("127.0.0.1", new.port)
        old.client().config_set("replica-read-only", "no" if writable else "yes")

    def _wait_for_replica(self):
        """A failover takes no replica that does not have the data."""
        deadline = time.monotonic() + PATIENCE
        while not self._is_replica():
            if time.monotonic() > deadline:
                raise AssertionError("the replica does not come up")
            time.sleep(0.02)

    def _is_replica(self):
        with contextlib.suppress(redis.exceptions.RedisError):
            return self.replica.client().info("replication").get("master_link_status") == "up"
        return False
