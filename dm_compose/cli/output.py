"""Output: JSON for programs, tables and sentences for people. Progress and errors go to standard error."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from dm_compose.core.commit import Commit, Verification
from dm_compose.core.events import Event
from dm_compose.core.plain import to_plain
from dm_compose.core.units import remaining, size
from dm_compose.errors import DmError

_VERBS = {
    "kill": "taking down",
    "restore": "putting back",
    "start": "starting",
    "await": "waiting for",
    "stop": "shutting down",
    "pause": "pausing",
    "switch": "following",
}
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e0fff]"
)
_QUIET = {"sync", "copy", "calculate", "waiting"}
BAR_EVERY_S, LINE_EVERY_S, JSON_EVERY_S = 0.1, 10.0, 0.5
BAR_CELLS = 20
MAX_LINES = 5  # of a checker's complaint; JSON has all


def age(instant: datetime) -> str:
    """Return an instant in local time, without the zone."""
    return instant.replace(tzinfo=instant.tzinfo or UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def printable(text: str, *, lines: bool = False) -> str:
    """Return text of unknown origin with all characters escaped that move the cursor, change colours, hide or reorder.

    Line ends and tabs are escaped too, unless `lines` is given. All text from a commit or a remote goes through this function,
    except in JSON, which escapes by itself.
    """
    if lines:
        text = text.replace("\r\n", "\n")
    return _UNPRINTABLE.sub(lambda c: c[0] if lines and c[0] in "\n\t" else c[0].encode("unicode_escape").decode(), text)


def subject(message: str) -> str:
    """Return the first line of a commit's message."""
    return printable(message.strip().partition("\n")[0].rstrip())


def indented(message: str) -> str:
    """Return a commit's message, indented as `log` shows it."""
    return textwrap.indent(printable(message, lines=True), " " * 4, lambda _: True)


def print_json(value: Any) -> None:
    """Print a value as one JSON document."""
    click.echo(json.dumps(to_plain(value), indent=2))


def as_commit(found: Commit) -> dict[str, Any]:
    """Return a commit as plain data."""
    return {**to_plain(found), "size_bytes": found.size_bytes}


def as_verified(found: Commit, verified: Verification | None) -> dict[str, Any]:
    """Return a commit as plain data, with the outcome of its verification, null if it was not verified."""
    return {**as_commit(found), "verified": None if verified is None else {**to_plain(verified), "sound": verified.sound}}


def doubts(found: Commit, verified: Verification | None) -> list[str]:
    """Return lines for people: the services that were not ready, and the outcome of the verification."""
    lines = [f"unready: {printable(service)}: {printable(reason)}" for service, reason in sorted(found.unready.items())]
    if verified is not None:
        lines.append(f"verified: {age(verified.at)}, {'sound' if verified.sound else 'NOT SOUND'}")
        lines += [f"  {printable(service)}: {printable(finding)}" for service, finding in sorted(verified.findings.items())]
        for service, problem in sorted(verified.problems.items()):
            lines += [f"  {printable(service)}: {printable(line)}" for line in problem.splitlines()[:MAX_LINES]]
    return lines


@contextlib.contextmanager
def output_kept_for_json(*, as_json: bool) -> Iterator[None]:
    """Send the output of Compose and of the user's command to standard error in the block, if standard output is to be JSON."""
    if not as_json:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns that are as wide as their cells, as plain text, which can be cut and grepped."""
    lines = [list(header), *[[printable(cell) for cell in row] for row in rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    for number, line in enumerate(lines):
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        click.echo(click.style(text, bold=True) if number == 0 else text)


class Narrator:
    """Prints events on standard error as they happen, a line for each.

    Byte counts replace each other on one line of a terminal. Elsewhere they are a line now and then.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._open_line = False
        self._progress = Progress(BAR_EVERY_S if self._terminal else LINE_EVERY_S)

    def __call__(self, event: Event) -> None:
        if event.what == "warning":
            self._line(click.style("warning: ", fg="yellow") + printable(event.text))
        elif event.what == "undo":  # something was dropped, which is said in any case
            self._line(f"undo: {printable(event.text)}")
        elif self._quiet:
            return
        elif event.unit == "bytes":
            self._count(event)
        elif event.what not in _QUIET:
            self._line(f"  {_VERBS.get(event.what, event.what)} {printable(event.text)}".rstrip())

    def close(self) -> None:
        """Clear the terminal's line of byte counts, if there is one, so that something else can be printed."""
        if self._open_line:
            click.echo("\r\x1b[K", nl=False, err=True)
            self._open_line = False

    def _count(self, event: Event) -> None:
        if self._terminal and event.total and event.done >= event.total:
            self.close()  # this count was the last one, and the result may be printed next
            return
        text = self._progress.tell(event, time.monotonic())
        if text is None:
            return
        if self._terminal:
            click.echo(f"\r\x1b[K  {text}"[: shutil.get_terminal_size().columns + 3], nl=False, err=True)
            self._open_line = True
        else:
            click.echo(f"  {text}", err=True)

    def _line(self, text: str) -> None:
        self.close()
        click.echo(text, err=True, color=colour())  # `color` is given here too, because a thread has no click context


class EventLines:
    """Prints events on standard error as they happen, for programs: one JSON object per line.

    Byte counts come at most twice a second.
    """

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, event: Event) -> None:
        if event.unit == "bytes":
            now = time.monotonic()
            if now < self._next and event.done != event.total:
                return
            self._next = now + JSON_EVERY_S
        counts = {"done": event.done, "total": event.total, "unit": event.unit} if event.unit else {}
        click.echo(json.dumps({"event": event.what, "text": event.text, **counts}), err=True)

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
        return f"{event.what} {_bar(event)}{', '.join(parts)}"


def _bar(event: Event) -> str:
    if not event.total:
        return ""
    full = BAR_CELLS * min(event.done, event.total) // event.total
    return f"[{'#' * full}{'-' * (BAR_CELLS - full)}] {100 * min(event.done, event.total) // event.total:3d} %  "


def colour() -> bool | None:
    """Return False if NO_COLOR asks for plain text (https://no-color.org), and None to let the terminal decide."""
    return False if os.environ.get("NO_COLOR") else None


def print_error(error: DmError, *, as_json: bool) -> None:
    """Print an expected error and its hint, a line each, or as one JSON object on standard output."""
    if as_json:
        click.echo(
            json.dumps({"error": {"kind": error.kind, "message": error.message, "hint": error.hint, "code": error.exit_code}})
        )
        return
    click.echo(click.style("error: ", fg="red", bold=True) + _continued(error.message), err=True, color=colour())
    if error.hint:
        click.echo(click.style("hint: ", fg="cyan") + _continued(error.hint), err=True, color=colour())


def _continued(text: str) -> str:
    """Return text with its second and later lines indented, so that nobody takes them for lines of ours."""
    return printable(text, lines=True).replace("\n", "\n  ")
