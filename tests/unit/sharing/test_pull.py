"""`dm pull` and `dm clone`: what comes, what is refused, and that nothing is overwritten."""

from __future__ import annotations

import json
import re

import pytest

from dm_compose.errors import DivergedError, ExistsError, InUseError, NotFoundError, UncommittedError
from tests.support.hubs import Hub, branches, commit, log, messages
from tests.support.machines import Machine

DIVERGED, EXISTS, IN_USE, NOT_FOUND, UNCOMMITTED = (
    cls.exit_code for cls in (DivergedError, ExistsError, InUseError, NotFoundError, UncommittedError)
)
STASHED = re.compile(r"master-DIVERGED-\d{8}T\d{6}Z")


# Clone


def test_a_clone_has_the_files_and_the_whole_history_and_knows_where_it_came_from(hub: Hub, here: Machine) -> None:
    here.write("shop", "deep", "in a subdot", "sub")
    commit(here, "shop", "two")
    here("push", "hub", "--remote-name", "team/shop")
    other = hub.machine("other")
    ended = other("clone", "hub", "team/shop")
    assert ended.lines[:2] == ["Cloning hub:team/shop into admin/shop", "Calculating..."]
    assert re.fullmatch(r"Done! 2 commits, \S+ kiB received", ended.lines[2])
    assert log(other) == log(here)
    assert (other.read("shop", "file"), other.read("shop", "deep", "sub")) == ("two", "in a subdot")
    assert [s for s in other("status", "--json").json()["subdots"] if s["dirty"]] == []
    assert other("pull", "hub").lines[0] == "Pulling admin/shop from hub:team/shop"


def test_a_branch_is_cloned_alone_and_stood_on(hub: Hub, here: Machine) -> None:
    here("checkout", "-b", "feature/x")
    head = commit(here, "shop", "two")
    here("push", "hub")
    here("push", "hub", "shop", "master")
    other = hub.machine("other")
    other("clone", "hub", "shop", "feature/x")
    assert branches(other) == {"feature/x": head}
    assert other.read("shop", "file") == "two"
    other("pull", "hub", "shop", "master")
    other("checkout", "master")
    assert other.read("shop", "file") == "one"


def test_what_is_not_there_cannot_be_cloned_and_nothing_is_made(hub: Hub, here: Machine) -> None:
    here("push", "hub")
    other = hub.machine("other")
    assert "there is no admin/nope at" in other("clone", "hub", "nope", code=NOT_FOUND).err
    refused = other("clone", "hub", "shop", "nope", code=NOT_FOUND)
    assert "has no branch nope" in refused.err
    assert "Its branches: master." in refused.err
    assert other("clone", "hub", "nope", "--json", code=NOT_FOUND).json()["error"]["kind"] == "not_found"
    assert other("list", "--json").json() == []


@pytest.mark.parametrize("committed", [True, False])
def test_a_dot_of_the_name_is_not_touched_by_a_clone(hub: Hub, here: Machine, committed: bool) -> None:
    here("push", "hub")
    other = hub.machine("other")
    other("init", "shop")
    other.write("shop", "file", "mine")
    if committed:
        other.commit("shop", "mine")
    assert "--local-name" in other("clone", "hub", "shop", code=EXISTS).err
    assert other.read("shop", "file") == "mine"
    other("clone", "hub", "shop", "--local-name", "theirs")
    assert (other.read("theirs", "file"), other.read("shop", "file")) == ("one", "mine")
    assert messages(other, "shop") == (["mine"] if committed else [])


# Pull


def test_an_incremental_pull_brings_what_is_new_only(hub: Hub, here: Machine) -> None:
    here.write("shop", "large", "".join(map(str, range(100_000))))
    commit(here, "shop", "two")
    here("push", "hub")
    other = hub.machine("other")
    cloned = other("clone", "hub", "shop", "--json").json()
    three = commit(here, "shop", "three")
    here("push", "hub")
    done = other("pull", "hub", "--json").json()
    assert (done["fetched"]["commits"], done["fetched"]["relation"], done["head"]) == ([three], "behind", three)
    assert done["fetched"]["received_bytes"] < cloned["received_bytes"] / 10
    assert other.read("shop", "file") == "three"
    assert "has all that" in other("pull", "hub").lines[-1]


def test_a_pull_of_what_is_here_already_changes_nothing_and_minds_no_changes(here: Machine, there: Machine) -> None:
    ours = commit(there, "shop", "ours")
    there.write("shop", "file", "not committed")
    assert there("pull", "hub", "--json").json()["fetched"]["relation"] == "ahead"
    assert (branches(there), there.read("shop", "file")) == ({"master": ours}, "not committed")


def test_uncommitted_changes_are_not_overwritten(here: Machine, there: Machine) -> None:
    commit(here, "shop", "two")
    here("push", "hub")
    before = branches(there)
    there.write("shop", "file", "not committed")
    for words in (["pull", "hub"], ["pull", "hub", "--stash-on-divergence"]):
        refused = there(*words, code=UNCOMMITTED)
        assert "uncommitted changes in __default__" in refused.err
        assert "use --hard: `undo` brings them back" in refused.err
        assert (branches(there), there.read("shop", "file")) == (before, "not committed")
    assert "uncommitted changes are kept: `dm undo` brings them back" in there("pull", "hub", "--hard").out
    assert there.read("shop", "file") == "two"
    there("undo")
    assert (branches(there), there.read("shop", "file")) == (before, "not committed")


