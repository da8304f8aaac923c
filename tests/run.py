#!/usr/bin/python3
"""Runs the parts of the suite and says what passed.

    tests/run.py unit BINARY...        each test program, as many at a time as there are cores, quiet unless it fails
    tests/run.py parts NAME=COMMAND... each part in order, all of them even if one fails, with the time each took

The last line is `N passed, N failed`. For parts it adds up what unit, integration and django said at their ends, once:
the sanitizers run the same tests again. Any part that fails is named and makes the exit status 1, and the end of its
output is shown once more behind the last part, where who reads only the end of a long log finds it.
"""

import collections
import concurrent.futures
import os
import re
import subprocess
import sys
import time

COUNTED = ("unit", "integration", "django", "client", "e2e")
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


def run_part(name, command):
    """Shows the part's output as it comes; its exit status, what it counted, and the end of its output."""
    print(f"\n==== {name}: {command}", flush=True)
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
            print(line, end="", flush=True)
            end.append(line)
            counted = [a + b for a, b in zip(counted, count(line))]
    return process.returncode, *counted, end


def count(line):
    """What a closing line says: ours, pytest's between its equals signs, or Vitest's."""
    if not re.match(r"(=+ | +Tests +)?(\d+ \w+(, | \| ))*\d+ (passed|failed|errors?)\b", line):
        return 0, 0
    numbers = {word.rstrip("s"): int(number) for number, word in re.findall(r"(\d+) (passed|failed|errors?)", line)}
    return numbers.get("passed", 0), numbers.get("failed", 0) + numbers.get("error", 0)


def run_parts(parts):
    passed = failed = 0
    report, broken = [], {}
    for part in parts:
        name, command = part.split("=", 1)
        start = time.monotonic()
        status, good, bad, end = run_part(name, command)
        report.append(f"{name:<12} {time.monotonic() - start:6.0f} s  {'ok' if status == 0 else 'FAILED'}")
        if status:
            broken[name] = end
        if name in COUNTED:
            passed += good
            failed += bad
    for name, end in broken.items():
        print(f"\n==== how {name} ended\n{''.join(end)}", end="")
    print("\n" + "\n".join(report))
    if broken:
        print("failed:", ", ".join(broken))
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
