"""The files of deploy/, checked by the tools that will read them, as far as they run without a cluster or a daemon.

Kubernetes: the API's own schemas (kubernetes-validate), strictly. Helm: the chart is rendered by Helm's library and the result
is checked like the manifests. Compose: the specification's schema (check-jsonschema). Dockerfiles: hadolint. Prometheus:
promtool. systemd: systemd-analyze. Run by build/venv-deploy/bin/python, see `make manifests`.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys

import helm_python
import kubernetes_validate
import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm/walpush"
ADMIN = 8002  # the admin port
BIN = pathlib.Path(sys.executable).parent
COMPOSE = [DEPLOY / name for name in ("compose.yaml", "compose.pgoutput.yaml")]
VERSIONS = ("1.29", "1.33")  # the first with native sidecars, and a recent one
METRICS = {
    name
    for name in re.findall(r'= \{ "((?:walpush|process)_\w+)"', (ROOT / "src/watch/metrics_table.c").read_text())
}


def run(*command, **how):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **how)


def services_of(file):
    return yaml.safe_load(file.read_text())["services"]


def documents(text):
    return [document for document in yaml.safe_load_all(text) if document]


def rendered(**values):
    """What the chart makes with these values, as documents."""
    defaults = {"config": (ROOT / "sidecar.conf").read_text(), "secret": {"name": "walpush"}}
    with_files = helm_python.Chart.load(str(CHART)).render({**defaults, **values}, name="live", namespace="default")
    return [d for path, text in with_files.items() if path.endswith(".yaml") for d in documents(text)]


EVERYTHING = {
    "ingress": {"host": "dms.example.org", "tlsSecret": "tls"},
    "env": [{"name": "REDIS_URL", "value": "redis://redis"}],
    "podAnnotations": {"a": "b"},
    "nodeSelector": {"a": "b"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "imagePullSecrets": [{"name": "registry"}],
    "replicas": 3,
}


def manifests():
    for file in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        for document in documents(file.read_text()):
            yield pytest.param(document, id=f"{file.stem}-{document['kind']}")
    for name, values in {"chart": {}, "chart-with-everything": EVERYTHING}.items():
        for document in rendered(**values):
            yield pytest.param(document, id=f"{name}-{document['kind']}")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("document", manifests())
def test_kubernetes_knows_every_field(document, version):
    kubernetes_validate.validate(document, version, strict=True)


def test_the_schemas_refuse_what_is_wrong():
    (wrong,) = [d for d in documents((DEPLOY / "kubernetes/sidecar.yaml").read_text()) if d["kind"] == "Deployment"]
    wrong["spec"]["template"]["spec"]["initContainers"][0]["restartPolicies"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


def pods():
    for manifest in manifests():
        (document,) = manifest.values
        if document["kind"] == "Deployment":
            spec = document["spec"]["template"]["spec"]
            sidecar = "initContainers" in spec
            (walpush,) = [c for c in spec["initContainers" if sidecar else "containers"] if c["name"] == "walpush"]
            yield pytest.param(spec, walpush, sidecar, id=manifest.id)


@pytest.mark.parametrize("spec, walpush, sidecar", pods())
def test_no_probe_of_a_sidecar_takes_the_application_out(spec, walpush, sidecar):
    assert walpush["livenessProbe"]["httpGet"]["path"] == "/healthz"
    if sidecar:
        assert walpush["restartPolicy"] == "Always"
        assert "readinessProbe" not in walpush and "startupProbe" not in walpush
    else:
        assert walpush["readinessProbe"]["httpGet"]["path"] == "/readyz"


@pytest.mark.parametrize("spec, walpush, sidecar", pods())
def test_a_container_may_do_nothing_that_it_need_not(spec, walpush, sidecar):
    context = {**spec["securityContext"], **walpush["securityContext"]}
    assert context["runAsNonRoot"] and context["runAsUser"] == 65532
    assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert walpush["resources"]["requests"] and walpush["resources"]["limits"]["memory"]


@pytest.mark.parametrize("spec, walpush, sidecar", pods())
def test_an_end_has_time_for_goodbyes_unless_nobody_answers(spec, walpush, sidecar):
    assert spec["terminationGracePeriodSeconds"] == 60  # the application's requests, then limits.drain
    for probe in ("livenessProbe", "startupProbe"):
        if probe in walpush:
            assert walpush[probe]["terminationGracePeriodSeconds"] == 5


def container_ports(spec):
    """Name to number, of all containers of a Pod."""
    containers = spec["containers"] + spec.get("initContainers", [])
    return {port["name"]: port["containerPort"] for container in containers for port in container.get("ports", [])}


@pytest.mark.parametrize("spec, walpush, sidecar", pods())
def test_probes_name_their_ports_by_number(spec, walpush, sidecar):
    for container in spec["containers"] + spec.get("initContainers", []):
        own = [port["containerPort"] for port in container["ports"]]
        for name, probe in container.items():
            if name.endswith("Probe"):
                assert probe["httpGet"]["port"] in own, name
    assert walpush["livenessProbe"]["httpGet"]["port"] == container_ports(spec)["walpush-admin"]


def test_services_and_policies_name_ports_by_number():
    """The name of an init container's port resolves there from Kubernetes 1.32 on only, and not with every network plugin."""
    pod_ports = {number for pod in pods() for number in container_ports(pod.values[0]).values()}
    seen = set()
    for manifest in manifests():
        (document,) = manifest.values
        if document["kind"] == "Service":
            seen |= {port["targetPort"] for port in document["spec"]["ports"]}
        if document["kind"] == "NetworkPolicy":
            seen |= {port["port"] for rule in document["spec"]["ingress"] for port in rule["ports"]}
    assert seen == pod_ports == {8000, 8001, 8002}


