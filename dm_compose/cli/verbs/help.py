"""Groups of verbs, with `help`, and wrong words as errors of ours: each is one line that names the word, and a hint."""

from __future__ import annotations

from typing import Any

import click

from dm_compose.core.names import did_you_mean
from dm_compose.errors import UsageError


class VerbGroup(click.Group):
    """A group of verbs. UsageError names a verb that it does not have, and the one that was probably meant."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if not ctx.resilient_parsing:
            self.refuse_unknown(ctx, args[0])
        return super().resolve_command(ctx, args)

    def refuse_unknown(self, ctx: click.Context, name: str) -> None:
        """Raise UsageError if there is no verb of this name."""
        if self.get_command(ctx, name) is None:
            raise UsageError(f"{name!r} is no verb of {ctx.command_path}", hint=self.hint_for(ctx, name))

    def hint_for(self, ctx: click.Context, name: str) -> str:
        """Return what somebody may have meant by a verb that there is not."""
        return did_you_mean(name, self.list_commands(ctx)) or f"`{ctx.command_path} --help` lists the verbs."


@click.command("help")
@click.argument("words", nargs=-1, metavar="[VERB]")
def help_verb(*, words: tuple[str, ...]) -> Any:
    """Show the help of a verb, or of the program."""
    root = click.get_current_context().find_root()
    group = root.command
    assert isinstance(group, click.Group)
    if not words:
        click.echo(root.get_help())
        return None
    name, found, rest = group.resolve_command(root, [*words, "--help"])
    assert found is not None
    with found.make_context(name, rest, parent=root) as inner:
        return found.invoke(inner)


def usage_error(error: click.ClickException) -> UsageError:
    """Return click's error about wrong words as one of ours."""
    ctx = getattr(error, "ctx", None)
    if ctx is None:
        return UsageError(_sentence(error.message))
    hint = f"`{ctx.command_path} --help` shows what it takes."
    if isinstance(error, click.NoSuchOption):
        names = [name for option in ctx.command.get_params(ctx) if isinstance(option, click.Option) for name in option.opts]
        long = [name for name in names if name.startswith("--")]
        return UsageError(
            f"{ctx.command_path} has no option {error.option_name}", hint=did_you_mean(error.option_name, long) or hint
        )
    return UsageError(f"{ctx.command_path}: {_sentence(error.format_message())}", hint=hint)


def _sentence(text: str) -> str:
    """Return a sentence of click's as the middle of a line of ours."""
    return f"{text[:1].lower()}{text[1:].removesuffix('.')}"
