"""The sending side of a local store."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from pathlib import Path

from dm_compose.core.names import CommitId, DotName
from dm_compose.errors import DamagedError
from dm_compose.objects.contents import digest_of
from dm_compose.objects.extents import BLOCK_BYTES, unlike
from dm_compose.objects.mapped import StoredObject
from dm_compose.objects.store import ObjectStore
from dm_compose.objects.system import file_errors
from dm_compose.state import Database
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
        return self._objects.manifest_text(ref)

    def digests(self, refs: Set[str]) -> dict[str, str]:
        wanted = set(refs)
        found: dict[str, str] = {}
        for batch in {ref.partition("/")[0] for ref in wanted}:
            found.update(self._database.digests(batch))
        return {ref: found[ref] for ref in wanted & found.keys()}

    def add_digests(self, digests: Mapping[str, str]) -> None:
        self._database.add_digests(digests)

    def present(self, refs: Set[str]) -> set[str]:
        return {ref for ref in refs if self._objects.has(ref)}

    def part(self, ref: str, offset: int) -> ObjectPart:
        with self._open(ref) as found:
            size = found.size()
            runs: list[tuple[int, bytes]] = []
            left = PART_BYTES
            for is_data, start, end in found.ranges(offset, size):
                offset = start
                while is_data and offset < end and left:
                    data = found.read(min(left, end - offset), offset)
                    if not data:
                        raise DamagedError(f"object {ref} became shorter while it was read")
                    found.check(data, offset)
                    runs += _without_zeros(offset, data)
                    offset += len(data)
                    left -= len(data)
                if not left:
                    break
                offset = end
            return ObjectPart(size, offset, tuple(runs))

    def read(self, ref: str, ranges: Sequence[tuple[int, int]]) -> bytes:
        with self._open(ref) as found:
            return b"".join(found.read(length, offset) for offset, length in ranges)

    def compare(self, ref: str, base: str) -> Difference:
        with self._open(ref) as found, self._open(base) as known:
            return compare(found, known)

    @contextlib.contextmanager
    def _open(self, ref: str) -> Iterator[StoredObject]:
        with self._objects.open_object(ref) as found, file_errors(f"reading object {ref}"):
            yield found

    def intact(self, digests: Mapping[str, str]) -> set[str]:
        found = set()
        for ref, digest in digests.items():
            with contextlib.suppress(DamagedError), self._open(ref) as opened:
                if digest_of(opened) == digest:
                    found.add(ref)
        return found

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


def compare(found: StoredObject, base: StoredObject) -> Difference:
    """Return the difference between an object and a base. DamagedError when the object becomes shorter meanwhile.

    All of the object is read for its digest, but the base only where the maps of the two do not say that it is the same.
    """
    size, base_size = found.size(), base.size()
    digest = hashlib.sha256()
    runs: list[ByteRange] = []
    position = 0
    perhaps = _Ranges(unlike(found.extent_map(), base.extent_map()))
    for is_data, start, end in found.ranges(0, size):
        while start < end:
            length = min(_COMPARE_BYTES, end - start)
            if is_data:
                data = found.read(length, start)
                if len(data) != length:
                    raise DamagedError("an object became shorter while it was read")
                found.check(data, start)
            else:
                data = _ZEROS[:length]
            digest.update(data)
            if perhaps.touch(start, start + length) and (is_data or start < base_size):
                old = base.read(length, start)
                if data != old:
                    _add_differing(runs, start, data, old)
                elif not is_data:
                    _add_new_holes(runs, base, start, length)
            start += length
        position = end
    if position < size:
        raise DamagedError("an object became shorter while it was read")
    return Difference(size, digest.hexdigest(), tuple(runs))


class _Ranges:
    """Ranges of blocks, in order, that are asked for in order."""

    def __init__(self, ranges: Iterator[tuple[int, int]]) -> None:
        self._ranges = ranges
        self._next = next(ranges, None)

    def touch(self, start: int, end: int) -> bool:
        """Return whether a range of bytes, none of which was asked for before, has something of them."""
        while self._next is not None and self._next[1] * BLOCK_BYTES <= start:
            self._next = next(self._ranges, None)
        return self._next is not None and self._next[0] * BLOCK_BYTES < end


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


def _add_new_holes(runs: list[ByteRange], base: StoredObject, start: int, length: int) -> None:
    """Note where the object has a hole and the base has written zeros."""
    for is_data, first, last in base.ranges(start, min(start + length, base.size())):
        if is_data:
            _join(runs, ByteRange(first, last - first, True))


def _join(runs: list[ByteRange], run: ByteRange) -> None:
    if runs and runs[-1].zero == run.zero and runs[-1].offset + runs[-1].length == run.offset:
        runs[-1] = ByteRange(runs[-1].offset, runs[-1].length + run.length, run.zero)
    else:
        runs.append(run)
