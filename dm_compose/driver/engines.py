"""The engines that have called the driver, and their end. The kernel tells which process is at the other end of a socket."""

from __future__ import annotations

import os
import select
import socket
import struct
import threading

_CREDENTIALS = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid


def peer_of(connection: socket.socket) -> int:
    """Return the process that is connected at, or listens at, the other end of a unix socket.

    0 when it is outside of our PID namespace.
    """
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(data)[0])


class Engines:
    """The processes of engines that have called. Thread-safe."""

    def __init__(self) -> None:
        self._descriptors: dict[int, int] = {}
        self._unseen = False
        self._guard = threading.Lock()

    def note(self, pid: int) -> bool:
        """Remember a process that is connected to us now. Return whether it is a new one."""
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
        """Return a descriptor for each process that lives, which becomes readable when that process ends.

        None when a process has called whose end cannot be seen from here.
        """
        with self._guard:
            for pid, descriptor in list(self._descriptors.items()):
                if _has_ended(descriptor):
                    os.close(self._descriptors.pop(pid))
            return None if self._unseen else list(self._descriptors.values())

    def close(self) -> None:
        """Forget all processes."""
        with self._guard:
            for descriptor in self._descriptors.values():
                os.close(descriptor)
            self._descriptors.clear()


def _has_ended(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])
