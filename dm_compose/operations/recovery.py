"""Finish the work that a killed command left unfinished. Each entry of the journal ends in the old or in the new state.

| operation | what may have happened                      | recovery                                                    |
|-----------|---------------------------------------------|-------------------------------------------------------------|
| commit    | containers paused or stopped, objects made  | thaw, start again, forget the objects: the old state        |
| restore   | containers down, files partly rewritten     | take down, restore every subdot, start, move: the new state |
| switch    | containers down, on one tree or the other   | take down, follow the new tree, start: the new state        |
| session   | tests have written anything                 | remove what it brought up, restore the state that it found  |

The owner of a session is dead if nobody holds the session's lock. The owner of any other operation is dead if nobody holds the
dot's lock. A restore or session of another worktree is left for a command that works there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from dm_compose.core.commit import COMMIT, SESSION, SWITCH, JournalEntry
from dm_compose.core.events import Event
from dm_compose.core.labels import PROJECT_LABEL, SESSION_LABEL
from dm_compose.core.names import session_lock
from dm_compose.core.variables import Variables
from dm_compose.engine import abandoned
from dm_compose.errors import DmError, InUseError, NotFoundError
from dm_compose.live.locks import who_am_i
from dm_compose.live.worktree import LiveWorktree
from dm_compose.operations.restore import finish_restore
from dm_compose.operations.trees import finish_switch


def recover_if_left(live: LiveWorktree, observe: Callable[[], LiveWorktree], variables: Variables) -> LiveWorktree:
    """Recover if a command left work unfinished and is dead. Return the stack as it is then. For callers that hold no lock."""
    if not _mine(live):
        return live
    try:
        token = live.store.lock(live.dot, who_am_i(), 0)
    except InUseError:
        return live  # its owner lives and is at work
    try:
        return recover(live, observe, variables)
    finally:
        live.store.unlock(token)


def recover(
    live: LiveWorktree, observe: Callable[[], LiveWorktree], variables: Variables, *, new_session: bool = False
) -> LiveWorktree:
    """Finish everything that dead commands left unfinished, and return the stack as it is then.

    `observe` looks at the stack anew, after each change. The caller holds the dot's lock, so the owners are dead. The caller of a
    `new_session` holds the session's lock as well, and has journalled nothing yet. Idempotent. If it is killed, the next command
    goes on with it.
    """
    entries = _mine(live)
    ended = None if new_session or not any(e.operation == SESSION for e in entries) else _dead_session(live)
    if not new_session and ended is None:
        entries = [e for e in entries if e.operation != SESSION]
    try:
        if any(e.operation == SESSION for e in entries):
            _take_down(live)
        for entry in entries:
            live.listener(Event("recover", f"an earlier {entry.operation} was interrupted; cleaning up after it"))
            for container_id in entry.paused:
                _tolerate(live, container_id, "unpause")
            if entry.operation == COMMIT:
                for container_id in entry.stopped:
                    _tolerate(live, container_id, "start")
                live.store.abandon(entry.id)
        live = observe() if entries else live
        for entry in sorted(entries, key=lambda e: e.operation == SESSION):
            if entry.operation == SWITCH:
                finish_switch(live, entry, timeout_s=variables.timeout_s)
            elif entry.operation != COMMIT:
                finish_restore(live, entry, timeout_s=variables.timeout_s)
            live = live if entry.operation == COMMIT else observe()
    finally:
        if ended is not None:
            live.store.unlock(ended)
    return live


def _mine(live: LiveWorktree) -> list[JournalEntry]:
    return [
        entry
        for entry in live.store.unfinished(live.dot)
        if entry.operation in (COMMIT, SWITCH) or entry.worktree == live.worktree
    ]


def _dead_session(live: LiveWorktree) -> str | None:
    """Return a token for the session's lock, None if a test run holds it."""
    try:
        return live.store.lock(session_lock(live.dot), who_am_i(), 0)
    except InUseError:
        return None


def _take_down(live: LiveWorktree) -> None:
    """Remove the containers that a dead test run has brought up. If nothing else of the stack is up, remove its networks too."""
    engine, project = live.engine, live.project
    if engine is None or project is None:
        return
    brought_up = [r for r in engine.labelled(f"{SESSION_LABEL}={project}", volumes=False) if abandoned(r.labels)]
    for container in brought_up:
        engine.remove(container)
    if brought_up and not [c for c in engine.containers(project) if c.project == project]:
        for resource in engine.labelled(f"{PROJECT_LABEL}={project}", volumes=False):
            with contextlib.suppress(DmError):  # somebody else uses the network
                engine.remove(resource)


def _tolerate(live: LiveWorktree, container_id: str, verb: str) -> None:
    """Unpause or start a container. If it is gone, do nothing; if that fails, warn and go on with the others."""
    if live.engine is None:
        return
    try:
        if verb == "unpause":
            live.engine.unpause(container_id)
        else:
            live.engine.start(container_id)
    except NotFoundError:
        return
    except DmError as error:
        live.listener(Event("warning", error.message))
