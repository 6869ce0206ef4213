"""Telling which files of a file system may have changed since a moment, so that only these are looked at again.

The kernel reports every open, write, change of metadata and of names on a file system (fanotify(7)), whoever does it and by
whichever path. It reports neither writes to a mapped page nor those of libaio, which MariaDB uses. Both need a file that is open
for writing. So each file counts that was open or mapped when the watch began (/proc tells), or that was opened since then.

A watch takes root with all capabilities in the first PID namespace, Linux 5.14, and ext4 or xfs. Elsewhere, or when the kernel
has lost reports, nothing is known, and everything has to be looked at.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import select
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

_INIT = "1"  # maps no file of a volume. It may have more capabilities than we, and then nobody may look into it
_FIRST_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO, linux/proc_ns.h
_INODE_IS_FIRST = {0xEF53: 4, 0x58465342: 8}  # ext4, xfs: bytes of the inode's number at the beginning of a file handle
_XFS_64 = 0x80  # in the type of a handle of xfs: the number has 8 bytes and not 4

_FAN_CLOEXEC, _FAN_NONBLOCK, _FAN_REPORT_FID = 0x1, 0x2, 0x200  # linux/fanotify.h
_FAN_MARK_ADD, _FAN_MARK_FILESYSTEM = 0x1, 0x100
_FAN_OPEN, _FAN_Q_OVERFLOW, _FAN_ONDIR = 0x20, 0x4000, 0x40000000
_EVENTS = 0x2 | 0x4 | 0x8 | _FAN_OPEN | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800 | _FAN_ONDIR
"""Modified, metadata changed, closed after writing, opened, moved from and to, created, deleted, itself deleted and moved."""
_EVENT = struct.Struct("=IBBHQii")  # length, version, reserved, length of this, mask, fd, pid
_HANDLE = struct.Struct("=BBHQIi")  # kind, pad, length, file system, bytes of the handle, its type
_FID = 1

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fanotify_mark.argtypes = [ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p]
_WRITING = re.compile(rb"^flags:\s*\d*[1267]$", re.MULTILINE)  # octal: O_WRONLY or O_RDWR
_INODE = re.compile(rb"^ino:\s*(\d+)$", re.MULTILINE)
_SHARED = re.compile(rb"^\S+ \S*s \S+ \S+ (\d+)", re.MULTILINE)


class Dirt:
    """The inodes of one file system that may have changed since `begin`. Close it."""

    def __init__(self, fd: int, number_bytes: int, directory: int) -> None:
        self._fd = fd
        self._number_bytes = number_bytes
        self._place = _place(directory)
        self._found: set[int] = set()
        self._lost = False
        self._guard = threading.Lock()
        self._end, self._ended = os.pipe2(os.O_CLOEXEC)
        self._reader = threading.Thread(target=self._read_on, name="dirt", daemon=True)
        self._reader.start()

    @classmethod
    def begin(cls, directory: int) -> Dirt | None:
        """Watch the file system of an open directory. None where that cannot be done."""
        try:
            number_bytes = _INODE_IS_FIRST.get(_kind(directory), 0)
            if not number_bytes or os.stat("/proc/self/ns/pid").st_ino != _FIRST_PID_NAMESPACE:
                return None
            fd = _libc.fanotify_init(_FAN_CLOEXEC | _FAN_NONBLOCK | _FAN_REPORT_FID, os.O_RDONLY)
            if fd < 0:
                return None
        except OSError:
            return None
        if _libc.fanotify_mark(fd, _FAN_MARK_ADD | _FAN_MARK_FILESYSTEM, _EVENTS, directory, b".") != 0:
            os.close(fd)
            return None
        dirt = cls(fd, number_bytes, directory)
        try:
            dirt._found |= _held()  # after the watch has begun, so that no open falls between the two
        except (OSError, ValueError):
            dirt.close()
            return None
        return dirt

    def close(self) -> None:
        """End the watch. Idempotent."""
        if self._ended >= 0:
            os.close(self._ended)
            self._ended = -1
            self._reader.join()
            os.close(self._end)
            os.close(self._fd)

    def inodes(self, directory: int) -> set[int] | None:
        """Return the numbers of all inodes that may have changed since `begin`; some of them may be of other file systems.

        None if anything may have changed: the kernel has lost reports, or the open directory, which is that of `begin` anew, has
        another path, or something was mounted or unmounted below or above it.
        """
        with self._guard:
            self._read()
            return None if self._lost or _place(directory) != self._place else set(self._found)

    def _read_on(self) -> None:
        """Read what the kernel reports until the watch ends, because it keeps 16,384 reports only."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.register(self._end, select.POLLIN)
        while all(fd != self._end for fd, _ in poll.poll()):
            with self._guard:
                self._read()

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._fd, 1 << 16):
                self._take(data)

    def _take(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            length, _, _, own, mask, _, _ = _EVENT.unpack_from(data, at)
            if mask & _FAN_Q_OVERFLOW:
                self._lost = True
            elif mask != _FAN_OPEN | _FAN_ONDIR:  # each look opens directories, which changes nothing
                kind, _, _, _, size, handle = _HANDLE.unpack_from(data, at + own)
                begin = at + own + _HANDLE.size
                count = 4 if self._number_bytes == 8 and not handle & _XFS_64 else self._number_bytes
                self._lost |= kind != _FID or size < count
                self._found.add(int.from_bytes(data[begin : begin + count], "little"))
            at += length


def _kind(directory: int) -> int:
    """Return the magic number of a directory's file system (statfs(2))."""
    buffer = ctypes.create_string_buffer(256)
    if _libc.fstatfs(directory, buffer) != 0:
        raise OSError(ctypes.get_errno(), "statfs")
    return ctypes.c_ulong.from_buffer(buffer).value & 0xFFFFFFFF


def _place(directory: int) -> tuple[int, int, bytes, list[bytes]]:
    """Return device and inode of an open directory, its path, and the mounts below and above it."""
    info = os.fstat(directory)
    path = os.readlink(b"/proc/self/fd/%d" % directory)
    prefix = path.rstrip(b"/") + b"/"
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    points = [line.split(b" ", 5)[4].decode("unicode_escape").encode("latin-1").rstrip(b"/") + b"/" for line in lines]
    related = [line for line, point in zip(lines, points, strict=True) if point.startswith(prefix) or prefix.startswith(point)]
    return info.st_dev, info.st_ino, path, related


def _held() -> set[int]:
    """Return the inodes of all files that any process has open for writing, or mapped and shared.

    ValueError if the kernel does not tell.
    """
    found: set[int] = set()
    seen: set[str] = set()
    while new := {name for name in os.listdir("/proc") if name.isdecimal()} - seen:  # a process may have a child meanwhile
        for pid in new - {_INIT}:
            with _perhaps_gone():
                found.update(map(int, _SHARED.findall(Path(f"/proc/{pid}/maps").read_bytes())))
            with _perhaps_gone():
                for fd in os.listdir(f"/proc/{pid}/fdinfo"):
                    with _perhaps_gone():
                        found |= _written_by(f"/proc/{pid}/fdinfo/{fd}")
        seen |= new
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):  # the kernel itself has these open
        with _perhaps_gone():
            found.add(os.stat(os.fsencode(path.read_bytes().removesuffix(b"\n"))).st_ino)
    return found


def _written_by(fdinfo: str) -> set[int]:
    with open(fdinfo, "rb", buffering=0) as file:
        told = file.read(4096)
    if not _WRITING.search(told):
        return set()
    if (inode := _INODE.search(told)) is None:
        raise ValueError("the kernel is older than 5.14")
    return {int(inode[1])}


@contextlib.contextmanager
def _perhaps_gone() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ESRCH):
            raise
