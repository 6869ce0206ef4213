"""What a store offers for sending its objects elsewhere and for taking in those of others.

Objects are immutable and their ids are the same in every store that has them. Whoever sends reads; who receives builds
objects in `incoming/fetch.DOT/`, where a killed transfer finds them again, and takes them over with `publish`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dm_compose.core.commit import RESTORE, Commit, JournalEntry, Move
from dm_compose.core.names import MAIN_WORKTREE, CommitId, DotName, RefName
from dm_compose.core.tree import Manifest
from dm_compose.errors import DamagedError, InUseError
from dm_compose.state import Database
from dm_compose.storage.contents import BLOCK_BYTES, CHUNK_BYTES, clone, extents
from dm_compose.storage.objects import ObjectStore
from dm_compose.storage.system import file_errors, punch_hole, sync_directory, sync_filesystem

STAGING_PREFIX = "fetch."
_OBJECT = re.compile(r"[0-9a-f]{32}/[0-9a-f]{1,16}")
_ZEROS = bytes(CHUNK_BYTES)
READ_ZEROS_BYTES = 64 << 10  # a run of zeros of this size becomes a hole


class Run(NamedTuple):
    """A range of a file. `zero`: it holds nothing but zeros."""

    offset: int
    length: int
    zero: bool


@dataclass(frozen=True)
class Difference:
    """What of an object differs from a base: runs of whole blocks, in order, and the object's sha256 (hex) and size.

    Beyond the end of the base everything that is not a hole differs.
    """

    size: int
    sha256: str
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class NewDot:
    """A dot to be made of commits that came: a tree that stands on a branch with that head, and settings of the store that go
    with it.
    """

    branch: RefName
    head: CommitId
    settings: Mapping[str, str] = field(default_factory=dict)


class Exchange:
    """The sending and receiving side of one store. Thread-safe."""

    def __init__(self, database: Database, objects: ObjectStore, root: Path, make_tree: Callable[[DotName], None]) -> None:
        self._database = database
        self._objects = objects
        self._make_tree = make_tree
        self._incoming = root / "incoming"

    # Sending. Needs no lock: an object that `gc` takes meanwhile is a DamagedError, and nothing is sent of it.

    def tree(self, manifest: str) -> tuple[bytes, Manifest]:
        """Return a manifest, as it is stored and decoded."""
        decoded = self._objects.read_manifest(manifest)
        with file_errors(f"reading manifest {manifest}"):
            return (self._objects.objects / manifest).read_bytes(), decoded

    def digests(self, refs: Iterable[str]) -> dict[str, str]:
        """Return the sha256 (hex) of those objects that have been digested before."""
        wanted = set(refs)
        found: dict[str, str] = {}
        for batch in {ref.partition("/")[0] for ref in wanted}:
            found.update(self._database.digests(batch))
        return {ref: found[ref] for ref in wanted & found.keys()}

    def add_digests(self, digests: Mapping[str, str]) -> None:
        """Remember digests, so that they need not be computed again."""
        self._database.add_digests(digests)

    def present(self, refs: Iterable[str]) -> set[str]:
        """Return those objects that the store has."""
        return {ref for ref in refs if os.path.exists(self._objects.path(ref))}

    def size(self, ref: str) -> int:
        """Return the size of an object; DamagedError when it is missing."""
        with self._open(ref) as fd:
            return os.fstat(fd).st_size

    def runs(self, ref: str) -> Iterator[tuple[int, bytes]]:
        """Yield (offset, bytes) of an object in order, up to 1 MiB at a time; what lies between is holes."""
        with self._open(ref) as fd:
            size = os.fstat(fd).st_size
            for is_data, start, end in extents(fd, 0, size):
                while is_data and start < end:
                    data = os.pread(fd, min(CHUNK_BYTES, end - start), start)
                    if not data:
                        raise DamagedError(f"object {ref} became shorter while it was read")
                    yield start, data
                    start += len(data)

    def read(self, ref: str, ranges: Sequence[tuple[int, int]]) -> bytes:
        """Return (offset, length) ranges of an object, joined; each is shorter where the object ends."""
        with self._open(ref) as fd:
            return b"".join(os.pread(fd, length, offset) for offset, length in ranges)

    def compare(self, ref: str, base: str) -> Difference:
        """Return how an object differs from another one."""
        with self._open(ref) as fd, self._open(base) as base_fd:
            return _compare(fd, base_fd)

    @contextlib.contextmanager
    def _open(self, ref: str) -> Iterator[int]:
        fd = self._objects.open_object(ref)
        try:
            with file_errors(f"reading object {ref}"):
                yield fd
        finally:
            os.close(fd)

    # Receiving

    def has_commit(self, dot: DotName, commit_id: CommitId) -> bool:
        """Whether the dot has a commit."""
        return dot in self._database.dots() and any(c == commit_id for c in self._database.commits_by_prefix(dot, commit_id))

    def stage(self, dot: DotName) -> Staging:
        """Open the place where a dot's objects arrive; InUseError while another process receives for the same dot."""
        return Staging(self._database, self._objects, self._incoming / f"{STAGING_PREFIX}{dot}", dot, self._make_tree)


