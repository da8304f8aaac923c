#!/usr/bin/python3
"""The integration part against PostgreSQL 13 to 18, with pgoutput and with wal2json: tests/matrix/matrix.py [--versions "18 14"] [--plugins pgoutput]

Without arguments every version with both plugins. trees.py fetches what is missing. What fails, or cannot be had, does not keep the others from
running. Each combination has a row in docs/operations.md, which is written as soon as it has ended; rows of other runs stay.
"""

import argparse
import collections
import datetime
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree

import trees

DOCUMENT = trees.ROOT / "docs/operations.md"
BEGIN, END = "<!-- matrix: begin; written by `make pg-matrix` -->", "<!-- matrix: end -->"
HEAD = ["PostgreSQL", "plugin", "passed", "skipped", "failed", "tested"]
VERSIONS = (18, 17, 16, 15, 14, 13)
PLUGINS = ("pgoutput", "wal2json")

# Of tests/integration, what says most about a version and a plugin.
BOTH = "push types records children alter permission data_query ddl_trigger versions plugins switch standby failover"
PART = {"pgoutput": f"{BOTH} publication sql_pgoutput", "wal2json": f"{BOTH} sql check"}
PATIENCE = 1200  # seconds for a combination

Result = collections.namedtuple("Result", "passed skipped failed names")


def main():
    options = arguments()
    wanted = [(version, plugin) for version in options.versions for plugin in options.plugins]
    trees.BUILD.mkdir(parents=True, exist_ok=True)
    failed = []
    for at, (version, plugin) in enumerate(wanted, start=1):
        print(f"==== {at} of {len(wanted)}: PostgreSQL {version}, {plugin}", flush=True)
        row, names = try_one(version, plugin)
        failed += [f"PostgreSQL {version}, {plugin}: {name}" for name in names]
        print("     " + ", ".join(f"{name} {cell}" for name, cell in zip(HEAD[2:], row[2:]) if cell), flush=True)
        write_row(DOCUMENT, row)
    print(*(f"failed: {name}" for name in failed), sep="\n")
    return 1 if failed else 0


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--versions", type=lambda text: [int(one) for one in text.split()], default=[])
    parser.add_argument("--plugins", type=str.split, default=[])
    options = parser.parse_args()
    options.versions = options.versions or VERSIONS
    options.plugins = options.plugins or PLUGINS
    if not set(options.versions) <= set(VERSIONS) or not set(options.plugins) <= set(PLUGINS):
        parser.error(f"versions are {VERSIONS}, plugins {PLUGINS}")
    return options


def try_one(version, plugin):
    """Its row, and the names of what failed."""
    try:
        binaries, name = (trees.server(version), plugin) if plugin == "pgoutput" else trees.with_wal2json(version)
        result = run_part(binaries, plugin, f"{version}-{plugin}")
        shown = trees.number(binaries)
    except trees.Missing as why:
        return [str(version), plugin, "not tested", "", "", str(why)], []
    name = plugin if name == plugin else f"{plugin} {name}"
    return [shown, name, str(result.passed), str(result.skipped), str(result.failed), f"{datetime.date.today()}"], result.names


def run_part(binaries, plugin, name):
    """Its output goes by; what each test said is in build/pg-matrix/NAME.xml."""
    report = trees.BUILD / f"{name}.xml"
    report.unlink(missing_ok=True)
    files = [f"tests/integration/test_{one}.py" for one in PART[plugin].split()]
    jobs = os.environ.get("TEST_JOBS", "2")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-n", jobs, "--dist", "loadfile", f"--junitxml={report}", *files]
    environment = dict(os.environ, PG_BINDIR=str(binaries), WALPUSH_TEST_PLUGIN=plugin)
    began = time.monotonic()
    try:
        subprocess.run(command, cwd=trees.ROOT, env=environment, stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return Result(0, 0, 1, [f"it has not ended in {PATIENCE} s"])
    print(f"     {time.monotonic() - began:.0f} s", flush=True)
    return counted(report) if report.exists() else Result(0, 0, 1, ["no test ran"])


def counted(report):
    cases = list(xml.etree.ElementTree.parse(report).iter("testcase"))
    bad = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = [case for case in cases if case.find("skipped") is not None]
    return Result(len(cases) - len(bad) - len(skipped), len(skipped), len(bad), [f"{case.get('classname')}::{case.get('name')}" for case in bad])


# --- docs/operations.md -----------------------------------------------------------------------------------------------


def key_of(row):
    """Version and plugin, without the parts that a newer release changes."""
    return int(row[0].split(".")[0]), row[1].split()[0]


def rows_of(text):
    """Between the marks, by version and plugin."""
    between = text[text.index(BEGIN) : text.index(END)]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in between.splitlines() if re.match(r"\| *\d", line)]
    return {key_of(row): row for row in rows}


def table(rows):
    """Newest first; a combination without a row says so."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---|---|---:|---:|---:|---|"]
    for version in VERSIONS:
        for plugin in PLUGINS:
            row = rows.get((version, plugin), [str(version), plugin, "not tested", "", "", "not yet"])
            lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def write_row(document, row):
    text = document.read_text(encoding="utf-8")
    rows = {**rows_of(text), key_of(row): row}
    before, after = text[: text.index(BEGIN)], text[text.index(END) :]
    document.write_text(f"{before}{BEGIN}\n\n{table(rows)}\n\n{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
