"""The help of `dm` describes every verb, option and exit code; versions and what the store knows are told."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

import dm_compose
from dm_compose.cli.dm_group import cli
from dm_compose.dots.dot import Dot
from dm_compose.errors import error_classes
from tests.support.commands import (
    USAGE,
    verbs,
)
from tests.support.machines import Machine

# version, debug


def test_the_version_is_that_of_client_store_and_docker(machine: Machine) -> None:
    lines = machine("version").lines
    assert lines[:2] == ["Client:", f"\tVersion: {dm_compose.__version__}"]
    assert "Server:" in lines
    assert f"\tStore: {machine.home}" in lines
    assert "\tDocker: no engine answers" in lines
    assert set(machine("version", "--json").json()) == {"client", "python", "store", "docker"}
    for option in ("--version", "-V"):
        assert dm_compose.__version__ in machine(option).out


def test_debug_prints_what_the_store_knows(used: Machine) -> None:
    everything = used("debug").json()
    assert set(everything["AllDotsAndBranches"]["a"]["branches"]) == {"master", "other"}
    assert everything["Unfinished"] == {"a": []}
    for name, value in everything.items():
        assert used("debug", name).json() == used("debug", "--json", name).json() == value
    assert "Worktrees" in used("debug", "Nope", code=USAGE).err


# Help


@pytest.mark.parametrize(
    ("words", "command"), list(verbs(cli)), ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_every_verb_and_every_option_of_it_has_help(machine: Machine, words: tuple[str, ...], command: click.Command) -> None:
    for option in ("-h", "--help"):
        ended = machine(*words, option)
        assert ended.out.startswith(f"Usage: dm {' '.join(words)} ")
        assert ended.err == ""
    assert len(command.get_short_help_str()) > 10
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.opts
    assert list(machine.root.iterdir()) == []


def test_the_help_lists_every_verb_and_every_exit_code(machine: Machine) -> None:
    text = machine("--help").out
    assert all(re.search(rf"^  {name}\b", text, re.MULTILINE) for name in cli.commands)
    codes = text.partition("Exit codes:")[2]
    assert all(re.search(rf"\b{error.exit_code} [a-zA-Z]", codes) for error in error_classes().values())
    assert "Usage: dm [OPTIONS]" in machine(code=USAGE).err


def test_a_bug_gives_70_and_no_traceback(used: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dot, "branches", lambda *_: 1 // 0)
    with pytest.raises(AssertionError, match="this is a bug") as raised:
        used("branch")
    assert "Traceback" not in str(raised.value)
    (log,) = (used.root / "state" / "dm-compose").iterdir()
    assert "dm branch" in log.read_text()
    assert "ZeroDivisionError" in log.read_text()


FLAGS = [
    (words, option)
    for words, command in verbs(cli)
    for parameter in command.params
    if isinstance(parameter, click.Option) and parameter.is_flag and words != ("s3", "clone-subset")  # which only refuses
    if words[0] != "cluster"  # which is the engine's
    for option in parameter.opts
    if option != "--carry"  # which a dot of trees refuses
]
ARGUMENTS = {
    "commit": "-m c",
    "mount": "a PLACE",
    "init": "new",
    "switch": "a",
    "worktree add": "new",
    "worktree remove": "side",
    "reset": "other",
    "checkout": "other",
    "stash drop": "1",
    "log": "other",
    "diff": "other",
    "config": "undo-size",
    "dot delete": "a",
    "dot set-upstream": "hub a",
    "push": "hub",
    "pull": "hub",
    "clone": "hub a --local-name copy",
    "remote add": "second REMOTE",
    "remote rm-dot": "hub a",
    "s3 remote add": "second REMOTE",
    **{f"remote {verb}": "hub" for verb in ("rm", "switch", "ls", "gc", "verify")},
}


@pytest.mark.parametrize(("words", "option"), FLAGS, ids=lambda value: " ".join(value) if isinstance(value, tuple) else value)
def test_every_flag_of_every_verb_works_without_an_engine(
    used: Machine, words: tuple[str, ...], option: str, tmp_path: Path
) -> None:
    used("commit", "-m", "so that nothing is refused")
    if words[0] == "worktree":
        used("worktree", "add", "side")
    if words[0] == "undo" and option != "--commit":
        used("checkout", "other")
    if words[0] == "stash":
        used.write("a", "file", "work")
    if words[0] == "stash" and len(words) > 1:
        used("stash")
    if "hub" in ARGUMENTS.get(" ".join(words), ""):
        used("remote", "add", "hub", str(tmp_path / "hub"))
        used("push", "hub")
    given = ARGUMENTS.get(" ".join(words), "").replace("PLACE", str(tmp_path / "here")).replace("REMOTE", str(tmp_path / "2"))
    arguments = given.split()
    if option in ("-b", "--branch"):
        arguments = ["new", "other"]
    elif option in ("-d", "-D", "--delete", "--force-delete"):
        arguments = ["v1" if words == ("tag",) else "other"]
    ended = used(*words, option, *arguments, answer="Y\n")
    assert not ended.err or option != "--json" or "(enter Y to continue)" in ended.err or ended.err.startswith('{"event": ')
