"""Objects of the store, open for reading: those that are a file, and those whose blocks lie in several files by a map."""

from __future__ import annotations

import itertools
import operator
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from dm_compose.errors import DamagedError
from dm_compose.objects.contents import CHUNK_BYTES, Contents, OpenFile, copy_data, write_all
from dm_compose.objects.extents import BLOCK_BYTES, Extent, ExtentMap, blocks_of, by_place
from dm_compose.objects.sums import Sums, wrong_blocks
from dm_compose.objects.system import reflink

OPEN_SOURCES = 8  # of one object that is being read, and as many checksums; 8 subdots with 4 threads each are restored at once
_PIECE_BLOCKS = CHUNK_BYTES // BLOCK_BYTES
_SUMS_AT_ONCE = 4096  # checksums, of 16 MiB


class Sources(Protocol):
    """The files of a store in which contents lie."""

    def open_source(self, ref: str) -> int:
        """Open a file for reading. DamagedError when it is missing."""

    def open_sums(self, ref: str) -> Sums:
        """Open the checksums of its blocks: see objects.sums."""


class StoredObject(Contents, Protocol):
    """An object of the store. Immutable. Close it, or use it as a context manager."""

    ref: str

    def extent_map(self) -> ExtentMap:
        """Return the object's map. That of an object which is a file names this file."""

    def close(self) -> None:
        """Close all files. Idempotent."""

    def __enter__(self) -> StoredObject: ...

    def __exit__(self, *_: object) -> None: ...


