"""The layers of src/ are kept by the build and by lint: what climbs does not compile, what calls upward or in a circle is found."""

import shutil
import subprocess
import sys

from harness.walpush import ROOT


def compile_in(tree, file):
    return subprocess.run(
        ["make", "VARIANT=dev", f"build/dev/obj/{file}.o"], cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_a_header_of_a_higher_layer_does_not_compile(tmp_path):
    for name in ("include", "src"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "Makefile", tmp_path)
    for part in ("tests/chaos/chaos.mk", "tests/poison/poison.mk", "tests/integration/isolation.mk", "tests/wire/wire.mk", "client/client.mk"):
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


def check(tmp_path, **sources):
    """What lint says of files that are named LAYER_NAME."""
    for name, text in sources.items():
        layer, _, file = name.partition("_")
        (tmp_path / layer).mkdir(exist_ok=True)
        (tmp_path / layer / f"{file}.c").write_text(text)
        subprocess.run(["cc", "-c", "-o", tmp_path / layer / f"{file}.o", tmp_path / layer / f"{file}.c"], check=True)
    (tmp_path / "LAYERS").write_text("low:  # the lowest\nmiddle: low\nhigh: low middle\n")
    command = [sys.executable, ROOT / "tests/layers.py", tmp_path, tmp_path]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60)
    return done.returncode, done.stdout


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
