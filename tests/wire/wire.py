#!/usr/bin/python3
"""Strangers on the socket: a fuzzer of the WebSocket wire, against the program and over real sockets.

    make wire WIRE_SECONDS=600                a run under AddressSanitizer; the seed is drawn and printed
    tests/wire/wire.py --seed 7 --connections 100000
    tests/wire/wire.py --seed 7 --only 4711   one connection of that run alone, byte by byte

Thousands of connections do what script.py draws for them, half of them over TLS, while two bystanders a server must receive every
change that a writer commits, in order. A finding is: a crash, a hang of 5 s, a sanitizer's report, descriptors or memory that do not
come back, a change that a bystander misses, a connection that the server does not end when it must, an answer that is malformed.

Seed and number determine what a connection does, as far as the server answers alike; the timing is the machine's. A finding names both.
"""

import argparse
import collections
import multiprocessing
import os
import pathlib
import random
import shutil
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import script  # noqa: E402
from peer import Engine, Gone  # noqa: E402
from stand import Stand  # noqa: E402
from worker import Share, is_tls, place, work  # noqa: E402

from harness.client import SLOWDOWN  # noqa: E402
from harness.walpush import BINARY, ROOT  # noqa: E402
from throwaway.cluster import Cluster  # noqa: E402

CROWD = 96  # connections at once, of each server
WARM_UP = 1000  # connections of a server before the first look at its memory
TICK = 0.25
MOST = 10  # findings of one kind that are printed
ROUNDS = 5
SUSPECTS = 60 * SLOWDOWN  # seconds in which those that may have ended the process are tried alone

_SPAWN = multiprocessing.get_context("spawn")


