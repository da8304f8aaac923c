"""Subscribers: threads that listen as browsers do, and as badly, and write down what they see."""

import random
import threading
import time

from checker import Bulk, Gone, Hello, Id, Resync, Seen
from world import UID_OF

from harness.client import Client, Closed, Refused

# Reasons to end or refuse a connection that are the server's good right here. 4403, 4401 and 1008 are not among them.
FAIR_CODES = (1006, 1012, 1013, 4408)


class Subscriber(threading.Thread):
    def __init__(self, name, place, sidecar, seed):
        super().__init__(name=name, daemon=True)
        self.path, self.user, self.groups = place
        self.sidecar = sidecar
        self.random = random.Random(f"{seed}/{name}")
        self.history = []
        self.epoch = self.last = None  # the id of what came last
        self.complaints = []  # what no server should do
        self.cut = threading.Event()
        self.goal = None  # once set: be good, and listen until this position
        self.reached = threading.Event()

    def run(self):
        while not self.reached.is_set():
            try:
                self._connection()
            except Closed as closed:
                self._ended(closed.code)
            except Refused as refused:
                self.complaints.append(f"refused with {refused.status}")
                self.reached.wait(0.2)
            except OSError:  # a reset, or nobody listens; a message that was cut in two is lost with the connection
                self._ended(1006)
            except Exception as error:
                self.complaints.append(f"{type(error).__name__}: {error}"[:500])
                self._ended(1006)

    def _ended(self, code):
        if self.history and not isinstance(self.history[-1], Gone):
            self.history.append(Gone(code))
        if code not in FAIR_CODES:
            self.complaints.append(f"closed with {code}")
        # A browser backs off; the test need not for long.
        self.reached.wait(self.random.uniform(0.02, 0.3))

    # --- one connection ----------------------------------------------------------------------------------------

    def _connection(self):
        since, query = None, ""
        if self.last is not None and (self.goal is not None or self.random.random() < 0.85):
            since, query = self.last, f"?since={self.last}&epoch={self.epoch}"
        self.cut.clear()
        buffer = 4096 if self.random.random() < 0.3 else None
        token = self.sidecar.token(self.user)
        with Client(self.sidecar.port, self.path + query, token=token, receive_buffer=buffer) as client:
            until = time.monotonic() + self.random.expovariate(1 / 10)
            self._hello(client.recv(), since)
            while not self._far_enough():
                if self.goal is None and (self.cut.is_set() or time.monotonic() > until):
                    self._misbehave(client)
                    return
                try:
                    self._take(client.recv(timeout=0.2))
                except TimeoutError:
                    pass

    def _misbehave(self, client):
        """Goes, politely or not, or stops reading for a while and then goes on until the server has had enough."""
        kind = self.random.random()
        if kind < 0.3:
            for message in client.close():
                self._take(message)
        elif kind < 0.5 and not self.cut.is_set():
            self.cut.wait(self.random.uniform(1, 8))
            while self.goal is None and not self.cut.is_set():
                self._take(client.recv(timeout=0.5))
        self.history.append(Gone(1006))

    def _far_enough(self):
        if self.goal is None or not self.history or isinstance(self.history[-1], Gone):
            return False
        if self.last.lsn >= self.goal:
            self.reached.set()
        return self.reached.is_set()

    # --- what it sees ------------------------------------------------------------------------------------------

    def _hello(self, message, since):
        if message["type"] != "connection_established":
            self.complaints.append(f"first message {message['type']}")
        self.epoch = message["epoch"]
        self._add(Hello(Id.parse(message["id"]), message.get("resumed", False), since))

    def _take(self, message):
        kind, id = message["type"], Id.parse(message["id"])
        if kind == "resync":
            self.epoch = message["epoch"]
            self._add(Resync(id, message["reason"]))
            return
        type, _, op = kind.partition(".")
        if op == "bulk":
            self._add(Bulk(id, type, message["count"]))
            return
        uid = (message.get("data") or {}).get(UID_OF[type])
        op = "moved" if message["action"] == "moved" else op
        self._add(Seen(id, type, op, message[f"{type}_id"], int(uid) if uid else None))

    def _add(self, event):
        self.history.append(event)
        self.last = event.id
