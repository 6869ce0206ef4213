"""Worktrees that are directories of the store: `trees/DOT/WORKTREE/SUBDOT`, and in WORKTREE itself what belongs to no subdot.

`trees/DOT/.current` is a symlink to the worktree that the dot's volumes follow, for paths that are to follow it too. The
database says which worktree that is; the symlink is made anew after it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

from dm_compose.core.names import ROOT_SUBDOT, DotName, SubdotName, WorktreeName
from dm_compose.storage.system import sync_directory

CURRENT = ".current"


class Trees:
    """The trees of one store. Who changes a dot's trees holds its lock."""

    def __init__(self, root: Path) -> None:
        self._trees = root / "trees"
        self._incoming = root / "incoming"

    def path(self, dot: DotName, worktree: WorktreeName) -> Path:
        """Return the directory of a worktree, which need not exist."""
        return self._trees / dot / worktree

    def create(self, dot: DotName, worktree: WorktreeName) -> None:
        """Make an empty tree. Idempotent, and safe without a lock."""
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
        """Return the directory of a tree's subdot, made empty when it is missing. FileExistsError where there is a file or a
        link: following it would hand out somebody else's directory.
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
        """Have a directory for each subdot, instead of a file or link if need be. Safe when several do it at once."""
        for subdot in subdots:
            path = self.subdot(dot, worktree, subdot)
            if path.is_symlink() or not path.is_dir():
                with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                    path.unlink()
                path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                with contextlib.suppress(FileExistsError):
                    _make_open(path)

    def subdot(self, dot: DotName, worktree: WorktreeName, subdot: SubdotName) -> Path:
        """Return the directory of a tree's subdot, which need not exist."""
        top = self.path(dot, worktree)
        return top if subdot == ROOT_SUBDOT else top / subdot

    def subdots(self, dot: DotName, worktree: WorktreeName) -> dict[SubdotName, str]:
        """Return the directories of a tree's subdots: itself as `__root__`, and each one in it that has a subdot's name."""
        top = self.path(dot, worktree)
        found = {ROOT_SUBDOT: str(top)}
        if top.is_dir():
            with os.scandir(top) as listing:
                for item in sorted(listing, key=lambda item: item.name):
                    if item.is_dir(follow_symlinks=False) and is_subdot_directory(item.name):
                        found[SubdotName(item.name)] = item.path
        return found

    def begin(self, dot: DotName, worktree: WorktreeName) -> Path:
        """Return an empty place to build a tree in; what an earlier attempt left there is removed."""
        place = self._incoming / f"tree.{dot}.{worktree}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o755)
        return place

    def take_in(self, dot: DotName, worktree: WorktreeName, built: Path) -> Path | None:
        """Put a tree that was built elsewhere in its place, atomically; return what was there, a tree that nobody registered."""
        self._make_home(dot)
        left = self.set_aside(dot, worktree)
        os.rename(built, self.path(dot, worktree))
        sync_directory(self._trees / dot)
        return left

    def set_aside(self, dot: DotName, worktree: WorktreeName | None = None) -> Path | None:
        """Take a tree, or all trees of a dot, away at once, and return what is to be discarded, None where there was none."""
        path = self._trees / dot if worktree is None else self.path(dot, worktree)
        gone = self._incoming / f"removed.{uuid.uuid4().hex}"
        try:
            os.rename(path, gone)
        except FileNotFoundError:
            return None
        sync_directory(path.parent)
        return gone

    def discard(self, directory: Path | None) -> None:
        """Remove what was set aside, or begun and never taken in. Idempotent."""
        if directory is not None and directory.exists():
            shutil.rmtree(directory)

    def point(self, dot: DotName, worktree: WorktreeName) -> None:
        """Have `.current` point to a worktree, atomically."""
        link = self._trees / dot / CURRENT
        if not link.parent.is_dir() or (link.is_symlink() and os.readlink(link) == worktree):
            return
        temporary = link.with_name(f"{CURRENT}.new")
        temporary.unlink(missing_ok=True)
        os.symlink(worktree, temporary)
        os.rename(temporary, link)

    def present(self) -> dict[DotName, list[str]]:
        """Return the names of all that lies where trees do, by what should be their dot."""
        if not self._trees.is_dir():
            return {}
        return {
            DotName(dot.name): sorted(item.name for item in dot.iterdir() if item.name != CURRENT) if dot.is_dir() else []
            for dot in sorted(self._trees.iterdir())
        }


def is_subdot_directory(name: str) -> bool:
    """Whether a directory of this name in a tree is a subdot of its own."""
    return name != ROOT_SUBDOT and SubdotName.pattern.fullmatch(name) is not None


def _make_open(path: Path) -> None:
    """Make a directory that a container's user can enter, whatever our umask is."""
    path.mkdir(mode=0o755)
    path.chmod(0o755)
