"""The verbs for a dot's history: log, show, reflog."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from dm_compose.cli.completion import complete_ref
from dm_compose.cli.graph import graph
from dm_compose.cli.options import json_option
from dm_compose.cli.output import age, as_changes, as_verified, date, doubts, indented, print_json, printable, say, subject, table
from dm_compose.cli.targets import target
from dm_compose.core.commit import BEFORE_TESTS
from dm_compose.core.units import counted, size

if TYPE_CHECKING:
    from dm_compose.core.commit import Commit, ReflogEntry, SubdotState
    from dm_compose.core.names import SubdotName
    from dm_compose.core.tree import TreeDiff
    from dm_compose.dots.history import History


@dataclass(frozen=True)
class Layout:
    """The options of `log`: at most `most` commits, one line for each, or the graph of all branches."""

    most: int | None
    oneline: bool
    graph: bool


class Counting(click.Command):
    """A command with the option `-n N`, which may be written `-N` too, as in git."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        counts = (["-n", word[1:]] if re.fullmatch(r"-\d+", word) else [word] for word in args[:end])
        return super().parse_args(ctx, [*itertools.chain.from_iterable(counts), *args[end:]])


def log_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that the `log` of both programs has."""
    for option in (
        click.option("-n", "--max-count", "most", type=click.IntRange(min=0), metavar="N", help="Only the N newest commits."),
        click.option("--oneline", is_flag=True, help="One line for each commit."),
        click.option("--graph", "as_graph", is_flag=True, help="Draw the commits of all branches and tags, one line for each."),
    ):
        function = option(function)
    return function


def print_log(ref: str | None, layout: Layout, *, as_json: bool, oldest_first: bool = False) -> bool:
    """Print a history, and return whether there was any commit. Without `ref` it is that of the head, or of all."""
    if ref is None and not layout.graph:
        ref = target().default_ref()
    found = target().dot(quiet=True, for_ref=True).log(ref)
    commits = found.commits[: layout.most]
    if as_json:
        print_json([_as_named(commit, found) for commit in commits])
    elif layout.graph:
        for before, drawn in graph(commits, found.branches.get(found.branch)):
            click.echo(before if drawn is None else before + _one_line(drawn, found))
    elif layout.oneline:
        for commit in reversed(commits) if oldest_first else commits:
            click.echo(_one_line(commit, found))
    else:
        for position, commit in enumerate(reversed(commits) if oldest_first else commits):
            if position and not oldest_first:
                click.echo()
            for line in header(commit, found):
                click.echo(line)
            click.echo(f"\n{indented(commit.message)}" + ("\n" if oldest_first else ""))
    return bool(found.commits)


def _as_named(commit: Commit, found: History) -> dict[str, Any]:
    named = {"branches": found.branches_at(commit.id), "tags": found.tags_of(commit.id)}
    return {**as_verified(commit, found.verified.get(commit.id)), **named}


def header(commit: Commit, found: History) -> Iterator[str]:
    """Yield the lines that tell of a commit, without its message."""
    yield click.style(f"commit {commit.id}", fg="yellow") + _decoration(commit, found)
    yield f"author: {printable(commit.author)}"
    yield f"date: {date(commit.created)}"
    yield f"size: {size(commit.size_bytes)} ({size(commit.new_bytes)} new)"
    yield from doubts(commit, found.verified.get(commit.id))
    yield from (f"{printable(key)}: {printable(value)}" for key, value in sorted(commit.metadata.items()))


def _one_line(commit: Commit, found: History) -> str:
    return f"{click.style(commit.id.short, fg='yellow')}{_decoration(commit, found)} {subject(commit.message)}"


def _decoration(commit: Commit, found: History) -> str:
    """Return the names of a commit in brackets, as git shows them."""
    names = []
    for branch in found.branches_at(commit.id):
        head = click.style("HEAD -> ", fg="cyan", bold=True) if branch == found.branch else ""
        names.append(head + click.style(branch, fg="green", bold=True))
    names += [click.style(f"tag: {tag}", fg="yellow", bold=True) for tag in found.tags_of(commit.id)]
    return f" ({', '.join(names)})" if names else ""


@click.command(cls=Counting, short_help="List commits, newest first.")
@click.argument("ref", required=False, shell_complete=complete_ref)
@log_options
@json_option
def log(*, ref: str | None, most: int | None, oneline: bool, as_graph: bool, as_json: bool) -> None:
    """List REF (the head) and the commits that lead to it, newest first, with the branches and tags that name them."""
    if not print_log(ref, Layout(most, oneline, as_graph), as_json=as_json) and not as_json:
        say('no commit yet; make one: dm-compose commit -m "seed"', err=True)


@click.command(short_help="Show a commit, and the changes that it made.")
@click.argument("ref", required=False, shell_complete=complete_ref)
@json_option
def show(*, ref: str | None, as_json: bool) -> None:
    """Show the commit REF (the head), and for each subdot its engine, its size, and its changes against the commit before."""
    found = target().dot(quiet=True, for_ref=True).show(target().default_ref() if ref is None else ref)
    commit, changes = found.commit, found.changes
    if as_json:
        print_json({**_as_named(commit, found.history), "changes": None if changes is None else as_changes(changes)})
        return
    for line in header(commit, found.history):
        click.echo(line)
    click.echo(f"\n{indented(commit.message)}\n")
    names = sorted({*commit.subdots, *(changes or {})})
    rows = [_subdot(commit.subdots.get(name), name, changes) for name in names]
    table(("SUBDOT", "ENGINE", "SIZE", "FILES", "CHANGED"), rows)


def _subdot(state: SubdotState | None, name: SubdotName, changes: Mapping[SubdotName, TreeDiff] | None) -> tuple[str, ...]:
    """Return the row of a subdot, which is not in the commit any more if it has no `state`."""
    engine = " ".join(filter(None, (state.engine, state.version))) if state is not None else ""
    holds = (size(state.size_bytes), str(state.files)) if state is not None else ("gone", "-")
    diff = None if changes is None else changes.get(name)
    changed = f"{size(diff.changed_bytes)} in {counted(len(diff.changes), 'file')}" if diff else "-"
    return name, engine or "-", *holds, "(no commit before)" if changes is None else changed


@click.command(cls=Counting, short_help="List the verbs that have moved the state, newest first.")
@click.option("-n", "--max-count", "most", type=click.IntRange(min=0), metavar="N", help="Only the N newest entries.")
@click.option("--all", "everything", is_flag=True, help="List each entry of a test run too, not several as one.")
@json_option
def reflog(*, most: int | None, everything: bool, as_json: bool) -> None:
    """List the operations that have moved the state of this stack, newest first, with the space that each entry holds.

    An entry holds as much as comes free when it is forgotten and all older ones are.
    """
    entries = target().dot(quiet=True).reflog()
    if as_json:
        print_json([{**asdict(entry), "held_bytes": held} for entry, held in entries[:most]])
        return
    groups = [[entry] for entry in entries] if everything else _folded(entries)
    zone = datetime.now().astimezone().strftime("%z")
    table(("#", f"WHEN ({zone})", "AT", "HOLDS", "OPERATION"), [_move(group) for group in groups[:most]])


def _folded(entries: Iterable[tuple[ReflogEntry, int | None]]) -> list[list[tuple[ReflogEntry, int | None]]]:
    """Return the entries in groups: neighbours that are of test runs together, each other one alone."""
    groups: list[list[tuple[ReflogEntry, int | None]]] = []
    for of_tests, group in groupby(entries, lambda entry: entry[0].action == BEFORE_TESTS):
        found = list(group)
        groups += [found] if of_tests else [[entry] for entry in found]
    return groups


def _move(group: list[tuple[ReflogEntry, int | None]]) -> tuple[str, ...]:
    """Return the row of the newest of some entries, with what all of them hold."""
    entry, _ = group[0]
    held = [size_bytes for _, size_bytes in group if size_bytes is not None]
    what = f"{entry.action} {entry.left} -> {entry.branch}" if entry.left != entry.branch else f"{entry.action} on {entry.branch}"
    what += f" ({counted(len(group), 'run')})" if len(group) > 1 else ""
    what += f", uncommitted changes kept as {entry.saved.short}" if entry.saved else ""
    at = entry.new.short if entry.new else "-"
    return str(entry.number), age(entry.at), at, size(sum(held)) if len(held) == len(group) else "?", what


VERBS: tuple[click.Command, ...] = (log, show, reflog)
