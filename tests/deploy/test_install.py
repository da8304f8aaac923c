"""`make install`, and the manual page."""

import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/walpush.1"


def make(*args):
    command = ["make", "--no-print-directory", "-C", str(ROOT), *args]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module", params=["/usr/local", "/usr"])
def installed(request, tmp_path_factory):
    destination = tmp_path_factory.mktemp("image")
    make("install", f"DESTDIR={destination}", f"PREFIX={request.param}")
    return destination, request.param


def files_below(directory):
    return {str(file.relative_to(directory)) for file in directory.rglob("*") if not file.is_dir()}


def test_everything_is_there_and_goes_again(installed):
    destination, prefix = installed
    root = prefix.strip("/")
    etc = "etc/walpush" if prefix == "/usr" else f"{root}/etc/walpush"
    files = files_below(destination)
    for name in (
        f"{root}/bin/walpush",
        f"{etc}/sidecar.conf.example",
        f"{root}/share/walpush/sql/setup.sql",
        f"{root}/share/walpush/systemd/walpush.service",
        f"{root}/share/walpush/prometheus/walpush.rules.yaml",
        f"{root}/share/walpush/grafana/walpush.json",
        f"{root}/share/doc/walpush/operations.md",
        f"{root}/share/man/man1/walpush.1",
    ):
        assert name in files
    done = subprocess.run([destination / root / "bin/walpush", "--version"], capture_output=True, check=False)
    assert done.returncode == 0
    make("uninstall", f"DESTDIR={destination}", f"PREFIX={prefix}")
    assert files_below(destination) == set()
    make("install", f"DESTDIR={destination}", f"PREFIX={prefix}")


def test_what_is_installed_names_where_it_is(installed):
    destination, prefix = installed
    unit = (destination / prefix.strip("/") / "share/walpush/systemd/walpush.service").read_text()
    etc = "/etc/walpush" if prefix == "/usr" else "/usr/local/etc/walpush"
    assert f"ExecStart={prefix}/bin/walpush run -c {etc}/sidecar.conf\n" in unit
    page = (destination / prefix.strip("/") / "share/man/man1/walpush.1").read_text()
    assert f"{etc}/sidecar.conf.example" in page
    assert prefix == "/usr/local" or "/usr/local" not in unit + page


def test_the_page_is_well_formed():
    done = subprocess.run(
        ["man", "--warnings=w", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(PAGE)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr


def test_the_page_names_every_command_and_variable():
    text = PAGE.read_text()
    source = (ROOT / "src/cmd/main.c").read_text()
    commands = re.findall(r'^\t\{ "(\w+)", cmd_', source, re.MULTILINE)
    assert len(commands) >= 6
    for command in commands:
        assert f".It Cm {command}\n" in text
    for variable in set(re.findall(r"\$\{([A-Z_]+)", re.sub(r"#.*", "", (ROOT / "sidecar.conf").read_text()))):
        assert f".Ev {variable}" in text, variable
