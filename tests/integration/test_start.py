"""A start where something lacks: it works, or one sentence says what lacks and the process ends. It never hangs."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import time

import pytest

from harness.app import ASHA, fresh_app
from harness.client import PATIENCE
from harness.shim import build_shim
from harness.walpush import BINARY, fields_of, free_port

UNIT_1 = "/ws/requests/1/"
# From a start that cannot work to its end; the proof of a hub's wake-up alone may take 5 s.
SOON = 4
# With listen.threads = 1.
FILES_LEAST = 120

root = pytest.mark.skipif(os.geteuid() != 0, reason="makes a namespace, or becomes another user")
# A sanitizer's runtime wants terabytes of addresses and the first place among the libraries.
plain = pytest.mark.plain(reason="the sanitizer's runtime does not start so")


@pytest.fixture(scope="module")
def app(cluster):
    with fresh_app(cluster) as app:
        yield app.set_up()


@pytest.fixture
def config(config):
    config.set("listen.threads", 1)
    return config


def starts(walpush):
    """Spawns it; True if it came to listen, False if it ended."""
    walpush.spawn()
    try:
        walpush.port = int(fields_of(walpush.wait_for_log(r'msg="?listening"?( |$)'))["port"])
        return True
    except AssertionError:
        walpush.wait(SOON)
        return False


def refusal(walpush, status=1, timeout=PATIENCE):
    """The only line it says before it ends by itself."""
    try:
        assert walpush.wait(timeout) == status, walpush.log()
    except subprocess.TimeoutExpired:
        walpush.kill()
        raise AssertionError("walpush hangs; its log:\n" + walpush.log()) from None
    assert len(walpush.lines) == 1, walpush.log()
    return walpush.lines[0]


def serve(app, walpush):
    """It does what it is for, and ends when it is told to."""
    walpush.wait_for_log(r'msg="?streaming"?( |$)')
    with walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request)
        assert client.recv()["request_id"] == app.request
    assert walpush.admin("/healthz").status == 200
    walpush.stop()


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [range(4, 24), range(24, 41), [*range(48, 112, 8), 112, 116, 118, FILES_LEAST - 1]])
def test_too_few_files_are_said(app, config, make_walpush, limits):
    for files in limits:
        walpush = make_walpush(app, config, files=files)
        line = refusal(walpush.spawn(), timeout=SOON)
        assert f"the limit of open files is {files}," in line and f"needs {FILES_LEAST} " in line, line
        assert "ulimit -n" in line and "LimitNOFILE" in line


def test_three_files_are_too_few_for_the_libraries(app, config, make_walpush):
    """The dynamic loader says so: no code of walpush runs."""
    assert "error while loading shared libraries" in refusal(make_walpush(app, config, files=3).spawn(), status=127)


@pytest.mark.parametrize("files", [FILES_LEAST, FILES_LEAST + 1, 124, 128])
def test_just_enough_files(app, config, make_walpush, files):
    walpush = make_walpush(app, config, files=files).start()
    with contextlib.ExitStack() as held:
        for number in range(15):
            held.enter_context(walpush.subscribe(UNIT_1, ASHA, source=f"127.0.1.{number + 1}"))
        assert walpush.metric("walpush_ready") == 1
    serve(app, walpush)


# --- memory, threads, stack -----------------------------------------------------------------------------------------


@plain
@pytest.mark.parametrize("megabytes", [20, 24, 28, 32, 40, 50, 60, 80, 100, 150, 200, 300])
def test_little_memory(app, config, make_walpush, megabytes):
    walpush = make_walpush(app, config, under=["prlimit", f"--as={megabytes * 1000000}"])
    if starts(walpush):
        serve(app, walpush)
        return
    if walpush.process.returncode == 127:
        assert "error while loading shared libraries" in refusal(walpush, status=127)
        return
    line = refusal(walpush)
    assert "too little memory" in line and "ulimit -v" in line
    assert megabytes < 100


# With less than 20 KiB the dynamic loader itself has too little, and nothing of ours runs.
@plain
@pytest.mark.parametrize("kilobytes", [24, 32, 64, 128, 255, 256, 1024, 1 << 30, "unlimited"])
def test_any_stack(app, config, make_walpush, kilobytes):
    limit = kilobytes if kilobytes == "unlimited" else kilobytes * 1024
    walpush = make_walpush(app, config, under=["prlimit", f"--stack={limit}:{limit}"])
    if limit == "unlimited" or kilobytes >= 256:
        assert starts(walpush), walpush.log()
        serve(app, walpush)
    else:
        walpush.spawn()
        assert f"stack may take {kilobytes} KiB and needs 256" in refusal(walpush)


@root
@plain
@pytest.mark.parametrize("audited", [False, True])
def test_a_thread_that_cannot_be_made(app, config, make_walpush, audited):
    if audited:
        config.set("audit.file", "-")
    files_only = [f"--{kind}-caps=-all,+dac_override" for kind in ("inh", "ambient")]
    nobody = ["setpriv", "--reuid=54321", "--clear-groups", *files_only, "prlimit", "--nproc=1:1"]
    walpush = make_walpush(app, config, under=nobody)
    line = refusal(walpush.spawn())
    assert "cannot start a thread" in line and "ulimit -u" in line and "TasksMax" in line


# --- files that take nothing, files that are not there --------------------------------------------------------------


def test_an_audit_file_that_may_not_grow(app, config, make_walpush, tmp_path):
    """A write beyond RLIMIT_FSIZE is an error like a full disk, not a signal that ends the process."""
    config.set("audit.file", str(tmp_path / "audit"))
    walpush = make_walpush(app, config, under=["prlimit", "--fsize=0"]).start()
    with walpush.subscribe(UNIT_1, ASHA):
        walpush.wait_for_log("the audit log cannot be written")
    serve(app, walpush)


def wait_until(done):
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def start_mute(app, config, make_walpush, redirections):
    """A process whose log nobody reads, once it streams."""
    port = free_port()
    under = ["sh", "-c", f'exec "$@" {redirections}', "sh", "prlimit", "--fsize=0"]
    walpush = make_walpush(app, config, under=under, env={"WALPUSH_LISTEN_PORT": str(port)}).spawn()
    walpush.port = port
    wait_until(lambda: walpush.process.poll() is not None or answers(port) and walpush.admin("/readyz").status == 200)
    return walpush


def serve_mute(app, walpush):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request)
        assert client.recv()["request_id"] == app.request
    walpush.stop()


def test_closed_standard_files(app, config, make_walpush):
    """No socket becomes standard error, where its peer would receive the log."""
    walpush = start_mute(app, config, make_walpush, "<&- >&- 2>&-")
    for fd in range(3):
        assert os.readlink(f"/proc/{walpush.process.pid}/fd/{fd}") == "/dev/null"
    serve_mute(app, walpush)


def test_a_log_that_may_not_grow(app, config, make_walpush, tmp_path):
    walpush = start_mute(app, config, make_walpush, f"2>{tmp_path}/log")
    assert walpush.process.poll() is None
    serve_mute(app, walpush)


# --- a hub that cannot be woken -------------------------------------------------------------------------------------


@root
@plain
@pytest.mark.parametrize("kind", ["empty", "other"])
def test_without_the_plugin(app, config, make_walpush, tmp_path, kind):
    """libwebsockets loads its event loop by name, from a package of its own."""
    listed = subprocess.run(["dpkg", "-L", "libwebsockets-evlib-uv"], capture_output=True, text=True, check=True).stdout
    plugin = re.search(r"^.*/libwebsockets-evlib_uv\.so$", listed, re.M).group()
    stand_in = tmp_path / "stand-in"
    stand_in.write_bytes(b"" if kind == "empty" else BINARY.read_bytes())
    hidden = ["unshare", "-m", "sh", "-c", f'mount --bind {stand_in} {plugin} && exec "$@"', "sh"]
    line = refusal(make_walpush(app, config, under=hidden).spawn())
    assert "libwebsockets-evlib-uv" in line


@pytest.fixture(scope="module")
def sleeper(tmp_path_factory):
    """Takes the wake-up of libwebsockets away, as a build without its pipe does."""
    return build_shim(tmp_path_factory.mktemp("sleeper"), "void lws_cancel_service(void *context) { (void)context; }\n")


@plain
def test_a_hub_that_is_not_woken_ends_the_start(app, config, make_walpush, sleeper):
    config.set("listen.threads", 2)
    line = refusal(make_walpush(app, config, env=sleeper).spawn())
    assert "thread 0 cannot be woken" in line and "libwebsockets-evlib-uv" in line


# --- SIGTERM --------------------------------------------------------------------------------------------------------


@plain
def test_sigterm_while_a_hub_is_waited_for(app, config, make_walpush, sleeper):
    """The admin port is open, the process does not listen yet, and no loop turns that could take the signal."""
    walpush = make_walpush(app, config, env=sleeper).spawn()
    wait_until(lambda: answers(walpush.admin_port))
    walpush.stop()
    assert not walpush.lines


def hold(walpush):
    """Its configuration becomes a pipe that says nothing: returns once the process reads it."""
    walpush.file.unlink()
    os.mkfifo(walpush.file)
    walpush.spawn()
    return open(walpush.file, "w")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_configuration_is_read(app, config, make_walpush, number):
    walpush = make_walpush(app, config)
    with hold(walpush):
        walpush.stop(number)


@root
def test_sigterm_to_process_one(app, config, make_walpush):
    """The first process of a container gets no signal that it has no handler for."""
    walpush = make_walpush(app, config, under=["unshare", "--pid", "--fork", "--kill-child"])
    with hold(walpush):
        outer = walpush.process.pid
        with open(f"/proc/{outer}/task/{outer}/children", encoding="ascii") as children:
            os.kill(int(children.read()), signal.SIGTERM)
        assert walpush.wait() == 0
