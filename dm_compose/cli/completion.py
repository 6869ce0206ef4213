"""Shell completion with the names of dots, branches, tags, worktrees and commits. After an error it offers nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, get_completion_class

from dm_compose.cli.output import printable
from dm_compose.errors import UsageError

if TYPE_CHECKING:
    from dm_compose.cli.targets import StoreTarget
    from dm_compose.core.names import DotName
    from dm_compose.store.api import Store

SHELLS = ("bash", "zsh", "fish")
MAX_COMMITS = 50
Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _completer(find: Callable[[StoreTarget], Iterable[CompletionItem]]) -> Complete:
    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from dm_compose.cli.targets import StoreTarget

        target = ctx.find_object(StoreTarget)
        if target is None:
            return []
        try:
            return [item for item in find(target) if str(item.value).startswith(incomplete)]
        except Exception:  # bugs too: a message would disturb the user who is typing
            return []

    return complete


@contextlib.contextmanager
def _opened(target: StoreTarget) -> Iterator[tuple[Store, DotName]]:
    """Open the store and do nothing else. A press of a key must not begin a recovery."""
    with target.dots().store() as store:
        yield store, target.chosen(store)


def _dots(target: StoreTarget) -> Iterator[CompletionItem]:
    yield from map(CompletionItem, target.dots().names())


def _branches(target: StoreTarget) -> Iterator[CompletionItem]:
    with _opened(target) as (store, dot):
        names = {*store.branches(dot), *(worktree.branch for worktree in store.worktrees(dot).values())}
        yield from map(CompletionItem, sorted(names))


def _tags(target: StoreTarget) -> Iterator[CompletionItem]:
    with _opened(target) as (store, dot):
        yield from map(CompletionItem, store.tags(dot))


def _worktrees(target: StoreTarget) -> Iterator[CompletionItem]:
    with _opened(target) as (store, dot):
        yield from map(CompletionItem, store.worktrees(dot))


def _refs(target: StoreTarget) -> Iterator[CompletionItem]:
    yield from _branches(target)
    yield from _tags(target)
    with _opened(target) as (store, dot):
        head = store.worktree(dot, store.current(dot)).head
        for commit in store.log(dot, head)[:MAX_COMMITS] if head is not None else ():
            yield CompletionItem(commit.id.short, help=printable(" ".join(commit.message.split())))


complete_dot, complete_branch, complete_tag = _completer(_dots), _completer(_branches), _completer(_tags)
complete_worktree, complete_ref = _completer(_worktrees), _completer(_refs)


def script(program: str, cli: click.Command, shell: str) -> str:
    """Return the program text that a shell runs to complete a command's words. UsageError for a shell that is not known."""
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
