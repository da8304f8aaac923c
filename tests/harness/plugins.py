"""Other versions of wal2json, made of the one that is installed: as dynamic_library_path for a server that loads it."""

import pathlib
import subprocess

_PLUGIN = "wal2json.so"


def _installed(cluster):
    path = subprocess.run([cluster.bin / "pg_config", "--pkglibdir"], capture_output=True, text=True, check=True).stdout
    return pathlib.Path(path.strip()) / _PLUGIN


def _with(cluster, name, *renamed):
    directory = cluster.directory / name
    data = _installed(cluster).read_bytes()
    for old, new in renamed:
        before, after = (f"\0{name}\0".encode() for name in (old, new.ljust(len(old), "\0")))
        assert data.count(before) == 1, f"wal2json has no option {old}"
        data = data.replace(before, after)
    directory.mkdir(exist_ok=True)
    (directory / _PLUGIN).write_bytes(data)
    directory.chmod(0o755)
    (directory / _PLUGIN).chmod(0o755)
    return f"{directory}:$libdir"


def before_2_5(cluster):
    """As 2.4: it accepts include-type-oids, and no column has a type. What the option sets here matters only with include-types."""
    return _with(cluster, "wal2json-2.4", ("include-type-oids", "include-type-ids"), ("include-domain-data-type", "include-type-oids"))


def before_2_3(cluster):
    """As 2.2: it knows no prefixes of messages."""
    return _with(cluster, "wal2json-2.2", ("add-msg-prefixes", "add-msg-prefixe"))
