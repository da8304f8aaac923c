#!/usr/bin/python3
"""Two builds of walpush against each other, alternated: tests/bench/against.py OLD NEW [ROUNDS]

OLD and NEW are programs; ROUNDS is 15 if nothing is said. In each round both are measured one behind the other by the same harness, and
the next round begins with the other one. So what the machine did meanwhile cancels out. Said of each figure: the ratio of its rounds,
new to old, with its 95 % interval, and whether all of this interval is on the bad side of 3 %. No peers and no floors: `make bench` has them.
"""

import contextlib
import math
import pathlib
import statistics
import sys

import benches
from lab import Lab, Sidecar, raise_file_limit
from report import show

ROUNDS = 15
BEYOND = 0.03
LESS_IS_BETTER = ("ms", "CPU s", "bytes", "CPU %")  # what a figure's name ends with; of all others more is better


class Groups(benches.Groups):
    changes = 2000


class Fanout(benches.Fanout):
    messages, rate = 100, 100


class Decode(benches.Decode):
    updates = 60_000


class Connections(benches.Connections):
    idle = 6


def fanout(lab):
    figures, cpu = Fanout().walpush(lab)
    return {"fanout: deliveries a CPU second": figures["deliveries"] / cpu}


def backlog(lab):
    return {"backlog: deliveries/s": benches.Backlog().walpush(lab)["per_second"]}


def groups(lab):
    figures, cpu, _ = Groups().walpush(lab)
    latency = {f"groups: {p} ms": figures["latency_us"][p] / 1000 for p in ("p50", "p99")}
    return {**latency, "groups: CPU s": cpu}


def query(lab):
    us = benches.Query().walpush(lab, 100, tables__requests__data_query=benches.QUERY, **benches.PLAIN)
    return {f"data query: {p} ms": us[p] / 1000 for p in ("p50", "p99")}


def connections(lab):
    figures = Connections().round(lab)
    names = {"admissions/s": "admissions/s", "RSS bytes a connection": "a connection's bytes", "idle CPU %": "idle: CPU %"}
    return {new: figures[old] for old, new in names.items()}


def users(lab):
    return {"admissions/s of 2,000 users": benches.Users().round(lab)["admissions/s"]}


@contextlib.contextmanager
def decoding(lab):
    """Both find the same rows waiting."""
    with lab.fresh_slot() as origin:
        Decode().write(lab)
        yield lambda lab: decode(lab, origin)


def decode(lab, origin):
    with lab.fresh_slot(origin) as slot:
        rate, cpu = Decode().walpush(lab, slot)
    return {"decode: rows/s": rate, "decode: CPU s": cpu}


def one_round(lab, programs):
    """The figures of each program. What is measured is measured of all of them before the next thing."""
    figures = {program: {} for program in programs}
    with decoding(lab) as rows:
        for what in (rows, fanout, backlog, groups, query, connections, users):
            for Sidecar.program in programs:
                figures[Sidecar.program].update(what(lab))
    return figures


def t_95(n):
    """Student's t for a two-sided interval of n values (the expansion of Cornish and Fisher, right to a hundredth from 5 values on)."""
    z, v = statistics.NormalDist().inv_cdf(0.975), n - 1
    return z + (z**3 + z) / (4 * v) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2) + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)


def interval(ratios):
    """The geometric mean and its 95 % interval."""
    logs = [math.log(ratio) for ratio in ratios]
    mean, half = statistics.mean(logs), t_95(len(logs)) * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def worse(name, low, high):
    return low > 1 + BEYOND if name.endswith(LESS_IS_BETTER) else high < 1 - BEYOND


def judge(rounds):
    """Prints a line a figure; how many are worse."""
    found = 0
    for name in rounds[0][0]:
        ratio, low, high = interval([new[name] / old[name] for old, new in rounds])
        bad = worse(name, low, high)
        found += bad
        old = statistics.median(figures[name] for figures, _ in rounds)
        print(f"{name:<34} {ratio:6.3f} [{low:.3f}, {high:.3f}]  old {old:12.4g}  {'WORSE' if bad else 'ok'}")
    return found


def main():
    old, new = (pathlib.Path(word).absolute() for word in sys.argv[1:3])
    count = int(sys.argv[3]) if len(sys.argv) > 3 else ROUNDS
    raise_file_limit()
    rounds = []
    with Lab() as lab:
        for number in range(count):
            figures = one_round(lab, (old, new) if number % 2 == 0 else (new, old))
            rounds.append((figures[old], figures[new]))
            for name, program in (("old", old), ("new", new)):
                print(f"  {number + 1}/{count} {name}  {show(figures[program])}", flush=True)
    return 1 if judge(rounds) else 0


if __name__ == "__main__":
    sys.exit(main())
