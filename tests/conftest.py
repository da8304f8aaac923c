"""Which tests run with a sanitizer, and which without one.

CI runs each test once: under AddressSanitizer and UBSan. A test that cannot run so, or that proves less there, says it with a marker and its
reason, and `make plain` runs it in the ordinary build as well. No test asks for itself which build it is in whether it should skip.
"""

import os
import pathlib

import pytest

HERE = pathlib.Path(__file__).resolve().parent
SANITIZED = pathlib.Path(os.environ.get("WALPUSH_BINARY", "")).parent.name in ("asan", "tsan")

MARKERS = {
    "plain(reason)": "a sanitizer cannot run it: skipped there",
    "whole(reason)": "a sanitizer makes it smaller, or hides a part of what it asserts: it runs there, and without one too",
}
# Whole directories that a sanitizer's run leaves out (Makefile).
DIRECTORIES = {
    "chaos": "about time, which a sanitizer takes; `make chaos VARIANT=asan` is for long runs",
    "wire": "these test the fuzzer; the fuzzer runs the program under ASan",
}


def pytest_configure(config):
    for name, text in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {text}")


def pytest_collection_modifyitems(items):
    for item in items:
        folder = item.path.relative_to(HERE).parts[0] if item.path.is_relative_to(HERE) else None
        if folder in DIRECTORIES:
            item.add_marker(pytest.mark.whole(reason=DIRECTORIES[folder]))
        plain = item.get_closest_marker("plain")
        if plain and SANITIZED:
            item.add_marker(pytest.mark.skip(reason=plain.kwargs["reason"]))
