"""The sending side of a local store."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from pathlib import Path

from dm_compose.core.names import CommitId, DotName
from dm_compose.errors import DamagedError
from dm_compose.state import Database
from dm_compose.storage.contents import BLOCK_BYTES, digest_of_file, extents
from dm_compose.storage.objects import ObjectStore
from dm_compose.storage.system import file_errors
from dm_compose.store.exchange import PART_BYTES, ZEROS_BYTES, ByteRange, Difference, ObjectPart
from dm_compose.store.local.locks import StoreLock
from dm_compose.store.local.staging import STAGING_PREFIX, LocalStaging

_COMPARE_BYTES = 256 << 10  # stays in the processor's cache
_PART_BYTES = 32 << 10
_ZEROS = bytes(max(_COMPARE_BYTES, ZEROS_BYTES))


class LocalExchange:
    """See dm_compose.store.exchange.Exchange."""

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        store_lock: StoreLock,
        root: Path,
        make_tree: Callable[[DotName], None],
    ) -> None:
        self._database = database
        self._objects = objects
        self._store_lock = store_lock
        self._make_tree = make_tree
        self._incoming = root / "incoming"

    def manifest(self, ref: str) -> bytes:
        with self._open(ref) as fd, open(fd, "rb", closefd=False) as file:
            return file.read()

    def digests(self, refs: Set[str]) -> dict[str, str]:
        wanted = set(refs)
        found: dict[str, str] = {}
        for batch in {ref.partition("/")[0] for ref in wanted}:
            found.update(self._database.digests(batch))
        return {ref: found[ref] for ref in wanted & found.keys()}

    def add_digests(self, digests: Mapping[str, str]) -> None:
        self._database.add_digests(digests)

    def present(self, refs: Set[str]) -> set[str]:
        return {ref for ref in refs if os.path.exists(self._objects.path(ref))}

    def part(self, ref: str, offset: int) -> ObjectPart:
        with self._open(ref) as fd:
            size = os.fstat(fd).st_size
            runs: list[tuple[int, bytes]] = []
            left = PART_BYTES
            for is_data, start, end in extents(fd, offset, size):
                offset = start
                while is_data and offset < end and left:
                    data = os.pread(fd, min(left, end - offset), offset)
                    if not data:
                        raise DamagedError(f"object {ref} became shorter while it was read")
                    runs += _without_zeros(offset, data)
                    offset += len(data)
                    left -= len(data)
                if not left:
                    break
                offset = end
            return ObjectPart(size, offset, tuple(runs))

    def read(self, ref: str, ranges: Sequence[tuple[int, int]]) -> bytes:
        with self._open(ref) as fd:
            return b"".join(os.pread(fd, length, offset) for offset, length in ranges)

    def compare(self, ref: str, base: str) -> Difference:
        with self._open(ref) as fd, self._open(base) as base_fd:
            return compare(fd, base_fd)

    @contextlib.contextmanager
    def _open(self, ref: str) -> Iterator[int]:
        fd = self._objects.open_object(ref)
        try:
            with file_errors(f"reading object {ref}"):
                yield fd
        finally:
            os.close(fd)

    def intact(self, digests: Mapping[str, str]) -> set[str]:
        with file_errors("reading objects"):
            return {ref for ref, digest in digests.items() if digest_of_file(self._objects.path(ref)) == digest}

    def has_commit(self, dot: DotName, commit_id: CommitId) -> bool:
        return commit_id in self._database.commits_by_prefix(dot, commit_id)

    def stage(self, dot: DotName) -> LocalStaging:
        directory = self._incoming / f"{STAGING_PREFIX}{dot}"
        return LocalStaging(self._database, self._objects, self._store_lock, directory, dot, self._make_tree)


def _without_zeros(start: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the (offset, bytes) that lie between runs of ZEROS_BYTES zeros."""
    first = 0
    for position in range(0, len(data) - ZEROS_BYTES + 1, ZEROS_BYTES):
        if data.startswith(_ZEROS[:ZEROS_BYTES], position):
            if first < position:
                yield start + first, data[first:position]
            first = position + ZEROS_BYTES
    if first < len(data):
        yield start + first, data[first:] if first else data


def compare(fd: int, base_fd: int) -> Difference:
    """Return the difference between an open object and an open base. DamagedError when the object becomes shorter meanwhile."""
    size, base_size = os.fstat(fd).st_size, os.fstat(base_fd).st_size
    digest = hashlib.sha256()
    runs: list[ByteRange] = []
    position = 0
    for is_data, start, end in extents(fd, 0, size):
        while start < end:
            length = min(_COMPARE_BYTES, end - start)
            if is_data:
                data = os.pread(fd, length, start)
                if len(data) != length:
                    raise DamagedError("an object became shorter while it was read")
            else:
                data = _ZEROS[:length]
            digest.update(data)
            if is_data or start < base_size:
                base = os.pread(base_fd, length, start)
                if data != base:
                    _add_differing(runs, start, data, base)
                elif not is_data:
                    _add_new_holes(runs, base_fd, start, length)
            start += length
        position = end
    if position < size:
        raise DamagedError("an object became shorter while it was read")
    return Difference(size, digest.hexdigest(), tuple(runs))


def _add_differing(runs: list[ByteRange], start: int, data: bytes, base: bytes) -> None:
    """Note the blocks that differ. Most do not, so larger parts are compared first, because slices are expensive."""
    for part in range(0, len(data), _PART_BYTES):
        end = min(part + _PART_BYTES, len(data))
        if data[part:end] == base[part:end]:
            continue
        for first in range(part, end, BLOCK_BYTES):
            block = data[first : first + BLOCK_BYTES]
            if block != base[first : first + BLOCK_BYTES]:
                _join(runs, ByteRange(start + first, len(block), block == _ZEROS[: len(block)]))


def _add_new_holes(runs: list[ByteRange], base_fd: int, start: int, length: int) -> None:
    """Note where the object has a hole and the base has written zeros."""
    for is_data, first, last in extents(base_fd, start, min(start + length, os.fstat(base_fd).st_size)):
        if is_data:
            _join(runs, ByteRange(first, last - first, True))


def _join(runs: list[ByteRange], run: ByteRange) -> None:
    if runs and runs[-1].zero == run.zero and runs[-1].offset + runs[-1].length == run.offset:
        runs[-1] = ByteRange(runs[-1].offset, runs[-1].length + run.length, run.zero)
    else:
        runs.append(run)
