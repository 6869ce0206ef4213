"""What the methods of a local store share: its files, and how they look at trees."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from dm_compose.core.commit import (
    Commit,
    JournalEntry,
    ReflogEntry,
    Worktree,
)
from dm_compose.core.events import Event, Listener, ignore
from dm_compose.core.names import (
    ROOT_SUBDOT,
    CommitId,
    DotName,
    EntryId,
    RefName,
    SubdotName,
    WorktreeName,
)
from dm_compose.core.tree import Entry, Manifest
from dm_compose.errors import DamagedError, InUseError, StoreError
from dm_compose.state import Database
from dm_compose.storage.objects import ObjectStore
from dm_compose.storage.restore import restore_tree
from dm_compose.storage.scan import Tree, join
from dm_compose.storage.system import file_errors
from dm_compose.store.history import Directories
from dm_compose.store.local.indexes import Indexes, IndexKey
from dm_compose.store.local.trees import Trees

T = TypeVar("T")


class Parts:
    """The files of one store. Creates the directory when it is missing. Thread-safe, several processes may use one."""

    def __init__(self, root: Path, listener: Listener = ignore) -> None:
        self.root = root
        self.listener = listener
        with file_errors(f"opening the store at {root}"):
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._objects = ObjectStore(root)
            self._objects.create()
            self._refuse_lost_database(root / "state.db")
        self._trees = Trees(root)
        self._database = Database(root / "state.db")
        self._indexes = Indexes(root)

    def _refuse_lost_database(self, path: Path) -> None:
        """A new database beside old objects would make garbage of them all."""
        lost = not path.exists() or path.stat().st_size == 0
        if lost and self._objects.batches():
            raise DamagedError(
                f"the store at {self.root} has lost its database {path.name}: its commits are there, but not their list",
                hint="Put state.db back from a backup, or move the store's directory away to begin anew.",
            )

    def close(self) -> None:
        self._database.close()

    def worktree(self, dot: DotName, name: WorktreeName) -> Worktree:
        return self._database.worktree(dot, name)

    def _refuse_branch_in_use(self, dot: DotName, branch: RefName, but_for: WorktreeName | None = None) -> None:
        worktree = self._database.worktree_on(dot, branch)
        if worktree is not None and worktree.name != but_for:
            raise InUseError(
                f"branch {branch} of dot {dot} is checked out in worktree {worktree.name}",
                hint="A branch can be checked out once; make another one for a second worktree.",
            )

    def _entry(self, entry_id: EntryId) -> JournalEntry:
        entry = self._database.journal_entry(entry_id)
        if entry is None:
            raise StoreError(
                f"operation {entry_id.short} is not in the journal any more",
                hint="Another command finished it; look at `status`.",
            )
        return entry

    def _log(
        self,
        worktree: Worktree,
        action: str,
        new: CommitId | None,
        saved: CommitId | None,
        *,
        branch: RefName | None = None,
    ) -> None:
        """Add a reflog entry of a worktree as it is before a move to `branch`, by default of one that stays."""
        left = worktree.branch
        entry = ReflogEntry(0, datetime.now(UTC), action, branch or left, worktree.head, new, saved, left)
        self._database.add_reflog(worktree.dot, worktree.name, entry)

    def _remember(self, key: IndexKey, tree: Tree) -> None:
        """Save an index. It is a cache: without it the next look compares contents, so a failure is told and not raised."""
        try:
            with file_errors("writing an index to the store"):
                self._indexes.forget(key, "quiet")
                self._indexes.save(key, tree)
        except StoreError as error:
            self.listener(Event("warning", error.message))

    def _manifests(self, commit: Commit) -> dict[SubdotName, Manifest]:
        return {subdot: self._objects.read_manifest(state.manifest) for subdot, state in commit.subdots.items()}

    def _known(self, dot: DotName, worktree: WorktreeName, subdot: SubdotName) -> Tree:
        key = dot, worktree, subdot
        tree = self._indexes.load(key)
        found = None if tree else self._database.find_worktree(dot, worktree)
        if found is None or found.head is None:
            return tree
        return self._indexes.known(key, self._readable(self._database.commit(dot, found.head), subdot))

    def _readable(self, commit: Commit | None, subdot: SubdotName) -> Manifest | None:
        """Return what a commit holds of a subdot; None when it holds nothing, and also when that is damaged, for uses where
        damage to an old commit must not keep anybody from making a new one.
        """
        state = commit.subdots.get(subdot) if commit is not None else None
        if state is None:
            return None
        try:
            return self._objects.read_manifest(state.manifest)
        except DamagedError:
            return None

    def _is_tree(self, dot: DotName, name: WorktreeName) -> bool:
        worktree = self._database.find_worktree(dot, name)
        return worktree is not None and worktree.tree

    def _directories(self, dot: DotName, name: WorktreeName, directories: Directories, target: Commit) -> Directories:
        """Return what a restore has to do with: in a tree exactly the target's subdots, because `__root__` removes all others."""
        if self._is_tree(dot, name):
            return {subdot: str(self._trees.subdot(dot, name, subdot)) for subdot in target.subdots}
        return directories

    def _write_out(self, directory: str, commit: Commit) -> dict[SubdotName, Tree]:
        """Put a commit's subdots into an empty directory and return their indexes."""
        places = {s: directory if s == ROOT_SUBDOT else os.path.join(directory, s) for s in commit.subdots}
        for place in places.values():
            os.makedirs(place, mode=0o755, exist_ok=True)
        trees, inner = {}, nested(places)
        for subdot in places:
            target = self._objects.read_manifest(commit.subdots[subdot].manifest)
            trees[subdot], _ = restore_tree(places[subdot], {}, target, self._objects, without=inner[subdot])
        return trees

    def _open_object(self, entry: Entry) -> int:
        return self._objects.open_object(entry.ref)

    def _each(
        self, directories: Directories, work: Callable[[SubdotName, str], T], doing: str = "reading a volume"
    ) -> dict[SubdotName, T]:
        """Do `work` for every subdot at once; the first error is raised when all have ended."""
        with ThreadPoolExecutor(8, thread_name_prefix="subdot") as pool, file_errors(doing):
            jobs = {subdot: pool.submit(work, subdot, directory) for subdot, directory in directories.items()}
            return {subdot: job.result() for subdot, job in jobs.items()}

    def _counting(self, what: str) -> Callable[[int], None]:
        """Return a callback that adds bytes up and tells the sum."""
        done = 0

        def progress(size: int) -> None:
            nonlocal done
            done += size
            self.listener(Event(what, done=done, unit="bytes"))

        return progress


def nested(directories: Directories) -> dict[SubdotName, frozenset[str]]:
    """Return, for each subdot, the paths within it that are directories of other subdots."""
    real = {subdot: os.path.realpath(directory) for subdot, directory in directories.items()}
    found = {}
    for subdot, outer in real.items():
        prefix = outer.rstrip("/") + "/"
        found[subdot] = frozenset(d.removeprefix(prefix) for d in real.values() if d.startswith(prefix))
    return found


def opener(directory: str) -> Callable[[Entry], int]:
    return lambda entry: os.open(join(directory, entry.path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
