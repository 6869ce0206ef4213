"""Objects that are received, on their way into a store: each is built in a directory, checked, and then taken in.

Their names are the ids with a dot for the slash. `.part` is an object that is not finished, `.base` the map of one that another
one is built on, and `.map`, `.data` and `.sum` are as in the store.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from dm_compose.errors import DamagedError
from dm_compose.objects.batch import SMALL_BYTES
from dm_compose.objects.contents import CHUNK_BYTES, digest_of, write_all
from dm_compose.objects.extents import ExtentMap
from dm_compose.objects.mapped import MappedObject, StoredObject, WholeObject
from dm_compose.objects.overlay import Overlay
from dm_compose.objects.store import MAP, PUT_ASIDE, ObjectStore
from dm_compose.objects.sums import SUM, Sums
from dm_compose.objects.system import begin_writing_back, file_errors, punch_hole, sync_directory

_OBJECT = re.compile(r"[0-9a-f]{32}/[0-9a-f]{1,16}")
_ZEROS = bytes(CHUNK_BYTES)
MAP_ENDING, DATA_ENDING, BASE_ENDING = os.fsencode(MAP), os.fsencode(PUT_ASIDE), b".base"


class StagedObjects:
    """The objects in one directory. Thread-safe for different objects.

    `listing` is the lock that keeps `gc` out for the time of a block. Errors of files become StoreError and DiskFullError.
    """

    def __init__(self, directory: Path, objects: ObjectStore, listing: Callable[[], AbstractContextManager[object]]) -> None:
        self.directory = directory
        self._objects = objects
        self._listing = listing
        self._overlays: dict[str, Overlay] = {}

    def _path(self, ref: str, *, finished: bool) -> bytes:
        if not _OBJECT.fullmatch(ref):
            raise ValueError(f"{ref!r} is no object id")
        return os.fsencode(self.directory / (ref.replace("/", ".") + ("" if finished else ".part")))

    def finished(self, digests: Mapping[str, str]) -> set[str]:
        """Return those finished objects whose contents have the given sha256 (hex). Those with other contents are removed."""
        found = set()
        for ref, digest in digests.items():
            with file_errors(f"reading object {ref}"), contextlib.suppress(DamagedError):
                if (opened := self._open_here(ref)) is not None:
                    with opened:
                        right = digest_of(opened) == digest
                    if right:
                        found.add(ref)
                    else:
                        self._remove(ref)
        return found

    def _remove(self, ref: str) -> None:
        path = self._path(ref, finished=True)
        for ending in (b"", MAP_ENDING, DATA_ENDING, SUM):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path + ending)

    def start(self, ref: str, size: int, base: str | None, zeros: Sequence[tuple[int, int]], *, take: bool = False) -> None:
        """Begin an object: see store.exchange.Staging. `zeros` are (offset, length)."""
        path = self._path(ref, finished=False)
        with file_errors(f"receiving object {ref}"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            if base is not None and take:
                self._take(ref, size, base, path)
            elif base is not None:
                with self._open_base(base) as known:
                    self._begin_with(ref, size, known, path)
            else:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
                os.truncate(path, size)
            for offset, length in zeros:
                self._clear(ref, offset, length)

    def _begin_with(self, ref: str, size: int, base: StoredObject, path: bytes) -> None:
        """Begin an object with the contents of another one. Where blocks cannot be shared it becomes an overlay."""
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if base.clone_onto(fd) or size <= SMALL_BYTES:
                if not os.fstat(fd).st_size:
                    base.copy_to(fd)
                os.truncate(fd, size)
                return
        finally:
            os.close(fd)
        os.unlink(path)
        with self._listing():  # from now on `gc` knows that the base is needed: see `staged_maps`
            self._note_base(ref, base.extent_map())
        with self._open_base(base.ref):  # it was not collected before
            self._overlays[ref] = Overlay(ref, path, size, base.extent_map(), self)

    def _take(self, ref: str, size: int, base: str, path: bytes) -> None:
        if (overlay := self._overlays.pop(base, None)) is None:
            os.rename(self._path(base, finished=False), path)
            os.truncate(path, size)
            return
        os.rename(self._path(base, finished=True) + BASE_ENDING, self._path(ref, finished=True) + BASE_ENDING)
        overlay.become(ref, path, size)
        self._overlays[ref] = overlay

    def _note_base(self, ref: str, base: ExtentMap) -> None:
        with open(self._path(ref, finished=True) + BASE_ENDING, "wb") as file:
            file.write(base.encode())

    # Sources, for the objects here: blocks lie here or in the store

    def open_source(self, ref: str) -> int:
        """See objects.mapped.Sources."""
        for overlay in list(self._overlays.values()):
            if overlay.own == ref:
                return os.open(overlay.path, os.O_RDONLY | os.O_CLOEXEC)
        path = os.fsencode(self.directory / ref.replace("/", "."))
        for candidate in (path, path + DATA_ENDING):
            with contextlib.suppress(FileNotFoundError):
                return os.open(candidate, os.O_RDONLY | os.O_CLOEXEC)
        return self._objects.open_source(ref)

    def open_sums(self, ref: str) -> Sums:
        """See objects.mapped.Sources."""
        return self._objects.open_sums(ref)

    def _open_base(self, ref: str) -> StoredObject:
        return self._open_here(ref) or self._objects.open_object(ref)

    def _open_here(self, ref: str) -> StoredObject | None:
        """Open an object that was finished here."""
        path = self._path(ref, finished=True)
        try:
            return WholeObject(ref, os.open(path, os.O_RDONLY | os.O_CLOEXEC), self)
        except FileNotFoundError:
            pass
        try:
            with open(path + MAP_ENDING, "rb") as file:
                return MappedObject(ref, ExtentMap.decode(file.read(), name=ref), self)
        except FileNotFoundError:
            return None

    def _open_unfinished(self, ref: str) -> StoredObject:
        if (overlay := self._overlays.get(ref)) is not None:
            return overlay.open()
        try:
            return WholeObject(ref, os.open(self._path(ref, finished=False), os.O_RDONLY | os.O_CLOEXEC), self)
        except FileNotFoundError:
            raise DamagedError(f"object {ref} is missing from the store") from None

    def read(self, ref: str, ranges: Sequence[tuple[int, int]], *, unfinished: bool = False) -> bytes:
        """Return the bytes of (offset, length) ranges of an object, joined: see store.exchange.Staging."""
        with (
            file_errors(f"reading object {ref}"),
            self._open_unfinished(ref) if unfinished else self._open_base(ref) as found,
        ):
            return b"".join(found.read(length, offset) for offset, length in ranges)

    def write(self, ref: str, pieces: Sequence[tuple[int, bytes]]) -> None:
        """Write (offset, bytes) into an object that was started."""
        if (overlay := self._overlays.get(ref)) is not None:
            with file_errors(f"receiving object {ref}"):
                for offset, data in pieces:
                    overlay.write(offset, data)
            return
        with self._writing(ref) as fd:
            for offset, data in pieces:
                write_all(fd, data, offset)

    def _clear(self, ref: str, offset: int, length: int) -> None:
        if (overlay := self._overlays.get(ref)) is not None:
            overlay.clear(offset, length)
            return
        with self._writing(ref) as fd:
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

    def add(self, ref: str, sha256: str, data: bytes) -> bool:
        """Make a whole, finished object. Return False, and make none, if the contents have not the given sha256 (hex)."""
        if hashlib.sha256(data).hexdigest() != sha256:
            return False
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        with file_errors(f"receiving object {ref}"):
            fd = os.open(self._path(ref, finished=True), flags, 0o600)
            try:
                write_all(fd, data, 0)
            finally:
                os.close(fd)
        return True

    def finish(self, ref: str, sha256: str) -> bool:
        """Finish an object. If its contents have not the given sha256 (hex), remove it and return False."""
        path, finished = self._path(ref, finished=False), self._path(ref, finished=True)
        with file_errors(f"receiving object {ref}"):
            with self._writing(ref) as fd:
                begin_writing_back(fd)
            with self._open_unfinished(ref) as opened:
                right = digest_of(opened) == sha256
            overlay = self._overlays.pop(ref, None)
            if not right:
                os.unlink(path)
            elif overlay is None:
                os.rename(path, finished)
            else:
                own = os.fsencode(self.directory / overlay.own.replace("/", "."))
                os.rename(path, own + DATA_ENDING)
                with open(own + b".new", "wb") as file:
                    file.write(overlay.map.encode())
                os.rename(own + b".new", finished + MAP_ENDING)
            if overlay is not None:
                os.unlink(finished + BASE_ENDING)
        return right

    def path_of(self, ref: str) -> bytes | None:
        """Return the file of a finished object, None if it is not here."""
        path = self._path(ref, finished=True)
        return next((p for p in (path, path + MAP_ENDING) if os.path.exists(p)), None)

    def take_in(self, pending: Mapping[str, bytes]) -> None:
        """Move finished objects, and manifests, into the store: the path of each by its id. Durable. Those that it has stay.

        A process that is killed here leaves files that nobody needs. The next one that takes in the same objects goes on.
        """
        batches = sorted({ref.partition("/")[0] for ref in pending})
        for batch in batches:
            (self._objects.objects / batch).mkdir(mode=0o700, exist_ok=True)
        for ref, path in pending.items():
            if self._objects.has(ref):
                continue
            if not path.endswith(MAP_ENDING):
                os.rename(path, self._objects.path(ref))
                continue
            with open(path, "rb") as file:
                sources = ExtentMap.decode(file.read(), name=ref).sources()
            for own in sources:
                if own.startswith(f"{ref}-"):
                    data = os.fsencode(self.directory / own.replace("/", ".")) + DATA_ENDING
                    target = self._objects.path(own) + DATA_ENDING
                    if not os.path.exists(target):  # a process that was killed here has moved it
                        os.rename(data, target)
            os.rename(path, self._objects.path(ref) + MAP_ENDING)
        for batch in batches:
            sync_directory(self._objects.objects / batch)
        sync_directory(self._objects.objects)


def staged_maps(directory: Path) -> Iterator[ExtentMap]:
    """Yield the maps in a staging place: what they name of the store is needed, although no commit needs it yet."""
    for path in sorted(directory.glob("*")):
        if path.suffix in (os.fsdecode(MAP_ENDING), os.fsdecode(BASE_ENDING)):
            with contextlib.suppress(FileNotFoundError, DamagedError):  # torn by a kill; then nobody takes it for finished
                yield ExtentMap.decode(path.read_bytes(), name=path.name)
