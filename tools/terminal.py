"""A terminal of our own: a program runs in a pseudo terminal, and every change of the screen is kept with its time."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

TAB = 8
SEQUENCE = re.compile(r"\x1b\[(?P<parameters>[0-9;?]*)(?P<letter>[A-Za-z])")
FRAME_S = 0.06  # changes that follow each other more quickly are one frame


@dataclass(frozen=True)
class Style:
    """The look of a character. `colour` is the number of one of the terminal's 16 colours; None is the terminal's own."""

    colour: int | None = None
    bold: bool = False
    dim: bool = False

    def changed(self, code: int) -> Style:
        """Return the style after one parameter of the sequence that selects it; ValueError for an unknown one."""
        if code == 0:
            return Style()
        if code in (1, 2):
            return replace(self, bold=self.bold or code == 1, dim=self.dim or code == 2)
        if code == 22:
            return replace(self, bold=False, dim=False)
        if 30 <= code <= 37:
            return replace(self, colour=code - 30)
        if 90 <= code <= 97:
            return replace(self, colour=code - 90 + 8)
        if code == 39:
            return replace(self, colour=None)
        raise ValueError(f"unknown colour or style {code}")


Cell = tuple[str, Style]
Row = tuple[Cell, ...]
BLANK: Cell = (" ", Style())


@dataclass(frozen=True)
class Frame:
    """The screen from a time on, in seconds since the start; rows without the blanks at their ends."""

    at_s: float
    rows: tuple[Row, ...]
    cursor: tuple[int, int]


class Screen:
    """The cells of a terminal. It knows only the sequences that our programs use; ValueError for any other one."""

    def __init__(self, columns: int, lines: int) -> None:
        self.columns, self.lines = columns, lines
        self.row = self.column = 0
        self._cells: list[list[Cell]] = [[] for _ in range(lines)]
        self._style = Style()
        self._unread = ""

    def feed(self, text: str) -> None:
        """Show what a program has written. A sequence may come in pieces."""
        text, self._unread = self._unread + text, ""
        position = 0
        while position < len(text):
            if text[position] == "\x1b":
                found = SEQUENCE.match(text, position)
                if found is None:
                    if len(text) - position > 20:
                        raise ValueError(f"unknown sequence {text[position : position + 20]!r}")
                    self._unread = text[position:]
                    return
                self._sequence(found["parameters"], found["letter"])
                position = found.end()
            else:
                self._put(text[position])
                position += 1

    def rows(self) -> tuple[Row, ...]:
        """Return all rows, each without the blanks at its end."""
        found = []
        for cells in self._cells:
            end = len(cells)
            while end and cells[end - 1][0] == " ":
                end -= 1
            found.append(tuple(cells[:end]))
        return tuple(found)

    def line(self) -> str:
        """Return the text before the cursor in its row."""
        return "".join(character for character, _ in self._cells[self.row][: self.column])

    def _sequence(self, parameters: str, letter: str) -> None:
        if letter == "m":
            for code in parameters.split(";"):
                self._style = self._style.changed(int(code or 0))
        elif letter == "K" and parameters in ("", "0"):
            del self._cells[self.row][self.column :]
        elif letter == "J" and parameters in ("", "0"):
            del self._cells[self.row][self.column :]
            self._cells[self.row + 1 :] = [[] for _ in range(self.row + 1, self.lines)]
        elif letter == "A":
            self.row = max(0, self.row - int(parameters or 1))
        else:
            raise ValueError(f"unknown sequence {parameters}{letter}")

    def _put(self, character: str) -> None:
        if character == "\n":
            self._line_feed()
        elif character == "\r":
            self.column = 0
        elif character == "\b":
            self.column = max(0, self.column - 1)
        elif character == "\t":
            self.column = min(self.columns - 1, (self.column // TAB + 1) * TAB)
        elif character.isprintable():
            if self.column == self.columns:
                self.column = 0
                self._line_feed()
            cells = self._cells[self.row]
            cells += [BLANK] * (self.column + 1 - len(cells))
            cells[self.column] = (character, self._style)
            self.column += 1
        else:
            raise ValueError(f"unknown control character {character!r}")

    def _line_feed(self) -> None:
        if self.row + 1 < self.lines:
            self.row += 1
        else:
            self._cells = [*self._cells[1:], []]


@dataclass
class Terminal:
    """A program in a pseudo terminal. `frames` grows while `wait` looks on."""

    screen: Screen
    _process: subprocess.Popen[bytes]
    _descriptor: int
    _began: float
    frames: list[Frame] = field(default_factory=list)

    @classmethod
    def start(cls, command: Sequence[str], environment: Mapping[str, str], directory: str, columns: int, lines: int) -> Terminal:
        """Start a program that has a terminal of this size."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        words = ["setsid", "--ctty", *command]  # shells want a terminal that is their own
        process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=directory)
        os.close(theirs)
        return cls(Screen(columns, lines), process, ours, time.monotonic())

    def type(self, text: str) -> None:
        """Send these characters."""
        os.write(self._descriptor, text.encode())

    def wait(self, until: Callable[[Screen], bool], timeout_s: float) -> None:
        """Look on until the screen is as it shall be; TimeoutError after a time, EOFError when the program has ended."""
        deadline = time.monotonic() + timeout_s
        while not until(self.screen):
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {timeout_s:.0f} s; the last line is {self.screen.line()!r}")
            self._read(0.02)

    def rest(self, seconds: float) -> None:
        """Look on for some time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._read(left)

    def stop(self) -> None:
        """End the program."""
        os.close(self._descriptor)
        self._process.send_signal(signal.SIGHUP)
        self._process.wait()

    def _read(self, timeout_s: float) -> None:
        if select.select([self._descriptor], [], [], timeout_s)[0]:
            try:
                data = os.read(self._descriptor, 1 << 16)
            except OSError:
                data = b""
            if not data:
                raise EOFError("the program has ended")
            self.screen.feed(data.decode())
            self._keep()

    def _keep(self) -> None:
        frame = Frame(time.monotonic() - self._began, self.screen.rows(), (self.screen.row, self.screen.column))
        if self.frames and frame.at_s - self.frames[-1].at_s < FRAME_S:
            frame = replace(frame, at_s=self.frames.pop().at_s)
        self.frames.append(frame)
