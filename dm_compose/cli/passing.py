"""Compose's own verbs. They are handed to Compose unchanged, after the state of the stack has been cared for."""

from __future__ import annotations

import click

from dm_compose.cli.targets import ComposeTarget
from dm_compose.compose import Compose
from dm_compose.compose.words import read_words
from dm_compose.core.units import size
from dm_compose.errors import DmError

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

    A verb that makes or removes containers may get a generated project file. Before `down -v` uncommitted state is kept, and
    the user is told about it. After `up --wait` the datastores are ready.
    """
    verb = read_words(words)
    if verb.verb not in CREATING | REMOVING or verb.asks("help"):
        return Compose(found.options, found.variables.compose_files).pass_through(words)
    from dm_compose.up.run import compose_with_state
    from dm_compose.up.waiting import up_and_wait

    if verb.verb in REMOVING and verb.asks("volumes") and not verb.asks("dry-run"):
        _keep_uncommitted(found)
    if verb.verb == "up" and verb.asks("wait") and not verb.asks("dry-run"):
        return up_and_wait(found.stack(quiet=False), words, timeout_s=found.variables.timeout_s)
    return compose_with_state(found.stack(quiet=False), words, creates=verb.verb in CREATING)


def _keep_uncommitted(found: ComposeTarget) -> None:
    """Name the uncommitted state that `down -v` is about to remove, and keep it if the stack has a commit.

    A DmError gets a hint that nothing was removed.
    """
    stack = found.stack(quiet=True)
    try:
        status = stack.status()
        dirty = [s for s in status.subdots if s.dirty and s.place is not None]
        if not dirty:
            return
        listed = ", ".join(f"{s.name} ({size(s.diff.changed_bytes)})" for s in dirty)
        click.echo(f"`down -v` removes uncommitted changes: {listed}", err=True)
        if status.head is None:
            click.echo("this stack has no commit, so nothing is kept; `dm-compose commit` would have kept it", err=True)
            return
        saved = stack.save("down -v")
        if saved is not None:
            click.echo(f"kept: `dm-compose reset --hard {saved.short}` brings it back", err=True)
    except DmError as error:
        error.hint = "Nothing was removed. To remove everything without this check: docker compose down -v"
        raise
