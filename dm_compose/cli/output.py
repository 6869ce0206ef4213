"""Printing: JSON for programs, tables and sentences for people, progress and errors on standard error."""

from __future__ import annotations

import json
import os
import sys
import textwrap
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from dm_compose.core.commit import Commit
from dm_compose.core.events import Event
from dm_compose.core.plain import to_plain
from dm_compose.core.units import seconds, size
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
_QUIET = {"sync", "copy", "calculate"}


def age(instant: datetime) -> str:
    """Return an instant in local time, without the zone."""
    return instant.replace(tzinfo=instant.tzinfo or UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def indented(message: str) -> str:
    """Return a commit's message as `log` shows it."""
    return textwrap.indent(message, " " * 4, lambda _: True)


def print_json(value: Any) -> None:
    """Print a value as one JSON document."""
    click.echo(json.dumps(to_plain(value), indent=2))


def as_commit(found: Commit) -> dict[str, Any]:
    """Return a commit as plain data."""
    return {**to_plain(found), "size_bytes": found.size_bytes}


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns as wide as they need to be; plain text, so that it can be cut and grepped."""
    lines = [list(header), *[list(row) for row in rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    for number, line in enumerate(lines):
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        click.echo(click.style(text, bold=True) if number == 0 else text)


class Narrator:
    """Tells events on standard error as they happen: a line each, byte counts in place on a terminal."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._open_line = False
        self._counting = "", 0.0, 0  # what is being counted, since when, and from where

    def __call__(self, event: Event) -> None:
        if event.what == "warning":
            self._line(click.style("warning: ", fg="yellow") + event.text)
        elif self._quiet:
            return
        elif event.unit == "bytes":
            if self._terminal:
                click.echo(f"\r\x1b[K  {event.what} {self._progress(event)}", nl=False, err=True)
                self._open_line = True
        elif event.what not in _QUIET:
            self._line(f"  {_VERBS.get(event.what, event.what)} {event.text}".rstrip())

    def _progress(self, event: Event) -> str:
        """Return how far something is, how fast it goes and how long it will take, as far as that can be told."""
        if event.what != self._counting[0] or event.done < self._counting[2]:
            self._counting = event.what, time.monotonic(), event.done
        seconds_so_far = time.monotonic() - self._counting[1]
        text = f"{size(event.done)} of {size(event.total)}" if event.total else size(event.done)
        rate = (event.done - self._counting[2]) / seconds_so_far if seconds_so_far > 0.5 else 0.0
        if rate > 0:
            text += f", {size(rate)}/s"
            text += f", {seconds((event.total - event.done) / rate)} left" if event.total > event.done else ""
        return text

    def _line(self, text: str) -> None:
        if self._open_line:
            click.echo("\r\x1b[K", nl=False, err=True)
            self._open_line = False
        click.echo(text, err=True, color=colour())  # said here too: in a thread there is no click context


def colour() -> bool | None:
    """Return False where NO_COLOR asks for plain text (https://no-color.org), None to let the terminal decide."""
    return False if os.environ.get("NO_COLOR") else None


def print_error(error: DmError, *, as_json: bool) -> None:
    """Print an expected error: one line, its hint on the next; or one JSON object on standard output."""
    if as_json:
        click.echo(
            json.dumps({"error": {"kind": error.kind, "message": error.message, "hint": error.hint, "code": error.exit_code}})
        )
        return
    click.echo(click.style("error: ", fg="red", bold=True) + error.message, err=True, color=colour())
    if error.hint:
        click.echo(click.style("hint: ", fg="cyan") + error.hint, err=True, color=colour())
