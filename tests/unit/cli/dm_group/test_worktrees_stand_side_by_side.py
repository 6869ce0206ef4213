"""`dm worktree`: a dot can be checked out several times at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.commands import (
    EXISTS,
    IN_USE,
    NOT_FOUND,
    UNCOMMITTED,
    USAGE,
)
from tests.support.machines import Machine


def test_a_dot_can_be_checked_out_several_times_at_once(dm: Machine, tmp_path: Path) -> None:
    dm.chain("one", "two")
    dm.write("a", "file", "uncommitted")
    assert dm("worktree", "add", "side").out == "worktree side on branch side\n"
    dm("worktree", "add", "old", "HEAD^")
    dm("branch", "idle", "HEAD^")
    dm("worktree", "add", "third", "idle")
    for name, content in (("side", "two"), ("old", "one"), ("idle", "one")):
        dm("mount", f"a@{name}", str(tmp_path / name))
        assert (tmp_path / name / "file").read_text() == content
    assert dm.read("a", "file") == "uncommitted"
    rows = [line.split()[:2] for line in dm("worktree", "list").lines[1:]]
    assert rows == [["main", "master"], ["old", "old"], ["side", "side"], ["third", "idle"]]
    (tmp_path / "side" / "file").write_text("changed beside")
    dm("--branch", "side", "commit", "-m", "beside")
    assert dm.messages("side") == ["one", "two", "beside"]
    assert dm.messages() == ["one", "two"]
    dm("checkout", "side")
    assert dm.read("a", "file") == "changed beside"


def test_a_worktree_is_removed_when_nothing_is_lost_with_it(dm: Machine) -> None:
    dm.chain("one")
    dm("worktree", "add", "side")
    assert dm("worktree", "remove", "side").out == ""
    assert [w["name"] for w in dm("worktree", "list", "--json").json()] == ["main"]
    assert dm("branch").lines == ["* master", "  side"]
    assert not (dm.home / "trees" / "a" / "side").exists()
    dm("worktree", "add", "side", "side")


def test_what_is_uncommitted_in_a_worktree_that_is_removed_stays_with_its_branch(dm: Machine) -> None:
    dm.chain("one")
    dm("worktree", "add", "side")
    (dm.home / "trees" / "a" / "side" / "__default__" / "file").write_text("uncommitted")
    assert "uncommitted" in dm("worktree", "remove", "side", code=UNCOMMITTED).err
    dm("worktree", "remove", "--force", "side")
    assert dm("branch").lines == ["* master", "  side  (uncommitted changes)"]
    assert "uncommitted changes" in dm("branch", "-d", "side", code=UNCOMMITTED).err
    dm("checkout", "side")
    assert dm.read("a", "file") == "uncommitted"
    assert dm.is_dirty()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("add", "main"), EXISTS),
        (("add", "side"), EXISTS),
        (("add", "other", "master"), IN_USE),
        (("add", "other", "side"), IN_USE),
        (("add", "other", "nope"), NOT_FOUND),
        (("add", "HEAD"), USAGE),
        (("remove", "nope"), NOT_FOUND),
        (("remove", "main"), IN_USE),
        (("remove", "--force", "main"), IN_USE),
        (("add",), USAGE),
        (("remove",), USAGE),
        (("nope",), USAGE),
        ((), USAGE),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_wrong_worktrees_are_refused_and_nothing_changes(dm: Machine, words: tuple[str, ...], code: int) -> None:
    dm.chain("one")
    dm("worktree", "add", "side")
    dm.write("a", "file", "uncommitted")
    before = dm("worktree", "list", "--json").json(), dm("branch", "--json").json(), dm("reflog", "--json").json(), dm.listing()
    dm("worktree", *words, code=code)
    after = dm("worktree", "list", "--json").json(), dm("branch", "--json").json(), dm("reflog", "--json").json(), dm.listing()
    assert after == before


def test_the_worktree_that_the_volumes_follow_stays(dm: Machine) -> None:
    dm.chain("one")
    dm("checkout", "-b", "other")
    assert "current" in dm("worktree", "remove", "other", code=IN_USE).err
    dm("checkout", "master")
    dm("worktree", "remove", "other")
