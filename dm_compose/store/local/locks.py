"""Kernel locks of a store, one file each. The kernel gives a lock back when its process dies."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import threading
import time
import uuid
from collections.abc import Container, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from dm_compose.errors import InUseError
from dm_compose.objects.system import file_errors

POLL_S = 0.02
LISTING_TIMEOUT_S = 600.0  # a collection of many gigabytes may take minutes
COLLECTING_TIMEOUT_S = 60.0  # commits are listed in well under a second


class StoreLock:
    """The lock of a whole store: shared by those who list received commits, and held alone by the one who collects garbage.

    It is the innermost lock of all: its holder takes no other one. It is the kernel's lock of a directory that is never removed.
    Each use opens the directory anew, so that threads of one process exclude each other as well.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def listing(self) -> contextlib.AbstractContextManager[None]:
        """Hold the lock together with others that list commits. InUseError after LISTING_TIMEOUT_S."""
        return self._held(fcntl.LOCK_SH, LISTING_TIMEOUT_S, "another process still collects garbage in this store")

    def collecting(self) -> contextlib.AbstractContextManager[None]:
        """Hold the lock alone. InUseError after COLLECTING_TIMEOUT_S."""
        return self._held(fcntl.LOCK_EX, COLLECTING_TIMEOUT_S, "another process lists commits or collects garbage in this store")

    @contextlib.contextmanager
    def _held(self, kind: int, timeout_s: float, busy: str) -> Iterator[None]:
        with file_errors("locking the store"):
            fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            deadline = time.monotonic() + timeout_s
            with file_errors("locking the store"):
                while not try_flock(fd, kind):
                    if time.monotonic() >= deadline:
                        raise InUseError(busy, hint="Wait until it has ended, or end it.")
                    time.sleep(POLL_S)
            yield
        finally:
            os.close(fd)


def try_flock(fd: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Take the kernel's lock of an open file. Return False if somebody else has it. Closing the descriptor gives it back."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno != errno.EWOULDBLOCK:
            raise
        return False
    return True


class Locks:
    """Locks by name. A lock excludes everybody else, also other threads of this process."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._held: dict[str, FileLock] = {}
        self._guard = threading.Lock()

    def acquire(self, name: str, who: str, timeout_s: float) -> str:
        """Take a lock, and return a token for `release`. InUseError, which names the holder, after `timeout_s`."""
        safe = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
        holder = self._directory / f"{safe}.holder"
        with file_errors(f"locking {name}"):
            lock = FileLock(self._directory / f"{safe}.lock", thread_local=False)
            try:
                lock.acquire(timeout=timeout_s, poll_interval=POLL_S)
            except Timeout:
                held_by = "another process"
                with contextlib.suppress(OSError):
                    held_by = holder.read_text() or held_by
                raise InUseError(f"{name} is in use by {held_by}", hint="Wait until it has ended, or end it.") from None
            with contextlib.suppress(OSError):  # the disk may be full, and the lock works without this
                holder.write_text(who)
        token = uuid.uuid4().hex
        with self._guard:
            self._held[token] = lock
        return token

    def release(self, token: str) -> None:
        """Give a lock back. Idempotent."""
        with self._guard:
            lock = self._held.pop(token, None)
        if lock is not None:
            lock.release()

    def holder(self, name: str) -> str | None:
        """See Store.holder. The lock is tried without waiting, and given back at once."""
        safe = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
        with file_errors(f"looking at the lock {name}"):
            if not (self._directory / f"{safe}.lock").exists():
                return None
            try:
                with FileLock(self._directory / f"{safe}.lock", timeout=0):
                    return None
            except Timeout:
                try:
                    return (self._directory / f"{safe}.holder").read_text()
                except OSError:
                    return ""

    def forget(self, dot: str) -> None:
        """Remove the files of a dot's locks. A process that waits for one goes on with a new file. Idempotent."""
        for name in (dot, f"{dot}.session"):
            for kind in ("lock", "holder"):
                (self._directory / f"{name}.{kind}").unlink(missing_ok=True)

    def forget_others(self, dots: Container[str]) -> None:
        """Remove the files of locks that nobody holds, except those of the given dots. Idempotent."""
        for file in sorted(self._directory.glob("*.lock")):
            if file.name.partition(".")[0] not in dots:
                with contextlib.suppress(Timeout), FileLock(file, timeout=0):
                    file.with_suffix(".holder").unlink(missing_ok=True)
                    file.unlink(missing_ok=True)

    def release_all(self) -> None:
        """Give all locks back."""
        for token in list(self._held):
            self.release(token)
