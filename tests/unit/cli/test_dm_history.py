"""`dm` on a store in a folder, without an engine: commits, branches, tags, worktrees, and going back and forth between them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from dm_compose.core.names import MAIN_WORKTREE, DotName, SubdotName
from dm_compose.errors import EngineError, ExistsError, InUseError, NotFoundError, StoreError, UncommittedError, UsageError
from dm_compose.store.local.store import LocalStore
from tests.support.machines import Machine

USAGE, NOT_FOUND, UNCOMMITTED, IN_USE, STORE, EXISTS = (
    cls.exit_code for cls in (UsageError, NotFoundError, UncommittedError, InUseError, StoreError, ExistsError)
)


@pytest.fixture
def dm(machine: Machine) -> Machine:
    """A machine with the dot `a`, in it a file with `one` and no commit."""
    machine("init", "a")
    machine.write("a", "file", "one")
    return machine


def _chain(dm: Machine, *contents: str) -> list[str]:
    """Commit the file with each content in turn, which is the message too."""
    ids = []
    for content in contents:
        dm.write("a", "file", content)
        ids.append(dm.commit("a", content))
    return ids


def _messages(dm: Machine, *words: str) -> list[str]:
    return [line.strip() for line in dm("log", *words).lines if line.startswith("    ")]


def _dirty(dm: Machine) -> bool:
    return bool(dm("status", "--json").json()["dirty"])


# Commit


def test_a_commit_prints_its_id_and_nothing_else(dm: Machine) -> None:
    ended = dm("commit", "-m", "one")
    assert re.fullmatch(r"[0-9a-f]{32}\n", ended.out)
    assert ended.err == ""
    assert not _dirty(dm)


def test_a_dot_can_be_committed_unchanged_and_empty(dm: Machine) -> None:
    ids = {dm.commit("a", "same") for _ in range(3)}
    assert len(ids) == 3
    dm("init", "empty")
    dm("--dot", "empty", "commit", "-m", "nothing in it")
    assert dm("list", "-H").fields()[1][4:] == ["0", "1", "0"]


@pytest.mark.parametrize("message", ["", " ", "\n"])
def test_a_commit_wants_a_message(dm: Machine, message: str) -> None:
    assert "message" in dm("commit", "-m", message, code=USAGE).err
    assert "--message" in dm("commit", code=USAGE).err
    assert dm("log").out == ""


def test_a_message_of_several_lines_is_indented_in_the_log(dm: Machine) -> None:
    dm("commit", "-m", "first\n\nthird: with a colon")
    assert dm("log").lines[-4:] == ["    first", "    ", "    third: with a colon", ""]


def test_fields_of_metadata_are_kept_with_a_commit(dm: Machine) -> None:
    long = "v" * 2000
    dm("commit", "-m", "c", "--metadata", f"long={long}", "-d", "equation=a=b=c", "--metadata", "empty=", "-d", "ü=ä ö")
    (found,) = dm("log", "--json").json()
    assert found["metadata"] == {"long": long, "equation": "a=b=c", "empty": "", "ü": "ä ö"}
    lines = dm("log").lines
    assert f"long: {long}" in lines
    assert "equation: a=b=c" in lines
    assert "empty: " in lines


@pytest.mark.parametrize("word", ["Ticket=1", "TICKET=1", "9=1", "_x=1", "=1", " a=1"])
def test_a_field_that_does_not_start_in_lower_case_is_refused_by_name(dm: Machine, word: str) -> None:
    ended = dm("commit", "-m", "c", "--metadata", "fine=1", "--metadata", word, code=USAGE)
    assert "must start with lowercase" in ended.err
    assert repr(word.partition("=")[0]) in ended.err
    assert dm("log").out == ""


@pytest.mark.parametrize("word", ["ticket", "", "a b", "Ticket"])
def test_a_field_without_a_value_is_refused_by_name(dm: Machine, word: str) -> None:
    ended = dm("commit", "-m", "c", "-d", "fine=1", "-d", word, code=USAGE)
    assert "name=value pair" in ended.err
    assert repr(word) in ended.err
    assert dm("log").out == ""


def test_a_commit_that_was_made_by_something_killed_is_not_there(dm: Machine) -> None:
    assert dm("debug", "Unfinished").json() == {"a": []}
    dm("commit", "-m", "c")
    assert dm("debug", "Unfinished").json() == {"a": []}


# Log


def test_a_log_is_in_the_ancestors_form_and_the_oldest_comes_first(dm: Machine) -> None:
    assert dm("log").out == ""
    one, two = _chain(dm, "one", "two")
    text = dm("log").out
    first, second = re.findall(r"commit (\w+)\nauthor: \w+\ndate: [-\d]{10} [:\d]{8}\n\n    (\w+)\n\n", text)
    assert (first, second) == ((one, "one"), (two, "two"))
    assert [found["id"] for found in dm("log", "--json").json()] == [two, one]


def test_the_log_of_a_branch_needs_no_checkout(dm: Machine) -> None:
    one, _ = _chain(dm, "one", "two")
    dm("branch", "old", one[:8])
    assert _messages(dm, "old") == _messages(dm, "--branch", "old") == ["one"]
    assert _messages(dm) == _messages(dm, "master") == _messages(dm, "HEAD") == ["one", "two"]
    assert _messages(dm, one[:4]) == _messages(dm, "HEAD^") == _messages(dm, "master~1") == ["one"]
    dm("tag", "v1", "old")
    assert _messages(dm, "v1") == ["one"]
    assert dm("branch").lines == ["* master", "  old"]


def test_the_branch_that_one_stands_on_has_an_empty_log_before_its_first_commit(dm: Machine) -> None:
    assert dm("log", "master").out == dm("--branch", "master", "log").out == ""
    assert dm("log", "--json").json() == []


@pytest.mark.parametrize("ref", ["nope", "HEAD~2", "HEAD^^", "master~9", "ffffffff", "abc", "HEAD~999999"])
def test_what_is_no_commit_has_no_log(dm: Machine, ref: str) -> None:
    _chain(dm, "one", "two")
    ended = dm("log", ref, code=NOT_FOUND)
    assert ended.err.startswith("error: ")
    assert "`log` lists" in ended.err


@pytest.mark.parametrize(
    "words", [("log", ""), ("branch", "b", ""), ("tag", "t", ""), ("checkout", ""), ("checkout", "-b", "b", ""), ("reset", "")]
)
def test_an_empty_reference_is_a_mistake_and_not_the_head(dm: Machine, words: tuple[str, ...]) -> None:
    _chain(dm, "one")
    assert "''" in dm(*words, code=USAGE).err
    assert dm("branch").out == "* master\n"
    assert dm("tag").out == ""


# Branches


def test_the_branch_that_one_stands_on_is_listed_before_its_first_commit(dm: Machine) -> None:
    assert dm("branch").out == "* master\n"
    (found,) = dm("branch", "--json").json()
    assert (found["name"], found["head"], found["current"]) == ("master", None, True)


def test_the_contents_follow_the_branch(dm: Machine) -> None:
    _chain(dm, "one")
    dm("checkout", "-b", "other")
    assert dm.read("a", "file") == "one"
    _chain(dm, "two")
    dm.write("a", "more", "of it")
    dm("commit", "-m", "three")
    dm("checkout", "master")
    assert (dm.read("a", "file"), dm.read("a", "more")) == ("one", None)
    dm("checkout", "other")
    assert (dm.read("a", "file"), dm.read("a", "more")) == ("two", "of it")
    assert _messages(dm) == ["one", "two", "three"]
    assert dm("branch").lines == ["  master", "* other"]


def test_what_is_uncommitted_stays_with_its_branch_and_comes_back(dm: Machine) -> None:
    _chain(dm, "one")
    dm.write("a", "file", "uncommitted on master")
    dm("checkout", "-b", "other")
    assert dm.read("a", "file") == "one"
    assert not _dirty(dm)
    dm.write("a", "file", "uncommitted on other")
    dm("checkout", "-b", "third", "master")
    assert dm.read("a", "file") == "one"
    for branch in ("master", "other", "master"):
        dm("checkout", branch)
        assert dm.read("a", "file") == f"uncommitted on {branch}"
        assert _dirty(dm)


def test_three_branches_stay_apart(dm: Machine) -> None:
    _chain(dm, "one")
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
    (one,) = _chain(dm, "one")
    dm.write("a", "file", "uncommitted")
    assert dm("checkout", "master").out == "already on branch master\n"
    assert dm("checkout", "master", "--json").json()["head"]["id"] == one
    assert dm.read("a", "file") == "uncommitted"


def test_a_branch_can_begin_at_any_commit(dm: Machine) -> None:
    one, two, _ = _chain(dm, "one", "two", "three")
    dm("tag", "second", two)
    for name, start, content in (("b1", one[:6], "one"), ("b2", "second", "two"), ("b3", "master~2", "one"), ("b4", "b2", "two")):
        dm("checkout", "-b", name, start)
        assert dm.read("a", "file") == content
        assert not _dirty(dm)
    dm("branch", "b5", "HEAD^")
    assert _messages(dm, "b5") == ["one"]
    assert dm("branch").lines == ["  b1", "  b2", "  b3", "* b4", "  b5", "  master"]


def test_a_commit_and_a_tag_are_checked_out_as_new_branches(dm: Machine) -> None:
    one, _ = _chain(dm, "one", "two")
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
    _chain(dm, "one")
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
    (one,) = _chain(dm, "one")
    dm("branch", "idle")
    dm("checkout", "-b", "visited")
    dm("checkout", "master")
    assert dm("branch", "-d", "idle").out == f"forgot branch idle; it held {one[:12]}\n"
    dm("branch", "-d", "visited")
    assert dm("branch").out == "* master\n"
    assert dm("worktree", "list", "--json").json()[0]["name"] == "main"
    assert len(dm("worktree", "list", "--json").json()) == 1


def test_a_branch_with_commits_of_its_own_is_forgotten_by_force_only_and_can_be_had_again(dm: Machine) -> None:
    _chain(dm, "one")
    dm("checkout", "-b", "other")
    two, three = _chain(dm, "two", "three")
    dm("checkout", "master")
    ended = dm("branch", "-d", "other", code=UNCOMMITTED)
    assert "2 commits" in ended.err
    assert "branch -D" in ended.err
    dm("tag", "keep", two)
    assert "1 commits" in dm("branch", "-d", "other", code=UNCOMMITTED).err
    assert dm("branch", "-D", "other", "--json").json() == {"branch": "other", "held": three}
    assert three in [entry["saved"] for entry in dm("reflog", "--json").json()]
    dm("checkout", "-b", "again", three)
    assert dm.read("a", "file") == "three"


def test_a_branch_with_uncommitted_changes_is_forgotten_by_force_only_and_they_can_be_had_again(dm: Machine) -> None:
    _chain(dm, "one")
    dm("checkout", "-b", "other")
    dm.write("a", "file", "uncommitted")
    dm("checkout", "master")
    assert "uncommitted changes" in dm("branch", "-d", "other", code=UNCOMMITTED).err
    held = dm("branch", "-D", "other", "--json").json()["held"]
    dm("gc", "--yes")
    dm("checkout", "-b", "again", held)
    assert dm.read("a", "file") == "uncommitted"


def test_the_first_branch_stays_also_when_one_stands_on_another(dm: Machine) -> None:
    _chain(dm, "one")
    dm("checkout", "-b", "other")
    dm.write("a", "file", "two")
    for option in ("-d", "-D"):
        ended = dm("branch", option, "master", code=IN_USE)
        assert "master" in ended.err
    assert dm("branch").lines == ["  master", "* other"]


def test_branches_in_groups_and_of_names_that_look_alike_stay_apart(dm: Machine) -> None:
    _chain(dm, "one")
    names = ["a/b", "a-b", "main", "a/b/c", "x" * 200, "A", "x.y"]
    for name in names:
        dm("checkout", "-b", name, "master")
        dm.write("a", "file", name)
    for name in names:
        dm("checkout", name)
        assert dm.read("a", "file") == name


# Reset


def test_a_reset_puts_the_state_of_a_commit_back(dm: Machine) -> None:
    ids = _chain(dm, "one", "two", "three", "four")
    for ref, content in (("HEAD^", "three"), (ids[3], "four"), ("HEAD~2", "two"), (ids[2][:7], "three"), ("master~2", "one")):
        dm("reset", ref)
        assert dm.read("a", "file") == content
        assert not _dirty(dm)
    dm("tag", "last", ids[3])
    dm("reset", "last")
    assert _messages(dm) == ["one", "two", "three", "four"]


def test_a_reset_refuses_to_lose_what_is_uncommitted(dm: Machine) -> None:
    _chain(dm, "one", "two")
    dm.write("a", "file", "uncommitted")
    for ref in ("HEAD", "HEAD^"):
        ended = dm("reset", ref, code=UNCOMMITTED)
        assert "--hard" in ended.err
        assert dm.read("a", "file") == "uncommitted"
    ended = dm("reset", "--hard", "HEAD^")
    assert dm.read("a", "file") == "one"
    assert "`dm undo` brings it back" in ended.out
    assert _messages(dm) == ["one"]


@pytest.mark.parametrize(
    ("ref", "code"), [("nope", NOT_FOUND), ("HEAD~9", NOT_FOUND), ("", USAGE), ("^", NOT_FOUND), ("~1", NOT_FOUND), ("HEAD~x", 5)]
)
def test_a_reset_to_what_is_not_there_changes_nothing(dm: Machine, ref: str, code: int) -> None:
    _chain(dm, "one", "two")
    dm.write("a", "file", "uncommitted")
    dm("reset", "--hard", ref, code=code)
    assert dm.read("a", "file") == "uncommitted"
    assert _messages(dm) == ["one", "two"]


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
    assert not _dirty(dm)
    dm("reset", two)
    assert dm.read("a", "file", "sub") == "in sub"
    assert dm.tree("a", "loose").read_text() == "in root"
    assert not _dirty(dm)
    dm.write("a", "file", "in another", "another")
    assert "another" in dm("reset", two, code=UNCOMMITTED).err
    dm("reset", "--hard", two)
    assert not dm.tree("a", "another").exists()
    dm("undo")
    assert dm.read("a", "file", "another") == "in another"


def test_a_reset_of_a_branch_leaves_the_others_alone(dm: Machine) -> None:
    _chain(dm, "one", "two")
    dm("checkout", "-b", "other")
    dm.write("a", "file", "uncommitted")
    dm("--branch", "master", "reset", "HEAD^")
    assert dm.read("a", "file") == "uncommitted"
    assert _messages(dm, "master") == ["one"]
    assert _messages(dm, "other") == ["one", "two"]
    dm("checkout", "master")
    assert dm.read("a", "file") == "one"


# Undo and reflog


def test_nothing_is_undone_where_nothing_was_done(dm: Machine) -> None:
    assert "nothing to undo" in dm("undo", code=NOT_FOUND).err
    _chain(dm, "one")
    assert "nothing to undo" in dm("undo", code=NOT_FOUND).err


def test_an_undo_takes_a_reset_back_and_a_second_one_the_first(dm: Machine) -> None:
    _chain(dm, "one", "two")
    dm.write("a", "file", "uncommitted")
    dm("reset", "--hard", "HEAD^")
    for content, messages in (("uncommitted", ["one", "two"]), ("one", ["one"]), ("uncommitted", ["one", "two"])):
        dm("undo")
        assert dm.read("a", "file") == content
        assert _messages(dm) == messages
    assert _dirty(dm)


def test_an_undo_keeps_what_came_after_the_reset(dm: Machine) -> None:
    _chain(dm, "one", "two")
    dm("reset", "HEAD^")
    _chain(dm, "three")
    dm.write("a", "file", "uncommitted")
    dm("undo")
    assert dm.read("a", "file") == "two"
    dm("undo")
    assert dm.read("a", "file") == "uncommitted"
    assert _messages(dm) == ["one", "three"]


def test_an_undo_takes_a_checkout_back_and_a_second_one_the_first(dm: Machine) -> None:
    _chain(dm, "one")
    dm.write("a", "file", "uncommitted on master")
    dm("checkout", "-b", "other")
    dm.write("a", "file", "uncommitted on other")
    for branch in ("master", "other", "master", "other"):
        dm("undo")
        assert dm("branch", "--json").json() == dm("branch", "--json").json()
        assert f"* {branch}" in dm("branch").lines
        assert dm.read("a", "file") == f"uncommitted on {branch}"


def test_an_undo_to_a_branch_that_is_forgotten_says_so(dm: Machine) -> None:
    _chain(dm, "one")
    dm("checkout", "-b", "other")
    dm("checkout", "master")
    dm("branch", "-d", "other")
    assert "other" in dm("undo", code=NOT_FOUND).err
    assert dm("branch").out == "* master\n"


def test_the_reflog_has_every_move_and_where_the_uncommitted_was_kept(dm: Machine) -> None:
    assert dm("reflog").out.split()[0] == "#"
    one, two = _chain(dm, "one", "two")
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
    assert [line.split()[3] for line in dm("reflog").lines[1:]] == ["undo", "reset", "commit", "commit"]
    assert saved[:12] in dm("reflog").lines[2]
    dm("reset", "--hard", one)
    dm("reset", saved[:12])
    assert dm.read("a", "file") == "uncommitted"


# Status and diff


def test_status_and_diff_tell_what_is_not_committed(dm: Machine) -> None:
    assert dm("status").lines[:2] == ["dot a on branch master", "head no commit yet"]
    (one,) = _chain(dm, "one")
    assert dm("status").lines[1] == f"head {one[:12]} one"
    assert dm("diff").out == "no difference\n"
    dm.write("a", "file", "two")
    dm.write("a", "new", "12345")
    assert "dirty: 8 B in 2 files" in dm("status").out
    assert [line.split()[0] for line in dm("diff").lines] == ["__default__:", "added", "changed"]
    changes = dm("diff", "--json").json()["__default__"]["changes"]
    assert {c["path"]: (c["how"], c["changed_bytes"]) for c in changes} == {"file": ("changed", 3), "new": ("added", 5)}
    dm("commit", "-m", "two")
    assert {c["path"] for c in dm("diff", "HEAD^", "HEAD", "--json").json()["__default__"]["changes"]} == {"file", "new"}


# Tags


def test_a_tag_names_a_commit_until_it_is_forgotten(dm: Machine) -> None:
    one, two = _chain(dm, "one", "two")
    assert dm("tag").out == ""
    assert dm("tag", "now").out == f"tag now is {two[:12]}\n"
    dm("tag", "v1/first", "HEAD^")
    assert dm("tag").lines == [f"now  {two[:12]}", f"v1/first  {one[:12]}"]
    assert dm("tag", "--json").json() == {"now": two, "v1/first": one}
    assert "exists already" in dm("tag", "now", "HEAD^", code=EXISTS).err
    dm("reset", "v1/first")
    dm("tag", "-d", "v1/first")
    assert dm("tag", "--json").json() == {"now": two}
    assert dm.read("a", "file") == "one"
    assert "no tag" in dm("tag", "-d", "v1/first", code=NOT_FOUND).err
    assert dm("tag", "-d", code=USAGE).out == ""
    assert "unexpected" in dm("tag", "-d", "now", "HEAD", code=USAGE).err


def test_a_branch_is_meant_before_a_tag_of_its_name(dm: Machine) -> None:
    one, two = _chain(dm, "one", "two")
    dm("tag", "both", one)
    dm("branch", "both", two)
    assert _messages(dm, "both") == ["one", "two"]


# Worktrees


def test_a_dot_can_be_checked_out_several_times_at_once(dm: Machine, tmp_path: Path) -> None:
    _chain(dm, "one", "two")
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
    assert _messages(dm, "side") == ["one", "two", "beside"]
    assert _messages(dm) == ["one", "two"]
    dm("checkout", "side")
    assert dm.read("a", "file") == "changed beside"


def test_a_worktree_is_removed_when_nothing_is_lost_with_it(dm: Machine) -> None:
    _chain(dm, "one")
    dm("worktree", "add", "side")
    assert dm("worktree", "remove", "side").out == ""
    assert [w["name"] for w in dm("worktree", "list", "--json").json()] == ["main"]
    assert dm("branch").lines == ["* master", "  side"]
    assert not (dm.home / "trees" / "a" / "side").exists()
    dm("worktree", "add", "side", "side")


def test_what_is_uncommitted_in_a_worktree_that_is_removed_stays_with_its_branch(dm: Machine) -> None:
    _chain(dm, "one")
    dm("worktree", "add", "side")
    (dm.home / "trees" / "a" / "side" / "__default__" / "file").write_text("uncommitted")
    assert "uncommitted" in dm("worktree", "remove", "side", code=UNCOMMITTED).err
    dm("worktree", "remove", "--force", "side")
    assert dm("branch").lines == ["* master", "  side  (uncommitted changes)"]
    assert "uncommitted changes" in dm("branch", "-d", "side", code=UNCOMMITTED).err
    dm("checkout", "side")
    assert dm.read("a", "file") == "uncommitted"
    assert _dirty(dm)


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
    _chain(dm, "one")
    dm("worktree", "add", "side")
    dm.write("a", "file", "uncommitted")
    before = dm("worktree", "list", "--json").json(), dm("branch", "--json").json(), dm("reflog", "--json").json(), dm.listing()
    dm("worktree", *words, code=code)
    after = dm("worktree", "list", "--json").json(), dm("branch", "--json").json(), dm("reflog", "--json").json(), dm.listing()
    assert after == before


def test_the_worktree_that_the_volumes_follow_stays(dm: Machine) -> None:
    _chain(dm, "one")
    dm("checkout", "-b", "other")
    assert "current" in dm("worktree", "remove", "other", code=IN_USE).err
    dm("checkout", "master")
    dm("worktree", "remove", "other")


# What programs with the whole tree mounted may do to it


@pytest.mark.parametrize("instead", ["nothing", "file", "link", "dangling link", "fifo"])
def test_a_subdot_that_something_else_took_the_place_of_comes_back(dm: Machine, tmp_path: Path, instead: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_text("not the dot's")
    dm.write("a", "file", "in sub", "sub")
    one = dm.commit("a", "one")
    sub = dm.tree("a", "sub")
    (sub / "file").unlink()
    sub.rmdir()
    make = {"file": sub.touch, "link": lambda: sub.symlink_to(tmp_path / "outside"), "fifo": lambda: os.mkfifo(sub)}
    make |= {"dangling link": lambda: sub.symlink_to(tmp_path / "nowhere"), "nothing": lambda: None}
    make[instead]()
    assert "sub" in dm("reset", one, code=UNCOMMITTED).err
    dm("reset", "--hard", one)
    assert not sub.is_symlink()
    assert dm.read("a", "file", "sub") == "in sub"
    dm("undo")
    assert not sub.is_dir() or sub.is_symlink()
    two = dm.commit("a", "two")
    assert "sub" not in dm("log", "--json").json()[0]["subdots"]
    for ref in (one, two, one):
        dm("reset", ref)
        assert not _dirty(dm)
        assert (dm.read("a", "file", "sub") == "in sub") == (ref == one)
    dm("checkout", "-b", "at-two", two)
    dm("checkout", "-b", "at-one", one)
    assert dm.read("a", "file", "sub") == "in sub"
    assert os.listdir(tmp_path / "outside") == ["precious"]
    assert (tmp_path / "outside" / "precious").read_text() == "not the dot's"


@pytest.mark.parametrize("instead", ["file", "link"])
def test_what_is_no_directory_is_not_mounted_as_a_subdot(dm: Machine, tmp_path: Path, instead: str) -> None:
    (tmp_path / "outside").mkdir()
    if instead == "link":
        dm.tree("a", "sub").symlink_to(tmp_path / "outside")
    else:
        dm.tree("a", "sub").touch()
    assert "sub" in dm("mount", "a.sub", str(tmp_path / "here"), code=EXISTS).err
    assert os.listdir(tmp_path) == ["outside"]


# Dots whose files are elsewhere: those of Compose projects. Directories stand for volumes, which only an engine knows.


@pytest.fixture
def elsewhere(machine: Machine, tmp_path: Path) -> Path:
    """The one dot `a`, whose subdots are directories of the host; return the one that they are in."""
    for name in ("data", "logs"):
        (tmp_path / "volumes" / name).mkdir(parents=True)
        (tmp_path / "volumes" / name / "file").write_text(f"{name} one")
    store = LocalStore(machine.home)
    store.create_dot(DotName("a"))
    places = {SubdotName(path.name): str(path) for path in (tmp_path / "volumes").iterdir()}
    store.set_places(DotName("a"), MAIN_WORKTREE, places)
    store.close()
    machine.commit("a", "one")
    return tmp_path / "volumes"


def test_branches_change_the_files_where_they_are(machine: Machine, elsewhere: Path) -> None:
    data = elsewhere / "data" / "file"
    data.write_text("uncommitted on master")
    assert "is kept: checking it out brings it back" in machine("checkout", "-b", "other").out
    assert data.read_text() == "data one"
    assert not _dirty(machine)
    data.write_text("two")
    machine.commit("a", "two")
    data.write_text("uncommitted on other")
    assert machine("branch").lines == ["  master  (uncommitted changes)", "* other"]
    for branch in ("master", "other", "master"):
        machine("checkout", branch)
        assert data.read_text() == f"uncommitted on {branch}"
        assert _dirty(machine)
        assert "uncommitted changes in data" in machine("reset", "HEAD", code=UNCOMMITTED).err
    for branch in ("other", "master"):
        machine("undo")
        assert data.read_text() == f"uncommitted on {branch}"
    held = machine("branch", "-D", "other", "--json").json()["held"]
    machine("reset", "--hard", held)
    assert data.read_text() == "uncommitted on other"
    machine("undo")
    assert data.read_text() == "uncommitted on master"
    assert (elsewhere / "logs" / "file").read_text() == "logs one"


def test_subdots_that_are_elsewhere_are_mounted_and_deleted_with_their_dot_they_are_not(
    machine: Machine, elsewhere: Path, tmp_path: Path
) -> None:
    machine("mount", "a", str(tmp_path / "all"))
    machine("mount", "a.data", str(tmp_path / "data"))
    machine("mount", "--commit", "HEAD", "a", str(tmp_path / "commit"))
    assert (tmp_path / "all" / "logs" / "file").read_text() == "logs one"
    assert (tmp_path / "data" / "file").read_text() == "data one"
    assert (tmp_path / "commit" / "data" / "file").read_text() == "data one"
    assert "Its subdots: data, logs" in machine("mount", "a.nope", str(tmp_path / "x"), code=NOT_FOUND).err
    machine("dot", "delete", "-f", "a")
    assert (elsewhere / "data" / "file").read_text() == "data one"


def test_without_an_engine_a_dot_of_volumes_is_listed_and_what_needs_its_files_says_why_not(
    machine: Machine, elsewhere: Path, tmp_path: Path
) -> None:
    store = LocalStore(machine.home)
    store.set_places(DotName("a"), MAIN_WORKTREE, {SubdotName("data"): "a_volume"})
    store.close()
    assert machine("list", "-H").fields()[0][:2] == ["a", "master"]
    assert re.search(r"^data +- +\(does not exist\) +-$", machine("status").out, re.MULTILINE)
    assert _messages(machine) == ["one"]
    machine("branch", "other")
    for words in (("commit", "-m", "c"), ("reset", "--hard", "HEAD"), ("checkout", "other"), ("mount", "a", str(tmp_path / "x"))):
        assert "volume a_volume, and no Docker Engine answers" in machine(*words, code=EngineError.exit_code).err
    assert not (tmp_path / "x").exists()
    machine("mount", "--commit", "HEAD", "a.data", str(tmp_path / "commit"))
    assert (tmp_path / "commit" / "file").read_text() == "data one"
