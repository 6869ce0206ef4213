"""Taking a tree into the store. A file that has changed since the last look becomes a new object; other files keep theirs."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from dm_compose.core.at_once import at_once
from dm_compose.core.tree import FILE, UNKNOWN, Manifest, TreeEntry
from dm_compose.errors import DamagedError
from dm_compose.storage.contents import differing_bytes, patch
from dm_compose.storage.objects import Batch, ObjectStore
from dm_compose.storage.scan import BECAME_ANOTHER, RACY, FoundPath, Tree, join, scan, scan_synced
from dm_compose.storage.system import coarse_clock_ns, file_errors, sync_filesystem

COPY_THREADS = 4


@dataclass
class Capture:
    """The capture of one subdot into a batch: `prepare` while writers run, and then `finish` while they stand still.

    `known` is the last index of the tree. Paths in `without` are left out: see storage.scan. `early` holds the copies that
    `prepare` has made. `new_bytes` is the size of the files that became new objects, once `finish` has ended.
    """

    root: str
    known: Tree
    store: ObjectStore
    batch: Batch
    without: Collection[str] = ()
    early: dict[str, tuple[FoundPath, str]] = field(default_factory=dict)
    new_bytes: int = 0

    def prepare(self, progress: Callable[[int], None] = lambda _: None) -> None:
        """Copy the files that have changed so far, so that little is left to copy while the stack stands still.

        A writer may change a file while it is copied. `finish` notices that by the time stamps and brings the copy up to date.
        `progress` is called with the bytes of each copied file.
        """
        clock = coarse_clock_ns()
        with file_errors("writing a volume to the disk"):
            sync_filesystem(self.root)
        tree = scan(self.root, self.known, without=self.without, quiet_since_ns=clock)
        jobs = [found for found in tree.values() if self._needs_object(found)]

        def copy(found: FoundPath) -> None:
            ref = self.batch.reserve()
            try:
                self.batch.add(ref, join(self.root, found.entry.path))
            except OSError as error:
                if error.errno not in BECAME_ANOTHER:
                    raise
                return
            self.early[found.entry.path] = (found, ref)
            progress(found.entry.size)

        at_once(copy, jobs, most=COPY_THREADS)

    def finish(self) -> tuple[Manifest, Tree]:
        """Return the manifest of the tree as it is now, and the index that proves what its files hold.

        Nobody may write to the tree meanwhile.
        """
        tree = scan_synced(self.root, self.known, without=self.without)
        refs: dict[str, str] = {}
        jobs = [found for found in tree.values() if found.entry.kind == FILE and found.entry.ref == UNKNOWN]

        def name_object(found: FoundPath) -> None:
            refs[found.entry.path] = self._object_for(found)

        at_once(name_object, jobs, most=COPY_THREADS)
        for path in self.early.keys() - refs.keys():
            self.batch.drop(self.early[path][1])
        for path, ref in refs.items():
            found = tree[path]
            tree[path] = found._replace(entry=found.entry._replace(ref=ref))
            if ref.startswith(f"{self.batch.name}/"):
                self.new_bytes += found.entry.size
        return Manifest.of(found.entry for found in tree.values()), tree

    def drop(self) -> None:
        """Remove the copies that `prepare` has made."""
        for _, ref in self.early.values():
            self.batch.drop(ref)

    def _needs_object(self, found: FoundPath) -> bool:
        return found.entry.kind == FILE and found.entry.ref == UNKNOWN and self._same_as_before(found) is None

    def _object_for(self, found: FoundPath) -> str:
        path = found.entry.path
        source = join(self.root, path)
        if path not in self.early:
            if (old := self._same_as_before(found)) is not None:
                return old
            ref = self.batch.reserve()
            self.batch.add(ref, source)
            return ref
        early, ref = self.early[path]
        if early.ctime_ns != RACY and _stamp(early) == _stamp(found):
            return ref
        self._patch_copy(source, ref)
        return ref

    def _patch_copy(self, source: bytes, ref: str) -> None:
        """Write the differences to the early copy. That is cheaper than a second copy if little has changed."""
        source_fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            copy_fd = os.open(self.batch.path(ref), os.O_RDWR | os.O_CLOEXEC)
            try:
                patch(copy_fd, source_fd)
            finally:
                os.close(copy_fd)
        finally:
            os.close(source_fd)

    def _same_as_before(self, found: FoundPath) -> str | None:
        """Return the object of a file whose contents are still those of its object, though the time stamps do not prove it.

        None for any other file.
        """
        old = self.known.get(found.entry.path)
        if old is None or old.ctime_ns != RACY or old.entry.kind != FILE or old.entry.size != found.entry.size:
            return None
        try:
            same = same_contents(self.store, old.entry.ref, join(self.root, found.entry.path))
        except DamagedError:  # the object is lost, so the file has to become a new one
            return None
        return old.entry.ref if same else None


def same_contents(store: ObjectStore, ref: str, path: bytes) -> bool:
    """Return whether a file and an object hold the same, by reading both. False when the file has vanished."""
    object_fd = store.open_object(ref)
    try:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in BECAME_ANOTHER:
                raise
            return False
        try:
            return differing_bytes(object_fd, fd) == 0
        finally:
            os.close(fd)
    finally:
        os.close(object_fd)


def _stamp(found: FoundPath) -> tuple[int, int, int, TreeEntry]:
    return found.inode, found.ctime_ns, found.entry.size, found.entry
