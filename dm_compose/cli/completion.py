"""Shell completion with the names of dots, branches, tags, worktrees, commits and remotes. After an error it offers nothing."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, get_completion_class

from dm_compose.cli.environment import read_variables
from dm_compose.cli.options import json_option
from dm_compose.cli.output import print_json, printable, say
from dm_compose.errors import DmError, UsageError

if TYPE_CHECKING:
    from dm_compose.cli.targets import Target
    from dm_compose.core.names import DotName
    from dm_compose.store.api import Store

SHELLS = ("bash", "zsh", "fish")
MAX_COMMITS = 50
_NEXT = {
    "bash": "A new bash finds it, if the package bash-completion is installed. Without it, add this line to ~/.bashrc:\n"
    "  source {file}",
    "zsh": "A new zsh finds it if these lines are in ~/.zshrc, before any other compinit:\n"
    "  fpath=({folder} $fpath)\n  autoload -Uz compinit && compinit",
    "fish": "A new fish finds it.",
}
"""The last steps, by shell. They are the user's: no file that he has written himself is changed."""
Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _completer(find: Callable[[Target], Iterable[CompletionItem]]) -> Complete:
    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return _or_nothing(lambda: [item for item in find(ctx.find_root().obj) if str(item.value).startswith(incomplete)])

    return complete


def _or_nothing(find: Callable[[], list[CompletionItem]]) -> list[CompletionItem]:
    try:
        return find()
    except Exception:  # bugs too: a message would disturb the user who is typing
        return []


def complete_as_compose(ctx: click.Context, words: Sequence[str], incomplete: str) -> list[CompletionItem]:
    """Return Compose's own completions after a verb of its own and the words that follow that; without words those of a verb."""

    def find() -> list[CompletionItem]:
        found = ctx.find_root().obj.compose().complete(words, incomplete)
        return [
            *(CompletionItem(word, help=printable(text) or None) for word, text in found.words),
            *([CompletionItem(incomplete, type="file")] if found.files else ()),
        ]

    return _or_nothing(find)


@contextlib.contextmanager
def _opened(target: Target) -> Iterator[tuple[Store, DotName]]:
    """Open the store and do nothing else. A press of a key must not begin a recovery."""
    with target.dots().store() as store:
        yield store, target.chosen(store)


def _dots(target: Target) -> Iterator[CompletionItem]:
    yield from map(CompletionItem, target.dots().names())


def _branches(target: Target) -> Iterator[CompletionItem]:
    with _opened(target) as (store, dot):
        names = {*store.branches(dot), *(worktree.branch for worktree in store.worktrees(dot).values())}
        yield from map(CompletionItem, sorted(names))


def _tags(target: Target) -> Iterator[CompletionItem]:
    with _opened(target) as (store, dot):
        yield from map(CompletionItem, store.tags(dot))


def _worktrees(target: Target) -> Iterator[CompletionItem]:
    with _opened(target) as (store, dot):
        yield from map(CompletionItem, store.worktrees(dot))


def _refs(target: Target) -> Iterator[CompletionItem]:
    yield from _branches(target)
    yield from _tags(target)
    with _opened(target) as (store, dot):
        head = store.worktree(dot, store.current(dot)).head
        for commit in store.log(dot, head)[:MAX_COMMITS] if head is not None else ():
            yield CompletionItem(commit.id.short, help=printable(" ".join(commit.message.split())))


def _remotes(target: Target) -> Iterator[CompletionItem]:
    from dm_compose.sharing.named_remotes import Remotes

    yield from (CompletionItem(found.name, help=printable(str(found.url))) for found in Remotes(target.dots()).known())


complete_dot, complete_branch, complete_tag = _completer(_dots), _completer(_branches), _completer(_tags)
complete_worktree, complete_ref, complete_remote = _completer(_worktrees), _completer(_refs), _completer(_remotes)


def script(program: str, cli: click.Command, shell: str) -> str:
    """Return the program text that a shell runs to complete a command's words."""
    cls = get_completion_class(shell)
    assert cls is not None
    return cls(cli, {}, program, f"_{program.upper().replace('-', '_')}_COMPLETE").source()


@click.command()
@click.argument("shell", required=False, type=click.Choice(SHELLS))
@click.option("--install", is_flag=True, help="Write it into the folder where the shell looks for completions of a user.")
@json_option
def completion(*, shell: str | None, install: bool, as_json: bool) -> None:
    """Print the completion of a shell, or install it. SHELL is bash, zsh or fish, and by default your own.

    For example: completion --install
    """
    variables = read_variables()
    shell = shell or os.path.basename(variables.shell)
    if shell not in SHELLS:
        raise UsageError(
            f"there is no completion for {shell or 'a shell that SHELL does not name'}", hint=f"Name one of {', '.join(SHELLS)}."
        )
    root = click.get_current_context().find_root()
    program = root.info_name or "dm"
    text = script(program, root.command, shell)
    if not install:
        print_json({"shell": shell, "script": text}) if as_json else click.echo(text)
        return
    file = variables.completion_file(program, shell)
    changed = _write(file, text)
    if as_json:
        print_json({"shell": shell, "file": str(file), "changed": changed})
        return
    say(f"{'wrote' if changed else 'there already:'} {printable(str(file))}")
    click.echo(_NEXT[shell].format(folder=shlex.quote(str(file.parent)), file=shlex.quote(str(file))))


def _write(file: Path, text: str) -> bool:
    """Write a file with its folder, unless it has this text. Return whether it was written. DmError."""
    try:
        if file.exists() and file.read_text() == text:
            return False
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    except OSError as error:
        raise DmError(f"{file} cannot be written: {error.strerror}", hint="`completion SHELL` prints the text instead.") from None
    return True
