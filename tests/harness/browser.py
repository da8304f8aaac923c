"""A headless Chromium that looks at one page, or is driven through it."""

import contextlib
import json
import pathlib
import shutil
import subprocess
import time

from harness.client import PATIENCE, Client, http

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


class Page:
    """An open page: what a script in it says."""

    def __init__(self, port):
        deadline = time.monotonic() + 2 * PATIENCE
        while True:
            pages = [p for p in json.loads(http(port, "/json/list").body) if p["type"] == "page"]
            if pages or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        self._devtools = Client(port, "/" + pages[0]["webSocketDebuggerUrl"].split("/", 3)[3])
        self._calls = 0

    def run(self, script):
        """The value of an expression, once its promise, if it is one, is kept."""
        said = self._ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    def wait_for(self, script):
        """Its value, once it is true; before that the page may lack what the script names."""
        deadline = time.monotonic() + PATIENCE
        while not (value := self.run(f"(() => {{ try {{ return {script}; }} catch (error) {{ return false; }} }})()")):
            assert time.monotonic() < deadline, f"never true: {script}"
            time.sleep(0.05)
        return value

    def go(self, url):
        self._ask("Page.navigate", url=url)

    def _ask(self, method, **params):
        self._calls += 1
        self._devtools.send_json({"id": self._calls, "method": method, "params": params})
        while (said := self._devtools.recv()).get("id") != self._calls:
            pass
        assert "result" in said, said
        return said["result"]

    def close(self):
        self._devtools.wire.close()


@contextlib.contextmanager
def driven(url, profile):
    """A page of a browser on a fresh profile, for scripts of the test."""
    browser = shutil.which("chromium")
    assert browser, "chromium is missing: make deps-test"
    shutil.rmtree(profile, ignore_errors=True)
    command = [browser, *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-port=0", url]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    said = pathlib.Path(profile) / "DevToolsActivePort"
    try:
        deadline = time.monotonic() + 2 * PATIENCE
        while not (said.exists() and said.read_text().count("\n")):
            assert process.poll() is None and time.monotonic() < deadline, "chromium does not start"
            time.sleep(0.05)
        page = Page(int(said.read_text().splitlines()[0]))
        yield page
        page.close()
    finally:
        process.kill()
        process.wait()
