"""`dm reset`, `undo` and `reflog`: every move can be taken back."""

from __future__ import annotations

import re

import pytest

from tests.support.commands import (
    NOT_FOUND,
    UNCOMMITTED,
    USAGE,
)
from tests.support.machines import Machine

# Reset


def test_a_reset_puts_the_state_of_a_commit_back(dm: Machine) -> None:
    ids = dm.chain("one", "two", "three", "four")
    for ref, content in (("HEAD^", "three"), (ids[3], "four"), ("HEAD~2", "two"), (ids[2][:7], "three"), ("master~2", "one")):
        dm("reset", ref)
        assert dm.read("a", "file") == content
        assert not dm.is_dirty()
    dm("tag", "last", ids[3])
    dm("reset", "last")
    assert dm.messages() == ["one", "two", "three", "four"]


def test_a_reset_refuses_to_lose_what_is_uncommitted(dm: Machine) -> None:
    dm.chain("one", "two")
    dm.write("a", "file", "uncommitted")
    for ref in ("HEAD", "HEAD^"):
        ended = dm("reset", ref, code=UNCOMMITTED)
        assert "--hard" in ended.err
        assert dm.read("a", "file") == "uncommitted"
    ended = dm("reset", "--hard", "HEAD^")
    assert dm.read("a", "file") == "one"
    assert "`dm undo` brings them back" in ended.out
    assert dm.messages() == ["one"]


@pytest.mark.parametrize(
    ("ref", "code"), [("nope", NOT_FOUND), ("HEAD~9", NOT_FOUND), ("", USAGE), ("^", NOT_FOUND), ("~1", NOT_FOUND), ("HEAD~x", 5)]
)
def test_a_reset_to_what_is_not_there_changes_nothing(dm: Machine, ref: str, code: int) -> None:
    dm.chain("one", "two")
    dm.write("a", "file", "uncommitted")
    dm("reset", "--hard", ref, code=code)
    assert dm.read("a", "file") == "uncommitted"
    assert dm.messages() == ["one", "two"]


def test_a_commit_that_was_reset_away_outlives_its_branch_as_long_as_a_reflog_entry(dm: Machine) -> None:
    dm.chain("one")
    dm("checkout", "-b", "other")
    dm.write("a", "file", "two")
    two = dm.commit("a", "two")
    dm("reset", "HEAD^")
    dm("checkout", "master")
    dm("branch", "-d", "other")
    dm("gc", "-y")
    dm("checkout", "-b", "other")
    assert "two" not in dm("reflog").out, "a new branch of the same name has a reflog of its own"
    dm("reset", two)
    assert dm.read("a", "file") == "two"
    dm("checkout", "master")
    dm("branch", "-D", "other")
    dm("gc", "-y", "--keep-days", "0")
    dm("reset", two, code=NOT_FOUND)


def test_a_reset_wants_to_know_where_to(dm: Machine) -> None:
    assert "REF" in dm("reset", code=USAGE).err


def test_subdots_come_and_go_with_a_reset(dm: Machine) -> None:
    one = dm.commit("a", "one")
    dm.write("a", "file", "in sub", "sub")
    (dm.tree("a") / "loose").write_text("in root")
    two = dm.commit("a", "two")
    dm("reset", one)
    assert not dm.tree("a", "sub").exists()
    assert not dm.tree("a", "loose").exists()
    assert not dm.is_dirty()
    dm("reset", two)
    assert dm.read("a", "file", "sub") == "in sub"
    assert dm.tree("a", "loose").read_text() == "in root"
    assert not dm.is_dirty()
    dm.write("a", "file", "in another", "another")
    assert "another" in dm("reset", two, code=UNCOMMITTED).err
    dm("reset", "--hard", two)
    assert not dm.tree("a", "another").exists()
    dm("undo")
    assert dm.read("a", "file", "another") == "in another"


def test_a_reset_of_a_branch_leaves_the_others_alone(dm: Machine) -> None:
    dm.chain("one", "two")
    dm("checkout", "-b", "other")
    dm.write("a", "file", "uncommitted")
    dm("--branch", "master", "reset", "HEAD^")
    assert dm.read("a", "file") == "uncommitted"
    assert dm.messages("master") == ["one"]
    assert dm.messages("other") == ["one", "two"]
    dm("checkout", "master")
    assert dm.read("a", "file") == "one"


# Undo and reflog


def test_nothing_is_undone_where_nothing_was_done(dm: Machine) -> None:
    assert "nothing to undo" in dm("undo", code=NOT_FOUND).err
    dm.chain("one")
    assert "nothing to undo" in dm("undo", code=NOT_FOUND).err


def test_an_undo_takes_a_reset_back_and_a_second_one_the_first(dm: Machine) -> None:
    dm.chain("one", "two")
    dm.write("a", "file", "uncommitted")
    dm("reset", "--hard", "HEAD^")
    for content, messages in (("uncommitted", ["one", "two"]), ("one", ["one"]), ("uncommitted", ["one", "two"])):
        dm("undo")
        assert dm.read("a", "file") == content
        assert dm.messages() == messages
    assert dm.is_dirty()


