"""The contents of one file: copying, comparing and patching in place. Holes stay holes."""

from __future__ import annotations

import errno
import hashlib
import heapq
import os
import stat
from collections.abc import Callable, Iterator
from typing import Protocol

from dm_compose.objects.extents import BLOCK_BYTES, ExtentMap, unlike
from dm_compose.objects.system import punch_hole, reflink

CHUNK_BYTES = 256 << 10  # at 1 MiB each read gets fresh memory of the kernel: comparing then takes four times as long
ZEROS_BYTES = 64 << 10  # a run of zeros of this size becomes a hole
_ZEROS = bytes(CHUNK_BYTES)


class Contents(Protocol):
    """The bytes of a file, open for reading: a file of a volume, or an object of the store. Thread-safe."""

    def size(self) -> int:
        """Return the number of bytes. A writer may change that of a live file."""

    def read(self, length: int, offset: int) -> bytes:
        """Return `length` bytes, fewer at the end."""

    def ranges(self, start: int, end: int) -> Iterator[tuple[bool, int, int]]:
        """Yield the ranges from `start` to `end` in order, as (is data, start, end). All else is zeros."""

    def extent_map(self) -> ExtentMap | None:
        """Return the map of an object of the store, None for any other file."""

    def check(self, data: bytes, offset: int) -> None:
        """Raise DamagedError if `data`, just read from here, is not as it was written, as far as is known of its whole blocks."""

    def copy_to(self, fd: int) -> bool:
        """Copy everything to an open empty file. Return whether both share blocks now. Not durable."""

    def clone_onto(self, fd: int) -> bool:
        """Have an open file share all blocks, in place of its own. Return False, and change nothing, where that is impossible."""


class OpenFile:
    """Contents of an open file, which the caller closes. See Contents."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def size(self) -> int:
        return os.fstat(self.fd).st_size

    def read(self, length: int, offset: int) -> bytes:
        return os.pread(self.fd, length, offset)

    def ranges(self, start: int, end: int) -> Iterator[tuple[bool, int, int]]:
        return extents(self.fd, start, end)

    def extent_map(self) -> ExtentMap | None:
        return None

    def check(self, data: bytes, offset: int) -> None:
        pass

    def copy_to(self, fd: int) -> bool:
        return copy_open(self.fd, fd)

    def clone_onto(self, fd: int) -> bool:
        return reflink_onto(fd, self.fd)


def copy_file(source: bytes, destination: bytes) -> bool:
    """Copy a file to `destination`, which must not exist. Return whether the copy shares the blocks of `source` (reflink).

    For files of the store and others that nobody else can change: see storage.beneath. Not atomic and not durable. Only its owner
    can read the copy (mode 0600). FileNotFoundError when the source has vanished or is no regular file any more.
    """
    source_fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(source_fd).st_mode):
            raise FileNotFoundError(errno.ENOENT, "a file has become something else", source)
        return copy_to_path(source_fd, destination)
    finally:
        os.close(source_fd)


def copy_to_path(source_fd: int, destination: bytes) -> bool:
    """Copy an open file to a path of the store. See `copy_file`."""
    destination_fd = os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        return copy_open(source_fd, destination_fd)
    finally:
        os.close(destination_fd)


def copy_open(source_fd: int, destination_fd: int) -> bool:
    """Copy an open file to an open empty one. Return whether they share blocks now."""
    if reflink(destination_fd, source_fd):
        return True
    copy_data(OpenFile(source_fd), destination_fd)
    return False


_reflinking: set[tuple[int, int]] = set()  # pairs of file systems that a reflink of this process has worked between


def reflink_onto(fd: int, object_fd: int) -> bool:
    """Have an open file share all blocks of an object, in place of its own. Return False where the file systems cannot share
    blocks; then the file is as it was.

    Once it has worked between two file systems, files are emptied first. The kernel then drops their unwritten pages, which it
    would otherwise write to the disk before it shares blocks: 1 ms instead of 4 ms for a file of 1.3 MiB with 64 KiB dirty (xfs).
    """
    pair = os.fstat(fd).st_dev, os.fstat(object_fd).st_dev
    if pair in _reflinking:
        os.ftruncate(fd, 0)
    if not reflink(fd, object_fd):
        return False
    _reflinking.add(pair)
    os.ftruncate(fd, os.fstat(object_fd).st_size)
    return True


def copy_data(source: Contents, fd: int, seen: Callable[[int, bytes], None] = lambda _, __: None) -> int:
    """Copy all data into an open empty file. Holes stay holes, and runs of ZEROS_BYTES zeros become holes.

    `seen` is called with the offset and the bytes of each piece of data, which begins with a block. Return how many bytes were
    written.
    """
    size, written, done = source.size(), 0, 0
    for is_data, start, end in source.ranges(0, size):
        start = max(done, start - start % BLOCK_BYTES)
        done = min(size, end + -end % BLOCK_BYTES) if is_data else done
        for offset in range(start, done, CHUNK_BYTES):
            data = source.read(min(CHUNK_BYTES, done - offset), offset)
            seen(offset, data)
            for first, last in _between_zeros(data):
                write_all(fd, data[first:last], offset + first)
                written += last - first
    os.truncate(fd, size)
    return written


def _between_zeros(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the ranges of data that lie between whole runs of zeros."""
    first = 0
    for position in range(0, len(data), ZEROS_BYTES):
        if data.startswith(_ZEROS[: min(ZEROS_BYTES, len(data) - position)], position):
            if first < position:
                yield first, position
            first = position + ZEROS_BYTES
    if first < len(data):
        yield first, len(data)


