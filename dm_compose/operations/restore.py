"""Restore: a checkout's files become those of a commit; only containers that are or may be dirty go down, and come back ready."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from dm_compose.core.commit import Commit, JournalEntry, Move, Origin
from dm_compose.core.events import Event
from dm_compose.core.names import CommitId, EntryId, RefName, SubdotName
from dm_compose.core.plan import Action, Plan, Step
from dm_compose.core.tree import Restored, TreeDiff
from dm_compose.errors import DmError, UncommittedError, VersionMismatchError
from dm_compose.live.executor import Done, Work
from dm_compose.live.freeze import Freeze, promptly, quiesce
from dm_compose.live.ready import DEFAULT_TIMEOUT_S
from dm_compose.live.steps import carry_out
from dm_compose.live.worktree import LiveWorktree
from dm_compose.operations.commit import hidden_draft
from dm_compose.operations.plans import plan_restore, put_back_anyway
from dm_compose.store.api import COMPARE_BUDGET_BYTES
from dm_compose.untouched.last_restore import Touched


@dataclass(frozen=True)
class RestoreReport:
    """A restore that was done: its plan, when each step ran, and what it found. `saved` holds the state before, if it was
    kept. `touched` are the services that may have been changed, with the reason, where that was known. `handed_out`: another
    stack was taken instead, and this one is put back later.
    """

    target: Commit
    plan: Plan
    done: tuple[Done, ...]
    saved: CommitId | None
    total_s: float
    touched: Mapping[str, str] = field(default_factory=dict)
    handed_out: bool = False

    def restored(self) -> dict[SubdotName, Restored]:
        """Return what was put back per subdot; subdots that needed nothing are left out."""
        return {SubdotName(d.step.target): d.result for d in self.done if isinstance(d.result, Restored) and d.result.paths}


def check_versions(live: LiveWorktree, target: Commit) -> None:
    """Raise VersionMismatchError when a subdot's data was made by another version of its engine than the one that runs now."""
    compare_versions(live.origins(), target)


def compare_versions(origins: Mapping[SubdotName, Origin], target: Commit) -> None:
    """Raise VersionMismatchError when a subdot's data was made by another version of its engine than `origins` say."""
    for subdot, origin in origins.items():
        state = target.subdots.get(subdot)
        if state is None or not (state.engine and origin.engine):
            continue
        if state.engine != origin.engine or (state.version and origin.version and state.version != origin.version):
            raise VersionMismatchError(
                f"subdot {subdot} of commit {target.id.short} was made by {state.engine} {state.version or '?'} ({state.image}), "
                f"and {origin.service} runs {origin.engine} {origin.version or '?'} ({origin.image})",
                hint="Run the version of the commit, or insist with --any-version.",
            )


@dataclass(frozen=True)
class Uncommitted:
    """What differs from the head in a subdot. `by_user` is false when nothing was written since a restored engine had come up:
    then its own start wrote all of it."""

    diff: TreeDiff
    by_user: bool


def uncommitted(live: LiveWorktree) -> dict[SubdotName, Uncommitted]:
    """Return what differs from the head for every subdot, contents compared up to a budget; stops nothing."""
    where = live.dot, live.worktree, live.directories
    patterns = live.ignore_patterns()
    diffs = live.store.diff_live(*where, live.state().head, patterns, COMPARE_BUDGET_BYTES)
    changed = live.store.changed_since_quiet(*where, patterns) if any(diffs.values()) else []
    return {
        name: Uncommitted(diff, bool(diff) and (name in changed or (live.tree and name not in live.places)))
        for name, diff in diffs.items()
    }


def save_from_memory(live: LiveWorktree) -> None:
    """Have running datastores bring what they hold in memory to their files, so that comparing these tells all."""
    for member in live.writers():
        if member.container.state == "running" and member.datastore is not None and member.datastore.quiesce is not None:
            resume = quiesce(live, member)
            if resume is not None:
                resume()


def refuse_to_lose(live: LiveWorktree) -> None:
    """Raise UncommittedError when files changed since the head in a way that means something. What is in memory is saved
    first.
    """
    save_from_memory(live)
    changed = [name for name, changes in uncommitted(live).items() if changes.by_user]
    if changed:
        raise UncommittedError(
            f"uncommitted changes in {', '.join(sorted(changed))} would be lost",
            hint="Commit them, or use --hard (`undo` brings them back); `diff` shows them.",
        )


