"""The contents of one file: copying, comparing and patching in place. Holes stay holes."""

from __future__ import annotations

import errno
import hashlib
import heapq
import os
import stat
from collections.abc import Callable, Iterator

from dm_compose.storage.system import punch_hole, reflink

CHUNK_BYTES = 256 << 10  # at 1 MiB each read gets fresh memory of the kernel: comparing then takes four times as long
BLOCK_BYTES = 4096  # database pages are multiples of it; the unit of comparing and patching
_ZEROS = bytes(CHUNK_BYTES)


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
    copy_extents(source_fd, destination_fd)
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


def copy_extents(source_fd: int, destination_fd: int) -> None:
    """Copy all data of an open file into an empty one. Holes stay holes."""
    size = os.fstat(source_fd).st_size
    for is_data, start, end in extents(source_fd, 0, size):
        while is_data and start < end:
            done = _copy_range(source_fd, destination_fd, start, end - start)
            if done == 0:  # a writer has truncated the file meanwhile, and the caller will look at it again
                break
            start += done
    os.truncate(destination_fd, size)


def _copy_range(source_fd: int, destination_fd: int, offset: int, count: int) -> int:
    try:
        return os.copy_file_range(source_fd, destination_fd, count, offset, offset)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
            raise
    data = os.pread(source_fd, min(count, CHUNK_BYTES), offset)
    return os.pwrite(destination_fd, data, offset) if data else 0


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


def digest_of_file(path: bytes, progress: Callable[[int], None] = lambda _: None) -> str:
    """Return the sha256 (hex) of a file, holes included. Holes are not read, but their zeros have to be hashed.

    `progress` is called with numbers of bytes that are done.
    """
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        fd = file.fileno()
        for is_data, start, end in extents(fd, 0, os.fstat(fd).st_size):
            while start < end:
                length = min(CHUNK_BYTES, end - start)
                data = os.pread(fd, length, start) if is_data else _ZEROS[:length]
                if not data:  # it has become shorter meanwhile, so the digest will be another one
                    return digest.hexdigest()
                digest.update(data)
                progress(len(data))
                start += len(data)
    return digest.hexdigest()


def patch(fd: int, object_fd: int) -> int:
    """Make an open file equal to an object by writing only the blocks that differ. Return the number of bytes that differed.

    The inode stays, so containers that have the directory mounted see the new contents at once. Holes of the object become
    holes. Not atomic: a caller that is killed must be run again, which its journal takes care of.
    """
    size = os.fstat(object_fd).st_size
    old_size = os.fstat(fd).st_size
    changed = max(0, old_size - size)
    if old_size > size:
        os.ftruncate(fd, size)
    for is_data, start, end in extents(object_fd, 0, size):
        changed += _patch_data(fd, object_fd, start, end) if is_data else _patch_hole(fd, start, end)
    if os.fstat(fd).st_size < size:
        os.ftruncate(fd, size)
    return changed


def _patch_data(fd: int, object_fd: int, start: int, end: int) -> int:
    changed = 0
    for offset, wanted, present in _chunks(object_fd, fd, start, end):
        if wanted != present:
            for first, last in _differing_runs(wanted, present):
                _write(fd, wanted[first:last], offset + first)
                changed += last - first
    return changed


def _patch_hole(fd: int, start: int, end: int) -> int:
    changed = 0
    for is_data, first, last in extents(fd, start, min(end, os.fstat(fd).st_size)):
        if is_data:
            changed += last - first
            if not punch_hole(fd, first, last - first):
                for offset in range(first, last, CHUNK_BYTES):
                    _write(fd, _ZEROS[: last - offset], offset)
    return changed


def _write(fd: int, data: bytes, offset: int) -> None:
    """Write all of `data`. A file system that is filling up may write a part of it, and raises an error only for the rest."""
    while data:
        done = os.pwrite(fd, data, offset)
        data, offset = data[done:], offset + done


def differing_bytes(a_fd: int, b_fd: int) -> int:
    """Return how many bytes differ between two open files. A block that differs counts as a whole, and so do missing bytes at the
    end. Where both have holes nothing is read.
    """
    a_size, b_size = os.fstat(a_fd).st_size, os.fstat(b_fd).st_size
    changed = abs(a_size - b_size)
    for start, end in _data_of_either(a_fd, b_fd, min(a_size, b_size)):
        for _, a, b in _chunks(a_fd, b_fd, start, end):
            if a != b:
                changed += sum(last - first for first, last in _differing_runs(a, b))
    return changed


def _data_of_either(a_fd: int, b_fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges, in order, in which at least one of two open files has data. They begin at multiples of BLOCK_BYTES."""
    starts = heapq.merge(*(((s, e) for is_data, s, e in extents(fd, 0, size) if is_data) for fd in (a_fd, b_fd)))
    open_start, open_end = 0, 0
    for start, end in starts:
        start -= start % BLOCK_BYTES
        if start > open_end:
            if open_end > open_start:
                yield open_start, open_end
            open_start = start
        open_end = max(open_end, end)
    if open_end > open_start:
        yield open_start, open_end


def _chunks(a_fd: int, b_fd: int, start: int, end: int) -> Iterator[tuple[int, bytes, bytes]]:
    for offset in range(start, end, CHUNK_BYTES):
        length = min(CHUNK_BYTES, end - offset)
        yield offset, os.pread(a_fd, length, offset), os.pread(b_fd, length, offset)


def _differing_runs(wanted: bytes, present: bytes) -> Iterator[tuple[int, int]]:
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
