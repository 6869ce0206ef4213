"""Shell completion with the names that there are. Anything that goes wrong offers nothing: a shell must not be disturbed."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import click
from click.shell_completion import CompletionItem, get_completion_class

from dm_compose.errors import DmError, UsageError

if TYPE_CHECKING:
    from dm_compose.cli.targets import StoreTarget, Target
    from dm_compose.repository.dot import Dot

SHELLS = ("bash", "zsh", "fish")
MAX_COMMITS = 50


def _dot(ctx: click.Context) -> Dot:
    return cast("Target", ctx.find_root().obj).dot(quiet=True, for_ref=True)


def complete_dot(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the names of dots."""
    try:
        names = cast("StoreTarget", ctx.find_root().obj).dots().names()
    except (DmError, AttributeError):
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_branch(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the names of branches."""
    try:
        branches = _dot(ctx).branches()
    except (DmError, AttributeError):
        return []
    return [CompletionItem(branch.name) for branch in branches if branch.name.startswith(incomplete)]


def complete_ref(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer branches, tags and the last commits."""
    try:
        dot = _dot(ctx)
        found: list[CompletionItem] = [CompletionItem(str(branch.name)) for branch in dot.branches()]
        found += [CompletionItem(str(name)) for name in dot.tags()]
        found += [CompletionItem(commit.id.short, help=commit.message) for commit in dot.log()[:MAX_COMMITS]]
    except (DmError, AttributeError):
        return []
    return [item for item in found if str(item.value).startswith(incomplete)]


def script(program: str, cli: click.Command, shell: str) -> str:
    """Return the text that a shell reads to complete a program's words."""
    cls = get_completion_class(shell)
    if cls is None:
        raise UsageError(f"no completion for {shell}", hint=f"There is one for {', '.join(SHELLS)}.")
    return cls(cli, {}, program, f"_{program.upper().replace('-', '_')}_COMPLETE").source()


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(*, shell: str) -> None:
    """Print the completion of a shell; in bash: eval "$(dm completion bash)"."""
    root = click.get_current_context().find_root()
    click.echo(script(root.info_name or "dm", root.command, shell))
