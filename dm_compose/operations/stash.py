"""Stashes: uncommitted changes that are put aside, each as the commit of a branch `stash/N`, and put back later."""

from __future__ import annotations

from dataclasses import dataclass

from dm_compose.core.commit import Commit
from dm_compose.core.names import RefName
from dm_compose.errors import NotFoundError
from dm_compose.live.ready import unready
from dm_compose.live.worktree import LiveWorktree
from dm_compose.operations.carry import changed_subdots, refuse_to_mix
from dm_compose.operations.checks import before_checkout, before_undo, refuse_to_lose
from dm_compose.operations.commit import make_commit
from dm_compose.operations.restore import RestoreReport, move_to
from dm_compose.operations.uncommitted import dirty_subdots, save_from_memory

STASH_BRANCHES = "stash"
STASH, POP = "stash", "stash pop"  # the reflog's words


@dataclass(frozen=True)
class Stashed:
    """Uncommitted changes as they were put aside. `branch` is `stash/N`, and the parent of its `commit` is their base."""

    branch: RefName
    commit: Commit

    @property
    def number(self) -> int:
        return _number(self.branch)


def stashes(live: LiveWorktree) -> list[Stashed]:
    """Return all stashes of the dot. The newest comes first."""
    found = [
        Stashed(name, live.store.commit(live.dot, commit_id))
        for name, commit_id in live.store.branches(live.dot).items()
        if name.startswith(f"{STASH_BRANCHES}/") and _number(name)
    ]
    return sorted(found, key=lambda stashed: -stashed.number)


def stash(live: LiveWorktree, message: str | None, *, timeout_s: float) -> tuple[Stashed, RestoreReport] | None:
    """Put uncommitted changes aside as a new stash, and put the head's state in place. Return None if there are none.

    The stash is whole before a file of the stack changes. If the rest is interrupted, the next command finishes it. NotFoundError
    before the first commit. The caller holds the dot's lock.
    """
    state = live.state()
    if state.head is None:
        raise NotFoundError("there is no commit to go back to", hint='Make one: commit -m "seed"')
    before_undo(live)
    save_from_memory(live)
    if not dirty_subdots(live):
        return None
    head = live.store.commit(live.dot, state.head)
    branch = RefName.parse(f"{STASH_BRANCHES}/{max((s.number for s in stashes(live)), default=0) + 1}")
    text = message or f"uncommitted on {state.branch} at {head.id.short} {head.message.splitlines()[0]}"
    made = make_commit(live, text, {}, branch=branch, timeout_s=timeout_s, unready=unready(live))
    return Stashed(branch, made.commit), move_to(live, head, STASH, timeout_s=timeout_s)


def pop(
    live: LiveWorktree, number: int | None, *, hard: bool = False, any_version: bool = False, timeout_s: float
) -> tuple[Stashed, RestoreReport]:
    """Put a stash, by default the newest, back as uncommitted changes of the head, and forget it.

    It may have been made on another commit, if that has the same in the subdots that the stash changes: otherwise
    UncommittedError, as for changes that are uncommitted now, unless `hard` (`undo` brings them back). NotFoundError. The caller
    holds the dot's lock.
    """
    found = stashes(live)
    stashed = next((s for s in found if number in (None, s.number)), None)
    if stashed is None:
        which = "no stash" if number is None else f"no stash {number}"
        raise NotFoundError(f"there is {which}", hint="`stash list` lists all." if found else "`stash` makes one.")
    state = live.state()
    assert state.head is not None
    assert stashed.commit.parent is not None
    head, base = live.store.commit(live.dot, state.head), live.store.commit(live.dot, stashed.commit.parent)
    changed = changed_subdots(base, stashed.commit)
    refuse_to_mix(changed, base, head, hint=f"`reset --hard {stashed.branch}` puts the whole state of then in place.")
    before_checkout(live, stashed.commit, any_version=any_version)
    if not hard:
        refuse_to_lose(live)
    target = stashed.commit
    if head.id != base.id:
        target = live.store.combine(*live.where, head.id, stashed.commit.id, changed)
    report = move_to(live, target, POP, head=head.id, timeout_s=timeout_s)
    live.store.remove_branch(live.dot, stashed.branch)
    return stashed, report


def drop(live: LiveWorktree, number: int) -> Stashed:
    """Forget a stash, and return it. The reflog names its commit. NotFoundError. The caller holds the dot's lock."""
    stashed = next((s for s in stashes(live) if s.number == number), None)
    if stashed is None:
        raise NotFoundError(f"there is no stash {number}", hint="`stash list` lists all.")
    live.store.remove_branch(live.dot, stashed.branch)
    return stashed


def _number(branch: RefName) -> int:
    text = branch.partition("/")[2]
    return int(text) if text.isdecimal() else 0
