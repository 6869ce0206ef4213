"""Settled commits: the same state as its engines leave it when they are shut down.

A commit of a running stack is what a crash would leave, so each start from it replays logs. Tests start from one commit many
times: it is settled once, in a clone of the stack that is started, left to recover and stopped. Its engines run as the compose
file has them, with full durability too, whatever the tests' own are told.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from dm_compose.clones.clone import Clone, clone_name
from dm_compose.core.commit import Commit
from dm_compose.core.events import Event
from dm_compose.core.names import CommitId, DotName
from dm_compose.dots.stack import Stack
from dm_compose.errors import DmError, VersionMismatchError
from dm_compose.live.access import locked, open_access
from dm_compose.sessions.leases import CloneSession
from dm_compose.sessions.session import SessionOptions
from dm_compose.store.api import Store

STOP_TIMEOUT_S = 60
KILLED = 137  # the exit code of a container that did not end in that time
WORKER = "settle"


def settled(stack: Stack, options: SessionOptions, run: str) -> CommitId:
    """Return the settled form of the commit that `options` name, made now when there is none; told as event `settle`.

    The commit itself is returned, and why is told, where its engines could not be settled; one whose engine does not shut down
    in time is its own settled form, so that nobody waits for that again. NotFoundError, VersionMismatchError. Of several
    processes one makes it and the others wait.
    """
    access = open_access(stack.engine, [], stack.listener)
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
    return sorted({subdot.services[0] for subdot in stack.plan.subdots if subdot.engine is not None})


def _settle(stack: Stack, store: Store, commit: Commit, options: SessionOptions, run: str) -> CommitId:
    stack.listener(Event("settle", f"commit {commit.id.short}: its engines are started and shut down once, in a clone"))
    clone = Clone(stack, clone_name(stack.project.name, run, WORKER), run)
    try:
        with _Settling(clone, replace(options, commit=commit.id)) as session:
            killed = session.shut_down()
            form = session.keep(commit.message).id if not killed else commit.id
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


class _Settling(CloneSession):
    """A clone with nothing but its engines up."""

    @contextlib.contextmanager
    def _brought_up(self) -> Iterator[None]:
        self._compose(["up", "-d", "--no-deps", *_engines(self.stack)], creates=True)
        self.wait_until_ready()
        self._check_versions()
        yield

    def shut_down(self) -> list[str]:
        """Stop the engines as `docker stop` does; return the services that had to be killed."""
        self._compose(["stop", "--timeout", str(STOP_TIMEOUT_S)], creates=False)
        return [container.label for container in self.stack.containers() if container.exit_code == KILLED]
