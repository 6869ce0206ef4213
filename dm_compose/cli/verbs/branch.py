"""The verbs for branches, tags and worktrees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dm_compose.cli.completion import complete_branch, complete_ref, complete_tag, complete_worktree
from dm_compose.cli.options import json_option, privileged_option, timeout_option
from dm_compose.cli.outcomes import print_arrival
from dm_compose.cli.output import as_commit, print_json, say, subject, table
from dm_compose.cli.targets import target
from dm_compose.cli.verbs.help import VerbGroup
from dm_compose.core.names import RefName, WorktreeName
from dm_compose.errors import UsageError

if TYPE_CHECKING:
    from dm_compose.dots.status import Branch


@click.command(short_help="List branches, make one, or forget one.")
@click.argument("name", required=False, shell_complete=complete_branch)
@click.argument("ref", required=False, shell_complete=complete_ref)
@click.option("-d", "--delete", is_flag=True, help="Forget the branch NAME.")
@click.option(
    "-D", "--force-delete", is_flag=True, help="Forget NAME although its commits are nowhere else (the reflog keeps them)."
)
@json_option
def branch(*, name: str | None, ref: str | None, delete: bool, force_delete: bool, as_json: bool) -> None:
    """List branches, make the branch NAME at REF without going there, or forget one."""
    dot = target().dot(quiet=as_json, for_ref=True)
    if delete or force_delete:
        if name is None or ref is not None:
            raise UsageError("name the one branch to forget", hint="For example: branch -d experiment")
        gone = dot.remove_branch(RefName.parse(name), force=force_delete)
        if as_json:
            print_json({"branch": name, "head": as_commit(gone.head), "held": gone.saved or gone.head.id})
            return
        kept = f"; its uncommitted changes are kept as {gone.saved.short}" if gone.saved is not None else ""
        say(f"forgot branch {name}; its head was {gone.head.id.short} {subject(gone.head.message)}{kept}")
    elif name is not None:
        made = dot.add_branch(RefName.parse(name), target().default_ref() if ref is None else ref)
        print_json({"branch": name, "head": as_commit(made)}) if as_json else say(f"branch {name} at {made.id.short}")
    else:
        branches = dot.branches()
        if as_json:
            print_json(branches)
        for found in [] if as_json else branches:
            name = f"* {click.style(found.name, fg='green')}" if found.current else f"  {found.name}"
            click.echo(f"{name}{_notes(found)}")


def _notes(found: Branch) -> str:
    notes = []
    if found.uncommitted is not None:
        notes.append("uncommitted changes")
    if found.worktree is not None and not found.current:
        notes.append(f"worktree {found.worktree}")
    return f"  ({', '.join(notes)})" if notes else ""


@click.command(short_help="Go to a branch.")
@click.argument("ref", shell_complete=complete_ref)
@click.argument("start", required=False, shell_complete=complete_ref)
@click.option("-b", "--branch", "create", is_flag=True, help="Make the branch REF, at START (the head), and go there.")
@click.option("--carry/--leave", default=None, help="Take uncommitted changes along, or leave them on the branch that you leave.")
@click.option("--any-version", is_flag=True, help="Accept a state made by another version of an engine.")
@privileged_option
@timeout_option
@json_option
def checkout(
    *,
    ref: str,
    start: str | None,
    create: bool,
    carry: bool | None,
    any_version: bool,
    privileged: bool,
    timeout: float,
    as_json: bool,
) -> None:
    """Go to the branch REF, or with `-` to the branch before this one. A commit or a tag is checked out as a new branch.

    The branch that you leave keeps its uncommitted changes, and you find them when you come back. With --carry they come along;
    this needs the same state on both branches in the subdots that they are in. Only containers whose state differs between the
    two branches go down. The command returns when they answer.

    `dm-compose checkout -b NAME` at the head carries, restarts nothing, and --leave is the other way. `dm checkout -b` leaves.
    """
    if start is not None and not create:
        raise UsageError(f"unexpected {start!r}", hint="To make a branch there: checkout -b NAME START.")
    dot = target().dot(quiet=as_json, for_ref=True)
    name = RefName.parse(ref) if create else None
    start = target().default_ref() if start is None else start
    ref = start if create else ref
    if carry is None and not target().carries:
        carry = False
    arrival = dot.checkout(ref, create=name, any_version=any_version, privileged=privileged, carry=carry, timeout_s=timeout)
    print_arrival(arrival, as_json=as_json)


@click.command(short_help="List tags, name a commit, or forget a tag.")
@click.argument("name", required=False, shell_complete=complete_tag)
@click.argument("ref", required=False, shell_complete=complete_ref)
@click.option("-d", "--delete", is_flag=True, help="Forget the tag NAME; the commit stays.")
@click.option("-f", "--force", is_flag=True, help="Move the tag NAME if there is one; the reflog names the commit of before.")
@json_option
def tag(*, name: str | None, ref: str | None, delete: bool, force: bool, as_json: bool) -> None:
    """List tags, name the commit REF (the head) NAME, or forget a tag."""
    dot = target().dot(quiet=as_json, for_ref=True)
    if name is None:
        if delete:
            raise UsageError("name the tag to forget", hint="For example: tag -d v1")
        tags = dot.tags()
        if as_json:
            print_json(tags)
        for found, commit_id in () if as_json else tags.items():
            click.echo(f"{found}  {commit_id.short}")
    elif delete:
        if ref is not None:
            raise UsageError(f"unexpected {ref!r}", hint="For example: tag -d v1")
        dot.remove_tag(RefName.parse(name))
        if as_json:
            print_json({"tag": name})
    else:
        made = dot.add_tag(RefName.parse(name), target().default_ref() if ref is None else ref, move=force)
        print_json({"tag": name, "commit": as_commit(made)}) if as_json else say(f"tag {name} is {made.id.short}")


@click.group(cls=VerbGroup)
def worktree() -> None:
    """Check a dot out several times at once."""


@worktree.command("list")
@json_option
def worktree_list(*, as_json: bool) -> None:
    """List the worktrees: where each branch is checked out."""
    found = target().dot(quiet=True, for_ref=True).worktrees()
    if as_json:
        print_json(found)
        return
    rows = [(w.name, w.branch, w.head.short if w.head else "-", w.project or ("the store" if w.tree else "-")) for w in found]
    table(("WORKTREE", "BRANCH", "HEAD", "IN"), rows)


@worktree.command("add", short_help="Check out a branch as a further worktree.")
@click.argument("name")
@click.argument("ref", required=False, shell_complete=complete_ref)
@json_option
def worktree_add(*, name: str, ref: str | None, as_json: bool) -> None:
    """Check out the branch REF, or a new branch NAME at the commit REF (the head), as the worktree NAME.

    With `dm-compose` a worktree is a set of volumes for the Compose project PROJECT-NAME, which
    `dm-compose -p PROJECT-NAME up -d` brings up. With `dm` it is a directory of the store, for volumes DOT@BRANCH.
    """
    made = target().dot(quiet=as_json, for_ref=True).add_worktree(WorktreeName.parse(name), ref)
    if as_json:
        print_json(made)
    elif made.project is not None:
        say(f"worktree {name} on branch {made.branch}; bring it up: dm-compose -p {made.project} up -d")
    else:
        say(f"worktree {name} on branch {made.branch}")


@worktree.command("remove")
@click.argument("name", shell_complete=complete_worktree)
@click.option("--force", is_flag=True, help="Remove it in spite of uncommitted changes; the branch keeps them.")
@json_option
def worktree_remove(*, name: str, force: bool, as_json: bool) -> None:
    """Remove the worktree NAME with its volumes or directory. Its branch stays."""
    target().dot(quiet=as_json, for_ref=True).remove_worktree(WorktreeName.parse(name), force=force)
    if as_json:
        print_json({"worktree": name})


VERBS: tuple[click.Command, ...] = (branch, checkout, tag, worktree)
