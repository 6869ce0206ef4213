"""Commit: all subdots of a checkout at one instant."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from dm_compose.core.commit import Commit, CommitDraft, check_metadata
from dm_compose.core.events import Event
from dm_compose.core.names import EntryId, RefName
from dm_compose.errors import NotFoundError
from dm_compose.live.access import user_name
from dm_compose.live.freeze import Freeze, promptly
from dm_compose.live.ready import DEFAULT_TIMEOUT_S, await_ready
from dm_compose.live.worktree import LiveWorktree, Member
from dm_compose.store.api import Captured

STOP_TIMEOUT_S = 60


@dataclass(frozen=True)
class CommitReport:
    """A commit that was made, and what it cost. `frozen_s` is from the first pause to the last thaw, 0 for a stack that was
    down.
    """

    commit: Commit
    captured: Captured
    frozen_s: float
    total_s: float
    stopped: bool


def make_commit(
    live: LiveWorktree,
    message: str,
    metadata: Mapping[str, str],
    *,
    stop: bool = False,
    branch: RefName | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> CommitReport:
    """Commit all subdots while the stack runs, frozen for an instant, or after a clean shutdown with `stop`; each datastore then
    has `timeout_s` to answer again. With `branch` the commit starts that new branch, and the worktree stays where it is.

    Atomic: the commit is whole or is not there. Containers are put back as they were whatever happens. The caller holds the
    dot's lock.
    """
    began = time.monotonic()
    check_metadata(metadata)
    live.refuse_strangers(readers_too=False)
    live.require_places()
    if not live.places:
        raise NotFoundError(
            f"dot {live.dot} has no subdot: nothing in this stack keeps state", hint="`dm-compose plan` says why."
        )
    draft = replace(_draft(live, message, metadata, clean=stop), branch=branch)
    live.record_places()
    freeze = Freeze(live) if live.engine is not None and not stop else None
    if freeze is not None:
        freeze.warm_up()
    live.listener(Event("copy", "copying what changed"))
    entry = live.store.prepare_commit(live.dot, live.worktree, live.directories)
    try:
        if stop and live.engine is not None:
            captured = _capture_stopped(live, entry, timeout_s)
            frozen_s = 0.0
        else:
            captured, frozen_s = _capture_frozen(live, entry, freeze)
        commit = live.store.publish(entry, draft)
    except BaseException:
        live.store.abandon(entry)
        raise
    return CommitReport(commit, captured, frozen_s, time.monotonic() - began, stop)


def _capture_frozen(live: LiveWorktree, entry: EntryId, freeze: Freeze | None) -> tuple[Captured, float]:
    """Capture while everything that writes stands still; return also for how long it did."""
    if freeze is None:
        return live.store.capture(entry), 0.0
    live.store.will_disturb(entry, freeze.containers, [])
    try:
        freeze.freeze()
        captured = promptly(lambda: live.store.capture(entry))
    finally:
        freeze.thaw()
    return captured, freeze.frozen_s


def _capture_stopped(live: LiveWorktree, entry: EntryId, timeout_s: float) -> Captured:
    """Capture after a clean shutdown of whoever writes, and start them again."""
    assert live.engine is not None
    engine = live.engine
    writers = live.writers()
    live.store.will_disturb(entry, [], [m.container.id for m in writers])

    def stop(member: Member) -> None:
        live.listener(Event("stop", member.container.label))
        engine.stop(member.container.id, STOP_TIMEOUT_S)

    def start(member: Member) -> None:
        engine.start(member.container.id)
        await_ready(engine, member, live.listener, timeout_s)
        live.listener(Event("ready", member.container.label))

    try:
        _at_once(writers, stop)
        return live.store.capture(entry)
    finally:
        _at_once(writers, start)


def _at_once(members: tuple[Member, ...], work: Callable[[Member], None]) -> None:
    with ThreadPoolExecutor(max(len(members), 1)) as pool:
        for job in [pool.submit(work, m) for m in members]:
            job.result()


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


def hidden_draft(live: LiveWorktree, message: str) -> CommitDraft:
    """Return what a state saved on the way to another says of itself."""
    return CommitDraft(message=message, author=user_name(), origins=live.origins(), hidden=True)
