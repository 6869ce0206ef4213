"""Output of `dm-compose` suits its reader: terminals, pipes and odd encodings."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dm_compose.cli.output import age, print_error, table
from dm_compose.cli.progress import Narrator
from dm_compose.core.events import Event
from dm_compose.core.names import SubdotName
from dm_compose.core.tree import Change, TreeDiff
from dm_compose.dots.stack import Stack
from dm_compose.errors import UncommittedError
from tests.support.capabilities import needs_compose
from tests.support.commands import (
    DM_COMPOSE,
    into_a_closed_pipe,
    on_terminal,
    script,
)
from tests.unit.cli.compose_group.conftest import Here

# Terminals and pipes


ESCAPE = "\x1b["


@needs_compose
@pytest.mark.parametrize("words", [("plan",), ("status",)])
def test_colours_are_for_terminals_only(words: tuple[str, ...]) -> None:
    text = on_terminal(DM_COMPOSE, *words, environment=os.environ)
    assert ESCAPE in text
    ended = script(*words)
    assert ESCAPE not in ended.out + ended.err


@needs_compose
@pytest.mark.parametrize("words", [("plan",), ("status",)])
def test_no_color_is_obeyed(words: tuple[str, ...]) -> None:
    text = on_terminal(DM_COMPOSE, *words, environment={**os.environ, "NO_COLOR": "1"})
    assert text
    assert ESCAPE not in text


@needs_compose
def test_an_empty_no_color_means_nothing() -> None:
    text = on_terminal(DM_COMPOSE, "plan", environment={**os.environ, "NO_COLOR": ""})
    assert ESCAPE in text


@needs_compose
@pytest.mark.parametrize("words", [("plan",), ("plan", "--json"), ("--help",), ("version",)])
def test_a_closed_pipe_is_no_traceback(words: tuple[str, ...]) -> None:
    told = into_a_closed_pipe(DM_COMPOSE, *words, environment=os.environ)
    assert "Traceback" not in told
    assert "Exception" not in told
    assert "bug" not in told


@needs_compose
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_name_that_the_terminal_cannot_show_is_no_bug(encoding: str) -> None:
    Path("compose.yaml").write_text("services: {db: {image: x, volumes: ['/dätä/€']}}", encoding="utf-8")
    ended = script("plan", PYTHONIOENCODING=encoding)
    assert ended.code == 0, ended.err


def test_a_file_whose_name_is_not_utf_8_is_shown(monkeypatch: pytest.MonkeyPatch, here: Here) -> None:
    change = Change(b"caf\xe9".decode(errors="surrogateescape"), "changed", 10, 5)
    monkeypatch.setattr(Stack, "diff", lambda *_: {SubdotName("files"): TreeDiff((change,))})
    ended = here("diff")
    assert (ended.code, "caf" in ended.out) == (0, True)
    assert here("diff", "--json").json()["files"]["changes"][0]["path"].startswith("caf")


# Printing


def test_columns_are_as_wide_as_they_need_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    table(("A", "LONGER"), [("wide enough", "x"), ("y", "z")])
    assert capsys.readouterr().out == "A            LONGER\nwide enough  x\ny            z\n"


def test_a_table_without_rows_is_its_header(capsys: pytest.CaptureFixture[str]) -> None:
    table(("A", "B"), [])
    assert capsys.readouterr().out == "A  B\n"


def test_an_instant_is_shown_in_local_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert age(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).astimezone()) == age(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


EVENTS = (
    Event("copy", "quietly"),
    Event("kill", subject="db"),
    Event("kill", subject="db", took_s=0.038),
    Event("copied", done=2048, unit="bytes"),
    Event("warning", "careful"),
)


@pytest.mark.parametrize(("quiet", "printed"), [(False, "  db: down, 38 ms\nwarning: careful\n"), (True, "warning: careful\n")])
def test_what_happens_is_told_on_standard_error(quiet: bool, printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    narrator = Narrator(quiet=quiet)
    for event in EVENTS:
        narrator(event)
    assert capsys.readouterr() == ("", printed)


def test_an_error_with_a_hint_of_several_words_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(UncommittedError("uncommitted changes in db would be lost", hint="Commit them."), as_json=False)
    assert capsys.readouterr().err == "error: uncommitted changes in db would be lost\nhint: Commit them.\n"
