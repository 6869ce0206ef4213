"""The hooks of dm-compose. A plugin is a package with an entry point in the group `dm_compose`.

A hook that is misspelt in a plugin is an error. docs/plugins.md has examples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from dm_compose.datastores.base import Datastore
    from dm_compose.remotes.base import RemoteKind

PROJECT = "dm_compose"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def dm_register_datastores(register: Callable[[Datastore], None]) -> None:
    """Offer datastores: call `register` once for each.

    The hook is called once per process, before the first compose file is read. It must not do any input or output. A datastore
    whose `name` is taken replaces the one that was registered before. Plugins are asked after the built-in modules, so that a
    user's plugin wins.
    """


@hookspec
def dm_register_remotes(register: Callable[[RemoteKind], None]) -> None:
    """Offer kinds of remote: call `register` once for each.

    The hook is called once per process, before the first remote is opened. It must not do any input or output. A kind whose
    scheme is taken replaces the other kind for that scheme. Plugins are asked after the built-in kinds, so that a user's plugin
    wins.
    """
