"""The layers of src/ are kept by the build and by lint: what climbs does not compile, what calls upward or in a circle is found."""

import re
import shutil
import subprocess
import sys

import pytest

from harness.walpush import ROOT


def compile_in(tree, file):
    return subprocess.run(
        ["make", "VARIANT=dev", f"build/dev/obj/{file}.o"], cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_a_header_of_a_higher_layer_does_not_compile(tmp_path):
    for name in ("include", "src"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "Makefile", tmp_path)
    for part in re.findall(r"^include (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE):
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / part, tmp_path / part)
    said = compile_in(tmp_path, "text/origin")
    assert said.returncode == 0, said.stdout
    source = tmp_path / "src/text/origin.c"
    sound = source.read_text()
    for header in ("walpush/rules/rules.h", "rules/parts.h", "walpush/conf/conf.h"):
        source.write_text(sound.replace('#include "walpush/', f'#include "{header}"\n#include "walpush/', 1))
        said = compile_in(tmp_path, "text/origin")
        assert said.returncode and f"{header}: No such file" in said.stdout, said.stdout


LAYERS = "low:  # the lowest\nmiddle: low\nhigh: low middle\n"


def lint(tree, layers=LAYERS):
    """What lint says of this tree; its sources need not be compiled."""
    (tree / "src").mkdir(exist_ok=True)
    (tree / "src/LAYERS").write_text(layers)
    command = [sys.executable, ROOT / "tests/layers.py", tree / "build", tree / "src"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60)
    return done.returncode, done.stdout


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def compiled(tree, **sources):
    """Files that are named LAYER_NAME."""
    for name, text in sources.items():
        file = name.replace("_", "/", 1)
        source, made = write(tree / f"src/{file}.c", text), tree / f"build/{file}.o"
        made.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cc", "-c", "-o", made, source], check=True)


def check(tmp_path, **sources):
    compiled(tmp_path, **sources)
    return lint(tmp_path)


def test_a_call_upward_is_found(tmp_path):
    low, high = "void low_a(void) {}", "void low_a(void); void high_a(void) { low_a(); }"
    assert check(tmp_path, low_a=low, high_a=high) == (0, "2 files, no call upward, no circle\n")
    climbing = "extern int high_table[]; int *low_b(void) { return high_table; }"
    status, said = check(tmp_path, low_b=climbing, high_b="int high_table[1];")
    assert status and "low/b.c calls high_table of high/b.c: src/LAYERS does not let low see high" in said


def test_a_circle_is_found(tmp_path):
    status, said = check(
        tmp_path,
        low_a="void low_b(void); void low_a(void) { low_b(); }",
        low_b="void low_c(void); void low_b(void) { low_c(); }",
        low_c="void low_a(void); void low_c(void) { low_a(); }",
        low_d="void low_a(void); void low_d(void) { low_a(); }",
    )
    assert status and "a circle of 3 files" in said and "low/c calls low/a (low_a)" in said and "low/d" not in said


def test_a_weak_call_is_a_call(tmp_path):
    """And it does not count as the definition."""
    weak = "void high_a(void) __attribute__((weak)); void low_a(void) { if (high_a) high_a(); }"
    status, said = check(tmp_path, high_a="void high_a(void) {}", low_a=weak)
    assert status and "low/a.c calls high_a of high/a.c" in said


@pytest.mark.parametrize(
    "file, line, said",
    [
        ("src/low/a.c", '#include "../high/parts.h"', 'src/low/a.c includes "../high/parts.h"'),
        ("src/low/a.c", '# include "../../include/walpush/high/a.h"', "src/low/a.c includes"),
        ("src/low/parts.h", "#include HEADER", "src/low/parts.h includes HEADER"),
        ("src/low/parts.h", '#include "/root/a.h"', 'src/low/parts.h includes "/root/a.h"'),
        ("include/walpush/low/a.h", '#include "walpush/high/a.h"', "low/a.h includes walpush/high/a.h: src/LAYERS does not let low see high"),
        ("include/walpush/low/a.h", "#include <walpush/middle/a.h>", "does not let low see middle"),
        ("tests/unit/low/test_a.c", '#include "../../../src/high/parts.h"', "tests/unit/low/test_a.c includes"),
        ("tests/unit/common.h", '#include "../high/stand.h"', "tests/unit/common.h includes"),
        ("src/other/a.c", "", "src/other/a.c: src/LAYERS does not name other"),
        ("include/walpush/other/a.h", "", "a.h: src/LAYERS does not name other"),
        ("src/a.c", "", "src/a.c is in no layer's folder, and nothing compiles it"),
        ("src/low/deep/a.c", "", "src/low/deep/a.c is in no layer's folder"),
        ("tests/unit/other/test_a.c", "", "src/LAYERS does not name other"),
    ],
)
def test_what_the_compiler_takes_and_a_layer_must_not(tmp_path, file, line, said):
    compiled(tmp_path, low_x="#include <string.h>\nint low_x;")
    write(tmp_path / "src/high/sees.h", '#include "parts.h"\n#include "walpush/low/a.h"\n#include <sys/types.h>\n')
    assert lint(tmp_path)[0] == 0
    write(tmp_path / file, line + "\n")
    status, out = lint(tmp_path)
    assert status and said in out and len(out.splitlines()) == 1, out


def test_a_layer_sees_only_what_is_beneath_it(tmp_path):
    """Otherwise a word in src/LAYERS would be a way upward."""
    compiled(tmp_path, low_a="int low_a;")
    status, said = lint(tmp_path, "low: high\nhigh: low\n")
    assert status and said == "src/LAYERS lets low see high, which is not beneath it\n"
