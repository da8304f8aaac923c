#!/usr/bin/env python3
"""Who calls whom in src/, by the symbols of the objects: tests/layers.py OBJECTS [SOURCES]

A layer calls what src/LAYERS lets it see, and files make no circle: each can be read, and tested, with those beneath it alone.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def read_layers(text):
    """Layer to the layers that it may see, itself among them, in the order of the file."""
    layers = {}
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        if line:
            name, _, sees = line.partition(":")
            layers[name] = {name, *sees.split()}
    return layers


def read_symbols(objects, sources):
    """What each file ("rules/groups") defines for others, and what it wants of others. Of a file that was moved the object stays."""
    defines, wants = {}, {}
    files = [path for path in sorted(objects.glob("*/*.o")) if (sources / path.relative_to(objects)).with_suffix(".c").exists()]
    listing = subprocess.run(["nm", "-A", "-g", *files], check=True, stdout=subprocess.PIPE, text=True).stdout
    for line in listing.splitlines():
        path, _, symbol = line.partition(":")
        file = str(Path(path).relative_to(objects).with_suffix(""))
        kind, name = symbol.split()[-2:]
        if kind == "U":
            wants.setdefault(file, set()).add(name)
        else:
            defines[name] = file
    return defines, wants


def calls_of(defines, wants):
    """File to the files that it calls, with a name of each."""
    calls = {file: {} for file in {*defines.values(), *wants}}
    for file, names in wants.items():
        for name in sorted(names):
            if name in defines:
                calls[file].setdefault(defines[name], name)
    return calls


def upward(calls, layers):
    for file in sorted(calls):
        layer = file.split("/")[0]
        for other, name in sorted(calls[file].items()):
            if other.split("/")[0] not in layers[layer]:
                yield f"{file}.c calls {name} of {other}.c: src/LAYERS does not let {layer} see {other.split('/')[0]}"


def circles(calls):
    """Files that reach each other (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(file):
        index[file] = low[file] = len(index)
        stack.append(file)
        for other in calls[file]:
            if other not in index:
                visit(other)
                low[file] = min(low[file], low[other])
            elif other in stack:
                low[file] = min(low[file], index[other])
        if low[file] == index[file]:
            at = stack.index(file)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for file in sorted(calls):
        if file not in index:
            visit(file)
    return sorted(found)


def describe(circle, calls):
    lines = [f"a circle of {len(circle)} files:"]
    for file in circle:
        inside = ", ".join(f"{other} ({name})" for other, name in sorted(calls[file].items()) if other in circle)
        lines.append(f"    {file} calls {inside}")
    return "\n".join(lines)


def main():
    objects = Path(sys.argv[1])
    sources = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "src"
    layers = read_layers((sources / "LAYERS").read_text(encoding="utf-8"))
    calls = calls_of(*read_symbols(objects, sources))
    findings = [*upward(calls, layers), *(describe(circle, calls) for circle in circles(calls))]
    print("\n".join(findings) or f"{len(calls)} files, no call upward, no circle")
    return bool(findings)


if __name__ == "__main__":
    sys.exit(main())
