"""A real terminal of this process: a pty, and an interpreter of what is written to it."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import pty
import queue
import struct
import termios
import threading
from collections.abc import Callable, Iterator

import pyte

PATIENCE_S = 30.0
_SEEN = "\0"  # which a terminal ignores


class Terminal:
    """A terminal of some columns and lines. `stream` writes to it; `lines` and `scrolled` are what a person would see."""

    def __init__(self, columns: int = 80, lines: int = 24, encoding: str = "utf-8") -> None:
        self._ours, theirs = pty.openpty()
        self.stream = os.fdopen(theirs, "w", encoding=encoding, errors="backslashreplace")
        self.written = ""
        self._screen = pyte.HistoryScreen(columns, lines, history=10_000)
        self._interpreter = pyte.Stream(self._screen)
        self._waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._take, daemon=True).start()  # a terminal's buffer is small
        self.resize(columns, lines)

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size, as its window's owner does."""
        self._read()
        fcntl.ioctl(self.stream.fileno(), termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._screen.resize(lines, columns)

    @property
    def lines(self) -> list[str]:
        """The lines that the terminal shows now, down to the last one that is not empty."""
        self._read()
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip().splitlines()

    @property
    def scrolled(self) -> list[str]:
        """The lines that have left the terminal at its top."""
        self._read()
        columns = range(self._screen.columns)
        return ["".join(line[column].data for column in columns).rstrip() for line in self._screen.history.top]

    def close(self) -> None:
        self.stream.close()

    def _take(self) -> None:
        with contextlib.suppress(OSError):  # EIO: it was closed
            while data := os.read(self._ours, 65_536):
                self._waiting.put(data)
        os.close(self._ours)

    def _read(self) -> None:
        """Take in all that was written until now."""
        self.stream.write(_SEEN)
        self.stream.flush()
        text = b""
        while _SEEN.encode() not in text:  # a thread may have drawn after it
            text += self._waiting.get(timeout=PATIENCE_S)
        found = text.decode().replace(_SEEN, "")
        self.written += found
        self._interpreter.feed(found)


@contextlib.contextmanager
def standing_at(terminal: Terminal) -> Iterator[Terminal]:
    """Have this process's output go to a terminal in the block."""
    with contextlib.redirect_stdout(terminal.stream), contextlib.redirect_stderr(terminal.stream):
        yield terminal


def on_terminal(test: Callable[..., None]) -> Callable[..., None]:
    """Have the output of a test's body go to its `terminal`. A fixture cannot do that: pytest takes the streams back after it."""

    @functools.wraps(test)
    def call(*, terminal: Terminal, **others: object) -> None:
        with standing_at(terminal):
            test(terminal=terminal, **others)

    return call
