"""`dm branch` and `checkout`: every branch keeps its own files, the uncommitted ones too."""

from __future__ import annotations

import pytest

from tests.support.commands import (
    EXISTS,
    IN_USE,
    NOT_FOUND,
    UNCOMMITTED,
    USAGE,
)
from tests.support.machines import Machine


def test_the_branch_that_one_stands_on_is_listed_before_its_first_commit(dm: Machine) -> None:
    assert dm("branch").out == "* master\n"
    (found,) = dm("branch", "--json").json()
    assert (found["name"], found["head"], found["current"]) == ("master", None, True)


def test_the_contents_follow_the_branch(dm: Machine) -> None:
    dm.chain("one")
    dm("checkout", "-b", "other")
    assert dm.read("a", "file") == "one"
    dm.chain("two")
    dm.write("a", "more", "of it")
    dm("commit", "-m", "three")
    dm("checkout", "master")
    assert (dm.read("a", "file"), dm.read("a", "more")) == ("one", None)
    dm("checkout", "other")
    assert (dm.read("a", "file"), dm.read("a", "more")) == ("two", "of it")
    assert dm.messages() == ["one", "two", "three"]
    assert dm("branch").lines == ["  master", "* other"]


def test_what_is_uncommitted_stays_with_its_branch_and_comes_back(dm: Machine) -> None:
    dm.chain("one")
    dm.write("a", "file", "uncommitted on master")
    dm("checkout", "-b", "other")
    assert dm.read("a", "file") == "one"
    assert not dm.is_dirty()
    dm.write("a", "file", "uncommitted on other")
    dm("checkout", "-b", "third", "master")
    assert dm.read("a", "file") == "one"
    for branch in ("master", "other", "master"):
        dm("checkout", branch)
        assert dm.read("a", "file") == f"uncommitted on {branch}"
        assert dm.is_dirty()


def test_three_branches_stay_apart(dm: Machine) -> None:
    dm.chain("one")
    for branch in ("b1", "b2", "b3"):
        dm("checkout", "-b", branch, "master")
        dm.write("a", "file", branch)
        dm("commit", "-m", branch)
    for branch in ("b2", "b1", "b3", "b1"):
        dm("checkout", branch)
        assert dm.read("a", "file") == branch
    assert dm("fsck").code == 0


def test_a_checkout_of_the_branch_that_one_stands_on_does_nothing(dm: Machine) -> None:
    assert dm("checkout", "master").out == "already on branch master\n"
    assert dm("checkout", "master", "--json").json()["head"] is None
    (one,) = dm.chain("one")
    dm.write("a", "file", "uncommitted")
    assert dm("checkout", "master").out == "already on branch master\n"
    assert dm("checkout", "master", "--json").json()["head"]["id"] == one
    assert dm.read("a", "file") == "uncommitted"


def test_a_branch_can_begin_at_any_commit(dm: Machine) -> None:
    one, two, _ = dm.chain("one", "two", "three")
    dm("tag", "second", two)
    for name, start, content in (("b1", one[:6], "one"), ("b2", "second", "two"), ("b3", "master~2", "one"), ("b4", "b2", "two")):
        dm("checkout", "-b", name, start)
        assert dm.read("a", "file") == content
        assert not dm.is_dirty()
    dm("branch", "b5", "HEAD^")
    assert dm.messages("b5") == ["one"]
    assert dm("branch").lines == ["  b1", "  b2", "  b3", "* b4", "  b5", "  master"]


def test_a_commit_and_a_tag_are_checked_out_as_new_branches(dm: Machine) -> None:
    one, _ = dm.chain("one", "two")
    dm("tag", "v1", one)
    ended = dm("checkout", one[:10])
    assert f"on new branch at-{one[:12]}" in ended.out
    assert dm.read("a", "file") == "one"
    dm("checkout", "v1")
    assert dm.read("a", "file") == "one"
    dm("checkout", "v1")
    dm("checkout", "HEAD^", code=NOT_FOUND)
    assert dm("branch").lines == [f"  at-{one[:12]}", "  at-v1", "* at-v1-2", "  master"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("checkout", "nope"), NOT_FOUND),
        (("checkout", "-b", "new", "nope"), NOT_FOUND),
        (("checkout", "-b", "master"), EXISTS),
        (("checkout", "-b", "other"), EXISTS),
        (("checkout", "other", "master"), USAGE),
        (("branch", "master"), EXISTS),
        (("branch", "other", "HEAD"), EXISTS),
        (("branch", "new", "nope"), NOT_FOUND),
        (("branch", "-d", "nope"), NOT_FOUND),
        (("branch", "-d"), USAGE),
        (("branch", "-d", "other", "HEAD"), USAGE),
        (("branch", "-d", "master"), IN_USE),
        (("branch", "-D", "master"), IN_USE),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_wrong_branches_are_refused_and_nothing_changes(dm: Machine, words: tuple[str, ...], code: int) -> None:
    dm.chain("one")
    dm("branch", "other")
    dm.write("a", "file", "uncommitted")
    before = dm("branch", "--json").json(), dm("reflog", "--json").json(), dm.listing()
    dm(*words, code=code)
    assert (dm("branch", "--json").json(), dm("reflog", "--json").json(), dm.listing()) == before
    assert dm.read("a", "file") == "uncommitted"


