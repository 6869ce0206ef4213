"""The store in this process: a directory with objects/, incoming/, index/, locks/ and state.db."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from dm_compose.core.commit import (
    COMMIT,
    RESTORE,
    SESSION,
    Commit,
    CommitDraft,
    JournalEntry,
    Move,
    Origin,
    ReflogEntry,
    SubdotState,
    Worktree,
)
from dm_compose.core.events import Event, Listener, ignore
from dm_compose.core.names import DEFAULT_BRANCH, MAIN_WORKTREE, CommitId, DotName, RefName, SubdotName, WorktreeName
from dm_compose.core.tree import Entry, Manifest, TreeDiff
from dm_compose.errors import DamagedError, NotFoundError, StoreError
from dm_compose.state import Database
from dm_compose.storage.capture import Capture
from dm_compose.storage.diff import changed_paths, diff_trees
from dm_compose.storage.objects import Batch, ObjectStore
from dm_compose.storage.restore import plan_tree, restore_tree
from dm_compose.storage.scan import Tree, join, scan, scan_standing
from dm_compose.storage.system import file_errors, sync_filesystem
from dm_compose.store.api import Captured, Directories, Restored
from dm_compose.store.indexes import Indexes, Key
from dm_compose.store.locks import Locks
from dm_compose.store.refs import resolve

T = TypeVar("T")


@dataclass
class _Pending:
    """A commit between prepare and publish."""

    entry: JournalEntry
    batch: Batch
    captures: dict[SubdotName, Capture]
    taken: dict[SubdotName, tuple[Manifest, Tree]]


class LocalStore:
    """See dm_compose.store.api.Store. Creates the directory when it is missing. Thread-safe, several processes may use one."""

    def __init__(self, root: Path, listener: Listener = ignore) -> None:
        self.root = root
        self.listener = listener
        with file_errors(f"opening the store at {root}"):
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._objects = ObjectStore(root)
            self._objects.create()
            (root / "locks").mkdir(mode=0o700, exist_ok=True)
            self._refuse_lost_database(root / "state.db")
        self._database = Database(root / "state.db")
        self._indexes = Indexes(root)
        self._locks = Locks(root / "locks")
        self._pending: dict[CommitId, _Pending] = {}
        self._restored: dict[CommitId, dict[SubdotName, tuple[str, Tree]]] = {}

    def _refuse_lost_database(self, path: Path) -> None:
        """A new database beside old objects would make garbage of them all."""
        lost = not path.exists() or path.stat().st_size == 0
        if lost and self._objects.batches():
            raise DamagedError(
                f"the store at {self.root} has lost its database {path.name}: its commits are there, but not their list",
                hint="Put state.db back from a backup, or move the store's directory away to begin anew.",
            )

    def close(self) -> None:
        self._locks.release_all()
        self._database.close()

    # Locks

    def lock(self, name: str, who: str, timeout_s: float) -> str:
        return self._locks.acquire(name, who, timeout_s)

    def unlock(self, token: str) -> None:
        self._locks.release(token)

    # Dots and worktrees

    def dots(self) -> list[DotName]:
        return self._database.dots()

    def create_dot(self, dot: DotName) -> None:
        self._database.add_dot(dot, branch=DEFAULT_BRANCH, worktree=MAIN_WORKTREE)

    def worktree(self, dot: DotName, name: WorktreeName) -> Worktree:
        found = self._database.worktrees(dot)
        if name not in found:
            raise NotFoundError(f"dot {dot} has no worktree {name}")
        return found[name]

    def set_places(self, dot: DotName, name: WorktreeName, places: Mapping[SubdotName, str]) -> None:
        with self._database.transaction():
            worktree = self.worktree(dot, name)
            self._database.put_worktree(replace(worktree, places={**worktree.places, **places}))

    # History

    def resolve(self, dot: DotName, worktree: WorktreeName, ref: str) -> CommitId:
        return resolve(self._database, dot, worktree, ref)

    def commit(self, dot: DotName, commit_id: CommitId) -> Commit:
        return self._database.commit(dot, commit_id)

    def log(self, dot: DotName, start: CommitId) -> list[Commit]:
        found = []
        current: CommitId | None = start
        while current is not None:
            commit = self._database.commit(dot, current)
            found.append(commit)
            current = commit.parent
        return found

    def branches(self, dot: DotName) -> Mapping[RefName, CommitId]:
        return self._database.refs(dot, "branch")

    def reflog(self, dot: DotName, worktree: WorktreeName) -> list[ReflogEntry]:
        return self._database.reflog(dot, worktree)

    # Looking at trees

    def differing(self, dot: DotName, worktree: WorktreeName, directories: Directories, target: CommitId) -> list[SubdotName]:
        wanted = self._manifests(self._database.commit(dot, target))

        def differs(subdot: SubdotName, directory: str) -> bool:
            tree = scan(directory, self._known(dot, worktree, subdot))
            return subdot in wanted and bool(plan_tree(tree, wanted[subdot]))

        answers = self._each(directories, differs)
        return [subdot for subdot, answer in answers.items() if answer]

    def diff_live(
        self,
        dot: DotName,
        worktree: WorktreeName,
        directories: Directories,
        base: CommitId | None,
        ignore: Mapping[SubdotName, Sequence[str]],
        budget_bytes: int | None,
    ) -> dict[SubdotName, TreeDiff]:
        wanted = self._manifests(self._database.commit(dot, base)) if base else {}

        def changes(subdot: SubdotName, directory: str) -> TreeDiff:
            tree = scan(directory, self._known(dot, worktree, subdot))
            old = wanted[subdot].entries if subdot in wanted else {}
            new = {path: found.entry for path, found in tree.items()}
            return diff_trees(
                old, new, self._open_object, _opener(directory), ignore=ignore.get(subdot, ()), budget_bytes=budget_bytes
            )

        found = self._each(directories, changes)
        for subdot in wanted.keys() - directories.keys():
            found[subdot] = diff_trees(wanted[subdot].entries, {}, self._open_object, self._open_object)
        return found

    def diff_commits(
        self, dot: DotName, base: CommitId, other: CommitId, ignore: Mapping[SubdotName, Sequence[str]]
    ) -> dict[SubdotName, TreeDiff]:
        old, new = (self._manifests(self._database.commit(dot, commit)) for commit in (base, other))

        def changes(subdot: SubdotName, _: str) -> TreeDiff:
            before = old[subdot].entries if subdot in old else {}
            after = new[subdot].entries if subdot in new else {}
            return diff_trees(before, after, self._open_object, self._open_object, ignore=ignore.get(subdot, ()))

        return self._each(dict.fromkeys(sorted(old.keys() | new.keys()), ""), changes)

    def mark_quiet(self, dot: DotName, worktree: WorktreeName, directories: Directories) -> None:
        def mark(subdot: SubdotName, directory: str) -> None:
            tree = scan_standing(directory, self._known(dot, worktree, subdot))
            with file_errors("writing to the store"):
                self._indexes.save((dot, worktree, subdot), tree, "quiet")

        self._each(directories, mark)

    def changed_since_quiet(
        self, dot: DotName, worktree: WorktreeName, directories: Directories, ignore: Mapping[SubdotName, Sequence[str]]
    ) -> list[SubdotName]:
        def changed(subdot: SubdotName, directory: str) -> bool:
            quiet = self._indexes.load((dot, worktree, subdot), "quiet")
            return not quiet or changed_paths(quiet, scan(directory, quiet), ignore=ignore.get(subdot, ()))

        answers = self._each(directories, changed)
        return [subdot for subdot, answer in answers.items() if answer]

    # Commits

    def prepare_commit(self, dot: DotName, worktree: WorktreeName, directories: Directories) -> CommitId:
        commit_id = CommitId.new()
        entry = JournalEntry(commit_id, dot, worktree, COMMIT)
        self._database.put_journal(entry)
        try:
            batch = self._objects.new_batch(commit_id)
            captures = {
                subdot: Capture(directory, self._known(dot, worktree, subdot), self._objects, batch)
                for subdot, directory in directories.items()
            }
            self._pending[commit_id] = _Pending(entry, batch, captures, {})
            self._copy_early(captures, batch)
        except BaseException:
            self.abandon(commit_id)
            raise
        return commit_id

    def _copy_early(self, captures: Mapping[SubdotName, Capture], batch: Batch) -> None:
        copied = 0

        def progress(size: int) -> None:
            nonlocal copied
            copied += size
            self.listener(Event("copy", done=copied, unit="bytes"))

        self._each(dict.fromkeys(captures, ""), lambda subdot, _: captures[subdot].prepare(progress), "copying into the store")
        if batch.copied_bytes:  # or the sync inside the freeze would have to write them back
            with file_errors("copying into the store"):
                sync_filesystem(batch.directory)

    def will_disturb(self, commit_id: CommitId, paused: Sequence[str], stopped: Sequence[str]) -> None:
        pending = self._in_the_making(commit_id)
        pending.entry = replace(pending.entry, paused=tuple(paused), stopped=tuple(stopped))
        self._database.put_journal(pending.entry)

    def capture(self, commit_id: CommitId) -> Captured:
        pending = self._in_the_making(commit_id)
        pending.taken = self._each(
            dict.fromkeys(pending.captures, ""), lambda subdot, _: pending.captures[subdot].finish(), "copying into the store"
        )
        return Captured(sum(c.new_bytes for c in pending.captures.values()), pending.batch.copied_bytes)

    def captured_changes(self, commit_id: CommitId, ignore: Mapping[SubdotName, Sequence[str]]) -> list[SubdotName]:
        pending = self._in_the_making(commit_id)
        head_id = self.worktree(pending.entry.dot, pending.entry.worktree).head
        head = self._database.commit(pending.entry.dot, head_id) if head_id else None

        def changed(subdot: SubdotName, _: str) -> bool:
            old = self._readable(head, subdot)
            before = old.entries if old is not None else {}
            after = pending.taken[subdot][0].entries
            return bool(diff_trees(before, after, ignore=ignore.get(subdot, ())))

        answers = self._each(dict.fromkeys(pending.taken, ""), changed)
        return [subdot for subdot, answer in answers.items() if answer]

    def publish(self, commit_id: CommitId, draft: CommitDraft) -> Commit:
        pending = self._in_the_making(commit_id)
        del self._pending[commit_id]
        dot, name = pending.entry.dot, pending.entry.worktree
        worktree = self.worktree(dot, name)
        parent = self._database.commit(dot, worktree.head) if worktree.head else None
        states = {}
        with file_errors("writing a commit to the store"):
            for subdot, (manifest, _) in pending.taken.items():
                origin = draft.origins.get(subdot, Origin())
                ref = self._reusable(parent, subdot, manifest) or pending.batch.add_manifest(subdot, manifest)
                states[subdot] = SubdotState(ref, manifest.files, manifest.size_bytes, **vars(origin))
        commit = Commit(
            id=commit_id,
            dot=dot,
            parent=worktree.head,
            message=draft.message,
            author=draft.author,
            created=datetime.now(UTC),
            subdots=states,
            metadata=draft.metadata,
            new_bytes=sum(c.new_bytes for c in pending.captures.values()),
            compose_hash=draft.compose_hash,
            architecture=draft.architecture,
            clean=draft.clean,
            hidden=draft.hidden,
        )
        pending.batch.publish()
        with self._database.transaction():
            self._database.add_commit(commit)
            if not draft.hidden:
                self._database.set_ref(dot, "branch", worktree.branch, commit_id)
                self._log(worktree, "commit", commit_id, None)
                self._database.remove_journal(commit_id)
        for subdot, (_, tree) in pending.taken.items():
            self._remember((dot, name, subdot), tree)
        return commit

    def _reusable(self, parent: Commit | None, subdot: SubdotName, manifest: Manifest) -> str | None:
        return parent.subdots[subdot].manifest if parent is not None and self._readable(parent, subdot) == manifest else None

    def note(self, dot: DotName, worktree: WorktreeName, action: str, saved: CommitId) -> None:
        found = self.worktree(dot, worktree)
        self._log(found, action, found.head, saved)

    def abandon(self, commit_id: CommitId) -> None:
        self._pending.pop(commit_id, None)
        if not self._database.has_commit(commit_id):
            self._objects.discard(commit_id)
        self._database.remove_journal(commit_id)

    # Restores

    def begin_restore(
        self,
        dot: DotName,
        worktree: WorktreeName,
        target: CommitId,
        stopped: Sequence[str],
        move: Move | None,
        takes_over: CommitId | None,
    ) -> CommitId:
        self._database.commit(dot, target)
        with self._database.transaction():
            paused = self._entry(takes_over).paused if takes_over is not None else ()
            entry = JournalEntry(CommitId.new(), dot, worktree, RESTORE, paused, tuple(stopped), target, move)
            self._database.put_journal(entry)
            if takes_over is not None:
                self._database.remove_journal(takes_over)
        if takes_over is not None:
            self.abandon(takes_over)
        return entry.id

    def restore(self, entry_id: CommitId, subdot: SubdotName, directory: str) -> Restored:
        entry = self._entry(entry_id)
        assert entry.target is not None
        state = self._database.commit(entry.dot, entry.target).subdots.get(subdot)
        if state is None:
            return Restored(0, 0)
        with file_errors(f"restoring {subdot}"):
            target = self._objects.read_manifest(state.manifest)
            tree, outcome = restore_tree(directory, self._known(entry.dot, entry.worktree, subdot), target, self._objects)
        self._restored.setdefault(entry_id, {})[subdot] = directory, tree
        return Restored(outcome.paths, outcome.changed_bytes)

    def sync_restored(self, entry_id: CommitId) -> None:
        entry = self._entry(entry_id)
        restored = self._restored.get(entry_id, {})
        with file_errors("writing back a volume"):
            for directory in {os.stat(d).st_dev: d for d, _ in restored.values()}.values():
                sync_filesystem(directory)
        for subdot, (_, tree) in restored.items():
            self._remember((entry.dot, entry.worktree, subdot), tree)

    def end_restore(self, entry_id: CommitId) -> None:
        entry = self._entry(entry_id)
        with self._database.transaction():
            if (move := entry.move) is not None:
                worktree = self.worktree(entry.dot, entry.worktree)
                self._log(replace(worktree, branch=move.branch), move.action, move.head, move.saved, old=worktree.head)
                if move.head is not None:
                    self._database.set_ref(entry.dot, "branch", move.branch, move.head)
                self._database.put_worktree(replace(worktree, branch=move.branch))
            self._database.remove_journal(entry_id)
        self._restored.pop(entry_id, None)

    def cancel_restore(self, entry_id: CommitId) -> None:
        self._database.remove_journal(entry_id)
        self._restored.pop(entry_id, None)

    def begin_session(self, dot: DotName, worktree: WorktreeName, target: CommitId) -> CommitId:
        entry = JournalEntry(CommitId.new(), dot, worktree, SESSION, target=target)
        self._database.put_journal(entry)
        return entry.id

    def unfinished(self, dot: DotName) -> list[JournalEntry]:
        return self._database.journal(dot)

    # Helpers

    def _entry(self, entry_id: CommitId) -> JournalEntry:
        for dot in self._database.dots():
            for entry in self._database.journal(dot):
                if entry.id == entry_id:
                    return entry
        raise StoreError(
            f"operation {entry_id.short} is not in the journal any more",
            hint="Another dm-compose finished it; look at `dm-compose status`.",
        )

    def _log(
        self, worktree: Worktree, action: str, new: CommitId | None, saved: CommitId | None, *, old: CommitId | None = None
    ) -> None:
        entry = ReflogEntry(0, datetime.now(UTC), action, worktree.branch, old or worktree.head, new, saved)
        self._database.add_reflog(worktree.dot, worktree.name, entry)

    def _remember(self, key: Key, tree: Tree) -> None:
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
        if tree or dot not in self._database.dots():
            return tree
        head = self.worktree(dot, worktree).head
        return self._indexes.known(key, self._readable(self._database.commit(dot, head) if head else None, subdot))

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

    def _in_the_making(self, commit_id: CommitId) -> _Pending:
        if (pending := self._pending.get(commit_id)) is None:
            raise StoreError(f"commit {commit_id.short} is not being made here", hint="It was published or abandoned.")
        return pending

    def _open_object(self, entry: Entry) -> int:
        return self._objects.open_object(entry.ref)

    def _each(
        self, directories: Directories, work: Callable[[SubdotName, str], T], doing: str = "reading a volume"
    ) -> dict[SubdotName, T]:
        """Do `work` for every subdot at once; the first error is raised when all have ended."""
        with ThreadPoolExecutor(8, thread_name_prefix="subdot") as pool, file_errors(doing):
            jobs = {subdot: pool.submit(work, subdot, directory) for subdot, directory in directories.items()}
            return {subdot: job.result() for subdot, job in jobs.items()}


def _opener(directory: str) -> Callable[[Entry], int]:
    return lambda entry: os.open(join(directory, entry.path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
