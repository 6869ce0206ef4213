"""Trying again after errors that may pass, for any kind of remote."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TypeVar

from dm_compose.errors import DivergedError, RemoteError
from dm_compose.remotes.base import Blob, Remote, Repository
from dm_compose.remotes.names import Digest, RemoteName, Tag
from dm_compose.remotes.url import RemoteUrl

ATTEMPTS = 6
FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 10.0
T = TypeVar("T")


def persistently(work: Callable[[], T]) -> T:
    """Call `work` until it succeeds, and return its result. Tries up to ATTEMPTS times as long as its errors are passing ones.

    Each wait is twice as long as the one before, up to LONGEST_WAIT_S. A random part of it, up to half, is left out, so that many
    clients do not come back at once.
    """
    for attempt in range(1, ATTEMPTS):
        try:
            return work()
        except RemoteError as error:
            if not error.passing:
                raise
        pause(attempt)
    return work()


def pause(attempt: int) -> None:
    """Wait before the next try, when `attempt` tries have failed."""
    time.sleep(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (attempt - 1)) * random.uniform(0.5, 1))


def retrying(remote: Remote, context: AbstractContextManager[None]) -> Remote:
    """Return a remote that calls `remote` within `context`, which is entered for each call, and again after passing errors."""
    return _RetryingRemote(remote, context)


class _RetryingRemote:
    def __init__(self, inner: Remote, context: AbstractContextManager[None]) -> None:
        self._inner = inner
        self._context = context
        self.url: RemoteUrl = inner.url
        self.guarantee = inner.guarantee
        self.connections = inner.connections
        self.local = inner.local

    def repositories(self) -> list[RemoteName]:
        with self._context:
            return persistently(self._inner.repositories)

    def repository(self, name: RemoteName) -> Repository:
        with self._context:
            return _RetryingRepository(self._inner.repository(name), self._context)

    def below(self) -> list[RemoteUrl]:
        with self._context:
            return persistently(self._inner.below)

    def exposed(self) -> str | None:
        with self._context:
            return self._inner.exposed()

    def close(self) -> None:
        with self._context:
            self._inner.close()


class _RetryingRepository:
    def __init__(self, inner: Repository, context: AbstractContextManager[None]) -> None:
        self._inner = inner
        self._context = context

    def _persistently(self, work: Callable[[], T]) -> T:
        with self._context:
            return persistently(work)

    def has(self, digest: Digest) -> bool:
        return self._persistently(lambda: self._inner.has(digest))

    def put(self, digest: Digest, data: bytes) -> None:
        self._persistently(lambda: self._inner.put(digest, data))

    def get(self, digest: Digest, start: int = 0) -> Iterator[bytes]:
        """Go on where a stream broke. The count of tries begins anew whenever bytes have come."""
        attempt = 1
        while True:
            try:
                with self._context:
                    for data in self._inner.get(digest, start):
                        start += len(data)
                        attempt = 1
                        yield data
                return
            except RemoteError as error:
                if not error.passing or attempt >= ATTEMPTS:
                    raise
            pause(attempt)
            attempt += 1

    def put_manifest(self, data: bytes) -> Digest:
        return self._persistently(lambda: self._inner.put_manifest(data))

    def get_manifest(self, digest: Digest) -> bytes:
        return self._persistently(lambda: self._inner.get_manifest(digest))

    def tags(self) -> list[Tag]:
        return self._persistently(self._inner.tags)

    def resolve(self, tag: Tag) -> Digest | None:
        return self._persistently(lambda: self._inner.resolve(tag))

    def update(self, changes: Mapping[Tag, Digest | None], expected: Mapping[Tag, Digest | None]) -> None:
        """Try again. A failed try may have changed the tags all the same, so tags that are as they should be are no conflict."""
        for attempt in range(1, ATTEMPTS):
            try:
                with self._context:
                    return self._inner.update(changes, expected)
            except DivergedError:
                if attempt > 1 and self._is_done(changes):
                    return None
                raise
            except RemoteError as error:
                if not error.passing:
                    raise
            pause(attempt)
        if self._is_done(changes):
            return None
        with self._context:
            return self._inner.update(changes, expected)

    def _is_done(self, changes: Mapping[Tag, Digest | None]) -> bool:
        return all(self.resolve(tag) == digest for tag, digest in changes.items())

    def blobs(self) -> Iterator[Blob] | None:
        with self._context:
            found = self._inner.blobs()
        return None if found is None else self._each(found)

    def _each(self, found: Iterator[Blob]) -> Iterator[Blob]:
        with self._context:
            yield from found

    def delete(self, digest: Digest) -> None:
        self._persistently(lambda: self._inner.delete(digest))

    def remove(self) -> None:
        self._persistently(self._inner.remove)