class Attack:
    """A server's stand and the process that plays strangers against it."""

    def __init__(self, stand, options):
        self.stand = stand
        self.done, self.suspects, self.findings = 0, [], []
        self.descriptors = stand.descriptors()
        self.memory = None  # resident, after the warm-up
        self.over = False
        first = options.first + (is_tls(options.first) != stand.is_tls)
        numbers = range(first, options.first + options.connections, 2)
        share = Share(stand.walpush.port, stand.is_tls, options.seed, numbers, CROWD)
        self._pipe, theirs = _SPAWN.Pipe()
        self.process = _SPAWN.Process(target=work, args=(share, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def look(self):
        """Takes reports, and looks at the server."""
        while not self.over and self._pipe.poll():
            self._hear()
        wrong = self.stand.watch()
        if wrong and not self.over:
            self._await_word()
        self.findings += [(None, what) for what in wrong]

    def _hear(self):
        try:
            self._take(self._pipe.recv())
        except (EOFError, ConnectionError):
            self.over = True

    def _take(self, report):
        self.done, self.suspects = report.done, report.suspects
        self.findings += report.findings
        if self.memory is None and report.done >= WARM_UP:
            self.memory = self.stand.walpush.rss()

    def _await_word(self):
        """The server is gone or hangs: the process that plays comes upon that, and says which connections were under way."""
        if self.stand.walpush.process.poll() is None:
            self.stop()
        while not self.over and self._pipe.poll(2 * script.UNANSWERED):
            self._hear()
        self.over = True

    def stop(self):
        try:
            self._pipe.send("stop")
        except OSError:
            pass  # it has ended

    def end(self):
        self.process.join(1)
        if self.process.is_alive():
            self.process.kill()


class Run:
    def __init__(self, stands, options, say):
        self.options, self.say = options, say
        self.stands = stands
        self.begun = time.monotonic()
        self.attacks = [Attack(stand, options) for stand in stands]

    def go(self):
        deadline = self.begun + self.options.seconds if self.options.seconds else None
        while not all(attack.over for attack in self.attacks) and not self._is_fatal():
            time.sleep(TICK)
            for attack in self.attacks:
                if not attack.over:
                    attack.look()
            if deadline and time.monotonic() > deadline:
                for attack in self.attacks:
                    attack.stop()
                deadline = None
            self.say.progress(self._progress())
        self.took = time.monotonic() - self.begun
        fatal = self._is_fatal()
        for attack in self.attacks:
            attack.stop()
            attack.end()
        for attack in self.attacks:
            if not fatal:
                found = attack.stand.settle(attack.descriptors, attack.memory) + attack.stand.stop()
                attack.findings += [(None, what) for what in found]

    def _is_fatal(self):
        """A server is gone, hangs, or failed a bystander: the run is over. Connections that were not ended are counted on."""
        return any(number is None for attack in self.attacks for number, _ in attack.findings)

    @property
    def done(self):
        return sum(attack.done for attack in self.attacks)

    @property
    def findings(self):
        return [(attack.stand, number, what) for attack in self.attacks for number, what in attack.findings]

    def _progress(self):
        heard = "/".join(str(b.count) for stand in self.stands for b in stand.bystanders)
        seconds = time.monotonic() - self.begun
        return (
            f"{seconds:5.0f} s  {self.done} connections, {self.done / seconds:.0f} a second, {len(self.findings)} findings,"
            f" bystanders heard {heard}"
        )


class Say:
    """Progress: one line that is written over on a terminal, else a line now and then."""

    def __init__(self):
        self._is_terminal = sys.stdout.isatty()
        self._next = 0

    def __call__(self, text):
        print(("\r\x1b[K" if self._is_terminal else "") + text, flush=True)

    def progress(self, text):
        if self._is_terminal:
            print("\r\x1b[K" + text, end="", flush=True)
        elif time.monotonic() >= self._next:
            print(text, flush=True)
            self._next = time.monotonic() + 5


# --- what was found ---------------------------------------------------------------------------------------------------


def report(run, say, options):
    say(
        f"seed {options.seed}: {run.done} connections in {run.took:.0f} s, {run.done / run.took:.0f} a second,"
        f" {sum(attack.done for attack in run.attacks if attack.stand.is_tls)} of them TLS; {len(run.findings)} findings"
    )
    shown = collections.Counter()
    for stand, number, what in run.findings:
        kind = (stand.name, what[:40])
        shown[kind] += 1
        if shown[kind] <= MOST:
            say(f"  {stand.name}: {what}" + ("" if number is None else f"; {replay(options, number)}"))
    for kind, count in shown.items():
        if count > MOST:
            say(f"  {count - MOST} more of {kind[0]}: {kind[1]}…")


def replay(options, number):
    return f"tests/wire/wire.py --seed {options.seed} --only {number}"


def tell_of_crash(run, say, options):
    """The end of a dead server's log, and which connection ended it, if one alone does."""
    for attack in run.attacks:
        if attack.stand.walpush.process.poll() in (None, 0):
            continue  # it lives, or ended in order
        say(f"{attack.stand.name}: the end of its log:\n" + "\n".join(attack.stand.walpush.lines[-60:]))
        suspects = attack.suspects
        if not suspects:
            continue  # this run was over already, because of the other server
        say(f"{attack.stand.name}: {len(suspects)} connections were under way or just over; each is tried alone")
        culprits = find_culprits(attack.stand, suspects, options)
        for number in culprits:
            say(f"  connection {number} alone ends it: {replay(options, number)}")
        if not culprits:
            say(f"  none ends it alone; repeat the run: --seed {options.seed} --first {min(suspects, default=0)}")


def find_culprits(stand, suspects, options):
    """The first that ends the process when it is all alone. It may take a few times."""
    deadline = time.monotonic() + SUSPECTS
    stand.begin()
    for number in suspects[::-1] * ROUNDS:
        if time.monotonic() > deadline:
            break
        if play_alone(stand, number, options.seed) and stand.walpush.process.poll() is not None:
            return [number]
    return []


def play_alone(stand, number, seed, trace=False):
    """What was found; the process's end is, once it is looked at."""
    engine = Engine(place(stand.walpush.port, stand.is_tls), seed, script.play, 1, trace)
    try:
        engine.run(iter([number]))
        stand.walpush.admin("/healthz")
        time.sleep(0.05)  # a process that is about to end has its time to do so
    except (Gone, OSError):
        stand.walpush.wait()
    return [what for _, _, what in engine.findings] + stand.watch()


# --- commands ---------------------------------------------------------------------------------------------------------


def run_all(cluster, directory, options, say):
    with stand_for(cluster, False, directory, options) as plain, stand_for(cluster, True, directory, options) as tls:
        stands = [stand for stand in (plain, tls) if options.only_tls in (None, stand.is_tls)]
        run = Run(stands, options, say)
        run.go()
        report(run, say, options)
        tell_of_crash(run, say, options)
        for stand in stands:
            (directory / f"{stand.name}.log").write_text(stand.walpush.log() + "\n", encoding="utf-8")
    return run.findings


def run_one(cluster, directory, options, say):
    with stand_for(cluster, is_tls(options.only), directory, options) as stand:
        findings = play_alone(stand, options.only, options.seed, trace=True)
        findings = findings or stand.stop()
        for what in findings:
            say(f"finding: {what}")
        if stand.walpush.process.poll() not in (None, 0):
            say("the end of its log:\n" + "\n".join(stand.walpush.lines[-60:]))
    return findings


def stand_for(cluster, tls, directory, options):
    return Stand(cluster, tls, directory, options.library, os.environ.get("ASAN_OPTIONS", ""))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--seconds", type=float, help="how long; without it and --connections, 60")
    parser.add_argument("--connections", type=int, help="how many")
    parser.add_argument("--first", type=int, default=0, help="number of the first connection")
    parser.add_argument("--only", type=int, help="number of the one connection to play, with all that goes over the wire")
    parser.add_argument("--plain", dest="only_tls", action="store_false", default=None, help="no TLS, half as many connections")
    parser.add_argument("--tls", dest="only_tls", action="store_true", default=None, help="TLS alone, half as many connections")
    parser.add_argument("--library", type=pathlib.Path, help="directory of the libwebsockets.so to run with: tests/wire/lws.sh")
    options = parser.parse_args()
    if options.seconds is None and options.connections is None:
        options.seconds = 60
    options.connections = options.connections or 1 << 24
    return options


def main():
    options = arguments()
    say = Say()
    directory = ROOT / "build" / "wire" / f"seed-{options.seed}"
    shutil.rmtree(directory, ignore_errors=True)
    say(f"the wire of {BINARY}, seed {options.seed}")
    with Cluster(fsync=False) as cluster:
        findings = (run_all if options.only is None else run_one)(cluster, directory, options, say)
    if not findings:
        shutil.rmtree(directory, ignore_errors=True)
        return 0
    say(f"FAILED, {len(findings)} findings with seed {options.seed}; logs: {directory}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
