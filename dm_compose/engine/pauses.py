"""Freezing and thawing a container, also while the engine does not know yet which of the two it is.

The engine notes a pause twice: at once, and when containerd's event of it arrives (`ProcessEvent` in daemon/monitor.go, 20.10 to
29). The same holds for an unpause. So when a pause follows an unpause before the event of that has come, the engine takes the
frozen container for a running one for a while, and refuses to thaw it: "is not paused". With both cores busy that happened to 6
of 900 pauses, for 12 to 49 ms (2026-11-29, Engine 20.10). The kernel knows better, where it can be asked.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dm_compose.engine.calls import engine_errors
from dm_compose.engine.cgroups import is_frozen
from dm_compose.errors import EngineError, NotFoundError

if TYPE_CHECKING:
    from docker.api import APIClient

_CATCH_UP_S = 10.0
_UNSEEN_S = 0.5  # ten times the longest delay that was seen
_STEP_S = 0.01
_TRIES = 3


def pause(api: APIClient, container_id: str) -> None:
    """Freeze a running container. EngineError, also when somebody else has frozen it."""
    deadline, tries = time.monotonic() + _CATCH_UP_S, 0
    while True:
        tries += 1
        try:
            with engine_errors(f"pausing container {container_id[:12]}"):
                api.pause(container_id)
            return
        except EngineError as error:
            if "unable to freeze" in error.message and tries < _TRIES:  # on a busy machine runc may give up and undo it
                continue
            late = "already paused" in error.message and time.monotonic() < deadline
            if not late or _frozen(api, container_id) is not False:
                raise
        time.sleep(_STEP_S)


def unpause(api: APIClient, container_id: str) -> None:
    """Thaw a container, and return when it is thawed. Does nothing when it is not frozen, not running or gone. EngineError."""
    began = time.monotonic()
    while True:
        try:
            with engine_errors(f"resuming container {container_id[:12]}"):
                api.unpause(container_id)
            return
        except NotFoundError:
            return
        except EngineError as error:
            if "not running" in error.message:
                return
            if "not paused" not in error.message:
                raise
            frozen = _frozen(api, container_id)
            waited = time.monotonic() - began
            if frozen is False or (frozen is None and waited > _UNSEEN_S):
                return
            if waited > _CATCH_UP_S:
                raise
        time.sleep(_STEP_S)


def _frozen(api: APIClient, container_id: str) -> bool | None:
    try:
        with engine_errors(f"looking at container {container_id[:12]}"):
            pid = api.inspect_container(container_id)["State"]["Pid"]
    except NotFoundError:
        return False
    return is_frozen(pid, container_id) if pid else False
