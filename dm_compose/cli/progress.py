"""Progress, told on standard error: a block of lines on a terminal, lines now and then elsewhere, JSON for programs."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import click

from dm_compose.cli.output import printable
from dm_compose.cli.screen import Line, Piece, Screen, can_redraw, colour, fitted
from dm_compose.cli.width import cut, pad, width_of
from dm_compose.core.events import Event
from dm_compose.core.units import counted, remaining, seconds, size

_STEPS = {
    "kill": ("taking down", "down"),
    "restore": ("putting back", "put back"),
    "sync": ("writing to the disk", "on the disk"),
    "start": ("starting", "started"),
    "await": ("waiting for an answer", "ready"),
    "stop": ("shutting down", "shut down"),
    "pause": ("pausing", "paused"),
    "switch": ("going there", "there"),
}
_COUNTS = {
    "copy": "copying",
    "check": "checking",
    "push": "sending",
    "upload": "sending",
    "fetch": "fetching",
    "verify": "verifying",
}
_MESSAGES = {
    "begin": "",
    "recover": "",
    "carry": "",
    "again": "",
    "note": "note: ",
    "wait": "waiting: ",
    "run": "running ",
    "verify": "verifying ",
    "settle": "settling ",
}
_ALWAYS = {"warning": click.style("warning: ", fg="yellow"), "undo": "undo: "}  # `undo`: something was dropped
_UNSAID = {"copy", "calculate", "waiting"}  # of the last one the block has a clock
FILES = "restore"  # the step that is on a subdot's files, and on no container
SPIN = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
DONE, FAILED = "✔", "✘"
TICK_S, BAR_EVERY_S, LINE_AFTER_S, LINE_EVERY_S, JSON_EVERY_S = 0.1, 0.1, 1.0, 10.0, 0.5
BAR_CELLS = 20
NAME_COLUMNS, TIME_COLUMNS = 30, 7
_QUIET, _BOARD = "dm_compose.quiet", "dm_compose.board"  # in the context of the command


def be_quiet(ctx: click.Context) -> None:
    """Have the command that runs tell no progress. Warnings are told all the same."""
    ctx.meta[_QUIET] = True


def is_quiet() -> bool:
    """Whether the command that runs is to tell no progress."""
    ctx = click.get_current_context(silent=True)
    return ctx is not None and bool(ctx.meta.get(_QUIET))


class Narrator:
    """Tells events to people, on standard error. All narrators of a command share one block. Thread-safe."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet or is_quiet()
        self._board = _board()

    def __call__(self, event: Event) -> None:
        if event.what in _ALWAYS:
            self._board.say(_ALWAYS[event.what] + printable(event.text))
        elif self._quiet:
            return
        elif event.subject:
            self._board.step(event)
        elif event.unit == "bytes":
            self._board.count(event)
        elif event.what not in _UNSAID:
            self._board.say(f"  {_MESSAGES.get(event.what, f'{event.what} ')}{printable(event.text)}".rstrip())

    def close(self) -> None:
        """End the block; steps that are under way count as failed. The next event begins a new block."""
        self._board.end()


def _board() -> Board:
    """Return the board of the command that runs. It ends with the command, before an error is printed."""
    ctx = click.get_current_context(silent=True)
    if ctx is None:
        return Board()
    if _BOARD not in ctx.meta:
        ctx.meta[_BOARD] = Board()
        ctx.find_root().call_on_close(ctx.meta[_BOARD].end)
    return cast(Board, ctx.meta[_BOARD])


@dataclass
class _Work:
    """All steps on a container or on a subdot's files. `under_way` has the present ones with their details, the newest last."""

    name: str
    began: float
    under_way: dict[str, str] = field(default_factory=dict)
    last: str = ""
    ended: float = 0.0
    next_line: float = 0.0


