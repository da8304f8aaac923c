#!/usr/bin/python3
"""Runs the benchmarks, prints one table, and, when all of them ran, writes it into docs/benchmarks.md.

tests/bench/run.py [NAME...]
"""

import datetime
import os
import pathlib
import platform
import re
import subprocess
import sys
import time

import benches
import chart
import report
import rivals
from lab import ROOT, Failed, Lab, raise_file_limit

DOCUMENT = ROOT / "docs/benchmarks.md"
CHART = ROOT / "docs/benchmarks.svg"


def say(text):
    print(text, flush=True)


def run(bench, lab, started):
    say(f"\n{bench.name}: {bench.what}")
    rounds = []
    for figures in bench.rounds(lab):
        rounds.append(figures)
        say(f"  [{time.monotonic() - started:4.0f} s] {len(rounds)}/{bench.n_rounds}  {report.show(figures)}")
    return rounds


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def first_line(path, pattern):
    found = re.search(pattern, pathlib.Path(path).read_text(encoding="utf-8"), re.MULTILINE)
    return found.group(1).strip() if found else "?"


def machine():
    memory = int(first_line("/proc/meminfo", r"MemTotal:\s+(\d+)")) / (1 << 20)
    processor = first_line("/proc/cpuinfo", r"^model name\s*: (.*)$")
    return (
        f"{os.cpu_count()} cores of {processor}, {memory:.0f} GiB, Linux"
        f" {platform.release()}, all of it, server, clients and PostgreSQL, over loopback"
    )


def facts(lab, seconds):
    library = {
        name: output("pkg-config", "--modversion", name) for name in ("libwebsockets", "libuv", "libpq", "libevent")
    }
    version = output("git", "-C", ROOT, "describe", "--always", "--dirty", "--exclude", "*")
    return {
        "Date": f"{datetime.date.today()}, {seconds / 60:.0f} minutes, load before it {os.getloadavg()[2]:.1f}",
        "Command": "`make bench`, the figures of one of them: `make bench BENCH=fanout`",
        "Machine": machine(),
        "walpush": f"{version}, release build, {output('cc', '--version').splitlines()[0]}",
        "Libraries": ", ".join(f"{name} {number}" for name, number in library.items()),
        "Server": lab.app.value("SELECT version()").split(" on ")[0] + ", wal2json " + wal2json_version(),
        "Peers": rivals.versions() if not rivals.missing() else "not installed",
    }


def wal2json_version():
    return output("dpkg-query", "-W", "-f", "${Version} ", "postgresql-*-wal2json").split(" ")[0] or "?"


LABELS = {
    "fanout": "fan-out, one at a time",
    "backlog": "fan-out of a backlog",
    "relay": "through the relay, p50",
    "groups": "10,000 in 1,000 groups, p99",
    "decode": "200,000 waiting updates",
    "plugins": "pgoutput ÷ wal2json",
}


def label(row):
    """A few words for the chart."""
    if row.bench == "latency":
        return "commit→client, " + row.measure[:3]
    if row.bench == "connections":
        return row.measure.partition(",")[0]
    if row.bench == "peers":
        return row.measure
    return LABELS.get(row.bench, row.bench) + (", no lookup" if "without a lookup" in row.what else "")


def write_down(rows, raw, lab, seconds, failed):
    known = facts(lab, seconds)
    if failed:
        known["Failed"] = f"{', '.join(failed)}: no figures"
    report.write_document(DOCUMENT, report.section(rows, raw, known))
    drawn = [(row, label(row), f"{report.number(row.value)} ({row.target})") for row in rows if row.verdict != "–"]
    CHART.write_text(chart.draw(drawn), encoding="utf-8")
    say(f"written: {DOCUMENT.relative_to(ROOT)}, {CHART.relative_to(ROOT)}")


def choose(names):
    known = {kind.name: kind for kind in [*benches.ALL, rivals.Peers]}
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"bench: there is no {' '.join(unknown)}; there are {' '.join(known)}")
    if lacking := rivals.missing():
        say(f"bench: without the peers and the relay, for lack of {', '.join(lacking)}: make bench-deps")
        known.pop("peers")
        known.pop("relay")
    return [known[name]() for name in names or known if name in known]


def main(names):
    raise_file_limit()
    chosen = choose(names)
    started, rows, raw, failed = time.monotonic(), [], {}, []
    with Lab() as lab:
        for bench in chosen:
            try:
                rounds = run(bench, lab, started)
                rows += bench.rows(rounds)
                raw[bench.name] = rounds
            except (Failed, AssertionError, OSError, subprocess.SubprocessError) as why:
                failed.append(bench.name)
                say(f"  FAILED: {why}\n{lab.errors()}")
        say("\n" + report.text_table(rows))
        if not names and rows:
            write_down(rows, raw, lab, time.monotonic() - started, failed)
    if failed:
        say(f"failed: {' '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
