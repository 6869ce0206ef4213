"""Completion offers the names that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.commands import (
    USAGE,
)
from tests.support.machines import Machine


def _complete(used: Machine, line: str, shell: str = "bash") -> list[str]:
    """Return what is offered for the last word of a line, which may be empty."""
    words = line.split(" ")
    position = words[-1] if shell == "fish" else str(len(words) - 1)
    ended = used(_DM_COMPLETE=f"{shell}_complete", COMP_WORDS=line, COMP_CWORD=position)
    assert ended.err == ""
    if shell == "zsh":
        return ended.lines[1::3]
    return [entry.split(",", 1)[1].split("\t")[0] for entry in ended.lines if entry]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_completion_for_every_shell(used: Machine, shell: str) -> None:
    assert "_DM_COMPLETE" in used("completion", shell).out
    assert "checkout" in _complete(used, "dm che", shell)
    assert _complete(used, "dm checkout oth", shell) == ["other"]


def test_a_shell_without_a_completion_is_refused(used: Machine) -> None:
    assert "tcsh" in used("completion", "tcsh", code=USAGE).err


def test_the_names_that_there_are_are_offered(used: Machine) -> None:
    used("init", "another")
    used("switch", "a")
    used("worktree", "add", "side", "other")
    commits = [commit["id"][:12] for commit in used("log", "--json").json()]
    for words in ("switch", "--dot", "status --dot", "dot show", "dot delete -f", "mount", "dot show --dot"):
        assert _complete(used, f"dm {words} ") == ["a", "another"], words
    for words in ("branch", "branch -d", "--branch", "log --branch", "status --branch"):
        assert _complete(used, f"dm {words} ") == ["master", "other"], words
    for words in ("checkout", "checkout -b new", "log", "reset", "diff", "diff HEAD", "tag new", "worktree add new"):
        assert _complete(used, f"dm {words} ") == ["master", "other", "v1", *commits], words
    assert _complete(used, "dm tag -d ") == ["v1"]
    assert _complete(used, "dm worktree remove ") == ["main", "side"]
    assert _complete(used, f"dm reset {commits[1][:5]}") == [commits[1]]
    assert _complete(used, "dm mount --commit v") == ["v1"]


def test_the_names_are_those_of_the_dot_that_is_named(used: Machine) -> None:
    used("init", "another")
    assert _complete(used, "dm --dot another checkout ") == ["master"]
    assert "v1" in _complete(used, "dm checkout --dot a ")
    assert _complete(used, "dm --dot nope checkout ") == []
    assert "v1" in _complete(Machine(used.root, {"DM_DOT": "a"}), "dm checkout ")


def test_a_message_is_one_line_beside_what_is_offered(used: Machine) -> None:
    used("commit", "-m", "several\nlines:\tand a tab\n")
    lines = used(_DM_COMPLETE="zsh_complete", COMP_WORDS="dm log ", COMP_CWORD="2").lines
    assert len(lines) % 3 == 0
    assert "several lines: and a tab" in lines[2::3]


def test_a_key_press_recovers_nothing_and_says_nothing(used: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dm_compose.dots.stored_dot.look", lambda *_: 1 // 0)
    assert "other" in _complete(used, "dm checkout ")
    for broken in (Machine(Path("/proc/nowhere")), Machine(used.root, {"DM_HOME": "no-folder"})):
        assert _complete(broken, "dm checkout ") == []
        assert _complete(broken, "dm switch ") == []