def test_diverged_histories_are_refused_and_nothing_changes(here: Machine, there: Machine) -> None:
    commit(here, "shop", "theirs")
    here("push", "hub")
    ours = commit(there, "shop", "ours")
    assert "--stash-on-divergence" in there("pull", "hub", code=DIVERGED).err
    assert there("pull", "hub", "--json", code=DIVERGED).json()["error"]["kind"] == "diverged"
    assert (branches(there), there.read("shop", "file")) == ({"master": ours}, "ours")


def test_a_stashing_pull_takes_theirs_and_keeps_ours_as_a_branch(here: Machine, there: Machine) -> None:
    theirs = commit(here, "shop", "theirs")
    here("push", "hub")
    ours = commit(there, "shop", "ours")
    done = there("pull", "hub", "--stash-on-divergence", "--json").json()
    assert STASHED.fullmatch(done["stashed"])
    assert branches(there) == {"master": theirs, done["stashed"]: ours}
    assert there.read("shop", "file") == "theirs"
    there("checkout", done["stashed"])
    assert (there.read("shop", "file"), messages(there)) == ("ours", ["one", "ours"])


def test_a_pull_can_be_undone(here: Machine, there: Machine) -> None:
    two = commit(here, "shop", "two")
    here("push", "hub")
    (one,) = branches(there).values()
    there("pull", "hub")
    assert branches(there) == {"master": two}
    there("undo")
    assert (branches(there), there.read("shop", "file")) == ({"master": one}, "one")


def test_a_branch_that_is_not_checked_out_comes_without_touching_the_one_that_is(here: Machine, there: Machine) -> None:
    here("checkout", "-b", "feature")
    for content in ("two", "three"):
        head = commit(here, "shop", content)
        here("push", "hub")
        there.write("shop", "file", f"not committed, {content}")
        there("pull", "hub", "shop", "feature")
        assert branches(there)["feature"] == head
        assert there.read("shop", "file") == f"not committed, {content}"
    assert messages(there, ref="feature") == ["one", "two", "three"]


def test_a_diverged_branch_that_is_not_checked_out_is_kept_too(here: Machine, there: Machine) -> None:
    here("checkout", "-b", "feature")
    theirs = commit(here, "shop", "theirs")
    here("push", "hub")
    there("checkout", "-b", "other")
    ours = commit(there, "shop", "ours")
    there("branch", "feature")
    there("checkout", "master")
    there("pull", "hub", "shop", "feature", code=DIVERGED)
    stashed = there("pull", "hub", "shop", "feature", "--stash-on-divergence", "--json").json()["stashed"]
    assert {name: branches(there)[name] for name in ("feature", stashed)} == {"feature": theirs, stashed: ours}


def test_a_branch_of_another_worktree_is_not_pulled_over_its_files(here: Machine, there: Machine) -> None:
    there("worktree", "add", "feature")
    before = branches(there)
    here("checkout", "-b", "feature")
    two = commit(here, "shop", "two")
    here("push", "hub")
    refused = there("pull", "hub", "shop", "feature", code=IN_USE)
    assert "worktree feature" in refused.err
    assert "checkout feature" in refused.err
    assert branches(there) == before
    there("checkout", "feature")
    there("pull", "hub")
    assert (branches(there)["feature"], there.read("shop", "file")) == (two, "two")


def test_a_branch_that_was_left_uncommitted_is_not_moved_below_its_changes(here: Machine, there: Machine) -> None:
    there("worktree", "add", "feature")
    (there.home / "trees/shop/feature/__default__/file").write_text("not committed")
    there("worktree", "remove", "feature", "--force")
    before = branches(there)
    here("checkout", "-b", "feature")
    commit(here, "shop", "two")
    here("push", "hub")
    there("pull", "hub", "shop", "feature", code=UNCOMMITTED)
    assert branches(there) == before
    there("checkout", "feature")
    assert there.read("shop", "file") == "not committed"


@pytest.mark.parametrize("empty", [True, False])
def test_a_dot_without_commits_is_pulled_into_unless_something_is_in_it(hub: Hub, here: Machine, empty: bool) -> None:
    here("push", "hub")
    other = hub.machine("other")
    other("init", "shop")
    if empty:
        other("pull", "hub")
        assert (log(other), other.read("shop", "file")) == (log(here), "one")
    else:
        other.write("shop", "file", "mine")
        other("pull", "hub", code=UNCOMMITTED)
        assert other.read("shop", "file") == "mine"


def test_what_is_not_there_cannot_be_pulled(here: Machine, there: Machine) -> None:
    assert "has no branch nope" in there("pull", "hub", "shop", "nope", code=NOT_FOUND).err
    there("init", "other")
    assert "there is no admin/other at" in there("pull", "hub", "other", code=NOT_FOUND).err
    assert "there is no dot nope" in there("pull", "hub", "nope", code=NOT_FOUND).err
    assert "there is no remote nowhere" in there("pull", "nowhere", "shop", code=NOT_FOUND).err


def test_events_are_json_on_standard_error_and_the_outcome_on_standard_output(hub: Hub, here: Machine) -> None:
    here("push", "hub")
    other = hub.machine("other")
    for words, steps in ((["clone", "hub", "shop"], set()), (["pull", "hub"], {"restore"})):
        ended = other(*words, "--json")
        events = [json.loads(line)["event"] for line in ended.err.splitlines()]
        assert events[:2] == ["begin", "calculate"]
        assert {"fetch", *steps} <= set(events)
        assert isinstance(ended.json(), dict)
        commit(here, "shop", "two")
        here("push", "hub")
