"""The list of known datastores, and the search for the one that a service runs."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Iterator

import pluggy

from dm_compose import hookspecs
from dm_compose.datastores import builtin
from dm_compose.datastores.base import Datastore, Service
from dm_compose.errors import UsageError


class Registry:
    """The registered datastores by name, in the order in which they were registered."""

    def __init__(self, manager: pluggy.PluginManager) -> None:
        self._by_name: dict[str, Datastore] = {}
        # pluggy calls the newest plugin first. The built-in modules come last here, so that a user's plugin may replace one.
        for plugin in _built_in_modules():
            manager.register(plugin)
        try:
            manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise UsageError(f"plugin {error.plugin} does not fit: {error}", hint="docs/plugins.md lists the hooks.") from None
        manager.hook.dm_register_datastores(register=self._register)

    def _register(self, datastore: Datastore) -> None:
        self._by_name.pop(datastore.name, None)
        self._by_name[datastore.name] = datastore

    def __iter__(self) -> Iterator[Datastore]:
        return iter(self._by_name.values())

    def get(self, name: str | None) -> Datastore | None:
        """Return the datastore of this name; None if there is none."""
        return self._by_name.get(name or "")

    def names(self) -> list[str]:
        """Return the names of all datastores, sorted."""
        return sorted(self._by_name)

    def find(self, service: Service) -> Datastore | None:
        """Return the datastore that a service runs; None for anything else.

        Three things are tried in this order, each against the latest registration first: the patterns against the whole
        repository; the patterns against the last part of the repository's name (somebody's own `acme/postgres`); environment
        variables that only images of one datastore set.
        """
        newest_first = list(reversed(self._by_name.values()))
        repository = service.image.repository
        for name in (repository, repository.rpartition("/")[2]):
            for datastore in newest_first:
                if datastore.fits(name):
                    return datastore
        for datastore in newest_first:
            if any(marker in service.image.environment for marker in datastore.markers):
                return datastore
        return None


def _built_in_modules() -> list[object]:
    names = sorted(module.name for module in pkgutil.iter_modules(builtin.__path__))
    return [importlib.import_module(f"{builtin.__name__}.{name}") for name in names]


@functools.cache
def registry() -> Registry:
    """Return the datastores of this process: built-in ones and those of installed plugins."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.load_setuptools_entrypoints(hookspecs.PROJECT)
    return Registry(manager)
