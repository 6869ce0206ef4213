"""Restores, switches between trees and sessions in a local store."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from dm_compose.core.commit import (
    RESTORE,
    SESSION,
    SWITCH,
    JournalEntry,
    Move,
    Worktree,
)
from dm_compose.core.events import Listener, ignore
from dm_compose.core.names import (
    ROOT_SUBDOT,
    CommitId,
    DotName,
    EntryId,
    SubdotName,
    WorktreeName,
)
from dm_compose.core.tree import Restored
from dm_compose.errors import ExistsError
from dm_compose.objects.system import file_errors, sync_filesystem
from dm_compose.storage.beneath import Root
from dm_compose.storage.restore import restore_tree
from dm_compose.storage.scan import Tree
from dm_compose.store.history import Directories
from dm_compose.store.local.committing import Committing
from dm_compose.store.local.parts import Area


class Restoring(Committing):
    """See dm_compose.store.api.Store."""

    def __init__(self, root: Path, listener: Listener = ignore) -> None:
        super().__init__(root, listener)
        self._restored: dict[EntryId, dict[SubdotName, tuple[Area, Tree]]] = {}

    def begin_restore(
        self,
        dot: DotName,
        worktree: WorktreeName,
        target: CommitId,
        stopped: Sequence[str],
        move: Move | None,
        takes_over: EntryId | None,
        supersedes: Sequence[EntryId] = (),
    ) -> EntryId:
        self.worktree(dot, worktree)
        for commit_id in dict.fromkeys((target, *((move.head, move.saved) if move is not None else ()))):
            if commit_id is not None:  # a move to a commit that does not exist could never be ended
                self._database.commit(dot, commit_id)
        if move is not None:
            self._refuse_branch_in_use(dot, move.branch, but_for=worktree)
        taken_over = self._entry(takes_over) if takes_over is not None else None
        if taken_over is not None:  # before its entry goes: after a kill in between nobody would know of the objects
            self._discard_unpublished(taken_over)
        with self._database.transaction():
            superseded = [self._entry(entry_id) for entry_id in supersedes]
            replaced = [*([taken_over] if taken_over is not None else []), *superseded]
            paused = dict.fromkeys(c for old in replaced for c in old.paused)
            down = dict.fromkeys([*stopped, *(c for old in superseded for c in old.stopped)])
            entry = JournalEntry(EntryId.new(), dot, worktree, RESTORE, tuple(paused), tuple(down), target, move)
            self._database.put_journal(entry)
            for old in replaced:
                self._database.remove_journal(old.id)
        return entry.id

    def restore_subdot(self, entry_id: EntryId, subdot: SubdotName, directories: Directories) -> Restored:
        entry = self._entry(entry_id)
        assert entry.target is not None
        commit = self._database.commit(entry.dot, entry.target)
        if (state := commit.subdots.get(subdot)) is None:
            return Restored(0, 0)
        directories = self._directories(entry.dot, entry.worktree, directories, commit)
        with file_errors(f"restoring {subdot}"):
            if self._is_tree(entry.dot, entry.worktree):
                # a directory that is made after the root's time stamps are restored would change them again
                made = commit.subdots if subdot == ROOT_SUBDOT else [subdot]
                self._trees.make_room(entry.dot, entry.worktree, made)
            target = self._objects.read_manifest(state.manifest)
            known, area = (
                self._known(entry.dot, entry.worktree, subdot),
                self._areas(entry.dot, entry.worktree, directories)[subdot],
            )
            with area.open() as files:
                tree, restored = restore_tree(files, known, target, self._objects, without=area.without)
            tree.manifest = "" if area.without else state.manifest  # entries at paths of other subdots are not restored
        self._restored.setdefault(entry_id, {})[subdot] = area, tree
        return restored

    def sync_restored(self, entry_id: EntryId) -> None:
        entry = self._entry(entry_id)
        restored = self._restored.get(entry_id, {})
        with file_errors("writing a volume to the disk"):
            synced: set[int] = set()
            for area, _ in restored.values():
                with area.open() as files:
                    if (device := os.fstat(files.fd).st_dev) not in synced:
                        sync_filesystem(files.fd)
                        synced.add(device)
        for subdot, (_, tree) in restored.items():
            self._remember((entry.dot, entry.worktree, subdot), tree)

    def end_restore(self, entry_id: EntryId) -> None:
        entry = self._entry(entry_id)
        if entry.move is not None and entry.move.head != entry.target:  # the marks belong to another commit
            with file_errors("writing to the store"):
                self._indexes.forget_quiet(entry.dot, entry.worktree)
        with self._database.transaction():
            if entry.move is not None:
                self._arrive(self.worktree(entry.dot, entry.worktree), entry.move)
            self._database.remove_journal(entry_id)
        self._restored.pop(entry_id, None)

    def stand_on(self, dot: DotName, worktree: WorktreeName, move: Move) -> None:
        self._refuse_branch_in_use(dot, move.branch, but_for=worktree)
        found = self.worktree(dot, worktree)
        if move.head != found.head:  # the marks belong to another commit
            with file_errors("writing to the store"):
                self._indexes.forget_quiet(dot, worktree)
        with self._database.transaction():
            self._arrive(found, move)

    def _arrive(self, worktree: Worktree, move: Move) -> None:
        dot = worktree.dot
        self._log(worktree, move.action, move.head, move.saved, branch=move.branch)
        if move.head is not None:
            self._database.set_ref(dot, "branch", move.branch, move.head)
        for branch in (move.branch, worktree.branch):
            self._database.remove_ref(dot, "uncommitted", branch)
        if move.branch != worktree.branch and move.saved is not None:
            self._database.set_ref(dot, "uncommitted", worktree.branch, move.saved)
        self._database.put_worktree(replace(worktree, branch=move.branch))

    def begin_switch(self, dot: DotName, worktree: WorktreeName, stopped: Sequence[str], action: str) -> EntryId:
        found = self.worktree(dot, worktree)
        move = Move(action, found.branch, found.head)
        entry = JournalEntry(EntryId.new(), dot, worktree, SWITCH, stopped=tuple(stopped), move=move)
        self._database.put_journal(entry)
        return entry.id

    def switch(self, entry_id: EntryId) -> None:
        entry = self._entry(entry_id)
        assert entry.move is not None
        with self._database.transaction():
            before = self.worktree(entry.dot, self._database.current(entry.dot))
            if before.name != entry.worktree:
                arrived = self.worktree(entry.dot, entry.worktree)
                leaving = replace(arrived, branch=before.branch, head=before.head)
                self._log(leaving, entry.move.action, arrived.head, None, branch=arrived.branch)
                self._database.set_current(entry.dot, entry.worktree)
        with file_errors("pointing to a worktree"):
            self._trees.point(entry.dot, entry.worktree)

    def close_entry(self, entry_id: EntryId) -> None:
        self._database.remove_journal(entry_id)
        self._restored.pop(entry_id, None)

    def begin_session(self, dot: DotName, worktree: WorktreeName, target: CommitId, owner: str | None = None) -> EntryId:
        self.worktree(dot, worktree)
        found = self._database.commit(dot, target).id
        entry = JournalEntry(EntryId.new(), dot, worktree, SESSION, target=found, owner=owner, began=datetime.now(UTC))
        self._database.put_journal(entry)
        return entry.id

    def unfinished(self, dot: DotName) -> list[JournalEntry]:
        return self._database.journal(dot)

    def export(self, dot: DotName, commit_id: CommitId, directory: str, subdot: SubdotName | None = None) -> None:
        commit = self._database.commit(dot, commit_id)
        with file_errors("writing a commit's files"):
            os.makedirs(directory, exist_ok=True)
            if os.listdir(directory):
                raise ExistsError(f"directory {directory} is not empty", hint="Name one that is empty, or that does not exist.")
            if subdot is None:
                self._write_out(directory, commit)
            else:
                with Root(directory).open() as files:
                    restore_tree(files, Tree(), self._objects.read_manifest(commit.subdots[subdot].manifest), self._objects)
