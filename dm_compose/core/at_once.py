"""Calls in threads: the same work for several things at the same time, and work that may hang.

The threads are daemons. A call that never returns, because a server or a file system does not answer, so does not keep the
process from ending; the pools of concurrent.futures would.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, Future, wait
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
NOTICE_S = 0.3


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
    call = begun(work)
    await_calls([call], timeout_s)
    return call.result(0)


def await_calls(calls: Collection[Future[Any]], timeout_s: float | None = None, until: str = ALL_COMPLETED) -> None:
    """Return when calls have ended, or after `timeout_s`. A signal's exception is raised within NOTICE_S.

    `until` is one of concurrent.futures' constants: all have ended, one has (FIRST_COMPLETED), or one has failed
    (FIRST_EXCEPTION).

    A plain wait of Python misses a signal that comes just before it begins, and then lasts to its end.
    """
    end = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        left = NOTICE_S if end is None else min(NOTICE_S, max(0.0, end - time.monotonic()))
        done, waiting = wait(calls, left, until)
        enough = any(until == FIRST_COMPLETED or (until == FIRST_EXCEPTION and call.exception()) for call in done)
        if not waiting or enough or (end is not None and time.monotonic() >= end):
            return


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
        await_calls(calls)
    except BaseException:
        waiting.clear()
        for thread in threads:
            if thread.ident is not None:
                while thread.is_alive():
                    thread.join(NOTICE_S)
        raise
    return [call.result() for call in calls]


def _settle(call: Future[R], work: Callable[[], R]) -> None:
    try:
        call.set_result(work())
    except BaseException as error:  # whatever it is, the one who waits has to know
        call.set_exception(error)
