"""An object that is received as the difference to another one: a sparse file with the blocks that differ, and a map.

It is for file systems that cannot share blocks. There a copy of the base would cost as much as the object.
"""

from __future__ import annotations

import bisect
import heapq
import os
import uuid
from collections.abc import Iterator

from dm_compose.objects.contents import write_all
from dm_compose.objects.extents import BLOCK_BYTES, Extent, ExtentMap, blocks_of
from dm_compose.objects.mapped import MappedObject, Sources


class Overlay:
    """One such object. `own` is the id under which maps name the file at `path`, whose blocks are where they are in the object.

    Not thread-safe.
    """

    def __init__(self, ref: str, path: bytes, size: int, base: ExtentMap, sources: Sources) -> None:
        self.ref = ref
        self.path = path
        self.own = _own_name(ref)
        self._sources = sources
        self._base = base
        self._size = base.size
        self._written, self._zeros = _Runs(), _Runs()
        self._map: ExtentMap | None = None
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        self._resize(size)

    def become(self, ref: str, path: bytes, size: int) -> None:
        """Become another object, which begins as this one, cut or extended to `size`."""
        os.rename(self.path, path)
        self.ref, self.path, self.own = ref, path, _own_name(ref)
        self._resize(size)

    def _resize(self, size: int) -> None:
        before, self._size = self._size, size
        end = blocks_of(size)
        for runs in (self._written, self._zeros):
            runs.remove(end, max(end, blocks_of(before)))
        self._base = ExtentMap(size, self._base.between(0, end))
        self._map = None
        os.truncate(self.path, size)
        if size < before and size % BLOCK_BYTES:  # a map names blocks, and not parts of them
            self._fetch(size // BLOCK_BYTES)

    @property
    def map(self) -> ExtentMap:
        """The map of the object as it is now."""
        if self._map is None:
            self._map = ExtentMap(self._size, self._extents())
        return self._map

    def _extents(self) -> Iterator[Extent]:
        position = 0
        written = ((first, end, True) for first, end in self._written)
        zeros = ((first, end, False) for first, end in self._zeros)
        for first, end, is_data in heapq.merge(written, zeros):
            yield from self._base.between(position, first)
            if is_data:
                yield Extent(first, end - first, self.own, first)
            position = end
        yield from self._base.between(position, blocks_of(self._size))

    def open(self) -> MappedObject:
        """Open the object as it is now."""
        return MappedObject(self.ref, self.map, self._sources)

    def write(self, offset: int, data: bytes) -> None:
        """Write some bytes."""
        end = offset + len(data)
        first, last = offset // BLOCK_BYTES, max(offset, end - 1) // BLOCK_BYTES
        for block in {first, last}:
            if offset > block * BLOCK_BYTES or end < min((block + 1) * BLOCK_BYTES, self._size):
                self._fetch(block)
        self._put(data, offset)
        self._take(first, last + 1)

    def clear(self, offset: int, length: int) -> None:
        """Make a range zeros."""
        end = offset + length
        first = blocks_of(offset)
        last = end // BLOCK_BYTES if end < self._size else blocks_of(self._size)
        if first >= last:
            self.write(offset, bytes(length))
            return
        if offset % BLOCK_BYTES:
            self.write(offset, bytes(first * BLOCK_BYTES - offset))
        if end > last * BLOCK_BYTES:
            self.write(last * BLOCK_BYTES, bytes(end - last * BLOCK_BYTES))
        self._written.remove(first, last)
        self._zeros.add(first, last)
        self._map = None

    def _take(self, first: int, end: int) -> None:
        """Have the map name a range of blocks of the own file."""
        self._zeros.remove(first, end)
        self._written.add(first, end)
        self._map = None

    def _fetch(self, block: int) -> None:
        """Copy a block into the own file, unless it is there."""
        if block in self._written:
            return
        with self.open() as found:
            self._put(found.read(BLOCK_BYTES, block * BLOCK_BYTES), block * BLOCK_BYTES)
        self._take(block, block + 1)

    def _put(self, data: bytes, offset: int) -> None:
        fd = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            write_all(fd, data, offset)
        finally:
            os.close(fd)


class _Runs:
    """A set of blocks, as runs (first, end) in order."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._ends: list[int] = []

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._firsts, self._ends, strict=True)

    def __contains__(self, block: int) -> bool:
        number = bisect.bisect_right(self._firsts, block) - 1
        return number >= 0 and self._ends[number] > block

    def add(self, first: int, end: int) -> None:
        low, high = bisect.bisect_left(self._ends, first), bisect.bisect_right(self._firsts, end)
        if low < high:
            first, end = min(first, self._firsts[low]), max(end, self._ends[high - 1])
        self._firsts[low:high], self._ends[low:high] = [first], [end]

    def remove(self, first: int, end: int) -> None:
        low, high = bisect.bisect_right(self._ends, first), bisect.bisect_left(self._firsts, end)
        if low >= high:
            return
        left = [(self._firsts[low], first), (end, self._ends[high - 1])]
        kept = [run for run in left if run[0] < run[1]]
        self._firsts[low:high], self._ends[low:high] = [run[0] for run in kept], [run[1] for run in kept]


def _own_name(ref: str) -> str:
    """Return an id that no file had: one that was received earlier for the same object may have blocks that others need."""
    return f"{ref}-{uuid.uuid4().hex[:8]}"
