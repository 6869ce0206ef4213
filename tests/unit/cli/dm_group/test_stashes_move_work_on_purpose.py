"""`dm stash`: uncommitted changes are put aside, and put back on the same commit or another one."""

from __future__ import annotations

from tests.support.commands import NOT_FOUND, UNCOMMITTED, USAGE
from tests.support.machines import Machine


def test_a_stash_puts_changes_aside_and_a_pop_brings_them_back(dm: Machine) -> None:
    dm.chain("one")
    dm.write("a", "file", "work")
    made = dm("stash", "-m", "half done").out
    assert made.startswith("stash/1 is ")
    assert (dm.read("a", "file"), dm.is_dirty()) == ("one", False)
    assert "half done" in dm("stash", "list").out
    told = dm("stash", "pop").lines
    assert told[0].startswith("stash/1 is back, as uncommitted changes of this branch: ")
    assert (dm.read("a", "file"), dm.is_dirty(), dm.messages()) == ("work", True, ["one"])
    assert dm("stash", "list", "--json").json() == []
    assert "* master" in dm("branch").lines


def test_a_stash_of_nothing_makes_none(dm: Machine) -> None:
    dm.chain("one")
    assert "nothing is uncommitted" in dm("stash").out
    assert dm("stash", "--json").json() == {"stash": None}
    assert dm("stash", "list", "--json").json() == []


def test_the_newest_stash_is_put_back_first_and_any_can_be_named_or_dropped(dm: Machine) -> None:
    dm.chain("one")
    for number in (1, 2, 3):
        dm.write("a", "file", f"work {number}")
        assert dm("stash", "--json").json()["stash"] == f"stash/{number}"
    dm("stash", "drop", "2")
    assert [s["stash"] for s in dm("stash", "list", "--json").json()] == ["stash/3", "stash/1"]
    dm("stash", "pop", "2", code=NOT_FOUND)
    dm("stash", "drop", "2", code=NOT_FOUND)
    dm("stash", "pop", "nothing", code=USAGE)
    dm("stash", "pop", "1")
    assert dm.read("a", "file") == "work 1"
    assert "stash" in dm("stash", "pop", code=UNCOMMITTED).err
    dm("reset", "--hard", "HEAD")
    dm("stash", "pop")
    assert dm.read("a", "file") == "work 3"
    dm("stash", "pop", code=NOT_FOUND)


def test_a_pop_over_changes_is_hard_and_an_undo_brings_them_back(dm: Machine) -> None:
    dm.chain("one")
    dm.write("a", "file", "put aside")
    dm("stash")
    dm.write("a", "file", "written since")
    told = dm("stash", "pop", code=UNCOMMITTED).err
    assert "--hard" in told
    assert dm.read("a", "file") == "written since"
    dm("stash", "pop", "--hard")
    assert (dm.read("a", "file"), dm("stash", "list", "--json").json()) == ("put aside", [])
    dm("undo")
    assert (dm.read("a", "file"), dm.is_dirty()) == ("written since", True)


def test_a_stash_goes_to_another_commit_if_that_is_the_same_where_it_changed_something(dm: Machine) -> None:
    dm.write("a", "file", "one", "cache")
    dm.chain("one")
    dm.write("a", "file", "work", "cache")
    dm("stash")
    dm.write("a", "file", "db", "db")
    dm.commit("a", "another subdot")
    dm("stash", "pop")
    assert (dm.read("a", "file", "cache"), dm.read("a", "file", "db")) == ("work", "db")
    dm("stash")
    dm.write("a", "file", "other", "cache")
    dm.commit("a", "the same subdot")
    told = dm("stash", "pop", code=UNCOMMITTED).err
    assert "uncommitted changes in cache cannot be carried along" in told
    assert "reset --hard stash/1" in told
    assert dm.read("a", "file", "cache") == "other"
    assert [s["stash"] for s in dm("stash", "list", "--json").json()] == ["stash/1"]


def test_an_undo_takes_a_stash_and_a_pop_back(dm: Machine) -> None:
    dm.chain("one")
    dm.write("a", "file", "work")
    dm("stash")
    dm("undo")
    assert dm.read("a", "file") == "work"
    dm("reset", "--hard", "HEAD")
    dm("stash", "pop")
    dm("undo")
    assert (dm.read("a", "file"), dm.is_dirty()) == ("one", False)


def test_before_the_first_commit_there_is_nothing_to_go_back_to(dm: Machine) -> None:
    assert "no commit to go back to" in dm("stash", code=NOT_FOUND).err
    assert dm.read("a", "file") == "one"


def test_a_dash_means_the_branch_before(dm: Machine) -> None:
    dm.chain("one")
    assert "no branch before" in dm("checkout", "-", code=NOT_FOUND).err
    dm("checkout", "-b", "other")
    for branch in ("master", "other", "master"):
        dm("checkout", "-")
        assert f"* {branch}" in dm("branch").lines


def test_a_new_branch_of_dm_leaves_the_work_as_the_ancestor_did(dm: Machine) -> None:
    dm.chain("one")
    dm.write("a", "file", "work")
    dm("checkout", "-b", "other")
    assert dm.read("a", "file") == "one"
    dm("checkout", "-")
    assert dm.read("a", "file") == "work"
    assert "keeps a tree for each branch" in dm("checkout", "--carry", "-b", "third", code=USAGE).err
