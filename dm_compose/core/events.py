"""Progress of long work, as data. Only the command line draws it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """One step of progress. `what` is a verb such as "copy", "pause", "restore" or "await", and `text` says more.

    An event with a `subject` (a container or a subdot, for people) says that a step of work on it begins. The event at the
    step's end has the same `what` and `subject`, and `took_s`. A step that fails has no such event. A step may begin and end
    several times, and listeners are called from several threads.

    An event with a `unit` counts: `done` of `total` units are done. `unit` is "bytes", "s" (seconds) or "" (nothing is
    counted). A `total` of 0 means that it is not known.
    """

    what: str
    text: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    subject: str = ""
    took_s: float | None = None


Listener = Callable[[Event], None]


def ignore(_: Event) -> None:
    """Take an event and do nothing with it."""


@contextlib.contextmanager
def told(listener: Listener, what: str, subject: str) -> Iterator[None]:
    """Tell a listener that a step begins, and, unless the block raises, that it has ended and how long it took."""
    began = time.monotonic()
    listener(Event(what, subject=subject))
    yield
    listener(Event(what, subject=subject, took_s=time.monotonic() - began))
