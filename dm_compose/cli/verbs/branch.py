"""The verbs for branches, tags and worktrees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

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
    from dm_compose.operations.branches import Forgotten

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _after_names(complete: Complete) -> Complete:
    """Return the completion of NAME and then REF, or with -d of one name after the other."""

    def chosen(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        deletes = ctx.params.get("delete") or ctx.params.get("force_delete")
        return (complete if deletes or not ctx.params.get("names") else complete_ref)(ctx, parameter, incomplete)

    return chosen


@click.command(short_help="List branches, make one, or forget some.")
@click.argument("names", nargs=-1, metavar="[NAME [REF]]", shell_complete=_after_names(complete_branch))
@click.option("-d", "--delete", is_flag=True, help="Forget branches: names, or quoted patterns such as 'failed/*'. All or none.")
@click.option(
    "-D", "--force-delete", is_flag=True, help="Forget them although their commits are nowhere else (the reflog keeps them)."
)
@json_option
def branch(*, names: tuple[str, ...], delete: bool, force_delete: bool, as_json: bool) -> None:
    """List branches, make the branch NAME at REF without going there, or forget branches."""
    dot = target().dot(quiet=as_json, for_ref=True)
    if delete or force_delete:
        if not names:
            raise UsageError("name the branches to forget", hint="For example: branch -d experiment")
        _print_forgotten(dot.remove_branches(names, force=force_delete), as_json=as_json)
        return
    name, ref = _name_and_ref(names)
    if name is not None:
        made = dot.add_branch(RefName.parse(name), target().default_ref() if ref is None else ref)
        print_json({"branch": name, "head": as_commit(made)}) if as_json else say(f"branch {name} at {made.id.short}")
    else:
        branches = dot.branches()
        if as_json:
            print_json(branches)
        for found in [] if as_json else branches:
            shown = f"* {click.style(found.name, fg='green')}" if found.current else f"  {found.name}"
            click.echo(f"{shown}{_notes(found)}")


def _print_forgotten(found: Mapping[RefName, Forgotten], *, as_json: bool) -> None:
    if as_json:
        print_json([{"branch": n, "head": as_commit(gone.head), "held": gone.saved or gone.head.id} for n, gone in found.items()])
        return
    for name, gone in found.items():
        kept = f"; its uncommitted changes are kept as {gone.saved.short}" if gone.saved is not None else ""
        say(f"forgot branch {name}; its head was {gone.head.id.short} {subject(gone.head.message)}{kept}")


def _name_and_ref(names: tuple[str, ...]) -> tuple[str | None, str | None]:
    """Return the words of a verb that makes something: its NAME and its REF."""
    if len(names) > 2:
        raise UsageError(f"unexpected {names[2]!r}", hint="Several names are for -d alone.")
    name, ref = (*names, None, None)[:2]
    return name, ref


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


@click.command(short_help="List tags, name a commit, or forget some.")
@click.argument("names", nargs=-1, metavar="[NAME [REF]]", shell_complete=_after_names(complete_tag))
@click.option("-d", "--delete", is_flag=True, help="Forget tags: names, or quoted patterns such as 'v1.*'. The commits stay.")
@click.option("-f", "--force", is_flag=True, help="Move the tag NAME if there is one; the reflog names the commit of before.")
@json_option
def tag(*, names: tuple[str, ...], delete: bool, force: bool, as_json: bool) -> None:
    """List tags, name the commit REF (the head) NAME, or forget tags."""
    dot = target().dot(quiet=as_json, for_ref=True)
    if delete:
        if not names:
            raise UsageError("name the tags to forget", hint="For example: tag -d v1")
        gone = dot.remove_tags(names)
        if as_json:
            print_json([{"tag": forgotten} for forgotten in gone])
        for forgotten in () if as_json else gone:
            say(f"forgot tag {forgotten}")
        return
    name, ref = _name_and_ref(names)
    if name is None:
        tags = dot.tags()
        if as_json:
            print_json(tags)
        for found, commit_id in () if as_json else tags.items():
            click.echo(f"{found}  {commit_id.short}")
    else:
        made = dot.add_tag(RefName.parse(name, what="name of a tag"), target().default_ref() if ref is None else ref, move=force)
        print_json({"tag": name, "commit": as_commit(made)}) if as_json else say(f"tag {name} is {made.id.short}")


@click.group(cls=VerbGroup)
def worktree() -> None:
    """Check a dot out several times at once."""


def _worktree_name(text: str) -> WorktreeName:
    if "/" in text:
        last = text.rstrip("/").rpartition("/")[2]
        hint = f"For example: {last}." if WorktreeName.pattern.fullmatch(last) else "For example: experiment."
        raise UsageError(f"invalid worktree name {text!r}", hint=f"A worktree has a name here, and no path. {hint}")
    return WorktreeName.parse(text)


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
    made = target().dot(quiet=as_json, for_ref=True).add_worktree(_worktree_name(name), ref)
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
    from dm_compose.up.run import forget_if_gone

    dot, chosen, found = target().dot(quiet=as_json, for_ref=True), _worktree_name(name), target().dots(quiet=as_json)
    projects = [worktree.project for worktree in dot.worktrees() if worktree.name == chosen]
    dot.remove_worktree(chosen, force=force)
    forget_if_gone(found.engine, found.variables.state_directory, projects)
    if as_json:
        print_json({"worktree": name})


VERBS: tuple[click.Command, ...] = (branch, checkout, tag, worktree)
