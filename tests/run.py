#!/usr/bin/python3
"""Runs the parts of the suite and says what passed.

    tests/run.py unit BINARY...        each test program, as many at a time as there are cores, quiet unless it fails
    tests/run.py parts NAME=COMMAND... each part in order, all of them even if one fails, with the time each took, by the clock and of cores

Parts between `[` and `]` run in lanes, side by side: `[ a=... b=... | c=... ]` runs c beside a and then b. The output of the first lane
is shown as it comes, that of another when a part of it has ended.

The last line is `N passed, N failed`. For parts it adds up what those in COUNTED said at their ends: ThreadSanitizer runs the same tests
again. Any part that fails is named and makes the exit status 1, and the end of its output is shown once more behind the last part, where
who reads only the end of a long log finds it.
"""

import collections
import concurrent.futures
import os
import re
import subprocess
import sys
import threading
import time

COUNTED = ("unit", "integration", "plain", "django", "client", "e2e")
SHOWN_AGAIN = 60  # lines of a part that failed


def run_program(program):
    return subprocess.run(
        [program], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )


def run_unit(programs):
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        ended = pool.map(run_program, programs)
    for program, done in zip(programs, ended):
        output = done.stdout + done.stderr
        good = sum(map(int, re.findall(r"^\[  PASSED  \] (\d+) test", output, re.M)))
        bad = sum(map(int, re.findall(r"^\[  FAILED  \] (\d+) test", output, re.M)))
        if done.returncode != 0 and bad == 0:
            bad = 1  # it crashed, or a sanitizer ended it
        elif done.returncode == 0 and good == 0:
            bad = 1
            output += "no test ran\n"
        print(f"{program}: {good} passed" + (f", {bad} FAILED" if bad else ""), flush=True)
        if bad:
            print(output, flush=True)
        passed += good
        failed += bad
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or not passed else 0


def environment():
    """Without the calling make's job server: it cannot be handed on through this program."""
    flags = os.environ.get("MAKEFLAGS", "").split(" ")
    return dict(os.environ, MAKEFLAGS=" ".join(flag for flag in flags if not flag.startswith(("-j", "--jobserver"))))


def show_now(text):
    print(text, end="", flush=True)


class Part:
    """One part, as it was called and as it went."""

    def __init__(self, word):
        self.name, self.command = word.split("=", 1)
        self.status = self.passed = self.failed = self.seconds = self.computed = 0
        self.end = ()

    def run(self, shown_at_once):
        start = time.monotonic()
        held = []
        show = show_now if shown_at_once else held.append
        show(f"\n==== {self.name}: {self.command}\n")
        self.status, self.computed, self.passed, self.failed, self.end = run_command(self.command, show)
        self.seconds = time.monotonic() - start
        if held:
            show_now("".join(held))


def run_command(command, show):
    """The exit status, the seconds that it and what it started computed, what was counted, and the end of the output."""
    counted = (0, 0)
    end = collections.deque(maxlen=SHOWN_AGAIN)
    with subprocess.Popen(
        command,
        shell=True,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout:
            show(line)
            end.append(line)
            counted = [a + b for a, b in zip(counted, count(line))]
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, used.ru_utime + used.ru_stime, *counted, end


def count(line):
    """What a closing line says: ours, pytest's between its equals signs, or Vitest's."""
    if not re.match(r"(=+ | +Tests +)?(\d+ \w+(, | \| ))*\d+ (passed|failed|errors?)\b", line):
        return 0, 0
    numbers = {word.rstrip("s"): int(number) for number, word in re.findall(r"(\d+) (passed|failed|errors?)", line)}
    return numbers.get("passed", 0), numbers.get("failed", 0) + numbers.get("error", 0)


def lanes_of(words):
    """One list of lanes for each step; a part outside of brackets is a step with one lane."""
    steps, lanes = [], None
    for word in words:
        if word == "[":
            lanes = [[]]
        elif word == "|":
            lanes.append([])
        elif word == "]":
            steps.append(lanes)
            lanes = None
        elif lanes is None:
            steps.append([[Part(word)]])
        else:
            lanes[-1].append(Part(word))
    return steps


def run_lane(lane, shown_at_once):
    for part in lane:
        part.run(shown_at_once)


def run_parts(words):
    steps = lanes_of(words)
    for first, *others in steps:
        beside = [threading.Thread(target=run_lane, args=(lane, False)) for lane in others]
        for thread in beside:
            thread.start()
        run_lane(first, True)
        for thread in beside:
            thread.join()
    return report([part for step in steps for lane in step for part in lane])


def report(parts):
    broken = [part for part in parts if part.status]
    for part in broken:
        print(f"\n==== how {part.name} ended\n{''.join(part.end)}", end="")
    print()
    for part in parts:
        print(f"{part.name:<12} {part.seconds:6.0f} s {part.computed:6.0f} s of cores  {'FAILED' if part.status else 'ok'}")
    if broken:
        print("failed:", ", ".join(part.name for part in broken))
    passed = sum(part.passed for part in parts if part.name in COUNTED)
    failed = sum(part.failed for part in parts if part.name in COUNTED)
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if broken or failed or not passed else 0


def main():
    if len(sys.argv) >= 3 and sys.argv[1] == "unit":
        return run_unit(sys.argv[2:])
    if len(sys.argv) >= 3 and sys.argv[1] == "parts":
        return run_parts(sys.argv[2:])
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
