"""Calls in threads: the same work for several things at the same time, and work that may hang.

The threads are daemons. A call that never returns, because a server or a file system does not answer, so does not keep the
process from ending; the pools of concurrent.futures would.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def begun(work: Callable[[], R]) -> Future[R]:
    """Call `work` in a thread of its own and return its future at once."""
    call: Future[R] = Future()
    threading.Thread(target=_settle, args=(call, work), name="call", daemon=True).start()
    return call


def in_time(work: Callable[[], R], timeout_s: float | None) -> R:
    """Call `work` in a thread of its own and return its result.

    TimeoutError after `timeout_s`. The call is then left to itself, and so it is when a signal's exception (^C) is raised here,
    which is at once.
    """
    return begun(work).result(timeout_s)


def at_once(work: Callable[[T], R], items: Sequence[T], *, most: int | None = None) -> list[R]:
    """Call `work` with every item, each in a thread of its own (at `most` so many), and return the results in order.

    All calls have ended when this returns. The first error, in the order of the items, is raised then. When a signal's exception
    (^C) is raised here, no further call begins, and those under way are waited for; a second one ends the wait.
    """
    calls: list[Future[R]] = [Future() for _ in items]
    waiting = deque(zip(calls, items, strict=True))

    def run() -> None:
        while waiting:
            try:
                call, item = waiting.popleft()
            except IndexError:  # another thread was quicker
                return
            _settle(call, lambda item=item: work(item))  # type: ignore[misc]

    threads = [threading.Thread(target=run, name="at-once", daemon=True) for _ in range(min(most or len(items), len(items)))]
    try:
        for thread in threads:
            thread.start()
        wait(calls)
    except BaseException:
        waiting.clear()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        raise
    return [call.result() for call in calls]


def _settle(call: Future[R], work: Callable[[], R]) -> None:
    try:
        call.set_result(work())
    except BaseException as error:  # whatever it is, the one who waits has to know
        call.set_exception(error)
