"""Installed plugins: they are loaded and asked for datastores and remotes here, and their failures are told as theirs."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

import pluggy

from dm_compose import hookspecs
from dm_compose.errors import DmError, PluginError

P = ParamSpec("P")
T = TypeVar("T")
Register = Callable[[str | None, Any], None]
"""`register(plugin, offered)`: take a datastore or kind of remote. `plugin` is None for one that comes with dm-compose."""


@dataclass(frozen=True)
class Blame(contextlib.AbstractContextManager[None]):
    """A context in which a plugin's code runs: an exception that leaves it becomes a PluginError, which names the plugin.

    `what` says which part of the plugin runs. A DmError stays as it is, because it is the plugin's way to report a problem.
    Errors of the types `unless` stay as they are too. The context is reusable and thread-safe.
    """

    plugin: str
    what: str
    unless: tuple[type[Exception], ...] = ()

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if isinstance(error, Exception) and not isinstance(error, (DmError, *self.unless)):
            said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise PluginError(
                f"plugin {self.plugin}: {self.what} raised {said}", hint="The fault is the plugin's. Tell its author."
            ) from error

    def around(self, function: Callable[P, T]) -> Callable[P, T]:
        """Return a function that does the same in this context."""

        @functools.wraps(function)
        def blamed(*args: P.args, **kwargs: P.kwargs) -> T:
            with self:
                return function(*args, **kwargs)

        return blamed


class Plugins:
    """The plugins that `entries` name. PluginError for one that cannot be loaded, or that has a hook which does not exist."""

    def __init__(self, entries: Iterable[importlib.metadata.EntryPoint]) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._installed: dict[str, object] = {}
        for entry in entries:
            with Blame(entry.name, "loading it"):
                self._installed[entry.name] = entry.load()
                self._manager.register(self._installed[entry.name], entry.name)
                self._manager.check_pending()

    def ask(self, hook: str, built_in: Iterable[object], register: Register) -> None:
        """Have `register` called with everything that our own modules offer by a hook, and then with what plugins offer.

        Failures of our own modules are bugs of dm-compose. Those of a plugin are PluginErrors.
        """
        for module in built_in:
            self._manager.register(module)
            self._call(hook, module, functools.partial(register, None))
        for name, plugin in self._installed.items():
            with Blame(name, f"its hook {hook}"):
                self._call(hook, plugin, functools.partial(register, name))

    def _call(self, hook: str, plugin: object, register: Callable[[Any], None]) -> None:
        others = [other for other in self._manager.get_plugins() if other is not plugin]
        self._manager.subset_hook_caller(hook, others)(register=register)


@functools.cache
def plugins() -> Plugins:
    """Return the plugins that are installed beside this process."""
    return Plugins(importlib.metadata.entry_points(group=hookspecs.PROJECT))