def move_to(
    live: LiveWorktree,
    target: Commit,
    action: str,
    *,
    head: CommitId | None = None,
    branch: RefName | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> RestoreReport:
    """Put a commit's files in place, keep what was uncommitted, and stand on `head` (by default the commit itself) of `branch`
    (by default the one it stands on).

    On the same branch containers that may hold something in memory only go down, because that is to be forgotten. On the
    way to another branch nothing is: who has the same files there goes on.

    All or nothing: when a datastore does not come back the state before is put back and the error raised; after a crash
    the next command finishes the job. The caller holds the dot's lock.
    """
    began = time.monotonic()
    state = live.state()
    freeze = Freeze(live) if live.engine is not None else None
    captured = None
    try:
        captured, saved = _save(live, f"before {action} to {target.id.short}", freeze)
        move = Move(action, branch or state.branch, head or target.id, saved)
        differing = live.store.differing(live.dot, live.worktree, live.directories, target.id)
        leaves = branch is not None and branch != state.branch
        plan = _plan(live, target, differing, files_are_proof=leaves)
        if freeze is not None:
            freeze.thaw(leave=plan.targets(Action.KILL))
        done = put_in_place(
            live, target.id, plan, move, previous=saved or state.head, timeout_s=timeout_s, freeze=freeze, takes_over=captured
        )
    except BaseException:
        if captured is not None:
            if freeze is not None:
                freeze.thaw()
            live.store.abandon(captured)
        raise
    finally:
        if freeze is not None:
            freeze.thaw()
    mark_quiet(live, target)
    return RestoreReport(target, plan, tuple(done), saved, time.monotonic() - began)


def visit(
    live: LiveWorktree, target: Commit, *, touched: Touched | None = None, timeout_s: float = DEFAULT_TIMEOUT_S
) -> RestoreReport:
    """Put a commit's files in place and throw away what was there: head, branch and reflog stay. For tests; as atomic as
    `move_to`. What is known to be at that commit still, all but what was `touched`, is left alone.
    """
    began = time.monotonic()
    left = touched.untouched_subdots(live) if touched is not None else []
    inner = live.inner()
    causes = touched.causes(live) if touched is not None else None
    decided = {*left, *put_back_anyway(live.members, causes or ())}  # whatever their files are
    directories = {s: d for s, d in live.directories.items() if s not in decided or any(inner.values())}
    differing = live.store.differing(live.dot, live.worktree, directories, target.id) if directories else []
    wanted = [s for s in live.wanted(target) if s not in left]
    differing = [s for s in differing if s not in left]
    plan = plan_restore(live.members, differing, wanted, inner=inner, touched=causes)
    done = put_in_place(live, target.id, plan, None, previous=None, timeout_s=timeout_s) if plan.steps else []
    reasons = touched.reasons(live) if touched is not None else {}
    return RestoreReport(target, plan, tuple(done), None, time.monotonic() - began, reasons)


def fill(
    live: LiveWorktree, target: Commit, action: str, branch: RefName, *, timeout_s: float = DEFAULT_TIMEOUT_S
) -> RestoreReport:
    """Put a commit's files where nothing is that anybody needs, and stand on it.

    Journalled: what is interrupted, by an error too, is finished by the next command. The caller holds the dot's lock.
    """
    began = time.monotonic()
    live.record_places()
    differing = live.store.differing(live.dot, live.worktree, live.directories, target.id)
    plan = _plan(live, target, differing)
    done = put_in_place(live, target.id, plan, Move(action, branch, target.id), previous=None, timeout_s=timeout_s)
    live.mark_quiet()
    return RestoreReport(target, plan, tuple(done), None, time.monotonic() - began)


def mark_quiet(live: LiveWorktree, target: Commit) -> None:
    """Note that what differs from `target`, which was just put in place, was written by the engines' own start; but where the
    head has another state, that is uncommitted, whoever wrote it. The caller holds the dot's lock.
    """
    head_id = live.state().head
    head = live.store.commit(live.dot, head_id).subdots if head_id is not None else {}
    live.mark_quiet(but={s for s, state in target.subdots.items() if s not in head or head[s].manifest != state.manifest})


def save_uncommitted(live: LiveWorktree, why: str) -> CommitId | None:
    """Keep the live state as a hidden commit when it differs from the head, and note it in the reflog; containers are frozen
    for it.
    """
    freeze = Freeze(live) if live.engine is not None else None
    try:
        captured, saved = _save(live, why, freeze)
    finally:
        if freeze is not None:
            freeze.thaw()
    if saved is not None:
        live.store.note(live.dot, live.worktree, why, saved)
    live.store.abandon(captured)
    return saved


def keep_aside(live: LiveWorktree, message: str) -> Commit:
    """Commit the live state without moving a branch or the reflog: a commit known by its id alone."""
    freeze = Freeze(live) if live.engine is not None else None
    try:
        captured, saved = _save(live, message, freeze, always=True)
    finally:
        if freeze is not None:
            freeze.thaw()
    live.store.abandon(captured)
    assert saved is not None
    return live.store.commit(live.dot, saved)


def _save(live: LiveWorktree, why: str, freeze: Freeze | None, *, always: bool = False) -> tuple[EntryId, CommitId | None]:
    """Capture the state before a restore and leave the stack frozen. Return the journal entry, which stays open, and the
    hidden commit of the state.

    The commit is made if something was uncommitted, or `always`. Otherwise there is none (None).
    """
    store = live.store
    live.record_places()
    if freeze is not None:
        freeze.warm_up()
    entry = store.prepare_commit(live.dot, live.worktree, live.directories)
    try:
        if freeze is not None:
            store.will_disturb(entry, freeze.containers, [])
            freeze.freeze()
        promptly(lambda: store.capture(entry))
        if always or store.captured_changes(entry, live.ignore_patterns()):
            saved = store.publish(entry, hidden_draft(live, why)).id
        else:
            saved = None
    except BaseException:
        if freeze is not None:
            freeze.thaw()
        store.abandon(entry)
        raise
    return entry, saved


def _plan(live: LiveWorktree, target: Commit, differing: Collection[SubdotName], *, files_are_proof: bool = False) -> Plan:
    return plan_restore(live.members, differing, live.wanted(target), inner=live.inner(), files_are_proof=files_are_proof)


def plan_reset(live: LiveWorktree, target: Commit) -> Plan:
    """Return what a reset to a commit would do now; does nothing."""
    return _plan(live, target, live.store.differing(live.dot, live.worktree, live.directories, target.id))


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
) -> list[Done]:
    """Carry out a restore plan under a journal entry; on an error put `previous` back, or leave the entry for the next
    command.
    """
    store = live.store
    entry = store.begin_restore(live.dot, live.worktree, target, plan.targets(Action.KILL), move, takes_over)
    try:
        done = _carry_out(live, entry, plan, timeout_s, freeze)
    except BaseException as error:
        if previous is not None:
            _put_back(live, entry, previous, plan, timeout_s, error)
        raise
    store.end_restore(entry)
    return done


