"""Draw docs/images/between-tests.svg: `python -m benchmarks.plot [FILE]`. FILE is figures/between-tests.json if none is given.

`python -m benchmarks.alternatives --json FILE` measures them. A bar is a median from zero on a linear scale; a thin line over it
is the range. All bars of a stack have one scale.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "benchmarks" / "figures" / "between-tests.json"
PICTURE = ROOT / "docs" / "images" / "between-tests.svg"
WAYS = {
    "down": "down -v, up -d, load the dumps",
    "rsync": "kill, rsync from a copy, start",
    "logical": "each engine's own reset, written by hand",
}
TOUCHED = {
    "a test that touched all": "dm-compose: the test touched all",
    "all but RabbitMQ": "dm-compose: all but RabbitMQ",
    "one": "dm-compose: one of them",
    "none": "dm-compose: none",
}
WIDTH, LABELS, BARS, ROW, BAR, MARGIN = 780, 300, 370, 25, 15, 20
STYLE = """
svg { font: 13px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif }
text { fill: #1f2328 } .small { fill: #59636e; font-size: 12px } .title { font-weight: 600; font-size: 14px }
.card { fill: #ffffff; stroke: #d1d9e0 } .today { fill: #afb8c1 } .ours { fill: #1f883d } .range { stroke: #59636e }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .small { fill: #9198a1 } .card { fill: #151b23; stroke: #3d444d }
  .today { fill: #656c76 } .ours { fill: #3fb950 } .range { stroke: #9198a1 }
}
"""


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 0.995 else f"{seconds:.1f} s"


def bar(top: float, label: str, kind: str, samples: Sequence[float], scale: float) -> str:
    """Return one row: its label, its bar, the range if there are several samples, and the median in words."""
    middle, length = top + ROW / 2, statistics.median(samples) * scale
    parts = [
        f'<text x="{LABELS - 10}" y="{middle + 4}" text-anchor="end">{escape(label)}</text>',
        f'<rect class="{kind}" x="{LABELS}" y="{middle - BAR / 2}" width="{max(length, 1):.1f}" height="{BAR}" rx="2"/>',
    ]
    end = LABELS + length
    if len(samples) > 1:
        low, high = LABELS + min(samples) * scale, LABELS + max(samples) * scale
        parts.append(f'<line class="range" x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"/>')
        end = max(end, high)
    parts.append(f'<text x="{end + 8:.1f}" y="{middle + 4}">{duration(statistics.median(samples))}</text>')
    return "".join(parts)


def panel(stack: dict[str, Any], top: float) -> tuple[str, float]:
    """Return one stack's bars, and where they end."""
    rows = [
        *((WAYS[name], "today", samples) for name, samples in stack["ways"].items()),
        *((TOUCHED[what], "ours", samples) for what, samples in stack["plugin"].items()),
    ]
    scale = BARS / max(max(samples) for _, _, samples in rows)
    parts = [f'<text class="title" x="{MARGIN}" y="{top + 16}">{escape(stack["title"])}</text>']
    top += 26
    for label, kind, samples in rows:
        parts.append(bar(top, label, kind, samples, scale))
        top += ROW
    return "\n".join(parts), top


def svg(data: dict[str, Any]) -> str:
    """Return the picture of all stacks."""
    top, panels = 58.0, []
    for stack in data["stacks"]:
        drawn, top = panel(stack, top)
        panels.append(drawn)
        top += 14
    height = top + 46
    title = "From the end of a test until every datastore answers with the seed again"
    what = "Grey: ways of today, which put everything back. Green: dm-compose, which puts back what the test touched."
    where = f"Medians. {data['date']}, {data['machine']}."
    size = f'viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}"'
    return f"""<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">
<title>{escape(title)}</title>
<style>{STYLE}</style>
<rect class="card" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1:.0f}" rx="10"/>
<text class="title" x="{MARGIN}" y="32">{escape(title)}</text>
{chr(10).join(panels)}
<text class="small" x="{MARGIN}" y="{height - 35:.0f}">{escape(what)}</text>
<text class="small" x="{MARGIN}" y="{height - 16:.0f}">{escape(where)}</text>
</svg>
"""


def main() -> None:
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else FIGURES
    PICTURE.write_text(svg(json.loads(source.read_text())))


if __name__ == "__main__":
    main()
