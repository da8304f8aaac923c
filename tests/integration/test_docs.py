"""Every example in README, docs/ and CONTRIBUTING does what it says.

Each block of code is taken by one of the tests below: commands and SQL are run in the order of their document, JSON is compared with what
the program says, targets of make are looked up. What cannot be run stands in NOT_RUN with the reason; a block that nobody takes fails.
"""

import datetime
import fnmatch
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading

import pytest

from harness.app import ASHA, BOB, RAVI, App
from harness.browser import look
from harness.client import PATIENCE, Client
from harness.walpush import BINARY, ROOT, SIGNING_KEY, Walpush, free_port, run_to_end
from throwaway.cluster import Cluster
from throwaway.config import template

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
UNIT_1 = "/ws/requests/1/"
SHELL, SQL = ("sh", "console"), ("sql",)

# What no test here runs: a text of the block, and why.
NOT_RUN = {
    "ACL SETUSER walpush": "test_relay_refusals.py sets these rights, and feeds replicas with them",
    "apt-get install -y make": "needs root and the network; CI begins with it",
    "# The layers of src/": "src/LAYERS; test_the_layers_of_the_architecture compares them",
    "request.updated  approved": "what `make run` prints; its numbers are of the moment",
    "<WebSocketProvider": "a fragment; client/test runs the provider and the hooks",
}
DRAWINGS = ("─▶", "──▶", "/ws/requests/{unit_id}/")


class Block:
    def __init__(self, document, line, language, text):
        self.document, self.line, self.language, self.text = document, line, language, text

    def __repr__(self):
        return f"{self.document.relative_to(ROOT)}:{self.line}"

    def is_exempt(self):
        return any(text in self.text for text in NOT_RUN) or any(text in self.text for text in DRAWINGS)


def dedent(lines):
    margin = min(len(line) - len(line.lstrip(" ")) for line in lines if line.strip())
    return "\n".join(line[margin:] for line in lines)


def blocks_of(document):
    """Fenced blocks with their language, and indented ones without; both may stand in a list."""
    found, lines, at, margin = [], document.read_text(encoding="utf-8").splitlines(), 0, 0
    while at < len(lines):
        line = lines[at]
        indent = len(line) - len(line.lstrip(" "))
        fence = re.match(r"^ *```(\w*)$", line)
        if fence:
            end = next(i for i in range(at + 1, len(lines)) if lines[i].strip() == "```")
            found.append(Block(document, at + 1, fence.group(1), dedent(lines[at + 1 : end])))
            at = end + 1
            continue
        item = re.match(r"^( *(?:[-*]|\d+\.) +)\S", line)
        if item:
            margin = len(item.group(1))
        elif line.strip() and indent < margin:
            margin = 0
        if line.strip() and indent >= margin + 4 and not item and (at == 0 or not lines[at - 1].strip()):
            end = at
            while end < len(lines) and (not lines[end].strip() or len(lines[end]) - len(lines[end].lstrip(" ")) >= margin + 4):
                end += 1
            found.append(Block(document, at + 1, "", dedent(lines[at:end]).rstrip()))
            at = end
            continue
        at += 1
    return found


BLOCKS = [block for document in DOCUMENTS for block in blocks_of(document)]


def taken(language, document=None):
    return [
        b
        for b in BLOCKS
        if b.language == language and not b.is_exempt() and (document is None or b.document.name == document)
    ]


def is_make(block):
    return block.language == "" and all(line.startswith("make ") for line in block.text.splitlines())


def is_command(block):
    return block.language == "" and re.match(r"(walpush|export|psql) ", block.text) is not None


def test_nobody_forgets_an_example():
    known = {"json", "console", "sh", "sql", "js", "conf"}
    left = [b for b in BLOCKS if not b.is_exempt() and b.language not in known and not is_make(b) and not is_command(b)]
    assert not left, f"no test runs these blocks: {left}"
    # Those of configuration.md are read by tests/unit/conf/test_conf.c, one by one.
    assert {b.document.name for b in taken("conf")} <= {"configuration.md"}
    assert {b.document.name for b in taken("json")} <= {"configuration.md", "protocol.md", "status.md"}
    assert {b.document.name for b in taken("js")} <= {"README.md"}
    for text in NOT_RUN:
        assert any(text in b.text for b in BLOCKS), f"{text!r} stands nowhere any more"


def test_links_lead_somewhere():
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


# --- make ------------------------------------------------------------------------------------------------------------


