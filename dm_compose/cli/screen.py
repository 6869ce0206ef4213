"""A block of lines at the end of a terminal's output, which is drawn again as it changes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TextIO, cast

import click

from dm_compose.cli.width import cut, width_of, wrap

UNKNOWN_SIZE = os.terminal_size((80, 24))


@dataclass(frozen=True)
class Piece:
    """A piece of a line with its style. Its text has no control characters."""

    text: str
    fg: str | None = None
    dim: bool = False


Line = Sequence[Piece]


def columns_of(stream: TextIO) -> int | None:
    """Return the columns of a stream that is a terminal, None for any other. COLUMNS may tell another number."""
    if not stream.isatty():
        return None
    told = os.environ.get("COLUMNS", "")
    return int(told) if told.isdecimal() and int(told) else size_of(stream).columns


def size_of(stream: TextIO) -> os.terminal_size:
    """Return the size of a terminal."""
    with contextlib.suppress(OSError, ValueError):
        size = os.get_terminal_size(stream.fileno())
        return size if size.columns and size.lines else UNKNOWN_SIZE
    return UNKNOWN_SIZE


def fitted(text: str, stream: TextIO) -> str:
    """Return text with its lines broken between words where the stream is a terminal, and else as it is."""
    columns = columns_of(stream)
    return text if columns is None else "\n".join(part for line in text.split("\n") for part in wrap(line, columns))


def colour() -> bool | None:
    """Return False if NO_COLOR asks for plain text (https://no-color.org), and None to let the terminal decide."""
    return False if os.environ.get("NO_COLOR") else None


def can_redraw(stream: TextIO) -> bool:
    """Whether a stream is a terminal on which a block can be drawn again, with marks that are no ASCII."""
    encoding = (stream.encoding or "").lower().replace("-", "")
    return stream.isatty() and os.environ.get("TERM") != "dumb" and encoding == "utf8"


class Screen:
    """The block on a terminal. The cursor stands at the beginning of the line after it.

    A line never wraps, because it is cut to the terminal's present width, and a block never scrolls, because it has no more lines
    than fit. From the first block on, `end` is called before anything is printed or flushed by `sys.stdout` and `sys.stderr`.
    If there is a block, it has to call `leave`. Not thread-safe.
    """

    def __init__(self, stream: TextIO, end: Callable[[], None]) -> None:
        self._stream = stream
        self._end = end
        self._height = 0
        self._guards = False

    def draw(self, lines: Callable[[int], Sequence[Line]]) -> None:
        """Draw the block in place of the one before. `lines` is called with the number of lines that fit."""
        size = size_of(self._stream)
        room = max(1, size.lines - 1)
        self._write(min(self._height, room), lines(room)[:room], size.columns)

    def leave(self, lines: Sequence[Line]) -> None:
        """Draw the block for the last time. It may have any number of lines now."""
        if self._height or lines:
            size = size_of(self._stream)
            self._write(min(self._height, max(1, size.lines - 1)), lines, size.columns)
        self._height = 0

    def print_above(self, text: str, lines: Callable[[int], Sequence[Line]]) -> None:
        """Print a line where the block begins, and draw the block after it."""
        if self._height:
            self._write(self._height, [], 0)
        click.echo(text, file=self._stream, color=colour())
        self.draw(lines)

    def _write(self, up: int, lines: Sequence[Line], columns: int) -> None:
        """Go up, write the lines over the old ones, and erase the rest. All at once, so that nothing flickers."""
        begin = f"\r\x1b[{up}A" if up else "\r"
        text = "".join(f"{_drawn(line, columns - 1)}\x1b[K\n" for line in lines)
        with contextlib.suppress(OSError):  # the terminal is gone
            self._stream.write(f"{begin}{text}\x1b[J")
            self._stream.flush()
        self._height = len(lines)
        if not self._guards:  # they stay, because `print` of Python 3.11 crashes if its stream is gone when it has written
            self._guards = True
            sys.stdout, sys.stderr = (cast(TextIO, _Guard(stream, self._end)) for stream in (sys.stdout, sys.stderr))


class _Guard:
    """Stands in for a stream: the first thing that is printed to it has `end` called before."""

    def __init__(self, stream: TextIO, end: Callable[[], None]) -> None:
        self._stream = stream
        self._end = end

    def write(self, text: str) -> int:
        if text:  # click writes nothing to find out which kind of stream it has
            self._end()
        return self._stream.write(text)

    def flush(self) -> None:
        self._end()
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _drawn(line: Line, columns: int) -> str:
    drawn, left = "", columns
    for piece in line:
        text = cut(piece.text, left)
        left -= width_of(text)
        plain = colour() is False or not (piece.fg or piece.dim)
        drawn += text if plain or not text else click.style(text, fg=piece.fg, dim=piece.dim or None)
        if text != piece.text:
            break
    return drawn
