"""`dm` on a store in a folder, without an engine: which dot is meant, making, listing, showing, mounting and deleting dots."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from dm_compose.cli.verbs.dot import pretty
from dm_compose.errors import ExistsError, InUseError, NotFoundError, UncommittedError, UsageError
from dm_compose.store.local.store import LocalStore
from tests.support.machines import Machine
from tests.support.processes import Child

USAGE, NOT_FOUND, IN_USE, EXISTS = (cls.exit_code for cls in (UsageError, NotFoundError, InUseError, ExistsError))
UNCOMMITTED = UncommittedError.exit_code
NO_NAMES = ["", "-x", "_x", ".", "..", "../x", "a/b", "a b", "a.b", "a@b", "é", "x" * 101, "a\n", "~", "$HOME", "admin/x"]
NO_BRANCHES = [
    "",
    "-x",
    "_x",
    "..",
    "../x",
    "a/../b",
    "/a",
    "a/",
    "a//b",
    "a b",
    "a..b",
    "HEAD",
    "é",
    "x" * 201,
    "a\n",
    "a~1",
    "a^",
]


# Which dot


def test_the_only_dot_is_chosen(machine: Machine) -> None:
    machine("init", "only")
    machine("commit", "-m", "without a switch")
    assert machine("list", "-H").fields()[0][5] == "1"


def test_with_several_dots_and_none_chosen_the_error_lists_them(machine: Machine) -> None:
    machine("init", "one")
    machine("init", "two")
    ended = machine("commit", "-m", "to which?", code=NOT_FOUND)
    assert ended.err.startswith("error: No current dot is selected. There are: one, two\n")
    assert "dm switch" in ended.err
    assert "--dot" in ended.err


def test_without_any_dot_the_error_says_how_to_make_one(machine: Machine) -> None:
    ended = machine("commit", "-m", "to which?", code=NOT_FOUND)
    assert "No current dot is selected" in ended.err
    assert "dm init" in ended.err


def test_a_dot_that_was_chosen_because_it_was_the_only_one_stays_chosen(machine: Machine) -> None:
    machine("init", "first")
    machine("commit", "-m", "c")
    machine("init", "second")
    machine("commit", "-m", "c")
    assert {row[0]: row[5] for row in machine("list", "-H").fields()} == {"first": "2", "second": "0"}


def test_switch_chooses_a_dot_for_the_commands_after_it(machine: Machine) -> None:
    for name in ("one", "two"):
        machine("init", name)
    assert machine("switch", "two").out == ""
    machine("commit", "-m", "c")
    assert {row[0]: row[5] for row in machine("list", "-H").fields()} == {"one": "0", "two": "1"}
    assert [line[:5] for line in machine("list").lines[1:]] == ["  one", "* two"]


def test_a_switch_to_a_dot_that_is_not_there_is_refused_and_changes_nothing(machine: Machine) -> None:
    machine("init", "one")
    machine("init", "two")
    machine("switch", "one")
    assert "doesn't exist" in machine("switch", "three", code=NOT_FOUND).err
    assert machine("list").lines[1].startswith("* one")


@pytest.mark.parametrize(
    ("words", "variables", "chosen"),
    [
        (("status", "--json"), {}, "switched"),
        (("status", "--json"), {"DM_DOT": "by-variable"}, "by-variable"),
        (("status", "--json"), {"DM_DOT": ""}, "switched"),
        (("--dot", "before", "status", "--json"), {"DM_DOT": "by-variable"}, "before"),
        (("status", "--dot", "after", "--json"), {"DM_DOT": "by-variable"}, "after"),
        (("--dot", "before", "status", "--dot", "after", "--json"), {}, "after"),
        (("--dot=before", "status", "--json"), {}, "before"),
    ],
)
def test_the_word_nearest_to_the_verb_decides_which_dot(
    machine: Machine, words: tuple[str, ...], variables: dict[str, str], chosen: str
) -> None:
    for name in ("switched", "by-variable", "before", "after"):
        machine("init", name)
    machine("switch", "switched")
    assert machine(*words, **variables).json()["dot"] == chosen


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("diff",),
        ("undo",),
        ("reflog",),
        ("branch",),
        ("checkout", "b"),
        ("tag",),
        ("worktree", "list"),
        ("worktree", "add", "w"),
        ("worktree", "remove", "w"),
        ("commit", "-m", "c"),
        ("log",),
        ("reset", "HEAD"),
        ("dot", "show"),
    ],
    ids=" ".join,
)
def test_every_verb_of_a_dot_takes_a_dot_before_and_after_it(machine: Machine, words: tuple[str, ...]) -> None:
    machine("init", "one")
    machine("init", "two")
    for chosen in (("--dot", "three", *words), (*words, "--dot", "three")):
        assert "there is no dot three" in machine(*chosen, code=NOT_FOUND).err
    assert "there is no dot three" in machine(*words, code=NOT_FOUND, DM_DOT="three").err


def test_an_empty_dot_or_branch_is_a_mistake_and_not_the_current_one(machine: Machine) -> None:
    machine("init", "a")
    for option in ("--dot", "--branch"):
        for words in ((option, "", "commit", "-m", "c"), ("commit", "-m", "c", option, "")):
            assert f"invalid {option[2:]} name ''" in machine(*words, code=USAGE).err
    assert machine("list", "-H").fields()[0][5] == "0"


def test_a_branch_that_is_named_is_the_one_that_is_worked_on(machine: Machine) -> None:
    machine("init", "a")
    machine.write("a", "file", "on master")
    machine("commit", "-m", "one")
    machine("checkout", "-b", "other")
    machine.write("a", "file", "on the other one")
    machine("--branch", "other", "commit", "-m", "two")
    assert machine("status", "--branch", "master", "--json").json()["branch"] == "master"
    assert machine("log", "--branch", "master", "--json").json()[0]["message"] == "one"
    assert machine("--branch", "other", "log", "--json").json()[0]["message"] == "two"
    assert machine("--branch", "master", "checkout", "-b", "third", "--json").json()["head"]["message"] == "one"
    machine("branch", "idle")
    assert "not checked out" in machine("--branch", "idle", "commit", "-m", "three", code=NOT_FOUND).err
    assert "does not exist" in machine("--branch", "nowhere", "status", code=NOT_FOUND).err


# Init


def test_init_makes_an_empty_dot_and_says_nothing(machine: Machine) -> None:
    assert machine("init", "fresh").out == ""
    ((name, branch, _, containers, size, commits, dirty),) = machine("list", "-H").fields()
    assert (name, branch, containers, size, commits, dirty) == ("fresh", "master", "", "0", "0", "0")


def test_a_dot_exists_already_when_it_is_made_again(machine: Machine) -> None:
    machine("init", "a")
    machine.write("a", "file", "kept")
    assert "exists already" in machine("init", "a", code=EXISTS).err
    assert machine.read("a", "file") == "kept"


def test_what_a_killed_delete_left_is_not_in_a_new_dot_of_the_name(machine: Machine) -> None:
    machine("init", "a")
    machine.write("a", "file", "of the old one")
    store = LocalStore(machine.home)
    store._database.remove_dot(next(iter(store.dots())))  # the first thing that a delete does
    store.close()
    machine("init", "a")
    assert machine.read("a", "file") is None
    assert machine("list", "-H").fields()[0][4:] == ["0", "0", "0"]


def test_names_of_a_dot_may_have_up_to_a_hundred_characters(machine: Machine) -> None:
    for name in ("x" * 100, "9", "A-b_c"):
        machine("init", name)
        assert machine("status", "--dot", name, "--json").json()["dot"] == name


# Names


def _in_place(name: str) -> list[tuple[str, ...]]:
    return [
        ("init", name),
        ("switch", name),
        ("mount", name, "place"),
        ("mount", "--create", name, "place"),
        ("dot", "show", name),
        ("dot", "delete", "-f", name),
    ]


@pytest.mark.parametrize("name", NO_NAMES, ids=repr)
def test_no_name_of_a_dot_is_refused_wherever_it_comes_in(machine: Machine, name: str) -> None:
    machine("init", "a")
    before = machine.listing()
    calls = [("--dot", name, "status"), ("status", "--dot", name), ("--dot", name, "list"), ("--dot", name, "init", "b")]
    calls += [words for words in _in_place(name) if not name.startswith("-")]
    calls += [(*words[:-1], "--", words[-1]) for words in _in_place(name) if words[-1] == name]
    for words in calls:
        if words[0] == "mount" and name in ("a.b", "a@b"):
            continue  # names of volumes
        assert "invalid dot name" in machine(*words, code=USAGE).err, words
    if name:
        assert "invalid dot name" in machine("status", code=USAGE, DM_DOT=name).err
    assert machine.listing() == before


@pytest.mark.parametrize("name", NO_BRANCHES, ids=repr)
def test_no_name_of_a_branch_is_refused_wherever_it_comes_in(machine: Machine, name: str) -> None:
    machine("init", "a")
    machine("commit", "-m", "c")
    before = machine.listing()
    for words in [
        ("--branch", name, "status"),
        ("--branch", name, "log"),
        ("--branch", name, "list"),
        ("log", "--branch", name),
        ("tag", "--branch", name, "t"),
        ("branch", "--", name),
        ("branch", "-d", "--", name),
        ("branch", "-D", "--", name),
        ("checkout", "-b", "--", name),
        ("tag", "--", name),
        ("tag", "-d", "--", name),
        ("mount", f"a@{name}", "place"),
    ]:
        if words[0] == "mount" and "." in name:
            continue  # what follows is a subdot
        ended = machine(*words, code=USAGE)
        assert ("invalid name of a tag" if words[:2] == ("tag", "--") else "invalid branch name") in ended.err, words
        assert "up to 200" in ended.err
    assert machine.listing() == before


@pytest.mark.parametrize("name", ["", "-x", "_x", "..", "../x", "a/b", "a b", "é", "x" * 101], ids=repr)
def test_no_name_of_a_worktree_or_subdot_is_refused(machine: Machine, name: str) -> None:
    machine("init", "a")
    machine("commit", "-m", "c")
    before = machine.listing()
    assert "invalid worktree name" in machine("worktree", "add", "--", name, code=USAGE).err
    assert "invalid worktree name" in machine("worktree", "remove", "--", name, code=USAGE).err
    assert "invalid subdot name" in machine("mount", f"a.{name}", "place", code=USAGE).err
    assert machine.listing() == before


def test_names_that_begin_with_an_underscore_are_reserved_but_for_the_two_that_mean_something(machine: Machine) -> None:
    machine("init", "a")
    for subdot in ("_x", "__x__", "__default", "__root"):
        assert "invalid subdot name" in machine("mount", f"a.{subdot}", "place", code=USAGE).err
    for subdot in ("__default__", "__root__"):
        machine("mount", f"a.{subdot}", str(machine.root / subdot))


# List


def test_a_list_has_a_line_for_each_dot_and_with_v_the_server(machine: Machine) -> None:
    assert machine("list").out.split() == ["DOT", "BRANCH", "SIZE", "COMMITS", "DIRTY", "CONTAINERS"]
    machine("init", "clean")
    machine("init", "dirty")
    machine.write("dirty", "file", "x" * 2048)
    machine("switch", "dirty")
    header, clean, dirty = machine("list").lines
    assert clean.split() == ["clean", "master", "-", "0", "-"]
    assert dirty.split() == ["*", "dirty", "master", "2.00", "kiB", "0", "2.00", "kiB"]
    assert header.index("DOT") == 2 == clean.index("clean") == dirty.index("dirty")
    machine("commit", "-m", "c")
    assert machine("list").lines[2].split() == ["*", "dirty", "master", "2.00", "kiB", "1", "-"]
    assert machine("list", "-v").lines[2].split()[-1] == f"{os.uname().nodename}:"


@pytest.mark.parametrize("option", ["-H", "--scripting"])
def test_a_list_for_scripts_has_tabs_and_plain_numbers_and_nothing_else(machine: Machine, option: str) -> None:
    assert machine("list", option).out == ""
    machine("init", "a")
    machine.write("a", "file", "x" * 3_000_000)
    machine("commit", "-m", "c")
    machine.write("a", "more", "y" * 10)
    assert machine("list", option).out == f"a\tmaster\t{os.uname().nodename}\t\t3000010\t1\t10\n"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "-"),
        (-1, "-"),
        (1, "0.00 kiB"),
        (19456, "19.00 kiB"),
        ((1 << 20) - 1, "1024.00 kiB"),
        (1 << 20, "1.00 MiB"),
        (5 << 29, "2.50 GiB"),
    ],
)
def test_sizes_are_told_as_the_ancestor_did(size: int, text: str) -> None:
    assert pretty(size) == text


def test_a_list_tells_the_branch_its_commits_and_what_is_uncommitted_there(machine: Machine) -> None:
    machine("init", "a")
    machine.write("a", "file", "one")
    machine("commit", "-m", "one")
    machine("checkout", "-b", "other")
    machine("commit", "-m", "two")
    machine.write("a", "file", "three")
    assert machine("list", "-H").fields()[0][1::4] == ["other", "2"]
    assert machine("list", "-H").fields()[0][6] == "5"
    machine("checkout", "master")
    assert machine("list", "-H").fields()[0][1:] == ["master", os.uname().nodename, "", "3", "1", "0"]


# Show


def test_a_dot_is_shown_in_the_ancestors_words(machine: Machine) -> None:
    machine("init", "a")
    machine.write("a", "file", "x" * 1024)
    one = machine.commit("a", "one")
    machine("checkout", "-b", "other")
    machine.write("a", "more", "y" * 2048)
    assert machine("dot", "show").lines == [
        "Dot admin/a:",
        "Dot is currently selected.",
        "Commits: 1",
        "Dot size: 3.00 kiB (2.00 kiB dirty)",
        "Branches:",
        f"  master ({one[:12]})",
        f"* other ({one[:12]})",
    ]
    machine("checkout", "master")
    assert "Dot size: 1.00 kiB (all clean)" in machine("dot", "show", "a").lines


@pytest.mark.parametrize("option", ["-H", "--scripting"])
def test_a_dot_is_shown_to_scripts_as_fields(machine: Machine, option: str) -> None:
    machine("init", "a")
    machine("init", "b")
    machine("switch", "b")
    assert machine("dot", "show", option, "a").fields() == [
        ["namespace", "admin"],
        ["name", "a"],
        ["commitCount", "0"],
        ["size", "0"],
        ["dirty", "0"],
        ["currentBranch", "master"],
        ["branch", "-", "master"],
    ]
    machine.write("b", "file", "x" * 10)
    one = machine.commit("b", "one")
    assert machine("dot", "show", option).fields() == [
        ["namespace", "admin"],
        ["name", "b"],
        ["selected"],
        ["commitCount", "1"],
        ["size", "10"],
        ["dirty", "0"],
        ["currentBranch", "master"],
        ["branch", one, "master"],
    ]


def test_a_dot_that_is_not_there_is_not_shown(machine: Machine) -> None:
    assert "there is no dot nope" in machine("dot", "show", "nope", code=NOT_FOUND).err


# Delete


def test_a_dot_that_is_not_there_is_not_deleted(machine: Machine) -> None:
    assert "No such filesystem" in machine("dot", "delete", "-f", "nope", code=NOT_FOUND).err
    assert "No such filesystem" in machine("dot", "delete", "nope", answer="Y\n", code=NOT_FOUND).err


@pytest.mark.parametrize("answer", ["Y\n", "Y"])
def test_a_dot_is_deleted_when_its_name_was_confirmed(machine: Machine, answer: str) -> None:
    machine("init", "a")
    ended = machine("dot", "delete", "a", answer=answer)
    question = "Please confirm that you really want to delete the dot a, including all branches and commits?"
    assert ended.err.startswith(f"There is no way back. Docker's own volumes stay as they are.\n{question}")
    assert ended.err.endswith("dot a is deleted\n")
    assert ended.out == ""
    assert machine("list", "-H").out == ""
    assert not (machine.home / "trees" / "a").exists()


@pytest.mark.parametrize("answer", ["n\n", "\n", "", "y\n", "yes\n"], ids=repr)
def test_a_dot_stays_when_the_answer_is_not_a_capital_y(machine: Machine, answer: str) -> None:
    machine("init", "a")
    machine.write("a", "file", "kept")
    assert machine("dot", "delete", "a", answer=answer).out == "Aborted.\n"
    assert machine.read("a", "file") == "kept"
    assert machine("dot", "delete", "a", "--json", answer=answer).json() == {"dot": "a", "deleted": False}
    assert machine.read("a", "file") == "kept"


def test_a_dot_is_deleted_without_a_question_by_force(machine: Machine) -> None:
    for option in ("-f", "--force"):
        machine("init", "a")
        machine.write("a", "file", "x" * 100_000)
        machine("commit", "-m", "c")
        machine("checkout", "-b", "other")
        ended = machine("dot", "delete", option, "a")
        assert (ended.out, ended.err) == ("", "dot a is deleted\n")
    assert machine("list", "--json").json() == []
    assert list((machine.home / "objects").iterdir()) == []
    machine("init", "b")
    assert machine("dot", "delete", "-f", "--json", "b").json() == {"dot": "b", "deleted": True}


def test_a_dot_that_is_made_again_is_empty(machine: Machine) -> None:
    for _ in range(2):
        machine("init", "again")
        machine.write("again", "file", "old")
        machine("commit", "-m", "old")
        machine("tag", "old")
        machine("checkout", "-b", "other")
        machine("dot", "delete", "-f", "again")
    machine("init", "again")
    assert machine.read("again", "file") is None
    assert machine("log").out == machine("tag").out == ""
    assert machine("branch").out == "* master\n"
    assert machine("reflog", "--json").json() == []


def test_the_current_dot_is_forgotten_with_its_deletion(machine: Machine) -> None:
    for name in ("a", "b", "c"):
        machine("init", name)
    machine("switch", "a")
    machine("dot", "delete", "-f", "a")
    assert "There are: b, c" in machine("status", code=NOT_FOUND).err
    machine("init", "a")
    assert "There are: a, b, c" in machine("status", code=NOT_FOUND).err


def test_other_dots_and_their_history_are_untouched_by_a_deletion(machine: Machine) -> None:
    for name in ("a", "b"):
        machine("init", name)
        machine.write(name, "file", name)
        machine.commit(name, "one")
        machine.write(name, "file", "changed")
    machine("--dot", "b", "reset", "--hard", "HEAD")
    machine("dot", "delete", "-f", "a")
    assert machine("fsck").code == 0
    machine("--dot", "b", "undo")
    assert machine.read("b", "file") == "changed"


HOLD = """
import sys
from pathlib import Path
from dm_compose.store.local.store import LocalStore
store = LocalStore(Path(sys.argv[1]))
store.lock(sys.argv[2], "somebody", 0)
print("held", flush=True)
input()
"""


def test_a_deletion_does_not_wait_for_somebody_who_works_on_another_dot(machine: Machine) -> None:
    for name in ("a", "b"):
        machine("init", name)
        machine.write(name, "file", name * 1000)
        machine.commit(name, "one")
    holder = Child(HOLD, str(machine.home), "b")
    try:
        assert holder.read() == "held"
        ended = machine("dot", "delete", "-f", "a")
        assert "waiting" not in ended.err
    finally:
        holder.kill()
    assert machine("gc", "--dry-run", "--json").json()["found"]["objects"] > 0


# Mount


def test_a_dot_is_mounted_as_a_link_to_its_live_files(machine: Machine, tmp_path: Path) -> None:
    machine("init", "a")
    machine.write("a", "file", "hello")
    ended = machine("mount", "a", str(tmp_path / "here"))
    assert (tmp_path / "here" / "file").read_text() == "hello"
    assert ended.out == f"symlinked dot: admin/a from {os.readlink(tmp_path / 'here')} to {tmp_path / 'here'}\n"
    (tmp_path / "here" / "file").write_text("written through it")
    assert machine.read("a", "file") == "written through it"


def test_a_dot_that_does_not_exist_is_mounted_with_create_only(machine: Machine, tmp_path: Path) -> None:
    ended = machine("mount", "new", str(tmp_path / "here"), code=NOT_FOUND)
    assert "Dot new does not exist" in ended.err
    assert "--create" in ended.err
    assert machine("list", "-H").out == ""
    assert not os.path.lexists(tmp_path / "here")
    for option, name in (("--create", "new"), ("-r", "other")):
        machine("mount", option, name, str(tmp_path / name))
        (tmp_path / name / "file").write_text("x")
        assert machine.read(name, "file") == "x"
    machine("mount", "--create", "new", str(tmp_path / "again"))
    assert (tmp_path / "again" / "file").read_text() == "x"


def test_a_subdot_is_mounted_beside_the_others(machine: Machine, tmp_path: Path) -> None:
    machine("mount", "--create", "a", str(tmp_path / "default"))
    machine("mount", "a.sub", str(tmp_path / "sub"))
    machine("mount", "a.__root__", str(tmp_path / "root"))
    machine("mount", "a.__default__", str(tmp_path / "default2"))
    (tmp_path / "default" / "file").write_text("in default")
    (tmp_path / "sub" / "file").write_text("in sub")
    (tmp_path / "root" / "loose").write_text("in root")
    assert (tmp_path / "root" / "sub" / "file").read_text() == "in sub"
    assert (tmp_path / "root" / "__default__" / "file").read_text() == "in default"
    assert (tmp_path / "default2" / "file").read_text() == "in default"
    machine("commit", "-m", "all of them")
    (found,) = machine("log", "--json").json()
    assert sorted(found["subdots"]) == ["__default__", "__root__", "sub"]
    assert {name: s["files"] for name, s in found["subdots"].items()} == {"__default__": 1, "__root__": 1, "sub": 1}


def test_a_mount_follows_a_checkout_and_a_pinned_one_does_not(machine: Machine, tmp_path: Path) -> None:
    machine("mount", "--create", "a", str(tmp_path / "follows"))
    (tmp_path / "follows" / "file").write_text("master")
    machine("commit", "-m", "one")
    machine("mount", "a@master", str(tmp_path / "pinned"))
    machine("checkout", "-b", "other")
    (tmp_path / "follows" / "file").write_text("other")
    assert (tmp_path / "pinned" / "file").read_text() == "master"
    assert (tmp_path / "follows" / "file").read_text() == "other"
    machine("checkout", "master")
    assert (tmp_path / "follows" / "file").read_text() == "master"


def test_a_branch_that_is_not_checked_out_is_not_mounted_and_the_error_says_how(machine: Machine, tmp_path: Path) -> None:
    machine("init", "a")
    machine("commit", "-m", "c")
    machine("branch", "idle")
    assert "does not exist" in machine("mount", "a@nope", str(tmp_path / "here"), code=NOT_FOUND).err
    ended = machine("mount", "a@idle", str(tmp_path / "here"), code=NOT_FOUND)
    assert "dm worktree add idle idle" in ended.err
    machine("worktree", "add", "idle", "idle")
    machine("mount", "a@idle.sub", str(tmp_path / "here"))
    (tmp_path / "here" / "file").write_text("x")
    assert machine.read("a", "file", "sub") is None
    machine("checkout", "idle")
    assert machine.read("a", "file", "sub") == "x"


@pytest.mark.parametrize("kind", ["file", "directory", "link", "dangling"])
def test_a_path_that_exists_is_refused_before_anything_is_made(machine: Machine, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "here"
    makers: dict[str, Callable[[], object]] = {
        "file": path.touch,
        "directory": path.mkdir,
        "link": lambda: path.symlink_to(tmp_path),
        "dangling": lambda: path.symlink_to(tmp_path / "nowhere"),
    }
    makers[kind]()
    for words in (("mount", "--create", "new", str(path)), ("mount", "--create", "new.sub", str(path))):
        assert "exists already" in machine(*words, code=EXISTS).err
    assert machine("list", "-H").out == ""
    machine("init", "a")
    machine("commit", "-m", "c")
    for words in (("mount", "a", str(path)), ("mount", "--commit", "HEAD", "a", str(path))):
        assert "exists already" in machine(*words, code=EXISTS).err


def test_a_mount_below_a_directory_that_is_not_there_is_refused(machine: Machine, tmp_path: Path) -> None:
    ended = machine("mount", "--create", "new", str(tmp_path / "no" / "where"), code=NOT_FOUND)
    assert str(tmp_path / "no") in ended.err
    assert machine("list", "-H").out == ""


def test_a_relative_path_is_mounted_where_one_stands(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    machine("mount", "--create", "a", "here")
    machine.write("a", "file", "x")
    assert Path("here", "file").read_text() == "x"


def test_mounting_again_at_the_same_place_brings_a_subdot_back_that_a_reset_took(machine: Machine, tmp_path: Path) -> None:
    machine("init", "a")
    machine("commit", "-m", "before there was anything")
    for _ in range(2):
        machine("mount", "a.sub", str(tmp_path / "here"))
    (tmp_path / "here" / "file").write_text("x")
    machine("reset", "--hard", "HEAD")
    assert not (tmp_path / "here").exists()
    machine("mount", "a.sub", str(tmp_path / "here"))
    (tmp_path / "here" / "file").write_text("y")
    assert machine.read("a", "file", "sub") == "y"


def _commits(machine: Machine) -> tuple[str, str]:
    machine("init", "a")
    machine.write("a", "file", "first")
    machine.write("a", "file", "sub's first", "sub")
    one = machine.commit("a", "one")
    machine.write("a", "file", "second")
    return one, machine.commit("a", "two")


def test_a_commit_is_mounted_read_only_as_the_live_dot_would_be(machine: Machine, tmp_path: Path) -> None:
    one, two = _commits(machine)
    ended = machine("mount", "--commit", one[:8], "a", str(tmp_path / "one"))
    assert one in ended.out
    assert (tmp_path / "one" / "file").read_text() == "first"
    machine("mount", "--commit", "HEAD", "a", str(tmp_path / "two"))
    assert (tmp_path / "two" / "file").read_text() == "second"
    for path in (tmp_path / "one", tmp_path / "one" / "file"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o222
    machine("mount", "--commit", "HEAD^", "a.sub", str(tmp_path / "sub"))
    assert [p.name for p in (tmp_path / "sub").iterdir()] == ["file"]
    assert (tmp_path / "sub" / "file").read_text() == "sub's first"
    machine("mount", "--commit", "HEAD", "a.__root__", str(tmp_path / "all"))
    assert sorted(p.name for p in (tmp_path / "all").iterdir()) == ["__default__", "sub"]
    assert machine.read("a", "file") == "second"
    assert machine("list", "-H").fields()[0][6] == "0"
    assert machine("mount", "--json", "--commit", "HEAD", "a", str(tmp_path / "x")).json() == {
        "path": str(tmp_path / "x"),
        "commit": two,
    }


@pytest.mark.parametrize(
    ("name", "ref", "code"),
    [
        ("a", "nope", NOT_FOUND),
        ("a", "HEAD~5", NOT_FOUND),
        ("a", "", USAGE),
        ("a", "ffff", NOT_FOUND),
        ("a.nope", "HEAD", NOT_FOUND),
        ("a@nope", "HEAD", NOT_FOUND),
        ("nope", "HEAD", NOT_FOUND),
        ("a", "../../etc", NOT_FOUND),
    ],
)
def test_a_commit_that_is_not_there_is_not_mounted_and_leaves_nothing(
    machine: Machine, tmp_path: Path, name: str, ref: str, code: int
) -> None:
    _commits(machine)
    machine("mount", f"--commit={ref}", name, str(tmp_path / "here"), code=code)
    assert list(tmp_path.iterdir()) == []


def test_a_mounted_commit_outlives_its_dot(machine: Machine, tmp_path: Path) -> None:
    _commits(machine)
    machine("mount", "--commit", "HEAD", "a", str(tmp_path / "here"))
    machine("dot", "delete", "-f", "a")
    assert (tmp_path / "here" / "file").read_text() == "second"