class Board:
    """The steps that are under way or done, and the count of bytes, as a command's progress shows them.

    A thread draws the block again and again while there is any. Where nothing can be drawn, each step is a line when it has
    ended, and those that take long are a line now and then. Thread-safe.
    """

    def __init__(self) -> None:
        self._stream = sys.stderr
        self._screen = Screen(self._stream, self.end) if can_redraw(self._stream) else None
        self._lock = threading.RLock()
        self._works: dict[str, _Work] = {}
        self._progress = Progress(BAR_EVERY_S if self._screen else LINE_EVERY_S)
        self._counted = ""
        self._ended: threading.Event | None = None  # of the thread, if it runs

    def step(self, event: Event) -> None:
        """Tell that a step on a subject begins, has another detail, or has ended."""
        doing, done = _STEPS.get(event.what, (event.what, event.what))
        with self._lock:
            now = time.monotonic()
            name = f"{event.subject} (files)" if event.what == FILES else event.subject  # a container may have the subdot's name
            work = self._works.setdefault(name, _Work(printable(name), now))
            work.under_way.pop(doing, None)
            work.last, work.ended = done, now
            if event.took_s is None:
                work.under_way[doing] = printable(event.text)
                work.next_line = now + LINE_AFTER_S
                self._watch()
            if self._screen is not None:
                self._screen.draw(self._lines)
            elif event.took_s is not None:
                self._print(f"  {work.name}: {done}, {seconds(event.took_s)}")

    def count(self, event: Event) -> None:
        """Tell how far a count has come."""
        with self._lock:
            if event.total and event.done >= event.total:
                self._counted = ""
                return
            text = self._progress.tell(event, time.monotonic())
            if text is None:
                return
            if self._screen is None:
                self._print(f"  {text}")
                return
            self._counted = text
            self._watch()

    def say(self, text: str) -> None:
        """Print a line. The block, if there is one, goes on after it."""
        with self._lock:
            text = fitted(text, self._stream)
            if self._screen is not None and self._ended is not None:
                self._screen.print_above(text, self._lines)
            else:
                self._print(text)

    def end(self) -> None:
        """Draw the block for the last time, without the count. Idempotent."""
        with self._lock:
            if self._ended is None:
                return
            self._ended.set()
            self._ended, self._counted = None, ""
            if self._screen is not None:
                self._screen.leave([self._line(work, final=True) for work in self._works.values()])
            self._works.clear()

    def _print(self, text: str) -> None:
        click.echo(text, file=self._stream, color=colour())  # `color` is given here too, because a thread has no click context

    def _watch(self) -> None:
        if self._ended is None:
            self._ended = threading.Event()
            threading.Thread(target=self._tick, args=(self._ended,), name="progress", daemon=True).start()

    def _tick(self, ended: threading.Event) -> None:
        while not ended.wait(TICK_S):
            with self._lock:
                if ended.is_set():
                    return
                if self._screen is not None:
                    self._screen.draw(self._lines)
                else:
                    self._print_long()

    def _print_long(self) -> None:
        now = time.monotonic()
        for work in self._works.values():
            if work.under_way and now >= work.next_line:
                work.next_line = now + LINE_EVERY_S
                doing, detail = list(work.under_way.items())[-1]
                why = f" ({detail})" if detail else ""
                self._print(f"  {work.name}: {doing}, {seconds(now - work.began)}{why}")

    def _lines(self, room: int) -> Sequence[Line]:
        """Return at most so many lines. If there are more, the steps that are under way come first."""
        works = list(self._works.values())
        counts = [[Piece(f"  {self._spinner()} "), Piece(self._counted)]] if self._counted else []
        if len(works) + len(counts) > room:
            kept = max(0, room - len(counts) - 1)
            works.sort(key=lambda work: not work.under_way)
            more = [[Piece(f"    and {counted(len(works) - kept, 'other')}", dim=True)]]
            return [*(self._line(work) for work in works[:kept]), *more, *counts][:room]
        return [*(self._line(work) for work in works), *counts]

    def _line(self, work: _Work, *, final: bool = False) -> Line:
        names = min(NAME_COLUMNS, max(width_of(other.name) for other in self._works.values()))
        state, detail = list(work.under_way.items())[-1] if work.under_way else (work.last, "")
        took = (time.monotonic() if work.under_way else work.ended) - work.began
        if work.under_way:
            mark = Piece(f"  {FAILED} ", fg="red") if final else Piece(f"  {self._spinner()} ", fg="yellow")
        else:
            mark = Piece(f"  {DONE} ", fg="green")
        time_and_step = [Piece(f"  {seconds(took):>{TIME_COLUMNS}}", fg="cyan"), Piece(f"  {state}")]
        return [mark, Piece(pad(cut(work.name, names), names)), *time_and_step, Piece(f"  {detail}" if detail else "", dim=True)]

    def _spinner(self) -> str:
        return SPIN[int(time.monotonic() / TICK_S) % len(SPIN)]


class EventLines:
    """Tells events to programs, on standard error: one JSON object per line.

    Byte counts come at most twice a second. With `quiet` only warnings are told.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet or is_quiet()
        self._next = 0.0

    def __call__(self, event: Event) -> None:
        if self._quiet and event.what not in _ALWAYS:
            return
        if event.unit == "bytes":
            now = time.monotonic()
            if now < self._next and event.done != event.total:
                return
            self._next = now + JSON_EVERY_S
        told: dict[str, object] = {"event": event.what, "text": event.text or event.subject}
        told |= {"done": event.done, "total": event.total, "unit": event.unit} if event.unit else {}
        told |= {"subject": event.subject, "took_s": event.took_s} if event.subject else {}
        click.echo(json.dumps(told), err=True)

    def close(self) -> None:
        """Do nothing, because no line has to be cleared."""


class Progress:
    """Tells how far a count of bytes has come, its rate and the time left, once in `every_s` seconds.

    Counts without a total are left out after the first count with a total.
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._next = 0.0
        self._first = Event(""), 0.0  # the first event of the present count, and its time

    def tell(self, event: Event, now: float) -> str | None:
        """Return a text about a count at `now` (of the monotonic clock), or None when it is too early for one."""
        first, since = self._first
        if event.what != first.what and first.total and not event.total:
            return None
        if event.what != first.what or event.done < first.done:
            self._first = first, since = event, now
            self._next = now + (self._every_s if self._every_s >= 1 else 0)
        if now < self._next:
            return None
        self._next = now + self._every_s
        rate = (event.done - first.done) / (now - since) if now - since > 0.5 else 0.0
        parts = [f"{size(event.done)} of {size(event.total)}" if event.total else size(event.done)]
        if rate > 0:
            parts.append(f"{size(rate)}/s")
            parts += [f"{remaining((event.total - event.done) / rate)} left"] if event.total > event.done else []
        return f"{_COUNTS.get(event.what, event.what)} {_bar(event)}{', '.join(parts)}"


def _bar(event: Event) -> str:
    if not event.total:
        return ""
    full = BAR_CELLS * min(event.done, event.total) // event.total
    return f"[{'#' * full}{'-' * (BAR_CELLS - full)}] {100 * min(event.done, event.total) // event.total:3d} %  "