def test_a_pod_monitor_finds_the_port_that_it_names():
    (monitor,) = [d for d in rendered(monitoring={"enabled": True, "labels": {}}) if d["kind"] == "PodMonitor"]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    for pod in pods():
        assert container_ports(pod.values[0])[endpoint["port"]] == ADMIN


@pytest.mark.parametrize("spec, walpush, sidecar", pods())
def test_secrets_are_files(spec, walpush, sidecar):
    assert not any("valueFrom" in variable or "secret" in variable["name"].lower() for variable in walpush["env"])
    mounts = {mount["name"]: mount for mount in walpush["volumeMounts"]}
    for volume in spec["volumes"]:
        if "secret" in volume:
            assert mounts[volume["name"]]["mountPath"] == "/run/secrets/walpush" and mounts[volume["name"]]["readOnly"]


def test_the_admin_port_is_in_no_service_and_for_prometheus_alone():
    policies = 0
    for manifest in manifests():
        (document,) = manifest.values
        if document["kind"] == "Service":
            assert not any(port["targetPort"] == ADMIN for port in document["spec"]["ports"])
        if document["kind"] == "NetworkPolicy":
            policies += 1
            for rule in document["spec"]["ingress"]:
                ports = {port["port"] for port in rule["ports"]}
                if ADMIN in ports:
                    assert ports == {ADMIN} and rule["from"]
    assert policies == 4


def test_only_ws_goes_to_walpush():
    for manifest in manifests():
        (document,) = manifest.values
        if document["kind"] == "Ingress":
            for path in document["spec"]["rules"][0]["http"]["paths"]:
                live = path["backend"]["service"]["port"]["name"] == "live"
                assert live == (path["path"] == "/ws/")


def test_the_chart_passes_the_configuration_on_as_it_is():
    (map_,) = [d for d in rendered() if d["kind"] == "ConfigMap"]
    assert map_["data"]["sidecar.conf"].rstrip("\n") == (ROOT / "sidecar.conf").read_text().rstrip("\n")


