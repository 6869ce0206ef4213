"""An object that is received as the difference to another one: a sparse file with the blocks that differ, and a map.

It is for file systems that cannot share blocks. There a copy of the base would cost as much as the object.
"""

from __future__ import annotations

import os
import uuid

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
        self.map = base
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        self._resize(size)

    def become(self, ref: str, path: bytes, size: int) -> None:
        """Become another object, which begins as this one, cut or extended to `size`."""
        os.rename(self.path, path)
        own, self.own = self.own, _own_name(ref)
        self.ref, self.path = ref, path
        renamed = (e._replace(source=self.own) if e.source == own else e for e in self.map.extents)
        self.map = ExtentMap(self.map.size, renamed)
        self._resize(size)

    def _resize(self, size: int) -> None:
        before = self.map.size
        self.map = ExtentMap(size, self.map.between(0, blocks_of(size)))
        os.truncate(self.path, size)
        if size < before and size % BLOCK_BYTES:  # a map names blocks, and not parts of them
            self._fetch(size // BLOCK_BYTES)

    def open(self) -> MappedObject:
        """Open the object as it is now."""
        return MappedObject(self.ref, self.map, self._sources)

    def write(self, offset: int, data: bytes) -> None:
        """Write some bytes."""
        end = offset + len(data)
        first, last = offset // BLOCK_BYTES, max(offset, end - 1) // BLOCK_BYTES
        for block in {first, last}:
            if offset > block * BLOCK_BYTES or end < min((block + 1) * BLOCK_BYTES, self.map.size):
                self._fetch(block)
        self._put(data, offset)
        self._take(first, last + 1)

    def clear(self, offset: int, length: int) -> None:
        """Make a range zeros."""
        end = offset + length
        first = blocks_of(offset)
        last = end // BLOCK_BYTES if end < self.map.size else blocks_of(self.map.size)
        if first >= last:
            self.write(offset, bytes(length))
            return
        if offset % BLOCK_BYTES:
            self.write(offset, bytes(first * BLOCK_BYTES - offset))
        if end > last * BLOCK_BYTES:
            self.write(last * BLOCK_BYTES, bytes(end - last * BLOCK_BYTES))
        self._replace(first, last, [])

    def _take(self, first: int, end: int) -> None:
        """Have the map name a range of blocks of the own file."""
        self._replace(first, end, [Extent(first, end - first, self.own, first)])

    def _replace(self, first: int, end: int, new: list[Extent]) -> None:
        last = blocks_of(self.map.size)
        self.map = ExtentMap(self.map.size, [*self.map.between(0, first), *new, *self.map.between(end, last)])

    def _fetch(self, block: int) -> None:
        """Copy a block into the own file, unless it is there."""
        if any(extent.source == self.own for extent in self.map.between(block, block + 1)):
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


def _own_name(ref: str) -> str:
    """Return an id that no file had: one that was received earlier for the same object may have blocks that others need."""
    return f"{ref}-{uuid.uuid4().hex[:8]}"
