"""The verbs for a stack's state: plan, commit, status, diff, reset, undo."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

import click

from dm_compose.cli.completion import complete_ref
from dm_compose.cli.options import hard_option, json_option, message_option, privileged_option, timeout_option, unready_option
from dm_compose.cli.outcomes import NOTHING_RUNS, print_arrival, print_put_back, print_restore, print_taken_back
from dm_compose.cli.output import (
    Cell,
    as_changes,
    as_commit,
    as_verified,
    doubts,
    output_kept_for_json,
    print_json,
    printable,
    say,
    shortened,
    subject,
    table,
)
from dm_compose.cli.targets import ComposeTarget, target
from dm_compose.core.commit import check_metadata
from dm_compose.core.units import counted, seconds, size
from dm_compose.discovery.mount_rules import TO_INCLUDE
from dm_compose.errors import NotReadyError, UsageError

if TYPE_CHECKING:
    from dm_compose.discovery.stack_plan import Subdot
    from dm_compose.dots.stack import Stack
    from dm_compose.dots.status import SubdotStatus
    from dm_compose.operations.commit import CommitReport


MAX_LISTED = 10
_HOW = {"added": "green", "removed": "red", "changed": "yellow"}
LINE_END = "\n"
MISSING = "(does not exist)"


@click.command()
@json_option
def plan(*, as_json: bool) -> None:
    """Show which directories of the stack are its state, and why. Changes nothing."""
    stack = cast(ComposeTarget, target()).stack(quiet=as_json)
    found = stack.facts.plan
    if unseen := sorted(stack.facts.project.services.keys() - stack.facts.images.keys()):
        no_engine = stack.facts.no_engine
        why = f"the engine has no image of {', '.join(unseen)}" if no_engine is None else no_engine.message
        say(printable(f"note: {why}; volumes that only an image declares are not known"), err=True)
    left = [text.text for text in stack.left() if not text.in_use]
    for text in left:
        say(f"{click.style('warning: ', fg='yellow')}{printable(text)}", err=True)
    if as_json:
        print_json({**found.as_plain(), **({"unfinished": left} if left else {})})
        return
    places = stack.seen_places()
    say(f"dot {found.dot} (project {found.project})\n")
    table(("SUBDOT", "SERVICES", "PATH", "KIND", "ENGINE", "REASON"), [_planned(s, places.get(s.name)) for s in found.subdots])
    if found.skipped:
        click.echo()
        table(("NOT STATE", "PATH", "REASON"), [(s.service, s.path, s.reason) for s in found.skipped])
        if one := next((s for s in found.skipped if s.reason.endswith(TO_INCLUDE)), None):
            example = f'x-dotmesh: {{include: ["{one.service}:{one.path}"]}}'
            say(f"\nTo include one, write into the compose file, for example: {printable(example)}")


def _planned(found: Subdot, place: str | None = None) -> tuple[str, ...]:
    where = place or found.volume or found.source
    reason = f"{found.reason}; in {shortened(where)}" if where else found.reason
    return found.name, ", ".join(found.services), found.path, found.kind.value, found.engine or "-", reason


@click.command(short_help="Commit the state of all datastores, while the stack runs.")
@message_option
@click.option(
    "--metadata", multiple=True, metavar="KEY=VALUE", help="A field to keep with the commit; may be given several times."
)
@click.option("--stop", is_flag=True, help="Shut the datastores down cleanly instead of freezing them for an instant.")
@unready_option
@click.option("--verify", is_flag=True, help="Then start a clone of the commit, ask each datastore, and run its own checker.")
@timeout_option
@json_option
def commit(
    *, message: str, metadata: tuple[str, ...], stop: bool, unready: bool, verify: bool, timeout: float, as_json: bool
) -> None:
    """Commit the state of all datastores at one instant, while the stack runs.

    For example: commit -m "seed"
    """
    stack = cast(ComposeTarget, target()).stack(quiet=as_json)
    if verify:
        from dm_compose.clones.verify import refuse_unless_verifiable

        refuse_unless_verifiable(stack)
    report = stack.commit(message, parse_metadata(metadata), stop=stop, even_unready=unready, timeout_s=timeout)
    made = report.commit
    if as_json and not verify:
        print_json({**as_verified(made, None), **_numbers(report)})
    elif not as_json:
        how = "shut down for it" if stop else f"frozen for {seconds(report.frozen_s)}"
        copied = f"{size(made.new_bytes)} new of {size(made.size_bytes)}"
        say(f"{made.id.short} {subject(message)}")
        say(f"{copied} in {counted(len(made.subdots), 'subdot')}, {how}, {seconds(report.total_s)} in all")
        if report.unchanged:
            say("nothing has changed since the commit before")
        for line in doubts(made, None):
            say(line)
    if verify:
        _verify(stack, report, timeout, as_json=as_json)


def _numbers(report: CommitReport) -> dict[str, Any]:
    numbers = {"new_bytes": report.commit.new_bytes, "copied_bytes": report.copied_bytes}
    return {**numbers, "frozen_s": report.frozen_s, "total_s": report.total_s, "stopped": report.stopped}


def _verify(stack: Stack, report: CommitReport, timeout_s: float, *, as_json: bool) -> None:
    """Verify a commit that was just made, and print the outcome. NotReadyError if it is not sound."""
    from dm_compose.clones.verify import verify

    made = report.commit
    with output_kept_for_json(as_json=as_json):
        found = verify(stack, made, uuid.uuid4().hex[:8], timeout_s=timeout_s)
    if not found.sound:
        listed = "; ".join(f"{service}: {problem.partition(LINE_END)[0]}" for service, problem in found.problems.items())
        raise NotReadyError(
            f"commit {made.id.short} was made and is not sound: {listed}",
            hint="`log` shows the outcome with the commit. The stack itself goes on as it is.",
        )
    if as_json:
        print_json({**as_verified(made, found), **_numbers(report)})
    else:
        for line in doubts(made, found)[len(made.unready) :]:
            say(line)


def parse_metadata(fields: tuple[str, ...]) -> dict[str, str]:
    """Return KEY=VALUE words as a mapping. UsageError names a word that is not of that form."""
    found = {}
    for field in fields:
        key, equals, value = field.partition("=")
        if not equals:
            raise UsageError(
                f"each metadata value must be a name=value pair: {field!r}", hint="For example: --metadata ticket=DM-12"
            )
        found[key] = value
    check_metadata(found)
    return found


@click.command()
@click.option("-v", "--verbose", is_flag=True, help="Show the volume or directory of each subdot.")
@json_option
def status(*, verbose: bool, as_json: bool) -> None:
    """Show the branch, its head, and the differences from the head. Stops nothing."""
    found = target().dot(quiet=True).status()
    if as_json:
        subdots = [
            {
                "name": s.name,
                "engine": s.engine,
                "place": s.place,
                "dirty": s.dirty,
                "unsaved": s.unsaved,
                "state": s.word,
                "changed_files": len(s.diff.changes),
                "changed_bytes": s.diff.changed_bytes,
                "exact": s.diff.exact,
            }
            for s in found.subdots
        ]
        head = as_commit(found.head) if found.head else None
        print_json(
            {
                "dot": found.dot,
                "project": found.project,
                "branch": found.branch,
                "head": head,
                "dirty": found.dirty,
                "running": found.running,
                "subdots": subdots,
                "lacks": found.lacks,
                "unfinished": [left for left in found.left if not left.in_use],
                "in_use": next((left for left in found.left if left.in_use), None),
                "store": {**asdict(found.space), "short": found.space.is_short},
            }
        )
        return
    head_text = f"{found.head.id.short} {subject(found.head.message)}" if found.head else "no commit yet"
    say(f"dot {found.dot} on branch {click.style(found.branch, fg='green')}\nhead {head_text}")
    for left in found.left:
        if left.in_use:
            say(printable(left.short))
    if not found.running:
        say(NOTHING_RUNS)
    for text in found.lacks:
        say(printable(text))
    click.echo()
    where = ("WHERE",) if verbose else ()
    table(("SUBDOT", "ENGINE", "STATE", *where), [_seen(subdot, verbose=verbose) for subdot in found.subdots])
    takes = f"{size(found.space.size_bytes)} (shared blocks once, zeros not at all)"
    say(f"\nthe store takes {takes}, and {size(found.space.free_bytes)} of its disk are free")
    if found.space.is_short:
        share = f"{100 * found.space.free_bytes / max(1, found.space.disk_bytes):.1f} %"
        say(f"{click.style('warning: ', fg='yellow')}only {share} of the store's disk is free; see `dm gc`", err=True)


def _seen(found: SubdotStatus, *, verbose: bool) -> tuple[str | Cell, ...]:
    state = _dirt(found)
    if verbose:
        state = state or "-"
    elif found.place is None:
        state = f"{MISSING} {state}".rstrip()
    colour = "yellow" if found.dirty else "green" if found.place else None
    return found.name, found.engine or "-", Cell(state, colour), *((found.place or MISSING,) if verbose else ())


def _dirt(found: SubdotStatus) -> str:
    if found.place is None and not found.dirty:
        return ""
    if found.unsaved:
        return f"{found.word}: changes in memory that no file has yet"
    if not found.diff:
        return found.word
    about = "" if found.diff.exact else "at most "
    amount = f"{about}{size(found.diff.changed_bytes)} in {counted(len(found.diff.changes), 'file')}"
    return f"{found.word}: {amount}"


@click.command(short_help="Show the files that differ between two commits, or since one.")
@click.argument("base", default="HEAD", shell_complete=complete_ref)
@click.argument("other", required=False, shell_complete=complete_ref)
@click.option(
    "--all", "everything", is_flag=True, help=f"List all files, not only the {MAX_LISTED} with most changes in each subdot."
)
@json_option
def diff(*, base: str, other: str | None, everything: bool, as_json: bool) -> None:
    """Show the files that differ between BASE (the head) and OTHER (the live state), per subdot."""
    found = target().dot(quiet=True).diff(base, other)
    if as_json:
        print_json(as_changes(found))
        return
    for name, changes in sorted(found.items()):
        if not changes:
            continue
        amount = f"{size(changes.changed_bytes)} in {counted(len(changes.changes), 'file')}"
        click.echo(click.style(f"{name}: {amount}", bold=True))
        shown = changes.changes if everything else sorted(changes.changes, key=lambda c: -c.changed_bytes)[:MAX_LISTED]
        for change in shown:
            amount = f"{size(change.changed_bytes):>10} of {size(change.size_bytes):<10}"
            click.echo(f"  {click.style(f'{change.how:<8}', fg=_HOW.get(change.how))}  {amount}  {printable(change.path) or '.'}")
        if len(shown) < len(changes.changes):
            say(f"  ... and {len(changes.changes) - len(shown)} more (--all)")
    if not any(found.values()):
        say("no difference")


@click.command(short_help="Put the state of a commit back.")
@click.argument("ref", default="HEAD", shell_complete=complete_ref)
@hard_option
@click.option("--any-version", is_flag=True, help="Accept a commit made by another version of an engine.")
@privileged_option
@click.option("--dry-run", is_flag=True, help="Print the steps and their causes, and do nothing.")
@timeout_option
@json_option
def reset(*, ref: str, hard: bool, any_version: bool, privileged: bool, dry_run: bool, timeout: float, as_json: bool) -> None:
    """Put the state of REF back: HEAD, HEAD^, HEAD~2, a branch, a tag, or the first digits of a commit id.

    Containers that are dirty, or may be, go down and come back. The command returns when each datastore answers.

    For example: reset --hard HEAD^
    """
    if dry_run:
        steps = target().dot(quiet=as_json).plan_reset(ref)
        print_json(steps) if as_json else click.echo(steps)
        return
    dot = target().dot(quiet=as_json)
    done = dot.reset(ref, hard=hard, any_version=any_version, privileged=privileged, timeout_s=timeout)
    print_restore(done, as_json=as_json)


@click.command(short_help="Take back the last reset, checkout, pull or stash.")
@click.option("--hard", is_flag=True, help="Leave commits that were made since; a second `undo` brings them back.")
@click.option("--commit", "only_commit", is_flag=True, help="Take back the last commit alone; its state stays, as uncommitted.")
@timeout_option
@json_option
def undo(*, hard: bool, only_commit: bool, timeout: float, as_json: bool) -> None:
    """Take back the last reset, checkout, pull or stash, with the uncommitted changes of then.

    A second `undo` takes back the first. If nothing but commits was made, the last commit is taken back, and its state stays.
    Otherwise `undo` refuses over commits that were made since, and names both ways on: --commit and --hard.

    After a test run that was killed it puts back the state from before the tests, and stops there.
    """
    from dm_compose.operations.branches import Arrival
    from dm_compose.operations.undo import PutBack, TakenBack

    if hard and only_commit:
        raise UsageError("--hard and --commit exclude each other", hint="--commit takes back the last commit, --hard leaves all.")
    done = target().dot(quiet=as_json).undo(hard=hard, only_commit=only_commit, timeout_s=timeout)
    if isinstance(done, TakenBack):
        print_taken_back(done, as_json=as_json)
    elif isinstance(done, PutBack):
        print_put_back(done, as_json=as_json)
    elif isinstance(done, Arrival):
        print_arrival(done, as_json=as_json)
    else:
        print_restore(done, as_json=as_json)


VERBS: tuple[click.Command, ...] = (plan, commit, status, diff, reset, undo)
