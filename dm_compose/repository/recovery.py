"""Finishing what a killed command left: every case of the journal, forward or back, never in between.

| operation | what may have happened                      | recovery                                                        |
|-----------|---------------------------------------------|-----------------------------------------------------------------|
| commit    | containers paused or stopped, objects made  | thaw, start again, forget the objects: the old state            |
| restore   | containers down, files partly rewritten     | take down, restore every subdot, start, move: the new state     |
"""

from __future__ import annotations

from dm_compose.core.commit import JournalEntry
from dm_compose.core.events import Event
from dm_compose.errors import DmError, InUseError, NotFoundError
from dm_compose.repository.access import who_am_i
from dm_compose.repository.checkout import Checkout
from dm_compose.repository.ready import DEFAULT_TIMEOUT_S
from dm_compose.repository.restoring import finish_restore


def recover_if_left(checkout: Checkout) -> bool:
    """Recover when somebody left work unfinished and is dead; for commands that hold no lock. Returns whether anything was done."""
    if not checkout.store.unfinished(checkout.dot):
        return False
    try:
        token = checkout.store.lock(checkout.dot, who_am_i(), 0)
    except InUseError:
        return False  # its owner lives and is at work
    try:
        return recover(checkout)
    finally:
        checkout.store.unlock(token)


def recover(checkout: Checkout) -> bool:
    """Recover everything unfinished. The caller holds the dot's lock, so the owners are dead. Idempotent, may be killed too."""
    entries = checkout.store.unfinished(checkout.dot)
    for entry in entries:
        checkout.listener(Event("recover", f"an earlier {entry.operation} was interrupted"))
        if entry.operation == "commit":
            _undo_commit(checkout, entry)
        else:
            for container_id in entry.paused:
                _tolerate(checkout, container_id, "unpause")
            finish_restore(checkout, entry, timeout_s=DEFAULT_TIMEOUT_S)
    return bool(entries)


def _undo_commit(checkout: Checkout, entry: JournalEntry) -> None:
    for container_id in entry.paused:
        _tolerate(checkout, container_id, "unpause")
    for container_id in entry.stopped:
        _tolerate(checkout, container_id, "start")
    checkout.store.abandon(entry.id)


def _tolerate(checkout: Checkout, container_id: str, verb: str) -> None:
    """Do it for a container that may be gone by now; a container that cannot be helped is told, so that the others are not left."""
    if checkout.engine is None:
        return
    try:
        if verb == "unpause":
            checkout.engine.unpause(container_id)
        else:
            checkout.engine.start(container_id)
    except NotFoundError:
        return
    except DmError as error:
        checkout.listener(Event("warning", error.message))
