"""Restore: the live files become those of a commit.

Only containers that may have changed go down. They are back and answer at the end.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dm_compose.core.commit import SESSION, Commit, JournalEntry, Move, ReflogEntry
from dm_compose.core.events import Event
from dm_compose.core.names import CommitId, EntryId, RefName, SubdotName
from dm_compose.core.plan import Action, Plan
from dm_compose.core.tree import Restored
from dm_compose.core.variables import DEFAULT_TIMEOUT_S
from dm_compose.errors import DmError, NotFoundError
from dm_compose.live.executor import Done, Work, carry_out
from dm_compose.live.freeze import Freeze
from dm_compose.live.worktree import LiveWorktree, Member
from dm_compose.operations.checks import tell_doubts
from dm_compose.operations.left import BEFORE_RECOVERY, what_is_left
from dm_compose.operations.plans import also_bring_up, plan_restore, without_waiting
from dm_compose.operations.uncommitted import capture, mark_quiet

BEFORE_PUTTING_BACK = "before putting back"  # the reflog's word for what was live when a restore had failed

PUT_BACK_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class RestoreReport:
    """A restore that was done: its plan, the times of its steps, and their results.

    `saved` is the commit with the state before, if that was kept. `touched` has the services that may have been changed, with the
    reason, as far as that was known. `handed_out` says that another stack was taken instead, and that this one is put back later.
    `running` says that a container of the stack runs now. An undo names the move that it has `undone`, the `head` that the branch
    is on since, and the commits that it has left behind.
    """

    target: Commit
    plan: Plan
    done: tuple[Done, ...]
    saved: CommitId | None
    total_s: float
    touched: Mapping[str, str] = field(default_factory=dict)
    handed_out: bool = False
    running: bool = True
    undone: ReflogEntry | None = None
    head: Commit | None = None
    left_behind: tuple[Commit, ...] = ()

    def restored(self) -> dict[SubdotName, Restored]:
        """Return the changes to the files of each subdot. Subdots whose files needed none are left out."""
        return {SubdotName(d.step.target): d.result for d in self.done if isinstance(d.result, Restored) and d.result.paths}


def move_to(
    live: LiveWorktree,
    target: Commit,
    action: str,
    *,
    head: CommitId | None = None,
    branch: RefName | None = None,
    carry: Collection[SubdotName] = (),
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> RestoreReport:
    """Put a commit's files in place, keep uncommitted changes as a hidden commit, and stand on `head` of `branch`.

    By default `head` is the commit itself, and `branch` the one that the worktree stands on. If the branch stays the same,
    containers that may hold something in memory only go down, because that has to be forgotten. On the way to another branch
    nothing has to be forgotten, so a container whose files are the same there stays up.

    Subdots in `carry` stay as they are, so that their uncommitted changes are on the way to the other branch too, and on no
    other. The caller has seen to it that the commit has the same in them as the head.

    All or nothing. If a datastore does not come back, the state before is put back and the error raised. If this process dies,
    the next command finishes the restore. The caller holds the dot's lock.
    """
    began = time.monotonic()
    tell_doubts(live, target)
    state = live.state()
    head = head or target.id
    with Freeze(live, lenient=bool(live.left)) as freeze:
        captured, saved = capture(live, f"before {action} to {target.id.short}", freeze)
        try:
            if carry and saved is not None:  # others may have been written to since the caller has looked
                live.store.note(*live.where, f"before {action}", saved)
                target = live.store.combine(*live.where, target.id, saved, list(carry))
            kept = _kept_by_superseded(live, saved)
            move = Move(action, branch or state.branch, head, None if carry else kept)
            leaves = branch is not None and branch != state.branch
            plan = plan_to(live, target, live.differing(target.id), files_are_proof=leaves)
            plan = with_fallen(live, plan, live.left)
            freeze.thaw(leave=plan.targets(Action.KILL))
            done = put_in_place(
                live, target.id, plan, move, previous=saved or state.head, timeout_s=timeout_s, freeze=freeze, takes_over=captured
            )
        except BaseException:
            freeze.thaw()
            live.store.abandon(captured)
            raise
    mark_quiet(live, target)
    total_s = time.monotonic() - began
    started = plan.targets(Action.START)
    tell_ended(live, started)
    running = any(m.container.running or m.container.id in started for m in live.members)
    return RestoreReport(target, plan, tuple(done), move.saved, total_s, running=running)


def tell_ended(live: LiveWorktree, started: Collection[str]) -> None:
    """Warn of containers that were started, cannot say that they are ready, and have ended since."""
    for member in (m for m in live.members if m.container.id in started and not m.answers):
        assert live.engine is not None
        with contextlib.suppress(NotFoundError):
            now = live.engine.container(member.container.id)
            if not now.running:
                text = f"{now.label} was started, and is {now.state} ({now.exit_code}): `docker logs {now.name}` says why"
                live.listener(Event("warning", text))


def _kept_by_superseded(live: LiveWorktree, saved: CommitId | None) -> CommitId | None:
    """Return the commit that `undo` brings back: the user's state that a superseded operation had put aside, else `saved`.

    The reflog names both, because either may be wanted, and a restore that fails moves nothing.
    """
    put_aside = [entry.keeps for entry in sorted(live.left, key=lambda e: e.operation != SESSION)]
    kept = next((c for c in put_aside if c is not None and live.store.commit(live.dot, c).hidden), None)
    if kept is None:
        return saved
    for commit_id in (saved, kept):
        if commit_id is not None:
            live.store.note(*live.where, BEFORE_RECOVERY, commit_id)
    return kept


def with_fallen(live: LiveWorktree, plan: Plan, entries: Collection[JournalEntry]) -> Plan:
    """Return a plan that also starts the containers that unfinished operations have taken down."""
    down, killed = {c for entry in entries for c in entry.stopped}, plan.targets(Action.KILL)
    fallen = [m for m in live.members if m.container.id in down and not m.container.running and m.container.id not in killed]
    return also_bring_up(plan, fallen, Action.RESTORE)


def plan_to(live: LiveWorktree, target: Commit, differing: Collection[SubdotName], *, files_are_proof: bool = False) -> Plan:
    """Return the plan of a restore to a commit, given the subdots that differ. See plans.plan_restore."""
    return plan_restore(live.members, differing, live.wanted(target), inner=live.inner(), files_are_proof=files_are_proof)


def plan_reset(live: LiveWorktree, target: Commit) -> Plan:
    """Return the plan of a reset to a commit. Nothing is done."""
    return plan_to(live, target, live.differing(target.id))


def put_in_place(
    live: LiveWorktree,
    target: CommitId,
    plan: Plan,
    move: Move | None,
    *,
    previous: CommitId | None,
    timeout_s: float,
    freeze: Freeze | None = None,
    takes_over: EntryId | None = None,
    supersedes: Collection[JournalEntry] | None = None,
) -> list[Done]:
    """Carry out a restore plan under a journal entry.

    On an error the commit `previous` is put back, if given. Otherwise the entry stays open, and the next command finishes it.
    `freeze` is the caller's, if it has frozen containers. `takes_over` is an entry that the new one replaces. `supersedes` are
    the unfinished operations that need not be finished any more, by default the worktree's `left`.
    """
    store = live.store
    freeze = freeze or Freeze(live)
    old = [e.id for e in (live.left if supersedes is None else supersedes)]
    entry = store.begin_restore(live.dot, live.worktree, target, plan.targets(Action.KILL), move, takes_over, old)
    try:
        done = _carry_out(live, entry, plan, timeout_s, freeze)
    except BaseException as error:
        if previous is not None:
            _put_back(live, entry, previous, plan, timeout_s, freeze, error)
        raise
    store.end_restore(entry)
    return done


def finish_restore(
    live: LiveWorktree,
    entries: Sequence[JournalEntry],
    *,
    timeout_s: float,
    freeze: Freeze | None = None,
    takes_over: EntryId | None = None,
) -> None:
    """Carry out the first of these operations, which an earlier process began, and supersede the others.

    It is done from the start, because nobody knows how far it came. The restore has an entry of its own, which takes the place of
    theirs, so that it can be killed anywhere as well. If the caller has frozen and kept the stack, `freeze` holds what goes down
    until then, and `takes_over` is the entry of the capture.
    """
    entry = entries[0]
    assert entry.target is not None
    target = live.store.commit(live.dot, entry.target)
    plan = with_fallen(live, plan_to(live, target, live.wanted(target)), entries)
    if freeze is not None:
        freeze.thaw(leave=plan.targets(Action.KILL))
    put_in_place(
        live,
        target.id,
        plan,
        entry.move,
        previous=None,
        timeout_s=timeout_s,
        freeze=freeze,
        takes_over=takes_over,
        supersedes=entries,
    )
    mark_quiet(live, target)


def _put_back(
    live: LiveWorktree, failed: EntryId, previous: CommitId, plan: Plan, timeout_s: float, freeze: Freeze, error: BaseException
) -> None:
    """Put the state before a restore back, after an error. If that fails as well, one error says both causes.

    Datastores that answer already may have acknowledged writes since. Those are kept as a hidden commit, which the reflog names.
    They are waited for at least PUT_BACK_TIMEOUT_S, because a shorter `timeout_s` was meant for the restore.
    """
    timeout_s = max(timeout_s, PUT_BACK_TIMEOUT_S)
    if isinstance(error, Exception):
        reason = error.message.partition("\n")[0] if isinstance(error, DmError) else repr(error)
        live.listener(Event("warning", f"{reason}; the state before is put back"))
    else:  # a signal ends every wait, also this one
        live.listener(Event("warning", "interrupted; the state before is put back"))
        plan = without_waiting(plan)
    killed = plan.targets(Action.KILL)
    now = _as_it_is(live)
    with Freeze(now, lenient=True) as still:
        try:
            kept = _keep_written(now, failed, previous, plan, still)
            back = live.store.begin_restore(live.dot, live.worktree, previous, killed, None, kept, [failed])
            still.thaw(leave=killed)
            _carry_out(now, back, plan, timeout_s, still)
        except DmError as second:
            if not isinstance(error, DmError):
                second.message = f"{second.message}\n(while the state before an interrupted restore was put back: {error!r})"
                raise second from error
            error.message = f"{error.message}\nThe state before could not be put back either: {second.message}"
            error.hint = (
                f"It is kept as {previous.short}. `reset --hard REF` puts another commit in place, and `undo` then this one."
            )
            raise error from second
        except BaseException:  # the second signal
            with contextlib.suppress(DmError):
                for left in what_is_left(live.store, *live.where):
                    live.listener(Event("warning", f"interrupted again, before the state before was back; {left.then}"))
            raise
        finally:
            for container_id in killed:
                freeze.forget(container_id)
    live.store.end_restore(back)
    if isinstance(error, Exception):  # otherwise the engines are still starting
        mark_quiet(now, live.store.commit(live.dot, previous))


def _as_it_is(live: LiveWorktree) -> LiveWorktree:
    """Return the stack with its containers as they are now. One that is gone stays as it was."""

    def now(member: Member) -> Member:
        assert live.engine is not None  # without an engine there are no members
        with contextlib.suppress(NotFoundError):
            return replace(member, container=live.engine.container(member.container.id))
        return member

    return replace(live, members=tuple(now(member) for member in live.members))


def _keep_written(live: LiveWorktree, failed: EntryId, previous: CommitId, plan: Plan, freeze: Freeze) -> EntryId | None:
    """Freeze the stack and keep what was written since a restore started containers. Return the capture's journal entry.

    If none of them runs, nobody can have written, and nothing is done. If it cannot be kept, warn and go on.
    """
    started = set(plan.targets(Action.START))
    if not any(m.container.running and m.container.id in started for m in live.members):
        return None
    targets = [e.target for e in live.store.unfinished(live.dot) if e.id == failed and e.target is not None]
    try:
        captured, saved = capture(live, BEFORE_PUTTING_BACK, freeze, known=[previous, *targets])
    except DmError as problem:
        live.listener(Event("warning", f"writes since the datastores have started cannot be kept: {problem.message}"))
        return None
    if saved is not None:
        live.store.note(*live.where, BEFORE_PUTTING_BACK, saved)
        how = f"`reset --hard {saved.short}` brings that back"
        live.listener(Event("warning", f"what was written since the datastores have started is kept; {how}"))
    return captured


def _carry_out(live: LiveWorktree, entry: EntryId, plan: Plan, timeout_s: float, freeze: Freeze) -> list[Done]:
    def restore(subdot: str) -> Restored:
        return live.store.restore_subdot(entry, SubdotName(subdot), live.directories)

    work: dict[Action, Work] = {Action.RESTORE: restore, Action.SYNC: lambda _: live.store.sync_restored(entry)}
    return carry_out(live, plan, freeze, timeout_s, work)
