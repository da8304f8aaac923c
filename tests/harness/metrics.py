"""What /metrics says, as numbers."""

import re
import time

from harness.client import PATIENCE

_SAMPLE = re.compile(r"^([a-z_]+)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'([a-z_]+)="((?:\\.|[^"\\])*)"')


class Metrics:
    """One answer of /metrics. `m("walpush_refusals_total", reason="path")` adds up the samples with these labels."""

    def __init__(self, walpush):
        answer = walpush.admin("/metrics")
        assert answer.status == 200
        self.text = answer.body.decode()
        self.samples = []
        for line in self.text.splitlines():
            if not line.startswith("#"):
                name, labels, value = _SAMPLE.match(line).groups()
                self.samples.append((name, dict(_LABEL.findall(labels or "")), float(value)))

    def __call__(self, name, **labels):
        found = [v for n, has, v in self.samples if n == name and labels.items() <= has.items()]
        assert found, f"no sample of {name} {labels} in:\n{self.text}"
        return sum(found)

    def has(self, name):
        return any(n == name for n, _, _ in self.samples)


def wait_for_metric(walpush, value, name, **labels):
    """The metrics, once this one has reached the value: a hub counts what it wrote after the client may have read it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        metrics = Metrics(walpush)
        if metrics.has(name) and metrics(name, **labels) == value:
            return metrics
        assert time.monotonic() < deadline, f"{name} {labels} is never {value}:\n{metrics.text}"
        time.sleep(0.02)
