"""The C client tests/bench/wsload, which holds many connections and checks each of their messages."""

import json
import subprocess

from harness.client import PATIENCE


class Wsload:
    """A running wsload, all of whose connections are established."""

    def __init__(self, program, walpush, path, user, **options):
        command = [str(program), "--port", str(walpush.port), "--path", path, "--token", walpush.token(user)]
        for name, value in {"timeout": int(PATIENCE), **options}.items():
            command += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
        self.wanted = int(options["connections"])
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        line = self.process.stdout.readline()
        assert line == f"connected {self.wanted}\n", line + self.process.stderr.read()
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def result(self):
        """Waits for the end: its figures, after everything was as expected."""
        out, err = self.process.communicate(timeout=10 * PATIENCE)
        assert self.process.returncode == 0, out + err
        return json.loads(out.splitlines()[-1])
