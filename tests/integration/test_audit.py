"""The audit log: each pushed change by its key, and who was let in, turned away, or ran out of time. Never row data."""

import datetime
import json
import os
import random
import resource
import signal
import subprocess
import threading
import time

import pytest

from harness.app import ASHA, BOB, RAVI
from harness.client import PATIENCE, Client, Refused
from harness.metrics import wait_for_metric
from harness.walpush import ROW_MARK, fields_of

UNIT_1 = "/ws/requests/1/"


@pytest.fixture
def audit(config, tmp_path):
    """The file, named relative to the configuration."""
    config.set("audit.file", "../audit.jsonl")
    return tmp_path / "audit.jsonl"


@pytest.fixture
def walpush(audit, app, config, make_walpush):
    return make_walpush(app, config).start()


def lines_of(path, n):
    """Its lines, once there are so many: they are written in the background."""
    deadline = time.monotonic() + PATIENCE
    while True:
        lines = path.read_text().splitlines() if path.exists() else []
        if len(lines) >= n:
            return [json.loads(line) for line in lines]
        assert time.monotonic() < deadline, f"{len(lines)} lines instead of {n}: {lines}"
        time.sleep(0.02)


def test_who_was_admitted_and_what_they_heard(app, walpush, audit):
    with walpush.subscribe(UNIT_1, ASHA) as asha, walpush.subscribe(UNIT_1, RAVI) as ravi:
        app.sql("UPDATE requests SET status = 'Approved', purpose = %s WHERE id = %s", ROW_MARK, app.request)
        message = asha.recv()
        ravi.recv()
        app.sql("UPDATE crates SET barcode = %s WHERE id = %s", ROW_MARK, app.crate)  # heard by nobody
        lines = lines_of(audit, 4)
    when = datetime.datetime.fromisoformat(lines[0].pop("time").replace("Z", "+00:00"))
    assert abs(when.timestamp() - time.time()) < 600
    assert lines[0] == {
        "audit": "admitted",
        "user": str(ASHA),
        "peer": "127.0.0.1",
        "stream": "requests",
        "groups": ["requests_unit_{1}"],
        "resumed": False,
    }
    assert lines[1]["user"] == str(RAVI)
    for line in lines[2:]:
        del line["time"]
    assert lines[2] == {
        "audit": "change",
        "id": message["id"],
        "table": "requests",
        "action": "approved",
        "key": app.request,
        "groups": ["requests_unit_{1}"],
        "receivers": 2,
    }
    assert (lines[3]["table"], lines[3]["key"], lines[3]["receivers"]) == ("crates", app.crate, 0)
    walpush.stop()
    assert ROW_MARK not in audit.read_text()


def test_who_was_not(app, walpush, audit):
    nobody = {"user": None, "peer": "127.0.0.1", "stream": None}
    with pytest.raises(Refused):
        Client(walpush.port, "/ws/nowhere/")
    with pytest.raises(Refused):
        Client(walpush.port, UNIT_1, headers={"Origin": "https://evil.example"})
    assert Client(walpush.port, UNIT_1, token="not-a-token").close_code() == 4401
    assert walpush.connect(UNIT_1, BOB).close_code() == 4403
    with Client(walpush.port, UNIT_1, token=walpush.token(ASHA, exp=int(time.time()) + 2)) as client:
        client.established()
        assert client.close_code() == 4401
    lines = lines_of(audit, 6)
    for line in lines:
        del line["time"]
    assert lines[0] == {"audit": "refused", **nobody, "code": 404, "reason": "path"}
    assert lines[1] == {"audit": "refused", **nobody, "code": 403, "reason": "origin"}
    assert lines[2] == {"audit": "refused", **nobody, "stream": "requests", "code": 4401, "reason": "token"}
    assert lines[3] == {
        "audit": "refused", "user": str(BOB), "peer": "127.0.0.1", "stream": "requests", "code": 4403, "reason": "forbidden",
    }  # fmt: skip
    assert lines[4]["audit"] == "admitted"
    assert lines[5] == {"audit": "expired", "user": str(ASHA), "peer": "127.0.0.1", "stream": "requests", "code": 4401}


