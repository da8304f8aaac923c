"""The application behind its WSGI server, as users call it."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

from conftest import BACKEND
from harness.client import PATIENCE
from harness.walpush import SIGNING_KEY
from store.management.commands.seed import PASSWORD


class Backend:
    """gunicorn, from start to stop; a context manager."""

    def __init__(self, app, **env):
        self._tokens = {}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "docstore.wsgi"],
            cwd=BACKEND,
            env=dict(
                os.environ,
                BIND="127.0.0.1:0",
                DJANGO_SETTINGS_MODULE="docstore.settings",
                DATABASE_URL=app.application_url,
                SECRET_KEY="secret-key-of-the-tests-and-of-nothing-else",
                JWT_SIGNING_KEY=SIGNING_KEY,
                **env,
            ),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        for line in self.process.stderr:
            if found := re.search(r"Listening at: (http://\S+)", line):
                self.address = found.group(1)
                break
        else:
            raise AssertionError("gunicorn did not start")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)

    def call(self, user, method, path, body=None):
        """Status and answer, as the user of this name; None is nobody in particular."""
        headers = {"Content-Type": "application/json"}
        if user:
            headers["Authorization"] = "Bearer " + self.token(user)
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, json.loads(answer.read() or "null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or "null")

    def token(self, user):
        """The access token of a login."""
        if user not in self._tokens:
            status, answer = self.call(None, "POST", "/api/token/", {"username": user, "password": PASSWORD})
            assert status == 200, answer
            self._tokens[user] = answer["access"]
        return self._tokens[user]
