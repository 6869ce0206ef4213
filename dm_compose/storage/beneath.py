"""Files below one directory, reached by descriptors and never through a symlink.

Containers write to the directories of subdots while we read them, and some of them may be hostile. A path such as `x/shadow`
is looked up anew with each system call that gets it, and meanwhile somebody can put a symlink to /etc in the place of `x`. Root
would then read or change files of the host. So all work on files of a subdot goes through `Beneath`. A path is resolved below an
open directory, no component of it may be a symlink, and owner, mode and attributes are set through a descriptor of the very file.

The kernel does that in one call (openat2(2), Linux 5.6). Older kernels, and some seccomp filters, do not have it; then each
component is opened by itself. Paths may be longer than PATH_MAX.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dm_compose.errors import StoreError

BECAME_ANOTHER = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL}  # a writer has replaced the path meanwhile
MAX_SIZE_OF_CALL = 4000  # bytes of a path in one system call; PATH_MAX is 4096
_DIRECTORY = os.O_DIRECTORY | os.O_CLOEXEC
_SYS_OPENAT2 = 437  # on all architectures but alpha
_RESOLVE = 0x02 | 0x04 | 0x08  # RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH, linux/openat2.h
_TRIES = 100

Opening = Callable[[int, bytes, int, int], int]
"""(directory, path, flags, mode) -> descriptor. The path is relative, and its last component is not followed either."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t]
_libc.syscall.restype = ctypes.c_long


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def by_openat2(directory: int, path: bytes, flags: int, mode: int = 0) -> int:
    """Open a path below an open directory with openat2(2). OSError with an errno of BECAME_ANOTHER at a symlink."""
    _refuse_dots(path)
    at = directory
    try:
        while len(path) > MAX_SIZE_OF_CALL:
            cut = path.rindex(b"/", 0, MAX_SIZE_OF_CALL)
            at = _step(at, directory, _openat2(at, path[:cut], os.O_PATH | _DIRECTORY, 0))
            path = path[cut + 1 :]
        return _openat2(at, path, flags, mode)
    finally:
        if at != directory:
            os.close(at)


def _openat2(directory: int, path: bytes, flags: int, mode: int) -> int:
    sys.audit("open", path, None, flags)  # as os.open does
    creates = flags & os.O_CREAT
    how = _How(flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode if creates else 0, _RESOLVE)
    for _ in range(_TRIES):
        fd: int = _libc.syscall(_SYS_OPENAT2, directory, path, ctypes.byref(how), ctypes.sizeof(how))
        if fd >= 0:
            return fd
        code = ctypes.get_errno()
        if code not in (errno.EINTR, errno.EAGAIN):  # EAGAIN: somebody renamed a directory of the path meanwhile
            break
    raise OSError(code, os.strerror(code), path)


def by_component(directory: int, path: bytes, flags: int, mode: int = 0) -> int:
    """Open a path below an open directory, one component after the other. The same promises as `by_openat2`."""
    _refuse_dots(path)
    *above, name = path.split(b"/")
    at = directory
    try:
        for part in above:
            at = _step(at, directory, os.open(part, os.O_PATH | os.O_NOFOLLOW | _DIRECTORY, dir_fd=at))
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=at)
    finally:
        if at != directory:
            os.close(at)


def _step(at: int, first: int, following: int) -> int:
    if at != first:
        os.close(at)
    return following


def _refuse_dots(path: bytes) -> None:
    if (b"." in path or b"//" in path or path[:1] in (b"", b"/")) and not {b"", b"..", b"."}.isdisjoint(path.split(b"/")):
        raise OSError(errno.EXDEV, "the path leads out of its directory", path)


@functools.cache
def best_opening() -> Opening:
    """Return `by_openat2` where the kernel lets us use it, else `by_component`."""
    if not os.path.isdir("/proc/self/fd"):
        raise StoreError("/proc is not mounted, and without it files cannot be changed safely", hint="mount -t proc proc /proc")
    fd = os.open("/", os.O_PATH | _DIRECTORY)
    try:
        os.close(by_openat2(fd, b"proc", os.O_PATH | _DIRECTORY))
    except OSError:  # ENOSYS, and EPERM by a seccomp filter that does not know the call
        return by_component
    finally:
        os.close(fd)
    return by_openat2


def to_bytes(path: str) -> bytes:
    """Return a TreeEntry's path in the file system's bytes."""
    return path.encode("utf-8", "surrogateescape")


def to_text(name: bytes) -> str:
    """Return bytes of the file system as a TreeEntry has them."""
    return name.decode("utf-8", "surrogateescape")


def in_proc(fd: int, name: bytes = b"") -> bytes:
    """Return a path that leads to an open file (an O_PATH descriptor will do), or to a name in an open directory.

    For system calls that take no descriptor. The file of the descriptor may be a symlink; it is not followed. With a `name` the
    call must not follow symlinks.
    """
    return b"/proc/self/fd/%d/%s" % (fd, name) if name else b"/proc/self/fd/%d" % fd


