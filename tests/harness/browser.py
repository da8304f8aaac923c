"""A headless Chromium that looks at one page."""

import shutil
import subprocess

from harness.client import PATIENCE

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --hide-scrollbars"
).split()


def look(url, profile, *how, size=(1200, 1000), dark=False, budget=6000):
    """Runs it on a fresh profile with further flags until the page is loaded and its scripts have had so many ms of their own time, which
    runs fast, or until it is loaded if that is None; what it prints."""
    browser = shutil.which("chromium")
    assert browser, "chromium is missing: make deps-test"
    shutil.rmtree(profile, ignore_errors=True)
    more = ["--force-dark-mode", "--enable-features=WebContentsForceDark:inversion_method/none"] if dark else []
    command = [browser, *FLAGS, *more, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}",
               *([f"--virtual-time-budget={budget}"] if budget else []), *how, url]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=4 * PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
