"""Which dot a command is about: that of a Compose project for `dm-compose`, the current one for `dm`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import click

from dm_compose.cli.output import Narrator
from dm_compose.compose import Compose, ComposeOptions
from dm_compose.core.names import DotName, RefName
from dm_compose.errors import ComposeError

if TYPE_CHECKING:
    from dm_compose.dots.all_dots import Dots
    from dm_compose.dots.dot import Dot
    from dm_compose.dots.stack import Stack
    from dm_compose.dots.stored_dot import StoredDot
    from dm_compose.store.api import Store

DOT_VARIABLE = "DM_DOT"


class Target(Protocol):
    """What a command line is about. `dot` is asked once per command, with the branch that it names, if any."""

    def dot(self, *, quiet: bool, for_ref: bool = False) -> Dot:
        """Return the dot; `for_ref` says that the command only reads history, so that no branch has to be checked out."""

    def default_ref(self) -> str:
        """Return the REF that stands where the user gave none."""

    def dots(self, *, quiet: bool = True) -> Dots:
        """Return all dots of the store."""

    def named_or_current(self, text: str | None, *, quiet: bool) -> Dot:
        """Return the dot of this name, without one that which the command is about."""

    named_branch: RefName | None


@dataclass
class ComposeTarget:
    """The project that Compose's own options choose."""

    options: ComposeOptions
    named_branch: RefName | None = None

    def dots(self, *, quiet: bool = True) -> Dots:
        from dm_compose.dots.all_dots import Dots

        return Dots(Narrator(quiet=quiet))

    def named_or_current(self, text: str | None, *, quiet: bool) -> Dot:
        return self.dots(quiet=quiet).dot(DotName.parse(text)) if text is not None else self.dot(quiet=quiet)

    def stack(self, *, quiet: bool) -> Stack:
        """Return the stack."""
        from dm_compose.dots.stack import Stack

        return Stack(self.options, Narrator(quiet=quiet))

    def dot(self, *, quiet: bool, for_ref: bool = False) -> Dot:
        return self.stack(quiet=quiet)

    def default_ref(self) -> str:
        return "HEAD"


@dataclass
class StoreTarget:
    """The dot and branch that `--dot` and `--branch` name; else DM_DOT, this directory's Compose project, the current dot."""

    named_dot: DotName | None = None
    named_branch: RefName | None = None

    def dots(self, *, quiet: bool = True) -> Dots:
        """Return all dots of the store."""
        from dm_compose.dots.all_dots import Dots

        return Dots(Narrator(quiet=quiet))

    def name(self) -> DotName | None:
        """Return the dot that was named."""
        given = os.environ.get(DOT_VARIABLE)
        return self.named_dot or (DotName.parse(given) if given else None)

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
        """Return the dot that is meant without being chosen by `switch`: the named one, else this directory's."""
        if (name := self.name()) is not None:
            return name
        found = self._stack(dots, quiet=True)
        return found[1] if found is not None else None

    def chosen(self, store: Store) -> DotName:
        """Return the name of the dot that `dot` returns, with nothing but the store opened."""
        from dm_compose.dots.stack import Stack

        found = self.dot(quiet=True, for_ref=True)
        return found.identity(store)[0] if isinstance(found, Stack) else cast("StoredDot", found).name

    def default_ref(self) -> str:
        return self.named_branch or "HEAD"

    def _stack(self, dots: Dots, *, quiet: bool) -> tuple[Stack, DotName] | None:
        """Return the stack of this directory and its dot, if there is a compose file and the dot is in the store."""
        if dots.engine is None or not Compose(ComposeOptions()).files():
            return None
        from dm_compose.dots.stack import Stack

        stack = Stack(ComposeOptions(), Narrator(quiet=quiet))
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
