"""Sentences break between words on a terminal, and not at all elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest

from dm_compose.cli.compose_group import cli as dm_compose
from dm_compose.cli.dm_group import cli as dm
from dm_compose.cli.output import print_error, say
from dm_compose.cli.progress import Narrator
from dm_compose.cli.width import wrap
from dm_compose.core.events import Event
from dm_compose.errors import UncommittedError
from tests.support.terminals import Terminal, on_terminal

LONG = "there are uncommitted changes in db, cache and uploads, which `checkout` would leave behind on this branch for good"
HINT = "Commit or `stash` them, or use --hard: `undo` brings them back. `diff` shows them, for each subdot on its own."


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [""]),
        ("short", ["short"]),
        ("one two three four", ["one two", "  three", "  four"]),
        ("  one two three", ["  one two", "    three"]),
        ("say `one two` now", ["say", "  `one two`", "  now"]),
        ("say `one two three four five` now", ["say `one", "  two three", "  four", "  five` now"]),
        ("one averylongword two", ["one", "  averylongword", "  two"]),
        ("a  b", ["a  b"]),
        (f"{click.style('error: ', fg='red')}one two", [f"{click.style('error: ', fg='red')}one", "  two"]),
        ("データ データ", ["データ", "  データ"]),
    ],
)
def test_text_breaks_between_words_and_commands_stay_whole(text: str, lines: list[str]) -> None:
    assert wrap(text, 11) == lines


@on_terminal
def test_errors_warnings_and_results_break_between_words(terminal: Terminal) -> None:
    print_error(UncommittedError(LONG, hint=HINT), as_json=False)
    say(LONG)
    tell = Narrator(quiet=False)
    tell(Event("await", subject="db"))
    tell(Event("warning", LONG))
    tell.close()
    shown = [line for line in terminal.lines if "db  " not in line]
    assert " ".join(" ".join(shown).split()) == f"error: {LONG} hint: {HINT} {LONG} warning: {LONG}"
    assert sum(line[:2] == "  " for line in shown) == len(shown) - 4


def test_nothing_is_wrapped_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(UncommittedError(LONG, hint=HINT), as_json=False)
    say(LONG)
    found = capsys.readouterr()
    assert (found.out, found.err) == (f"{LONG}\n", f"error: {LONG}\nhint: {HINT}\n")


@pytest.mark.parametrize("program", [dm_compose, dm], ids=["dm-compose", "dm"])
def test_the_help_of_a_program_fits_80_columns(program: click.Group) -> None:
    context = program.make_context("x", [], resilient_parsing=True, terminal_width=80)
    lines = program.get_help(context).splitlines()
    assert [line for line in lines if len(line) > 80] == []
    codes = " ".join(" ".join(lines).partition("Exit codes:")[2].split())
    assert re.fullmatch(r"1 failed, .* 130 interrupted\.", codes)
