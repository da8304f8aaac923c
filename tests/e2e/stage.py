#!/usr/bin/python3
"""The demo, for tests in browsers: deploy/demo/demo.py, with its parts in the hands of the test.

Reads a command a line from standard input and answers each with a line, both JSON; the first line tells where things
are. The end of the input ends everything.

    {"do": "sql", "text": "UPDATE …", "args": []}                       {"rows": […]}
    {"do": "service", "name": "walpush", "what": "start"}, stop, kill   {}
    {"do": "load", "unit": 1, "seconds": 20, "rate": 100}               {}, at once; then
    {"do": "loaded"}                                                    {"changes": 2000}, when it is over
"""

import argparse
import json
import pathlib
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "deploy/demo"), str(ROOT / "tests")]

from demo import ROLE, Demo  # noqa: E402


class Load(threading.Thread):
    """So many changes of a unit's requests a second, each its own transaction, spread evenly."""

    STATUSES = ["Pending", "Approved", "Issued", "Returned"]

    def __init__(self, connection, unit, seconds, rate):
        super().__init__(daemon=True)
        self.connection = connection
        self.unit = unit
        self.wanted = int(seconds * rate)
        self.rate = rate
        self.changes = 0
        self.start()

    def run(self):
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT id FROM requests WHERE unit_id = %s ORDER BY id", [self.unit])
            ids = [row[0] for row in cursor.fetchall()]
            start = time.monotonic()
            for n in range(self.wanted):
                time.sleep(max(0, start + n / self.rate - time.monotonic()))
                cursor.execute(
                    "UPDATE requests SET status = %s, updated_at = now() WHERE id = %s",
                    [self.STATUSES[n // len(ids) % len(self.STATUSES)], ids[n % len(ids)]],
                )
                self.changes += 1
        self.connection.close()


class Stage:
    def __init__(self, demo):
        self.demo = demo
        self.connection = demo.cluster.connect(ROLE)

    def sql(self, text, args=()):
        with self.connection.cursor() as cursor:
            cursor.execute(text, args or None)
            rows = cursor.fetchall() if cursor.description else []
        return {"rows": [[v.isoformat() if hasattr(v, "isoformat") else v for v in row] for row in rows]}

    def service(self, name, what):
        getattr(getattr(self.demo, name), what)()

    def load(self, unit, seconds, rate):
        self.running = Load(self.demo.cluster.connect(ROLE), unit, seconds, rate)

    def loaded(self):
        self.running.join()
        return {"changes": self.running.changes}


def say(answer):
    print(json.dumps(answer), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--access-seconds", type=int, default=900)
    parser.add_argument("--websocket-url", help="where the pages are told to find walpush, if not at its own address")
    args = parser.parse_args()
    with Demo(access_seconds=args.access_seconds, websocket_url=args.websocket_url) as demo:
        stage = Stage(demo)
        say({"address": demo.address, "live": demo.live, "admin": demo.admin})
        for line in sys.stdin:
            command = json.loads(line)
            say(getattr(stage, command.pop("do"))(**command) or {})


if __name__ == "__main__":
    main()
