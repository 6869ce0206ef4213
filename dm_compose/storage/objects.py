"""Immutable file objects and manifests, shared by all commits.

A batch holds the new objects and manifests of one commit, and has the commit's id as its name. It is in `incoming/<batch>/`
while it is being made, and one rename publishes it as `objects/<batch>/`, so a published batch is always complete. The id of an
object is `<batch>/<number>`, and that of a manifest is `<batch>/<subdot>.manifest`. Objects that no commit in the database needs
are garbage. Nothing is hashed here, so a changed file costs one reflink or one copy while a commit is made.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import threading
from collections.abc import Iterable
from pathlib import Path

from dm_compose.core.tree import Manifest
from dm_compose.errors import DamagedError
from dm_compose.storage.contents import copy_to_path
from dm_compose.storage.system import file_errors, sync_directory, sync_filesystem

_UNREADABLE = {errno.EIO, errno.EISDIR, errno.EUCLEAN, errno.EBADMSG}  # what a damaged disk or file system answers
KEPT_MANIFESTS = 32  # decoding 6,000 entries takes 20 ms, a third of restoring them


class ObjectStore:
    """The objects of one store. Thread-safe. The caller holds the dot's lock, which keeps other processes away."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.objects = root / "objects"
        self.incoming = root / "incoming"
        self._manifests: dict[tuple[str, int, int, int], Manifest] = {}
        self._guard = threading.Lock()

    def create(self) -> None:
        """Make the directories. Idempotent."""
        for directory in (self.objects, self.incoming):
            directory.mkdir(mode=0o700, exist_ok=True)

    def path(self, ref: str) -> bytes:
        """Return the path of an object or manifest of a published batch. It need not exist."""
        return os.fsencode(self.objects / ref)

    def open_object(self, ref: str) -> int:
        """Open an object for reading and return the descriptor, which the caller closes. DamagedError when it is missing."""
        try:
            return os.open(self.path(ref), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise DamagedError(f"object {ref} is missing from the store") from None

    def check_object(self, ref: str, size: int) -> None:
        """Raise DamagedError when an object is missing, or when its size is not `size`, with which it was written."""
        try:
            found = os.stat(self.path(ref)).st_size
        except FileNotFoundError:
            raise DamagedError(f"object {ref} is missing from the store") from None
        if found != size:
            raise DamagedError(f"object {ref} is damaged: it has {found} bytes instead of {size}")

    def read_manifest(self, ref: str) -> Manifest:
        """Return a published manifest. Callers must not change it, because it is kept and handed out again.

        DamagedError when it is missing or cannot be read.
        """
        path = self.objects / ref
        try:
            info = path.stat()
            key = ref, info.st_ino, info.st_mtime_ns, info.st_size
            with self._guard:
                found = self._manifests.pop(key, None)
            if found is None:
                found = Manifest.decode(path.read_bytes(), name=ref)
        except FileNotFoundError:
            raise DamagedError(f"manifest {ref} is missing from the store") from None
        except OSError as error:
            if error.errno not in _UNREADABLE:
                raise
            raise DamagedError(f"manifest {ref} cannot be read: {error.strerror}") from None
        with self._guard:
            self._manifests[key] = found
            while len(self._manifests) > KEPT_MANIFESTS:
                del self._manifests[next(iter(self._manifests))]
        return found

    def new_batch(self, name: str) -> Batch:
        """Begin a batch. An unpublished batch of that name is removed first."""
        batch = Batch(self, name)
        shutil.rmtree(batch.directory, ignore_errors=True)
        with file_errors("starting a commit"):
            batch.directory.mkdir(mode=0o700)
        return batch

    def discard(self, name: str) -> None:
        """Remove an unpublished batch, or a published one that no commit names. Idempotent."""
        shutil.rmtree(self.incoming / name, ignore_errors=True)
        shutil.rmtree(self.objects / name, ignore_errors=True)

    def batches(self) -> list[str]:
        """Return the names of the published batches, sorted."""
        return sorted(item.name for item in self.objects.iterdir() if item.is_dir())

    def contents(self, batch: str) -> dict[str, int]:
        """Return the allocated bytes of each object and manifest of a published batch, by id."""
        found = {}
        with os.scandir(self.objects / batch) as listing:
            for item in listing:
                found[f"{batch}/{item.name}"] = item.stat().st_blocks * 512
        return found

    def remove(self, refs: Iterable[str]) -> None:
        """Remove objects and manifests of published batches, and then all empty batches. Idempotent."""
        for ref in refs:
            path = self.objects / ref
            if path.is_dir():  # a damaged store may have a directory there
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        for batch in self.batches():
            with contextlib.suppress(OSError):
                (self.objects / batch).rmdir()

    def put(self, ref: str, file: Path) -> None:
        """Move a file, which is on the disk already, to the path of a published object or manifest. Atomic and durable."""
        path = self.objects / ref
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700)
            sync_directory(self.objects)
        os.rename(file, path)
        sync_directory(path.parent)


class Batch:
    """The new objects and manifests of one commit, private until `publish`."""

    def __init__(self, store: ObjectStore, name: str) -> None:
        self._store = store
        self.name = name
        self.directory = store.incoming / name
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self.copied_bytes = 0

    def reserve(self) -> str:
        """Return the id of a new object, for `add`."""
        return f"{self.name}/{next(self._numbers):x}"

    def path(self, ref: str) -> bytes:
        """Return the path of an object of this unpublished batch."""
        return os.fsencode(self._store.incoming / ref)

    def add(self, ref: str, source_fd: int) -> None:
        """Copy an open file into the reserved object `ref`."""
        if not copy_to_path(source_fd, self.path(ref)):
            size = os.stat(self.path(ref)).st_size
            with self._lock:
                self.copied_bytes += size

    def drop(self, ref: str) -> None:
        """Remove an object that the commit does not need after all."""
        os.unlink(self.path(ref))

    def add_manifest(self, subdot: str, manifest: Manifest) -> str:
        """Write the manifest of a subdot, and return its id."""
        (self.directory / f"{subdot}.manifest").write_bytes(manifest.encode())
        return f"{self.name}/{subdot}.manifest"

    def publish(self) -> None:
        """Publish the batch. Atomic and durable.

        One syncfs writes all of its files to the disk. For a hundred files an fsync each would take several times as long.
        """
        with file_errors("writing a commit to the store"):
            sync_filesystem(self.directory)
            os.rename(self.directory, self._store.objects / self.name)
            sync_directory(self._store.objects)
