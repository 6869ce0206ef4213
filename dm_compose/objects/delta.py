"""The blocks of a file that differ from an object: they go into a file of the store, and a map covers the rest."""

from __future__ import annotations

import itertools
import os
import threading

from dm_compose.core.at_once import at_once
from dm_compose.objects.contents import CHUNK_BYTES, OpenFile, data_of_either, differing_runs, write_all
from dm_compose.objects.extents import BLOCK_BYTES, Extent, ExtentMap, blocks_of
from dm_compose.objects.mapped import StoredObject
from dm_compose.objects.sums import opened_sums, padded, write_sums

CHUNK_BLOCKS = CHUNK_BYTES // BLOCK_BYTES
MAX_EXTENTS = 8  # of a chunk. A chunk that would have more is written anew, so that reading stays fast: see docs/benchmarks.md
PART_CHUNKS = 256  # 64 MiB. Parts of a larger file are looked at side by side
THREADS = 2  # more do not help: a comparison holds Python's lock, and reads are bound by the memory
_ZEROS = bytes(BLOCK_BYTES)


class DataFile:
    """A file that blocks are appended to. Thread-safe."""

    def __init__(self, path: bytes, ref: str) -> None:
        self._path = path
        self.ref = ref
        self.blocks = 0
        self.written_bytes = 0
        self._lock = threading.Lock()

    def append(self, data: bytes) -> int:
        """Write data at the next block, and return the number of that block. Blocks of zeros become holes."""
        count = blocks_of(len(data))
        with self._lock:
            at, self.blocks = self.blocks, self.blocks + count
        with opened_sums(self._path) as sums:
            write_sums(sums, at, data)
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            written = 0
            for first, last in _not_zeros(data):
                write_all(fd, data[first:last], at * BLOCK_BYTES + first)
                written += last - first
            with self._lock:
                self.written_bytes += written
                if os.fstat(fd).st_size < self.blocks * BLOCK_BYTES:
                    os.ftruncate(fd, self.blocks * BLOCK_BYTES)
        finally:
            os.close(fd)
        return at


def _not_zeros(data: bytes) -> list[tuple[int, int]]:
    if _ZEROS not in data:
        return [(0, len(data))]
    return list(differing_runs(data, bytes(len(data))))


def delta(file: OpenFile, base: StoredObject, data: DataFile) -> ExtentMap:
    """Return a map of an open file: its blocks that `base` does not have are appended to `data`.

    The map is that of the base if the file has the same contents. A writer may change the file meanwhile; the caller finds that
    out by the time stamps.
    """
    size, known = file.size(), base.extent_map()
    offsets = [
        offset
        for start, end in data_of_either(file, base, 0, size, CHUNK_BYTES)
        for offset in range(start, min(end, size), CHUNK_BYTES)
    ]

    def look(part: list[int]) -> list[Extent]:
        found: list[Extent] = []
        for offset in part:
            new = file.read(min(CHUNK_BYTES, size - offset), offset)
            first, end = offset // BLOCK_BYTES, blocks_of(offset + len(new))
            old = base.read((end - first) * BLOCK_BYTES, offset)  # a last block that is cut short is not that of the base
            kept = list(known.between(first, end))
            found += kept if new == old else _chunk(new, first, kept, old, data)
        return found

    parts = [offsets[start : start + PART_CHUNKS] for start in range(0, len(offsets), PART_CHUNKS)]
    if len(parts) < 2:
        return ExtentMap(size, look(offsets))
    return ExtentMap(size, itertools.chain.from_iterable(at_once(look, parts, most=THREADS)))


def _chunk(new: bytes, first: int, kept: list[Extent], old: bytes, data: DataFile) -> list[Extent]:
    """Return the extents of a chunk that begins at block `first`. `kept` are those that it had."""
    runs = [(start, end) for start, end in differing_runs(new, old)]
    changed = [(first + start // BLOCK_BYTES, first + blocks_of(end)) for start, end in runs]
    wanted = [run for run, (start, end) in zip(changed, runs, strict=True) if any(new[start:end])]
    extents = sorted([*_without(kept, changed), *(Extent(start, end - start, "", 0) for start, end in wanted)])
    if len(extents) > MAX_EXTENTS:
        return [Extent(first, blocks_of(len(new)), data.ref, data.append(new))]
    joined = b"".join(padded(new[(s - first) * BLOCK_BYTES : (e - first) * BLOCK_BYTES]) for s, e in wanted)
    at = data.append(joined) if joined else 0
    placed = []
    for extent in extents:
        if extent.source == "":
            placed.append(extent._replace(source=data.ref, at=at))
            at += extent.blocks
        else:
            placed.append(extent)
    return placed


def _without(extents: list[Extent], changed: list[tuple[int, int]]) -> list[Extent]:
    """Return the parts of extents that lie outside of some ranges of blocks, which are in order."""
    left = []
    for extent in extents:
        position = extent.start
        for start, end in changed:
            if start < extent.end and end > position:
                if start > position:
                    left.append(extent.cut(position, start))
                position = max(position, end)
        if position < extent.end:
            left.append(extent.cut(position, extent.end))
    return left