class Staging:
    """Objects on their way into a store. What is finished is kept when the process is killed, and found by the next one.

    `gc` removes a staging place that nobody has open.
    """

    def __init__(
        self, database: Database, objects: ObjectStore, directory: Path, dot: DotName, make_tree: Callable[[DotName], None]
    ) -> None:
        self._database = database
        self._objects = objects
        self._make_tree = make_tree
        self._dot = dot
        self.directory = directory
        self._blobs = directory / "blobs"
        with file_errors("receiving into the store"):
            directory.mkdir(mode=0o700, exist_ok=True)
            self._lock: int | None = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if not _lock(self._lock):
                os.close(self._lock)
                self._lock = None
                raise InUseError(
                    "another process receives commits of the same dot", hint="Wait until it has ended; what it got will be there."
                )
            self._blobs.mkdir(mode=0o700, exist_ok=True)

    def close(self) -> None:
        """Let others have the place. What is in it stays."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def discard(self) -> None:
        """Remove everything that was received and not published, and close. Does nothing when that was done."""
        if self._lock is not None:
            shutil.rmtree(self.directory, ignore_errors=True)
        self.close()

    def free_bytes(self) -> int:
        """Return how much space the file system has for us."""
        info = os.statvfs(self.directory)
        return info.f_bavail * info.f_frsize

    # Blobs that are downloaded in parts

    def blob(self, name: str) -> Path:
        """Return where to download a blob to; a part of it may be there from an earlier try."""
        return self._blobs / name

    # Objects

    def _path(self, ref: str, *, finished: bool) -> bytes:
        if not _OBJECT.fullmatch(ref):
            raise ValueError(f"{ref!r} is no object id")
        return os.fsencode(self.directory / (ref.replace("/", ".") + ("" if finished else ".part")))

    def finished(self, refs: Iterable[str]) -> set[str]:
        """Return those objects that an earlier try has finished; their contents have not been checked again."""
        return {ref for ref in refs if os.path.exists(self._path(ref, finished=True))}

    def start(self, ref: str, size: int, base: str | None, *, take: bool = False) -> None:
        """Begin an object: a hole of `size` bytes, or a copy of a `base` that is in the store or finished here, cut or extended
        to it. With `take` the base is one that was started here, and whose file becomes this object's.
        """
        path = self._path(ref, finished=False)
        with file_errors(f"receiving object {ref}"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            if base is not None and take:
                os.rename(self._path(base, finished=False), path)
            elif base is not None:
                clone(self._base(base), path)
            else:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            os.truncate(path, size)

    def _base(self, ref: str) -> bytes:
        path = self._path(ref, finished=True)
        return path if os.path.exists(path) else self._objects.path(ref)

    def read(self, ref: str, ranges: Sequence[tuple[int, int]]) -> bytes:
        """Return (offset, length) ranges of a finished object or one of the store, joined; each is shorter where it ends."""
        return self._read(self._base(ref), ref, ranges)

    def read_unfinished(self, ref: str, ranges: Sequence[tuple[int, int]]) -> bytes:
        """Return ranges of an object that was started."""
        return self._read(self._path(ref, finished=False), ref, ranges)

    def _read(self, path: bytes, ref: str, ranges: Sequence[tuple[int, int]]) -> bytes:
        with file_errors(f"reading object {ref}"):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise DamagedError(f"object {ref} is missing from the store") from None
            try:
                return b"".join(os.pread(fd, length, offset) for offset, length in ranges)
            finally:
                os.close(fd)

    def write(self, ref: str, pieces: Sequence[tuple[int, bytes]]) -> None:
        """Write (offset, bytes) into an object that was started."""
        with self._writing(ref) as fd:
            for offset, data in pieces:
                view = memoryview(data)
                while view:
                    done = os.pwrite(fd, view, offset)
                    view, offset = view[done:], offset + done

    def clear(self, ref: str, runs: Sequence[Run]) -> None:
        """Make ranges of an object that was started zeros, holes where the file system can."""
        with self._writing(ref) as fd:
            for offset, length, _ in runs:
                if not punch_hole(fd, offset, length):
                    for position in range(offset, offset + length, CHUNK_BYTES):
                        os.pwrite(fd, _ZEROS[: offset + length - position], position)

    @contextlib.contextmanager
    def _writing(self, ref: str) -> Iterator[int]:
        with file_errors(f"receiving object {ref}"):
            fd = os.open(self._path(ref, finished=False), os.O_WRONLY | os.O_CLOEXEC)
            try:
                yield fd
            finally:
                os.close(fd)

    def add(self, ref: str, data: bytes, sha256: str) -> bool:
        """Make a whole object of `data`, finished; False, and nothing is made, when that is not what it should be."""
        if hashlib.sha256(data).hexdigest() != sha256:
            return False
        with file_errors(f"receiving object {ref}"):
            path = self._path(ref, finished=True)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
            finally:
                os.close(fd)
        return True

    def finish(self, ref: str, sha256: str) -> bool:
        """Say that an object is complete. False, and the object is gone, when its contents are not what they should be."""
        path = self._path(ref, finished=False)
        with file_errors(f"receiving object {ref}"):
            if _digest(path) != sha256:
                os.unlink(path)
                return False
            os.rename(path, self._path(ref, finished=True))
        return True

    def verify(self, ref: str, sha256: str, *, staged: bool) -> bool:
        """Whether an object that is finished here (`staged`), or else one of the store, has the right contents."""
        path = self._path(ref, finished=True) if staged else self._objects.path(ref)
        with file_errors(f"reading object {ref}"):
            same = _digest(path) == sha256
            if staged and not same:
                os.unlink(path)
        return same

    def publish(
        self,
        commits: Sequence[Commit],
        manifests: Mapping[str, bytes],
        objects: Iterable[str],
        digests: Mapping[str, str],
        *,
        new: NewDot | None = None,
    ) -> None:
        """Take finished objects and whole commits (their manifests by id, oldest commit first) into the store, and close.

        Everything is durable before the first commit is listed, and all are listed in one transaction. Objects that no
        commit names, because the process died in between, are garbage like any other. No ref is moved; the caller holds the dot's
        lock until one names the commits, or `gc` may take them. An object that is there stays as it is; of a commit that is there
        only the mark that it is shallow may be taken away.

        A `new` dot is made in the same transaction (ExistsError), with a restore in its journal that fills its tree and makes its
        branch: whoever works with the dot next finishes that.
        """
        with file_errors("receiving into the store"):
            pending = {ref: self._path(ref, finished=True) for ref in objects}
            for number, (ref, data) in enumerate(manifests.items()):
                path = os.fsencode(self.directory / f"manifest.{number}")
                with open(path, "wb") as file:
                    file.write(data)
                pending[ref] = path
            sync_filesystem(self.directory)
            for batch in sorted({ref.partition("/")[0] for ref in pending}):
                (self._objects.objects / batch).mkdir(mode=0o700, exist_ok=True)
            for ref, path in pending.items():
                if not os.path.exists(self._objects.path(ref)):
                    os.rename(path, self._objects.path(ref))
            for batch in sorted({ref.partition("/")[0] for ref in pending}):
                sync_directory(self._objects.objects / batch)
            sync_directory(self._objects.objects)
        with self._database.transaction():
            if new is not None:
                self._make_tree(self._dot)
            self._database.add_digests(digests)
            for commit in commits:
                self._add_commit(commit)
            if new is not None:
                move = Move("clone", new.branch, new.head)
                self._database.put_journal(
                    JournalEntry(CommitId.new(), self._dot, MAIN_WORKTREE, RESTORE, target=new.head, move=move)
                )
                for name, value in new.settings.items():
                    self._database.set_setting(name, value)
        self.discard()

    def _add_commit(self, commit: Commit) -> None:
        if not self._database.commits_by_prefix(commit.dot, commit.id):
            self._database.add_commit(commit)
        elif self._database.commit(commit.dot, commit.id).shallow and not commit.shallow:
            self._database.replace_commit(commit)


def in_use(directory: Path) -> bool:
    """Whether a living process receives into a directory of `incoming`."""
    if not directory.name.startswith(STAGING_PREFIX):
        return False
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        return not _lock(fd)
    finally:
        os.close(fd)


def _lock(fd: int) -> bool:
    """Take the lock of a staging place, which ends with its descriptor; False when somebody has it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno != errno.EWOULDBLOCK:
            raise
        return False
    return True


