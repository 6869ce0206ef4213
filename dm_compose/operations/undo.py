"""Undo: back to the state before the last operation that replaced the live one, or to the commit before the last one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dm_compose.core.commit import COMMIT, SESSION, Commit, Move, ReflogEntry
from dm_compose.core.units import counted
from dm_compose.errors import NotFoundError, UncommittedError
from dm_compose.live.worktree import LiveWorktree
from dm_compose.operations.branches import CARRY, Arrival, arrive
from dm_compose.operations.checks import before_undo, refuse_unfinished
from dm_compose.operations.left import BEFORE_RECOVERY
from dm_compose.operations.restore import RestoreReport, move_to
from dm_compose.operations.stash import POP, STASH
from dm_compose.operations.uncommitted import DOWN

TAKE_BACK = "undo --commit"  # the reflog's word for a move to the parent commit that leaves the files as they are
UNDO = "undo"
UNDOABLE = ("reset", "checkout", CARRY, "pull", UNDO, "up", STASH, POP, DOWN, BEFORE_RECOVERY)


@dataclass(frozen=True)
class TakenBack:
    """A move of the branch from a commit to another one, `head`, while the files stay as they are.

    With `again` a commit that was taken back is the head again.
    """

    commit: Commit
    head: Commit
    again: bool


@dataclass(frozen=True)
class PutBack:
    """Recovery has just put the wanted state back, so that nothing more was undone. The worktree stands on `head`.

    `tests` says that it is the state from before a test run that was killed. Otherwise a killed undo was finished. `again` says
    that another undo brings back what was live before.
    """

    head: Commit | None
    tests: bool
    again: bool


Undone = RestoreReport | Arrival | TakenBack | PutBack


def undo(live: LiveWorktree, *, hard: bool = False, only_commit: bool = False, timeout_s: float) -> Undone:
    """Go back to the state before the last reset, checkout, pull, stash, `up --from`, `down -v` or recovery.

    Uncommitted changes come back too, and the undo of an undo brings the later state back. NotFoundError if there is nothing to
    undo. Without `hard`, UncommittedError if commits were made since, because the branch would leave them. All or nothing; the
    caller holds the dot's lock.

    If a command was killed, the state from before it is wanted. Recovery itself goes there after a test run or an undo. Any other
    move it finishes, and then that one is the last.

    With `only_commit`, or if nothing but commits was made, the last commit is taken back: the branch goes to its parent, and its
    state stays as uncommitted changes. The undo of that makes the commit the head again.
    """
    if (back := _put_back(live)) is not None:
        return back
    entries = live.store.reflog(live.dot, live.worktree)
    moves = [e for e in entries if e.action in (*UNDOABLE, TAKE_BACK, COMMIT)]
    position, last = next(((n, e) for n, e in enumerate(moves) if e.action in UNDOABLE), (len(moves), None))
    if only_commit or (moves and (moves[0].action == TAKE_BACK or last is None)):
        return _take_back(live, moves)
    if last is None or last.old is None:
        raise NotFoundError("there is nothing to undo", hint="`reflog` lists what has happened.")
    if last.left != last.branch:
        carry = last.action == CARRY
        return arrive(live, last.left, action=UNDO, carry=carry, timeout_s=timeout_s)
    since = [
        live.store.commit(live.dot, e.new) for e in moves[:position] if e.branch == last.branch and e.new and e.action == COMMIT
    ]
    if since and not hard:
        _refuse_to_leave(since, last)
    before_undo(live)
    target = live.store.commit(live.dot, last.saved or last.old)
    report = move_to(live, target, UNDO, head=last.old, timeout_s=timeout_s)
    return replace(report, undone=last, head=live.store.commit(live.dot, last.old), left_behind=tuple(since))


def _put_back(live: LiveWorktree) -> PutBack | None:
    """Return what recovery has done already if that was to put the wanted state back."""
    entries = live.recovered.entries
    tests = any(entry.operation == SESSION for entry in entries)
    undone = any(entry.move is not None and entry.move.action == UNDO for entry in entries)
    if not tests and not undone:
        return None
    head = live.state().head
    return PutBack(live.store.commit(live.dot, head) if head else None, tests, undone or live.recovered.kept is not None)


def _take_back(live: LiveWorktree, moves: Sequence[ReflogEntry]) -> TakenBack:
    if not moves or moves[0].action not in (COMMIT, TAKE_BACK):
        if not moves:
            raise NotFoundError("there is nothing to undo: there is no commit", hint="`reflog` lists what has happened.")
        what = moves[0].action.removeprefix("before ")
        raise NotFoundError(f"the last move was a {what} and no commit", hint="`undo` alone takes it back; `reflog` lists all.")
    last, state = moves[0], live.state()
    if last.old is None or last.new is None:
        raise NotFoundError("there is nothing to undo: the first commit stays", hint="`reflog` lists what has happened.")
    if (last.branch, last.new) != (state.branch, state.head):
        raise NotFoundError(f"commit {last.new.short} is not the head any more", hint="`reflog` lists what has happened.")
    refuse_unfinished(live)
    live.store.stand_on(*live.where, Move(TAKE_BACK, state.branch, last.old))
    commit, head = (live.store.commit(live.dot, commit_id) for commit_id in (last.new, last.old))
    return TakenBack(commit, head, last.action == TAKE_BACK and head.parent == commit.id)


def _refuse_to_leave(since: Sequence[Commit], undone: ReflogEntry) -> None:
    commits = counted(len(since), "commit was", "commits were")
    what = f"{undone.action.removeprefix('before ')} of {undone.at.astimezone():%H:%M:%S}"
    raise UncommittedError(
        f"{commits} made since the {what}, which `undo` would take back",
        hint="The last commit alone: `undo --commit`. To leave all of them: `undo --hard`; a second `undo` brings them back.",
    )
