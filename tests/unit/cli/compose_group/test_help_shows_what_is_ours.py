"""`help` and `--help` of a verb that Compose has too show the part of dm-compose, and then Compose's own help."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest

from dm_compose.cli.compose_group import cli as dm_compose_cli
from dm_compose.cli.dm_group import cli as dm_cli
from tests.support.capabilities import needs_compose
from tests.support.commands import DM_COMPOSE, run_script, script
from tests.support.machines import Machine
from tests.unit.cli.compose_group.conftest import Here


@needs_compose
@pytest.mark.parametrize(
    ("verb", "ours"),
    [
        ("up", ["--from REMOTE:NS/DOT[@REF]", "--hard", "a lasting volume"]),
        ("push", ["--remote-name NS/NAME", "--stash-on-divergence"]),
        ("pull", ["--stash-on-divergence", "--privileged"]),
        ("down", ["in no commit", "`undo`"]),
        ("run", ["a lasting volume"]),
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_both_helps_are_shown(verb: str, ours: list[str], *, before: bool) -> None:
    ended = script("help", verb) if before else script(verb, "--help")
    assert (ended.code, ended.err) == (0, "")
    first, heading, second = ended.out.partition("\n\nCompose's own help:\n\n")
    assert heading
    assert first.startswith(f"Usage: dm-compose {verb} ")
    assert second.startswith(f"Usage:  docker compose {verb} ")
    assert all(text in first for text in ours)


def test_no_option_of_up_is_called_obligatory(here: Here) -> None:
    assert "required" not in here("up", "--help").out.partition("Compose's own help:")[0]


def test_the_verbs_that_compose_has_too_are_in_the_list_and_so_is_the_way_to_delete_a_dot(here: Here) -> None:
    text = here("--help").out
    listed = text.partition("\nCommands:\n")[2].partition("\n\n")[0]
    for verb, what in (("push", "Send a branch"), ("pull", "Bring a branch up"), ("up --from", "Bring the stack up on a commit")):
        assert re.search(rf"^  {verb} +{what}", listed, re.MULTILINE), verb
    assert "`dm dot delete DOT`" in text
    assert "DM_HOME" in text


@needs_compose
def test_a_verb_that_is_composes_alone_has_composes_help_and_nothing_else(here: Here) -> None:
    assert script("help", "ps") == script("ps", "--help")
    assert script("ps", "--help").out.startswith("Usage:  docker compose ps ")


@needs_compose
def test_help_runs_nothing(here: Here) -> None:
    ended = script("up", "--from", "./nowhere:shop", "--help")
    assert (ended.code, ended.err) == (0, "")


def test_help_without_a_verb_is_that_of_the_program(here: Here, machine: Machine) -> None:
    assert here("help").out == here("--help").out
    assert machine("help").out == machine("--help").out


def test_help_of_a_verb_of_ours_is_its_own(here: Here, machine: Machine) -> None:
    for words in (("reset",), ("worktree", "add"), ("remote",), ("help",), ("gc",)):
        assert here("help", *words).out == here(*words, "--help").out
        assert machine("help", *words).out == machine(*words, "--help").out


def test_dot_and_subdot_are_explained_where_they_first_appear(here: Here, machine: Machine) -> None:
    for text in (here("--help").out, machine("--help").out):
        assert "*dot*" in text
        assert "*subdot*" in text


@needs_compose
def test_no_process_is_started_for_a_verb_that_is_known(monkeypatch: pytest.MonkeyPatch, here: Here) -> None:
    asked: list[str] = []
    monkeypatch.setattr("dm_compose.compose.Compose.has_verb", lambda _, name: bool(asked.append(name)))
    monkeypatch.setattr("dm_compose.compose.Compose.pass_through", lambda *_, **__: 0)
    for verb in ("ps", "logs", "restart", "version", "plan"):
        here(verb, "--help")
    assert asked == []
    assert here("bridge").code == 2
    assert asked == ["bridge"]


@needs_compose
def test_the_stores_own_verbs_are_here_too(machine: Machine) -> None:
    machine("init", "shop")
    for words in (("gc", "--dry-run", "--json"), ("fsck", "--json")):
        ours = run_script(DM_COMPOSE, *words, environment=machine.environment())
        assert (ours.code, ours.json()) == (0, machine(*words).json())


def groups(group: click.Group, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words that call each group of verbs, those of the program first."""
    yield before
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        found = group.get_command(ctx, name)
        if isinstance(found, click.Group):
            yield from groups(found, (*before, name))


@pytest.mark.parametrize("program", [dm_compose_cli, dm_cli], ids=["dm-compose", "dm"])
def test_a_list_of_verbs_says_of_each_in_whole_words_what_it_does(here: Here, machine: Machine, program: click.Group) -> None:
    run = here if program is dm_compose_cli else machine
    for words in groups(program):
        listed = run(*words, "--help").out.partition("\nCommands:\n")[2].partition("\n\n")[0].splitlines()
        assert listed
        assert [line for line in listed if not re.fullmatch(r"  [a-z0-9-]+(?: --from)? +[A-Z].*[^.]\.", line)] == [], words
