"""Packs on their way from a remote. Several are fetched at once, ahead of their use; their number in memory is bounded."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from dm_compose.core.events import Event, Listener
from dm_compose.remotes.base import Remote, Repository
from dm_compose.remotes.names import Digest, digest_of
from dm_compose.store.exchange import Staging
from dm_compose.transfer.manifests import Descriptor
from dm_compose.transfer.reading import damaged, read_blob, stream


class PackDownloads:
    """Fetches `packs` in order, in threads, as many at once as the remote has connections.

    A pack that comes over a network is kept in the staging place until `forget`. So the next try of a killed transfer goes on in
    the middle of a pack. `received` counts the bytes, those of an earlier try included.
    """

    def __init__(
        self, remote: Remote, repository: Repository, staging: Staging, packs: Iterable[Descriptor], progress: Listener
    ) -> None:
        self.received = 0
        self._local = remote.local
        self._repository = repository
        self._staging = staging
        self._progress = progress
        self._packs = list(packs)
        self._ahead = remote.connections
        self._pool = ThreadPoolExecutor(remote.connections, thread_name_prefix="download")
        self._futures: dict[Digest, Future[bytes | None]] = {}
        self._guard = threading.Lock()
        self._next = 0
        self._total = sum(pack.size for pack in self._packs)
        self._fill()

    def _fill(self) -> None:
        while self._next < len(self._packs) and len(self._futures) < self._ahead:
            pack = self._packs[self._next]
            self._futures[pack.digest] = self._pool.submit(self._load, pack)
            self._next += 1

    def take(self, pack: Descriptor) -> bytes:
        """Return the next pack. Its digest has been checked. The caller takes the packs in the order in which it gave them."""
        data = self._futures.pop(pack.digest).result()
        self._fill()
        if data is not None:
            return data
        return self._staging.read_blob(pack.digest.hex)

    def _load(self, pack: Descriptor) -> bytes | None:
        """Fetch a pack and check its digest. Return it, or None when it is in the staging place."""
        if self._local:
            data = read_blob(self._repository, pack, what="pack")
            self._count(len(data))
            return data
        resumed = self._staging.blob_size(pack.digest.hex) > 0
        data = self._download(pack)
        if digest_of(data) != pack.digest and resumed:  # a power cut may have torn the part from before
            self._staging.remove_blob(pack.digest.hex)
            data = self._download(pack)
        if digest_of(data) != pack.digest:
            self._staging.remove_blob(pack.digest.hex)
            raise damaged(f"pack {pack.digest.short}")
        return None

    def _download(self, pack: Descriptor) -> bytes:
        name = pack.digest.hex
        start = self._staging.blob_size(name)
        if start > pack.size:
            self._staging.remove_blob(name)
            start = 0
        self._count(start)
        if start < pack.size:
            for data in stream(self._repository, pack, start, what=f"pack {pack.digest.short}"):
                self._staging.append_blob(name, data)
                self._count(len(data))
        return self._staging.read_blob(name)

    def _count(self, size: int) -> None:
        with self._guard:
            self.received += size
        self._progress(Event("fetch", done=self.received, total=self._total, unit="bytes"))

    def forget(self, pack: Digest) -> None:
        """Remove a pack that nobody needs any more from the staging place."""
        if not self._local:
            self._staging.remove_blob(pack.hex)

    def close(self) -> None:
        """Give up the packs that are not begun, and end the threads."""
        self._pool.shutdown(cancel_futures=True)
