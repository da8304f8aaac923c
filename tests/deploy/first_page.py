#!/usr/bin/python3
"""Runs `make demo` in a terminal, opens its first page in a browser, presses Ctrl-C, and looks whether anything is left.

    first_page.py --root DIRECTORY --picture FILE.png -- COMMAND...

The command runs with DIRECTORY as its root directory, so its processes are those that have this root.
"""

import argparse
import contextlib
import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
MINUTE = 60
TEMPORARY = ("tmp", "var/tmp")


class Terminal:
    """A command in a terminal of its own; what it prints is shown and kept."""

    def __init__(self, command):
        self.text = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp(command[0], command)

    def read(self):
        """More of it; False at the end."""
        try:
            data = os.read(self.fd, 65536).decode(errors="replace")
        except OSError:  # nobody has the terminal open
            return False
        sys.stdout.write(data)
        sys.stdout.flush()
        self.text += data
        return bool(data)

    def wait_for(self, pattern, seconds):
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.text)):
            ready = select.select([self.fd], [], [], max(0, deadline - time.monotonic()))[0]
            if not ready or not self.read():
                raise SystemExit(f"first_page: {pattern!r} is not said; the command {'hangs' if not ready else 'has ended'}")
        return found

    def press(self, key):
        os.write(self.fd, key)

    def end(self, seconds):
        """Its exit status, once it and all that write to its terminal have ended."""
        signal.alarm(seconds)
        while self.read():
            pass
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        signal.alarm(0)
        return status


def processes_below(root):
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is the kernel's
            if pathlib.Path(os.readlink(entry / "root")) == root:
                yield f"{entry.name} {(entry / 'cmdline').read_bytes().replace(bytes(1), b' ').decode()}"


def files_below(root):
    return sorted(str(path) for name in TEMPORARY for path in (root / name).iterdir())


def open_page(address, picture):
    env = dict(os.environ, NO_COLOR="1", FIRST_PAGE=address, PICTURE=str(picture))
    subprocess.run(["npm", "test", "--silent", "--", "first.test.ts"], cwd=ROOT / "tests/e2e", env=env, check=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=lambda name: pathlib.Path(name).resolve(), required=True)
    parser.add_argument("--picture", type=lambda name: pathlib.Path(name).resolve(), required=True)
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    terminal = Terminal(args.command)
    address = terminal.wait_for(r"(http://\S+) +the application", 30 * MINUTE).group(1)
    open_page(address, args.picture)
    terminal.wait_for("Ctrl-C ends it", MINUTE)
    terminal.press(b"\x03")
    terminal.wait_for("nothing is left behind", MINUTE)
    terminal.end(MINUTE)
    left = [*processes_below(args.root), *files_below(args.root)]
    if left:
        raise SystemExit("first_page: this is left behind:\n" + "\n".join(left))


if __name__ == "__main__":
    main()
