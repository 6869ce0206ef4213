"""Output: JSON for programs, tables and sentences for people. Errors go to standard error."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click

from dm_compose.cli.screen import colour, columns_of, fitted
from dm_compose.cli.width import width_of
from dm_compose.core.commit import Commit, Verification
from dm_compose.core.names import SubdotName
from dm_compose.core.plain import to_plain
from dm_compose.core.tree import TreeDiff
from dm_compose.errors import DmError

_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e0fff]"
)
WIDTH = 80  # of a table where there is no terminal
NARROWEST = 20  # the least columns in which a table wraps its last column
INDENT = 4
MAX_LINES = 5  # of a checker's complaint; JSON has all


def age(instant: datetime) -> str:
    """Return an instant in local time, without the zone."""
    return instant.replace(tzinfo=instant.tzinfo or UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def date(instant: datetime) -> str:
    """Return an instant in local time, with the zone."""
    return instant.replace(tzinfo=instant.tzinfo or UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def printable(text: str, *, lines: bool = False) -> str:
    """Return text of unknown origin with all characters escaped that move the cursor, change colours, hide or reorder.

    Line ends and tabs are escaped too, unless `lines` is given. All text from a commit or a remote goes through this function,
    except in JSON, which escapes by itself.
    """
    if lines:
        text = text.replace("\r\n", "\n")
    return _UNPRINTABLE.sub(lambda c: c[0] if lines and c[0] in "\n\t" else c[0].encode("unicode_escape").decode(), text)


def shortened(name: str) -> str:
    """Return the name of a volume, that of an anonymous one with its first 12 digits only."""
    return name[:12] if re.fullmatch("[0-9a-f]{64}", name) else name


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


def as_changes(found: Mapping[SubdotName, TreeDiff]) -> dict[str, Any]:
    """Return the changes of subdots as plain data."""
    return {
        name: {"changed_bytes": diff.changed_bytes, "changes": [to_plain(change) for change in diff.changes]}
        for name, diff in found.items()
    }


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


@dataclass(frozen=True)
class Cell:
    """A cell of a table that has a colour where there are colours."""

    text: str
    fg: str | None = None


def table(header: Sequence[str], rows: Iterable[Sequence[str | Cell]]) -> None:
    """Print columns that are as wide as their cells, as plain text, which can be cut and grepped.

    A row that is wider than the terminal (WIDTH columns where there is none) has its last cell wrapped within its column, or,
    if the column is too narrow for that, on a line of its own. Nothing is left out.
    """
    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in (header, *rows)]
    lines = [[Cell(printable(cell.text), cell.fg) for cell in row] for row in cells]
    widths = [max(width_of(line[i].text) for line in lines) for i in range(len(header))]
    columns = columns_of(sys.stdout) or WIDTH
    for number, line in enumerate(lines):
        click.echo(_row(line, widths, columns, bold=number == 0))


def _row(line: Sequence[Cell], widths: Sequence[int], columns: int, *, bold: bool) -> str:
    """Return a row as text of one line or several."""
    *cells, last = line
    begin = sum(width + 2 for width in widths[: len(cells)])
    indent, wrapped = _wrapped(last.text, begin, columns)
    text = "".join(
        _styled(cell.text, cell.fg, bold) + " " * (width - width_of(cell.text) + 2)
        for cell, width in zip(cells, widths, strict=False)
    )
    if indent < begin:  # the last cell has lines of its own
        return "\n".join([text.rstrip(), *(" " * indent + _styled(part, last.fg, bold) for part in wrapped)])
    first, *others = (_styled(part, last.fg, bold) for part in wrapped)
    return "\n".join([f"{text}{first}".rstrip(), *(" " * indent + part for part in others)])


def _wrapped(text: str, begin: int, columns: int) -> tuple[int, list[str]]:
    """Return the lines of a table's last cell, whose column begins at `begin`, and the column at which they begin themselves."""
    if not text or begin + width_of(text) <= columns:
        return begin, [text]
    fits = columns - begin >= max(NARROWEST, *map(width_of, text.split()))
    indent = begin if fits else INDENT
    room = max(NARROWEST, columns - indent)
    return indent, textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)


def _styled(text: str, fg: str | None, bold: bool) -> str:
    return click.style(text, fg=fg, bold=bold or None) if text and (fg or bold) else text


def say(text: str, *, err: bool = False) -> None:
    """Print a sentence. It has no control characters but line ends and colours. On a terminal it breaks between words."""
    click.echo(fitted(text, sys.stderr if err else sys.stdout), err=err, color=colour())


def print_error(error: DmError, *, as_json: bool) -> None:
    """Print an expected error and its hint, a line each, or as one JSON object on standard output."""
    if as_json:
        click.echo(
            json.dumps({"error": {"kind": error.kind, "message": error.message, "hint": error.hint, "code": error.exit_code}})
        )
        return
    say(click.style("error: ", fg="red", bold=True) + _continued(error.message), err=True)
    if error.hint:
        say(click.style("hint: ", fg="cyan") + _continued(error.hint), err=True)


def _continued(text: str) -> str:
    """Return text with its second and later lines indented, so that nobody takes them for lines of ours."""
    return printable(text, lines=True).replace("\n", "\n  ")
