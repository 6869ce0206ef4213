"""Settled commits. One has the state of another commit, as its engines leave it when they are shut down.

A commit of a running stack has the files that a crash would leave, so each start from it replays logs. Tests start from one
commit many times. So it is settled once: a clone of the stack is started, left to recover and stopped. The clone's engines run as
the compose file has them, with full durability, also if those of the tests do not.
"""

from __future__ import annotations

from dataclasses import dataclass

from dm_compose.clones.clone import Clone, clone_name
from dm_compose.clones.running import running_clone, services_with_engines
from dm_compose.core.commit import Commit
from dm_compose.core.events import Event
from dm_compose.core.names import CommitId, settle_lock
from dm_compose.core.variables import DEFAULT_TIMEOUT_S
from dm_compose.dots.stack import Stack
from dm_compose.engine import STOP_TIMEOUT_S
from dm_compose.errors import DmError, VersionMismatchError
from dm_compose.live.access import open_access
from dm_compose.live.locks import locked
from dm_compose.store.api import Store

WORKER = "settle"


@dataclass(frozen=True)
class SettleOptions:
    """The commit to settle, and the time in which its engines have to answer. For `any_version` see checks.before_checkout."""

    commit: str = "HEAD"
    any_version: bool = False
    ready_timeout_s: float = DEFAULT_TIMEOUT_S


def settled(stack: Stack, options: SettleOptions, run: str) -> CommitId:
    """Return the settled form of a commit. If there is none yet, make it now, and tell so by the event `settle`.

    If that fails, warn and return the commit itself. If an engine does not shut down in time, the commit is its own settled form
    from then on, so that nobody waits for that again. If several processes want the form at once, one makes it and the others
    wait. NotFoundError, VersionMismatchError.
    """
    access = open_access(stack.facts.engine, [], stack.variables, stack.listener)
    try:
        store = access.store
        commit = stack.find(store, options.commit)
        if (form := store.settled(commit.dot, commit.id)) is not None:
            return form
        if not services_with_engines(stack):
            return commit.id
        with locked(store, settle_lock(commit.dot), stack.listener):
            return store.settled(commit.dot, commit.id) or _settle(stack, store, commit, options, run)
    finally:
        access.store.close()


def _settle(stack: Stack, store: Store, commit: Commit, options: SettleOptions, run: str) -> CommitId:
    why = "so that tests start from files that need no repair"
    how = "in a clone, its datastores start, recover and shut down; this is done once per commit"
    stack.listener(Event("settle", f"commit {commit.id.short} is prepared {why}: {how}"))
    clone = Clone(stack, clone_name(stack.facts.project.name, run, WORKER), run)
    try:
        with running_clone(clone, commit.id) as running:
            words = ["--no-deps", *services_with_engines(stack)]
            running.up(words, (), any_version=options.any_version, timeout_s=options.ready_timeout_s)
            killed = running.stop(STOP_TIMEOUT_S)
            with running.opened.live() as live:
                form = clone.keep(live, commit.message).id if not killed else commit.id
                store.set_settled(commit.dot, commit.id, form)  # under the clone's lock: no collection takes the form before
        if killed:
            why = f"{', '.join(killed)} did not shut down within {STOP_TIMEOUT_S} s"
            stack.listener(Event("warning", f"commit {commit.id.short} is used as it is, from now on: {why}"))
    except VersionMismatchError:
        raise
    except DmError as error:
        stack.listener(Event("warning", f"commit {commit.id.short} cannot be settled, so it is used as it is: {error.message}"))
        return commit.id
    return form
