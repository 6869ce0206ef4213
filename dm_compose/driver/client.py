"""Questions to a driver's process, over its socket."""

from __future__ import annotations

import http.client
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dm_compose.driver.engines import peer_of
from dm_compose.driver.server import LEAVE_CALL, STATUS_CALL
from dm_compose.errors import EngineError

TIMEOUT_S = 10.0


@dataclass(frozen=True)
class DriverProcess:
    """A driver's process that answers.

    `leaving` says that the driver was reset and answers only until the engine ends. `pid` is 0 where the process is not in our
    PID namespace.
    """

    pid: int
    store: Path
    version: str
    leaving: bool


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("driver", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.fspath(self._path))


def ask(path: Path, timeout_s: float = TIMEOUT_S) -> DriverProcess | None:
    """Ask a driver about itself. None when nobody answers at its socket; EngineError when another plugin answers."""
    found = _call(path, STATUS_CALL, timeout_s)
    if found is None:
        return None
    pid, answer = found
    try:
        return DriverProcess(pid, Path(answer["Store"]), str(answer["Version"]), bool(answer["Leaving"]))
    except (KeyError, TypeError):
        raise EngineError(
            f"a plugin that is not dm-compose's answers at {path}", hint="Remove that plugin first: a name has one driver."
        ) from None


def tell_to_leave(path: Path) -> None:
    """Have a driver let go of its store, and end when the engine does. Idempotent."""
    _call(path, LEAVE_CALL, TIMEOUT_S)


def _call(path: Path, call: str, timeout_s: float) -> tuple[int, Any] | None:
    connection = _Connection(path, timeout_s)
    try:
        connection.connect()
        pid = peer_of(connection.sock)
        connection.request("POST", f"/{call}")
        response = connection.getresponse()
        data = response.read()
        return pid, (json.loads(data) if response.status == http.client.OK else None)
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
