"""Checking that everything in a store is as it was written, and repairing it."""

from __future__ import annotations

import contextlib
import functools
import os
from collections import defaultdict
from collections.abc import Callable, Mapping

from dm_compose.core.names import CommitId, DotName, WorktreeName
from dm_compose.core.tree import FILE
from dm_compose.core.upkeep import Checkup, Damage
from dm_compose.errors import DamagedError, DmError
from dm_compose.objects.contents import Contents, OpenFile
from dm_compose.objects.store import ObjectStore
from dm_compose.objects.system import sync_file
from dm_compose.state import Database
from dm_compose.storage.beneath import Beneath
from dm_compose.storage.scan import FoundPath, scan_synced
from dm_compose.store.history import Directories
from dm_compose.store.local.indexes import Indexes, IndexKey
from dm_compose.store.local.inspection import BlockInspection, Inspection, WholeInspection
from dm_compose.store.local.parts import Area, areas

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
        manifests = WholeInspection(dict.fromkeys(users), self._database, self._objects, progress)
        damage += self._damage(manifests, users, live if repair else None)
        sizes: dict[str, int] = {}
        for ref in manifests.sizes.keys() - manifests.bad.keys():
            for entry in self._objects.read_manifest(ref).entries.values():
                if entry.kind == FILE:
                    users[entry.ref] |= users[ref]
                    sizes[entry.ref] = entry.size
        in_blocks = {ref: size for ref, size in sizes.items() if self._objects.is_in_blocks(ref)}
        whole = WholeInspection(
            {ref: size for ref, size in sizes.items() if ref not in in_blocks}, self._database, self._objects, progress
        )
        damage += self._damage(whole, users, live if repair else None)
        blocks = BlockInspection(in_blocks, self._objects, progress)
        for file in blocks.bad:
            for ref in blocks.users(file):
                users[file] |= users[ref]
        damage += self._damage(blocks, users, live if repair else None)
        first_seen = manifests.first_seen + whole.first_seen + blocks.first_seen
        return Checkup(len(commits), len(manifests.sizes) + len(sizes), sum(sizes.values()), first_seen, tuple(damage))

    def _damage(self, inspection: Inspection, users: Mapping[str, set[CommitId]], live: LiveDirectories | None) -> list[Damage]:
        """Return the damage that an inspection has found. Repair it if `live` is given; then it is not `bad` any more."""
        found = dict(inspection.bad)
        if live is not None and found:
            self._repair(inspection, live)
        return [Damage(ref, what, tuple(sorted(users[ref])), ref not in inspection.bad) for ref, what in sorted(found.items())]

    def _repair(self, inspection: Inspection, live: LiveDirectories) -> None:
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

    def _repair_from(self, inspection: Inspection, key: IndexKey, area: Area) -> None:
        """Replace damaged objects by files of a subdot that its index or a digest proves to hold the same."""
        known = self._indexes.load(key)
        if not inspection.wants(known):
            return
        with contextlib.suppress(OSError, DmError), area.open() as files:
            tree = scan_synced(files, known, without=area.without)
            for path, old in known.items():
                ref = old.entry.ref
                if old.entry.kind == FILE and ref in inspection.bad:
                    proven = path in tree and tree[path].entry.ref == ref
                    if proven or ref in inspection.digests:
                        self._repair_by(inspection, ref, files, path, tree[path] if proven else None)
            inspection.repair_blocks(files, known, tree)

    def _repair_by(self, inspection: Inspection, ref: str, files: Beneath, path: str, proven: FoundPath | None) -> None:
        """Replace a damaged object by a live file. Without `proven` the digest has to tell that it holds the same."""
        with contextlib.suppress(OSError):
            fd = files.open_file(path)
            try:
                still = functools.partial(_is_still, fd, proven) if proven is not None else (lambda: True)
                if self._replace(inspection, ref, OpenFile(fd), still):
                    del inspection.bad[ref]
            finally:
                os.close(fd)

    def _replace_by(self, inspection: Inspection, ref: str, twin: str) -> bool:
        """Replace an object by a copy of another one."""
        try:
            with self._objects.open_object(twin) as found:
                return self._replace(inspection, ref, found)
        except DamagedError:
            return False

    def _replace(self, inspection: Inspection, ref: str, source: Contents, still: Callable[[], bool] = lambda: True) -> bool:
        """Replace an object by a copy, if the copy has the right contents and `still` is true after copying. Atomic."""
        copy = self._objects.incoming / f"repair.{ref.replace('/', '.')}"
        try:
            copy.unlink(missing_ok=True)
            with open(copy, "xb") as file:
                source.copy_to(file.fileno())
            if not inspection.is_right(ref, os.fsencode(copy)) or not still():
                return False
            sync_file(os.fsencode(copy))
            self._objects.put(ref, copy)
        except (OSError, DamagedError):
            return False
        finally:
            copy.unlink(missing_ok=True)
        return True


def _is_still(fd: int, found: FoundPath) -> bool:
    info = os.fstat(fd)
    return (info.st_ino, info.st_ctime_ns) == (found.inode, found.ctime_ns)