def extents(fd: int, start: int, size: int) -> Iterator[tuple[bool, int, int]]:
    """Yield the ranges of an open file from `start` to `size` in order, as (is data, start, end).

    Where the file system does not know of holes, all of it is one range of data.
    """
    position = start
    while position < size:
        try:
            data = os.lseek(fd, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                yield False, position, size
                return
            yield True, position, size
            return
        data = min(data, size)
        if data > position:
            yield False, position, data
        if data >= size:
            return
        try:
            hole = min(os.lseek(fd, data, os.SEEK_HOLE), size)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            hole = size  # a writer has truncated the file meanwhile
        yield True, data, hole
        position = hole


def digest_of(contents: Contents, progress: Callable[[int], None] = lambda _: None) -> str:
    """Return the sha256 (hex) of contents, holes included. Holes are not read, but their zeros have to be hashed.

    `progress` is called with numbers of bytes that are done.
    """
    digest = hashlib.sha256()
    for is_data, start, end in contents.ranges(0, contents.size()):
        while start < end:
            length = min(CHUNK_BYTES, end - start)
            data = contents.read(length, start) if is_data else _ZEROS[:length]
            if not data:  # it has become shorter meanwhile, so the digest will be another one
                return digest.hexdigest()
            digest.update(data)
            progress(len(data))
            start += len(data)
    return digest.hexdigest()


def digest_of_file(path: bytes, progress: Callable[[int], None] = lambda _: None) -> str:
    """Return the sha256 (hex) of a file: see `digest_of`."""
    with open(path, "rb", buffering=0) as file:
        return digest_of(OpenFile(file.fileno()), progress)


def patch(fd: int, wanted: Contents, present: Contents | None = None) -> int:
    """Make an open file equal to `wanted` by writing only the blocks that differ. Return the number of bytes that differed.

    `present` is the object that the file is known to be equal to. Then only the blocks in which the two objects differ are read.

    The inode stays, so containers that have the directory mounted see the new contents at once. Where `wanted` has a hole, blocks
    that are not zeros become a hole, and zeros stay as they are: databases fill files with zeros to have the space. Not atomic: a
    caller that is killed must be run again, which its journal takes care of.
    """
    size = wanted.size()
    old_size = os.fstat(fd).st_size
    changed = max(0, old_size - size)
    if old_size > size:
        os.ftruncate(fd, size)
    for first, last in _perhaps_different(present, wanted, size):
        for is_data, start, end in wanted.ranges(first, last):
            changed += _patch_data(fd, wanted, start, end) if is_data else _patch_hole(fd, start, end)
    if os.fstat(fd).st_size < size:
        os.ftruncate(fd, size)
    return changed


def _patch_data(fd: int, wanted: Contents, start: int, end: int) -> int:
    changed = 0
    for offset, there, present in _chunks(wanted, OpenFile(fd), start, end):
        if there != present:
            for first, last in differing_runs(there, present):
                wanted.check(there[first:last], offset + first)
                write_all(fd, there[first:last], offset + first)
                changed += last - first
    return changed


def _patch_hole(fd: int, start: int, end: int) -> int:
    changed = 0
    for is_data, first, last in extents(fd, start, min(end, os.fstat(fd).st_size)):
        for offset in range(first, last if is_data else first, CHUNK_BYTES):
            present = os.pread(fd, min(CHUNK_BYTES, last - offset), offset)
            if present.startswith(_ZEROS[: len(present)]):
                continue
            for begin, stop in differing_runs(_ZEROS[: len(present)], present):
                if not punch_hole(fd, offset + begin, stop - begin):
                    write_all(fd, _ZEROS[: stop - begin], offset + begin)
                changed += stop - begin
    return changed


def write_all(fd: int, data: bytes, offset: int) -> None:
    """Write all of `data`. A file system that is filling up may write a part of it, and raises an error only for the rest."""
    while data:
        done = os.pwrite(fd, data, offset)
        data, offset = data[done:], offset + done


def differing_bytes(a: Contents, b: Contents) -> int:
    """Return how many bytes differ. A block that differs counts as a whole, and so do missing bytes at the end.

    Where both have holes nothing is read. Of two objects only the blocks are read that their maps do not say to be the same.
    """
    a_size, b_size = a.size(), b.size()
    common = min(a_size, b_size)
    changed = abs(a_size - b_size)
    for begin, stop in _perhaps_different(a, b, common):
        for start, end in data_of_either(a, b, begin, stop):
            for _, mine, theirs in _chunks(a, b, start, end):
                if mine != theirs:
                    changed += sum(last - first for first, last in differing_runs(mine, theirs))
    return changed


def _perhaps_different(a: Contents | None, b: Contents, end: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of bytes before `end` in which two files may differ. They begin at multiples of BLOCK_BYTES.

    Where the last block of one is cut short, the other one does not share it.
    """
    mine, theirs = a.extent_map() if a is not None else None, b.extent_map()
    if mine is None or theirs is None:
        yield 0, end
        return
    for first, last in unlike(mine, theirs):
        if first * BLOCK_BYTES < end:
            yield first * BLOCK_BYTES, min(last * BLOCK_BYTES, end)


def data_of_either(a: Contents, b: Contents, begin: int, stop: int, grain: int = BLOCK_BYTES) -> Iterator[tuple[int, int]]:
    """Yield the ranges, in order, in which at least one of two files has data. They begin at multiples of `grain`, as `begin`
    has to, and end at such or at `stop`.
    """
    found = heapq.merge(*(((s, e) for is_data, s, e in c.ranges(begin, stop) if is_data) for c in (a, b)))
    open_start, open_end = begin, begin
    for start, end in found:
        start -= start % grain
        end = min(stop, end + -end % grain)
        if start > open_end:
            if open_end > open_start:
                yield open_start, open_end
            open_start = start
        open_end = max(open_end, end)
    if open_end > open_start:
        yield open_start, open_end


def _chunks(a: Contents, b: Contents, start: int, end: int) -> Iterator[tuple[int, bytes, bytes]]:
    for offset in range(start, end, CHUNK_BYTES):
        length = min(CHUNK_BYTES, end - offset)
        yield offset, a.read(length, offset), b.read(length, offset)


def differing_runs(wanted: bytes, present: bytes) -> Iterator[tuple[int, int]]:
    """Yield the ranges (start, end) of blocks of `wanted` that differ from `present`. Adjacent ranges are joined.

    Both are bytes, because comparing memoryviews is 5 to 10 times slower.
    """
    run_start = -1
    for first in range(0, len(wanted), BLOCK_BYTES):
        last = first + BLOCK_BYTES
        if wanted[first:last] != present[first:last]:
            if run_start < 0:
                run_start = first
        elif run_start >= 0:
            yield run_start, first
            run_start = -1
    if run_start >= 0:
        yield run_start, len(wanted)
