"""Signals that end a test run. SIGTERM and SIGHUP do it as ^C does. A further ^C leaves the giving back to the next command."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from dm_compose.process import let_go_of_terminal
from dm_compose.sessions.leases import GivenUp

AGAIN = "press ^C again to leave that to the next command"


@dataclass(eq=False)
class Ending:
    """How far the end of a run has come. `tell` is called when a ^C has stacks that are coming up given back instead.

    `interrupted` says that the run has been interrupted, and `given_up` that people do not wait for stacks to be given back.
    """

    tell: Callable[[], object] = field(default=lambda: None)
    interrupted: bool = False
    given_up: bool = False
    _coming_up: bool = False
    _giving_back: bool = False
    _requested: bool = False

    @contextlib.contextmanager
    def by_signals(self) -> Iterator[None]:
        """Hear signals in the block.

        The first ^C, SIGTERM or SIGHUP raises KeyboardInterrupt. While stacks are given back, a ^C raises GivenUp, once, and
        every further signal is ignored; after a GivenUp a ^C is ignored until the process ends, because little is left to do.

        A signal that has a handler already, or is ignored (`nohup`), is left alone. In any thread but the main one nothing is
        done, because Python lets only that one set handlers.
        """
        before: dict[int, Any] = {
            signal.SIGINT: signal.default_int_handler,
            signal.SIGTERM: signal.SIG_DFL,
            signal.SIGHUP: signal.SIG_DFL,
        }
        main = threading.current_thread() is threading.main_thread()
        ours = [number for number, handler in before.items() if main and signal.getsignal(number) == handler]
        for number in ours:
            signal.signal(number, self._hear)
        try:
            yield
        finally:
            for number in ours:
                signal.signal(number, signal.SIG_IGN if number == signal.SIGINT and self.given_up else before[number])

    @contextlib.contextmanager
    def coming_up(self) -> Iterator[None]:
        """Say that a stack comes up in the block. An interrupt has it given back at once."""
        self._coming_up = True
        try:
            yield
        finally:
            self._coming_up = self._giving_back = False

    @contextlib.contextmanager
    def giving_back(self) -> Iterator[None]:
        """Say that a stack is given back in the block."""
        self._giving_back = True
        try:
            yield
        finally:
            self._giving_back = False

    def pytest_keyboard_interrupt(self) -> None:
        """Note that the run is interrupted. A test may have caught an earlier KeyboardInterrupt, but not this one."""
        self.interrupted = True

    def _hear(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP:
            let_go_of_terminal()
        if self.given_up:
            return
        if number != signal.SIGINT:
            if self._requested or self._giving_back:
                return
            self._requested = True
        if self._giving_back:
            self.given_up = True
            raise GivenUp
        if self._coming_up:
            self._giving_back = True
            self.tell()
        raise KeyboardInterrupt(signal.Signals(number).name)
