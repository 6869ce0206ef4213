"""The parts of a local store that all of its methods share: files, database, indexes, and small steps on them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from dm_compose.core.at_once import at_once
from dm_compose.core.commit import (
    Commit,
    JournalEntry,
    ReflogEntry,
    SubdotState,
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
from dm_compose.core.tree import Manifest, TreeEntry
from dm_compose.errors import DamagedError, DiskFullError, InUseError, StoreError
from dm_compose.objects.mapped import StoredObject
from dm_compose.objects.store import ObjectStore
from dm_compose.objects.system import file_errors
from dm_compose.state import Database
from dm_compose.state.schema import OPENED_IN_NEW_FORMAT
from dm_compose.storage.beneath import Beneath, Root
from dm_compose.storage.columns import Columns, Entries
from dm_compose.storage.restore import restore_tree
from dm_compose.storage.scan import Tree
from dm_compose.store.history import Directories
from dm_compose.store.local.indexes import Indexes, IndexKey
from dm_compose.store.local.trees import Trees

SUBDOTS_AT_ONCE = 8
T = TypeVar("T")


class StoreParts:
    """The parts of one store. Its directory is made when it is missing. Thread-safe. Several processes may use one store."""

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
        self._tell_new_format()

    def _refuse_lost_database(self, path: Path) -> None:
        """Raise DamagedError where objects are without a database. A new database would make garbage of all of them."""
        lost = not path.exists() or path.stat().st_size == 0
        if lost and self._objects.batches():
            raise DamagedError(
                f"the store at {self.root} has lost its database {path.name}: the files of its commits are there,"
                " but the list of them is not",
                hint="Put state.db back from a backup, or move the store's directory away to begin anew.",
            )

    def _tell_new_format(self) -> None:
        """Tell that the store was brought over from an older format: once, and to the first who listens."""
        if self.listener is ignore:
            return
        with contextlib.suppress(DiskFullError):  # then the next command tells it
            if (number := self._database.take_setting(OPENED_IN_NEW_FORMAT)) is not None:
                text = f"the store at {self.root} is in format {number} now; an older dm-compose cannot open it any more"
                self.listener(Event("warning", text))

    def close(self) -> None:
        self._database.close()

    def worktree(self, dot: DotName, name: WorktreeName) -> Worktree:
        return self._database.worktree(dot, name)

    def _refuse_branch_in_use(self, dot: DotName, branch: RefName, but_for: WorktreeName | None = None) -> None:
        worktree = self._database.worktree_on(dot, branch)
        if worktree is not None and worktree.name != but_for:
            raise InUseError(
                f"branch {branch} of dot {dot} is checked out in worktree {worktree.name}",
                hint="A branch can be checked out once. Make another branch for a second worktree.",
            )

    def _entry(self, entry_id: EntryId) -> JournalEntry:
        entry = self._database.journal_entry(entry_id)
        if entry is None:
            raise StoreError(
                f"operation {entry_id.short} is not in the journal any more",
                hint="Another command has finished it. See `status`.",
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
        """Add a reflog entry for a move of a worktree, which is given as it is before, to `branch` (by default its own)."""
        left = worktree.branch
        entry = ReflogEntry(0, datetime.now(UTC), action, branch or left, worktree.head, new, saved, left)
        self._database.add_reflog(worktree.dot, worktree.name, entry)

    def _remember(self, key: IndexKey, tree: Tree) -> None:
        """Save the index of a subdot and remove its quiet mark.

        A failure is only a warning, because the index saves time and nothing else: without it the next look compares contents.
        """
        try:
            with file_errors("writing an index to the store"):
                self._indexes.forget(key, "quiet")
                self._indexes.save(key, tree)
        except StoreError as error:
            self.listener(Event("warning", error.message))

    def _manifests(self, commit: Commit) -> dict[SubdotName, Manifest]:
        return {subdot: self._objects.read_manifest(state.manifest) for subdot, state in commit.subdots.items()}

    def _known(self, dot: DotName, worktree: WorktreeName, subdot: SubdotName) -> Tree:
        """Return the index of a subdot. Without one, return guesses from the head: see Indexes.known."""
        key = dot, worktree, subdot
        tree = self._indexes.load(key)
        found = None if tree else self._database.find_worktree(dot, worktree)
        if found is None or found.head is None:
            return tree
        return self._indexes.known(key, self._readable(self._database.commit(dot, found.head), subdot))

    def _readable(self, commit: Commit | None, subdot: SubdotName) -> Manifest | None:
        """Return the manifest of a subdot in a commit. None when there is none, and also when it is damaged.

        Damage to an old commit must not keep anybody from making a new one.
        """
        state = commit.subdots.get(subdot) if commit is not None else None
        if state is None:
            return None
        try:
            return self._objects.read_manifest(state.manifest)
        except DamagedError:
            return None

    def _differences(
        self, known: Tree, now: Tree, state: SubdotState | None, read: Callable[[], Manifest | None]
    ) -> tuple[Entries, Entries]:
        """Return the entries of a commit's subdot, and those of the tree now, of all paths in which the two differ.

        `known` is the tree's index. It often is that of the commit, and then the commit's manifest need not be decoded. Otherwise
        `read` returns it, or None if the subdot is to count as empty.
        """
        if self._is_index_of(known, state):
            paths = now.differing_from(known)
            old = {path: known[path].entry for path in paths if path in known}
            return old, {path: now[path].entry for path in paths if path in now}
        manifest = read() if state is not None else None
        before = manifest.entries if manifest is not None else {}
        new = {path: found.entry for path, found in now.items() if before.get(path) != found.entry}
        return {path: entry for path, entry in before.items() if path in new or path not in now}, new

    def _is_index_of(self, known: Tree | Columns, state: SubdotState | None) -> bool:
        """Return whether an index is that of a commit's subdot, whose manifest is there."""
        return state is not None and known.manifest == state.manifest and self._objects.has_manifest(state.manifest)

    def _changes(
        self, key: IndexKey, files: Beneath, without: Container[str], state: SubdotState
    ) -> tuple[Entries, Entries] | None:
        """Return what `_differences` returns, without a scan. None if only a scan can tell."""
        columns = self._indexes.columns(key)
        return columns.changes(files, without) if columns is not None and self._is_index_of(columns, state) else None

    def _is_tree(self, dot: DotName, name: WorktreeName) -> bool:
        worktree = self._database.find_worktree(dot, name)
        return worktree is not None and worktree.tree

    def _directories(self, dot: DotName, name: WorktreeName, directories: Directories, target: Commit) -> Directories:
        """Return the directories that a restore changes. In a tree these are exactly those of the target's subdots, because the
        restore of `__root__` removes all others.
        """
        if self._is_tree(dot, name):
            return {subdot: str(self._trees.subdot(dot, name, subdot)) for subdot in target.subdots}
        return directories

    def _areas(self, dot: DotName, name: WorktreeName, directories: Directories) -> dict[SubdotName, Area]:
        """Return where the files of subdots are. In a tree all of them are within its own directory."""
        if not self._is_tree(dot, name):
            return areas(directories)
        found = areas({ROOT_SUBDOT: str(self._trees.path(dot, name)), **directories})
        return {subdot: found[subdot] for subdot in directories}

    def _write_out(self, directory: str, commit: Commit) -> dict[SubdotName, Tree]:
        """Write the subdots of a commit into an empty directory, and return their indexes."""
        places = {s: directory if s == ROOT_SUBDOT else os.path.join(directory, s) for s in commit.subdots}
        for place in places.values():
            os.makedirs(place, mode=0o755, exist_ok=True)
        trees = {}
        for subdot, area in areas(places).items():
            target = self._objects.read_manifest(commit.subdots[subdot].manifest)
            with area.open() as files:
                trees[subdot], _ = restore_tree(files, Tree(), target, self._objects, without=area.without)
            trees[subdot].manifest = "" if area.without else commit.subdots[subdot].manifest
        return trees

    def _open_object(self, entry: TreeEntry) -> StoredObject:
        return self._objects.open_object(entry.ref)

    def _each(
        self, directories: Directories, work: Callable[[SubdotName, str], T], doing: str = "reading a volume"
    ) -> dict[SubdotName, T]:
        """Do `work` for all subdots at once, and return the results. The first error is raised when all have ended."""
        with file_errors(doing):
            results = at_once(lambda item: work(*item), list(directories.items()), most=SUBDOTS_AT_ONCE)
        return dict(zip(directories, results, strict=True))

    @contextlib.contextmanager
    def _counting(self, what: str) -> Iterator[Callable[[int], None]]:
        """Yield a function that adds bytes up and emits the sum as an event `what`. The last event has the sum as its total."""
        done = 0

        def progress(size: int) -> None:
            nonlocal done
            done += size
            self.listener(Event(what, done=done, unit="bytes"))

        yield progress
        if done:
            self.listener(Event(what, done=done, total=done, unit="bytes"))


@dataclass(frozen=True)
class Area:
    """The files of a subdot: the directory, and the paths below it (relative to it) that belong to other subdots."""

    root: Root
    without: frozenset[str]

    def open(self) -> Beneath:
        """Open the directory: see storage.beneath."""
        return self.root.open()


def areas(directories: Directories) -> dict[SubdotName, Area]:
    """Return where the files of each subdot are. None of the directories need exist.

    The containers of a subdot can change the way to the directory of another one that is within it. So such a directory is
    reached from the outer one, and never through a symlink.
    """
    written = {subdot: os.path.normpath(os.path.abspath(directory)) for subdot, directory in directories.items()}
    roots, real = {}, {}
    for subdot, path in written.items():
        around = [other for other in written.values() if path.startswith(other.rstrip("/") + "/")]
        top = min(around, key=len, default=path)
        roots[subdot] = Root(top, os.path.relpath(path, top) if around else "")
        real[subdot] = os.path.join(os.path.realpath(top), roots[subdot].below).rstrip("/")
    found = {}
    for subdot, root in roots.items():
        prefix = real[subdot] + "/"
        found[subdot] = Area(root, frozenset(d.removeprefix(prefix) for d in real.values() if d.startswith(prefix)))
    return found
