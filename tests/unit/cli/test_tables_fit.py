"""Tables fit a terminal of 80 columns, also with long names, and leave nothing out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

import dm_compose
from dm_compose.cli.output import Cell, shortened, table
from dm_compose.cli.verbs.dot import _row as list_row
from dm_compose.cli.verbs.history import _folded, _move, _subdot
from dm_compose.cli.verbs.state import _planned, _seen
from dm_compose.cli.width import cut, pad, width_of
from dm_compose.core.commit import ReflogEntry, SubdotState
from dm_compose.core.names import CommitId, DotName, RefName, SubdotName
from dm_compose.core.tree import Change, TreeDiff
from dm_compose.core.units import counted, seconds
from dm_compose.discovery.stack_plan import Kind, Subdot
from dm_compose.dots.all_dots import Summary
from dm_compose.dots.status import SubdotStatus
from tests.support.terminals import Terminal, on_terminal

VOLUME = "c0ffee" * 10 + "beef"
LONG = "catalogue-data"
NOW = datetime(2026, 11, 28, 17, 46, 8, tzinfo=UTC)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


def planned() -> list[tuple[str, ...]]:
    long = Subdot(
        name=SubdotName(LONG),
        services=("catalogue-db",),
        path="/var/lib/postgresql/data",
        kind=Kind.IMAGE,
        volume=VOLUME,
        source="",
        engine="postgres",
        reason="data path of postgres, volume declared by the image",
    )
    bound = replace(long, kind=Kind.BIND, volume=None, source="/home/somebody/projects/webshop/var/uploads", engine=None)
    return [_planned(long), _planned(bound)]


def states(verbose: bool) -> list[tuple[str | Cell, ...]]:
    changes = tuple(Change(f"file{n}", "changed", 1 << 20, 1 << 19) for n in range(1234))
    found = SubdotStatus(SubdotName(LONG), "elasticsearch", VOLUME, TreeDiff(changes, exact=False), dirty=True)
    left = replace(found, dirty=False, in_head=False)
    return [_seen(subdot, verbose=verbose) for subdot in (found, replace(found, place=None), left)]


def dots(verbose: bool) -> list[tuple[str | Cell, ...]]:
    containers = tuple(f"a-long-project-name-{name}-1" for name in ("cache", "catalogue-db", "orders-db", "rabbitmq"))
    dot, branch = DotName("a-long-project-name"), RefName("feature/checkout")
    found = Summary(dot, True, branch, "build-agent-17", containers, 123_456_789, 42, 98_765)
    return [
        list_row(found, verbose=verbose),
        list_row(replace(found, containers=(), problem="manifest 12 is damaged"), verbose=verbose),
    ]


def moves() -> list[tuple[str, ...]]:
    ids = [CommitId(digit * 32) for digit in "ab"]
    left, branch = RefName("feature/checkout-flow"), RefName("at-9bf4e6925842")
    entry = ReflogEntry(12345, NOW, "checkout", branch, ids[0], ids[1], ids[0], left)
    return [_move([(entry, 123_456_789)]), _move([(replace(entry, action="before tests"), None)] * 3)]


TABLES = {
    "plan": (("SUBDOT", "SERVICES", "PATH", "KIND", "ENGINE", "REASON"), planned()),
    "status": (("SUBDOT", "ENGINE", "STATE"), states(False)),
    "status -v": (("SUBDOT", "ENGINE", "STATE", "WHERE"), states(True)),
    "list": (("  DOT", "BRANCH", "SIZE", "COMMITS", "DIRTY", "CONTAINERS"), dots(False)),
    "list -v": (("  DOT", "BRANCH", "SIZE", "COMMITS", "DIRTY", "SERVER: CONTAINERS"), dots(True)),
    "reflog": (("#", "WHEN (+0100)", "AT", "HOLDS", "OPERATION"), moves()),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_a_long_stack_fits_80_columns(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    header, rows = TABLES[name]
    table(header, rows)
    shown = capsys.readouterr().out
    assert [line for line in shown.splitlines() if len(line) > 80] == []
    words = shown.split()
    for cell in (cell for row in rows for cell in row):
        text = cell.text if isinstance(cell, Cell) else cell
        assert [word for word in text.split() if word not in words] == [], "nothing is left out"


def test_a_last_cell_that_does_not_fit_is_wrapped_in_its_column(capsys: pytest.CaptureFixture[str]) -> None:
    table(("A", "B"), [("a" * 40, "word " * 10), ("a", "short")])
    _, first, second, last = capsys.readouterr().out.splitlines()
    assert first == "a" * 40 + "  " + " ".join(["word"] * 7)
    assert second == " " * 42 + " ".join(["word"] * 3)
    assert last == "a".ljust(42) + "short"


def test_a_last_column_that_is_too_narrow_has_lines_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    table(("A", "B"), [("a" * 70, "some words on this"), ("a", "x")])
    assert capsys.readouterr().out.splitlines()[1:] == ["a" * 70, "    some words on this", "a".ljust(72) + "x"]


def test_a_word_that_is_too_long_is_never_broken(capsys: pytest.CaptureFixture[str]) -> None:
    path = "/srv/" + "x" * 100
    table(("A", "B"), [("service", path)])
    assert capsys.readouterr().out.splitlines()[1:] == ["service", f"    {path}"]


def test_columns_of_wide_characters_stand_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    table(("A", "B"), [("データ", "x"), ("cafe\u0301", "y"), ("plain", "z")])
    assert {width_of(line[:-1]) for line in capsys.readouterr().out.splitlines()} == {8}


@on_terminal
def test_a_table_is_as_wide_as_the_terminal(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((200, 24)))
    terminal.resize(200, 24)
    table(("A", "B"), [("a", "word " * 30)])
    assert len(terminal.lines) == 2


@on_terminal
def test_a_cell_has_its_colour_and_its_column_has_not(terminal: Terminal) -> None:
    table(("A", "B"), [(Cell("dirty", "yellow"), "x")])
    assert terminal.lines[1] == "dirty  x"
    assert "\x1b[33mdirty\x1b[0m  x" in terminal.written


def test_only_names_of_anonymous_volumes_are_shortened() -> None:
    assert shortened(VOLUME) == VOLUME[:12]
    assert shortened("shop_pg") == "shop_pg"


@pytest.mark.parametrize(
    ("text", "columns", "kept"),
    [("plain", 5, "plain"), ("plain", 4, "pla…"), ("データ", 5, "デー…"), ("データ", 4, "デ…"), ("x", 0, "")],
)
def test_text_is_cut_by_the_columns_that_it_takes(text: str, columns: int, kept: str) -> None:
    assert cut(text, columns) == kept
    assert width_of(cut(text, columns)) <= columns
    assert width_of(pad(cut(text, columns), columns)) == columns


def test_neighbours_of_test_runs_are_one_row_of_the_reflog() -> None:
    entry = ReflogEntry(9, NOW, "before tests", RefName("master"), None, None, CommitId("a" * 32), RefName("master"))
    actions = ["before tests", "before tests", "reset", "before tests", "commit", "commit"]
    entries = [(replace(entry, action=action, number=9 - n), 1024) for n, action in enumerate(actions)]
    folded = _folded(entries)
    assert [len(group) for group in folded] == [2, 1, 1, 1, 1]
    number, _, _, held, what = _move(folded[0])
    assert (number, held) == ("9", "2.0 kiB")
    assert what == "before tests on master (2 runs), uncommitted changes kept as aaaaaaaaaaaa"


def test_a_subdot_that_is_not_in_the_commit_any_more_is_shown_as_gone() -> None:
    name = SubdotName("pg")
    gone = {name: TreeDiff((Change("base", "removed", 2048, 2048),))}
    assert _subdot(None, name, gone) == ("pg", "-", "gone", "-", "2.0 kiB in 1 file")
    state = SubdotState("m", 3, 4096, engine="postgres", version="16")
    assert _subdot(state, name, {}) == ("pg", "postgres 16", "4.0 kiB", "3", "-")
    assert _subdot(state, name, None)[-1] == "(no commit before)"


@pytest.mark.parametrize(
    ("count", "words", "text"),
    [
        (1, ("file",), "1 file"),
        (0, ("file",), "0 files"),
        (2, ("entry", "entries"), "2 entries"),
        (12345, ("file",), "12,345 files"),
    ],
)
def test_numbers_have_their_nouns(count: int, words: tuple[str, ...], text: str) -> None:
    assert counted(count, *words) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0.0384, "38 ms"), (0.9996, "1.0 s"), (6.12, "6.1 s"), (59.97, "1 min 0 s"), (126, "2 min 6 s")]
)
def test_times_have_one_style(count: float, text: str) -> None:
    assert seconds(count) == text


def test_no_message_counts_one_thing_as_several() -> None:
    """`counted` is the one place for a number with its noun."""
    nouns = "files|commits|subdots|objects|blobs|leftovers|entries|tests|stacks|clones"
    found = [
        f"{path.name}: {match}"
        for path in Path(dm_compose.__file__).parent.rglob("*.py")
        for match in re.findall(rf"\}} (?:{nouns})\b.*", path.read_text())
        if "with set-id" not in match
    ]
    assert found == []
