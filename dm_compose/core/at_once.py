"""The same work for several things at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def at_once(work: Callable[[T], R], items: Sequence[T], *, most: int | None = None) -> list[R]:
    """Call `work` with every item, each in a thread of its own (at `most` so many), and return the results in order.

    All calls have ended when this returns. The first error, in the order of the items, is raised then.
    """
    if not items:
        return []
    with ThreadPoolExecutor(most or len(items)) as pool:
        jobs = [pool.submit(work, item) for item in items]
    return [job.result() for job in jobs]
