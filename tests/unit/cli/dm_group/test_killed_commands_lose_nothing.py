"""`dm` killed at any change of the disk: the next command finds the old state or the new one, and nothing that was uncommitted
on any branch is lost.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dm_compose.store.local.store import LocalStore
from tests.support.crashing import KILLED, run_until
from tests.support.machines import Machine

pytestmark = pytest.mark.timeout(900)  # each of some hundred points takes a command, and another one to look

MAX_STOPS = 500
LEFT = {"master": "uncommitted on master", "other": "uncommitted on other", "idle": "one"}


@pytest.fixture
def template(fast_path: Path) -> Machine:
    """The dot `a` on master with three branches, two of them dirty, and something for `gc`; the dot `b` beside it."""
    machine = Machine(fast_path / "template")
    for dot in ("b", "a"):
        machine("init", dot)
        machine.write(dot, "file", "one")
        machine.write(dot, "file", "one, in sub", "sub")
        machine.commit(dot, "one")
    machine("switch", "a")
    machine("branch", "idle")
    machine.write("a", "lost", "by the reset")
    machine("commit", "-m", "two")
    machine("reset", "--hard", "HEAD^")
    machine.write("a", "file", LEFT["master"])
    machine("checkout", "-b", "other")
    machine("commit", "-m", "of the other branch")
    machine.write("a", "file", LEFT["other"])
    machine("checkout", "master")
    machine.write("b", "file", "uncommitted in b")
    return machine


def stops(template: Machine, *words: str) -> Iterator[tuple[Machine, bool]]:
    """Yield a copy of the template for every change of the disk at which the command was killed, and one where it was done."""
    for number in range(1, MAX_STOPS):
        root = template.root.parent / "case"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(template.root, root, symlinks=True)
        machine = Machine(root)
        placed = [str(root / "place") if word == "PLACE" else word for word in words]
        done = run_until(number, lambda: machine(*placed)) != KILLED  # noqa: B023 (used before the next round)
        yield machine, done
        if done:
            assert number > 10, "the hook saw next to nothing"
            return
    raise AssertionError(f"still not done after {MAX_STOPS} changes")


def sound(machine: Machine) -> None:
    """Nothing is unfinished or damaged, and the other dot is as it was."""
    assert machine("fsck", "--json").json()["sound"]
    assert not any(machine("debug", "Unfinished").json().values())
    assert machine.read("b", "file") == "uncommitted in b"


def whole(machine: Machine, *gone: str) -> None:
    """Every branch but those that are gone holds what it was left with, committed or not, where it is and when it is gone to."""
    trees = {tree["branch"]: tree["name"] for tree in machine("worktree", "list", "--json").json()}
    for branch, content in LEFT.items():
        if branch in gone:
            continue
        if branch not in trees:
            machine("checkout", branch)
        tree = machine.home / "trees" / "a" / trees.get(branch, ".current")
        assert (tree / "__default__" / "file").read_text() == content
        assert (tree / "sub" / "file").read_text() == "one, in sub"
    machine("checkout", "master")
    assert machine.read("a", "file") == LEFT["master"]


def branches(machine: Machine) -> tuple[str, set[str]]:
    """Return the current branch and all of them, as the next command that writes finds them."""
    machine("tag", f"t{len(machine('tag', '--json').json())}", code=None)  # recovers; without a commit there is nothing to name
    found = machine("branch", "--json").json()
    (current,) = [branch["name"] for branch in found if branch["current"]]
    return current, {branch["name"] for branch in found}


@pytest.mark.parametrize("branch", ["other", "idle"])
def test_a_checkout_killed_anywhere_is_done_or_not(template: Machine, branch: str) -> None:
    seen = set()
    for machine, done in stops(template, "checkout", branch):
        current, _ = branches(machine)
        assert not done or current == branch
        assert machine.read("a", "file") == LEFT[current]
        seen.add(current)
        sound(machine)
        whole(machine)
    assert seen == {"master", branch}


def test_a_checkout_of_a_new_branch_killed_anywhere_is_done_or_not(template: Machine) -> None:
    seen = set()
    for machine, done in stops(template, "checkout", "-b", "new"):
        current, names = branches(machine)
        assert (current == "new") == ("new" in names)
        assert not done or current == "new"
        assert machine.read("a", "file") == ("one" if current == "new" else LEFT["master"])
        seen.add(current)
        sound(machine)
        whole(machine)
        machine("checkout", *(["-b"] if current != "new" else []), "new")
        assert machine.read("a", "file") == "one"
    assert seen == {"master", "new"}


def test_a_branch_that_is_being_forgotten_by_something_killed_is_whole_or_in_the_reflog(template: Machine) -> None:
    seen = set()
    for machine, done in stops(template, "branch", "-D", "other"):
        current, names = branches(machine)
        assert current == "master"
        there = "other" in names
        assert not (done and there)
        seen.add(there)
        sound(machine)
        whole(machine, *([] if there else ["other"]))
        if not there:
            (held,) = [
                e["saved"] for e in machine("--branch", "master", "reflog", "--json").json() if e["action"] == "branch -d other"
            ]
            machine("gc", "--yes")
            machine("checkout", "-b", "again", held)
            assert machine.read("a", "file") == LEFT["other"]
    assert seen == {True, False}


def test_a_gc_killed_anywhere_frees_nothing_that_is_needed_and_the_next_one_frees_the_rest(template: Machine) -> None:
    remaining = set()
    for machine, done in stops(template, "gc", "--yes", "--keep-days", "0"):
        sound(machine)
        left = machine("gc", "--dry-run", "--keep-days", "0", "--json").json()["found"]
        remaining.add(left["objects"])
        assert not done or not (left["commits"] or left["objects"] or left["leftovers"])
        machine("gc", "--yes", "--keep-days", "0")
        assert machine("gc", "--dry-run", "--keep-days", "0", "--json").json()["found"]["size_bytes"] == 0
        sound(machine)
        whole(machine)
    assert len(remaining) > 1


def test_a_deletion_killed_anywhere_is_done_or_not_and_leaves_nothing_for_a_new_dot_of_the_name(template: Machine) -> None:
    seen = set()
    for machine, done in stops(template, "dot", "delete", "-f", "a"):
        there = "a" in [row[0] for row in machine("list", "-H").fields()]
        assert not (done and there)
        seen.add(there)
        sound(machine)
        if there:
            whole(machine)
        else:
            machine("init", "a")
            machine("switch", "a")
            assert branches(machine) == ("master", {"master"})
            assert os.listdir(machine.tree("a")) == []
            machine("dot", "delete", "-f", "a")
        machine("gc", "--yes")
        assert os.listdir(machine.home / "incoming") == []
        assert sorted(os.listdir(machine.home / "trees")) == ["a", "b"] if there else ["b"]
    assert seen == {True, False}


def test_a_mount_of_a_new_dot_killed_anywhere_can_be_done_again(template: Machine) -> None:
    seen = set()
    for machine, done in stops(template, "mount", "--create", "new", "PLACE"):
        place = machine.root / "place"
        there = "new" in [row[0] for row in machine("list", "-H").fields()]
        seen.add((there, os.path.lexists(place)))
        assert not done or (there and place.is_dir())
        sound(machine)
        machine("mount", "--create", "new", str(place))
        (place / "file").write_text("written through it")
        assert machine.read("new", "file") == "written through it"
        whole(machine)
    assert seen == {(False, False), (True, False), (True, True)}


def test_a_new_branch_is_never_there_without_the_way_to_it(template: Machine) -> None:
    """The hook does not see the database's own writes, so the one that makes the branch is stopped at by name."""
    original = LocalStore.add_worktree

    def work() -> None:
        def add_and_die(*arguments: Any) -> None:
            original(*arguments)
            os._exit(KILLED)

        LocalStore.add_worktree = add_and_die  # type: ignore[method-assign]
        template("checkout", "-b", "new")

    assert run_until(1_000_000, work) == KILLED
    assert branches(template) == ("new", {"master", "other", "idle", "new"})
    sound(template)
    whole(template)
