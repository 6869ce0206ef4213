"""Compose's own verbs. They are handed to Compose unchanged, after the state of the stack has been cared for."""

from __future__ import annotations

import click

from dm_compose.cli.output import printable
from dm_compose.cli.targets import ComposeTarget
from dm_compose.compose import Compose
from dm_compose.compose.words import read_words

CREATING = {"up", "create", "run", "scale", "watch"}
REMOVING = {"down"}


class HandedThrough(click.Command):
    """A command that hands on all its words, `--` included."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.params["words"] = tuple(args)
        return []


def command(name: str) -> click.Command:
    """Return a command that hands `name` and all words after it to Compose."""

    def run(words: tuple[str, ...]) -> int:
        found: ComposeTarget = click.get_current_context().obj
        return hand_through(found, [name, *words])

    return HandedThrough(name, callback=run, add_help_option=False)


def hand_through(found: ComposeTarget, words: list[str]) -> int:
    """Run a Compose verb and return Compose's exit code.

    A verb that makes or removes containers may get a generated project file, and state that it would take away is kept before.
    """
    verb = read_words(words)
    if verb.verb not in CREATING | REMOVING or verb.asks("help"):
        return Compose(found.options, found.variables.compose_files).pass_through(words)
    from dm_compose.up.verbs import create, down

    run = create if verb.verb in CREATING else down
    return run(found.stack(quiet=False), words, lambda text: click.echo(printable(text), err=True))