class WholeObject(OpenFile):
    """An object that is a file of the store. See StoredObject."""

    def __init__(self, ref: str, fd: int, sources: Sources) -> None:
        super().__init__(fd)
        self.ref = ref
        self._sources = sources
        self._sums: Sums | None = None

    def check(self, data: bytes, offset: int) -> None:
        if self._sums is None:
            self._sums = self._sources.open_sums(self.ref)
        data, offset = _whole_blocks(data, offset, self.size)
        _check(self.ref, self.ref, self._sums, offset // BLOCK_BYTES, data)

    def copy_to(self, fd: int) -> bool:
        if reflink(fd, self.fd):
            return True
        copy_data(self, fd, lambda offset, data: self.check(data, offset))
        return False

    def extent_map(self) -> ExtentMap:
        size, found, last = self.size(), [], 0
        for is_data, start, end in self.ranges(0, size):
            first = max(last, start // BLOCK_BYTES)  # holes of file systems with small blocks may begin anywhere
            last = max(first, blocks_of(end) if is_data else first)
            if last > first:
                found.append(Extent(first, last - first, self.ref, first))
        return ExtentMap(size, found)

    def close(self) -> None:
        if self._sums is not None:
            self._sums.close()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> WholeObject:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class MappedObject:
    """An object whose contents lie where its map says. See StoredObject."""

    def __init__(self, ref: str, extent_map: ExtentMap, sources: Sources) -> None:
        self.ref = ref
        self._map = extent_map
        self._sources = sources
        self._fds: dict[str, int] = {}
        self._sums: dict[str, Sums] = {}
        self._lock = threading.RLock()

    def extent_map(self) -> ExtentMap:
        return self._map

    def size(self) -> int:
        return self._map.size

    def read(self, length: int, offset: int) -> bytes:
        end = min(offset + length, self._map.size)
        parts: list[bytes] = []
        with self._lock:
            position = offset
            for extent in self._map.between(offset // BLOCK_BYTES, blocks_of(end)):
                first, last = max(offset, extent.start * BLOCK_BYTES), min(end, extent.end * BLOCK_BYTES)
                if first >= last:
                    continue
                if first > position:
                    parts.append(bytes(first - position))
                parts.append(self._read(extent, first, last))
                position = last
            if position < end:
                parts.append(bytes(end - position))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read(self, extent: Extent, first: int, last: int) -> bytes:
        at = extent.at * BLOCK_BYTES + first - extent.start * BLOCK_BYTES
        data = os.pread(self._source(extent.source), last - first, at)
        return data + bytes(last - first - len(data))  # the last block of a file of the store may be cut short

    def ranges(self, start: int, end: int) -> Iterator[tuple[bool, int, int]]:
        position = start
        for extent in self._map.between(start // BLOCK_BYTES, blocks_of(end)):
            first, last = max(position, extent.start * BLOCK_BYTES), min(end, extent.end * BLOCK_BYTES)
            if first > position:
                yield False, position, first
            if last > first:
                yield True, first, last
                position = last
        if position < end:
            yield False, position, end

    def check(self, data: bytes, offset: int) -> None:
        data, offset = _whole_blocks(data, offset, self.size)
        with self._lock:
            for extent in self._map.between(offset // BLOCK_BYTES, blocks_of(offset + len(data))):
                begin = extent.start * BLOCK_BYTES - offset
                part = data[begin : begin + extent.blocks * BLOCK_BYTES]
                _check(self.ref, extent.source, self._sums_of(extent.source), extent.at, part)

    def _sums_of(self, ref: str) -> Sums:
        if (found := self._sums.get(ref)) is None:
            if len(self._sums) >= OPEN_SOURCES:
                self._sums.pop(next(iter(self._sums))).close()
            found = self._sums[ref] = self._sources.open_sums(ref)
        return found

    def copy_to(self, fd: int) -> bool:
        for source, extents in itertools.groupby(by_place(self._map.extents), operator.attrgetter("source")):
            with self._lock:
                self._copy_from(source, list(extents), fd)
        os.truncate(fd, self._map.size)
        return False

    def _copy_from(self, source: str, extents: Sequence[Extent], fd: int) -> None:
        """Copy extents of one file, in the order in which they lie there, each to its place in an open file.

        A map may have thousands of extents of a block each, so nothing is looked up for each of them.
        """
        source_fd, sums = self._source(source), self._sums_of(source)
        first = known_end = 0
        known: list[int] = []
        for extent in extents:
            for start in range(0, extent.blocks, _PIECE_BLOCKS):
                at, count = extent.at + start, min(_PIECE_BLOCKS, extent.blocks - start)
                offset = (extent.start + start) * BLOCK_BYTES
                length = min(count * BLOCK_BYTES, self._map.size - offset)
                data = os.pread(source_fd, length, at * BLOCK_BYTES)
                if len(data) < length:  # the last block of a file of the store may be cut short
                    data += bytes(length - len(data))
                if at < first or at + count > known_end:  # a map may name a block twice
                    first, known_end = at, at + max(count, _SUMS_AT_ONCE)
                    known = sums.of(first, known_end - first)
                if wrong_blocks(data, known[at - first : at - first + count]):
                    raise _damaged(self.ref, source)
                write_all(fd, data, offset)

    def clone_onto(self, fd: int) -> bool:
        return False

    def _source(self, ref: str) -> int:
        if (fd := self._fds.get(ref)) is None:
            if len(self._fds) >= OPEN_SOURCES:
                os.close(self._fds.pop(next(iter(self._fds))))
            fd = self._fds[ref] = self._sources.open_source(ref)
        return fd

    def close(self) -> None:
        with self._lock:
            while self._fds:
                os.close(self._fds.popitem()[1])
            while self._sums:
                self._sums.popitem()[1].close()

    def check_sources(self) -> None:
        """Raise DamagedError when a file that the map names is missing, or ends before the blocks that should be there."""
        needed: dict[str, int] = {}
        for extent in self._map.extents:
            needed[extent.source] = max(needed.get(extent.source, 0), extent.at + extent.blocks)
        for source, blocks in needed.items():
            with self._lock:
                if blocks_of(os.fstat(self._source(source)).st_size) < blocks:
                    raise DamagedError(f"object {self.ref} is damaged: {source}, in which a part of it lies, has become shorter")

    def __enter__(self) -> MappedObject:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _whole_blocks(data: bytes, offset: int, size: Callable[[], int]) -> tuple[bytes, int]:
    """Return the part of data that is whole blocks, and its offset. The last block of a file may be cut short."""
    end = offset + len(data)
    first = offset + -offset % BLOCK_BYTES
    last = end - end % BLOCK_BYTES
    if last < end and end >= size():
        last = end
    return (data, offset) if (first, last) == (offset, end) else (data[first - offset : max(0, last - offset)], first)


def _check(ref: str, source: str, sums: Sums, block: int, data: bytes) -> None:
    """Raise DamagedError if blocks of a file of the store, which an object's contents are of, are not as they were written."""
    if wrong_blocks(data, sums.of(block, blocks_of(len(data)))):
        raise _damaged(ref, source)


def _damaged(ref: str, source: str) -> DamagedError:
    return DamagedError(f"object {ref} is damaged: {source}, in which its contents lie, has changed since it was written")
