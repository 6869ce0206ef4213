"""Taking a tree into the store. A file that has changed since the last look becomes a new object; other files keep theirs."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from dm_compose.core.at_once import at_once
from dm_compose.core.tree import FILE, UNKNOWN
from dm_compose.errors import StoreError
from dm_compose.objects.batch import Batch
from dm_compose.objects.store import ObjectStore
from dm_compose.objects.system import coarse_clock_ns, file_errors, sync_filesystem
from dm_compose.storage.again import Places, in_walk_order, look_again
from dm_compose.storage.beneath import Beneath, Root
from dm_compose.storage.dirt import Dirt
from dm_compose.storage.scan import RACY, FoundPath, Tree, scan, scan_synced, synced

COPY_THREADS = 4
LOOKS = 3
WATCHED_PATHS = 5000  # looking at so many takes 15 ms, which is less than a watch is worth
_FILES_AT_ONCE = 1000  # a call that waits takes a kilobyte


class CopyRound(NamedTuple):
    """The extent of a round of copying: the sum of the files' sizes, and the time in seconds."""

    size_bytes: int
    took_s: float


@dataclass
class Capture:
    """The capture of one subdot into a batch: `prepare` while writers run, and then `finish` while they stand still.

    `known` is the last index of the tree. Paths in `without` are left out: see storage.scan. `copied` has the object of each file
    that was copied, by path. `new_bytes` counts the bytes that no published object has, once `tidy` has ended.

    A copy is only believed if the descriptor that was read is of the file that the scan has found (FoundPath.is_still), and if
    the look in `finish` finds that same file at the path.
    """

    root: Root
    known: Tree
    store: ObjectStore
    batch: Batch
    without: Container[str] = ()
    copied: dict[str, str] = field(default_factory=dict)
    new_bytes: int = 0
    _looked: Tree | None = None
    _dirt: Dirt | None = None
    _places: Places | None = None
    _is_ordered: bool = True

    def prepare(self, progress: Callable[[int], None] = lambda _: None) -> CopyRound:
        """Copy the files that have changed so far, so that little is left to copy while the stack stands still.

        It may be called again, for what has changed during the call before. A large tree is watched from here to `finish`, so
        that only what may have changed is looked at there.

        A writer may change a file while it is copied. `finish` notices that by the time stamps and brings the copy up to date.
        `progress` is called with the bytes of each copied file.
        """
        self.close()
        with self.root.open() as files:
            self._dirt = Dirt.begin(files.fd) if len(self._last_look) >= WATCHED_PATHS else None
            clock = coarse_clock_ns()
            with file_errors("writing a volume to the disk"):
                sync_filesystem(files.fd)
            tree = scan(files, self._last_look, without=self.without, quiet_since_ns=clock)

            def copy(found: FoundPath) -> None:
                with contextlib.suppress(FileNotFoundError), _opened(files, found) as fd:
                    ref = self._object_for(found, fd)
                    if found.ctime_ns != RACY and found.is_still(os.fstat(fd)):
                        tree[found.entry.path] = _holding(found, ref)
                    progress(found.entry.size)

            jobs = _without_object(tree)
            size_bytes = sum(found.entry.size for found in jobs)
            began = time.monotonic()
            _for_all(copy, jobs)
            took = time.monotonic() - began
            self._looked, self._places = tree, Places(tree) if self._dirt is not None else None
        return CopyRound(size_bytes, took)

    def finish(self) -> Tree:
        """Return the tree as it is now: the index that proves what its files hold, each with its object.

        Nobody may write to the tree meanwhile. If somebody does all the same, it is looked at again, LOOKS times at most. Files
        that change even then are taken as they are read, and the index proves nothing about them.
        """
        with self.root.open() as files:
            for _ in range(LOOKS):
                tree, jobs = self._look(files)
                refs, moving = self._name_objects(files, jobs)
                for path in refs.keys() - moving:
                    tree[path] = _holding(tree[path], refs[path])
                if not moving:
                    break
            if gone := sorted(moving - refs.keys()):
                raise StoreError(
                    f"{files.name(gone[0])} comes and goes while the stack stands still",
                    hint="Something writes there that dm-compose does not know of. Stop it first.",
                )
        for path in moving:
            found, ref = tree[path], refs[path]
            with self.batch.open_object(ref) as taken:
                found = found._replace(entry=found.entry._replace(size=taken.size()), ctime_ns=RACY)
            tree[path] = _holding(found, ref)
        return tree

    def _look(self, files: Beneath) -> tuple[Tree, list[FoundPath]]:
        """Return the tree as it is now, and its files that have no object."""
        if self._dirt is None or self._places is None:
            tree = self._looked = scan_synced(files, self._last_look, without=self.without)
            return tree, _without_object(tree)
        tree, places, self._places = self._last_look, self._places, None
        clock = synced(files)
        last = next(reversed(tree))
        inodes = self._dirt.inodes(files.fd)
        seen = None
        if inodes is not None:
            seen = look_again(files, tree, places, inodes, without=self.without, quiet_since_ns=clock)
        if seen is None:
            tree = self._looked = scan(files, tree, without=self.without, quiet_since_ns=clock)
            return tree, _without_object(tree)
        self._is_ordered = self._is_ordered and next(reversed(tree)) == last
        return tree, _without_object({path: tree[path] for path in seen if path in tree})

    def tidy(self) -> Tree:
        """Return the tree that `finish` has returned, in the order of a scan. Remove the copies that were found needless.

        Nobody has to stand still for it.
        """
        self.close()
        if not self._is_ordered:
            self._looked, self._is_ordered = in_walk_order(self._last_look), True
        tree, self.new_bytes = self._last_look, 0
        while self.copied:
            path, ref = self.copied.popitem()
            if path in tree and tree[path].entry.ref == ref:
                self.new_bytes += self.batch.new_bytes(ref, tree[path].entry.size)
            else:
                self.batch.drop(ref)
        return tree

    def drop(self) -> None:
        """Remove all copies."""
        self.close()
        for ref in self.copied.values():
            self.batch.drop(ref)

    def close(self) -> None:
        """End the watch of the tree. Idempotent."""
        if self._dirt is not None:
            self._dirt.close()
            self._dirt = self._places = None

    @property
    def _last_look(self) -> Tree:
        return self.known if self._looked is None else self._looked

    def _name_objects(self, files: Beneath, jobs: list[FoundPath]) -> tuple[dict[str, str], set[str]]:
        """Return the objects of files by path, and the paths of those that have moved or changed since they were found."""
        refs: dict[str, str] = {}
        moving = {found.entry.path for found in jobs}

        def name_object(found: FoundPath) -> None:
            path = found.entry.path
            with contextlib.suppress(FileNotFoundError), _opened(files, found) as fd:
                refs[path] = self._object_for(found, fd)
                if found.is_still(os.fstat(fd)):
                    moving.discard(path)

        _for_all(name_object, jobs)
        return refs, moving

    def _object_for(self, found: FoundPath, fd: int) -> str:
        """Return the object of a file, made or brought up to date."""
        path = found.entry.path
        ref = self.copied[path] = self.batch.update(self.copied[path], fd) if path in self.copied else self._add(found, fd)
        return ref

    def _add(self, found: FoundPath, fd: int) -> str:
        old = self.known.get(found.entry.path)
        if old is None or old.entry.kind != FILE or old.entry.ref == UNKNOWN:
            return self.batch.add(fd)
        racy = old.ctime_ns == RACY and old.entry.size == found.entry.size  # the time stamps do not tell whether it has changed
        return self.batch.add(fd, old.entry.ref, perhaps_same=racy)


def _for_all(work: Callable[[FoundPath], None], jobs: list[FoundPath]) -> None:
    """Do all jobs, and take each off the list. A job that is done needs its memory no more."""
    jobs.reverse()
    while jobs:
        now = jobs[: -_FILES_AT_ONCE - 1 : -1]
        del jobs[-_FILES_AT_ONCE:]
        at_once(work, now, most=COPY_THREADS)


def _without_object(tree: Mapping[str, FoundPath]) -> list[FoundPath]:
    return [found for found in tree.values() if found.entry.kind == FILE and found.entry.ref == UNKNOWN]


def _holding(found: FoundPath, ref: str) -> FoundPath:
    return found._replace(entry=found.entry._replace(ref=ref))


@contextlib.contextmanager
def _opened(files: Beneath, found: FoundPath) -> Iterator[int]:
    """Open a file that a scan has found. FileNotFoundError if there is no file any more."""
    fd = files.open_file(found.entry.path)
    try:
        yield fd
    finally:
        os.close(fd)
