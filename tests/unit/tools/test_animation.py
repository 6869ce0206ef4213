"""The moving picture: a still one where nothing may move, small, and safe to show on any page."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tools.animation import LAST_S, LONGEST_WAIT_S, shortened, svg
from tools.terminal import Frame, Screen

SVG = "{http://www.w3.org/2000/svg}"
LARGEST_BYTES = 200_000
DEMO = Path(__file__).parents[3] / "docs" / "images" / "demo.svg"


def frame(at_s: float, written: str) -> Frame:
    screen = Screen(20, 2)
    screen.feed(written)
    return Frame(at_s, screen.rows(), (screen.row, screen.column))


FRAMES = [frame(1.0, "a"), frame(1.5, "a\r\n<b> & 'c'"), frame(61.5, "a\r\n\x1b[1;31mend\x1b[0m")]


def test_long_waits_are_cut_and_short_ones_are_as_they_were() -> None:
    assert [begins for begins, _ in shortened(FRAMES)] == [0.0, 0.5, 0.5 + LONGEST_WAIT_S]


def test_each_frame_is_shown_in_its_time() -> None:
    picture = svg(FRAMES, 20, 2, "a title")
    total_s = 0.5 + LONGEST_WAIT_S + LAST_S
    assert f"play {total_s:.2f}s step-end infinite" in picture
    steps = re.findall(r"([\d.]+)% \{ transform: translateY\((-?\d+)px\) \}", picture)
    assert [(float(begins), int(place)) for begins, place in steps] == [
        (0.0, 0),
        (pytest.approx(50 / total_s, abs=0.001), -36),
        (pytest.approx((50 + 100 * LONGEST_WAIT_S) / total_s, abs=0.001), -72),
    ]


def test_where_nothing_moves_the_last_frame_is_seen() -> None:
    assert ".strip { transform: translateY(-72px) }\n@media (prefers-reduced-motion: no-preference)" in svg(FRAMES, 20, 2, "t")


def test_a_row_is_in_the_file_once_and_every_text_as_it_was_written() -> None:
    root = ET.fromstring(svg(FRAMES, 20, 2, "a <title>"))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert texts == ["a", "<b> & 'c'", "end", "a <title>"]
    assert len(list(root.iter(f"{SVG}use"))) == 5


def test_the_recording_of_the_demo_is_light_and_loads_and_runs_nothing() -> None:
    data = DEMO.read_bytes()
    assert len(data) < LARGEST_BYTES
    root = ET.fromstring(data)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        "svg",
        "title",
        "style",
        "defs",
        "g",
        "text",
        "rect",
        "circle",
        "use",
    }
    assert all(value.startswith("#") for element in root.iter(f"{SVG}use") for value in [element.get("href", "")])
    assert not re.search(rb"https?://(?!www\.w3\.org/)|url\(|@import|javascript", data)
    text = "".join(root.itertext())
    assert "two customers" in text
    assert "ready after" in text
