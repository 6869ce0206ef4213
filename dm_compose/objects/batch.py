"""The new objects and manifests of one commit."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import threading
from collections.abc import Iterable

from dm_compose.core.tree import TreeEntry
from dm_compose.errors import DamagedError
from dm_compose.objects.contents import OpenFile, copy_data, differing_bytes
from dm_compose.objects.delta import DataFile, delta
from dm_compose.objects.extents import BLOCK_BYTES
from dm_compose.objects.manifests import compressed_entries
from dm_compose.objects.mapped import StoredObject, WholeObject
from dm_compose.objects.store import DATA, MANIFEST, MAP, PUT_ASIDE, ObjectStore
from dm_compose.objects.sums import SUM, opened_sums, write_sums
from dm_compose.objects.system import file_errors, reflink, sync_directory, sync_filesystem

SMALL_BYTES = 64 << 10  # a file up to this size goes in whole: a map would be a second file for a few blocks


class Batch:
    """The new objects and manifests of one commit, private until `publish`. Thread-safe."""

    def __init__(self, store: ObjectStore, name: str) -> None:
        self._store = store
        self.name = name
        self.directory = store.incoming / name
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._data = DataFile(os.fsencode(self.directory / DATA), f"{name}/{DATA}")
        self._mapped: dict[str, int] = {}  # bytes that are new, by object with a map
        self._copied_bytes = 0
        shutil.rmtree(self.directory, ignore_errors=True)  # an unpublished batch of that name
        with file_errors("starting a commit"):
            self.directory.mkdir(mode=0o700)

    @property
    def copied_bytes(self) -> int:
        """The number of bytes that had to be written, because the file systems cannot share blocks."""
        return self._copied_bytes + self._data.written_bytes

    def has(self, ref: str) -> bool:
        """Return whether an object is of this batch."""
        return ref.startswith(f"{self.name}/")

    def open_object(self, ref: str) -> StoredObject:
        """Open an object of this batch, or a published one: see ObjectStore.open_object."""
        return self._store.open_in(self._store.incoming, ref) if self.has(ref) else self._store.open_object(ref)

    def add(self, source_fd: int, base: str | None = None, *, perhaps_same: bool = False) -> str:
        """Take an open file into the store. Return the id of the object with its contents.

        `base` is the object that the file was before. Where the file systems cannot share blocks, only those that the base does
        not have are written, and the base itself is returned if the file still has the same contents. Where they can, nobody
        compares the two unless they are `perhaps_same`.
        """
        ref = f"{self.name}/{next(self._numbers):x}"
        fd = os.open(self._path(ref), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            shares = reflink(fd, source_fd)
            found = self._by_base(ref, source_fd, base, shares) if base is not None and (perhaps_same or not shares) else None
            if found is not None:
                os.unlink(self._path(ref))
                return found
            if not shares:
                self._copy(ref, source_fd, fd)
            return ref
        finally:
            os.close(fd)

    def _copy(self, ref: str, source_fd: int, fd: int) -> None:
        """Copy a file whole, and note the checksums if it is not small."""
        with contextlib.ExitStack() as opened:
            sums = opened.enter_context(opened_sums(self._path(ref))) if os.fstat(source_fd).st_size > SMALL_BYTES else None

            def note(offset: int, data: bytes) -> None:
                if sums is not None:
                    write_sums(sums, offset // BLOCK_BYTES, data)

            written = copy_data(OpenFile(source_fd), fd, note)
        with self._lock:
            self._copied_bytes += written

    def _by_base(self, ref: str, source_fd: int, base: str, shares: bool) -> str | None:
        """Return the object of a file: the base if it has the same contents, or `ref` with a map. None: it has to go in whole."""
        try:
            with self.open_object(base) as known:
                if shares or os.fstat(source_fd).st_size <= SMALL_BYTES:
                    same = known.size() == os.fstat(source_fd).st_size and not differing_bytes(known, OpenFile(source_fd))
                    return base if same else None
                return self._map(ref, source_fd, known)
        except DamagedError:  # the base is lost, so the file has to go in whole
            return None

    def _map(self, ref: str, source_fd: int, base: StoredObject) -> str:
        old = base.extent_map()
        new = delta(OpenFile(source_fd), base, self._data)
        if (new.size, new.extents) == (old.size, old.extents):
            return base.ref
        with open(self._path(ref) + os.fsencode(MAP), "wb") as file:
            file.write(new.encode())
        own = sum(extent.blocks for extent in new.extents if self.has(extent.source))
        self._mapped[ref] = min(new.size, own * BLOCK_BYTES)
        return ref

    def update(self, ref: str, source_fd: int) -> str:
        """Bring an object up to date with the file that `add` has made it of, and return the id of the object that has it now."""
        if not self.has(ref):
            return self.add(source_fd, ref)
        if ref in self._mapped:
            with self.open_object(ref) as found:
                return self._map(ref, source_fd, found)
        path, aside = self._path(ref), self._path(ref + PUT_ASIDE)
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if reflink(fd, source_fd) or os.fstat(source_fd).st_size <= SMALL_BYTES:
                if not os.fstat(fd).st_size:
                    copy_data(OpenFile(source_fd), fd)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path + SUM)  # of what the file was before
                os.rename(aside, path)
                return ref
        finally:
            os.close(fd)
        os.rename(path, aside)
        with WholeObject(ref, os.open(aside, os.O_RDONLY | os.O_CLOEXEC), self._store) as found:
            if self._map(ref, source_fd, found) == ref and ref not in self._mapped:
                os.rename(aside, path)
        return ref

    def new_bytes(self, ref: str, size: int) -> int:
        """Return how many bytes of an object of `size` bytes no published object has."""
        return self._mapped.get(ref, size) if self.has(ref) else 0

    def _path(self, ref: str) -> bytes:
        return os.fsencode(self._store.incoming / ref)

    def drop(self, ref: str) -> None:
        """Remove an object of this batch that the commit does not need after all. Others stay."""
        if self.has(ref):
            for ending in ("", MAP, PUT_ASIDE, os.fsdecode(SUM)):
                path = self._path(ref + ending)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)

    def add_manifest(self, subdot: str, entries: Iterable[TreeEntry]) -> str:
        """Write the manifest of a subdot with these entries, in walk order, and return its id."""
        with open(self.directory / f"{subdot}{MANIFEST}", "wb") as file:
            file.writelines(compressed_entries(entries))
        return f"{self.name}/{subdot}{MANIFEST}"

    def publish(self) -> None:
        """Publish the batch. Atomic and durable.

        One syncfs writes all of its files to the disk. For a hundred files an fsync each would take several times as long.
        """
        with file_errors("writing a commit to the store"):
            sync_filesystem(self.directory)
            os.rename(self.directory, self._store.objects / self.name)
            sync_directory(self._store.objects)
