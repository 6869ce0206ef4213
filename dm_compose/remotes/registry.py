"""The kinds of remote by the schemes of their addresses, and opening a remote by its address."""

from __future__ import annotations

import functools

import pluggy

from dm_compose import hookspecs
from dm_compose.errors import UsageError
from dm_compose.remotes import builtin
from dm_compose.remotes.base import Context, Remote, RemoteKind
from dm_compose.remotes.retry import retrying
from dm_compose.remotes.url import RemoteUrl


class Kinds:
    """The registered kinds by scheme. A plugin's kind replaces a built-in one of the same scheme."""

    def __init__(self, manager: pluggy.PluginManager) -> None:
        self._by_scheme: dict[str, RemoteKind] = {}
        # pluggy calls the plugin that was registered last first. So the built-in kinds are registered last, and a plugin of the
        # user, which is called after them, replaces theirs.
        manager.register(builtin)
        try:
            manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise UsageError(f"plugin {error.plugin} does not fit: {error}", hint="docs/plugins.md lists the hooks.") from None
        manager.hook.dm_register_remotes(register=self._register)

    def _register(self, kind: RemoteKind) -> None:
        for scheme in kind.schemes:
            self._by_scheme[scheme] = kind

    def schemes(self) -> list[str]:
        """Return all schemes, sorted."""
        return sorted(self._by_scheme)

    def kind(self, scheme: str) -> RemoteKind:
        """Return the kind of a scheme, or raise UsageError."""
        if (found := self._by_scheme.get(scheme)) is None:
            raise UsageError(f"no kind of remote has addresses with {scheme}://", hint=f"Known: {', '.join(self.schemes())}.")
        return found


@functools.cache
def kinds() -> Kinds:
    """Return the kinds that this process knows: the built-in ones and those of installed plugins. Read once per process."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.load_setuptools_entrypoints(hookspecs.PROJECT)
    return Kinds(manager)


def open_remote(url: RemoteUrl, context: Context | None = None) -> Remote:
    """Return the remote at an address, without talking to it yet. Its methods try again after passing errors. UsageError."""
    return retrying(kinds().kind(url.scheme).open(url, context or Context()))
