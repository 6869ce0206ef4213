"""What happens during long work, as data. The engine of dm-compose emits events; only the CLI draws them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """One thing that happened. `what` is a verb of the product ("copy", "pause", "restore", "ready", ...).

    `done` and `total` count `unit` ("bytes" or "") where progress can be told; `total` 0 means unknown.
    """

    what: str
    text: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""


Listener = Callable[[Event], None]


def ignore(_: Event) -> None:
    """Listen to nothing."""
