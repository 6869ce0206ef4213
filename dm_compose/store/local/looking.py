"""Comparing trees and commits of a local store."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from dm_compose.core.events import Listener
from dm_compose.core.events import ignore as no_listener
from dm_compose.core.names import (
    CommitId,
    DotName,
    SubdotName,
    WorktreeName,
)
from dm_compose.core.tree import FILE, TreeDiff, TreeEntry
from dm_compose.objects.contents import OpenFile
from dm_compose.objects.system import file_errors, wait_for_clock_past
from dm_compose.storage.diff import diff_trees, matcher
from dm_compose.storage.plan import plan_tree
from dm_compose.storage.quiet import LeftOut, Watched, look, watched, written_to
from dm_compose.storage.scan import RACY, scan, scan_synced
from dm_compose.store.history import Directories
from dm_compose.store.local.parts import Area, StoreParts, areas


class Looking(StoreParts):
    """See dm_compose.store.api.Store."""

    def __init__(self, root: Path, listener: Listener = no_listener) -> None:
        super().__init__(root, listener)
        self._watches: dict[str, Watched] = {}

    def differing(self, dot: DotName, worktree: WorktreeName, directories: Directories, target: CommitId) -> list[SubdotName]:
        commit = self._database.commit(dot, target)
        is_tree = self._is_tree(dot, worktree)
        extra = sorted(directories.keys() - commit.subdots.keys()) if is_tree else []
        directories = self._directories(dot, worktree, directories, commit)
        where = self._areas(dot, worktree, directories)

        def differs(subdot: SubdotName, directory: str) -> bool:
            if is_tree and (os.path.islink(directory) or not os.path.isdir(directory)):
                return True
            if (state := commit.subdots.get(subdot)) is None:
                return False
            without = where[subdot].without
            with where[subdot].open() as files:
                found = self._changes((dot, worktree, subdot), files, without, state)
                if found is not None and not (without and any(found)):  # with `without` only the plan knows what may stay
                    return any(found)
                tree = scan(files, self._known(dot, worktree, subdot), without=without)
            return bool(plan_tree(tree, self._objects.read_manifest(state.manifest), without))

        answers = self._each(directories, differs)
        return [*(subdot for subdot, answer in answers.items() if answer), *extra]

    def diff_live(
        self,
        dot: DotName,
        worktree: WorktreeName,
        directories: Directories,
        base: CommitId | None,
        ignore: Mapping[SubdotName, Sequence[str]],
        budget_bytes: int | None,
    ) -> dict[SubdotName, TreeDiff]:
        commit = self._database.commit(dot, base) if base else None
        wanted = commit.subdots if commit is not None else {}
        where = self._areas(dot, worktree, directories)

        def changes(subdot: SubdotName, directory: str) -> TreeDiff:
            state, key, without = wanted.get(subdot), (dot, worktree, subdot), where[subdot].without
            with where[subdot].open() as files:
                found = self._changes(key, files, without, state) if state is not None else None
                if found is None:
                    known = self._known(*key)
                    tree = scan(files, known, without=without)
                    read = (lambda: self._objects.read_manifest(state.manifest)) if state is not None else (lambda: None)
                    found = self._differences(known, tree, state, read)
                old, new = found

                @contextlib.contextmanager
                def open_live(entry: TreeEntry) -> Iterator[OpenFile]:
                    fd = files.open_file(entry.path)
                    try:
                        yield OpenFile(fd)
                    finally:
                        os.close(fd)

                return diff_trees(
                    old, new, self._open_object, open_live, ignore=ignore.get(subdot, ()), budget_bytes=budget_bytes
                )

        found = self._each(directories, changes)
        for subdot in wanted.keys() - directories.keys():
            before = self._objects.read_manifest(wanted[subdot].manifest)
            found[subdot] = diff_trees(before.entries, {}, self._open_object, self._open_object)
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

    def mark_quiet(
        self, dot: DotName, worktree: WorktreeName, directories: Directories, kept: Sequence[SubdotName] = (), note: str = ""
    ) -> None:
        where = self._areas(dot, worktree, directories)

        def mark(subdot: SubdotName, directory: str) -> None:
            with where[subdot].open() as files:
                tree = scan_synced(files, self._known(dot, worktree, subdot), without=where[subdot].without)
            with file_errors("writing to the store"):
                self._indexes.save((dot, worktree, subdot), tree, "quiet")

        with file_errors("writing to the store"):
            self._indexes.forget_others(dot, worktree, {*directories, *kept}, "quiet")
        self._each(directories, mark)
        with file_errors("writing to the store"):
            self._indexes.set_note(dot, worktree, note)

    def quiet_note(self, dot: DotName, worktree: WorktreeName) -> str:
        return self._indexes.note(dot, worktree)

    def changed_since_quiet(
        self, dot: DotName, worktree: WorktreeName, directories: Directories, ignore: Mapping[SubdotName, Sequence[str]]
    ) -> list[SubdotName]:
        where = self._areas(dot, worktree, directories)

        def changed(subdot: SubdotName, directory: str) -> bool:
            if not (quiet := self._indexes.load((dot, worktree, subdot), "quiet")):
                return True
            left_out = LeftOut(where[subdot].without, matcher(ignore.get(subdot, ())))
            with where[subdot].open() as files:
                return written_to(files, watched(quiet, left_out))

        answers = self._each(directories, changed)
        return [subdot for subdot, answer in answers.items() if answer]

    def watch_files(
        self, directories: Directories, ignore: Mapping[SubdotName, Sequence[str]], since: datetime, kept: Sequence[SubdotName]
    ) -> None:
        where = areas(directories)
        since_ns = int(since.timestamp() * 1e9)
        wait_for_clock_past(time.time_ns())
        with file_errors("reading a volume"):
            for subdot, directory in directories.items():
                if subdot not in kept:
                    left_out = LeftOut(where[subdot].without, matcher(ignore.get(subdot, ())))
                    with where[subdot].open() as files:
                        self._watches[directory] = look(files, left_out, since_ns)

    def written_files(self, directories: Directories) -> list[SubdotName]:
        with file_errors("reading a volume"):
            return [s for s, area in areas(directories).items() if self._was_written(directories[s], area)]

    def _was_written(self, directory: str, area: Area) -> bool:
        if directory not in self._watches:
            return True
        with area.open() as files:
            return written_to(files, self._watches[directory])

    def files_written_since(
        self, directories: Directories, ignore: Mapping[SubdotName, Sequence[str]], since: datetime
    ) -> list[SubdotName]:
        where = areas(directories)
        since_ns = int(since.timestamp() * 1e9)

        def written(subdot: SubdotName, directory: str) -> bool:
            skipped = LeftOut(where[subdot].without, matcher(ignore.get(subdot, ())))
            with where[subdot].open() as files:
                tree = scan(files, {}, without=skipped)
            found = [f for f in tree.values() if f.entry.kind == FILE]
            return any(file.ctime_ns == RACY or file.ctime_ns > since_ns for file in found)

        answers = self._each(directories, written)
        return [subdot for subdot, answer in answers.items() if answer]
