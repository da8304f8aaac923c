"""What `make demo` relies on and this machine's npm may not show; tests/deploy/demo.sh runs it as a stranger meets it."""

import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FRONTEND = ROOT / "deploy/demo/frontend"


def test_the_client_is_linked_whatever_npm_would_do(tmp_path):
    """npm 9 packs a `file:` dependency by default. Here the user's settings ask for it, which weigh more than a default."""
    (tmp_path / "npmrc").write_text("install-links=true\n")
    env = dict(os.environ, NPM_CONFIG_USERCONFIG=str(tmp_path / "npmrc"))
    env.pop("npm_config_install_links", None)
    done = subprocess.run(
        ["npm", "config", "get", "install-links"], cwd=FRONTEND, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "false"


@pytest.mark.parametrize("changed, installs", [(None, False), ("package-lock.json", True), (".npmrc", True)])
def test_other_settings_of_npm_install_again(tmp_path, changed, installs):
    """A node_modules that was made with other settings does not stay."""
    (tmp_path / "package/node_modules").mkdir(parents=True)
    for name in ("package-lock.json", ".npmrc", "node_modules/.package-lock.json"):
        (tmp_path / "package" / name).write_text("")
    command = ["make", "-q", "-f", str(ROOT / "client/client.mk"), "package/node_modules/.package-lock.json"]
    command += ["-W", f"package/{changed}"] if changed else []
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == int(installs)


def test_every_package_has_settings():
    for package in (ROOT / "client", FRONTEND, ROOT / "tests/e2e"):
        assert (package / ".npmrc").is_file()


def test_nothing_here_needs_the_tests():
    """What `make run` and `make demo` share with the tests stands in deploy/throwaway."""
    programs = subprocess.run(["git", "ls-files", "deploy/*.py", "deploy/*.sh"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    assert "deploy/demo/backend/store/models.py" in programs and "deploy/install-deps.sh" in programs
    for program in programs:
        for line in (ROOT / program).read_text(encoding="utf-8").splitlines():
            needs = r"\bharness\b|sys\.path.*\btests\b|^\s*(from|import) tests\b|^[^#]*\btests/"
            assert not re.search(needs, line), f"{program}: {line}"
