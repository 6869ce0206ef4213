"""Finding and removing garbage. Callers hold the locks of all dots.

So nothing is in the making, except by operations that the journal names, and on dots that are made meanwhile. To collect, they
hold the lock of the whole store as well: then nobody lists received commits, whose objects no journal names. A commit of live
files needs no such lock, see `_spare`; it would have to wait for it with a frozen stack.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from datetime import datetime
from pathlib import Path

from dm_compose.core.commit import SESSION, JournalEntry
from dm_compose.core.events import Event, Listener
from dm_compose.core.names import CommitId, DotName, WorktreeName
from dm_compose.core.upkeep import Garbage
from dm_compose.errors import DamagedError
from dm_compose.objects.space import Spare, give_back, needed, spare
from dm_compose.objects.staged import staged_maps
from dm_compose.objects.store import MANIFEST, ObjectStore
from dm_compose.objects.system import file_errors
from dm_compose.state import Database
from dm_compose.storage.walk import remove_tree
from dm_compose.store.local.indexes import Indexes
from dm_compose.store.local.staging import STAGING_PREFIX, in_use
from dm_compose.store.local.trees import Trees
from dm_compose.store.privileges import mark_of


class Upkeep:
    """`gc` over the parts of one store."""

    def __init__(self, database: Database, objects: ObjectStore, indexes: Indexes, trees: Trees, listener: Listener) -> None:
        self._listener = listener
        self._database = database
        self._objects = objects
        self._indexes = indexes
        self._trees = trees

    def garbage(self, keep_since: datetime) -> Garbage:
        """Return the garbage that `collect` would free: see Store.garbage. Warn if damage keeps all objects."""
        with file_errors("looking for garbage"):
            found = [(dot, commit_id) for dot in self._database.dots() for commit_id in self._unreachable(dot, keep_since)]
            try:
                freed = self._spare(frozenset(found))
            except DamagedError as error:
                self._listener(Event("warning", f"no object can be freed, because {error.message}; see `dm fsck`"))
                freed = Spare()
            leftovers = len(self._unregistered_trees()) + len(self._leftovers())
        return Garbage(tuple(commit_id for _, commit_id in found), len(freed.objects), leftovers, freed.size_bytes)

    def collect(self, keep_since: datetime) -> Garbage:
        """Free the garbage: see Store.collect. Commits go first, so that a crash leaves no commit without its objects."""
        found = self.garbage(keep_since)
        for dot in self._database.dots():
            with self._database.transaction():
                unreachable = self._unreachable(dot, keep_since)
                self._database.expire_reflog(dot, keep_since)
                self._database.remove_commits(dot, unreachable)
        with file_errors("removing garbage"):
            self._remove_leftovers()  # first: what an abandoned transfer has received may need blocks
            freed = Spare()
            with contextlib.suppress(DamagedError):  # `garbage` has warned of it
                freed = self._spare(frozenset())
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
            self._remove_leftovers()
        return found

    def _remove_leftovers(self) -> None:
        for leftover in self._leftovers():
            _remove(leftover)

    def _unreachable(self, dot: DotName, keep_since: datetime) -> list[CommitId]:
        known = {commit.id: commit for commit in self._database.commits(dot)}
        pending = [r for kind in ("branch", "tag", "uncommitted") for r in self._database.refs(dot, kind).values()]
        for entry in self._database.journal(dot):
            if entry.operation == SESSION:  # tests may go back to any commit that they have kept, by its id alone
                return []
            pending += _named_by(entry)
        for move in self._database.reflog(dot):
            if move.at >= keep_since:
                pending += [c for c in (move.old, move.new, move.saved) if c is not None]
        settled = self._database.settled(dot)
        reached = set()
        while pending:
            commit = known.get(pending.pop())
            if commit is not None and commit.id not in reached:
                reached.add(commit.id)
                pending += [c for c in (commit.parent, settled.get(commit.id)) if c]
        return [commit_id for commit_id in known if commit_id not in reached]

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
            refs |= self._objects.read_manifest(ref).objects()
        places = [place for place in self._objects.incoming.glob(f"{STAGING_PREFIX}*") if in_use(place)]
        staged = (found for place in places for found in staged_maps(place))
        return spare(self._objects, [batch for batch in batches if batch not in making], needed(self._objects, refs, staged))

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


def _named_by(entry: JournalEntry) -> list[CommitId]:
    named = [entry.makes, entry.target]
    if entry.move is not None:
        named += [entry.move.head, entry.move.saved]
    return [commit_id for commit_id in named if commit_id is not None]


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):  # the operation may be alive after all, and end meanwhile
        if path.is_dir() and not path.is_symlink():
            remove_tree(path)
        else:
            path.unlink()