def test_who_may_no_more(app, walpush, audit):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        app.sql("DELETE FROM user_units WHERE user_id = %s", ASHA)
        assert client.close_code() == 4403
        lines = lines_of(audit, 2)
    del lines[1]["time"]
    assert lines[1] == {
        "audit": "revoked", "user": str(ASHA), "peer": "127.0.0.1", "stream": "requests", "code": 4403, "reason": "forbidden",
    }  # fmt: skip


def test_rotated_on_sighup(app, walpush, audit):
    """What was buffered goes to the old file, what comes afterwards to the new one, and no line is lost."""
    with walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request)
        client.recv()
        lines_of(audit, 2)
        old = audit.rename(audit.with_suffix(".1"))
        mark = walpush.mark()
        walpush.send_signal(signal.SIGHUP)
        walpush.wait_for_log("the configuration is taken over", since=mark)
        app.touch(app.request)
        second = client.recv()
        assert [line.get("id") for line in lines_of(audit, 1)] == [second["id"]]
    assert len(lines_of(old, 2)) == 2
    walpush.stop()


def test_a_full_disk_is_said_and_stops_nothing(app, walpush, audit, config):
    with walpush.subscribe(UNIT_1, ASHA) as client:
        lines_of(audit, 1)
        mark = walpush.mark()
        config.set("audit.file", "/dev/full").write(walpush.file)
        walpush.send_signal(signal.SIGHUP)
        walpush.wait_for_log("the configuration is taken over", since=mark)
        for _ in range(3):
            app.touch(app.request)
            client.recv()
        assert "No space left" in fields_of(walpush.wait_for_log("audit log cannot be written", since=mark))["error"]
        wait_for_metric(walpush, 3, "walpush_audit_lost_lines_total")
        mark = walpush.mark()
        config.set("audit.file", "../audit.jsonl").write(walpush.file)
        walpush.send_signal(signal.SIGHUP)
        walpush.wait_for_log("the configuration is taken over", since=mark)
        app.touch(app.request)
        last = client.recv()
        lost, change = lines_of(audit, 3)[1:]
    assert (lost["audit"], lost["lines"]) == ("lost", 3)
    assert change["id"] == last["id"]


