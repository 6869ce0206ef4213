"""The terminal of the recordings shows what a terminal shows, and refuses what it does not know."""

from __future__ import annotations

import pytest

from tools.terminal import Screen, Style, Terminal

GREEN, BOLD = Style(colour=2), Style(bold=True)


def text(screen: Screen) -> list[str]:
    return ["".join(character for character, _ in row) for row in screen.rows()]


def shown(*pieces: str, columns: int = 10, lines: int = 3) -> Screen:
    screen = Screen(columns, lines)
    for piece in pieces:
        screen.feed(piece)
    return screen


@pytest.mark.parametrize(
    ("written", "rows"),
    [
        ("one\r\ntwo", ["one", "two", ""]),
        ("one\ntwo", ["one", "   two", ""]),
        ("1\r\n2\r\n3\r\n4", ["2", "3", "4"]),
        ("0123456789ab", ["0123456789", "ab", ""]),
        ("0123456789\r\nab", ["0123456789", "ab", ""]),
        ("50 %\r100 %", ["100 %", "", ""]),
        ("copying\r\x1b[Kdone", ["done", "", ""]),
        ("ab\b\bc", ["cb", "", ""]),
        ("one\r\ntwo\r\n\x1b[2Anew\x1b[K\r\n\x1b[J", ["new", "", ""]),
        ("a\tb", ["a       b", "", ""]),
    ],
)
def test_the_screen_has_what_was_written(written: str, rows: list[str]) -> None:
    assert text(shown(written)) == rows
    assert text(shown(*written)) == rows, "in pieces"


def test_a_style_lasts_until_the_next_one() -> None:
    row = shown("a\x1b[1mb\x1b[0;32mc\x1b[39md").rows()[0]
    assert row == (("a", Style()), ("b", BOLD), ("c", GREEN), ("d", Style()))


@pytest.mark.parametrize("written", ["\x1b[2J", "\x1b[48m", "\x07", "\x1b]0;a title, which has no end here"])
def test_an_unknown_sequence_is_an_error_and_no_false_picture(written: str) -> None:
    with pytest.raises(ValueError, match="unknown"):
        shown(written)


def test_a_program_runs_and_every_change_is_kept_with_its_time() -> None:
    script = "printf 'size '; stty size; read word; printf '\\033[1m%s\\033[0m' $word; sleep 0.3; printf ' end'; read more"
    terminal = Terminal.start(["sh", "-c", script], {"PATH": "/usr/bin:/bin", "TERM": "xterm"}, "/", 20, 4)
    try:
        terminal.wait(lambda screen: screen.row == 1, 10)
        terminal.type("word\n")
        terminal.wait(lambda screen: screen.line().endswith("end"), 10)
    finally:
        terminal.stop()
    assert text(terminal.screen)[:3] == ["size 4 20", "word", "word end"]
    assert terminal.screen.rows()[2][0] == ("w", BOLD)
    times = [frame.at_s for frame in terminal.frames]
    assert times == sorted(times)
    (began,) = [f.at_s for f in terminal.frames if f.rows[2] and f.rows[2][-1][0] == "d" and len(f.rows[2]) == 4]
    assert terminal.frames[-1].at_s - began >= 0.25


def test_a_wait_for_what_does_not_come_ends() -> None:
    terminal = Terminal.start(["sh", "-c", "echo nothing; read word"], {"PATH": "/usr/bin:/bin"}, "/", 20, 4)
    try:
        with pytest.raises(TimeoutError, match="waited"):
            terminal.wait(lambda screen: screen.line() == "something", 0.2)
    finally:
        terminal.stop()


def test_a_program_that_ends_too_early_is_an_error() -> None:
    terminal = Terminal.start(["true"], {"PATH": "/usr/bin:/bin"}, "/", 20, 4)
    try:
        with pytest.raises(EOFError):
            terminal.wait(lambda screen: False, 10)
    finally:
        terminal.stop()
