#!/usr/bin/env python3
"""How long the functions of src/ and include/ are, in lines between their braces: tests/functions.py. One that does not fit a screen is named."""

import re
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MOST = 60


def functions_of(path):
    start = name = None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if start is None and re.match(r"[a-zA-Z_]", line):
            name = line
        if line == "{":
            start = number
        elif line == "}" and start:
            yield number - start - 1, f"{path.relative_to(ROOT)}:{start}: {name}"
            start = None


def main():
    found = sorted((length for path in [*ROOT.glob("src/*/*.[ch]"), *ROOT.glob("include/walpush/*/*.h")] for length in functions_of(path)), reverse=True)
    long = [f"{where}: {length} lines, and {MOST} is the most" for length, where in found if length > MOST]
    lengths = [length for length, _ in found]
    print("\n".join(long) or f"{len(found)} of them, median {statistics.median(lengths):.0f} lines, longest {lengths[0]}")
    return bool(long)


if __name__ == "__main__":
    sys.exit(main())