def test_an_undo_keeps_what_came_after_the_reset(dm: Machine) -> None:
    dm.chain("one", "two")
    dm("reset", "HEAD^")
    dm.chain("three")
    dm.write("a", "file", "uncommitted")
    assert "1 commit was made since the reset of" in dm("undo", code=UNCOMMITTED).err
    dm("undo", "--hard")
    assert dm.read("a", "file") == "two"
    dm("undo")
    assert dm.read("a", "file") == "uncommitted"
    assert dm.messages() == ["one", "three"]


def test_an_undo_over_commits_names_both_ways_and_says_where_they_lead(dm: Machine) -> None:
    _, two = dm.chain("one", "two")
    dm("reset", "HEAD^")
    three, four = dm.chain("three", "four")
    told = dm("undo", code=UNCOMMITTED).err
    assert "2 commits were made since the reset of" in told
    assert "`undo --commit`" in told
    assert "`undo --hard`" in told
    assert dm.messages() == ["one", "three", "four"]
    told = dm("undo", "--hard").out
    assert f"at {two[:12]} two, as before the reset of" in told
    assert f"left behind: {four[:12]} four, {three[:12]} three" in told
    assert "`dm undo` takes this back" in told
    dm("undo")
    assert dm.messages() == ["one", "three", "four"]


def test_an_undo_of_a_commit_leaves_its_state_as_uncommitted_and_a_second_one_brings_the_commit_back(dm: Machine) -> None:
    one, two = dm.chain("one", "two")
    for _ in range(2):
        told = dm("undo").out
        assert f"at {one[:12]} one" in told
        assert f"commit {two[:12]} two is taken back; its state stays, as uncommitted changes" in told
        assert (dm.messages(), dm.read("a", "file"), dm.is_dirty()) == (["one"], "two", True)
        assert "the commit is back" in dm("undo").out
        assert (dm.messages(), dm.read("a", "file"), dm.is_dirty()) == (["one", "two"], "two", False)


def test_of_several_commits_after_a_reset_the_last_one_alone_can_be_taken_back(dm: Machine) -> None:
    dm.chain("one")
    dm("reset", "HEAD")
    dm.chain("two", "three")
    dm("undo", "--commit")
    assert (dm.messages(), dm.read("a", "file")) == (["one", "two"], "three")
    dm.write("a", "file", "more")
    dm("undo")
    assert (dm.messages(), dm.read("a", "file")) == (["one", "two", "three"], "more")
    dm("undo", "--commit", "--hard", code=USAGE)
    dm("reset", "--hard", "HEAD^")
    assert "the last move was a reset and no commit" in dm("undo", "--commit", code=NOT_FOUND).err


def test_a_first_commit_cannot_be_taken_back(dm: Machine) -> None:
    dm.chain("one")
    assert "the first commit stays" in dm("undo", "--commit", code=NOT_FOUND).err
    assert dm.messages() == ["one"]


def test_an_undo_takes_a_checkout_back_and_a_second_one_the_first(dm: Machine) -> None:
    dm.chain("one")
    dm.write("a", "file", "uncommitted on master")
    dm("checkout", "-b", "other")
    dm.write("a", "file", "uncommitted on other")
    for branch in ("master", "other", "master", "other"):
        dm("undo")
        assert dm("branch", "--json").json() == dm("branch", "--json").json()
        assert f"* {branch}" in dm("branch").lines
        assert dm.read("a", "file") == f"uncommitted on {branch}"


def test_an_undo_to_a_branch_that_is_forgotten_says_so(dm: Machine) -> None:
    dm.chain("one")
    dm("checkout", "-b", "other")
    dm("checkout", "master")
    dm("branch", "-d", "other")
    assert "other" in dm("undo", code=NOT_FOUND).err
    assert dm("branch").out == "* master\n"


def test_the_reflog_has_every_move_and_where_the_uncommitted_was_kept(dm: Machine) -> None:
    assert dm("reflog").out.split()[0] == "#"
    one, two = dm.chain("one", "two")
    dm.write("a", "file", "uncommitted")
    dm("reset", "--hard", "HEAD^")
    dm("undo")
    entries = dm("reflog", "--json").json()
    assert [(e["action"], e["old"], e["new"]) for e in entries] == [
        ("undo", one, two),
        ("reset", two, one),
        ("commit", one, two),
        ("commit", None, one),
    ]
    saved = entries[1]["saved"]
    text = " ".join(dm("reflog").out.split())
    assert re.findall(r"\w+ on master", text) == ["undo on master", "reset on master", "commit on master", "commit on master"]
    assert f"reset on master, uncommitted changes kept as {saved[:12]}" in text
    dm("reset", "--hard", one)
    dm("reset", saved[:12])
    assert dm.read("a", "file") == "uncommitted"
