"""The dot that a command is about: the one of a Compose project for `dm-compose`, the current one for `dm`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol, cast

import click

from dm_compose.cli.environment import read_variables
from dm_compose.cli.progress import Narrator
from dm_compose.compose import Compose, ComposeOptions
from dm_compose.core.names import DotName, RefName
from dm_compose.core.variables import Variables
from dm_compose.errors import ComposeError

if TYPE_CHECKING:
    from dm_compose.dots.all_dots import Dots
    from dm_compose.dots.dot import Dot
    from dm_compose.dots.stack import Stack
    from dm_compose.dots.stored_dot import StoredDot
    from dm_compose.store.api import Store


class Target(Protocol):
    """The dot that a command line is about, with the branch that the command line names, if any."""

    def dot(self, *, quiet: bool, for_ref: bool = False) -> Dot:
        """Return the dot. Call this once per command.

        `for_ref` says that the command only reads history, so that no branch has to be checked out.
        """

    def default_ref(self) -> str:
        """Return the REF to use where the user gave none."""

    def dots(self, *, quiet: bool = True) -> Dots:
        """Return all dots of the store."""

    def named_or_current(self, text: str | None, *, quiet: bool) -> Dot:
        """Return the dot of this name, or the dot that the command is about if there is no name."""

    def chosen(self, store: Store) -> DotName:
        """Return the name of the dot that `dot` returns, and change nothing."""

    named_branch: RefName | None
    variables: Variables
    carries: ClassVar[bool]
    """Whether `checkout -b` at the head takes uncommitted changes along, as in git. The ancestor left them behind."""


@dataclass
class ComposeTarget:
    """The project that Compose's own options choose."""

    carries: ClassVar[bool] = True
    options: ComposeOptions
    named_branch: RefName | None = None
    variables: Variables = field(default_factory=read_variables)

    def dots(self, *, quiet: bool = True) -> Dots:
        from dm_compose.dots.all_dots import Dots

        return Dots(self.variables, Narrator(quiet=quiet))

    def named_or_current(self, text: str | None, *, quiet: bool) -> Dot:
        return self.dots(quiet=quiet).dot(DotName.parse(text)) if text is not None else self.dot(quiet=quiet)

    def compose(self) -> Compose:
        """Return Compose, with the options that choose the project."""
        return Compose(self.options, self.variables.compose_files)

    def chosen(self, store: Store) -> DotName:
        return self.stack(quiet=True).identity(store)[0]

    def stack(self, *, quiet: bool) -> Stack:
        """Return the stack."""
        from dm_compose.dots.stack import Stack

        return Stack(self.options, self.variables, Narrator(quiet=quiet))

    def dot(self, *, quiet: bool, for_ref: bool = False) -> Dot:
        return self.stack(quiet=quiet)

    def default_ref(self) -> str:
        return "HEAD"


@dataclass
class StoreTarget:
    """The dot and branch that `--dot` and `--branch` name.

    Without them the dot is, in this order: that of DM_DOT, of this directory's Compose project, or the current one.
    """

    carries: ClassVar[bool] = False
    named_dot: DotName | None = None
    named_branch: RefName | None = None
    variables: Variables = field(default_factory=read_variables)

    def dots(self, *, quiet: bool = True) -> Dots:
        """Return all dots of the store."""
        from dm_compose.dots.all_dots import Dots

        return Dots(self.variables, Narrator(quiet=quiet))

    def name(self) -> DotName | None:
        """Return the dot that `--dot` or DM_DOT names, None without either."""
        return self.named_dot or self.variables.dot

    def dot(self, *, quiet: bool, for_ref: bool = False) -> Dot:
        dots, name = self.dots(quiet=quiet), self.name()
        branch = None if for_ref else self.named_branch
        if name is None and (found := self._stack(dots, quiet=quiet)) is not None:
            stack, name = found
            if branch is None:
                return stack
        return dots.dot(name or dots.choose(), branch)

    def named_or_current(self, text: str | None, *, quiet: bool) -> Dot:
        return self.dots(quiet=quiet).dot(DotName.parse(text)) if text is not None else self.dot(quiet=quiet, for_ref=True)

    def named(self, dots: Dots) -> DotName | None:
        """Return the dot that the command line or this directory names, None where only `switch` could tell."""
        if (name := self.name()) is not None:
            return name
        found = self._stack(dots, quiet=True)
        return found[1] if found is not None else None

    def chosen(self, store: Store) -> DotName:
        from dm_compose.dots.stack import Stack

        found = self.dot(quiet=True, for_ref=True)
        return found.identity(store)[0] if isinstance(found, Stack) else cast("StoredDot", found).name

    def default_ref(self) -> str:
        return self.named_branch or "HEAD"

    def _stack(self, dots: Dots, *, quiet: bool) -> tuple[Stack, DotName] | None:
        """Return this directory's stack and its dot. None without a compose file here, or if the store has no such dot."""
        if dots.engine is None or not Compose(ComposeOptions(), self.variables.compose_files).files():
            return None
        from dm_compose.dots.stack import Stack

        stack = Stack(ComposeOptions(), self.variables, Narrator(quiet=quiet))
        try:
            with dots.store() as store:
                name = stack.identity(store)[0]
                return (stack, name) if store.has_dot(name) else None
        except ComposeError as error:
            error.hint = f"{error.hint or ''} To work with another dot: --dot NAME.".strip()
            raise


def target() -> Target:
    """Return the target of the command that runs."""
    return cast(Target, click.get_current_context().obj)


def store_target() -> StoreTarget:
    """Return the target of a `dm` command."""
    return cast(StoreTarget, click.get_current_context().obj)
