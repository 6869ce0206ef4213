"""Keeping what `undo` keeps within its budget, beside the operations that make reflog entries."""

from __future__ import annotations

import contextlib

from dm_compose.core.events import Event, Listener
from dm_compose.core.units import counted, size
from dm_compose.errors import DmError, InUseError
from dm_compose.live.locks import in_order, locked
from dm_compose.store.api import Store


def keep_to_budget(store: Store, listener: Listener) -> None:
    """Have the store forget the oldest reflog entries, and free what they alone kept, if it is over the budget of `undo`.

    The listener is told how much that was. This waits for nobody: while another process works in the store, nothing happens, and
    the next command does it. The caller holds no dot's lock, and has done its own work: a failure here is a warning.
    """
    try:
        if not store.is_undo_over_budget():
            return
        with contextlib.ExitStack() as locks:
            for dot in in_order(store.dots(), store.clones()):
                locks.enter_context(locked(store, dot, listener, timeout_s=0))
            freed = store.collect(None)
    except InUseError:
        return
    except DmError as error:
        listener(Event("warning", f"what undo keeps may be over its budget: {error.message}"))
        return
    if freed.entries or freed.size_bytes:
        entries = counted(freed.entries, "reflog entry was", "reflog entries were")
        listener(Event("undo", f"{entries} forgotten and {size(freed.size_bytes)} freed, to keep to the budget (`dm config`)"))
