"""The hooks of dm-compose, for plugins: a package with an entry point in the group `dm_compose`.

A misspelt hook in a plugin is an error. docs/plugins.md has examples.
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

    Called once per process, before the first compose file is read. A datastore whose `name` is taken replaces the one registered
    before; plugins are asked after the built-in modules, so a user's plugin wins. May not do any input or output.
    """


@hookspec
def dm_register_remotes(register: Callable[[RemoteKind], None]) -> None:
    """Offer kinds of remote: call `register` once for each.

    Called once per process, before the first remote is opened. A kind that has a scheme of another one replaces it for that
    scheme; plugins are asked after the built-in kinds. May not do any input or output.
    """
