#!/usr/bin/python3
"""A throwaway PostgreSQL and a walpush, for tests in other languages.

Reads a command a line from standard input and answers each with a line, both JSON; the first line tells where things
are. The end of the input ends everything. walpush keeps its port across restarts, as it does in production.

    {"do": "sql", "text": "UPDATE …", "args": []}      {"rows": […]}
    {"do": "token", "user": 2, "lifetime": 900}        {"token": "…"}
    {"do": "grant", "user": 2, "unit": 1}, "revoke"    {}
    {"do": "start"}, "stop", "kill"                    {}
    {"do": "configure", "settings": {"a.b": 1}}        {}; the shipped file with these, without those
                                                       that are null, at the next start
"""

import contextlib
import json
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.app import fresh_app, json_value  # noqa: E402
from harness.walpush import SHIPPED, Walpush, unhurried  # noqa: E402
from throwaway.cluster import Cluster, free_port  # noqa: E402
from throwaway.config import Config  # noqa: E402


class Stage:
    def __init__(self, app, directory):
        self.app = app
        self.port = free_port()
        self.walpush = Walpush(Config(SHIPPED.read_text()), directory, app, env={"WALPUSH_LISTEN_PORT": str(self.port)})
        self.walpush.start()

    def sql(self, text, args=()):
        rows = self.app.sql(text, *args) or []
        return {"rows": [[json_value(value) for value in row] for row in rows]}

    def token(self, user, lifetime=900):
        return {"token": self.walpush.token(user, exp=int(time.time()) + lifetime)}

    def grant(self, user, unit):
        self.app.grant(user, unit)

    def revoke(self, user, unit):
        self.app.revoke(user, unit)

    def configure(self, settings):
        config = unhurried(Config(SHIPPED.read_text()))
        for setting, value in settings.items():
            config.remove(setting) if value is None else config.set(setting, value)
        config.write(self.walpush.file)

    def start(self):
        self.walpush.start()

    def stop(self):
        self.walpush.stop()

    def kill(self):
        self.walpush.kill()

    def end(self):
        if self.walpush.process.poll() is None:
            self.walpush.stop()


def say(answer):
    print(json.dumps(answer), flush=True)


def main():
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(Cluster(fsync=False))
        app = stack.enter_context(fresh_app(cluster)).set_up()
        stage = Stage(app, stack.enter_context(tempfile.TemporaryDirectory(prefix="walpush-stage-")))
        stack.callback(stage.end)
        say({"url": f"ws://127.0.0.1:{stage.port}", "request": app.request, "crate": app.crate})
        for line in sys.stdin:
            command = json.loads(line)
            say(getattr(stage, command.pop("do"))(**command) or {})


if __name__ == "__main__":
    main()
