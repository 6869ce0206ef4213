"""The store's locks as operations take them, and the name by which those who wait know this process.

A process that waits for a lock may hold only locks that come before it in this order, so that nobody waits in a circle:

1. `DOT.session`: a test run's, for as long as it has the stack.
2. `DOT.settle`: that of making a settled form.
3. `DOT` of an original, for one operation. Several of these are taken in the order of their names.
4. `DOT` of a clone.

`locked` with a `timeout_s` of 0 and `Store.holder` do not wait, so they may be used at any time.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from dm_compose.core.events import Event, Listener
from dm_compose.errors import InUseError
from dm_compose.store.api import Store

LOCK_TIMEOUT_S = 600.0


def who_am_i() -> str:
    """Return a description of this process for others that wait for its lock."""
    return f"{Path(sys.argv[0]).name or 'python'} (process {os.getpid()} of {user_name()} on {socket.gethostname()})"


def user_name() -> str:
    """Return the user's name for authors and messages."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


@contextlib.contextmanager
def locked(store: Store, name: str, listener: Listener, *, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
    """Hold a lock of the store. If it has to wait, the listener is told for whom. InUseError after `timeout_s`."""
    who = who_am_i()
    try:
        token = store.lock(name, who, 0)
    except InUseError as busy:
        if timeout_s <= 0:
            raise
        listener(Event("wait", f"{busy.message}; waiting up to {timeout_s:.0f} s"))
        token = store.lock(name, who, timeout_s)
    try:
        yield
    finally:
        store.unlock(token)