def admin_hosts(document):
    spec = document["spec"]["template"]["spec"]
    (container,) = [c for c in spec["containers"] + spec.get("initContainers", []) if c["name"] == "walpush"]
    return [entry["value"] for entry in container["env"] if entry["name"] == "WALPUSH_ADMIN_HOSTS"]


def test_names_of_the_admin_port_reach_the_configuration():
    """The shipped file takes them from this variable, which every manifest sets."""
    assert '"${WALPUSH_ADMIN_HOSTS:-}"' in (ROOT / "sidecar.conf").read_text()
    (chart,) = [d for d in rendered(adminHosts=["walpush", "metrics.example.org"]) if d["kind"] == "Deployment"]
    assert admin_hosts(chart) == ["walpush metrics.example.org"]
    (bare,) = [d for d in rendered() if d["kind"] == "Deployment"]
    assert admin_hosts(bare) == [""]
    for file in ("sidecar.yaml", "deployment.yaml"):
        deployments = [d for d in documents((ROOT / "deploy/kubernetes" / file).read_text()) if d["kind"] == "Deployment"]
        assert [admin_hosts(d) for d in deployments] == [[""]]
    for file in COMPOSE:
        assert services_of(file)["walpush"]["environment"]["WALPUSH_ADMIN_HOSTS"] == "walpush"


@pytest.mark.parametrize("values", [{"config": ""}, {"secret": {"name": ""}}, {"secret": {}}, {"replicas": 0}])
def test_the_chart_says_what_is_missing(values):
    with pytest.raises(helm_python.HelmError, match=next(iter(values))):
        chart = helm_python.Chart.load(str(CHART))
        all_values = {"config": "x", "secret": {"name": "x"}, **values}
        chart.validate_schema(all_values)
        chart.render(all_values, name="live", namespace="default")


def test_helm_finds_nothing_to_complain_of():
    tool = shutil.which("helm")
    if not tool:
        pytest.skip("the helm command is not installed; the library has rendered the chart")
    done = run(tool, "lint", "--strict", CHART, "--set-file", f"config={ROOT}/sidecar.conf", "--set", "secret.name=x")
    assert done.returncode == 0, done.stdout + done.stderr


# --- compose, Dockerfiles ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", COMPOSE, ids=lambda file: file.name)
def test_compose(file):
    done = run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", file)
    assert done.returncode == 0, done.stdout


def test_the_variants_of_compose_differ_in_the_database_alone():
    ours, theirs = map(services_of, COMPOSE)
    assert set(theirs) - set(ours) == {"script"}
    assert {name for name in ours if ours[name] != theirs[name]} == {"db", "setup"}


def test_the_variant_of_pgoutput_builds_no_postgresql():
    services = services_of(DEPLOY / "compose.pgoutput.yaml")
    for name in ("db", "setup"):
        assert "build" not in services[name] and services[name]["image"].startswith("postgres:")
    for setting in re.findall(r'"(\w+=\w+)"', (DEPLOY / "postgres/Dockerfile").read_text()):
        assert setting in services["db"]["command"]
    assert services["script"]["entrypoint"][-1].startswith("walpush sql --plugin pgoutput -c /etc/walpush/sidecar.conf >/script/")
    assert services["setup"]["command"] == ["psql", "--file=/script/setup.sql"]


@pytest.mark.parametrize("file", COMPOSE, ids=lambda file: file.name)
def test_what_compose_names_is_there(file):
    document = yaml.safe_load(file.read_text())
    services = document["services"]
    for service in services.values():
        build = service.get("build")
        if isinstance(build, str):
            assert (DEPLOY / build / "Dockerfile").is_file()
        elif build:
            assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in document["volumes"], source
        for needed in service.get("depends_on", {}):
            assert needed in services
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")


DOCKERFILES = sorted(DEPLOY.glob("**/Dockerfile"))


