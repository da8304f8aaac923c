#!/usr/bin/python3
"""How much of src/ the unit tests run, by lines: tests/coverage/coverage.py BUILD, behind a run of the programs in BUILD/unit.

Prints a table of files and one of layers, and writes BUILD/index.html with every line. What excluded.txt names counts nowhere; the
tables say how many lines that is. Needs gcovr (5.2 of Debian 12, or later).
"""

import collections
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXCLUDED = pathlib.Path(__file__).with_name("excluded.txt")

Row = collections.namedtuple("Row", "name lines run left_out")


def read_excluded(text):
    """(file, function) for each entry; every entry must give its reason."""
    found = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            file, function, _reason = line.split(None, 2)
            found.append((file, function))
    return found


def functions_of(source):
    """Name to (first, last) line of each function. The format of the sources makes this exact: a body's braces stand in the first column."""
    found, start, name = {}, None, None
    for number, line in enumerate(source.splitlines(), 1):
        head = re.match(r"\w.*?(\w+)\(", line)
        if head and not line.rstrip().endswith(";"):
            start, name = number, head.group(1)
        elif line == "}" and name:
            found[name], name = (start, number), None
    return found


def place(excluded, sources):
    """Path to the ranges of lines that are left out, and what is wrong with the list. Who moves a function whose name is the only one of
    its kind need not touch the list."""
    ranges, wrong = collections.defaultdict(list), []
    functions = {path: functions_of(text) for path, text in sources.items()}
    for file, function in excluded:
        having = [path for path in functions if function in functions[path]]
        paths = [path for path in having if pathlib.Path(path).name == file] or having
        if len(paths) == 1:
            ranges[paths[0]].append(functions[paths[0]][function])
        else:
            wrong.append(f"{EXCLUDED.name}: {file} {function}: " + (f"it is in {', '.join(paths)}" if paths else "there is no such function"))
    return ranges, wrong


def leave_out(report, ranges):
    """Takes the lines of excluded functions out of gcovr's report; how many lines of code each file lost."""
    lost = collections.Counter()
    for file in report["files"]:
        path = file.get("file") or file["filename"]

        def is_out(number):
            return any(first <= number <= last for first, last in ranges.get(path, ()))

        lost[path] = sum(is_out(line["line_number"]) and not line.get("gcovr/noncode") for line in file["lines"])
        file["lines"] = [line for line in file["lines"] if not is_out(line["line_number"])]
        file["functions"] = [one for one in file.get("functions", ()) if not is_out(one.get("lineno", 0))]
    return lost


def rows_of(report, lost):
    rows = []
    for file in report["files"]:
        path = file.get("file") or file["filename"]
        counts = {}
        for line in file["lines"]:
            if not line.get("gcovr/noncode"):
                counts[line["line_number"]] = counts.get(line["line_number"], 0) + line["count"]
        rows.append(Row(path, len(counts), sum(count > 0 for count in counts.values()), lost[path]))
    return sorted(rows)


def layer_of(path):
    return pathlib.Path(path).parent.name


def sum_by_layer(rows, layers):
    for layer in layers:
        mine = [row for row in rows if layer_of(row.name) == layer]
        yield Row(layer, *(sum(row[i] for row in mine) for i in (1, 2, 3)))


def table(rows, title):
    wide = max(len(row.name) for row in rows)
    yield f"{title:<{wide}}   lines     run          left out"
    for row in rows:
        share = f"{100 * row.run / row.lines:5.1f} %" if row.lines else "      -"
        yield f"{row.name:<{wide}}  {row.lines:6}  {row.run:6}  {share}  {row.left_out or '':>8}".rstrip()


def gcovr(*args):
    subprocess.run(["gcovr", "--root", ".", *map(str, args)], cwd=ROOT, check=True)


def forget_what_moved(build):
    """A build directory keeps the notes of sources that are gone, which gcovr would look for."""
    for folder, sources in (("obj", "src"), ("unit", "tests/unit")):
        for notes in (ROOT / build / folder).glob("*/*.gcno"):
            name = notes.name.partition(".")[0].rpartition("-")[2]
            if not (ROOT / sources / notes.parent.name / f"{name}.c").exists():
                notes.unlink()


def main():
    build = pathlib.Path(sys.argv[1])
    forget_what_moved(build)
    raw, counted = build / "gcovr.json", build / "counted.json"
    gcovr("--filter", "src/", "--filter", "include/", "--json", "--output", raw, build / "obj", build / "unit")
    report = json.loads((ROOT / raw).read_text(encoding="utf-8"))
    sources = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in sorted((ROOT / "src").glob("*/*.c"))}
    ranges, wrong = place(read_excluded(EXCLUDED.read_text(encoding="utf-8")), sources)
    rows = rows_of(report, leave_out(report, ranges))
    (ROOT / counted).write_text(json.dumps(report), encoding="utf-8")
    gcovr("--add-tracefile", counted, "--html-details", build / "index.html")
    layers = re.findall(r"^(\w+):", (ROOT / "src/LAYERS").read_text(encoding="utf-8"), re.MULTILINE)
    total = Row("all", *(sum(row[i] for row in rows) for i in (1, 2, 3)))
    print("\n".join([*table(rows, "file"), "", *table([*sum_by_layer(rows, layers), total], "layer")]))
    print(f"\nline by line: {build}/index.html; what is left out, and why: {EXCLUDED.relative_to(ROOT)}")
    print("\n".join(wrong), end="\n" if wrong else "")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