def finish_restore(live: LiveWorktree, entry: JournalEntry, *, timeout_s: float) -> None:
    """Carry out a restore that an earlier process began: from the start, because nobody knows how far it came."""
    assert entry.target is not None
    target = live.store.commit(live.dot, entry.target)
    plan = _plan(live, target, live.wanted(target))
    taken_down = [m for m in live.members if m.container.id in entry.stopped and m.container.id not in plan.targets(Action.KILL)]
    steps = list(plan.steps)
    for member in taken_down:
        after = tuple(step.number for step in steps if step.action is Action.RESTORE)
        start = Step(len(steps) + 1, Action.START, member.container.id, member.container.label, "it had been taken down", after)
        steps.append(start)
        steps.append(
            Step(len(steps) + 1, Action.AWAIT, start.target, start.label, "it must answer before anyone asks it", (start.number,))
        )
    _carry_out(live, entry.id, Plan(tuple(steps)), timeout_s, None)
    live.store.end_restore(entry.id)


def _put_back(
    live: LiveWorktree, failed: EntryId, previous: CommitId, plan: Plan, timeout_s: float, error: BaseException
) -> None:
    live.listener(Event("warning", f"that failed; putting the state before back ({error.__class__.__name__})"))
    back = live.store.begin_restore(live.dot, live.worktree, previous, plan.targets(Action.KILL), None, None)
    live.store.close_entry(failed)
    try:
        _carry_out(live, back, plan, timeout_s, None)
    except DmError as second:
        raise second from error
    live.store.end_restore(back)


def _carry_out(live: LiveWorktree, entry: EntryId, plan: Plan, timeout_s: float, freeze: Freeze | None) -> list[Done]:
    def restore(subdot: str) -> Restored:
        return live.store.restore_subdot(entry, SubdotName(subdot), live.directories)

    work: dict[Action, Work] = {Action.RESTORE: restore, Action.SYNC: lambda _: live.store.sync_restored(entry)}
    return carry_out(live, plan, freeze, timeout_s, work)