@pytest.mark.parametrize("file", DOCKERFILES, ids=[str(f.parent.relative_to(ROOT)) for f in DOCKERFILES])
def test_dockerfiles(file):
    done = run(BIN / "hadolint", file)
    assert done.returncode == 0, done.stdout


# --- monitoring --------------------------------------------------------------------------------------------------


def test_alerts():
    rules = DEPLOY / "prometheus/walpush.rules.yaml"
    done = run("promtool", "check", "rules", rules)
    assert done.returncode == 0, done.stderr
    done = run("promtool", "test", "rules", rules.with_name("walpush.rules.test.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr


def metrics_of(text):
    for name in re.findall(r"\b((?:walpush|process)_\w+)", text):
        yield re.sub(r"_(bucket|sum|count)$", "", name)


def expressions():
    rules = yaml.safe_load((DEPLOY / "prometheus/walpush.rules.yaml").read_text())
    yield from (rule["expr"] for group in rules["groups"] for rule in group["rules"])
    board = json.loads((DEPLOY / "grafana/walpush.json").read_text())
    yield from (target["expr"] for panel in board["panels"] for target in panel["targets"])
    yield from (variable["query"] for variable in board["templating"]["list"])


def test_every_metric_that_is_asked_for_exists():
    assert METRICS
    asked = {name for expression in expressions() for name in metrics_of(expression)}
    assert len(asked) > 20
    assert asked <= METRICS


def test_prometheus_can_read_every_expression_of_the_dashboard(tmp_path):
    board = json.loads((DEPLOY / "grafana/walpush.json").read_text())
    rules = []
    for panel in board["panels"]:
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "5m").replace("$job", "walpush")
            rules.append({"record": f"panel:{panel['id']}:{target['refId']}", "expr": expression})
    file = tmp_path / "board.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": rules}]}))
    done = run("promtool", "check", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_panels_do_not_lie_on_each_other():
    board = json.loads((DEPLOY / "grafana/walpush.json").read_text())
    taken = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken and all(x < 24 for x, _ in cells)
        taken |= cells
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_what_an_alert_refers_to_is_in_the_runbook():
    runbook = (ROOT / "docs/operations.md").read_text()
    text = (DEPLOY / "prometheus/walpush.rules.yaml").read_text()
    headings = re.findall(r'See "([^"]+)" in docs/operations.md', text)
    assert headings
    for heading in headings:
        assert re.search(rf"^#+ {re.escape(heading)}$", runbook, re.MULTILINE), heading


# --- systemd -----------------------------------------------------------------------------------------------------


def systemd(tmp_path, *how):
    """systemd-analyze on the unit, for a program that is there."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd here")
    unit = tmp_path / "walpush.service"
    unit.write_text((DEPLOY / "systemd/walpush.service").read_text().replace("/usr/local/bin/walpush", "/bin/true"))
    done = run("systemd-analyze", *how, unit)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_unit_is_one(tmp_path):
    assert systemd(tmp_path, "verify", "--man=no") == ""


def settings_of_unit(name):
    text = (DEPLOY / "systemd/walpush.service").read_text()
    return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)


def test_a_bad_file_ends_the_unit_and_nothing_else_does():
    assert settings_of_unit("RestartPreventExitStatus") == ["2"]
    assert settings_of_unit("Restart") == ["always"]
    assert settings_of_unit("StartLimitIntervalSec") == ["0"]


def test_a_reload_looks_at_the_file_before_the_signal():
    (start,) = settings_of_unit("ExecStart")
    check, signal = settings_of_unit("ExecReload")
    assert check == start.replace(" run ", " check --offline ")
    assert signal == "/bin/sh -c 'kill -HUP $MAINPID'"  # /bin/kill is in procps, which a minimal Debian lacks


def test_the_unit_is_hardened(tmp_path):
    exposure = re.search(r"exposure level for walpush.service: ([\d.]+)", systemd(tmp_path, "security", "--offline=yes"))
    assert float(exposure.group(1)) < 2
