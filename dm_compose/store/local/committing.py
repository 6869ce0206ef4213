"""Making commits in a local store."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from dm_compose.core.commit import (
    COMMIT,
    WRITTEN,
    Commit,
    CommitDraft,
    JournalEntry,
    Origin,
    SubdotState,
)
from dm_compose.core.events import Event, Listener, ignore
from dm_compose.core.names import (
    CommitId,
    DotName,
    EntryId,
    SubdotName,
    WorktreeName,
)
from dm_compose.core.tree import FILE, TreeEntry
from dm_compose.core.units import size
from dm_compose.errors import NotFoundError, StoreError
from dm_compose.objects.batch import Batch
from dm_compose.objects.mapped import StoredObject
from dm_compose.objects.system import file_errors, sync_filesystem
from dm_compose.storage.capture import Capture, CopyRound
from dm_compose.storage.columns import Entries
from dm_compose.storage.diff import diff_trees
from dm_compose.storage.scan import Tree
from dm_compose.store.api import COMPARE_BUDGET_BYTES
from dm_compose.store.history import Directories
from dm_compose.store.local.parts import StoreParts

ROUNDS = 5  # of copying while writers run
LITTLE_S = 0.5  # after a round that copied no longer there is no other: the copying in the freeze will not take longer either


@dataclass
class _Pending:
    """A commit between `prepare_commit` and `publish`. `taken` is filled by `capture`: the index of each subdot."""

    entry: JournalEntry
    batch: Batch
    captures: dict[SubdotName, Capture]
    taken: dict[SubdotName, Tree]
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
            if captures[subdot].without != area.without:
                captures[subdot].close()  # other paths belong to the subdot now, so all of them have to be looked at
                captures[subdot].without = area.without

    def _copy_early(self, pending: _Pending) -> None:
        """Copy while writers run, until the last round had little to copy, so that the stack stands still for little."""
        with self._counting("copy") as progress:
            for _ in range(ROUNDS):
                copied, took_s = self._copy_round(pending, progress)
                if not copied or took_s < LITTLE_S:
                    return
        text = f"{size(copied)} had changed again after each of {ROUNDS} copies; the stack stands still for the next one"
        self.listener(Event("warning", text))

    def _copy_round(self, pending: _Pending, progress: Callable[[int], None]) -> CopyRound:
        """Copy all that has changed since the last round."""

        def copy(subdot: SubdotName, directory: str) -> CopyRound:
            try:
                return pending.captures[subdot].prepare(progress)
            except (OSError, StoreError):
                if not pending.is_tree or os.path.isdir(directory):
                    raise
                return CopyRound(0, 0)

        before = pending.batch.copied_bytes
        directories = {subdot: capture.root.path for subdot, capture in pending.captures.items()}
        rounds = self._each(directories, copy, "copying into the store").values()
        if pending.batch.copied_bytes > before:  # otherwise the sync inside the freeze would have to write them to the disk
            with file_errors("copying into the store"):
                sync_filesystem(pending.batch.directory)
        return CopyRound(sum(one.size_bytes for one in rounds), max((one.took_s for one in rounds), default=0))

    def will_disturb(self, entry_id: EntryId, paused: Sequence[str], stopped: Sequence[str]) -> None:
        pending = self._in_the_making(entry_id)
        if paused or stopped:
            pending.entry = replace(pending.entry, paused=tuple(paused), stopped=tuple(stopped))
            self._database.put_journal(pending.entry)

    def capture(self, entry_id: EntryId) -> int:
        pending = self._in_the_making(entry_id)
        if pending.is_tree:  # subdots of a tree come and go while writers run
            with file_errors("reading a tree"):
                self._follow(pending, self._trees.subdots(pending.entry.dot, pending.entry.worktree))
        pending.taken = self._each(
            dict.fromkeys(pending.captures, ""), lambda subdot, _: pending.captures[subdot].finish(), "copying into the store"
        )
        return pending.batch.copied_bytes

    def captured_changes(self, entry_id: EntryId, ignore: Mapping[SubdotName, Sequence[str]]) -> list[SubdotName]:
        pending = self._in_the_making(entry_id)
        worktree = self.worktree(pending.entry.dot, pending.entry.worktree)
        head = self._database.commit(pending.entry.dot, worktree.head) if worktree.head else None

        def changed(subdot: SubdotName, _: str) -> bool:
            before, after = self._differing(pending, subdot, head)
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
            now = {path: found.entry for path, found in pending.taken[subdot].items()}
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
        for capture in pending.captures.values():
            capture.close()
        commit_id = pending.entry.makes
        assert commit_id is not None
        dot, name = pending.entry.dot, pending.entry.worktree
        worktree = self.worktree(dot, name)
        parent = self._database.commit(dot, worktree.head) if worktree.head else None
        states = {}
        with file_errors("writing a commit to the store"):
            for subdot in pending.taken:
                tree = pending.taken[subdot] = pending.captures[subdot].tidy()
                state = self._unchanged(pending, subdot, parent) or self._add_manifest(pending, subdot)
                states[subdot] = replace(state, **vars(draft.origins.get(subdot, Origin())))
                tree.manifest = state.manifest
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
        for subdot, tree in pending.taken.items():
            self._remember((dot, name, subdot), tree)
        return commit

    def _add_manifest(self, pending: _Pending, subdot: SubdotName) -> SubdotState:
        tree = pending.taken[subdot]
        ref = pending.batch.add_manifest(subdot, (found.entry for found in tree.values()))
        sizes = [found.entry.size for found in tree.values() if found.entry.kind == FILE]
        return SubdotState(ref, len(sizes), sum(sizes))

    def _unchanged(self, pending: _Pending, subdot: SubdotName, parent: Commit | None) -> SubdotState | None:
        """Return the parent's state of a subdot if the captured one is the same, and its manifest can be read."""
        before, after = self._differing(pending, subdot, parent)
        return parent.subdots[subdot] if parent is not None and not before and not after else None

    def _differing(self, pending: _Pending, subdot: SubdotName, commit: Commit | None) -> tuple[Entries, Entries]:
        """Return the entries of a commit, and those captured, of all paths in which they differ.

        A commit whose manifest cannot be read counts as empty.
        """
        state = commit.subdots.get(subdot) if commit is not None else None
        known, now = pending.captures[subdot].known, pending.taken[subdot]
        return self._differences(known, now, state, lambda: self._readable(commit, subdot))

    def note(self, dot: DotName, worktree: WorktreeName, action: str, saved: CommitId) -> None:
        found = self.worktree(dot, worktree)
        self._log(found, action, found.head, saved)

    def combine(
        self, dot: DotName, worktree: WorktreeName, base: CommitId, other: CommitId, subdots: Sequence[SubdotName]
    ) -> Commit:
        first, second = self._database.commit(dot, base), self._database.commit(dot, other)
        if missing := sorted(set(subdots) - second.subdots.keys()):
            raise NotFoundError(f"commit {other.short} has no subdot {', '.join(missing)}")
        combined = replace(
            first,
            id=CommitId(EntryId.new()),
            parent=base,
            message=f"{first.id.short} with {', '.join(sorted(subdots))} of {other.short}",
            created=datetime.now(UTC),
            subdots={**first.subdots, **{name: second.subdots[name] for name in subdots}},
            metadata={WRITTEN: ",".join(sorted(subdots))},
            new_bytes=0,
            clean=False,
            hidden=True,
            shallow=False,
            unready={**first.unready, **second.unready},
        )
        with self._database.transaction():
            self._database.add_commit(combined)
            self.note(dot, worktree, f"combine {', '.join(sorted(subdots))}", combined.id)
        return combined

    def abandon(self, entry_id: EntryId) -> None:
        entry = self._database.journal_entry(entry_id)
        if entry is not None:
            self._discard_unpublished(entry)
        self._database.remove_journal(entry_id)

    def _discard_unpublished(self, entry: JournalEntry) -> None:
        """Remove the objects of a commit that has not been published; others may share those of one that has."""
        pending = self._pending.pop(entry.id, None)
        for capture in pending.captures.values() if pending is not None else ():
            capture.close()
        if entry.makes is not None and not self._database.has_commit(entry.makes):
            self._objects.discard(entry.makes)

    def _in_the_making(self, entry_id: EntryId) -> _Pending:
        if (pending := self._pending.get(entry_id)) is None:
            raise StoreError(f"this process is not making the commit {entry_id.short}", hint="It was published or abandoned.")
        return pending
