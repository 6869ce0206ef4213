"""A directory as remote. Each `NAMESPACE/DOT/` below it is an OCI image layout.

Several processes of one machine may write at once: files appear by rename, and tags move under a kernel lock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from dm_compose.core.names import DotName
from dm_compose.errors import DiskFullError, NotFoundError, RemoteError
from dm_compose.remotes.base import GRACE_S, Blob, Repository
from dm_compose.remotes.layout import LAYOUT, LayoutIndex
from dm_compose.remotes.names import Digest, RemoteName, Tag, digest_of
from dm_compose.remotes.url import RemoteUrl

CHUNK_BYTES = 256 << 10
_FULL = {errno.ENOSPC, errno.EDQUOT}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextlib.contextmanager
def _errors(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = f" ({os.fsdecode(error.filename)})" if error.filename else ""
        if error.errno in _FULL:
            raise DiskFullError(f"{doing}: no space left on the device{where}") from None
        raise RemoteError(f"{doing}: {error.strerror}{where}", denied=error.errno in _DENIED) from error


class DirectoryRemote:
    """A remote that is a directory of this machine; see Remote."""

    guarantee = "exact for all writers on this machine: tags move under a kernel lock"
    connections = 2
    local = True

    def __init__(self, url: RemoteUrl) -> None:
        self.url = url
        self._root = Path(url.path)

    def repositories(self) -> list[RemoteName]:
        found = []
        with _errors(f"listing {self._root}"):
            for namespace in _names(self._root):
                for dot in _names(self._root / namespace):
                    name = RemoteName(namespace, dot)
                    if self.repository(name).tags():
                        found.append(name)
        return sorted(found)

    def repository(self, name: RemoteName) -> Repository:
        return DirectoryRepository(self._root, name)

    def below(self) -> list[RemoteUrl]:
        return []  # nobody can tell how much there is to search

    def exposed(self) -> str | None:
        try:
            mode = self._root.stat().st_mode
        except OSError:
            return None
        if not mode & stat.S_IROTH or not all(p.stat().st_mode & stat.S_IXOTH for p in (self._root, *self._root.parents)):
            return None
        return f"everybody on this machine can read {self._root} (`chmod o= {self._root}` ends that)"

    def close(self) -> None:
        return


class DirectoryRepository:
    """An image layout in a directory; see Repository.

    Files get the mode of the remote's directory. A directory that is made here is private.
    """

    def __init__(self, root: Path, name: RemoteName) -> None:
        self._root = root
        self._top = root / name.namespace / name.dot
        self._blobs = self._top / "blobs" / "sha256"
        self._name = name

    def __str__(self) -> str:
        return str(self._top)

    def _path(self, digest: Digest) -> Path:
        return self._blobs / digest.hex

    def has(self, digest: Digest) -> bool:
        path = self._path(digest)
        try:
            age = time.time() - path.stat().st_mtime
            if age > GRACE_S / 2:
                os.utime(path)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EACCES, errno.EROFS):
                raise RemoteError(f"looking into {self._top}: {error.strerror}") from error
            return False  # the file is somebody else's: a copy of our own will have a new time stamp
        return True

    def put(self, digest: Digest, data: bytes) -> None:
        with _errors(f"writing to {self._top}"):
            self._create()
            if not self.has(digest):
                self._replace(self._path(digest), data)

    def get(self, digest: Digest, start: int = 0) -> Iterator[bytes]:
        with self._open(digest) as fd:
            os.lseek(fd, start, os.SEEK_SET)
            while data := self._read(fd):
                yield data

    @contextlib.contextmanager
    def _open(self, digest: Digest) -> Iterator[int]:
        try:
            fd = os.open(self._path(digest), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFoundError(f"blob {digest.short} of {self._name} is missing from {self._root}") from None
        except OSError as error:
            raise RemoteError(f"reading {self._path(digest)}: {error.strerror}") from error
        try:
            yield fd
        finally:
            os.close(fd)

    def _read(self, fd: int) -> bytes:
        with _errors(f"reading from {self._top}"):
            return os.read(fd, CHUNK_BYTES)

    def put_manifest(self, data: bytes) -> Digest:
        digest = digest_of(data)
        self.put(digest, data)
        return digest

    def get_manifest(self, digest: Digest) -> bytes:
        return b"".join(self.get(digest))

    def tags(self) -> list[Tag]:
        return sorted(self._index().tags)

    def resolve(self, tag: Tag) -> Digest | None:
        found = self._index().tags.get(tag)
        return found[0] if found else None

    def _index(self) -> LayoutIndex:
        path = self._top / "index.json"
        with _errors(f"reading {path}"):
            try:
                data = path.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                data = None
        return LayoutIndex(data, where=str(path))

    def update(self, changes: Mapping[Tag, Digest | None], expected: Mapping[Tag, Digest | None]) -> None:
        with _errors(f"writing to {self._top}"):
            self._create()
            _sync(self._blobs)
            with self._locked():
                index = self._index()
                index.check(expected)
                for tag, digest in changes.items():
                    if digest is None:
                        index.tags.pop(tag, None)
                    else:
                        index.tags[tag] = digest, self._path(digest).stat().st_size
                self._replace(self._top / "index.json", index.encode())
                _sync(self._top)

    def blobs(self) -> Iterator[Blob]:
        with _errors(f"listing {self._blobs}"):
            if not self._blobs.is_dir():
                return
            for item in sorted(os.scandir(self._blobs), key=lambda item: item.name):
                info = item.stat(follow_symlinks=False)
                if len(item.name) == 64 and stat.S_ISREG(info.st_mode):
                    yield Blob(Digest.parse(f"sha256:{item.name}"), info.st_size, datetime.fromtimestamp(info.st_mtime, UTC))
                elif item.name.startswith(".") and datetime.now(UTC).timestamp() - info.st_mtime > GRACE_S:
                    os.unlink(item.path)

    def delete(self, digest: Digest) -> None:
        with _errors(f"removing a blob from {self._top}"):
            self._path(digest).unlink(missing_ok=True)

    def remove(self) -> None:
        with _errors(f"removing {self._top}"):
            if not self._top.is_dir():
                return
            gone = self._top.with_name(f".{self._top.name}.{uuid.uuid4().hex}")
            with self._locked():
                os.rename(self._top, gone)
            shutil.rmtree(gone)

    def _create(self) -> None:
        if (self._top / "oci-layout").exists() and self._blobs.is_dir():
            return
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(self._root.stat().st_mode)
        for directory in (self._top.parent, self._top, self._blobs.parent, self._blobs):
            if not directory.is_dir():
                with contextlib.suppress(FileExistsError):
                    directory.mkdir()
                    directory.chmod(mode)
                    _sync(directory.parent)
        self._replace(self._top / "oci-layout", LAYOUT)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        fd = os.open(self._top / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, stat.S_IMODE(self._root.stat().st_mode) & 0o666)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _replace(self, path: Path, data: bytes) -> None:
        """Write a file atomically. It is durable when its directory has been synced."""
        temporary = path.with_name(f".{path.name[:20]}.{uuid.uuid4().hex}")
        mode = stat.S_IMODE(self._root.stat().st_mode) & 0o666
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            try:
                os.fchmod(fd, mode)
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
                os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _names(directory: Path) -> list[DotName]:
    """Return the directories in a directory whose names can be those of dots or namespaces, sorted."""
    if not directory.is_dir():
        return []
    names = [item.name for item in os.scandir(directory) if item.is_dir() and DotName.pattern.fullmatch(item.name)]
    return sorted(DotName(name) for name in names)
