"""The chart of docs/benchmarks.md: how far beyond its target each measure is. SVG, readable on light and dark pages."""

import math
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, TOP, PITCH = 860, 330, 120, 64, 34
BAR = 14
LEAST, MOST = 0.25, 64  # factors at the axis' ends

STYLE = """
    text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328; }
    .small { font-size: 11px; fill: #59636e; }
    .title { font-size: 15px; font-weight: 600; }
    .grid { stroke: #d1d9e0; stroke-width: 1; }
    .target { stroke: #1f2328; stroke-width: 1.5; }
    .met { fill: #2da44e; }
    .missed { fill: #cf222e; }
    .spread { stroke: #1f2328; stroke-width: 1.5; opacity: .65; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .small { fill: #9198a1; }
      .grid { stroke: #3d444d; }
      .target, .spread { stroke: #e6edf3; }
      .met { fill: #3fb950; }
      .missed { fill: #f85149; }
    }
"""


def _x(factor):
    share = math.log(min(max(factor, LEAST), MOST) / LEAST) / math.log(MOST / LEAST)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _margins(row):
    """The margin of the median, of the worst and of the best round."""
    if row.least is not None:
        return row.margin, min(row.judged) / row.least, max(row.judged) / row.least
    # A difference may be next to nothing, or less: then it is as far beyond the target as the axis goes.
    factor = [row.most / value if value > row.most / MOST else MOST for value in (max(row.judged), min(row.judged))]
    return row.margin, *factor


def _grid(height):
    factor = LEAST
    while factor <= MOST:
        x = _x(factor)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 8}" y2="{height - 26}"/>'
        label = f"×{factor:g}" if factor >= 1 else f"×1/{1 / factor:g}"
        yield f'<text class="small" x="{x:.1f}" y="{height - 10}" text-anchor="middle">{label}</text>'
        factor *= 2


def _bar(row, label, value, y):
    middle, worst, best = _margins(row)
    start, end = sorted((_x(1), _x(middle)))
    mid = y + BAR / 2
    yield f'<text x="{LEFT - 12}" y="{mid + 4:.1f}" text-anchor="end">{escape(label)}</text>'
    width = max(end - start, 2)
    yield f'<rect class="{row.verdict}" x="{start:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"/>'
    yield f'<line class="spread" x1="{_x(worst):.1f}" x2="{_x(best):.1f}" y1="{mid}" y2="{mid}"/>'
    yield f'<text class="small" x="{WIDTH - RIGHT + 12}" y="{mid + 4:.1f}">{escape(value)}</text>'


def draw(rows):
    """`rows`: of (row, label, value as text); only those with a target."""
    height = TOP + PITCH * len(rows) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'aria-label="How far beyond its target each measure is">',
        f"<style>{STYLE}</style>",
        '<text class="title" x="16" y="26">How far beyond its target each measure is</text>',
        '<text class="small" x="16" y="44">green: met, red: missed; the thin line spans the rounds</text>',
        *_grid(height),
    ]
    for i, (row, label, value) in enumerate(rows):
        parts += _bar(row, label, value, TOP + PITCH * i + (PITCH - BAR) // 2 - 4)
    x = _x(1)
    parts.append(f'<line class="target" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 8}" y2="{height - 26}"/>')
    parts.append(f'<text class="small" x="{x:.1f}" y="{TOP - 14}" text-anchor="middle">target</text>')
    return "\n".join([*parts, "</svg>", ""])
