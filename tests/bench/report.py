"""Figures to rows, rows to a table and to docs/benchmarks.md."""

import dataclasses
import statistics


def each(rounds, key):
    return [figures[key] for figures in rounds]


def paired(rounds, subject, floor, how=lambda a, b: a / b):
    """The comparison within each round, so that what the machine did meanwhile cancels out."""
    return [how(figures[subject], figures[floor]) for figures in rounds]


@dataclasses.dataclass
class Row:
    """One line of the table: the figures of each round; `judged` is what the target, if there is one, is about."""

    bench: str
    what: str
    measure: str
    subject: list
    floor: list | None
    judged: list
    least: float | None = None
    most: float | None = None

    @property
    def value(self):
        return statistics.median(self.judged)

    @property
    def target(self):
        if self.least is not None:
            return f"≥ {number(self.least)}"
        return f"≤ {number(self.most)}" if self.most is not None else "–"

    @property
    def verdict(self):
        if self.least is None and self.most is None:
            return "–"
        met = self.value >= self.least if self.least is not None else self.value <= self.most
        return "met" if met else "missed"

    @property
    def margin(self):
        """How far beyond the target, as a factor; under 1 it is missed. None without a target."""
        if self.least is not None:
            return self.value / self.least
        if self.most is not None:
            return self.most / self.value if self.value > self.most / 100 else 100.0
        return None


def number(value):
    """Three digits that count."""
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def show(figures):
    return "  ".join(f"{key} {number(value)}" for key, value in figures.items())


def spread(values):
    """Median, with the least and the most of the rounds."""
    if not values:
        return "–"
    text = number(statistics.median(values))
    return text if len(values) == 1 else f"{text} ({number(min(values))} … {number(max(values))})"


HEAD = ("bench", "what", "measure", "walpush", "floor or peer", "judged", "target", "verdict")


def cells(row):
    floor = spread(row.floor) if row.floor else "–"
    return (row.bench, row.what, row.measure, spread(row.subject), floor, spread(row.judged), row.target, row.verdict)


def text_table(rows):
    """For the terminal: what and measure stand above the figures."""
    lines = []
    for row in rows:
        _, what, measure, subject, floor, judged, target, verdict = cells(row)
        lines += [f"{row.bench:<12} {what}", f"{'':<12} {measure}"]
        lines.append(f"{'':<12} walpush {subject:<34} floor {floor}")
        lines += [f"{'':<12} → {judged:<40} target {target:<9} {verdict.upper()}", ""]
    return "\n".join(lines)


# --- docs/benchmarks.md ---------------------------------------------------------------------------------------------

BEGIN, END = "<!-- figures: begin; written by `make bench` -->", "<!-- figures: end -->"


def markdown_table(rows):
    lines = ["| " + " | ".join(HEAD[1:]) + " |", "|---|---|" + "---:|" * 5 + "---|"]
    for row in rows:
        shown = list(cells(row))[1:]
        shown[-1] = f"**{shown[-1]}**" if shown[-1] == "missed" else shown[-1]
        lines.append("| " + " | ".join(shown) + " |")
    return "\n".join(lines)


def raw_table(name, rounds):
    keys = list(rounds[0])
    lines = [
        f"`make bench BENCH={name}`",
        "",
        "| figure | " + " | ".join(f"round {i + 1}" for i in range(len(rounds))) + " |",
    ]
    lines.append("|---|" + "---:|" * len(rounds))
    for key in keys:
        lines.append(f"| {key} | " + " | ".join(number(figures[key]) for figures in rounds) + " |")
    return "\n".join(lines)


def section(rows, raw, facts):
    """What stands between the marks."""
    parts = [BEGIN, "", "\n".join(f"- {name}: {value}" for name, value in facts.items()), ""]
    parts += ["![How far beyond its target each measure is](benchmarks.svg)", ""]
    parts += ["Median of the rounds, in brackets the least and the most.", "", markdown_table(rows), ""]
    parts += ["### Raw figures", ""]
    for name, rounds in raw.items():
        parts += [raw_table(name, rounds), ""]
    return "\n".join([*parts, END])


def write_document(path, new):
    """Replaces what stands between the marks, and nothing else."""
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{path} lacks the marks between which the figures stand")
    path.write_text(before + new + after, encoding="utf-8")