def allow_files_of(process, size):
    """RLIMIT_FSIZE: a write takes what fits and refuses the rest, as on a disk that fills up."""
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_disk_that_fills_up_in_the_middle_of_a_line(app, walpush, audit):
    """What is there before and afterwards are whole lines; how many are missing is in the file and in the log, once."""
    with walpush.subscribe(UNIT_1, ASHA) as client:
        seen = 1
        for room in (0, 1, 40, 150, 500):
            app.touch(app.request)
            client.recv()
            before = len(lines_of(audit, seen + 1))
            changes = audit.read_text().count('"change"')
            lost = walpush.metric("walpush_audit_lost_lines_total")
            mark = walpush.mark()
            allow_files_of(walpush.process, audit.stat().st_size + room)
            for _ in range(8):
                app.touch(app.request)
                client.recv()
            walpush.wait_for_log("audit log cannot be written", since=mark)
            # All of them are written or lost, so nothing is under way.
            deadline = time.monotonic() + PATIENCE
            while audit.read_text().count('"change"') - changes + walpush.metric("walpush_audit_lost_lines_total") - lost < 8:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert audit.read_bytes().endswith(b"}\n"), room
            for line in audit.read_text().splitlines():
                json.loads(line)
            allow_files_of(walpush.process, resource.RLIM_INFINITY)
            app.touch(app.request)
            last = client.recv()
            deadline = time.monotonic() + PATIENCE
            while (lines := lines_of(audit, before))[-1].get("id") != last["id"]:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            # Where there is room for it, that lines are lost is said while others are.
            missing = [line["lines"] for line in lines[before:] if line["audit"] == "lost"]
            assert sum(missing) == walpush.metric("walpush_audit_lost_lines_total") - lost
            assert sum("audit log cannot be written" in line for line in walpush.lines[mark:]) == 1
            seen = len(lines)
    walpush.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_a_disk_that_is_full(app, config, make_walpush, tmp_path):
    """The same on a file system of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False).returncode != 0:
        pytest.skip("may not mount")
    try:
        config.set("audit.file", str(disk / "audit.jsonl"))
        walpush = make_walpush(app, config).start()
        mark = walpush.mark()
        with walpush.subscribe(UNIT_1, ASHA) as client:
            while walpush.metric("walpush_audit_lost_lines_total") == 0:
                app.touch(app.request)
                client.recv()
        walpush.wait_for_log("audit log cannot be written", since=mark)
        text = (disk / "audit.jsonl").read_text()
        assert len(text) > 60_000 and text.endswith("}\n")
        for line in text.splitlines():
            json.loads(line)
        walpush.stop()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_after_a_crash(app, config, audit, make_walpush):
    """A line that the process before did not finish is cut, said and counted, and the next line stands by itself."""
    whole = '{"time":"2025-11-14T12:34:56.123Z","audit":"lost","lines":1}\n'
    audit.write_text(whole + '{"time":"2025-11-14T12:34:57.001Z","audit":"admitted","us')
    walpush = make_walpush(app, config).start()
    assert fields_of(walpush.wait_for_log("ended in the middle of a line"))["bytes"] == "57"
    with walpush.subscribe(UNIT_1, ASHA):
        lines = lines_of(audit, 3)
    assert [line["audit"] for line in lines] == ["lost", "lost", "admitted"]
    assert lines[1]["lines"] == 1 and walpush.metric("walpush_audit_lost_lines_total") == 1
    walpush.stop()


def test_killed_at_random_moments(app, config, audit, make_walpush):
    for round_ in range(5):
        walpush = make_walpush(app, config).start()
        clients = [walpush.subscribe(UNIT_1, ASHA) for _ in range(10)]
        killer = threading.Timer(random.random() * 0.3, walpush.process.kill)
        killer.start()
        while walpush.process.poll() is None:
            app.touch(app.request)
        killer.join()
        for client in clients:
            client.wire.close()
        if round_:
            for line in lines:
                assert line["audit"] in ("admitted", "change", "lost", "refused")
        lines = [json.loads(line) for line in audit.read_text().splitlines()[:-1]]
    walpush = make_walpush(app, config).start()
    with walpush.subscribe(UNIT_1, ASHA):
        lines_of(audit, len(lines) + 1)
    walpush.stop()
    assert audit.read_bytes().endswith(b"}\n")


def test_a_successor_writes_to_the_same_file(app, config, audit, make_walpush):
    """While the one before it still closes its connections."""
    first = make_walpush(app, config).start()
    with first.subscribe(UNIT_1, ASHA):
        lines_of(audit, 1)
        second = make_walpush(app, config)
        second.start(streaming=False)
        first.stop()
        second.wait_for_log('msg="?streaming')
        with second.subscribe(UNIT_1, ASHA):
            lines_of(audit, 2)
        second.stop()
    assert audit.read_bytes().endswith(b"}\n")


def test_a_file_that_cannot_be_opened_is_refused(app, walpush, config, make_walpush):
    mark = walpush.mark()
    config.set("audit.file", "/no/such/directory/audit.jsonl").write(walpush.file)
    walpush.send_signal(signal.SIGHUP)
    assert "/no/such/directory" in walpush.wait_for_log("the configuration is refused", since=mark)
    assert make_walpush(app, config).spawn().wait() == 1


def test_on_standard_error(app, config, make_walpush):
    config.set("audit.file", "-")
    walpush = make_walpush(app, config).start()
    with walpush.subscribe(UNIT_1, ASHA):
        assert json.loads(walpush.wait_for_log('"audit":"admitted"'))["user"] == str(ASHA)
    walpush.stop()
