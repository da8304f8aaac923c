"""The commands, as a person or a script uses them."""

import json
import os
import re
import signal
import subprocess
import time

import jwt
import pytest

from harness.app import ASHA, BOB
from harness.client import PATIENCE, Client
from harness.walpush import BINARY, SIGNING_KEY, run_to_end, token

COMMANDS = ("run", "check", "sql", "listen", "token", "health")


def environment(**more):
    return {"DATABASE_URL": "postgresql://x@127.0.0.1:1/x", "JWT_SIGNING_KEY": SIGNING_KEY, **more}


def test_help():
    done = run_to_end("--help")
    assert done.returncode == 0
    assert done.stderr == ""
    for command in COMMANDS:
        assert command in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_version():
    done = run_to_end("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("walpush 0.") and done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    "args",
    [
        ("fly",), ("--fly",), ("run", "--fly"), ("run", "-c"), ("token", "--user"), ("token",), ("listen",),
        ("run", "-c", "a.conf", "surplus"),
        ("check", "--fly"), ("check", "-c"), ("check", "surplus"), ("sql", "--fly"), ("sql", "surplus"), ("health", "surplus"),
        ("health", "-c"),
    ],
)  # fmt: skip
def test_wrong_usage_is_2_and_a_complaint_on_stderr(args):
    done = run_to_end(*args, env=environment())
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "walpush" in done.stderr.splitlines()[0], done.stderr


@pytest.mark.parametrize(
    "breaks, fix",
    [
        (lambda config, path: None, "correct the line"),
        (lambda config, path: config.write(path) and path.unlink(), "let -c name a file"),
        (lambda config, path: config.write(path) and path.unlink() or path.mkdir(), "let -c name a file"),
        (lambda config, path: config.set("jwt.key", "${NOWHERE_SET}").write(path), "set that variable where walpush starts"),
        (lambda config, path: config.remove("jwt.key").set("jwt.key-file", "none.pem").write(path), "let the option name a file"),
    ],
)
def test_what_is_wrong_with_the_file_has_its_fix(config, tmp_path, breaks, fix):
    path = tmp_path / "sidecar.conf"
    config.set("limits.stall", -1).write(path)
    config.remove("limits.stall")
    breaks(config, path)
    for args in ((), ("--json",)):
        done = run_to_end("check", "-c", path, "--offline", *args, env=environment())
        assert done.returncode == 2 and fix in done.stdout, done.stdout


def test_a_file_that_is_not_named_and_not_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run_to_end("check", "--offline", env=environment())
    assert done.returncode == 2 and "do: name the configuration's file with -c" in done.stdout, done.stdout


@pytest.fixture
def conf(config, tmp_path):
    return config.write(tmp_path / "sidecar.conf")


def test_a_minted_token_is_one_of_simplejwt(conf):
    done = run_to_end("token", "-c", conf, "--user", "7", env=environment())
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    claims = jwt.decode(done.stdout.strip(), SIGNING_KEY, algorithms=["HS256"], options={"require": ["exp", "iat"]})
    assert str(claims["user_id"]) == "7"
    assert claims["token_type"] == "access"


def test_a_minted_token_lets_its_user_in(walpush, conf):
    minted = run_to_end("token", "-c", conf, "--user", str(ASHA), env=environment()).stdout.strip()
    walpush.secrets.append(minted)
    with Client(walpush.port, "/ws/requests/1/", token=minted) as client:
        client.established()


def test_a_token_is_judged(conf):
    def judge(token):
        return run_to_end("token", "-c", conf, "--check", env=environment(), stdin=token)

    minted = run_to_end("token", "-c", conf, "--user", "7", env=environment()).stdout
    good = judge(minted)
    assert (good.returncode, good.stderr) == (0, "")
    assert re.fullmatch(r'accepted for another (899|900) s, user "7"\n', good.stdout)
    now = int(time.time())
    for text, complaint in (
        (token(7, exp=now - 42), r"refused \(expired\): expired 4\d s ago"),
        (token(7, nbf=now + 35), r"refused \(nbf\): not valid for another 3\d s \(nbf, leeway 0 s\): is this machine's clock right\?"),
        (token(7, key="not-the-key-of-the-server-at-all"), r"refused \(signature\): token signed with another key"),
        ("", r"refused \(length\): token too long or empty"),
        ("x.y", r"refused \(form\): not a token"),
    ):
        bad = judge(text)
        assert (bad.returncode, bad.stdout) == (1, "")
        assert re.fullmatch("walpush token: " + complaint + "\n", bad.stderr), bad.stderr
    assert run_to_end("token", "-c", conf, "--check", "--user", "7", env=environment()).returncode == 2


def listen(walpush, conf, user, path, **how):
    env = environment(WALPUSH_LISTEN_ADDRESS="127.0.0.1", WALPUSH_LISTEN_PORT=str(walpush.port))
    command = [str(BINARY), "listen", "-c", str(conf), "--user", str(user), path]
    return subprocess.Popen(
        command, env=dict(os.environ, **env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_listen_prints_what_arrives_a_line_each(app, walpush, conf, number):
    with listen(walpush, conf, ASHA, "/ws/requests/1/") as listener:
        hello = json.loads(listener.stdout.readline())
        assert hello["type"] == "connection_established"
        for i in range(3):
            app.touch(app.request, f"{i}\nsecond line")
            message = json.loads(listener.stdout.readline())
            assert message["data"]["purpose"].endswith(f"{i}\nsecond line")
        listener.send_signal(number)
        out, err = listener.communicate(timeout=PATIENCE)
        assert (out, err) == ("", "")
        assert listener.returncode == 0


def test_listen_says_why_it_was_turned_away(walpush, conf):
    with listen(walpush, conf, BOB, "/ws/requests/1/") as listener:
        out, err = listener.communicate(timeout=PATIENCE)
    assert out == ""
    assert "4403 (not admitted)" in err
    assert listener.returncode == 1


def test_listen_says_that_nobody_is_there(walpush, conf):
    walpush.port, port = 1, walpush.port
    with listen(walpush, conf, ASHA, "/ws/requests/1/") as listener:
        out, err = listener.communicate(timeout=PATIENCE)
    walpush.port = port
    assert out == "" and err.count("\n") == 1
    assert listener.returncode == 1


def test_listen_ends_when_the_server_does(app, config, make_walpush, conf):
    config.set("limits.drain", 0)
    walpush = make_walpush(app, config).start()
    with listen(walpush, conf, ASHA, "/ws/requests/1/") as listener:
        assert json.loads(listener.stdout.readline())["type"] == "connection_established"
        walpush.stop()
        _, err = listener.communicate(timeout=PATIENCE)
    assert "1012" in err
    assert listener.returncode == 1
