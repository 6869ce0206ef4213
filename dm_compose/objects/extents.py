"""Extent maps: where in the store the contents of an object lie. Pure.

A map covers its object whole. It may name files of any commit, so however long the history is, nobody has to follow a chain. All
that no extent covers is zeros.
"""

from __future__ import annotations

import bisect
import operator
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from dm_compose.errors import DamagedError

BLOCK_BYTES = 4096  # database pages are multiples of it; the unit of comparing, patching and mapping
_MAGIC = b"dmx1"
_HEAD = struct.Struct("<4sI")  # magic, crc32 of the rest
_COUNTS = struct.Struct("<QII")  # size of the object, number of names, number of extents
_EXTENT = struct.Struct("<QQII")  # blocks since the end of the extent before, first block in the file, blocks, name


Run = tuple[str, int, int]  # a file, and blocks of it: the first, and the end


class Extent(NamedTuple):
    """A run of `blocks` blocks of an object, from block `start` on: those of the file `source` from its block `at` on."""

    start: int
    blocks: int
    source: str
    at: int

    @property
    def end(self) -> int:
        return self.start + self.blocks

    def cut(self, first: int, end: int) -> Extent:
        """Return the part between two blocks, which has to have some."""
        begin = max(first, self.start)
        return Extent(begin, min(end, self.end) - begin, self.source, self.at + begin - self.start)

    def goes_on_with(self, other: Extent) -> bool:
        """Return whether another extent follows this one, in the object and in the file."""
        return other.start == self.end and other.source == self.source and other.at == self.at + self.blocks


class ExtentMap:
    """The extents of one object of `size` bytes, in order and without overlap. Immutable."""

    def __init__(self, size: int, extents: Iterable[Extent]) -> None:
        self.size = size
        self.extents: tuple[Extent, ...] = tuple(_joined(extents))
        self._ends = [extent.end for extent in self.extents]

    def between(self, first: int, end: int) -> Iterator[Extent]:
        """Yield the extents of a range of blocks, cut to it."""
        for number in range(bisect.bisect_right(self._ends, first), len(self.extents)):
            extent = self.extents[number]
            if extent.start >= end or first >= end:
                return
            yield extent if extent.start >= first and extent.end <= end else extent.cut(first, end)

    def sources(self) -> set[str]:
        """Return the ids of the files that the extents are of."""
        return {extent.source for extent in self.extents}

    def encode(self) -> bytes:
        """Return the map as it is stored: `dmx1`, a CRC-32 of the rest, and the rest compressed by zlib.

        The rest has the object's size, the files' ids, each with its length, and the extents. Numbers are little-endian.
        """
        names = {name: number for number, name in enumerate(sorted(self.sources()))}
        body = bytearray(_COUNTS.pack(self.size, len(names), len(self.extents)))
        for name in names:
            raw = name.encode()
            body += struct.pack("<H", len(raw)) + raw
        end = 0
        for extent in self.extents:
            body += _EXTENT.pack(extent.start - end, extent.at, extent.blocks, names[extent.source])
            end = extent.end
        packed = zlib.compress(bytes(body), 1)
        return _HEAD.pack(_MAGIC, zlib.crc32(packed)) + packed

    @classmethod
    def decode(cls, data: bytes, *, name: str) -> ExtentMap:
        """Return the map that `encode` has written. DamagedError, which names the map, for anything else."""
        size, names, rows = _unpack(data, name)
        extents, end = [], 0
        for gap, at, blocks, number in rows:
            extents.append(Extent(end + gap, blocks, names[number], at))
            end += gap + blocks
        return cls(size, extents)


def named_runs(data: bytes, *, name: str) -> set[Run]:
    """Return the blocks that an encoded map names, without their places in the object. Quick. DamagedError as for `decode`."""
    _, names, rows = _unpack(data, name)
    return {(names[number], at, at + blocks) for _, at, blocks, number in rows}


def _unpack(data: bytes, name: str) -> tuple[int, list[str], list[tuple[int, int, int, int]]]:
    """Return the object's size, the names of files, and the extents as they are stored, each with a number that has a name."""
    try:
        magic, checksum = _HEAD.unpack_from(data)
        packed = data[_HEAD.size :]
        if magic != _MAGIC or zlib.crc32(packed) != checksum:
            raise ValueError("it has changed since it was written")
        body = zlib.decompress(packed)
        size, names_count, count = _COUNTS.unpack_from(body)
        position, names = _COUNTS.size, []
        for _ in range(names_count):
            (length,) = struct.unpack_from("<H", body, position)
            names.append(body[position + 2 : position + 2 + length].decode())
            position += 2 + length
        rows = list(_EXTENT.iter_unpack(body[position:]))
        if len(rows) != count:
            raise ValueError(f"{len(rows)} extents instead of {count}")
        if any(number >= names_count for *_, number in rows):
            raise ValueError("a file has no name")
    except (ValueError, IndexError, struct.error, zlib.error) as error:
        raise DamagedError(f"the map of object {name} cannot be read: {error}") from None
    return size, names, rows


def blocks_of(size: int) -> int:
    """Return the number of blocks of a file of `size` bytes. The last one may be shorter."""
    return -(-size // BLOCK_BYTES)


def unlike(a: ExtentMap, b: ExtentMap) -> Iterator[tuple[int, int]]:
    """Yield the ranges of blocks (first, end), in order, about which two maps do not say that they hold the same.

    Ranges of one object that lie beyond the end of the other are among them, unless they are zeros.
    """
    found: tuple[int, int] | None = None
    for first, end, same in _side_by_side(a.extents, b.extents):
        if same:
            continue
        if found is not None and found[1] == first:
            found = found[0], end
        else:
            if found is not None:
                yield found
            found = first, end
    if found is not None:
        yield found


def _side_by_side(a: tuple[Extent, ...], b: tuple[Extent, ...]) -> Iterator[tuple[int, int, bool]]:
    """Yield the ranges in which both have one extent, or only one of them has, and whether both name the same blocks."""
    mine, theirs = iter(a), iter(b)
    left, right = next(mine, None), next(theirs, None)
    while left is not None or right is not None:
        if left is None or right is None or left.end <= right.start or right.end <= left.start:
            only_left = right is None or (left is not None and left.start < right.start)
            alone = left if only_left else right
            assert alone is not None
            yield alone.start, alone.end, False
            if only_left:
                left = next(mine, None)
            else:
                right = next(theirs, None)
            continue
        first = min(left.start, right.start)
        if left.start != right.start:
            split = max(left.start, right.start)
            yield first, split, False
            left, right = left.cut(split, left.end), right.cut(split, right.end)
            continue
        end = min(left.end, right.end)
        yield first, end, (left.source, left.at) == (right.source, right.at)
        left = left.cut(end, left.end) if left.end > end else next(mine, None)
        right = right.cut(end, right.end) if right.end > end else next(theirs, None)


def _joined(extents: Iterable[Extent]) -> Iterator[Extent]:
    """Yield extents in order, with neighbours joined that go on in the file as they do in the object."""
    last: Extent | None = None
    for extent in extents:
        if last is None:
            last = extent
        elif last.goes_on_with(extent):
            last = last._replace(blocks=last.blocks + extent.blocks)
        else:
            yield last
            last = extent
    if last is not None:
        yield last


def by_place(extents: Iterable[Extent]) -> list[Extent]:
    """Return extents in the order in which they lie in their files. Each file then has to be opened once."""
    return sorted(extents, key=operator.attrgetter("source", "at"))
