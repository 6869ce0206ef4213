"""Undo: back to the state before the last operation that replaced the live one."""

from __future__ import annotations

from dataclasses import replace

from dm_compose.core.commit import ReflogEntry
from dm_compose.errors import NotFoundError, UncommittedError
from dm_compose.live.worktree import LiveWorktree
from dm_compose.operations.branches import Arrival, arrive
from dm_compose.operations.checks import before_undo
from dm_compose.operations.left import BEFORE_RECOVERY
from dm_compose.operations.restore import RestoreReport, move_to
from dm_compose.operations.uncommitted import DOWN

UNDOABLE = ("reset", "checkout", "pull", "undo", "up", DOWN, BEFORE_RECOVERY)


def undo(live: LiveWorktree, *, hard: bool, timeout_s: float) -> RestoreReport | Arrival:
    """Go back to the state before the last reset, checkout, pull, `up --from`, `down -v` or recovery.

    Uncommitted changes come back too, and the undo of an undo brings the later state back. NotFoundError if there is nothing to
    undo. Without `hard`, UncommittedError if commits were made since, because the branch would leave them. All or nothing; the
    caller holds the dot's lock.
    """
    entries = live.store.reflog(live.dot, live.worktree)
    position, last = next(((n, e) for n, e in enumerate(entries) if e.action in UNDOABLE), (0, None))
    if last is None or last.old is None:
        raise NotFoundError("there is nothing to undo", hint="`reflog` lists what has happened.")
    if last.left != last.branch:
        return arrive(live, last.left, action="undo", timeout_s=timeout_s)
    if not hard:
        _refuse_to_leave_commits(entries[:position], last)
    before_undo(live)
    target = live.store.commit(live.dot, last.saved or last.old)
    report = move_to(live, target, "undo", head=last.old, timeout_s=timeout_s)
    return replace(report, undone=last, head=live.store.commit(live.dot, last.old))


def _refuse_to_leave_commits(since: list[ReflogEntry], undone: ReflogEntry) -> None:
    made = [entry for entry in since if entry.action == "commit" and entry.branch == undone.branch]
    if not made:
        return
    commits = "1 commit was" if len(made) == 1 else f"{len(made)} commits were"
    first = made[0].old
    what = f"{undone.action.removeprefix('before ')} of {undone.at.astimezone():%H:%M:%S}"
    only_last = f" The last commit alone: `reset {first.short}`." if first is not None else ""
    raise UncommittedError(
        f"{commits} made since the {what}, which `undo` would take back",
        hint=f"To leave them all the same: `undo --hard`; a second `undo` brings them back.{only_last}",
    )
