"""The staging place of a dot in a local store, `incoming/fetch.DOT/`: received objects on their way into the store."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path

from dm_compose.core.commit import RESTORE, Commit, JournalEntry, Move
from dm_compose.core.names import MAIN_WORKTREE, DotName, EntryId
from dm_compose.errors import InUseError
from dm_compose.objects.manifests import compressed
from dm_compose.objects.staged import StagedObjects
from dm_compose.objects.store import ObjectStore
from dm_compose.objects.system import file_errors, sync_filesystem
from dm_compose.state import Database
from dm_compose.store.exchange import ByteRange, NewDot, Whole
from dm_compose.store.local.locks import StoreLock, try_flock

STAGING_PREFIX = "fetch."
_BLOB = re.compile(r"[0-9a-f]{64}")


class LocalStaging:
    """See dm_compose.store.exchange.Staging. A kernel lock keeps other processes out of the place."""

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        store_lock: StoreLock,
        directory: Path,
        dot: DotName,
        make_tree: Callable[[DotName], None],
    ) -> None:
        self._database = database
        self._objects = objects
        self._store_lock = store_lock
        self._make_tree = make_tree
        self._dot = dot
        self.directory = directory
        self._blobs = directory / "blobs"
        with file_errors("receiving into the store"):
            directory.mkdir(mode=0o700, exist_ok=True)
            self._lock: int | None = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if not try_flock(self._lock):
                os.close(self._lock)
                self._lock = None
                raise InUseError(
                    "another process is receiving commits of the same dot",
                    hint="Wait until it has ended. Everything that it has received will be there.",
                )
            self._blobs.mkdir(mode=0o700, exist_ok=True)
        self._staged = StagedObjects(directory, objects, store_lock.listing)

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def discard(self) -> None:
        if self._lock is not None:
            shutil.rmtree(self.directory, ignore_errors=True)
        self.close()

    def free_bytes(self) -> int:
        info = os.statvfs(self.directory)
        return info.f_bavail * info.f_frsize

    def _blob(self, name: str) -> Path:
        if not _BLOB.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a blob")
        return self._blobs / name

    def blob_size(self, name: str) -> int:
        with file_errors("receiving into the store"):
            try:
                return self._blob(name).stat().st_size
            except FileNotFoundError:
                return 0

    def append_blob(self, name: str, data: bytes) -> None:
        with file_errors("receiving into the store"), open(self._blob(name), "ab") as file:
            file.write(data)

    def read_blob(self, name: str) -> bytes:
        with file_errors("receiving into the store"):
            return self._blob(name).read_bytes()

    def remove_blob(self, name: str) -> None:
        with file_errors("receiving into the store"):
            self._blob(name).unlink(missing_ok=True)

    def finished(self, digests: Mapping[str, str]) -> set[str]:
        return self._staged.finished(digests)

    def start(self, ref: str, size: int, base: str | None, zeros: Sequence[ByteRange], *, take: bool = False) -> None:
        self._staged.start(ref, size, base, [(offset, length) for offset, length, _ in zeros], take=take)

    def read(self, ref: str, ranges: Sequence[tuple[int, int]], *, unfinished: bool = False) -> bytes:
        return self._staged.read(ref, ranges, unfinished=unfinished)

    def write(self, ref: str, pieces: Sequence[tuple[int, bytes]]) -> None:
        self._staged.write(ref, pieces)

    def add(self, objects: Sequence[Whole]) -> list[str]:
        return [ref for ref, sha256, data in objects if not self._staged.add(ref, sha256, data)]

    def finish(self, ref: str, sha256: str) -> bool:
        return self._staged.finish(ref, sha256)

    def publish(
        self,
        commits: Sequence[Commit],
        manifests: Mapping[str, bytes],
        objects: Set[str],
        digests: Mapping[str, str],
        *,
        new: NewDot | None = None,
    ) -> bool:
        with file_errors("receiving into the store"):
            pending = {ref: path for ref in objects if (path := self._staged.path_of(ref)) is not None}
            for number, (ref, data) in enumerate(manifests.items()):
                path = os.fsencode(self.directory / f"manifest.{number}")
                with open(path, "wb") as file:
                    file.write(compressed(data))
                pending[ref] = path
            sync_filesystem(self.directory)
        with self._store_lock.listing():
            if not self._complete(commits, objects, pending.keys()):
                return False
            with file_errors("receiving into the store"):
                self._staged.take_in(pending)
            self._list(commits, digests, new)
        self.discard()
        return True

    def _complete(self, commits: Sequence[Commit], objects: Set[str], pending: Set[str]) -> bool:
        """Whether the store, with the pending objects and manifests, has all that the commits need."""
        needed = {*objects, *(state.manifest for commit in commits for state in commit.subdots.values())}
        if not all(self._objects.has(ref) for ref in needed - pending):
            return False
        known = {commit.id for commit in commits}
        parents = {c.parent for c in commits if c.parent is not None and not c.shallow} - known
        return all(self._database.commits_by_prefix(self._dot, parent) for parent in parents)

    def _list(self, commits: Sequence[Commit], digests: Mapping[str, str], new: NewDot | None) -> None:
        with self._database.transaction():
            if new is not None:
                self._make_tree(self._dot)
            self._database.add_digests(digests)
            for commit in commits:
                self._add_commit(commit)
            if new is not None:
                move = Move("clone", new.branch, new.head)
                self._database.put_journal(
                    JournalEntry(EntryId.new(), self._dot, MAIN_WORKTREE, RESTORE, target=new.head, move=move)
                )
                for name, value in new.settings.items():
                    self._database.set_setting(name, value)

    def _add_commit(self, commit: Commit) -> None:
        if not self._database.commits_by_prefix(commit.dot, commit.id):
            self._database.add_commit(commit)
        elif self._database.commit(commit.dot, commit.id).shallow and not commit.shallow:
            self._database.replace_commit(commit)


def in_use(directory: Path) -> bool:
    """Return whether a living process receives into a directory of `incoming`."""
    if not directory.name.startswith(STAGING_PREFIX):
        return False
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        return not try_flock(fd)
    finally:
        os.close(fd)
