"""A moving picture of a terminal: SVG with one CSS animation, without scripts, for pages that show it as an image."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from html import escape

from tools.terminal import Frame, Row, Style

CELL_WIDTH, LINE_HEIGHT, FONT_SIZE = 8, 18, 13
MARGIN, BAR = 16, 34
LONGEST_WAIT_S, LAST_S = 1.6, 5.0
COLOURS = (
    *("#6e7681", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#bc8cff", "#39c5cf", "#c9d1d9"),
    *("#8b949e", "#ffa198", "#56d364", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#f0f6fc"),
)
BUTTONS = ("#ff5f57", "#febc2e", "#28c840")
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
STYLE = f"""
text {{ font: {FONT_SIZE}px {FONTS}; fill: #c9d1d9; white-space: pre }}
.b {{ font-weight: bold; fill: #f0f6fc }}
.d {{ opacity: .6 }}
"""


def shortened(frames: Sequence[Frame]) -> list[tuple[float, Frame]]:
    """Return each frame with the time at which it begins, from 0 on, with long waits cut."""
    found, now = [], 0.0
    for frame, following in itertools.zip_longest(frames, frames[1:]):
        found.append((now, frame))
        now += min(following.at_s - frame.at_s, LONGEST_WAIT_S) if following else LAST_S
    return found


def svg(frames: Sequence[Frame], columns: int, lines: int, title: str) -> str:
    """Return the picture. Viewers that do not move it, or whose users do not want that, see the last frame.

    All frames lie in a strip, one below the other, which moves through a window that shows one of them. Each different row is
    in the file once.
    """
    timed = shortened(frames)
    total_s = timed[-1][0] + LAST_S
    rows: dict[Row, str] = {}
    height = lines * LINE_HEIGHT
    strip, steps = [], []
    for number, (begins_s, frame) in enumerate(timed):
        used = [
            f'<use href="#{rows.setdefault(row, f"r{len(rows)}")}" y="{number * height + place * LINE_HEIGHT}"/>'
            for place, row in enumerate(frame.rows)
            if row
        ]
        strip.append("".join(used) + cursor(frame, number * height))
        steps.append(f"{100 * begins_s / total_s:.3f}% {{ transform: translateY({-number * height}px) }}")
    width, whole = columns * CELL_WIDTH + 2 * MARGIN, height + BAR + MARGIN
    last = -(len(timed) - 1) * height
    dots = "".join(f'<circle cx="{20 + 20 * n}" cy="17" r="6" fill="{colour}"/>' for n, colour in enumerate(BUTTONS))
    size = f'viewBox="0 0 {width} {whole}" width="{width}" height="{whole}"'
    return f"""<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" xml:space="preserve">
<title>{escape(title)}</title>
<style>{STYLE}.strip {{ transform: translateY({last}px) }}
@media (prefers-reduced-motion: no-preference) {{ .strip {{ animation: play {total_s:.2f}s step-end infinite }} }}
@keyframes play {{ {" ".join(steps)} }}</style>
<defs>{"".join(row_of(row, name) for row, name in rows.items())}</defs>
<rect x=".5" y=".5" width="{width - 1}" height="{whole - 1}" rx="10" fill="#161b22" stroke="#444c56"/>
{dots}<text x="{width / 2:.0f}" y="22" text-anchor="middle" class="d">{escape(title)}</text>
<svg x="{MARGIN}" y="{BAR}" width="{columns * CELL_WIDTH}" height="{height}"><g class="strip">
{chr(10).join(strip)}
</g></svg></svg>
"""


def row_of(row: Row, name: str) -> str:
    """Return a row as a group; one text for each run of equal style, as wide as its cells, whatever font there is."""
    texts, column = [], 0
    for style, cells in itertools.groupby(row, key=lambda cell: cell[1]):
        run = "".join(character for character, _ in cells)
        if run.strip():
            place = f'x="{column * CELL_WIDTH}" y="{LINE_HEIGHT - 5}" textLength="{len(run) * CELL_WIDTH}"'
            texts.append(f'<text {place} lengthAdjust="spacingAndGlyphs"{looks(style)}>{escape(run)}</text>')
        column += len(run)
    return f'<g id="{name}">{"".join(texts)}</g>'


def looks(style: Style) -> str:
    classes = " ".join(name for name, on in (("b", style.bold), ("d", style.dim)) if on)
    colour = f' style="fill:{COLOURS[style.colour]}"' if style.colour is not None else ""
    return (f' class="{classes}"' if classes else "") + colour


def cursor(frame: Frame, top: int) -> str:
    row, column = frame.cursor
    place = f'x="{column * CELL_WIDTH}" y="{top + row * LINE_HEIGHT + 2}"'
    return f'<rect {place} width="{CELL_WIDTH}" height="{LINE_HEIGHT - 3}" fill="#8b949e"/>'
