"""Making commits in a local store."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from dm_compose.core.commit import (
    COMMIT,
    Commit,
    CommitDraft,
    JournalEntry,
    Origin,
    SubdotState,
)
from dm_compose.core.events import Listener, ignore
from dm_compose.core.names import (
    CommitId,
    DotName,
    EntryId,
    SubdotName,
    WorktreeName,
)
from dm_compose.core.tree import Manifest, TreeEntry
from dm_compose.errors import StoreError
from dm_compose.objects.batch import Batch
from dm_compose.objects.mapped import StoredObject
from dm_compose.objects.system import file_errors, sync_filesystem
from dm_compose.storage.capture import Capture
from dm_compose.storage.diff import diff_trees
from dm_compose.storage.scan import Tree
from dm_compose.store.api import COMPARE_BUDGET_BYTES, Captured
from dm_compose.store.history import Directories
from dm_compose.store.local.parts import StoreParts


@dataclass
class _Pending:
    """A commit between `prepare_commit` and `publish`. `taken` is filled by `capture`: manifest and index of each subdot."""

    entry: JournalEntry
    batch: Batch
    captures: dict[SubdotName, Capture]
    taken: dict[SubdotName, tuple[Manifest, Tree]]
    is_tree: bool


class Committing(StoreParts):
    """See dm_compose.store.api.Store."""

    def __init__(self, root: Path, listener: Listener = ignore) -> None:
        super().__init__(root, listener)
        self._pending: dict[EntryId, _Pending] = {}

    def prepare_commit(self, dot: DotName, worktree: WorktreeName, directories: Directories) -> EntryId:
        entry = JournalEntry(EntryId.new(), dot, worktree, COMMIT)
        self._database.put_journal(entry)
        try:
            pending = self._pending[entry.id] = _Pending(
                entry, Batch(self._objects, entry.id), {}, {}, self._is_tree(dot, worktree)
            )
            self._follow(pending, directories)
            self._copy_early(pending)
        except BaseException:
            self.abandon(entry.id)
            raise
        return entry.id

    def _follow(self, pending: _Pending, directories: Directories) -> None:
        """Begin the captures of these directories that have none, and drop the captures of all others."""
        captures, entry = pending.captures, pending.entry
        for subdot in captures.keys() - directories.keys():
            captures.pop(subdot).drop()
        for subdot, area in self._areas(entry.dot, entry.worktree, directories).items():
            if subdot not in captures:
                known = self._known(entry.dot, entry.worktree, subdot)
                captures[subdot] = Capture(area.root, known, self._objects, pending.batch)
            captures[subdot].without = area.without

    def _copy_early(self, pending: _Pending) -> None:
        def copy(subdot: SubdotName, directory: str) -> None:
            try:
                pending.captures[subdot].prepare(progress)
            except (OSError, StoreError):
                if not pending.is_tree or os.path.isdir(directory):
                    raise

        with self._counting("copy") as progress:
            self._each(
                {subdot: capture.root.path for subdot, capture in pending.captures.items()}, copy, "copying into the store"
            )
        if pending.batch.copied_bytes:  # otherwise the sync inside the freeze would have to write them to the disk
            with file_errors("copying into the store"):
                sync_filesystem(pending.batch.directory)

    def will_disturb(self, entry_id: EntryId, paused: Sequence[str], stopped: Sequence[str]) -> None:
        pending = self._in_the_making(entry_id)
        if paused or stopped:
            pending.entry = replace(pending.entry, paused=tuple(paused), stopped=tuple(stopped))
            self._database.put_journal(pending.entry)

    def capture(self, entry_id: EntryId) -> Captured:
        pending = self._in_the_making(entry_id)
        if pending.is_tree:  # subdots of a tree come and go while writers run
            with file_errors("reading a tree"):
                self._follow(pending, self._trees.subdots(pending.entry.dot, pending.entry.worktree))
        pending.taken = self._each(
            dict.fromkeys(pending.captures, ""), lambda subdot, _: pending.captures[subdot].finish(), "copying into the store"
        )
        return Captured(sum(c.new_bytes for c in pending.captures.values()), pending.batch.copied_bytes)

    def captured_changes(self, entry_id: EntryId, ignore: Mapping[SubdotName, Sequence[str]]) -> list[SubdotName]:
        pending = self._in_the_making(entry_id)
        worktree = self.worktree(pending.entry.dot, pending.entry.worktree)
        head = self._database.commit(pending.entry.dot, worktree.head) if worktree.head else None

        def changed(subdot: SubdotName, _: str) -> bool:
            old = self._readable(head, subdot)
            before = old.entries if old is not None else {}
            after = pending.taken[subdot][0].entries
            return bool(diff_trees(before, after, ignore=ignore.get(subdot, ())))

        answers = self._each(dict.fromkeys(pending.taken, ""), changed)
        gone = head.subdots.keys() - pending.taken.keys() if head is not None and worktree.tree else ()
        return [*(subdot for subdot, answer in answers.items() if answer), *sorted(gone)]

    def captured_news(
        self, entry_id: EntryId, kept: Sequence[CommitId], ignore: Mapping[SubdotName, Sequence[str]]
    ) -> list[SubdotName]:
        pending = self._in_the_making(entry_id)
        commits = [self._database.commit(pending.entry.dot, commit_id) for commit_id in dict.fromkeys(kept)]

        def opened(entry: TreeEntry) -> StoredObject:
            return pending.batch.open_object(entry.ref)

        def has_news(subdot: SubdotName, _: str) -> bool:
            now = pending.taken[subdot][0].entries
            news: set[str] | None = None
            for commit in commits:
                found = self._readable(commit, subdot)
                before = found.entries if found is not None else {}
                about = ignore.get(subdot, ())
                diff = diff_trees(before, now, opened, opened, ignore=about, budget_bytes=COMPARE_BUDGET_BYTES)
                paths = {change.path for change in diff.changes}
                news = paths if news is None else news & paths
                if not news:
                    return False
            return True

        answers = self._each(dict.fromkeys(pending.taken, ""), has_news)
        return [subdot for subdot, answer in answers.items() if answer]

    def publish(self, entry_id: EntryId, draft: CommitDraft) -> Commit:
        pending = self._in_the_making(entry_id)
        del self._pending[entry_id]
        commit_id = pending.entry.makes
        assert commit_id is not None
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
            unready=draft.unready,
        )
        pending.batch.publish()
        with self._database.transaction():
            self._database.add_commit(commit)
            if draft.branch is not None:
                self._database.set_ref(dot, "branch", draft.branch, commit_id)
                self._database.remove_journal(entry_id)
            elif not draft.hidden:
                self._database.set_ref(dot, "branch", worktree.branch, commit_id)
                self._log(worktree, "commit", commit_id, None)
                self._database.remove_journal(entry_id)
        for subdot, (_, tree) in pending.taken.items():
            self._remember((dot, name, subdot), tree)
        return commit

    def _reusable(self, parent: Commit | None, subdot: SubdotName, manifest: Manifest) -> str | None:
        return parent.subdots[subdot].manifest if parent is not None and self._readable(parent, subdot) == manifest else None

    def note(self, dot: DotName, worktree: WorktreeName, action: str, saved: CommitId) -> None:
        found = self.worktree(dot, worktree)
        self._log(found, action, found.head, saved)

    def abandon(self, entry_id: EntryId) -> None:
        entry = self._database.journal_entry(entry_id)
        if entry is not None:
            self._discard_unpublished(entry)
        self._database.remove_journal(entry_id)

    def _discard_unpublished(self, entry: JournalEntry) -> None:
        """Remove the objects of a commit that has not been published; others may share those of one that has."""
        self._pending.pop(entry.id, None)
        if entry.makes is not None and not self._database.has_commit(entry.makes):
            self._objects.discard(entry.makes)

    def _in_the_making(self, entry_id: EntryId) -> _Pending:
        if (pending := self._pending.get(entry_id)) is None:
            raise StoreError(f"this process is not making the commit {entry_id.short}", hint="It was published or abandoned.")
        return pending
