"""Checksums of the blocks of a file of the store: a CRC-32 for each, as an array of little-endian numbers beside the file.

They find what a disk has lost, before it is put into a volume, and they stay right when other blocks of the file are given back.
A file without them has not been looked at yet, and neither has a block whose number is 0.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator

from dm_compose.objects.extents import BLOCK_BYTES, blocks_of

SUM = b".sum"
UNREADABLE = {errno.EIO, errno.EISDIR, errno.EUCLEAN, errno.EBADMSG}  # what a damaged disk or file system answers
_BYTES = 4
_CHUNK_BLOCKS = 64


def sums_of(data: bytes) -> bytes:
    """Return the sums of data that begins with a block. A last block that is shorter counts as if zeros followed."""
    return _little(array("I", map(zlib.crc32, _blocks(data)))).tobytes()


def _blocks(data: bytes) -> Iterator[bytes]:
    data = padded(data)
    return (data[start : start + BLOCK_BYTES] for start in range(0, len(data), BLOCK_BYTES))


def padded(data: bytes) -> bytes:
    """Return data with zeros up to the end of its last block."""
    missing = -len(data) % BLOCK_BYTES
    return data + bytes(missing) if missing else data


@contextlib.contextmanager
def opened_sums(path: bytes) -> Iterator[int]:
    """Open the sums of a file of the store for writing; they are made if there are none."""
    fd = os.open(path + SUM, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


def write_sums(fd: int, block: int, data: bytes) -> None:
    """Note the sums of data that begins with a block of a file. `fd` is the open file of sums. Not durable."""
    os.pwrite(fd, sums_of(data), block * _BYTES)


class Sums:
    """The sums of one file of the store, open for reading. Close it. `path` is the file's own, and it need not have sums."""

    def __init__(self, path: bytes) -> None:
        self.fd = -1
        with contextlib.suppress(FileNotFoundError):
            self.fd = os.open(path + SUM, os.O_RDONLY | os.O_CLOEXEC)

    def of(self, block: int, count: int) -> list[int]:
        """Return the sums of some blocks, 0 for each that is not known."""
        if self.fd < 0:
            return [0] * count
        raw = os.pread(self.fd, count * _BYTES, block * _BYTES)
        found = _little(array("I", raw[: len(raw) // _BYTES * _BYTES])).tolist()
        return found if len(found) == count else [*found, *([0] * (count - len(found)))]

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def read_sums(path: bytes, block: int, count: int) -> list[int]:
    """Return the sums of some blocks of a file, 0 for each that is not known."""
    with contextlib.closing(Sums(path)) as found:
        return found.of(block, count)


def wrong_blocks(data: bytes, sums: Iterable[int]) -> list[int]:
    """Return the blocks of data, counted from 0, whose sums are known and other ones."""
    return [
        n for n, (block, wanted) in enumerate(zip(_blocks(data), sums, strict=False)) if wanted and zlib.crc32(block) != wanted
    ]


class Check:
    """The blocks of one file of the store that are read and compared with their sums. `path` is that of the sums' file."""

    def __init__(self, path: bytes) -> None:
        self.path = path
        self.bad: set[int] = set()
        self.first_seen = False  # some had no sums and got them

    def run(self, fd: int, runs: Iterable[tuple[int, int]], progress: Callable[[int], None]) -> None:
        """Check runs (first, end) of blocks of an open file. Blocks that cannot be read are bad. `progress` gets bytes."""
        for first, end in runs:
            for block in range(first, end, _CHUNK_BLOCKS):
                count = min(_CHUNK_BLOCKS, end - block)
                known = read_sums(self.path, block, count)
                try:
                    data = os.pread(fd, count * BLOCK_BYTES, block * BLOCK_BYTES)
                except OSError as error:
                    if error.errno not in UNREADABLE:
                        raise
                    self.bad.update(range(block, block + count))
                    continue
                self.bad.update(block + number for number in wrong_blocks(data, known))
                self.bad.update(range(block + blocks_of(len(data)), block + count))  # the file has become shorter
                if 0 in known[: blocks_of(len(data))]:
                    self.first_seen = True
                    _complete(self.path, block, known, data)
                progress(len(data))

    def is_right(self, block: int, data: bytes, *, otherwise: bool) -> bool:
        """Return whether data is what a block should hold, and `otherwise` if nothing is known of the block."""
        known = read_sums(self.path, block, 1)
        return not wrong_blocks(data, known) if known != [0] else otherwise


def _complete(path: bytes, block: int, known: list[int], data: bytes) -> None:
    fresh = array("I", sums_of(data))
    whole = array("I", (old or new for old, new in zip(known, _little(fresh), strict=False)))
    with opened_sums(path) as fd:
        os.pwrite(fd, _little(whole).tobytes(), block * _BYTES)


def _little(numbers: array[int]) -> array[int]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
