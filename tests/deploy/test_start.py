"""The containers of deploy/kubernetes/sidecar.yaml start, with nothing but what the manifest gives them.

Each program runs as the container's user in a file system of its own (bubblewrap) that is read-only where the manifest says so, with
the manifest's volumes, environment and arguments, and is probed as the kubelet does: at the probe's path, with its headers.
"""

import contextlib
import http.client
import json
import pathlib
import re
import shutil
import socket
import subprocess
import time

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PATIENCE = 60  # seconds
KEY = "0123456789abcdef0123456789abcdef"
URL = "postgresql://walpush@127.0.0.1:1/app"  # nobody is there

(POD,) = [
    document["spec"]["template"]["spec"]
    for document in yaml.safe_load_all((DEPLOY / "kubernetes/sidecar.yaml").read_text())
    if document["kind"] == "Deployment"
]
SYSTEM = [word for name in ("bin", "sbin", "lib", "lib64") for word in ("--symlink", f"usr/{name}", f"/{name}")]
SYSTEM += ["--ro-bind", "/usr", "/usr", "--ro-bind", "/etc/ld.so.cache", "/etc/ld.so.cache", "--proc", "/proc", "--dev", "/dev", "--dir", "/tmp"]


def can_contain():
    return shutil.which("bwrap") and subprocess.run(["bwrap", *SYSTEM, "--unshare-user", "true"], check=False).returncode == 0


pytestmark = pytest.mark.skipif(not can_contain(), reason="bubblewrap cannot make a file system here")


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Container:
    """One of the Pod's. `files` are what its image holds, `sources` what is in the volumes by name, `env` what is from elsewhere."""

    def __init__(self, spec, log, files, sources, env, command):
        self.spec = spec
        self.log = log
        context = {**POD["securityContext"], **spec["securityContext"]}
        words = ["bwrap", "--die-with-parent", "--clearenv", "--unshare-user", "--unshare-pid", *SYSTEM]
        words += ["--uid", str(context["runAsUser"]), "--gid", str(context["runAsGroup"])]
        for at, source in files.items():
            words += ["--ro-bind", str(source), at]
        volumes = {volume["name"]: volume for volume in POD["volumes"]}
        for mount in spec.get("volumeMounts", []):
            if "emptyDir" in volumes[mount["name"]]:
                words += ["--tmpfs", mount["mountPath"]]
            else:
                words += ["--ro-bind", str(sources[mount["name"]]), mount["mountPath"]]
        given = {variable["name"]: variable["value"] for variable in spec.get("env", [])}
        for name, value in {"PATH": "/usr/bin", **given, **env}.items():
            words += ["--setenv", name, value]
        if context["readOnlyRootFilesystem"]:
            words += ["--remount-ro", "/"]
        self.command = [*words, *command]

    def __enter__(self):
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def probe(self, name, port):
        """The status that the kubelet gets, as soon as somebody listens."""
        get = self.spec[name]["httpGet"]
        headers = {"Host": f"10.1.2.3:{get['port']}", **{h["name"]: h["value"] for h in get.get("httpHeaders", [])}}
        deadline = time.monotonic() + PATIENCE
        while True:
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            with contextlib.suppress(ConnectionError), contextlib.closing(
                http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            ) as connection:
                connection.request("GET", get["path"], headers=headers)
                return connection.getresponse().status
            time.sleep(0.05)


def image_command(dockerfile):
    return json.loads(re.search(r"^CMD (\[.*\])$", dockerfile.read_text(), re.MULTILINE).group(1))


def test_django(tmp_path):
    (spec,) = POD["containers"]
    port = free_port()
    program, *args = image_command(DEPLOY / "demo/Dockerfile")
    # Of the Secret, and of the image; but for a port that is free here.
    env = {"DATABASE_URL": URL, "SECRET_KEY": KEY, "JWT_SIGNING_KEY": KEY, "BIND": f"127.0.0.1:{port}"}
    files = {"/app": DEPLOY / "demo/backend", "/venv": ROOT / "build/venv"}
    command = ["--chdir", "/app", "/venv/bin/python", "-m", program, *args]
    with Container(spec, tmp_path / "log", files, {}, env, command) as django:
        assert django.probe("readinessProbe", port) == 200, django.log.read_text()


def test_walpush(tmp_path):
    (spec,) = POD["initContainers"]
    port = free_port()
    config = (ROOT / "sidecar.conf").read_text()
    # As the manifest's comment says.
    for old, new in [('url  = "${DATABASE_URL}"', 'url-file = "/run/secrets/walpush/url"'),
                     ('key        = "${JWT_SIGNING_KEY}"', 'key-file = "/run/secrets/walpush/key"'),
                     ('# relay = { url = "${REDIS_URL}" }', 'relay = { url-file = "/run/secrets/walpush/redis" }')]:  # fmt: skip
        assert old in config
        config = config.replace(old, new)
    for name, files in {
        "walpush-config": {"sidecar.conf": config},
        "walpush-secret": {"url": URL, "key": KEY, "redis": "redis://127.0.0.1:1"},
    }.items():
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
    sources = {name: tmp_path / name for name in ("walpush-config", "walpush-secret")}
    env = {"WALPUSH_ADMIN_PORT": str(port), "WALPUSH_LISTEN_PORT": "0"}
    command = ["/program/walpush", *spec["args"]]
    files = {"/program": (ROOT / "build/walpush").resolve().parent}
    with Container(spec, tmp_path / "log", files, sources, env, command) as walpush:
        assert walpush.probe("livenessProbe", port) == 200, walpush.log.read_text()


def test_one_host_is_meant_everywhere():
    (django,) = POD["containers"]
    (walpush,) = POD["initContainers"]
    text = (DEPLOY / "kubernetes/sidecar.yaml").read_text()
    (ingress,) = [d for d in yaml.safe_load_all(text) if d["kind"] == "Ingress"]
    host = ingress["spec"]["rules"][0]["host"]
    env = {variable["name"]: variable["value"] for c in (django, walpush) for variable in c["env"]}
    assert ingress["spec"]["tls"][0]["hosts"] == [host]
    assert env["ALLOWED_HOSTS"] == host
    assert env["WEBSOCKET_URL"] == f"wss://{host}"
    assert env["WALPUSH_ORIGIN"] == f"https://{host}"
    assert django["readinessProbe"]["httpGet"]["httpHeaders"] == [{"name": "Host", "value": host}]
