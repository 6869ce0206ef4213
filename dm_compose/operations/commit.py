"""Commit: all subdots of a worktree at one instant."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from dm_compose.core.at_once import at_once
from dm_compose.core.commit import Commit, CommitDraft, check_metadata
from dm_compose.core.events import Event, told
from dm_compose.core.names import EntryId, RefName
from dm_compose.core.variables import DEFAULT_TIMEOUT_S
from dm_compose.live.freeze import Freeze, promptly
from dm_compose.live.locks import user_name
from dm_compose.live.ready import await_members, await_ready, to_await
from dm_compose.live.worktree import LiveWorktree, Member
from dm_compose.operations.carry import changed_subdots
from dm_compose.operations.checks import before_commit, tell_missing

NOT_NOW = "A longer wait: --timeout SECONDS (or DM_TIMEOUT). `commit --unready` commits all the same, and notes it."


@dataclass(frozen=True)
class CommitReport:
    """A commit that was made, and its cost.

    `copied_bytes` had to be read and written, because the file systems cannot share blocks. `frozen_s` is the time from the first
    pause to the last thaw. It is 0 for a stack that was down. `unchanged` says that all files are as in the commit before.
    """

    commit: Commit
    copied_bytes: int
    frozen_s: float
    total_s: float
    stopped: bool
    unchanged: bool = False


def await_to_commit(live: LiveWorktree, timeout_s: float) -> None:
    """Return when all datastores that run are ready to be committed. NotReadyError after `timeout_s`. See ready.to_await."""
    if live.engine is not None:
        await_members(live.engine, to_await(live), live.listener, timeout_s, hint=NOT_NOW)


def make_commit(
    live: LiveWorktree,
    message: str,
    metadata: Mapping[str, str],
    *,
    stop: bool = False,
    branch: RefName | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    unready: Collection[tuple[Member, str]] = (),
) -> CommitReport:
    """Commit all subdots while the stack runs, frozen for an instant.

    With `stop` the containers that write are shut down cleanly instead, and each has `timeout_s` to answer again. With `branch`
    the commit starts that new branch, and the worktree stays on its own. `unready` are members that are not ready, with the
    reasons: the commit notes them, and it is only a warning if they cannot save what they hold in memory.

    Atomic: the commit is whole or is not there. Containers are put back as they were whatever happens. InUseError,
    NotFoundError; UsageError for metadata that cannot be stored. The caller holds the dot's lock.
    """
    began = time.monotonic()
    check_metadata(metadata)
    before_commit(live)
    tell_missing(live)
    reasons = {member.container.label: reason for member, reason in unready}
    draft = replace(_draft(live, message, metadata, clean=stop), branch=branch, unready=reasons)
    live.record_places()
    with Freeze(live, lenient=bool(unready)) as freeze:
        if not stop:
            freeze.warm_up()
        entry = live.store.prepare_commit(*live.where, live.directories)
        try:
            copied_bytes = _capture_stopped(live, entry, timeout_s) if stop else _capture_frozen(live, entry, freeze)
            commit = live.store.publish(entry, draft)
        except BaseException as error:
            live.store.abandon(entry)
            if not isinstance(error, Exception):
                live.listener(Event("warning", "interrupted; nothing is committed"))
            raise
    if live.project is not None and not any(state.files for state in commit.subdots.values()):
        text = "all subdots of this commit are empty: nothing has written to them yet"
        runs = any(member.container.running for member in live.members)
        live.listener(Event("warning", text if runs else f"{text}; `up -d --wait` brings the stack up"))
    before = live.store.commit(live.dot, commit.parent) if commit.parent is not None else None
    unchanged = before is not None and before.subdots.keys() == commit.subdots.keys() and not changed_subdots(before, commit)
    return CommitReport(commit, copied_bytes, freeze.frozen_s, time.monotonic() - began, stop, unchanged)


def _capture_frozen(live: LiveWorktree, entry: EntryId, freeze: Freeze) -> int:
    """Capture while all containers that write stand still."""
    live.store.will_disturb(entry, freeze.containers, freeze.stopped)
    try:
        freeze.freeze()
        return promptly(lambda: live.store.capture(entry))
    finally:
        freeze.thaw()


def _capture_stopped(live: LiveWorktree, entry: EntryId, timeout_s: float) -> int:
    """Capture after a clean shutdown of the containers that write, and start them again."""
    engine, writers = live.engine, live.writers()
    live.store.will_disturb(entry, [], [m.container.id for m in writers])

    def stop(member: Member) -> None:
        assert engine is not None
        with told(live.listener, "stop", member.container.label):
            engine.stop(member.container.id)

    def start(member: Member) -> None:
        assert engine is not None
        engine.stop(member.container.id)  # a shutdown that is under way has to end first, or the engine would not start it
        with told(live.listener, "start", member.container.label):
            engine.start(member.container.id)

    def await_answer(member: Member) -> None:
        assert engine is not None
        with told(live.listener, "await", member.container.label):
            await_ready(engine, member, live.listener, timeout_s)

    def pause(member: Member) -> None:
        assert engine is not None
        engine.pause(member.container.id)

    try:
        at_once(stop, writers)  # even if a signal comes, because a kill could lose what a datastore has in memory
        captured = promptly(lambda: live.store.capture(entry))
    finally:
        at_once(start, writers)
    try:
        promptly(lambda: at_once(await_answer, writers))
    finally:
        at_once(pause, [m for m in writers if m.container.state == "paused"])
    return captured


def _draft(live: LiveWorktree, message: str, metadata: Mapping[str, str], *, clean: bool) -> CommitDraft:
    return CommitDraft(
        message=message,
        author=user_name(),
        metadata=metadata,
        origins=live.origins(),
        compose_hash=live.compose_digest,
        architecture=live.engine.facts().architecture if live.engine else None,
        clean=clean,
    )
