"""The verb for stashes."""

from __future__ import annotations

import click

from dm_compose.cli.options import hard_option, json_option, timeout_option
from dm_compose.cli.outcomes import print_restore
from dm_compose.cli.output import age, as_commit, print_json, say, subject, table
from dm_compose.cli.targets import target
from dm_compose.cli.verbs.help import VerbGroup


@click.group(cls=VerbGroup, invoke_without_command=True, short_help="Put uncommitted changes aside.")
@click.option("-m", "--message", help="A description of the changes.")
@timeout_option
@json_option
@click.pass_context
def stash(ctx: click.Context, *, message: str | None, timeout: float, as_json: bool) -> None:
    """Put uncommitted changes aside and go back to the head; `stash pop` puts them back.

    A stash is a branch stash/N with one commit, so `diff`, `push` and `reset` work on it too.
    """
    if ctx.invoked_subcommand is not None:
        return
    done = target().dot(quiet=as_json).stash(message, timeout_s=timeout)
    if done is None:
        print_json({"stash": None}) if as_json else say("nothing is uncommitted, so there is nothing to stash")
        return
    stashed, report = done
    if not as_json:
        say(f"{stashed.branch} is {stashed.commit.id.short} {subject(stashed.commit.message)}; `stash pop` puts it back")
    print_restore(report, as_json=as_json, stash=stashed.branch)


@stash.command("list")
@json_option
def stash_list(*, as_json: bool) -> None:
    """List the stashes, newest first."""
    found = target().dot(quiet=True).stashes()
    if as_json:
        print_json([{"stash": s.branch, "commit": as_commit(s.commit)} for s in found])
    elif found:
        rows = [(s.branch, s.commit.id.short, age(s.commit.created), subject(s.commit.message)) for s in found]
        table(("STASH", "COMMIT", "WHEN", "CHANGES"), rows)
    else:
        say("there is no stash", err=True)


@stash.command("pop", short_help="Put a stash back as uncommitted changes.")
@click.argument("number", type=click.IntRange(min=1), required=False)
@hard_option
@click.option("--any-version", is_flag=True, help="Accept a state made by another version of an engine.")
@timeout_option
@json_option
def stash_pop(*, number: int | None, hard: bool, any_version: bool, timeout: float, as_json: bool) -> None:
    """Put the stash NUMBER (the newest) back as uncommitted changes, and forget it."""
    stashed, report = target().dot(quiet=as_json).pop(number, hard=hard, any_version=any_version, timeout_s=timeout)
    print_restore(
        report, as_json=as_json, stash=stashed.branch, what=f"{stashed.branch} is back, as uncommitted changes of this branch"
    )


@stash.command("drop")
@click.argument("number", type=click.IntRange(min=1))
@json_option
def stash_drop(*, number: int, as_json: bool) -> None:
    """Forget the stash NUMBER; the reflog names its commit."""
    stashed = target().dot(quiet=as_json).drop(number)
    gone = stashed.commit
    if as_json:
        print_json({"stash": stashed.branch, "commit": as_commit(gone)})
    else:
        say(f"forgot {stashed.branch}; it was {gone.id.short} {subject(gone.message)}")
