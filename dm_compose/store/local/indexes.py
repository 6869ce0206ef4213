"""The indexes of live trees, one file each. An index proves what the files of a subdot hold: see storage.scan."""

from __future__ import annotations

import os
import shutil
from collections.abc import Container
from pathlib import Path

from dm_compose.core.names import DotName, SubdotName, WorktreeName
from dm_compose.core.tree import FILE, Manifest
from dm_compose.objects.system import sync_filesystem
from dm_compose.storage.columns import Columns
from dm_compose.storage.index import load_columns, load_index, save_index
from dm_compose.storage.scan import RACY, FoundPath, Tree

IndexKey = tuple[DotName, WorktreeName, SubdotName]
_NOTE = ".note.quiet"  # no subdot begins with a dot


class Indexes:
    """The index files of a store, below `index/`. They are cached, and read again when another process has replaced them.

    There are two kinds for a subdot: `index`, and `quiet` for the mark of Store.mark_quiet. The note of that is beside them, in a
    file that is removed with the marks.
    """

    def __init__(self, root: Path) -> None:
        self._root = root / "index"
        self._cache: dict[Path, tuple[tuple[int, int], Tree]] = {}

    def _path(self, key: IndexKey, kind: str) -> Path:
        dot, worktree, subdot = key
        return self._root / dot / worktree / f"{subdot}.{kind}"

    def load(self, key: IndexKey, kind: str = "index") -> Tree:
        """Return the index of a subdot. It is empty if nothing is known."""
        path = self._path(key, kind)
        try:
            info = os.stat(path)
        except OSError:
            return Tree()
        stamp = info.st_ino, info.st_mtime_ns
        cached = self._cache.get(path)
        if cached is None or cached[0] != stamp:
            cached = self._cache[path] = stamp, load_index(path)
        return cached[1]

    def columns(self, key: IndexKey) -> Columns | None:
        """Return the index of a subdot as columns, None if nothing is known."""
        return load_columns(self._path(key, "index"))

    def save(self, key: IndexKey, tree: Tree, kind: str = "index") -> None:
        """Replace the index of a subdot."""
        path = self._path(key, kind)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        save_index(path, tree)
        info = os.stat(path)
        self._cache[path] = (info.st_ino, info.st_mtime_ns), tree

    def set_note(self, dot: DotName, worktree: WorktreeName, note: str) -> None:
        """Replace the note of a worktree's quiet marks, or remove it. It lasts no longer than the containers that it is about."""
        path = self._root / dot / worktree / _NOTE
        path.unlink(missing_ok=True)
        if note and path.parent.is_dir():
            path.with_suffix(".new").write_text(note)
            path.with_suffix(".new").replace(path)

    def note(self, dot: DotName, worktree: WorktreeName) -> str:
        """Return the note of a worktree's quiet marks, '' if there is none."""
        try:
            return (self._root / dot / worktree / _NOTE).read_text()
        except OSError:
            return ""

    def forget(self, key: IndexKey, kind: str) -> None:
        """Remove the index of a subdot. Idempotent."""
        self._path(key, kind).unlink(missing_ok=True)

    def forget_quiet(self, dot: DotName, worktree: WorktreeName) -> None:
        """Remove the quiet marks of all subdots of a worktree. Idempotent."""
        for path in (self._root / dot / worktree).glob("*.quiet"):
            path.unlink(missing_ok=True)

    def forget_others(self, dot: DotName, worktree: WorktreeName, kept: Container[str], kind: str) -> None:
        """Remove the indexes of one kind of all subdots of a worktree that are not in `kept`. Idempotent."""
        for path in (self._root / dot / worktree).glob(f"*.{kind}"):
            if path.name.removesuffix(f".{kind}") not in kept:
                path.unlink(missing_ok=True)

    def remove(self, dot: DotName, worktree: WorktreeName | None = None) -> None:
        """Remove all indexes of a dot, or of one of its worktrees. Idempotent."""
        path = self._root / dot if worktree is None else self._root / dot / worktree
        shutil.rmtree(path, ignore_errors=True)
        self._cache.clear()

    def forget_objects(self, gone: Container[str]) -> None:
        """Remove objects from all indexes. Call this before the objects are removed from the store.

        Otherwise a later commit would name a removed object, because the index proves that a file holds it. Durable.
        """
        for path in self._root.glob("*/*/*.index"):
            tree = load_index(path)
            kept = Tree((name, found) for name, found in tree.items() if found.entry.kind != FILE or found.entry.ref not in gone)
            if len(kept) < len(tree):
                try:
                    save_index(path, kept)
                except OSError:  # the disk may be full, which is a reason to remove objects
                    path.unlink()
        if self._root.is_dir():
            sync_filesystem(self._root)

    def known(self, key: IndexKey, head: Manifest | None) -> Tree:
        """Return the index of a subdot. Without one, return the head's entries as guesses.

        Guesses are RACY, so contents are compared before anybody relies on them.
        """
        tree = self.load(key)
        if tree or head is None:
            return tree
        return Tree((path, FoundPath(entry, 0, RACY, 0)) for path, entry in head.entries.items())
