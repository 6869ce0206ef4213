"""Finding and removing garbage. Callers hold the locks of all dots.

So nothing is in the making, except by operations that the journal names, and on dots that are made meanwhile. To collect, they
hold the lock of the whole store as well: then nobody lists received commits, whose objects no journal names. A commit of live
files needs no such lock, see `_spare`; it would have to wait for it with a frozen stack.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dm_compose.core.events import Event, Listener
from dm_compose.core.names import CommitId, DotName, WorktreeName
from dm_compose.core.plain import from_plain, to_plain
from dm_compose.core.upkeep import EntryHeld, Garbage, Held, Holder, Holdings, Space, UndoBudget
from dm_compose.errors import DamagedError
from dm_compose.objects.extents import ExtentMap, Run
from dm_compose.objects.space import Spare, give_back, needed, spare
from dm_compose.objects.staged import staged_maps
from dm_compose.objects.store import MANIFEST, ObjectStore
from dm_compose.objects.system import file_errors
from dm_compose.objects.usage import batch_sizes, disk_usage, shares
from dm_compose.state import Database
from dm_compose.state.kept import Claim, claims, for_undo, named, not_kept, parents_of
from dm_compose.storage.walk import remove_tree
from dm_compose.store.local.indexes import Indexes
from dm_compose.store.local.staging import STAGING_PREFIX, in_use
from dm_compose.store.local.trees import Trees
from dm_compose.store.privileges import mark_of

COLLECTION = "undo.collection"  # the setting that notes the last collection: a _Collection
LEFT_FREE = 8  # when the reflog holds too much, an eighth of its budget is freed, so that the next entries cost no collection
NOT_RECORDS = ("objects", "incoming", "trees")


@dataclass(frozen=True)
class _Collection:
    """The end of the last collection: the bytes of batches of unnamed commits, and of these those that the reflog holds."""

    at: datetime
    unnamed_bytes: int
    held_bytes: int

    @classmethod
    def read(cls, text: str | None) -> _Collection:
        """Return what a setting notes. Nothing is noted in a text that cannot be read."""
        with contextlib.suppress(ValueError):
            return from_plain(cls, json.loads(text or ""))
        return cls(datetime.min.replace(tzinfo=UTC), 0, 0)


class Upkeep:
    """`gc` over the parts of one store, and what holds its space."""

    def __init__(self, database: Database, objects: ObjectStore, indexes: Indexes, trees: Trees, listener: Listener) -> None:
        self._listener = listener
        self._database = database
        self._objects = objects
        self._indexes = indexes
        self._trees = trees

    def garbage(self, keep_since: datetime | None) -> Garbage:
        """Return the garbage that `collect` would free: see Store.garbage. Warn if damage keeps all objects."""
        with file_errors("looking for garbage"):
            going, _ = self._forgotten(keep_since)
            parents = parents_of(self._database)
            found = not_kept(parents, claims(self._database, parents, going))
            freed = self._spare_or_warn(frozenset(found))
            leftovers = len(self._unregistered_trees()) + len(self._leftovers())
        commits = tuple(commit_id for _, commit_id in found)
        return Garbage(commits, len(freed.objects), leftovers, freed.size_bytes, len(going))

    def collect(self, keep_since: datetime | None) -> Garbage:
        """Free the garbage: see Store.collect. Commits go first, so that a crash leaves no commit without its objects."""
        with file_errors("removing garbage"):
            going, held = self._forgotten(keep_since)
            parents_of(self._database)  # DamagedError before anything is removed
            with self._database.transaction():  # so that no ref comes to name a commit meanwhile
                parents = self._database.parents()
                gone = not_kept(parents, claims(self._database, parents, going))
                self._database.forget_moves(going)
                for dot, commit_id in gone:
                    self._database.remove_commits(dot, [commit_id])
            trees, leftovers = self._unregistered_trees(), self._leftovers()
            _remove(leftovers)  # first: what an abandoned transfer has received may need blocks
            freed = self._spare_or_warn(frozenset())
            if freed.objects:
                self._indexes.forget_objects(freed.objects)
            self._database.remove_digests(freed.objects)
            for ref in freed.objects:
                if ref.endswith(MANIFEST):
                    self._database.set_setting(mark_of(ref), None)
            give_back(self._objects, freed)
            with self._database.transaction():  # a dot and its tree are made in a transaction, too
                for dot, name in self._unregistered_trees():
                    self._trees.set_aside(dot, name)
            _remove(self._leftovers())
            self._note_collection(held)
        commits = tuple(commit_id for _, commit_id in gone)
        return Garbage(commits, len(freed.objects), len(trees) + len(leftovers), freed.size_bytes, len(going))

    def _spare_or_warn(self, without: Collection[tuple[DotName, CommitId]]) -> Spare:
        try:
            return self._spare(without)
        except DamagedError as error:
            self._listener(Event("warning", f"no object can be freed, because {error.message}; see `dm fsck`"))
            return Spare()

    def _spare(self, without: Collection[tuple[DotName, CommitId]]) -> Spare:
        """Return what no commit needs of the objects. Commits in `without` do not count.

        DamagedError if a manifest or a map cannot be read: nobody knows what it needs, so nothing may go.

        A dot that is made meanwhile is not locked. Its first commit moves from the journal to the commits in one transaction, so
        it is found if batches, journal and commits are read in this order.
        """
        batches, making = self._objects.batches(), self._making()
        commits = [commit for commit in self._database.commits() if (commit.dot, commit.id) not in without]
        manifests = {state.manifest for commit in commits for state in commit.subdots.values()}
        refs = set(manifests)
        for ref in manifests:
            refs |= self._objects.objects_of(ref)
        wanted = needed(self._objects, refs, self._staged())
        return spare(self._objects, [batch for batch in batches if batch not in making], wanted)

    def space(self) -> Space:
        """See Store.space."""
        disk = self._disk()
        with file_errors("looking at the store's disk"):
            size = sum(batch_sizes(self._objects).values()) + disk_usage(self._objects.incoming) + self._records()
            return Space(size, disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize)

    def _records(self) -> int:
        return sum(disk_usage(path) for path in self._objects.root.iterdir() if path.name not in NOT_RECORDS)

    def holdings(self, keep_since: datetime | None) -> Holdings:
        """See Store.holdings."""
        with file_errors("looking for what holds space"):
            found, nobody = self._holdings(self._forgotten(keep_since)[0])
            sizes, commits = dict.fromkeys(Holder, 0), dict.fromkeys(Holder, 0)
            for claim, size in found:
                sizes[claim.holder] += size
                commits[claim.holder] += len(claim.commits)
            sizes[Holder.RECORDS] = self._records()
            sizes[Holder.NOBODY] = nobody
            commits[Holder.NOBODY] = sum(map(len, self._database.parents().values())) - sum(commits.values())
        entries = tuple(EntryHeld(claim.entry, size) for claim, size in found if claim.holder == Holder.UNDO)
        return Holdings(tuple(Held(holder, commits[holder], sizes[holder]) for holder in Holder), entries)

    def _holdings(self, forgotten: Collection[int]) -> tuple[list[tuple[Claim, int]], int]:
        """Return all claims with their bytes on the disk, and the bytes that nobody claims. DamagedError as for `_spare`."""
        batches, making = self._objects.batches(), self._making()
        documents = {(commit.dot, commit.id): commit for commit in self._database.commits()}
        parents: dict[DotName, dict[CommitId, CommitId | None]] = {}
        for commit in documents.values():
            parents.setdefault(commit.dot, {})[commit.id] = commit.parent
        found = claims(self._database, parents, forgotten)
        seen: set[str] = set()
        known: set[Run] = set()
        wanted = []
        for claim in found:
            commits = [documents[claim.dot, commit_id] for commit_id in claim.commits]
            manifests = {state.manifest for commit in commits for state in commit.subdots.values()} - seen
            refs = manifests.union(*(self._objects.objects_of(ref) for ref in manifests)) - seen
            wanted.append(needed(self._objects, refs, known=known))
            seen |= refs
        being_made = Claim(Holder.RUNNING, DotName(""), ())
        wanted.append(needed(self._objects, (), self._staged()))
        shared = shares(self._objects, [batch for batch in batches if batch not in making], wanted)
        under_way = [self._objects.incoming, *(self._objects.objects / batch for batch in making)]
        shared.claims[-1] += sum(map(disk_usage, under_way))
        return list(zip([*found, being_made], shared.claims, strict=True)), shared.nobody

    def is_undo_over_budget(self) -> bool:
        """See Store.is_undo_over_budget."""
        settings, now = self._database.settings(), datetime.now(UTC)
        budget, noted = UndoBudget.of(settings), _Collection.read(settings.get(COLLECTION))
        allowed = self._allowed(budget)
        grown = self._unnamed_bytes() - noted.unnamed_bytes
        if grown > 0 and grown >= max(allowed - noted.held_bytes, allowed // LEFT_FREE):
            return True
        return noted.at <= now - timedelta(days=1) and self._database.has_moves_before(budget.since(now))

    def _disk(self) -> os.statvfs_result:
        with file_errors("looking at the store's disk"):
            return os.statvfs(self._objects.root)

    def _allowed(self, budget: UndoBudget) -> int:
        disk = self._disk()
        return budget.bytes_of(disk.f_blocks * disk.f_frsize)

    def _unnamed_bytes(self) -> int:
        """Return the size of all batches but those of the commits that something else than the reflog or a test run names.

        It is what the reflog and garbage may hold at most, without a look into a manifest. Such a commit needs all of its batch.
        """
        kept = {commit for claim in named(self._database, self._database.parents()) for commit in claim.commits}
        with file_errors("looking at the store's disk"):
            return sum(size for batch, size in batch_sizes(self._objects).items() if batch not in kept)

    def _forgotten(self, keep_since: datetime | None) -> tuple[set[int], int | None]:
        """Return the numbers of the reflog entries that a collection forgets, and the bytes that the others hold, if known."""
        moves = [entry for _, _, entry in self._database.moves()]
        if keep_since is not None:
            return {entry.number for entry in moves if entry.at < keep_since}, None
        budget, always = UndoBudget.of(self._database.settings()), for_undo(self._database)
        since = budget.since(datetime.now(UTC))
        going = {entry.number for entry in moves if entry.at < since} - always
        try:
            found, _ = self._holdings(going)
        except DamagedError:  # nothing can be freed, and the caller says so
            return going, None
        held = [(claim.entry, size) for claim, size in found if claim.holder == Holder.UNDO]
        total, allowed = sum(size for _, size in held), self._allowed(budget)
        if total <= allowed:
            return going, total
        taken = left = 0
        beyond = set()
        for number, size in held:
            taken += size
            if number in always or taken <= allowed - allowed // LEFT_FREE:
                left += size
            else:
                beyond.add(number)
        if left == total:
            return going, total  # whatever could go holds nothing
        return going | beyond, left

    def _note_collection(self, held: int | None) -> None:
        unnamed = self._unnamed_bytes()
        noted = _Collection(datetime.now(UTC), unnamed, unnamed if held is None else held)
        self._database.set_setting(COLLECTION, json.dumps(to_plain(noted)))

    def _staged(self) -> Iterator[ExtentMap]:
        for place in self._objects.incoming.glob(f"{STAGING_PREFIX}*"):
            if in_use(place):
                yield from staged_maps(place)

    def _making(self) -> set[str]:
        return {entry.id for entry in self._database.journal()}

    def _leftovers(self) -> list[Path]:
        """Return the leftovers of killed commands: unpublished batches, trees that are half built or half removed, objects that
        are half repaired, and staging places that nobody has open.
        """
        found = list(self._objects.incoming.iterdir())  # before the journal: an operation is there before its directory is here
        making = self._making()
        return [path for path in found if path.name not in making and not in_use(path)]

    def _unregistered_trees(self) -> list[tuple[DotName, WorktreeName | None]]:
        """Return the trees that belong to no worktree. None stands for all trees of a dot none of whose worktrees is a tree."""
        found: list[tuple[DotName, WorktreeName | None]] = []
        dots = self._database.dots()
        for dot, names in self._trees.present().items():
            registered = [n for n, w in self._database.worktrees(dot).items() if w.tree] if dot in dots else []
            found += [(dot, WorktreeName(name)) for name in names if name not in registered] if registered else [(dot, None)]
        return found


def _remove(leftovers: Iterable[Path]) -> None:
    for path in leftovers:
        with contextlib.suppress(FileNotFoundError):  # the operation may be alive after all, and end meanwhile
            if path.is_dir() and not path.is_symlink():
                remove_tree(path)
            else:
                path.unlink()
