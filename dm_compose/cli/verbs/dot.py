"""The verbs of `dm` that the ancestor had, with the ancestor's words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from dm_compose.cli.asking import ask
from dm_compose.cli.completion import complete_dot, complete_ref
from dm_compose.cli.options import hard_option, json_option, message_option, privileged_option, timeout_option, unready_option
from dm_compose.cli.outcomes import print_restore
from dm_compose.cli.output import Cell, as_commit, print_json, say, table
from dm_compose.cli.targets import store_target
from dm_compose.cli.verbs.help import VerbGroup
from dm_compose.cli.verbs.history import Counting, Layout, log_options, print_log
from dm_compose.cli.verbs.state import parse_metadata
from dm_compose.core.names import DotName
from dm_compose.core.volumes import VolumeName

if TYPE_CHECKING:
    from dm_compose.dots.all_dots import Dots, Summary
    from dm_compose.dots.status import Branch

_scripting = click.option(
    "-H", "--scripting", is_flag=True, help="For scripts: no header, one tab between fields, plain numbers."
)
_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "kiB"))


def pretty(size_bytes: int) -> str:
    """Return a size as the ancestor printed it: with two decimals, and `-` for zero."""
    if size_bytes <= 0:
        return "-"
    unit, name = next(((unit, name) for unit, name in _UNITS if size_bytes >= unit), _UNITS[-1])
    return f"{size_bytes / unit:.2f} {name}"


@click.command()
@click.argument("name")
@json_option
def init(*, name: str, as_json: bool) -> None:
    """Create the empty dot NAME."""
    dot = DotName.parse(name)
    store_target().dots(quiet=as_json).create(dot)
    if as_json:
        print_json({"dot": dot})


@click.command("list", short_help="List all dots.")
@_scripting
@click.option("-v", "--verbose", is_flag=True, help="Show the server too.")
@json_option
def list_dots(*, scripting: bool, verbose: bool, as_json: bool) -> None:
    """List all dots with their branch, size, commits, uncommitted bytes and containers."""
    dots = store_target().dots()
    summaries = dots.summaries(store_target().named(dots))
    if as_json:
        print_json(summaries)
        return
    for found in summaries if scripting else ():
        numbers = ("?" if n is None else str(n) for n in (found.size_bytes, found.commits, found.dirty_bytes))
        click.echo("\t".join((found.dot, found.branch, found.server, ",".join(found.containers), *numbers)))
    if not scripting:
        last = "SERVER: CONTAINERS" if verbose else "CONTAINERS"
        table(("  DOT", "BRANCH", "SIZE", "COMMITS", "DIRTY", last), [_row(found, verbose=verbose) for found in summaries])


def _row(found: Summary, *, verbose: bool) -> tuple[str | Cell, ...]:
    return (
        Cell(f"{'* ' if found.current else '  '}{found.dot}", "green" if found.current else None),
        found.branch,
        _bytes(found.size_bytes),
        "?" if found.commits is None else str(found.commits),
        Cell(_bytes(found.dirty_bytes), "yellow" if found.dirty_bytes else None),
        (f"{found.server}: " if verbose else "") + (found.problem or ", ".join(found.containers)),
    )


def _bytes(number: int | None) -> str:
    return "?" if number is None else pretty(number)


@click.command()
@click.argument("name", shell_complete=complete_dot)
@json_option
def switch(*, name: str, as_json: bool) -> None:
    """Make NAME the current dot."""
    dot = DotName.parse(name)
    store_target().dots().switch(dot)
    if as_json:
        print_json({"dot": dot})


@click.command(short_help="Commit the state of all subdots, and print the id.")
@message_option
@click.option("-d", "--metadata", multiple=True, metavar="NAME=VALUE", help="A field to keep with it; may be repeated.")
@click.option("--stop", is_flag=True, help="Shut the containers down cleanly instead of freezing them for an instant.")
@unready_option
@timeout_option
@json_option
def commit(*, message: str, metadata: tuple[str, ...], stop: bool, unready: bool, timeout: float, as_json: bool) -> None:
    """Record the state of all subdots at one instant, and print the commit's id."""
    report = (
        store_target()
        .dot(quiet=True)
        .commit(message, parse_metadata(metadata), stop=stop, even_unready=unready, timeout_s=timeout)
    )
    print_json({**as_commit(report.commit), "frozen_s": report.frozen_s}) if as_json else click.echo(report.commit.id)


@click.command(cls=Counting, short_help="List commits, the oldest first.")
@click.argument("ref", required=False, shell_complete=complete_ref)
@log_options
@json_option
def log(*, ref: str | None, most: int | None, oneline: bool, as_graph: bool, as_json: bool) -> None:
    """List the commits that lead to REF (the head), the oldest first, as the ancestor did."""
    print_log(ref, Layout(most, oneline, as_graph), as_json=as_json, oldest_first=True)


