"""System calls that Python does not wrap, and their errors in our words. Linux only."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from dm_compose.errors import DiskFullError, StoreError

_CLOCK_REALTIME_COARSE = 5  # linux/time.h; Python has no name for it
FICLONE = 0x40049409  # _IOW(0x94, 9, int), linux/fs.h
_FALLOC_FL_KEEP_SIZE = 0x01
_FALLOC_FL_PUNCH_HOLE = 0x02
_NO_REFLINK = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM, errno.ETXTBSY}
_NO_XATTR = {errno.EOPNOTSUPP, errno.ENODATA, errno.ENOSYS}
_NOT_OURS = {
    "security.selinux",  # belongs to the host
    "trusted.SGI_ACL_FILE",  # how XFS shows root what system.posix_acl_access holds: going with it, not to be removed twice
    "trusted.SGI_ACL_DEFAULT",
}
_FULL = {errno.ENOSPC, errno.EDQUOT}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
_libc.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
_SYNC_FILE_RANGE_WRITE = 2


@contextlib.contextmanager
def file_errors(doing: str) -> Iterator[None]:
    """Turn an OSError of the block into StoreError or DiskFullError that says what was being done."""
    try:
        yield
    except OSError as error:
        where = f" ({os.fsdecode(error.filename)})" if error.filename else ""
        if error.errno in _FULL:
            raise DiskFullError(
                f"{doing}: no space left on the device{where}",
                hint="Free space there (`docker system df` shows what Docker holds); earlier commits are intact.",
            ) from None
        raise StoreError(f"{doing}: {error.strerror}{where}") from error


def reflink(destination_fd: int, source_fd: int) -> bool:
    """Make the whole destination a clone of the source (FICLONE); False where the file systems cannot."""
    try:
        fcntl.ioctl(destination_fd, FICLONE, source_fd)
    except OSError as error:
        if error.errno in _NO_REFLINK:
            return False
        raise
    return True


def sync_filesystem(path: str | Path) -> None:
    """Write back everything of the file system that holds `path` (syncfs(2)) and return when it is on the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        if _libc.syncfs(fd) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(fd)


def punch_hole(fd: int, offset: int, length: int) -> bool:
    """Give a range of a file back to the file system, so that it reads as zeros; False where it cannot."""
    if _libc.fallocate(fd, _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE, offset, length) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EOPNOTSUPP, errno.ENOSYS):
        return False
    raise OSError(code, os.strerror(code))


def coarse_clock_ns() -> int:
    """The clock that the kernel stamps files with; it moves in ticks of 1 to 10 ms.

    A file whose ctime is below a value read here before its stat was taken cannot change later without its ctime
    changing too: that is how racy time stamps are told from proof.
    """
    return time.clock_gettime_ns(_CLOCK_REALTIME_COARSE)


def wait_for_clock_past(moment_ns: int, *, timeout_s: float = 0.1) -> None:
    """Return when the file clock is past `moment_ns`, at most a tick after a write that was stamped with it.

    A moment in the future (another machine's clock on a network file system) is not waited for: its files stay racy,
    which costs a comparison, not correctness.
    """
    deadline = time.monotonic() + timeout_s
    while coarse_clock_ns() <= moment_ns and time.monotonic() < deadline:
        time.sleep(0.001)


def read_xattrs(path: bytes) -> tuple[tuple[str, str], ...]:
    """Return the extended attributes of `path` itself as (name, hex) pairs, sorted; SELinux labels belong to the host and are
    left out, and so are second names of ACLs.
    """
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NO_XATTR:
            return ()
        raise
    found = []
    for name in sorted(names):
        if name in _NOT_OURS:
            continue
        try:
            found.append((name, os.getxattr(path, name, follow_symlinks=False).hex()))
        except OSError as error:
            if error.errno not in _NO_XATTR:
                raise  # otherwise a writer has removed it meanwhile
    return tuple(found)


def write_xattrs(path: bytes, wanted: tuple[tuple[str, str], ...]) -> None:
    """Make the extended attributes of `path` itself those of `wanted`, no more and no less."""
    present = dict(read_xattrs(path))
    for name, value in wanted:
        if present.pop(name, None) != value:
            os.setxattr(path, name, bytes.fromhex(value), follow_symlinks=False)
    for name in present:
        os.removexattr(path, name, follow_symlinks=False)


def begin_writing_back(fd: int) -> None:
    """Have the kernel begin to write a file to the disk, so that a later sync finds less to do. Promises nothing."""
    _libc.sync_file_range(fd, 0, 0, _SYNC_FILE_RANGE_WRITE)


def sync_directory(path: str | Path) -> None:
    """Make renames and removals inside `path` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_file(path: bytes) -> None:
    """Write back one file and return when it is on the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_directory(path: str | Path) -> None:
    """Make a directory, in place of whatever else there is: a symlink would lead to somebody else's files."""
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)
            os.mkdir(path, 0o755)


def write_file(path: Path, data: bytes, *, durable: bool) -> None:
    """Replace `path` by `data` atomically: a reader sees the old file or the new one. `durable` also survives a power cut."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_directory(path.parent)
