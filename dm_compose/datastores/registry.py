"""The list of known datastores, and the search for the one that a service runs."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import replace

from dm_compose.datastores import builtin
from dm_compose.datastores.base import Datastore, Resume, Running, ServiceFacts
from dm_compose.plugins import Blame, Plugins, plugins


class Registry:
    """The registered datastores by name, in the order in which they were registered."""

    def __init__(self, plugins: Plugins) -> None:
        self._by_name: dict[str, Datastore] = {}
        plugins.ask("dm_register_datastores", _built_in_modules(), self._register)

    def _register(self, plugin: str | None, datastore: Datastore) -> None:
        if plugin is not None:
            datastore = _blaming(plugin, datastore)
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

    def find(self, service: ServiceFacts) -> Datastore | None:
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


def _blaming(plugin: str, datastore: Datastore) -> Datastore:
    """Return a plugin's datastore whose functions, when they fail, name the plugin and raise PluginError."""
    if re.compile(datastore.tag_version).groups == 0:
        raise ValueError(f"tag_version of datastore {datastore.name} has no group: {datastore.tag_version!r}")

    def blame(part: str, *unless: type[Exception]) -> Blame:
        return Blame(plugin, f"{part} of datastore {datastore.name}", unless)

    def quiesce(running: Running) -> Resume | None:
        assert datastore.quiesce is not None
        with blame("quiesce"):
            resume = datastore.quiesce(running)
        return None if resume is None else blame("the end of quiesce").around(resume)

    return replace(
        datastore,
        data=blame("data").around(datastore.data) if callable(datastore.data) else datastore.data,
        port=blame("port").around(datastore.port) if callable(datastore.port) else datastore.port,
        ready=None if datastore.ready is None else blame("ready", OSError).around(datastore.ready),
        set_up=None if datastore.set_up is None else blame("set_up").around(datastore.set_up),
        quiesce=None if datastore.quiesce is None else quiesce,
        check=None if datastore.check is None else blame("check").around(datastore.check),
    )


@functools.cache
def registry() -> Registry:
    """Return the datastores of this process: built-in ones and those of installed plugins."""
    return Registry(plugins())
