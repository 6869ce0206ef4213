"""Which engines have called us, and when they end. The kernel tells who is at the other end of a unix socket."""

from __future__ import annotations

import os
import select
import socket
import struct
import threading

_CREDENTIALS = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid


def peer_of(connection: socket.socket) -> int:
    """Return the process at the other end of a unix socket, or that listens there; 0 when it is outside of our PID namespace."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(data)[0])


class Engines:
    """The processes that have made an engine's calls. Thread-safe."""

    def __init__(self) -> None:
        self._descriptors: dict[int, int] = {}
        self._unseen = False
        self._guard = threading.Lock()

    def note(self, pid: int) -> bool:
        """Remember a process that is connected to us now; return whether it is a new one."""
        with self._guard:
            if (known := self._descriptors.get(pid)) is not None and not _has_ended(known):
                return False
            try:
                descriptor = os.pidfd_open(pid)
            except ProcessLookupError:
                return False
            except OSError:  # not in our PID namespace, or a kernel before 5.3
                was, self._unseen = self._unseen, True
                return not was
            if known is not None:
                os.close(known)
            self._descriptors[pid] = descriptor
            return True

    def living(self) -> list[int] | None:
        """Return descriptors that become readable when one of those that live ends; None when there are some that we cannot see
        end.
        """
        with self._guard:
            for pid, descriptor in list(self._descriptors.items()):
                if _has_ended(descriptor):
                    os.close(self._descriptors.pop(pid))
            return None if self._unseen else list(self._descriptors.values())

    def close(self) -> None:
        """Forget all."""
        with self._guard:
            for descriptor in self._descriptors.values():
                os.close(descriptor)
            self._descriptors.clear()


def _has_ended(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])
