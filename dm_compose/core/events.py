"""Progress of long work, as data. Only the command line draws it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """One step of progress. `what` is a verb such as "copy", "pause", "restore" or "ready", and `text` says of what.

    `done` of `total` units are done. `unit` is "bytes", "s" (seconds) or "" (pieces). A `total` of 0 means that it is not known.
    """

    what: str
    text: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""


Listener = Callable[[Event], None]


def ignore(_: Event) -> None:
    """Take an event and do nothing with it."""
