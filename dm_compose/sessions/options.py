"""Options of a session: how a test run wants its stack."""

from __future__ import annotations

from dataclasses import dataclass

from dm_compose.core.variables import DEFAULT_TIMEOUT_S
from dm_compose.live.locks import LOCK_TIMEOUT_S
from dm_compose.up.durability import FULL

STRATEGIES = ("auto", "respawn", "restart")


@dataclass(frozen=True)
class SessionOptions:
    """Options of a session. Times are in seconds. With `lock_timeout_s` 0 it does not wait for another session.

    `strategy` says how a datastore is taken down and up. `respawn` runs its program under a supervisor, in containers that the
    session makes, and kills only the program. `restart` kills and starts containers. `auto` respawns if that can be done.

    With `durability` `off`, engines in containers that the session makes do not wait for the disk, if a sound way is known. The
    event `durability` tells for which.
    """

    commit: str = "HEAD"
    any_version: bool = False
    ready_timeout_s: float = DEFAULT_TIMEOUT_S
    lock_timeout_s: float = LOCK_TIMEOUT_S
    strategy: str = "auto"
    durability: str = FULL
