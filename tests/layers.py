#!/usr/bin/env python3
"""Who calls and includes whom in src/: tests/layers.py OBJECTS [SOURCES]

A layer calls what src/LAYERS lets it see, and files make no circle: each can be read, and tested, with those beneath it alone. Calls are read
from the symbols of the objects. What a file includes is the compiler's business (Makefile), but for what it does not notice: a path, which
leads anywhere; a header that only higher layers include; and a file that is not compiled, or whose folder src/LAYERS does not name.
"""

import re
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


def out_of_order(layers):
    """Otherwise one word in that file would let a layer look upward."""
    lower = set()
    for layer, sees in layers.items():
        lower.add(layer)
        for other in sorted(sees - lower):
            yield f"src/LAYERS lets {layer} see {other}, which is not beneath it"


def read_files(sources, layers):
    """Each C file of the layers to its layer, those of their tests too; and what is wrong with the places of others."""
    files, wrong = {}, []
    root = sources.parent
    for folder in (sources, root / "include/walpush", root / "tests/unit", root / "tests/fuzz"):
        for path in sorted(folder.rglob("*.[ch]")):
            parts = path.relative_to(folder).parts
            name = path.relative_to(root)
            if len(parts) == 2 and parts[0] in layers:
                files[path] = parts[0]
            elif folder.parent.name == "tests" and len(parts) == 1:
                files[path] = None  # what tests of several layers share
            elif len(parts) == 2:
                wrong.append(f"{name}: src/LAYERS does not name {parts[0]}")
            else:
                wrong.append(f"{name} is in no layer's folder, and nothing compiles it")
    return files, wrong


def includes_upward(files, layers, root):
    for path, layer in files.items():
        for what in re.findall(r"^\s*#\s*include\s*(.*)", path.read_text(encoding="utf-8"), re.MULTILINE):
            found = re.match(r'<([^>]+)>|"([^"]+)"', what)
            name = found and (found[1] or found[2])
            ours = name and re.match(r"walpush/([^/]+)/[^/]+$", name)
            if not found or ".." in name or (found[2] and "/" in name and not ours):
                yield f"{path.relative_to(root)} includes {what}: neither a header of its own folder nor walpush/LAYER/NAME.h"
            elif ours and layer and ours[1] not in layers[layer]:
                yield f"{path.relative_to(root)} includes {name}: src/LAYERS does not let {layer} see {ours[1]}"


def read_symbols(objects, sources):
    """What each file ("rules/groups") defines for others, and what it wants of others. Of a file that was moved the object stays."""
    defines, wants = {}, {}
    files = [path for path in sorted(objects.glob("*/*.o")) if (sources / path.relative_to(objects)).with_suffix(".c").exists()]
    listing = subprocess.run(["nm", "-A", "-g", *files], check=True, stdout=subprocess.PIPE, text=True).stdout
    for line in listing.splitlines():
        path, _, symbol = line.partition(":")
        file = str(Path(path).relative_to(objects).with_suffix(""))
        kind, name = symbol.split()[-2:]
        if kind in "Uwv":  # w and v: a weak one, which may be missing
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
            if layer in layers and other.split("/")[0] not in layers[layer]:
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
    files, findings = read_files(sources, layers)
    findings += [*out_of_order(layers), *includes_upward(files, layers, sources.parent)]
    findings += [*upward(calls, layers), *(describe(circle, calls) for circle in circles(calls))]
    print("\n".join(findings) or f"{len(calls)} files, no call upward, no circle")
    return bool(findings)


if __name__ == "__main__":
    sys.exit(main())
