"""SIGTERM and SIGHUP end a test run as ^C does, so that stacks are given back."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from dm_compose.process import let_go_of_terminal


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Have SIGTERM and SIGHUP raise KeyboardInterrupt in the block, once: further ones are ignored while stacks are given back.

    A signal that has a handler already, or is ignored (`nohup`), is left alone. In any thread but the main one nothing is done,
    because Python lets only that one set handlers.
    """
    told = False

    def end(number: int, _: FrameType | None) -> None:
        nonlocal told
        if number == signal.SIGHUP:
            let_go_of_terminal()
        if not told:
            told = True
            raise KeyboardInterrupt(signal.Signals(number).name)

    main = threading.current_thread() is threading.main_thread()
    ours = [n for n in (signal.SIGTERM, signal.SIGHUP) if main and signal.getsignal(n) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
