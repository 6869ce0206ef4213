"""Taking a tree into the store. A file that has changed since the last look becomes a new object; other files keep theirs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field

from dm_compose.core.at_once import at_once
from dm_compose.core.tree import FILE, UNKNOWN, Manifest, TreeEntry
from dm_compose.errors import StoreError
from dm_compose.objects.batch import Batch
from dm_compose.objects.store import ObjectStore
from dm_compose.objects.system import coarse_clock_ns, file_errors, sync_filesystem
from dm_compose.storage.beneath import Beneath, Root
from dm_compose.storage.scan import RACY, FoundPath, Tree, scan, scan_synced

COPY_THREADS = 4
LOOKS = 3


@dataclass
class Capture:
    """The capture of one subdot into a batch: `prepare` while writers run, and then `finish` while they stand still.

    `known` is the last index of the tree. Paths in `without` are left out: see storage.scan. `early` holds files that were taken
    in before, by path: the file as it was found, RACY if it was not the same any more when that was done, and its object.
    `new_bytes` are those that no published object has, once `finish` has ended.

    A copy is only believed if the descriptor that was read is of the file that the scan has found (FoundPath.is_still), and if
    the scan in `finish` finds that same file at the path.
    """

    root: Root
    known: Tree
    store: ObjectStore
    batch: Batch
    without: Container[str] = ()
    early: dict[str, tuple[FoundPath, str]] = field(default_factory=dict)
    new_bytes: int = 0

    def prepare(self, progress: Callable[[int], None] = lambda _: None) -> None:
        """Copy the files that have changed so far, so that little is left to copy while the stack stands still.

        A writer may change a file while it is copied. `finish` notices that by the time stamps and brings the copy up to date.
        `progress` is called with the bytes of each copied file.
        """
        with self.root.open() as files:
            clock = coarse_clock_ns()
            with file_errors("writing a volume to the disk"):
                sync_filesystem(files.fd)
            tree = scan(files, self.known, without=self.without, quiet_since_ns=clock)

            def copy(found: FoundPath) -> None:
                with contextlib.suppress(FileNotFoundError), _opened(files, found) as fd:
                    self._take(found, fd, self._add(found, fd))
                    progress(found.entry.size)

            at_once(copy, _without_object(tree), most=COPY_THREADS)

    def finish(self) -> tuple[Manifest, Tree]:
        """Return the manifest of the tree as it is now, and the index that proves what its files hold.

        Nobody may write to the tree meanwhile. If somebody does all the same, it is looked at again, LOOKS times at most. Files
        that change even then are taken as they are read, and the index proves nothing about them.
        """
        with self.root.open() as files:
            for _ in range(LOOKS):
                tree = scan_synced(files, self.known, without=self.without)
                refs, moving = self._name_objects(files, _without_object(tree))
                if not moving:
                    break
            if gone := sorted(moving - refs.keys()):
                raise StoreError(
                    f"{files.name(gone[0])} comes and goes while the stack stands still",
                    hint="Something writes there that dm-compose does not know of. Stop it first.",
                )
        for path, (_, ref) in self.early.items():
            if refs.get(path) != ref:
                self.batch.drop(ref)
        for path, ref in refs.items():
            found = tree[path]
            if path in moving:
                with self.batch.open_object(ref) as taken:
                    found = found._replace(entry=found.entry._replace(size=taken.size()), ctime_ns=RACY)
            tree[path] = found._replace(entry=found.entry._replace(ref=ref))
            self.new_bytes += self.batch.new_bytes(ref, found.entry.size)
        return Manifest.of(found.entry for found in tree.values()), tree

    def drop(self) -> None:
        """Remove the copies that `prepare` has made."""
        for _, ref in self.early.values():
            self.batch.drop(ref)

    def _name_objects(self, files: Beneath, jobs: list[FoundPath]) -> tuple[dict[str, str], set[str]]:
        """Return the objects of files by path, and the paths of those that have moved or changed since they were found."""
        refs: dict[str, str] = {}
        moving: set[str] = set()

        def name_object(found: FoundPath) -> None:
            path = found.entry.path
            if (ref := self._copied_early(found)) is not None:
                refs[path] = ref
                return
            moving.add(path)
            with contextlib.suppress(FileNotFoundError), _opened(files, found) as fd:
                refs[path] = self._object_for(found, fd)
                if found.is_still(os.fstat(fd)):
                    moving.discard(path)

        at_once(name_object, jobs, most=COPY_THREADS)
        return refs, moving

    def _copied_early(self, found: FoundPath) -> str | None:
        """Return the copy of a file that is provably the one that was copied."""
        if (copied := self.early.get(found.entry.path)) is None:
            return None
        early, ref = copied
        return ref if early.ctime_ns != RACY and _stamp(early) == _stamp(found) else None

    def _object_for(self, found: FoundPath, fd: int) -> str:
        """Return the object of a file, made or brought up to date."""
        if (taken := self.early.get(found.entry.path)) is not None:
            return self._take(found, fd, self.batch.update(taken[1], fd))
        return self._take(found, fd, self._add(found, fd))

    def _take(self, found: FoundPath, fd: int, ref: str) -> str:
        self.early[found.entry.path] = (found if found.is_still(os.fstat(fd)) else found._replace(ctime_ns=RACY)), ref
        return ref

    def _add(self, found: FoundPath, fd: int) -> str:
        old = self.known.get(found.entry.path)
        if old is None or old.entry.kind != FILE or old.entry.ref == UNKNOWN:
            return self.batch.add(fd)
        racy = old.ctime_ns == RACY and old.entry.size == found.entry.size  # the time stamps do not tell whether it has changed
        return self.batch.add(fd, old.entry.ref, perhaps_same=racy)


def _without_object(tree: Tree) -> list[FoundPath]:
    return [found for found in tree.values() if found.entry.kind == FILE and found.entry.ref == UNKNOWN]


@contextlib.contextmanager
def _opened(files: Beneath, found: FoundPath) -> Iterator[int]:
    """Open a file that a scan has found. FileNotFoundError if there is no file any more."""
    fd = files.open_file(found.entry.path)
    try:
        yield fd
    finally:
        os.close(fd)


def _stamp(found: FoundPath) -> tuple[int, int, int, TreeEntry]:
    return found.device, found.inode, found.ctime_ns, found.entry