@dataclass(frozen=True)
class Root:
    """Where the files of a subdot are: the directory `below`, which is never reached through a symlink, in `trusted`.

    The path `trusted` comes from Docker or from the compose file, and may lead over symlinks. `below` is '' unless the directory
    is within another subdot, whose containers can change the way to it.
    """

    trusted: str
    below: str = ""

    @property
    def path(self) -> str:
        """The whole path, for messages."""
        return f"{self.trusted}/{self.below}" if self.below else self.trusted

    def open(self, opening: Opening | None = None) -> Beneath:
        """Open the directory. OSError when it is missing, or no directory."""
        return Beneath(self, opening or best_opening())


class Beneath:
    """An open directory, and all that is below it. Close it, or use it as a context manager.

    Errors are OSErrors; those of missing paths and of symlinks on the way have an errno of BECAME_ANOTHER.
    """

    def __init__(self, root: Root, opening: Opening) -> None:
        self.root = root
        self._opening = opening
        self._last: tuple[str, int] | None = None
        self.fd = os.open(root.trusted, os.O_RDONLY | _DIRECTORY)
        if root.below:
            outer = self.fd
            try:
                self.fd = opening(outer, to_bytes(root.below), os.O_RDONLY | _DIRECTORY, 0)
            except OSError as error:
                error.filename = root.path
                raise
            finally:
                os.close(outer)

    def __enter__(self) -> Beneath:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._forget_last()
        os.close(self.fd)

    def name(self, path: str) -> str:
        """Return the full path of a file, for messages."""
        return f"{self.root.path}/{path}" if path else self.root.path

    @contextlib.contextmanager
    def naming(self, path: str) -> Iterator[None]:
        """Give the OSErrors of the block the full path of a file."""
        try:
            yield
        except OSError as error:
            raise self._named(error, path) from None

    def _named(self, error: OSError, path: str) -> OSError:
        error.filename, error.filename2 = self.name(path), None
        return error

    # Any number of threads

    def open(self, path: str, flags: int, mode: int = 0) -> int:
        """Open a path, and return the descriptor, which the caller closes."""
        if not path:
            return os.open(b".", flags | os.O_CLOEXEC, dir_fd=self.fd)
        try:
            return self._opening(self.fd, to_bytes(path), flags, mode)
        except OSError as error:
            raise self._named(error, path) from None

    @contextlib.contextmanager
    def opened(self, path: str, flags: int, mode: int = 0) -> Iterator[int]:
        """Open a path for the time of the block. The block's OSErrors get the full path as well."""
        fd = self.open(path, flags, mode)
        try:
            yield fd
        except OSError as error:
            raise self._named(error, path) from None
        finally:
            os.close(fd)

    def open_file(self, path: str, flags: int = os.O_RDONLY) -> int:
        """Open a regular file. FileNotFoundError when the path has vanished or has become something else."""
        try:
            fd = self.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            if error.errno not in BECAME_ANOTHER | {errno.ENXIO, errno.EISDIR}:
                raise
            raise FileNotFoundError(errno.ENOENT, "a file has become something else", self.name(path)) from None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise FileNotFoundError(errno.ENOENT, "a file has become something else", self.name(path))
        return fd

    # One thread at a time

    def at(self, path: str) -> tuple[int, bytes]:
        """Return a descriptor of the directory that a path is in, and its name there, for calls with `dir_fd`.

        The descriptor is good until the next call. Paths of one directory one after the other cost nothing.
        """
        parent, _, name = path.rpartition("/")
        return self.directory(parent), to_bytes(name) or b"."

    def directory(self, path: str) -> int:
        """Return a descriptor of a directory for calls with `dir_fd`. It is good until the next call."""
        if not path:
            return self.fd
        if self._last is None or self._last[0] != path:
            at, rest = self.fd, path
            if self._last is not None and path.startswith(self._last[0] + "/"):
                at, rest = self._last[1], path[len(self._last[0]) + 1 :]
            try:
                fd = self._opening(at, to_bytes(rest), os.O_PATH | _DIRECTORY, 0)
            except OSError as error:
                raise self._named(error, path) from None
            self._forget_last()
            self._last = path, fd
        return self._last[1]

    def _forget_last(self) -> None:
        if self._last is not None:
            os.close(self._last[1])
            self._last = None

    def stat(self, path: str) -> os.stat_result:
        """Return the stat of a path itself, not of a link's target."""
        directory, name = self.at(path)
        try:
            return os.stat(name, dir_fd=directory, follow_symlinks=False)
        except OSError as error:
            raise self._named(error, path) from None

    @contextlib.contextmanager
    def handle(self, path: str) -> Iterator[int]:
        """Have an O_PATH descriptor of a path itself, of whatever kind, for the time of the block: see `in_proc`.

        The block's OSErrors get the full path.
        """
        directory, name = self.at(path)
        fd = -1
        try:
            fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            yield fd
        except OSError as error:
            raise self._named(error, path) from None
        finally:
            if fd >= 0:
                os.close(fd)
