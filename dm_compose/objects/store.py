"""Immutable file objects and manifests, shared by all commits.

A batch holds the new objects and manifests of one commit, and has the commit's id as its name. It is in `incoming/<batch>/`
while it is being made, and one rename publishes it as `objects/<batch>/`, so a published batch is always complete. Its files:

    NUMBER            an object, `<batch>/NUMBER`, that is this file
    NUMBER.map        an object, `<batch>/NUMBER`, whose contents lie where the map says: see objects.extents
    data              the blocks that are new in this batch, for maps of this batch and of later ones
    NUMBER.data       a file that was an object once; maps name blocks of it, as blocks of `<batch>/NUMBER`
    data.sum, NUMBER.sum  checksums of the blocks of these files: see objects.sums
    SUBDOT.manifest   a manifest: see objects.manifests

Objects that no commit in the database needs are garbage. Nothing is hashed here. A new file costs a copy while a commit is made,
and a changed one a look at it and a copy of the blocks that differ. Where the file system can share blocks both are one reflink.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

from dm_compose.core.tree import Manifest
from dm_compose.errors import DamagedError
from dm_compose.objects.extents import ExtentMap, Run, named_runs
from dm_compose.objects.manifests import is_whole, text_of
from dm_compose.objects.mapped import MappedObject, StoredObject, WholeObject
from dm_compose.objects.sums import SUM, UNREADABLE, Sums
from dm_compose.objects.system import sync_directory

MANIFEST, MAP, DATA, PUT_ASIDE = ".manifest", ".map", "data", ".data"
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

    def has(self, ref: str) -> bool:
        """Return whether there is a published object or manifest of that id."""
        path = self.path(ref)
        return os.path.exists(path) or os.path.exists(path + os.fsencode(MAP))

    def open_object(self, ref: str) -> StoredObject:
        """Open an object for reading. DamagedError when it is missing, or when its map cannot be read."""
        return self.open_in(self.objects, ref)

    def open_in(self, directory: Path, ref: str) -> StoredObject:
        """Open an object whose batch is in `directory`: see open_object."""
        path = os.fsencode(directory / ref)
        try:
            return WholeObject(ref, os.open(path, os.O_RDONLY | os.O_CLOEXEC), self)
        except FileNotFoundError:
            pass
        try:
            with open(path + os.fsencode(MAP), "rb") as file:
                encoded = file.read()
        except FileNotFoundError:
            raise DamagedError(f"object {ref} is missing from the store") from None
        return MappedObject(ref, ExtentMap.decode(encoded, name=ref), self)

    def named_runs(self, ref: str) -> set[Run]:
        """Return the blocks that the map of a published object names. DamagedError when it is missing or cannot be read."""
        try:
            return named_runs((self.objects / (ref + MAP)).read_bytes(), name=ref)
        except FileNotFoundError:
            raise DamagedError(f"object {ref} is missing from the store") from None

    def open_source(self, ref: str) -> int:
        """Open a file that maps name: see Sources. It may be set aside, and its batch published, at any moment."""
        for directory in (self.objects, self.incoming, self.objects):
            for ending in ("", PUT_ASIDE):
                with contextlib.suppress(FileNotFoundError):
                    return os.open(os.fsencode(directory / (ref + ending)), os.O_RDONLY | os.O_CLOEXEC)
        raise DamagedError(f"{ref}, in which parts of objects lie, is missing from the store")

    def source_path(self, ref: str) -> bytes:
        """Return the path of a published file that maps name: the one that `open_source` opens. It need not exist."""
        path, aside = self.path(ref), self.path(ref + PUT_ASIDE)
        return aside if os.path.exists(aside) and not os.path.exists(path) else path

    def is_in_blocks(self, ref: str) -> bool:
        """Return whether an object has a map, or checksums of its blocks."""
        path = self.path(ref)
        return os.path.exists(path + SUM) or (os.path.exists(path + os.fsencode(MAP)) and not os.path.exists(path))

    def open_sums(self, ref: str) -> Sums:
        """Open the checksums of a file that maps name: see Sources."""
        for directory in (self.objects, self.incoming, self.objects):
            if (found := Sums(os.fsencode(f"{directory}/{ref}"))).fd >= 0:
                break
        return found

    def check_object(self, ref: str, size: int) -> None:
        """Raise DamagedError when an object is missing, or when its size is not `size`, with which it was written.

        The files that its map names have to be there, too.
        """
        with self.open_object(ref) as found:
            if found.size() != size:
                raise DamagedError(f"object {ref} is damaged: it has {found.size()} bytes instead of {size}")
            if isinstance(found, MappedObject):
                found.check_sources()

    def read_manifest(self, ref: str) -> Manifest:
        """Return a published manifest. Callers must not change it, because it is kept and handed out again.

        DamagedError when it is missing or cannot be read.
        """
        path = self.objects / ref
        with _manifest_errors(ref):
            info = path.stat()
            key = ref, info.st_ino, info.st_mtime_ns, info.st_size
            with self._guard:
                found = self._manifests.pop(key, None)
            if found is None:
                found = Manifest.decode(text_of(path.read_bytes(), name=ref), name=ref)
        with self._guard:
            self._manifests[key] = found
            while len(self._manifests) > KEPT_MANIFESTS:
                del self._manifests[next(iter(self._manifests))]
        return found

    def has_manifest(self, ref: str) -> bool:
        """Return whether there is a published manifest of that id whose checksum is right. False also if it has no checksum."""
        try:
            with (self.objects / ref).open("rb") as file:
                return is_whole(file)
        except OSError:
            return False

    def objects_of(self, ref: str) -> set[str]:
        """Return the ids of the objects that a manifest names. Quicker than `read_manifest`, with the same errors."""
        return Manifest.named(self.manifest_text(ref), name=ref)

    def manifest_text(self, ref: str) -> bytes:
        """Return a published manifest as `Manifest.encode` has made it. DamagedError when it is missing or cannot be read."""
        with _manifest_errors(ref):
            return text_of((self.objects / ref).read_bytes(), name=ref)

    def discard(self, name: str) -> None:
        """Remove an unpublished batch, or a published one that no commit names. Idempotent."""
        shutil.rmtree(self.incoming / name, ignore_errors=True)
        shutil.rmtree(self.objects / name, ignore_errors=True)

    def batches(self) -> list[str]:
        """Return the names of the published batches, sorted."""
        return sorted(item.name for item in self.objects.iterdir() if item.is_dir())

    def files(self, batch: str) -> dict[str, int]:
        """Return the names of the files of a published batch, each with its bytes on the disk. Empty when there is no batch."""
        try:
            with os.scandir(self.objects / batch) as listing:
                return {item.name: item.stat(follow_symlinks=False).st_blocks * 512 for item in listing}
        except FileNotFoundError:
            return {}

    def put(self, ref: str, file: Path) -> None:
        """Move a file, which is on the disk already, to the path of a published object or manifest. Atomic and durable.

        The object is this file from now on, also if it had a map.
        """
        path = self.objects / ref
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700)
            sync_directory(self.objects)
        os.rename(file, path)
        sync_directory(path.parent)


@contextlib.contextmanager
def _manifest_errors(ref: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise DamagedError(f"manifest {ref} is missing from the store") from None
    except OSError as error:
        if error.errno not in UNREADABLE:
            raise
        raise DamagedError(f"manifest {ref} cannot be read: {error.strerror}") from None
