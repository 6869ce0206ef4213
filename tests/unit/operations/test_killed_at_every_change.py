"""Reset, undo, recovery and a test run, killed at every change of the disk: old state or new, and nothing that was live is lost.

After each kill somebody writes on, as people do. Then the next command that writes recovers. Each test prints its points.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from dm_compose.core.commit import Commit, Move
from dm_compose.core.names import MAIN_WORKTREE, DotName, session_lock
from dm_compose.core.variables import Variables
from dm_compose.dots.stored_dot import StoredDot
from dm_compose.live.worktree import LiveWorktree
from dm_compose.operations.recovery import Use
from dm_compose.operations.uncommitted import dirty_subdots
from dm_compose.sessions.leases import _state_kept
from dm_compose.sessions.options import SessionOptions
from dm_compose.sessions.session import Session
from dm_compose.sessions.visit import throw_away_and_restore
from dm_compose.store.local.store import LocalStore
from dm_compose.untouched.last_restore import EVERYTHING, Touched
from tests.support.crashing import stops
from tests.support.machines import Machine

pytestmark = pytest.mark.timeout(900)  # each of some hundred points takes a command, and another one to look

A = DotName("a")


@pytest.fixture
def dirty(fast_path: Path) -> Machine:
    """The dot `a` with two commits, and `file` and `more` uncommitted."""
    machine = Machine(fast_path / "template")
    machine("init", "a")
    machine.write("a", "more", "one")
    machine.chain("one", "two")
    machine.write("a", "file", "uncommitted")
    machine.write("a", "more", "uncommitted too")
    return machine


def killed(template: Machine, work: Callable[[Machine], object], about: str) -> Iterator[Machine]:
    """Yield the machine after each kill of `work`, when somebody has written on, and recovered. Print the points."""
    points = 0
    place = template.root.parent / "case"
    for number, root in enumerate(stops(template.root, place, lambda root: work(Machine(root)), at_least=10)):
        machine = Machine(root)
        before = files(machine), unfinished(machine)
        machine("status")
        assert (files(machine), unfinished(machine)) == before
        machine.write("a", "since", f"at {number}")
        machine("tag", "recovers")
        assert unfinished(machine) == []
        yield machine
        since_is_kept(machine, f"at {number}")
        assert machine("fsck", "--json").json()["sound"]
        points += 1
    print(f"{about}: {points} points, {points} passed")


def unfinished(machine: Machine) -> list[str]:
    """Return the journal's entries of restores and sessions. Those of commits are closed by verbs that read, too."""
    return [e["id"] for entries in machine("debug", "Unfinished").json().values() for e in entries if e["operation"] != "commit"]


def files(machine: Machine) -> tuple[str | None, str | None]:
    return machine.read("a", "file"), machine.read("a", "more")


def since_is_kept(machine: Machine, text: str) -> None:
    """The file that was written after the kill is live, or in the commit that recovery has noted."""
    if machine.read("a", "since") == text:
        return
    saved = [e["saved"] for e in machine("reflog", "--json").json() if e["saved"] is not None]
    for commit in saved:
        machine("reset", "--hard", commit)
        if machine.read("a", "since") == text:
            return
    raise AssertionError(f"{text!r} is in none of {saved}")


UNCOMMITTED = ("uncommitted", "uncommitted too")


def test_a_reset_killed_anywhere(dirty: Machine) -> None:
    seen = set()
    for machine in killed(dirty, lambda m: m("reset", "--hard", "HEAD^"), "reset"):
        seen.add(files(machine))
        if files(machine) == ("one", "one"):
            assert machine.messages() == ["one"]
            machine("undo")
        assert files(machine) == UNCOMMITTED
        assert machine.messages() == ["one", "two"]
    assert seen == {UNCOMMITTED, ("one", "one")}


def test_an_undo_killed_anywhere(dirty: Machine) -> None:
    dirty("reset", "--hard", "HEAD^")
    seen = set()
    for machine in killed(dirty, lambda m: m("undo"), "undo"):
        seen.add(files(machine))
        if files(machine) == ("one", "one"):
            machine("undo")
        assert files(machine) == UNCOMMITTED
        assert machine.messages() == ["one", "two"]
    assert seen == {UNCOMMITTED, ("one", "one")}


@pytest.mark.parametrize("left", ["reset", "session"])
def test_a_recovery_killed_anywhere(dirty: Machine, left: str) -> None:
    """The command that is killed is one that recovers from an earlier kill. Somebody had written on before."""
    with contextlib.closing(LocalStore(dirty.home)) as store:
        head = store.worktree(A, MAIN_WORKTREE).head
        assert head is not None
        if left == "session":
            store.begin_session(A, MAIN_WORKTREE, head, "pytest (process 1)")
        else:
            store.begin_restore(A, MAIN_WORKTREE, head, [], Move("reset", store.worktree(A, MAIN_WORKTREE).branch, head), None)
    dirty.write("a", "before", "hours of work")
    for machine in killed(dirty, lambda m: m("tag", "first"), f"recovery of a {left}"):
        assert files(machine) == ("two", "one")
        assert machine.read("a", "before") is None
        saved = [e["saved"] for e in machine("reflog", "--json").json() if e["action"] == "before recovery"]
        found = set()
        for commit in saved:
            machine("reset", "--hard", commit)
            found.add((files(machine), machine.read("a", "before")))
        assert (UNCOMMITTED, "hours of work") in found


@dataclass
class _Session:
    """A session on a dot of trees, without containers."""

    dot: StoredDot
    commit: Commit
    options: SessionOptions

    @contextlib.contextmanager
    def live(self, *, use: Use = Use.SESSION) -> Iterator[LiveWorktree]:
        with self.dot.live(lock=True, use=use) as live:
            yield live

    def restore(self, commit: Commit, touched: Touched = EVERYTHING) -> None:
        with self.live() as live:
            throw_away_and_restore(live, commit, touched=touched)

    def found_at_commit(self, live: LiveWorktree) -> bool:
        return not dirty_subdots(live)

    def changed_in_memory(self, _: LiveWorktree) -> Touched:
        return EVERYTHING


def run_tests(machine: Machine) -> None:
    """Borrow the dot as a test run does, write, and give it back."""
    with contextlib.closing(LocalStore(machine.home)) as store:
        head = store.worktree(A, MAIN_WORKTREE).head
        assert head is not None
        store.lock(session_lock(A), "pytest", 0)
        dot = StoredDot(A, None, Variables.of(machine.environment()))
        session: Any = _Session(dot, store.commit(A, head), SessionOptions())
        with _state_kept(cast(Session, session), volumes_are_new=False):
            machine.write("a", "file", "a test wrote this")


def test_a_session_killed_anywhere(dirty: Machine) -> None:
    for machine in killed(dirty, run_tests, "session"):
        assert files(machine) == UNCOMMITTED
        assert machine.messages() == ["one", "two"]


def test_a_session_on_what_is_committed_killed_anywhere(dirty: Machine) -> None:
    dirty("commit", "-m", "three")
    committed = files(dirty)
    for machine in killed(dirty, run_tests, "session"):
        assert files(machine) == committed
        assert machine.messages() == ["one", "two", "three"]