def test_targets_of_make():
    blocks = [b for b in BLOCKS if is_make(b) and not b.is_exempt()]
    assert blocks
    said = subprocess.run(["make", "-pRrq", ":"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    targets = set(re.findall(r"^([a-z][\w-]*):", said, re.MULTILINE))
    for block in blocks:
        for line in block.text.splitlines():
            words = re.split(r" {2,}|#", line)[0].split()[1:]
            for word in words:
                assert word in targets or re.match(r"[A-Z_]+=|-", word), f"{block}: make {word}"


CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
TREE = ("src", "include", "tests", "docs", "deploy", "client", "sql")
# What a build makes, and the source of it.
BUILT = [(r"build/dev/unit/(.+)", r"tests/unit/\1.c"), (r"build/fuzz/fuzz/(.+)", r"tests/fuzz/\1.c")]


def paths_in(code):
    """Words that name a file or a folder of the tree; LAYER stands for any."""
    for word in re.findall(r"[\w./*-]+", code):
        for built, source in BUILT:
            word = re.sub(f"^{built}$", source, word)
        if word.split("/")[0] in TREE and "/" in word:
            yield word.replace("LAYER", "*").strip("/")


def test_what_contributing_names_is_there():
    """Files, folders and targets of make, in the text as in the tables."""
    codes = re.findall(r"`([^`\n]+)`", CONTRIBUTING)
    paths = [path for code in codes for path in paths_in(code)]
    assert {"tests/conftest.py", "tests/unit/*/test_*.c", "tests/unit/change/test_decode.c"} <= set(paths)
    for path in paths:
        assert any(ROOT.glob(path)), f"CONTRIBUTING.md names {path}"
    for name in (code for code in codes if re.fullmatch(r"\w+\.[ch]", code)):
        assert any(path.name == name for path in PATHS), f"CONTRIBUTING.md names {name}"
    said = subprocess.run(["make", "-pRrq", ":"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    targets = set(re.findall(r"^([a-z][\w.-]*):", said, re.MULTILINE))
    wanted = {target for code in codes for target in re.findall(r"^make ([a-z][\w.-]*)", code)}
    assert {"coverage", "mutants", "compile_commands.json"} <= wanted <= targets, wanted - targets


# --- commands and SQL --------------------------------------------------------------------------------------------------


class World:
    """A server whose database is called app, a shell in which walpush and psql are at hand, and an address of the admin port."""

    def __init__(self, cluster, directory):
        self.cluster, self.directory = cluster, directory
        self.password = "…"  # as it stands in the documents
        (directory / "sql").symlink_to(ROOT / "sql")
        shutil.copy(ROOT / "sidecar.conf", directory / "sidecar.conf")
        (directory / "bin").mkdir()
        (directory / "bin/walpush").symlink_to(BINARY)
        self.port, self.admin_port = free_port(), free_port()

    def environment(self):
        role = f"postgresql://walpush:{self.password}@127.0.0.1:{self.cluster.port}/app"
        return dict(
            os.environ,
            PATH=f"{self.directory}/bin:{self.cluster.bin}:{os.environ['PATH']}",
            PGHOST=str(self.cluster.directory),
            PGPORT=str(self.cluster.port),
            PGUSER="postgres",
            PGPASSWORD=self.cluster.passwords["postgres"],
            DATABASE_URL=role,
            JWT_SIGNING_KEY=SIGNING_KEY,
            WALPUSH_LISTEN_ADDRESS="127.0.0.1",
            WALPUSH_LISTEN_PORT=str(self.port),
            WALPUSH_ADMIN_PORT=str(self.admin_port),
        )

    def run(self, text, block):
        """In a shell, at the addresses of here."""
        text = text.replace("127.0.0.1:8002", f"127.0.0.1:{self.admin_port}")
        text = text.replace("@db:5432/", f"@127.0.0.1:{self.cluster.port}/").replace("JWT_SIGNING_KEY=…", "JWT_SIGNING_KEY=" + SIGNING_KEY)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.directory, env=self.environment(), capture_output=True, text=True, timeout=3 * PATIENCE, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}: {text}\n{done.stdout}{done.stderr}"
        return done.stdout

    def sql(self, text, block):
        changed = re.search(r"PASSWORD '([^']*)'", text)
        self.run(f"psql -X -v ON_ERROR_STOP=1 -d app <<'END'\n{text}\nEND", block)
        self.password = changed.group(1).replace(" ", "%20") if changed else self.password

    def spawn(self, text):
        return subprocess.Popen(
            ["bash", "-c", "exec " + text],
            cwd=self.directory, env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip


@pytest.fixture(scope="module")
def own_cluster():
    with Cluster({"max_prepared_transactions": 5}) as cluster:
        yield cluster


@pytest.fixture
def world(own_cluster, tmp_path):
    app = App(own_cluster, "app")
    app.slot = "walpush"
    own_cluster.sql("ALTER ROLE walpush PASSWORD '…'")
    world = World(own_cluster, tmp_path)
    world.app = app
    yield world
    app.drop()


def wait_for_line(process, text):
    lines = []
    for line in process.stderr:
        lines.append(line)
        if text in line:
            return line
    raise AssertionError(f"{text!r} never came:\n" + "".join(lines))


def test_the_commands_of_the_readme(world):
    """The DBA's, the check, and the server; then what the text says about a page in a terminal."""
    blocks = [b for b in taken("", "README.md") if is_command(b)]
    lines = [(line, block) for block in blocks for line in block.text.splitlines()]
    assert len(lines) >= 4 and lines[-1][0] == "walpush run -c sidecar.conf"
    for line, block in lines[:-1]:
        world.run(line, block)
    server = world.spawn(lines[-1][0])
    try:
        wait_for_line(server, 'msg="live"')
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        listen = re.search(r"`(walpush listen --user 7 [^`]+)`", readme).group(1)
        mint = re.search(r"`(walpush token --user 7)`", readme).group(1)
        assert world.run(mint, "README").count(".") == 2
        page = world.spawn(listen.replace("/ws/requests/5/", UNIT_1).replace("--user 7", f"--user {ASHA}"))
        assert "connection_established" in page.stdout.readline()
        world.app.touch(world.app.request)
        assert "request.updated" in page.stdout.readline()
        page.kill()
        page.communicate()
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=PATIENCE)
    assert server.returncode == 0


def stories():
    return sorted({b.document.name for b in BLOCKS if b.language in SHELL + SQL and not b.is_exempt()} - {"status.md"})


@pytest.mark.parametrize("document", stories() or [pytest.param("", marks=pytest.mark.skip("no document tells a story yet"))])
def test_the_story_of_a_document(world, document):
    """Its commands and its SQL, in the order in which they stand there. The view of sql/monitoring.sql is there from the start."""
    world.run("psql -X -q -d app -f sql/monitoring.sql", document)
    for block in BLOCKS:
        if block.document.name != document or block.is_exempt():
            continue
        if block.language == "sql":
            world.sql(block.text, block)
        elif block.language == "sh":
            world.run(block.text, block)
        elif block.language == "console":
            run_console(world, block)


def run_console(world, block):
    """`$ command` and, behind it, what it prints."""
    for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n?)*)", block.text + "\n", re.MULTILINE):
        assert world.run(command, block).rstrip("\n") == output.rstrip("\n"), block


# --- what architecture.md names ----------------------------------------------------------------------------------------

ARCHITECTURE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
PATHS = [path for folder in ("src", "include") for path in sorted((ROOT / folder).rglob("*.[ch]"))]
SOURCES = {path.name: path.read_text(encoding="utf-8") for path in PATHS if path.name != "parts.h"}


def test_the_functions_of_the_architecture():
    """Where a file and a function stand together, the one defines the other, also along the arrows. Other names are at least known."""
    pairs = [
        (file, name)
        for file, names in re.findall(r"`(\w+\.[ch])`((?:[\s,→]*`\w+`)*)", ARCHITECTURE)
        for name in re.findall(r"\w+", names) or [None]
    ]
    assert ("source.c", "take_frame") in pairs and ("deliver.c", "deliver_runs") in pairs
    for file, name in pairs:
        assert file in SOURCES, f"{file} is not there"
        definition = rf"^\w[^;={{}}\n]*\b{name}\([^;{{}}]*\)\n\{{"
        assert name is None or re.search(definition, SOURCES[file], re.MULTILINE), f"{file} does not define {name}"
    everything = "\n".join(path.read_text(encoding="utf-8") for path in PATHS)
    for name in re.findall(r"`(\w+_\w+|struct \w+)`", ARCHITECTURE):
        assert re.search(rf"\b{name}\b", everything), f"nothing is called {name}"


def is_part(path):
    """A header that is only a part of its layer, or of a module."""
    return path.name == "parts.h" or path.name == "cmd.h" or path.stem.endswith(("_impl", "_env"))


def test_the_layers_of_the_architecture():
    """The table of the build is printed, and each module stands in the row of its layer, and in no other."""
    assert f"```\n{(ROOT / 'src/LAYERS').read_text(encoding='utf-8')}```" in ARCHITECTURE
    rows = re.findall(r"^\| (\w+) \| .* \| (`[^|]+) \|$", ARCHITECTURE[ARCHITECTURE.index("\n## Layers\n") :], re.MULTILINE)
    for layer, cell in rows:
        here = {ROOT / "src" / layer, ROOT / "include/walpush" / layer}
        modules = {path.stem for path in PATHS if path.parent in here and not is_part(path)}
        named = re.findall(r"`([\w*]+)`", cell)
        homeless = {module for module in modules if not any(fnmatch.fnmatch(module, pattern) for pattern in named)}
        assert not homeless, f"the row of {layer} has no place for {sorted(homeless)}"
        gone = [pattern for pattern in named if not fnmatch.filter(modules, pattern)]
        assert not gone, f"the row of {layer} names {gone}, which are not there"
    assert [layer for layer, _ in rows] == re.findall(r"^(\w+):", (ROOT / "src/LAYERS").read_text(encoding="utf-8"), re.MULTILINE)


# --- what walpush says -------------------------------------------------------------------------------------------------


def loads(text):
    """An example may leave a value out; then it is "…", which is like anything."""
    return json.loads(re.sub(r"(?<=[:,])…(?=[,}])", '"…"', text))


def documents_in(text):
    decoder, at, found = json.JSONDecoder(), 0, []
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        found.append(value)
        while at < len(text) and text[at].isspace():
            at += 1
    return found


def shape(value):
    """Names and kinds; numbers are one kind, and null fits any."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


def same_shape(said, example, where=""):
    if said is None or example in (None, "…"):
        return
    if isinstance(example, dict):
        assert set(said) == set(example), f"{where}: {sorted(set(said) ^ set(example))}"
        for name in example:
            same_shape(said[name], example[name], f"{where}.{name}")
    elif isinstance(example, list):
        if said and example:
            same_shape(said[0], example[0], where + "[]")
    else:
        assert shape(said) == shape(example), f"{where}: {said!r} is not like {example!r}"


def test_the_status_document(app, walpush):
    (block,) = taken("json", "status.md")
    with walpush.subscribe(UNIT_1, ASHA) as client:
        app.touch(app.request)
        client.recv()
        same_shape(json.loads(walpush.admin("/status").body), json.loads(block.text))
    console = taken("console", "status.md")[0]
    command, output = console.text.splitlines()
    assert command == "$ curl -s http://127.0.0.1:8002/readyz"
    assert walpush.admin("/readyz").body.decode() == output + "\n"


def without_numbers(text):
    """Ids of events, times, addresses and numbers are of the moment."""
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", re.sub(r"\b[0-9A-F]+/[0-9A-F]+-\d+", "ID", text))
    return re.sub(r"\d+", "N", re.sub(r"\d+\.\d+\.\d+\.\d+", "ADDRESS", text))


def test_the_explanations(app, config, make_walpush):
    """The commands of status.md, about people who are here."""
    block = taken("console", "status.md")[1]
    examples = dict(part.split("\n", 1) for part in block.text.removeprefix("$ ").split("\n$ "))
    config.set("admin.token", "a-token-of-this-length")
    with make_walpush(app, config) as walpush:
        here = [walpush.subscribe(*who) for who in ((UNIT_1, ASHA), (UNIT_1, RAVI), (UNIT_1, RAVI), ("/ws/requests/2/", BOB))]
        app.sql("UPDATE requests SET status = 'Approved' WHERE id = %s", app.request)
        event = here[0].recv()["id"]
        for command, output in examples.items():
            command = command.replace("--user 7 --path /ws/requests/5/", f"--user {BOB} --path {UNIT_1}")
            command = command.replace("--key 123", f"--key {app.request}").replace("0/16B3748-2", event)
            done = run_to_end(*command.split()[1:], "-c", walpush.file, env=walpush.env)
            assert without_numbers(done.stdout.strip()) == without_numbers(output.strip()), command
        assert len(examples) == 3
        for client in here:
            client.close()


def test_the_messages_of_the_protocol(app, walpush):
    examples = {m["type"]: m for b in taken("json", "protocol.md") for m in documents_in(b.text)}
    with walpush.subscribe(UNIT_1, ASHA) as client:
        same_shape(client.hello, examples.pop("connection_established"))
        app.sql("UPDATE requests SET status = 'Approved', approved_by_id = %s WHERE id = %s", RAVI, app.request)
        said, example = client.recv(), examples.pop("request.updated")
        assert set(example["data"]) < set(said["data"]), "the example shows some of the columns"
        said["data"] = {name: said["data"][name] for name in example["data"]}
        same_shape(said, example)
        app.sql("TRUNCATE requests CASCADE")
        same_shape(client.recv(), examples.pop("resync"))
    assert not examples, examples


def test_what_the_protocol_says_in_passing(app, config, make_walpush):
    """Objects within the text: what a client may send gets the answer that stands beside it."""
    text = (ROOT / "docs/protocol.md").read_text(encoding="utf-8")
    found = list(map(loads, re.findall(r'`(\{"type":[^`]*\})`', text)))
    examples = {m["type"] + (" with epoch" if "epoch" in m else ""): m for m in found}
    config.set("streams.requests.hello", template({"type": "connection_established", "to": "{token.name}"}))
    walpush = make_walpush(app, config).start()
    with Client(walpush.port, UNIT_1, token=walpush.token(ASHA, name="Asha")) as client:
        client.established()
        client.send_json(examples.pop("ping"))
        assert client.recv() == examples.pop("pong")
        auth = examples.pop("auth")
        for name, answer in (("Asha", "auth_ok"), ("Asha K.", "auth_ok with epoch")):
            client.send_json({**auth, "token": walpush.token(ASHA, name=name)})
            same_shape(client.recv(), examples.pop(answer))
        with app.transaction() as cursor:
            cursor.execute("INSERT INTO requests (request_type, crate_id, unit_id, request_date, status, withdrawn_by_id, purpose,"
                           " full_withdrawal, created_at, updated_at) SELECT request_type, crate_id, unit_id, request_date, status,"
                           " withdrawn_by_id, '', full_withdrawal, now(), now() FROM requests, generate_series(1, 1001)"
                           " WHERE id = %s", (app.request,))  # fmt: skip
        same_shape(client.recv_until(lambda m: m["type"] == "request.bulk")[-1], examples.pop("request.bulk"))
    assert not examples, examples


def test_the_lines_of_the_audit_log(app, config, make_walpush, tmp_path):
    (block,) = taken("json", "configuration.md")
    examples = {line["audit"]: line for line in documents_in(block.text)}
    config.set("audit.file", str(tmp_path / "audit"))
    walpush = make_walpush(app, config).start()
    with walpush.subscribe(UNIT_1, ASHA) as client:
        assert walpush.connect(UNIT_1, BOB).close_code() == 4403
        app.touch(app.request)
        client.recv()
    walpush.stop()
    lines = {line["audit"]: line for line in map(json.loads, (tmp_path / "audit").read_text().splitlines())}
    assert set(lines) == set(examples)
    for kind, example in examples.items():
        same_shape(lines[kind], example, kind)
        datetime.datetime.fromisoformat(example["time"].replace("Z", "+00:00"))


# --- in the page -------------------------------------------------------------------------------------------------------


class Server(http.server.ThreadingHTTPServer):
    """Gives every path the same page, but holds /hold back until /go was asked for: so long the page is loading."""

    def __init__(self, page):
        go = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path == "/go":
                    go.set()
                elif self.path == "/hold":
                    go.wait(PATIENCE)
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(page.encode())

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


def test_the_script_of_the_readme(app, config, tmp_path):
    """In a browser, while rows change: the query cache is told."""
    (block,) = taken("js", "README.md")
    config.set("listen.origins", ["*"])
    with Walpush(config, tmp_path, app) as walpush:
        script = block.text.replace("wss://live.example.org", f"ws://127.0.0.1:{walpush.port}").replace("/requests/5/", "/requests/1/")
        assert f"ws://127.0.0.1:{walpush.port}/ws/requests/1/" in script
        page = f"""<body><script>
            let told = 0;
            const accessToken = "{walpush.token(ASHA)}", queryClient = {{
                invalidateQueries(what) {{
                    document.body.dataset.told = ++told + " " + JSON.stringify(what);
                    if (told === 3) fetch("/go");
                }} }};
            {script}</script><img src="/hold"></body>"""
        server, done = Server(page), threading.Event()

        def change():
            while not done.wait(0.1):
                app.touch(app.request)

        writer = threading.Thread(target=change, daemon=True)
        writer.start()
        try:
            dom = look(f"http://127.0.0.1:{server.server_port}/", tmp_path / "profile", "--dump-dom", budget=None)
        finally:
            done.set()
            writer.join(PATIENCE)
            server.shutdown()
            server.server_close()
    told = re.search(r'data-told="(\d+) \{&quot;queryKey&quot;:\[&quot;requests&quot;\]\}"', dom)
    assert told and int(told.group(1)) >= 3, dom
