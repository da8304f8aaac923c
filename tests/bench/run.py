#!/usr/bin/python3
"""Runs the benchmarks, prints one table, and writes docs/benchmarks.md when all of them ran.

    tests/bench/run.py [NAME...]
"""

import sys
import time

import benches
import report
from lab import Failed, Lab


def say(text):
    print(text, flush=True)


def show(figures):
    return "  ".join(f"{key} {report.number(value)}" for key, value in figures.items())


def run(bench, lab, started):
    say(f"\n{bench.name}: {bench.what}")
    rounds = []
    for figures in bench.rounds(lab):
        rounds.append(figures)
        say(f"  [{time.monotonic() - started:4.0f} s] {len(rounds)}/{bench.n_rounds}  {show(figures)}")
    return rounds


def main(names):
    known = {kind.name: kind for kind in benches.ALL}
    if unknown := [name for name in names if name not in known]:
        say(f"no such benchmark: {' '.join(unknown)}; there are {' '.join(known)}")
        return 2
    chosen = [known[name]() for name in names or known]
    started, rows, raw, failed = time.monotonic(), [], {}, []
    with Lab() as lab:
        for bench in chosen:
            try:
                raw[bench.name] = run(bench, lab, started)
                rows += bench.rows(raw[bench.name])
            except Failed as why:
                failed.append(bench.name)
                say(f"  FAILED: {why}")
    say("\n" + report.text_table(rows))
    if failed:
        say(f"failed: {' '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
