"""Blobs on their way to a remote. Several are sent at once, and each once; their number in memory is bounded."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

from dm_compose.core.events import Event, Listener
from dm_compose.remotes.base import Repository
from dm_compose.remotes.names import Digest


class Uploads:
    """Sends blobs that the repository does not have, in threads. `sent` has the sizes of those that it sent. Thread-safe."""

    def __init__(self, repository: Repository, connections: int, progress: Listener) -> None:
        self.sent: dict[Digest, int] = {}
        self._repository = repository
        self._progress = progress
        self._room = threading.Semaphore(connections + 1)
        self._pool = ThreadPoolExecutor(connections, thread_name_prefix="upload")
        self._guard = threading.Lock()
        self._pending: dict[Digest, Future[None]] = {}
        self._failed = False

    def put(self, digest: Digest, data: bytes) -> None:
        """Send a blob in the background. Waits while one blob more than there are connections is on its way.

        Raises the first error of an earlier blob, if there was one.
        """
        with self._guard:
            if digest in self._pending:
                return
        if self._failed:
            self.wait()
        self._room.acquire()
        future = self._pool.submit(self._send, digest, data)
        with self._guard:
            self._pending[digest] = future

    def _send(self, digest: Digest, data: bytes) -> None:
        try:
            if not self._repository.has(digest):
                self._repository.put(digest, data)
                with self._guard:
                    self.sent[digest] = len(data)
                    total = sum(self.sent.values())
                self._progress(Event("upload", digest.short, done=total, unit="bytes"))
        except BaseException:
            self._failed = True
            raise
        finally:
            self._room.release()

    def wait(self) -> None:
        """Wait until all blobs are on the remote. Raises the first error."""
        with self._guard:
            futures = list(self._pending.values())
        for future in futures:
            future.result()

    def close(self) -> None:
        """Give up the blobs that are not begun, and end the threads."""
        self._pool.shutdown(cancel_futures=True)