@click.command(short_help="Put the state of a commit back.")
@click.argument("ref", shell_complete=complete_ref)
@hard_option
@click.option("--any-version", is_flag=True, help="Accept a commit made by another version of an engine.")
@privileged_option
@timeout_option
@json_option
def reset(*, ref: str, hard: bool, any_version: bool, privileged: bool, timeout: float, as_json: bool) -> None:
    """Put the state of REF back: HEAD, HEAD^, a branch, a tag, or the first digits of a commit id."""
    dot = store_target().dot(quiet=True)
    done = dot.reset(ref, hard=hard, any_version=any_version, privileged=privileged, timeout_s=timeout)
    print_restore(done, as_json=as_json)


@click.command()
@click.argument("name", metavar="DOT[.SUBDOT]", shell_complete=complete_dot)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("-r", "--create", is_flag=True, help="Create the dot if it does not exist.")
@click.option("--commit", "ref", metavar="REF", shell_complete=complete_ref, help="Show this commit, read-only.")
@json_option
def mount(*, name: str, path: Path, create: bool, ref: str | None, as_json: bool) -> None:
    """Show a dot at PATH, by a symlink to its live files. It follows the current branch, unless the name is DOT@BRANCH."""
    from dm_compose.dots.mount import mount as mount_live
    from dm_compose.dots.mount import mount_commit

    volume, where = VolumeName.parse(name), path.absolute()
    dots = store_target().dots(quiet=as_json)
    if ref is not None:
        shown = mount_commit(dots, volume, ref, where)
        print_json({"path": str(where), "commit": shown}) if as_json else click.echo(
            f"commit {shown} of {volume.dot} is at {where}"
        )
        return
    target = mount_live(dots, volume, where, create=create)
    if as_json:
        print_json({"path": str(where), "target": target})
    else:
        click.echo(f"symlinked dot: admin/{volume.dot} from {target} to {where}")


@click.group(cls=VerbGroup)
def dot() -> None:
    """Look at one dot, or delete it."""


@dot.command(short_help="Show a dot: its size, commits and branches.")
@click.argument("name", required=False, shell_complete=complete_dot)
@_scripting
@json_option
def show(*, name: str | None, scripting: bool, as_json: bool) -> None:
    """Show the dot NAME (the current one): its size, commits and branches."""
    dots = store_target().dots()
    named = store_target().named(dots)
    chosen = DotName.parse(name) if name is not None else named or dots.choose()
    branches = dots.dot(chosen).branches()
    found = dots.summary(chosen, current=(named or dots.current()) == chosen)
    if as_json:
        print_json({"summary": found, "branches": branches})
    elif scripting:
        _show_plainly(found, branches)
    else:
        _show(found, branches)


def _show(found: Summary, branches: list[Branch]) -> None:
    click.echo(f"Dot admin/{found.dot}:")
    if found.current:
        click.echo("Dot is currently selected.")
    click.echo(f"Commits: {found.commits}")
    dirty = "all clean" if found.dirty_bytes == 0 else f"{_bytes(found.dirty_bytes)} dirty"
    click.echo(f"Dot size: {_bytes(found.size_bytes)} ({dirty})\nBranches:")
    for branch in branches:
        head = branch.head.short if branch.head else "no commit yet"
        containers = f" (containers: {','.join(found.containers)})" if branch.current and found.containers else ""
        click.echo(f"{'* ' if branch.current else '  '}{branch.name} ({head}){containers}")


def _show_plainly(found: Summary, branches: list[Branch]) -> None:
    click.echo(f"namespace\tadmin\nname\t{found.dot}")
    if found.current:
        click.echo("selected")
    click.echo(f"commitCount\t{found.commits}\nsize\t{found.size_bytes}\ndirty\t{found.dirty_bytes}")
    click.echo(f"currentBranch\t{found.branch}")
    for branch in branches:
        click.echo(f"branch\t{branch.head or '-'}\t{branch.name}")
        for container in found.containers if branch.current else ():
            click.echo(f"container\t{branch.name}\t{container}")


@dot.command()
@click.argument("name", shell_complete=complete_dot)
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@json_option
def delete(*, name: str, force: bool, as_json: bool) -> None:
    """Delete the dot NAME with all its branches and commits. There is no way back."""
    chosen = DotName.parse(name)
    dots = store_target().dots(quiet=as_json)
    question = f"Please confirm that you really want to delete the dot {chosen}, including all branches and commits?"
    if not force:
        say("There is no way back. Docker's own volumes stay as they are.", err=True)
    agreed = force or ask(f"{question} (enter Y to continue):") == "Y"
    if agreed:
        _delete(dots, chosen)
    if as_json:
        print_json({"dot": chosen, "deleted": agreed})
    elif agreed:
        say(f"dot {chosen} is deleted", err=True)  # a script of the ancestor's expects nothing on standard output
    else:
        click.echo("Aborted.")


def _delete(dots: Dots, chosen: DotName) -> None:
    """Delete a dot, and the generated project files of its stacks if nothing else is left of them."""
    from dm_compose.up.run import forget_if_gone

    with dots.store() as store:
        projects = [w.project or chosen for w in store.worktrees(chosen).values()] if store.has_dot(chosen) else []
    dots.delete(chosen)
    forget_if_gone(dots.engine, dots.variables.state_directory, projects)


OF_A_DOT: tuple[click.Command, ...] = (commit, log, reset)
OF_ALL: tuple[click.Command, ...] = (init, list_dots, switch, mount, cast(click.Command, dot))
