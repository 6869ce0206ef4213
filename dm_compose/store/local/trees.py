"""Worktrees that are directories of the store. A subdot is `trees/DOT/WORKTREE/SUBDOT`, and `__root__` is WORKTREE itself.

`trees/DOT/.current` is a symlink to the worktree that the dot's volumes follow, for paths that should follow it too. The
database decides which worktree that is, and the symlink is made after a change there.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterable
from pathlib import Path

from dm_compose.core.names import ROOT_SUBDOT, DotName, SubdotName, WorktreeName
from dm_compose.objects.system import sync_directory
from dm_compose.storage.walk import remove_tree
from dm_compose.store.history import CURRENT


class Trees:
    """The trees of one store. The caller of a method that changes trees holds the dot's lock, unless it says otherwise."""

    def __init__(self, root: Path) -> None:
        self._trees = root / "trees"
        self._incoming = root / "incoming"

    def path(self, dot: DotName, worktree: WorktreeName) -> Path:
        """Return the directory of a worktree. It need not exist."""
        return self._trees / dot / worktree

    def create(self, dot: DotName, worktree: WorktreeName) -> None:
        """Make an empty tree, durably. Idempotent. Needs no lock."""
        self._make_home(dot)
        with contextlib.suppress(FileExistsError):
            _make_open(self.path(dot, worktree))
        sync_directory(self._trees / dot)

    def _make_home(self, dot: DotName) -> None:
        if not (self._trees / dot).is_dir():
            (self._trees / dot).mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_directory(self._trees)
            sync_directory(self._trees.parent)

    def make(self, dot: DotName, worktree: WorktreeName, subdot: SubdotName) -> Path:
        """Return the directory of a tree's subdot, and make it if it is missing. Needs no lock.

        FileExistsError where there is a file, or a link, because a link may lead to somebody else's directory.
        """
        path = self.subdot(dot, worktree, subdot)
        try:
            _make_open(path)
        except FileExistsError:
            if path.is_symlink() or not path.is_dir():
                raise
        else:
            sync_directory(path.parent)
        return path

    def make_room(self, dot: DotName, worktree: WorktreeName, subdots: Iterable[SubdotName]) -> None:
        """Make the directories of subdots that are missing. A file or link in the way is removed. Thread-safe."""
        for subdot in subdots:
            path = self.subdot(dot, worktree, subdot)
            if path.is_symlink() or not path.is_dir():
                with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                    path.unlink()
                path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                with contextlib.suppress(FileExistsError):
                    _make_open(path)

    def subdot(self, dot: DotName, worktree: WorktreeName, subdot: SubdotName) -> Path:
        """Return the directory of a tree's subdot. It need not exist."""
        top = self.path(dot, worktree)
        return top if subdot == ROOT_SUBDOT else top / subdot

    def subdots(self, dot: DotName, worktree: WorktreeName) -> dict[SubdotName, str]:
        """Return the directories of a tree's subdots: the tree itself as `__root__`, and all in it that have a subdot's name."""
        top = self.path(dot, worktree)
        found = {ROOT_SUBDOT: str(top)}
        if top.is_dir():
            with os.scandir(top) as listing:
                for item in sorted(listing, key=lambda item: item.name):
                    if item.is_dir(follow_symlinks=False) and is_subdot_directory(item.name):
                        found[SubdotName(item.name)] = item.path
        return found

    def begin(self, dot: DotName, worktree: WorktreeName) -> Path:
        """Return an empty directory to build a tree in. Leftovers of an earlier attempt are removed."""
        directory = self._incoming / f"tree.{dot}.{worktree}"
        remove_tree(directory)
        directory.mkdir(mode=0o755)
        return directory

    def take_in(self, dot: DotName, worktree: WorktreeName, built: Path) -> Path | None:
        """Move a tree that was built elsewhere to its path. Atomic. Return the tree that was there before, for `discard`."""
        self._make_home(dot)
        left = self.set_aside(dot, worktree)
        os.rename(built, self.path(dot, worktree))
        sync_directory(self._trees / dot)
        return left

    def set_aside(self, dot: DotName, worktree: WorktreeName | None = None) -> Path | None:
        """Move a tree, or all trees of a dot, out of the way. Atomic and durable.

        Return the new path, for `discard`, or None when there is no such tree.
        """
        path = self._trees / dot if worktree is None else self.path(dot, worktree)
        gone = self._incoming / f"removed.{uuid.uuid4().hex}"
        try:
            os.rename(path, gone)
        except FileNotFoundError:
            return None
        sync_directory(path.parent)
        return gone

    def discard(self, directory: Path | None) -> None:
        """Remove a directory that `begin` or `set_aside` has returned. Idempotent."""
        if directory is not None:
            remove_tree(directory)

    def point(self, dot: DotName, worktree: WorktreeName) -> None:
        """Make `.current` point to a worktree, if the dot has trees. Atomic. Idempotent."""
        link = self._trees / dot / CURRENT
        if not link.parent.is_dir() or (link.is_symlink() and os.readlink(link) == worktree):
            return
        temporary = link.with_name(f"{CURRENT}.new")
        temporary.unlink(missing_ok=True)
        os.symlink(worktree, temporary)
        os.rename(temporary, link)

    def present(self) -> dict[DotName, list[str]]:
        """Return the names of all files and directories where trees should be, by the name of the directory of their dot."""
        if not self._trees.is_dir():
            return {}
        return {
            DotName(dot.name): sorted(item.name for item in dot.iterdir() if item.name != CURRENT) if dot.is_dir() else []
            for dot in sorted(self._trees.iterdir())
        }


def is_subdot_directory(name: str) -> bool:
    """Return whether a directory of this name in a tree is a subdot."""
    return name != ROOT_SUBDOT and SubdotName.pattern.fullmatch(name) is not None


def _make_open(path: Path) -> None:
    """Make a directory that a container's user can enter, regardless of our umask."""
    path.mkdir(mode=0o755)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)  # a container may have put a link there
    try:
        os.fchmod(fd, 0o755)
    finally:
        os.close(fd)
