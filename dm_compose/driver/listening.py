"""The socket in Docker's plugin directory. It appears at once, belongs to one process, and only that process removes it.

Docker finds a plugin NAME by the file `NAME/NAME.sock` in that directory. A socket at which nobody answers costs the engine 15 s
at every look-up of a volume.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from pathlib import Path

from dm_compose.errors import InUseError, UsageError
from dm_compose.objects.system import file_errors

PLUGINS = Path("/run/docker/plugins")  # https://docs.docker.com/engine/extend/plugin_api/#plugin-discovery
_BACKLOG = 128
_LONGEST_PATH = 107  # sockaddr_un, unix(7)


def socket_of(plugin: str, plugins: Path = PLUGINS) -> Path:
    """Return the path of a plugin's socket."""
    return plugins / plugin / f"{plugin}.sock"


class Listening:
    """A listening socket at a path `.../NAME/NAME.sock`, for root only.

    A kernel lock on the directory says which process owns the socket. The lock ends with the process, and the socket of a dead
    one is replaced. InUseError when another process has the lock.
    """

    def __init__(self, path: Path) -> None:
        if path.parent.name != path.stem or path.suffix != ".sock":
            raise UsageError(f"invalid socket {path}", hint="It must be NAME/NAME.sock in Docker's plugin directory.")
        if len(os.fsencode(path)) > _LONGEST_PATH - len(".new"):
            raise UsageError(f"the path of socket {path} is too long", hint=f"The kernel takes {_LONGEST_PATH} bytes.")
        self.path = path
        with file_errors("making Docker's plugin socket"):
            self._directory = _claim(path.parent)
            try:
                self.socket = self._bind()
            except BaseException:
                os.close(self._directory)
                raise

    def _bind(self) -> socket.socket:
        beside = self.path.with_suffix(".new")
        beside.unlink(missing_ok=True)
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            bound.bind(os.fspath(beside))
            beside.chmod(0o600)
            bound.listen(_BACKLOG)
            os.rename(beside, self.path)
        except BaseException:
            bound.close()
            beside.unlink(missing_ok=True)
            raise
        return bound

    def close(self) -> None:
        """Remove the socket and its directory, and stop listening then. Idempotent."""
        if self._directory < 0:
            return
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.parent.rmdir()
        self.socket.close()
        os.close(self._directory)
        self._directory = -1


def _claim(directory: Path) -> int:
    """Return a locked descriptor of a directory, which is made if it is missing."""
    while True:
        for missing in [d for d in reversed([directory, *directory.parents]) if not d.exists()]:
            missing.mkdir(mode=0o700, exist_ok=True)
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise InUseError(f"another process listens in {directory}", hint="`dm cluster status` shows it.") from None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(fd), os.stat(directory)):
                os.fchmod(fd, 0o700)
                return fd
        os.close(fd)  # the directory's owner removed it meanwhile