def test_a_branch_of_a_dot_without_commits_has_nowhere_to_begin(dm: Machine) -> None:
    for words in (("checkout", "-b", "new"), ("branch", "new"), ("worktree", "add", "new"), ("tag", "new")):
        assert "no commit yet" in dm(*words, code=NOT_FOUND).err
    assert dm("branch").out == "* master\n"
    assert "checked out" in dm("branch", "-d", "master", code=IN_USE).err


def test_a_branch_is_forgotten_when_nothing_is_lost_with_it(dm: Machine) -> None:
    (one,) = dm.chain("one")
    dm("branch", "idle")
    dm("checkout", "-b", "visited")
    dm("checkout", "master")
    assert dm("branch", "-d", "idle").out == f"forgot branch idle; its head was {one[:12]} one\n"
    dm("branch", "-d", "visited")
    assert dm("branch").out == "* master\n"
    assert dm("worktree", "list", "--json").json()[0]["name"] == "main"
    assert len(dm("worktree", "list", "--json").json()) == 1


def test_a_branch_with_commits_of_its_own_is_forgotten_by_force_only_and_can_be_had_again(dm: Machine) -> None:
    dm.chain("one")
    dm("checkout", "-b", "other")
    two, three = dm.chain("two", "three")
    dm("checkout", "master")
    ended = dm("branch", "-d", "other", code=UNCOMMITTED)
    assert "2 commits" in ended.err
    assert "branch -D" in ended.err
    dm("tag", "keep", two)
    assert "1 commit on no other branch" in dm("branch", "-d", "other", code=UNCOMMITTED).err
    assert dm("branch", "-D", "other", "--json").json()[0]["held"] == three
    assert three in [entry["saved"] for entry in dm("reflog", "--json").json()]
    dm("checkout", "-b", "again", three)
    assert dm.read("a", "file") == "three"


def test_a_branch_with_uncommitted_changes_is_forgotten_by_force_only_and_they_can_be_had_again(dm: Machine) -> None:
    dm.chain("one")
    dm("checkout", "-b", "other")
    dm.write("a", "file", "uncommitted")
    dm("checkout", "master")
    assert "uncommitted changes" in dm("branch", "-d", "other", code=UNCOMMITTED).err
    held = dm("branch", "-D", "other", "--json").json()[0]["held"]
    dm("gc", "--yes")
    dm("checkout", "-b", "again", held)
    assert dm.read("a", "file") == "uncommitted"


def test_the_first_branch_stays_also_when_one_stands_on_another(dm: Machine) -> None:
    dm.chain("one")
    dm("checkout", "-b", "other")
    dm.write("a", "file", "two")
    for option in ("-d", "-D"):
        ended = dm("branch", option, "master", code=IN_USE)
        assert "master" in ended.err
    assert dm("branch").lines == ["  master", "* other"]


def test_branches_in_groups_and_of_names_that_look_alike_stay_apart(dm: Machine) -> None:
    dm.chain("one")
    names = ["a/b", "a-b", "main", "a/b/c", "x" * 200, "A", "x.y"]
    for name in names:
        dm("checkout", "-b", name, "master")
        dm.write("a", "file", name)
    for name in names:
        dm("checkout", name)
        assert dm.read("a", "file") == name


def test_several_branches_and_patterns_are_forgotten_at_once_or_not_at_all(dm: Machine) -> None:
    dm.chain("one")
    for name in ("failed/one", "failed/two", "kept"):
        dm("branch", name)
    before = dm("branch").out
    assert "no branch nope" in dm("branch", "-d", "kept", "nope", code=NOT_FOUND).err
    assert "no branch that matches 'gone/*'" in dm("branch", "-d", "kept", "gone/*", code=NOT_FOUND).err
    assert "checked out" in dm("branch", "-d", "kept", "master", code=IN_USE).err
    assert dm("branch").out == before
    told = dm("branch", "-d", "failed/*", "kept", "failed/one").lines
    assert [line.partition(";")[0] for line in told] == [f"forgot branch {n}" for n in ("failed/one", "failed/two", "kept")]
    assert dm("branch").out == "* master\n"
    for name in ("failed-1", "failed-2", "v1"):
        dm("tag", name)
    assert "no tag nope" in dm("tag", "-d", "v1", "nope", code=NOT_FOUND).err
    assert dm("tag", "-d", "failed-*").lines == ["forgot tag failed-1", "forgot tag failed-2"]
    assert [line.split()[0] for line in dm("tag").lines] == ["v1"]


def test_branches_that_go_together_do_not_keep_each_others_commits(used: Machine) -> None:
    used("checkout", "-b", "lone")
    used.write("a", "file", "three")
    used("commit", "-m", "three")
    used("branch", "twin")
    used("checkout", "master")
    assert "1 commit on no other branch" in used("branch", "-d", "lone", "twin", code=UNCOMMITTED).err
    assert "lone" in used("branch").out
    assert len(used("branch", "-D", "lone", "twin").lines) == 2
