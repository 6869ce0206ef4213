"""The verbs of `dm` for a whole store: gc, fsck, version, debug."""

from __future__ import annotations

import platform

import click

import dm_compose
from dm_compose.cli.asking import ask
from dm_compose.cli.output import print_json, printable
from dm_compose.cli.targets import store_target
from dm_compose.cli.verbs.state import json_option
from dm_compose.core.units import size
from dm_compose.errors import DamagedError, DmError


@click.command()
@click.option("--keep-days", type=int, default=30, show_default=True, help="Days of the reflog whose states stay.")
@click.option("--dry-run", is_flag=True, help="Tell how much would be freed, and free nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
def gc(*, keep_days: int, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Free all that no branch, tag, uncommitted state or recent reflog entry needs. Tells first how much that is, and asks."""
    dots = store_target().dots(quiet=as_json)
    found = dots.garbage(keep_days=keep_days)
    if not as_json:
        what = f"{len(found.commits)} commits, {found.objects} objects and {found.leftovers} leftovers"
        click.echo(f"{what} can go: {size(found.size_bytes)}")
    agreed = bool(found) and not dry_run and (yes or ask("Free them? (enter Y to continue):") in ("Y", "y", "yes"))
    freed = dots.collect(keep_days=keep_days) if agreed else None
    if as_json:
        print_json({"found": found, "freed": freed})
    elif freed is not None:
        click.echo(f"freed {size(freed.size_bytes)}")
    elif found and not dry_run:
        click.echo("nothing was freed")


@click.command()
@click.option("--no-repair", is_flag=True, help="Only look.")
@json_option
def fsck(*, no_repair: bool, as_json: bool) -> int:
    """Read every object and manifest of the store, name the damaged ones, and repair those of which another copy is whole.

    Deletes nothing. The first reading of an object records its digest, and later ones compare with it.
    """
    found = store_target().dots(quiet=as_json).check(repair=not no_repair)
    if as_json:
        print_json({"sound": found.sound, "checkup": found})
        return 0 if found.sound else DamagedError.exit_code
    for damage in found.damage:
        commits = f" (commits {', '.join(c.short for c in damage.commits)})" if damage.commits else ""
        click.echo(printable(f"{'repaired' if damage.repaired else 'damaged'}: {damage.where}: {damage.what}{commits}"))
    click.echo(f"{found.commits} commits, {found.objects} objects, {size(found.size_bytes)}; {found.first_seen} seen first")
    if not found.sound:
        bad = sum(not damage.repaired for damage in found.damage)
        raise DamagedError(
            f"{bad} things in the store are damaged", hint="Their commits cannot be restored; clone the dot from a remote."
        )
    return 0


@click.command()
@json_option
def version(*, as_json: bool) -> None:
    """Show the versions of this client, of the store and of Docker."""
    facts = _facts()
    if as_json:
        print_json(facts)
        return
    click.echo(f"Client:\n\tVersion: {facts['client']}\n\tPython: {facts['python']}")
    click.echo(f"Server:\n\tVersion: {facts['client']}\n\tStore: {facts['store']}\n\tDocker: {facts['docker']}")


def _facts() -> dict[str, str]:
    variables = store_target().variables
    try:
        engine = store_target().dots().engine
        docker = f"{engine.facts().version} ({engine.facts().operating_system})" if engine is not None else "no engine answers"
    except DmError as error:
        docker = f"no engine answers: {error.message}"
    return {
        "client": dm_compose.__version__,
        "python": platform.python_version(),
        "store": variables.home if variables.home_is_directory else f"volume {variables.home}",
        "docker": docker,
    }


@click.command()
@click.argument("what", required=False)
@click.option("--json", is_flag=True, expose_value=False, help="Print one JSON document, as it does anyway.")
def debug(*, what: str | None) -> None:
    """Print the store's records as JSON: dots, worktrees, unfinished operations, volumes. WHAT names one part of them."""
    dots = store_target().dots()
    with dots.store() as store:
        everything = {
            "AllDotsAndBranches": {dot: {"current": store.current(dot), "branches": store.branches(dot)} for dot in store.dots()},
            "Worktrees": {dot: store.worktrees(dot) for dot in store.dots()},
            "Unfinished": {dot: store.unfinished(dot) for dot in store.dots()},
            "Volumes": store.volumes(),
            "Version": _facts(),
        }
    if what is not None and what not in everything:
        raise click.BadParameter(f"there is no {what}; there are {', '.join(everything)}")
    print_json(everything if what is None else everything[what])


VERBS: tuple[click.Command, ...] = (gc, fsck, version, debug)
