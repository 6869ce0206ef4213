"""Looking after a store: what nothing needs any more, and whether everything is as it was written.

Callers hold the locks of all dots: then nothing is in the making but what the journal names.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from dm_compose.core.commit import Commit, JournalEntry
from dm_compose.core.names import CommitId, DotName, SubdotName, WorktreeName
from dm_compose.core.tree import FILE, Entry, Manifest
from dm_compose.core.upkeep import Checkup, Damage, Garbage
from dm_compose.errors import DamagedError
from dm_compose.state import Database
from dm_compose.storage.contents import clone
from dm_compose.storage.objects import ObjectStore
from dm_compose.storage.scan import join, scan
from dm_compose.storage.system import file_errors, sync_file
from dm_compose.store.api import Directories
from dm_compose.store.indexes import Indexes
from dm_compose.store.trees import Trees

HASH_THREADS = 4
CHUNK_BYTES = 1 << 20
Live = Mapping[DotName, Mapping[WorktreeName, Directories]]


class Upkeep:
    """`gc` and `fsck` over the parts of one store."""

    def __init__(self, database: Database, objects: ObjectStore, indexes: Indexes, trees: Trees) -> None:
        self._database = database
        self._objects = objects
        self._indexes = indexes
        self._trees = trees

    # gc

    def garbage(self, keep_since: datetime) -> Garbage:
        """Return what `collect` would free: what no branch, tag, uncommitted state, journal or reflog entry since an instant
        names.
        """
        commits = [commit_id for dot in self._database.dots() for commit_id in self._unreachable(dot, keep_since)]
        freed = self._unneeded_objects({*commits})
        return Garbage(tuple(commits), len(freed), len(list(self._leftovers())), sum(freed.values()))

    def collect(self, keep_since: datetime) -> Garbage:
        """Free the garbage. A crash leaves garbage behind, never a commit without its objects: commits go first."""
        found = self.garbage(keep_since)
        for dot in self._database.dots():
            with self._database.transaction():
                unreachable = self._unreachable(dot, keep_since)
                self._database.expire_reflog(dot, keep_since)
                self._database.remove_commits(dot, unreachable)
        freed = self._unneeded_objects(set())
        self._database.remove_digests(freed)
        with file_errors("removing what is not needed"):
            self._objects.remove(freed)
            for leftover in self._leftovers():
                shutil.rmtree(leftover)
        return found

    def _unreachable(self, dot: DotName, keep_since: datetime) -> list[CommitId]:
        known = {commit.id: commit for commit in self._database.commits(dot)}
        pending = [r for kind in ("branch", "tag", "uncommitted") for r in self._database.refs(dot, kind).values()]
        for entry in self._database.journal(dot):
            pending += _named_by(entry)
        for worktree in self._database.worktrees(dot):
            for move in self._database.reflog(dot, worktree):
                if move.at >= keep_since:
                    pending += [c for c in (move.old, move.new, move.saved) if c is not None]
        reached = set()
        while pending:
            commit = known.get(pending.pop())
            if commit is not None and commit.id not in reached:
                reached.add(commit.id)
                pending += [commit.parent] if commit.parent else []
        return [commit_id for commit_id in known if commit_id not in reached]

    def _unneeded_objects(self, without: set[CommitId]) -> dict[str, int]:
        """Return ids and allocated bytes of what no commit but those in `without` needs."""
        needed = set()
        for commit in self._database.commits():
            if commit.id in without:
                continue
            for state in commit.subdots.values():
                needed.add(state.manifest)
                try:
                    needed |= self._objects.read_manifest(state.manifest).objects()
                except DamagedError:  # what it needed is not known: nothing may go
                    return {}
        making = {entry.id for dot in self._database.dots() for entry in self._database.journal(dot)}
        found = {}
        for batch in self._objects.batches():
            if batch not in making:
                found.update({ref: size for ref, size in self._objects.contents(batch).items() if ref not in needed})
        return found

    def _leftovers(self) -> Iterator[Path]:
        """Yield directories that killed commands left: unpublished batches, half-built and half-removed trees."""
        making = {entry.id for dot in self._database.dots() for entry in self._database.journal(dot)}
        for item in self._objects.incoming.iterdir():
            if item.name not in making:
                yield item
        dots = self._database.dots()
        for dot, names in self._trees.present().items():
            registered = [n for n, w in self._database.worktrees(dot).items() if w.tree] if dot in dots else []
            for name in names:
                if name not in registered:
                    yield self._trees.path(dot, WorktreeName(name))

    # fsck

    def check(self, live: Live, progress: Callable[[int], None], *, repair: bool) -> Checkup:
        """Read every manifest and every object and compare it with its digest; the first look records the digest.

        With `repair`, a damaged object is taken from where its contents are known to be as well: another object with the same
        digest, or a file of a `live` worktree that is proven to hold it. Nothing is ever deleted.
        """
        damage = [Damage("state.db", text) for text in self._database.integrity()]
        commits = self._database.commits()
        users: dict[str, set[CommitId]] = defaultdict(set)
        sizes: dict[str, int | None] = {}
        for commit in commits:
            damage += self._look_at_manifests(commit, users, sizes)
        batches = {ref.partition("/")[0] for ref in sizes}
        digests = {ref: digest for batch in batches for ref, digest in self._database.digests(batch).items()}
        new: dict[str, str] = {}

        def look(ref: str) -> tuple[str, str | None]:
            return ref, self._problem(ref, sizes[ref], digests, new, progress)

        with ThreadPoolExecutor(HASH_THREADS, thread_name_prefix="hash") as pool:
            bad = {ref: problem for ref, problem in pool.map(look, sorted(sizes)) if problem is not None}
        self._database.add_digests(new)
        repaired = self._repair(bad, sizes, {**digests, **new}, live) if repair and bad else set()
        damage += [Damage(ref, problem, tuple(sorted(users[ref])), ref in repaired) for ref, problem in bad.items()]
        total = sum(size or 0 for size in sizes.values())
        return Checkup(len(commits), len(sizes), total, len(new), tuple(damage))

    def _look_at_manifests(self, commit: Commit, users: dict[str, set[CommitId]], sizes: dict[str, int | None]) -> list[Damage]:
        """Note what a commit needs, and with which size where that is known."""
        damage = []
        for subdot, state in commit.subdots.items():
            try:
                manifest = self._objects.read_manifest(state.manifest)
            except DamagedError as error:
                damage.append(Damage(f"commit {commit.id.short}, {subdot}", error.message, (commit.id,)))
                continue
            users[state.manifest].add(commit.id)
            sizes[state.manifest] = None
            for entry in _files(manifest):
                users[entry.ref].add(commit.id)
                sizes[entry.ref] = entry.size
        return damage

    def _problem(
        self, ref: str, size: int | None, known: Mapping[str, str], new: dict[str, str], progress: Callable[[int], None]
    ) -> str | None:
        try:
            if size is not None:
                self._objects.check_object(ref, size)
            digest = _digest(self._objects.path(ref), progress)
        except DamagedError as error:
            return error.message
        except FileNotFoundError:
            return "is missing"
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        if ref not in known:
            new[ref] = digest
        elif known[ref] != digest:
            return "does not hold what was written"
        return None

    def _repair(
        self, bad: Mapping[str, str], sizes: Mapping[str, int | None], digests: Mapping[str, str], live: Live
    ) -> set[str]:
        sources: dict[str, list[bytes]] = defaultdict(list)
        good = {digest: ref for ref, digest in digests.items() if ref not in bad}
        for ref in bad:
            if (twin := good.get(digests.get(ref, ""))) is not None:
                sources[ref].append(self._objects.path(twin))
        for dot, worktrees in live.items():
            for worktree, directories in worktrees.items():
                for subdot, directory in directories.items():
                    for ref, path in self._proven(dot, worktree, subdot, directory, bad):
                        sources[ref].append(path)
        return {ref for ref in bad if any(self._replace(ref, path, sizes[ref], digests.get(ref)) for path in sources[ref])}

    def _proven(
        self, dot: DotName, worktree: WorktreeName, subdot: SubdotName, directory: str, wanted: Iterable[str]
    ) -> Iterator[tuple[str, bytes]]:
        """Yield the wanted objects that live files hold, as their index proves."""
        try:
            tree = scan(directory, self._indexes.load((dot, worktree, subdot)))
        except OSError:
            return
        for path, found in tree.items():
            if found.entry.kind == FILE and found.entry.ref in wanted:
                yield found.entry.ref, join(directory, path)

    def _replace(self, ref: str, source: bytes, size: int | None, digest: str | None) -> bool:
        """Make an object anew from a file, atomically, if that holds the right contents."""
        copy = os.fsencode(self._objects.incoming / f"repair.{ref.replace('/', '.')}")
        try:
            if os.path.exists(copy):
                os.unlink(copy)
            clone(source, copy)
            if os.stat(copy).st_size != size or digest not in (None, _digest(copy, lambda _: None)):
                os.unlink(copy)
                return False
            sync_file(copy)
            (self._objects.objects / ref).parent.mkdir(mode=0o700, exist_ok=True)
            os.rename(copy, self._objects.path(ref))
        except OSError:
            return False
        return True


def _named_by(entry: JournalEntry) -> list[CommitId]:
    named = [entry.id, entry.target]
    if entry.move is not None:
        named += [entry.move.head, entry.move.saved]
    return [commit_id for commit_id in named if commit_id is not None]


def _files(manifest: Manifest) -> Iterator[Entry]:
    return (entry for entry in manifest.entries.values() if entry.kind == FILE)


def _digest(path: bytes, progress: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while data := file.read(CHUNK_BYTES):
            digest.update(data)
            progress(len(data))
    return digest.hexdigest()
