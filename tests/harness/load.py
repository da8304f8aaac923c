"""Changes that count upwards under load, and clients that follow them through faults, as a browser would."""

import threading
import time

import psycopg2

from harness.client import PATIENCE, Client, Closed, assert_in_order
from harness.walpush import ROW_MARK
from throwaway.cluster import is_away

UNIT_1 = "/ws/requests/1/"
LONG = 3 * PATIENCE
RATE = 200  # changes a second


class Load(threading.Thread):
    """Counts upwards in one row, RATE commits a second, and goes on where it was when the server comes back."""

    def __init__(self, app, rate=RATE, text=""):
        super().__init__(daemon=True)
        self.app, self.key, self.rate, self.text = app, app.request, rate, text
        self.committed = 0
        self.at = {}  # number → when its commit was answered
        self._end = threading.Event()
        self._step = threading.Condition()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self.join(LONG)
        assert not self.is_alive()

    def run(self):
        connection = None
        while not self._end.is_set():
            try:
                connection = connection or self._connect()
                with connection.cursor() as cursor:
                    text = f"{ROW_MARK} {self.committed + 1} {self.text}"
                    cursor.execute("UPDATE requests SET purpose = %s WHERE id = %s", (text, self.key))
                self._done(self.committed + 1)
            except psycopg2.Error as error:
                if not is_away(error):
                    raise
                connection = None
            self._end.wait(1 / self.rate)

    def _connect(self):
        """Whether the commit that was not answered took place, the row tells."""
        connection = self.app.connect()
        with connection.cursor() as cursor:
            cursor.execute("SELECT purpose FROM requests WHERE id = %s", (self.key,))
            number = cursor.fetchone()[0].split(" ")[1]
        if number.isdecimal() and int(number) > self.committed:
            self._done(int(number))
        return connection

    def _done(self, number):
        with self._step:
            self.committed = number
            self.at[number] = time.monotonic()
            self._step.notify_all()

    def wait_for(self, more):
        """Until that many more have been committed from now."""
        with self._step:
            goal = self.committed + more
            assert self._step.wait_for(lambda: self.committed >= goal, LONG)


class Follower(threading.Thread):
    """Hears the load's numbers; when its connection ends, it resumes behind the last message, as a browser would. Not for longer than
    its test: the process of another one may get the port."""

    _over = threading.Event()
    _running = []

    def __init__(self, port, user):
        super().__init__(daemon=True)
        self._running.append(self)
        self.port, self.user = port, user  # port() is the one of the moment
        self.messages, self.hellos = [], []
        self.error = None
        self._changed = threading.Condition()
        self.start()
        self._wait(lambda: self.hellos)

    def run(self):
        while self.error is None and not self._over.is_set():
            try:
                self._listen()
            except (Closed, OSError):
                self._over.wait(0.05)
            except Exception as error:
                self.error = error

    def _listen(self):
        port, token = self.port()
        query = ""
        if self.hellos:
            last = self.messages[-1] if self.messages else self.hellos[0]
            query = f"?since={last['id']}&epoch={self.hellos[0]['epoch']}"
        with Client(port, UNIT_1 + query, token=token(self.user)) as client:
            self._add(self.hellos, client.established())
            while True:
                self._add(self.messages, client.recv(timeout=3600))

    @classmethod
    def end_all(cls):
        """Once their processes have ended."""
        cls._over.set()
        for follower in cls._running:
            follower.join(PATIENCE)
        left = [follower for follower in cls._running if follower.is_alive()]
        cls._running.clear()
        cls._over.clear()  # whatever is left: the next test has followers of its own
        assert not left, f"{len(left)} followers still have their connection"

    def _add(self, to, message):
        with self._changed:
            to.append(message)
            self._changed.notify_all()

    def _wait(self, reached):
        with self._changed:
            assert self._changed.wait_for(lambda: self.error or reached(), LONG), f"{len(self.messages)} messages"
            assert not self.error, self.error

    def check(self, last, resumed=0):
        """Every number up to the last once and in order, nothing else, and so many resumed connections at the least."""
        self._wait(lambda: self.messages and number_of(self.messages[-1]) in (last, None))
        assert [number_of(m) for m in self.messages] == list(range(1, last + 1))
        assert_in_order(self.messages)
        assert len(self.hellos) > resumed
        assert all(hello.get("resumed") for hello in self.hellos[1:])


def number_of(message):
    """None for what is not the load's."""
    return int(message["data"]["purpose"].split(" ")[1]) if "data" in message else None