def _digest(path: bytes) -> str:
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while data := file.read(CHUNK_BYTES):
            digest.update(data)
    return digest.hexdigest()


def _compare(fd: int, base_fd: int) -> Difference:
    size, base_size = os.fstat(fd).st_size, os.fstat(base_fd).st_size
    digest = hashlib.sha256()
    runs: list[Run] = []
    position = 0
    for is_data, start, end in extents(fd, 0, size):
        while start < end:
            length = min(CHUNK_BYTES, end - start)
            if is_data:
                data = os.pread(fd, length, start)
                if len(data) != length:
                    raise DamagedError("an object became shorter while it was read")
            else:
                data = _ZEROS[:length]
            digest.update(data)
            if is_data or start < base_size:
                base = os.pread(base_fd, length, start)
                if data != base:
                    _add_differing(runs, start, data, base)
                elif not is_data:
                    _add_new_holes(runs, base_fd, start, length)
            start += length
        position = end
    if position < size:
        raise DamagedError("an object became shorter while it was read")
    return Difference(size, digest.hexdigest(), tuple(runs))


def _add_differing(runs: list[Run], start: int, data: bytes, base: bytes) -> None:
    for first in range(0, len(data), BLOCK_BYTES):
        block = data[first : first + BLOCK_BYTES]
        if block != base[first : first + BLOCK_BYTES]:
            _join(runs, Run(start + first, len(block), block == _ZEROS[: len(block)]))


def _add_new_holes(runs: list[Run], base_fd: int, start: int, length: int) -> None:
    """Note where a hole took the place of zeros that were written."""
    for is_data, first, last in extents(base_fd, start, min(start + length, os.fstat(base_fd).st_size)):
        if is_data:
            _join(runs, Run(first, last - first, True))


def _join(runs: list[Run], run: Run) -> None:
    if runs and runs[-1].zero == run.zero and runs[-1].offset + runs[-1].length == run.offset:
        runs[-1] = Run(runs[-1].offset, runs[-1].length + run.length, run.zero)
    else:
        runs.append(run)
