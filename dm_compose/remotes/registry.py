"""The kinds of remote by the schemes of their addresses, and opening a remote by its address."""

from __future__ import annotations

import contextlib
import functools

from dm_compose.errors import UsageError
from dm_compose.plugins import Blame, Plugins, plugins
from dm_compose.remotes import builtin
from dm_compose.remotes.base import Context, Remote, RemoteKind
from dm_compose.remotes.retry import retrying
from dm_compose.remotes.url import RemoteUrl


class Kinds:
    """The registered kinds by scheme. A plugin's kind replaces a built-in one of the same scheme."""

    def __init__(self, plugins: Plugins) -> None:
        self._by_scheme: dict[str, RemoteKind] = {}
        self._plugins: dict[str, str | None] = {}  # by scheme
        plugins.ask("dm_register_remotes", [builtin], self._register)

    def _register(self, plugin: str | None, kind: RemoteKind) -> None:
        for scheme in kind.schemes:
            self._by_scheme[scheme], self._plugins[scheme] = kind, plugin

    def schemes(self) -> list[str]:
        """Return all schemes, sorted."""
        return sorted(self._by_scheme)

    def open(self, url: RemoteUrl, context: Context) -> Remote:
        """Return the remote at an address. It tries again after passing errors, and tells a plugin's failures as that plugin's.

        UsageError when no kind has the address's scheme.
        """
        if (kind := self._by_scheme.get(url.scheme)) is None:
            raise UsageError(f"no kind of remote has addresses with {url.scheme}://", hint=f"Known: {', '.join(self.schemes())}.")
        plugin = self._plugins[url.scheme]
        blame = Blame(plugin, f"its remote {url.scheme}://") if plugin is not None else contextlib.nullcontext()
        with blame:
            return retrying(kind.open(url, context), blame)


@functools.cache
def kinds() -> Kinds:
    """Return the kinds that this process knows: the built-in ones and those of installed plugins. Read once per process."""
    return Kinds(plugins())


def open_remote(url: RemoteUrl, context: Context | None = None) -> Remote:
    """Return the remote at an address, without talking to it yet. Its methods try again after passing errors. UsageError."""
    return kinds().open(url, context or Context())
