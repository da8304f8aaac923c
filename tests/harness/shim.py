"""A library that stands before the C library's in a process: what it does with a call, it does to walpush."""

import subprocess


def build_shim(directory, source):
    """The environment in which a process has it. A sanitizer's library must be the first, so there it cannot be had."""
    (directory / "shim.c").write_text(source)
    library = directory / "shim.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, directory / "shim.c", "-ldl"], check=True)
    return {"LD_PRELOAD": str(library)}
