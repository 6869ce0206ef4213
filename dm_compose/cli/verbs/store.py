"""The verbs of `dm` for a whole store: gc, config, fsck, version, debug."""

from __future__ import annotations

import platform

import click

import dm_compose
from dm_compose.cli.asking import ask
from dm_compose.cli.options import json_option
from dm_compose.cli.output import print_json, printable, say, table
from dm_compose.cli.targets import store_target, target
from dm_compose.core.units import counted, size
from dm_compose.core.upkeep import Holdings
from dm_compose.errors import DamagedError, DmError, NotFoundError, UsageError


@click.command(short_help="Show what holds space in the store, and free what nothing needs.")
@click.option("--keep-days", type=int, help="Days of the reflog whose states stay, instead of the budget of undo (`dm config`).")
@click.option("--dry-run", is_flag=True, help="Tell how much would be freed, and free nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
def gc(*, keep_days: int | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Free all that no branch, tag, uncommitted state or reflog entry needs. Tells first what holds space, and asks.

    A block counts for the first holder that needs it. Of the reflog those entries count that the budget of undo leaves.
    """
    dots = target().dots(quiet=as_json)
    found = dots.garbage(keep_days=keep_days)
    try:
        holdings = dots.holdings(keep_days=keep_days)
    except DamagedError:  # a warning has said so
        holdings = None
    if not as_json:
        if holdings is not None:
            _print_holdings(holdings)
        listed = f"{counted(len(found.commits), 'commit')}, {counted(found.objects, 'object')}"
        what = f"{listed} and {counted(found.leftovers, 'leftover')}"
        say(f"{what} can go: {size(found.size_bytes)}")
    agreed = bool(found) and not dry_run and (yes or ask("Free them? (enter Y to continue):") in ("Y", "y", "yes"))
    freed = dots.collect(keep_days=keep_days) if agreed else None
    if as_json:
        print_json({"found": found, "holds": None if holdings is None else holdings.held, "freed": freed})
    elif freed is not None:
        say(f"freed {size(freed.size_bytes)}")
    elif found and not dry_run:
        say("nothing was freed")


def _print_holdings(found: Holdings) -> None:
    rows = [(held.holder, str(held.commits), size(held.size_bytes)) for held in found.held if held.size_bytes or held.commits]
    table(("HELD BY", "COMMITS", "ON DISK"), [*rows, ("all", str(sum(h.commits for h in found.held)), size(found.size_bytes))])
    click.echo()


@click.command(short_help="Show the settings of the store, or change one.")
@click.argument("name", required=False)
@click.argument("value", required=False)
@click.option("--unset", is_flag=True, help="Forget the setting, so that the default counts.")
@json_option
def config(*, name: str | None, value: str | None, unset: bool, as_json: bool) -> None:
    """Show the settings of the store, or change one: undo-days (30) and undo-size (10%, or for example 20GiB).

    Undo keeps uncommitted states that long and in so many bytes, or so much of the disk, whichever is less. The oldest entries
    of the reflog go first, and the newest stays in any case.
    """
    dots = store_target().dots(quiet=as_json)
    if unset and (name is None or value is not None):
        raise UsageError("--unset goes with the name of a setting alone", hint="For example: dm config --unset undo-size")
    if name is not None and (value is not None or unset):
        dots.configure(name, value)
    found = dots.config()
    if name is not None:
        if name not in found:
            raise NotFoundError(f"there is no setting {name}", hint=f"There are {', '.join(found)}.")
        found = {name: found[name]}
    if as_json:
        print_json(found)
        return
    for key, text in found.items():
        click.echo(f"{key} {printable(text)}")


@click.command(short_help="Look for damage in the store, and repair what can be repaired.")
@click.option("--no-repair", is_flag=True, help="Only look.")
@json_option
def fsck(*, no_repair: bool, as_json: bool) -> int:
    """Read every object and manifest of the store, name the damaged ones, and repair those of which another copy is whole.

    Deletes nothing. The first reading of an object records its digest, and later ones compare with it.
    """
    found = target().dots(quiet=as_json).check(repair=not no_repair)
    if as_json:
        print_json({"sound": found.sound, "checkup": found})
        return 0 if found.sound else DamagedError.exit_code
    for damage in found.damage:
        commits = f" (commits {', '.join(c.short for c in damage.commits)})" if damage.commits else ""
        say(printable(f"{'repaired' if damage.repaired else 'damaged'}: {damage.where}: {damage.what}{commits}"))
    read = f"{counted(found.commits, 'commit')}, {counted(found.objects, 'object')}"
    result = "damage" if not found.sound else "all is repaired" if found.damage else "no damage"
    say(f"{result}: {read}, {size(found.size_bytes)} of files (shared blocks each time, and zeros)")
    if found.first_seen:
        say(f"the checksums of {counted(found.first_seen, 'object')} were noted now, and the next fsck compares with them")
    if not found.sound:
        bad = sum(not damage.repaired for damage in found.damage)
        raise DamagedError(
            counted(bad, "thing in the store is damaged", "things in the store are damaged"),
            hint="Their commits cannot be restored; clone the dot from a remote.",
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
        docker = error.message
    return {
        "client": dm_compose.__version__,
        "python": platform.python_version(),
        "store": variables.home if variables.home_is_directory else f"volume {variables.home}",
        "docker": docker,
    }


@click.command(short_help="Print the store's records as JSON.")
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


VERBS: tuple[click.Command, ...] = (gc, config, fsck, version, debug)
