"""Settled commits: the same state as its engines leave it when they are shut down.

A commit of a running stack is what a crash would leave, so each start from it replays logs. Tests start from one commit many
times: it is settled once, in a clone of the stack that is started, left to recover and stopped. Its engines run as the compose
file has them, with full durability too, whatever the tests' own are told.
"""

from __future__ import annotations

from dataclasses import dataclass

from dm_compose.clones.clone import Clone, clone_name
from dm_compose.clones.running import running_clone
from dm_compose.core.commit import Commit
from dm_compose.core.events import Event
from dm_compose.core.names import CommitId, DotName
from dm_compose.dots.stack import Stack
from dm_compose.engine import STOP_TIMEOUT_S
from dm_compose.errors import DmError, VersionMismatchError
from dm_compose.live.access import open_access
from dm_compose.live.locks import locked
from dm_compose.live.ready import DEFAULT_TIMEOUT_S
from dm_compose.store.api import Store

WORKER = "settle"


@dataclass(frozen=True)
class SettleOptions:
    """Which commit is settled, and how long its engines may take to answer. `any_version`: see restore."""

    commit: str = "HEAD"
    any_version: bool = False
    ready_timeout_s: float = DEFAULT_TIMEOUT_S


def settled(stack: Stack, options: SettleOptions, run: str) -> CommitId:
    """Return the settled form of a commit. It is made now when there is none, which event `settle` tells.

    Where its engines cannot be settled, warn and return the commit itself. A commit whose engine does not shut down in time is
    its own settled form, so that nobody waits for that again. NotFoundError, VersionMismatchError. Of several processes one
    makes it and the others wait.
    """
    access = open_access(stack.facts.engine, [], stack.listener)
    try:
        store = access.store
        commit = stack.find(store, options.commit)
        if (form := store.settled(commit.dot, commit.id)) is not None:
            return form
        if not _engines(stack):
            return commit.id
        with locked(store, _lock(commit.dot), stack.listener):
            return store.settled(commit.dot, commit.id) or _settle(stack, store, commit, options, run)
    finally:
        access.store.close()


def _lock(dot: DotName) -> str:
    return f"{dot}.settle"


def _engines(stack: Stack) -> list[str]:
    """Return the services whose engines have files."""
    return sorted({subdot.services[0] for subdot in stack.facts.plan.subdots if subdot.engine is not None})


def _settle(stack: Stack, store: Store, commit: Commit, options: SettleOptions, run: str) -> CommitId:
    stack.listener(Event("settle", f"commit {commit.id.short}: its engines are started and shut down once, in a clone"))
    clone = Clone(stack, clone_name(stack.facts.project.name, run, WORKER), run)
    try:
        with running_clone(clone, commit.id) as running:
            words = ["--no-deps", *_engines(stack)]
            running.up(words, (), any_version=options.any_version, timeout_s=options.ready_timeout_s)
            killed = running.stop(STOP_TIMEOUT_S)
            with running.opened.live() as live:
                form = clone.keep(live, commit.message).id if not killed else commit.id
            store.set_settled(commit.dot, commit.id, form)
        if killed:
            why = f"{', '.join(killed)} did not shut down within {STOP_TIMEOUT_S} s"
            stack.listener(Event("warning", f"commit {commit.id.short} is used as it is, from now on: {why}"))
    except VersionMismatchError:
        raise
    except DmError as error:
        stack.listener(Event("warning", f"commit {commit.id.short} cannot be settled, so it is used as it is: {error.message}"))
        return commit.id
    return form
