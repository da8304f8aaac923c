"""Names as one process sees them: a hosts file of the test's own, and a name server that takes every question and answers none.

That is the usual picture of a sick name server or a cut link. Needs root, for a mount namespace and for port 53.
"""

import itertools
import os
import pathlib
import socket
import subprocess
import tempfile

from harness.client import PATIENCE

HANGS = 60  # seconds that a lookup takes, if nothing ends it before: one server, twice 30

_MOUNT = """\
set -e
for file in hosts resolv.conf nsswitch.conf; do
    [ ! -e "/etc/$file" ] || mount --bind "$1/$file" "/etc/$file"
done
shift
exec "$@"
"""
_addresses = itertools.count(1)


def can_run():
    """Whether this machine lets a test have names of its own."""
    return os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "true"], check=False).returncode == 0


class Names:
    """Programs run under `under` look into this hosts file and ask this server."""

    def __init__(self):
        self._directory = tempfile.TemporaryDirectory(prefix="walpush-names-")
        self.directory = pathlib.Path(self._directory.name)
        self._server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # Test files that run side by side have other servers.
        self.server = f"127.{os.getpid() >> 8 & 255}.{os.getpid() & 255}.{next(_addresses)}"
        self._server.bind((self.server, 53))
        (self.directory / "resolv.conf").write_text(f"nameserver {self.server}\noptions timeout:30 attempts:2\n")
        (self.directory / "nsswitch.conf").write_text("hosts: files dns\n")
        self.forget()
        self.under = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _MOUNT, "sh", self.directory]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.close()
        self._directory.cleanup()

    def know(self, hosts):
        """{name: [address, …]}: these are in the hosts file from now on, and no others."""
        text = "127.0.0.1 localhost\n"
        text += "".join(f"{address} {name}\n" for name, addresses in hosts.items() for address in addresses)
        # The same file, because it is mounted; and in one go, because somebody may look into it meanwhile.
        file = os.open(self.directory / "hosts", os.O_RDWR | os.O_CREAT, 0o644)
        os.write(file, text.encode())
        os.truncate(file, len(text))
        os.close(file)

    def forget(self):
        """The server has to be asked, for whatever name."""
        self.know({})

    def wait_for_question(self, name):
        """Returns when somebody has asked for the name and waits."""
        wanted = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
        self._server.settimeout(PATIENCE)
        while wanted not in self._server.recv(512):
            pass

    def drop_questions(self):
        """What was asked until now is no news."""
        self._server.setblocking(False)
        try:
            while self._server.recv(512):
                pass
        except BlockingIOError:
            pass
