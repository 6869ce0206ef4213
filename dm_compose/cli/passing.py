"""Compose's own verbs. They are handed to Compose unchanged, after the state of the stack has been cared for."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click
from click.shell_completion import CompletionItem

from dm_compose.cli.completion import complete_as_compose
from dm_compose.cli.output import printable, say
from dm_compose.cli.targets import ComposeTarget
from dm_compose.compose.words import VerbWords, read_words

CREATING = {"up", "create", "run", "scale", "watch"}
REMOVING = {"down"}


class HandedThrough(click.Command):
    """A verb of Compose's that gets all its words, `--` included.

    `ours` returns the verb of dm-compose that has the same name, or one that only describes the work of dm-compose beside
    Compose's. It runs if `is_ours` says so. Its help, its options and its first argument are shown with Compose's own.
    """

    def __init__(
        self,
        name: str,
        ours: Callable[[], click.Command] | None = None,
        is_ours: Callable[[VerbWords], bool] = lambda _: False,
    ) -> None:
        super().__init__(name, callback=self._run, add_help_option=False)
        self._name, self._ours, self._is_ours = name, ours, is_ours

    def get_short_help_str(self, limit: int = 45) -> str:
        return self._ours().get_short_help_str(limit) if self._ours is not None else super().get_short_help_str(limit)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.params["words"] = tuple(args)
        return []

    def _run(self, words: tuple[str, ...]) -> object:
        ctx = click.get_current_context()
        verb = read_words([self._name, *words])
        if self._ours is not None:
            ours = self._ours()
            if verb.asks("help"):
                click.echo(f"{ours.get_help(ctx)}\n\nCompose's own help:\n")
                sys.stdout.flush()
                return hand_through(ctx.obj, [self._name, "--help"])
            if self._is_ours(verb):
                with ours.make_context(self._name, list(words), parent=ctx.parent) as inner:
                    return ours.invoke(inner)
        return hand_through(ctx.obj, [self._name, *words])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        words = ctx.params.get("words", ())
        items = complete_as_compose(ctx, [self._name, *words], incomplete)
        if self._ours is not None:
            ours = self._ours()
            items += ours.shell_complete(ctx, incomplete)
            first = next((argument for argument in ours.params if isinstance(argument, click.Argument)), None)
            if first is not None and not words:
                items += first.shell_complete(ctx, incomplete)
        return items


def hand_through(found: ComposeTarget, words: list[str]) -> int:
    """Run a Compose verb and return Compose's exit code.

    A verb that makes or removes containers may get a generated project file, and state that it would take away is kept before.
    """
    verb = read_words(words)
    if verb.verb in CREATING | REMOVING and not verb.asks("help"):
        from dm_compose.up.verbs import create, down

        run = create if verb.verb in CREATING else down
        return run(found.stack(quiet=False), words, lambda text: say(printable(text), err=True))
    compose = found.compose()
    code = compose.pass_through(words)
    if code and (hint := compose.hint()):
        say(f"hint: {printable(hint)}", err=True)
    return code
