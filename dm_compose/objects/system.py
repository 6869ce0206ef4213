"""Small steps on files, with system calls that Python does not wrap. Linux only."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
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
    "security.selinux",  # labels belong to the host
    "trusted.SGI_ACL_FILE",  # XFS shows root system.posix_acl_access a second time under this name; removing it twice would fail
    "trusted.SGI_ACL_DEFAULT",
}
_FULL = {errno.ENOSPC, errno.EDQUOT}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
_libc.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
_SYNC_FILE_RANGE_WRITE = 2


@contextlib.contextmanager
def file_errors(doing: str) -> Iterator[None]:
    """Turn an OSError of the block into a StoreError or DiskFullError, whose message begins with `doing`."""
    try:
        yield
    except OSError as error:
        where = f" ({os.fsdecode(error.filename)})" if error.filename else ""
        if error.errno in _FULL:
            raise DiskFullError(
                f"{doing}: no space left on the device{where}",
                hint="Free some space there: `docker system df` shows what Docker uses. Earlier commits are intact.",
            ) from None
        raise StoreError(f"{doing}: {error.strerror}{where}") from error


def reflink(destination_fd: int, source_fd: int) -> bool:
    """Have an open file share all blocks of another one (FICLONE), so that both hold the same.

    Return False where the file systems cannot do it. The destination is as it was then.
    """
    try:
        fcntl.ioctl(destination_fd, FICLONE, source_fd)
    except OSError as error:
        if error.errno in _NO_REFLINK:
            return False
        raise
    return True


def sync_filesystem(file: str | Path | int) -> None:
    """Write everything of the file system that holds a file (its path or descriptor) to the disk, and return when it is there."""
    fd = file if isinstance(file, int) else os.open(file, os.O_RDONLY)
    try:
        if _libc.syncfs(fd) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), None if isinstance(file, int) else str(file))
    finally:
        if fd != file:
            os.close(fd)


def punch_hole(fd: int, offset: int, length: int) -> bool:
    """Make a range of a file a hole, which reads as zeros. Return False, and change nothing, where the file system cannot."""
    if _libc.fallocate(fd, _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE, offset, length) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EOPNOTSUPP, errno.ENOSYS):
        return False
    raise OSError(code, os.strerror(code))


@functools.cache
def boot_id() -> str:
    """Return an id that the kernel makes anew each time it boots. '' where /proc does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def coarse_clock_ns() -> int:
    """Return the time (ns) of the clock that the kernel stamps files with. It moves in ticks of 1 to 10 ms.

    Read this clock first and then the ctime of a file. If the ctime is smaller, every later change of the file changes the ctime
    too, so the ctime proves that the file is unchanged. Otherwise a change in the same tick could leave the same ctime.
    """
    return time.clock_gettime_ns(_CLOCK_REALTIME_COARSE)


def wait_for_clock_past(moment_ns: int, *, timeout_s: float = 0.1) -> None:
    """Return when the clock of `coarse_clock_ns` is past `moment_ns`. That takes at most a tick for a moment that is now.

    A network file system may stamp files with the clock of another machine, which may be ahead of ours. For such a moment this
    gives up after `timeout_s`. The time stamps then prove nothing, so contents are compared, which costs time only.
    """
    deadline = time.monotonic() + timeout_s
    while coarse_clock_ns() <= moment_ns and time.monotonic() < deadline:
        time.sleep(0.001)


def read_xattrs(path: bytes, *, follow_symlinks: bool = False) -> tuple[tuple[str, str], ...]:
    """Return the extended attributes of a path as (name, value in hex) pairs, sorted.

    SELinux labels are left out, because they belong to the host. So are the second names under which XFS shows ACLs.
    """
    try:
        names = os.listxattr(path, follow_symlinks=follow_symlinks)
    except OSError as error:
        if error.errno in _NO_XATTR:
            return ()
        raise
    found = []
    for name in sorted(names):
        if name in _NOT_OURS:
            continue
        try:
            found.append((name, os.getxattr(path, name, follow_symlinks=follow_symlinks).hex()))
        except OSError as error:
            if error.errno not in _NO_XATTR:
                raise  # an attribute that a writer has removed meanwhile is left out
    return tuple(found)


def write_xattrs(path: bytes, wanted: tuple[tuple[str, str], ...]) -> None:
    """Give the file that `path` leads to exactly these extended attributes: (name, value in hex) pairs."""
    present = dict(read_xattrs(path, follow_symlinks=True))
    for name, value in wanted:
        if present.pop(name, None) != value:
            os.setxattr(path, name, bytes.fromhex(value))
    for name in present:
        os.removexattr(path, name)


def begin_writing_back(fd: int) -> None:
    """Have the kernel begin to write a file to the disk, so that a later sync has less to do. Errors are ignored."""
    _libc.sync_file_range(fd, 0, 0, _SYNC_FILE_RANGE_WRITE)


def sync_directory(path: str | Path) -> None:
    """Make renames and removals inside `path` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_file(path: bytes) -> None:
    """Write one file to the disk, and return when it is there."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_directory(path: str | Path) -> None:
    """Make a directory unless it exists. A file or symlink there is removed, because a link leads to somebody else's files."""
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)
            os.mkdir(path, 0o755)


def private_directory(path: Path) -> None:
    """Make a directory that only its owner may enter. Idempotent.

    If it is there and others may enter it, they may not from then on, and may not read the files in it either. Earlier versions
    made them so.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    info = os.stat(path)
    if info.st_mode & 0o077 and info.st_uid == os.geteuid():
        os.chmod(path, 0o700)
        for directory, _, files in os.walk(path):
            for name in files:
                file = os.path.join(directory, name)
                if stat.S_ISREG(os.lstat(file).st_mode):
                    os.chmod(file, 0o600)


def write_file(path: Path, *data: bytes, durable: bool, private: bool = False) -> None:
    """Replace the contents of `path` atomically, by all of `data` joined: a reader sees the old file or the new one.

    With `durable` the new file is on the disk when this returns. A `private` file is for its owner alone.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    mode = 0o600 if private else 0o666
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode), "wb") as file:
            if private:
                os.fchmod(file.fileno(), mode)
            file.writelines(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_directory(path.parent)
