"""Checking that everything in a store is as it was written, and repairing it."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from dm_compose.core.names import CommitId, DotName, WorktreeName
from dm_compose.core.tree import FILE, Manifest
from dm_compose.core.upkeep import Checkup, Damage
from dm_compose.errors import DamagedError, DmError
from dm_compose.state import Database
from dm_compose.storage.beneath import Beneath
from dm_compose.storage.contents import copy_to_path, digest_of_file
from dm_compose.storage.objects import ObjectStore
from dm_compose.storage.scan import FoundPath, scan_synced
from dm_compose.storage.system import sync_file
from dm_compose.store.history import Directories
from dm_compose.store.local.indexes import Indexes, IndexKey
from dm_compose.store.local.parts import Area, areas

HASH_THREADS = 4
LiveDirectories = Mapping[DotName, Mapping[WorktreeName, Directories]]


class Checking:
    """`fsck` over the parts of one store."""

    def __init__(self, database: Database, objects: ObjectStore, indexes: Indexes) -> None:
        self._database = database
        self._objects = objects
        self._indexes = indexes

    def check(self, live: LiveDirectories, progress: Callable[[int], None], *, repair: bool) -> Checkup:
        """Read every manifest and object, and compare each with its digest: see Store.check.

        `progress` is called with the bytes that were read.
        """
        damage = [Damage("state.db", text) for text in self._database.integrity()]
        commits = self._database.commits()
        users: dict[str, set[CommitId]] = defaultdict(set)
        for commit in commits:
            for state in commit.subdots.values():
                users[state.manifest].add(commit.id)
        manifests = _Inspection(dict.fromkeys(users), self._database, self._objects, progress)
        damage += self._damage(manifests, users, live if repair else None)
        sizes: dict[str, int | None] = {}
        for ref in manifests.sizes.keys() - manifests.bad.keys():
            for entry in self._objects.read_manifest(ref).entries.values():
                if entry.kind == FILE:
                    users[entry.ref] |= users[ref]
                    sizes[entry.ref] = entry.size
        objects = _Inspection(sizes, self._database, self._objects, progress)
        damage += self._damage(objects, users, live if repair else None)
        total = sum(size or 0 for size in sizes.values())
        seen = len(manifests.sizes) + len(objects.sizes)
        return Checkup(len(commits), seen, total, manifests.first_seen + objects.first_seen, tuple(damage))

    def _damage(self, inspection: _Inspection, users: Mapping[str, set[CommitId]], live: LiveDirectories | None) -> list[Damage]:
        """Return the damage that an inspection has found. Repair it if `live` is given; then it is not `bad` any more."""
        found = dict(inspection.bad)
        if live is not None and found:
            self._repair(inspection, live)
        return [Damage(ref, what, tuple(sorted(users[ref])), ref not in inspection.bad) for ref, what in sorted(found.items())]

    def _repair(self, inspection: _Inspection, live: LiveDirectories) -> None:
        twins: dict[str, list[str]] = defaultdict(list)
        for ref, digest in inspection.digests.items():
            if ref not in inspection.bad:
                twins[digest].append(ref)
        for ref in list(inspection.bad):
            copies = twins[inspection.digests[ref]] if ref in inspection.digests else []
            if any(self._replace_by(inspection, ref, twin) for twin in copies):
                del inspection.bad[ref]
        for dot, worktrees in live.items():
            for worktree, directories in worktrees.items():
                for subdot, area in areas(directories).items():
                    if inspection.bad:
                        self._repair_from(inspection, (dot, worktree, subdot), area)

    def _repair_from(self, inspection: _Inspection, key: IndexKey, area: Area) -> None:
        """Replace damaged objects by files of a subdot that its index or a digest proves to hold the same."""
        known = self._indexes.load(key)
        if not any(found.entry.ref in inspection.bad for found in known.values()):
            return
        with contextlib.suppress(OSError, DmError), area.open() as files:
            tree = scan_synced(files, known, without=area.without)
            for path, old in known.items():
                ref = old.entry.ref
                if old.entry.kind == FILE and ref in inspection.bad:
                    proven = path in tree and tree[path].entry.ref == ref
                    if proven or ref in inspection.digests:
                        self._repair_by(inspection, ref, files, path, tree[path] if proven else None)

    def _repair_by(self, inspection: _Inspection, ref: str, files: Beneath, path: str, proven: FoundPath | None) -> None:
        """Replace a damaged object by a live file. Without `proven` the digest has to tell that it holds the same."""
        with contextlib.suppress(OSError):
            fd = files.open_file(path)
            try:
                still = functools.partial(_is_still, fd, proven) if proven is not None else (lambda: True)
                if self._replace(inspection, ref, fd, still):
                    del inspection.bad[ref]
            finally:
                os.close(fd)

    def _replace_by(self, inspection: _Inspection, ref: str, twin: str) -> bool:
        """Replace an object by a copy of another one."""
        try:
            fd = self._objects.open_object(twin)
        except DamagedError:
            return False
        try:
            return self._replace(inspection, ref, fd)
        finally:
            os.close(fd)

    def _replace(self, inspection: _Inspection, ref: str, source_fd: int, still: Callable[[], bool] = lambda: True) -> bool:
        """Replace an object by a copy of a file, if the copy has the right contents and `still` is true after copying. Atomic."""
        copy = self._objects.incoming / f"repair.{ref.replace('/', '.')}"
        try:
            copy.unlink(missing_ok=True)
            copy_to_path(source_fd, os.fsencode(copy))
            size, digest = inspection.sizes[ref], digest_of_file(os.fsencode(copy))
            if size not in (None, copy.stat().st_size) or inspection.digests.get(ref, digest) != digest or not still():
                return False
            sync_file(os.fsencode(copy))
            self._objects.put(ref, copy)
        except OSError:
            return False
        finally:
            copy.unlink(missing_ok=True)
        return True


class _Inspection:
    """The outcome of reading some objects and manifests.

    `sizes` names them and says which size each should have, None for a manifest. `bad` are those that are damaged, each with
    the rest of a sentence about it. `digests` are the digests of all of their batches. `first_seen` of them are new.
    """

    def __init__(
        self, sizes: Mapping[str, int | None], database: Database, objects: ObjectStore, progress: Callable[[int], None]
    ) -> None:
        self.sizes = sizes
        self.bad: dict[str, str] = {}
        self.digests: dict[str, str] = {}
        for batch in {ref.partition("/")[0] for ref in sizes}:
            self.digests |= database.digests(batch)
        self._objects = objects
        self._progress = progress
        known = set(self.digests)
        with ThreadPoolExecutor(HASH_THREADS, thread_name_prefix="hash") as pool:
            for ref, (digest, problem) in zip(sizes, pool.map(self._read, sizes), strict=True):
                if problem:
                    self.bad[ref] = problem
                elif self.digests.setdefault(ref, digest) != digest:
                    self.bad[ref] = "has changed since it was written"
        new = {ref: digest for ref, digest in self.digests.items() if ref not in known}
        database.add_digests(new)
        self.first_seen = len(new)

    def _read(self, ref: str) -> tuple[str, str]:
        """Return the digest of an object's contents, and the damage that shows without comparing digests ("" for none)."""
        path, size = self._objects.path(ref), self.sizes[ref]
        try:
            if size is not None:
                self._objects.check_object(ref, size)
                return digest_of_file(path, self._progress), ""
            with open(path, "rb") as file:
                data = file.read()
            Manifest.decode(data, name=ref)
            return hashlib.sha256(data).hexdigest(), ""
        except DamagedError as error:
            return "", error.message
        except FileNotFoundError:
            return "", "is missing"
        except OSError as error:
            return "", f"cannot be read: {error.strerror}"


def _is_still(fd: int, found: FoundPath) -> bool:
    info = os.fstat(fd)
    return (info.st_ino, info.st_ctime_ns) == (found.inode, found.ctime_ns)
