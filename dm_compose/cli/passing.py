"""Verbs that are Compose's: handed through unchanged, after what state needs."""

from __future__ import annotations

import re

import click

from dm_compose.cli.output import Narrator
from dm_compose.cli.targets import ComposeTarget
from dm_compose.compose import Compose, ComposeOptions
from dm_compose.core.units import size
from dm_compose.errors import DmError

CREATING = {"up", "create", "run", "scale", "watch"}
REMOVING = {"down"}
_REMOVES_VOLUMES = re.compile(r"-v.*|--volumes(=(1|t|T|true|TRUE|True))?")


def command(name: str) -> click.Command:
    """Return a command that hands `name` and all words after it to Compose."""

    def run(words: tuple[str, ...]) -> int:
        found: ComposeTarget = click.get_current_context().obj
        return hand_through(found.options, [name, *words])

    words = click.Argument(["words"], nargs=-1, type=click.UNPROCESSED)
    settings = {"ignore_unknown_options": True, "allow_interspersed_args": False}
    return click.Command(name, params=[words], callback=run, context_settings=settings, add_help_option=False)


def hand_through(options: ComposeOptions, words: list[str]) -> int:
    """Run a Compose verb; verbs that make or remove containers may get a generated file, and what
    `down -v` takes away is told first.
    """
    if words[0] not in CREATING | REMOVING or any(word in ("-h", "--help") for word in words):
        return Compose(options).pass_through(words)
    from dm_compose.repository.bringing_up import compose_with_state
    from dm_compose.repository.stack import Stack

    if words[0] in REMOVING and any(_REMOVES_VOLUMES.fullmatch(word) for word in words):
        _keep_uncommitted(options)
    return compose_with_state(Stack(options, Narrator(quiet=False)), words, creates=words[0] in CREATING)


def _keep_uncommitted(options: ComposeOptions) -> None:
    """Say what `down -v` is about to remove that is in no commit, and keep it where there is a history to keep it in."""
    from dm_compose.repository.stack import Stack

    stack = Stack(options, Narrator(quiet=True))
    try:
        status = stack.status()
        dirty = [s for s in status.subdots if s.dirty and s.place is not None]
        if not dirty:
            return
        listed = ", ".join(f"{s.name} ({size(s.diff.changed_bytes)})" for s in dirty)
        click.echo(f"not committed, and about to be removed: {listed}", err=True)
        if status.head is None:
            click.echo("nothing of this stack was ever committed; `dm-compose commit` would have kept it", err=True)
            return
        saved = stack.save("down -v")
        if saved is not None:
            click.echo(f"kept: `dm-compose reset --hard {saved.short}` brings it back", err=True)
    except DmError as error:
        error.hint = "Nothing was removed. To go on without a look: docker compose down -v"
        raise
