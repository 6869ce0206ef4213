"""The store's locks as operations take them, and the name by which those who wait know this process.

A process that waits for a lock may hold only locks that come before it in this order, so that nobody waits in a circle:

1. `DOT.session`: a test run's, for as long as it has the stack. A run that has several stacks takes them as its tests want
   them, and each wait has an end (`lock_timeout_s`).
2. `DOT.settle`: that of making a settled form.
3. `DOT` of an original, for one operation. Several of these are taken in the order of their names.
4. `DOT` of a clone.
5. The lock of the whole store (store/local/locks.py), which is taken within one call of it.

`locked` refuses any other order. With a `timeout_s` of 0 it does not wait, and neither does `Store.holder`, so they may be used
at any time.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import sys
import threading
from collections.abc import Collection, Iterator
from pathlib import Path

from dm_compose.core.events import Event, Listener
from dm_compose.core.names import DotName
from dm_compose.errors import InUseError
from dm_compose.store.api import Store

LOCK_TIMEOUT_S = 600.0
_SESSION, _SETTLE, _DOT = range(3)
_KINDS = {"session": _SESSION, "settle": _SETTLE, "": _DOT}  # of DOT.session, DOT.settle and DOT


class _Held(threading.local):
    """The names of the locks that this thread has taken by `locked`, in order."""

    def __init__(self) -> None:
        self.names: list[str] = []


_held = _Held()


def in_order(names: Collection[DotName], clones: Collection[DotName]) -> list[DotName]:
    """Return the names of dots in the order in which their locks are taken."""
    return sorted(names, key=lambda name: _place(name, clones))


def _place(name: str, clones: Collection[str]) -> tuple[int, bool, str]:
    dot, _, kind = name.partition(".")
    return _KINDS[kind], dot in clones, dot


def _in_words(name: str) -> str:
    """Return what a lock is about, for messages."""
    dot, _, kind = name.partition(".")
    return f"a clone of {dot} that is being settled" if kind == "settle" else f"dot {dot}"


def _check_order(store: Store, name: str, held: list[str]) -> None:
    """Raise RuntimeError, which is a bug of ours, if this thread holds a lock that has to be taken after this one."""
    if held:
        clones = store.clones()
        ordered = [other for other in held if _place(other, clones)[0] != _SESSION or _place(name, clones)[0] != _SESSION]
        if before := [other for other in ordered if _place(other, clones) >= _place(name, clones)]:
            raise RuntimeError(f"lock {name} must be taken before lock {before[0]}, which this thread holds already")


def who_am_i() -> str:
    """Return a description of this process for others that wait for its lock."""
    program = Path(sys.argv[0]).name
    if program in ("", "-c"):  # execnet starts the workers of pytest-xdist so
        program = "pytest" if "pytest" in sys.modules else "python"
    return f"{program} (process {os.getpid()} of {user_name()} on {socket.gethostname()})"


def user_name() -> str:
    """Return the user's name for authors and messages."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


@contextlib.contextmanager
def locked(store: Store, name: str, listener: Listener, *, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
    """Hold a lock of the store. If it has to wait, the listener is told for whom. InUseError after `timeout_s`.

    RuntimeError if this thread holds a lock that has to be taken later, unless `timeout_s` is 0.
    """
    who, held = who_am_i(), _held.names
    if timeout_s > 0:
        _check_order(store, name, held)
    try:
        token = store.lock(name, who, 0)
    except InUseError as busy:
        busy.message = _in_words(name) + busy.message.removeprefix(name)
        if timeout_s <= 0:
            raise
        listener(Event("wait", f"{busy.message}; waiting up to {timeout_s:.0f} s"))
        token = store.lock(name, who, timeout_s)
    held.append(name)
    try:
        yield
    finally:
        held.remove(name)
        store.unlock(token)
