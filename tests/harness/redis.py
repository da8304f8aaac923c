"""A Redis server of a test's own, that can be stopped, killed, restarted with and without its data."""

import pathlib
import shutil
import subprocess
import tempfile
import threading

import redis

from harness.walpush import free_port


class Redis:
    """A server on a free port; `persistent` writes every command to its append-only file before it is answered."""

    def __init__(self, persistent=True, replica_of=None, password=None, certificate=None, clients_of=None, host="127.0.0.1"):
        self.port = free_port()
        self.host = host
        self.persistent = persistent
        self.replica_of = replica_of
        self.password = password
        self.certificate = certificate  # (certificate, key): TLS and nothing else
        self.clients_of = clients_of  # the file of the authority whose certificate a client must show
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="walpush-redis-"))
        self.process = None

    @property
    def url(self):
        secret = f":{self.password}@" if self.password else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.certificate else 'redis'}://{secret}{host}:{self.port}/0"

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self):
        options = {
            "port": self.port,
            "bind": self.host,
            "dir": self.directory,
            "save": "",
            "appendonly": "yes" if self.persistent else "no",
            "appendfsync": "always",
            "loglevel": "notice",
            "repl-diskless-sync-delay": 0,
        }
        if self.replica_of:
            options["replicaof"] = f"127.0.0.1 {self.replica_of.port}"
        if self.password:
            options["requirepass"] = self.password
        if self.certificate:
            certificate, key = self.certificate
            options |= {"port": 0, "tls-port": self.port, "tls-cert-file": certificate, "tls-key-file": key}
            options |= {"tls-ca-cert-file": self.clients_of} if self.clients_of else {"tls-auth-clients": "no"}
        arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        # Debian's redis-tools holds the server, under the name of another tool; the package redis-server would start one.
        self.process = subprocess.Popen(
            ["redis-server", *arguments],
            executable=shutil.which("redis-check-rdb") or shutil.which("redis-server"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._wait_until_ready()
        return self

    def _wait_until_ready(self):
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if "Ready to accept connections" in line:
                threading.Thread(target=self.process.stdout.read, daemon=True).start()  # so that it never waits for us
                return
        raise AssertionError("redis-server did not start:\n" + "".join(lines))

    def client(self):
        return redis.Redis(self.host, self.port, password=self.password)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def restart(self):
        self.kill()
        return self.start()

    def lose_everything(self):
        """Killed, and started with nothing of what it held."""
        self.kill()
        for file in self.directory.iterdir():
            shutil.rmtree(file) if file.is_dir() else file.unlink()
        return self.start()
