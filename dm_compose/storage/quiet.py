"""Whether a tree was written to since a look at it, by as few looks as that takes.

It is asked before and after each test, and most files of a datastore are the running server's own, which are left out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Container
from dataclasses import dataclass

from dm_compose.core.tree import DIRECTORY, FILE
from dm_compose.storage.scan import RACY, FoundPath, Tree, scan, to_bytes
from dm_compose.storage.system import coarse_clock_ns, file_errors, read_xattrs, sync_filesystem


@dataclass(frozen=True)
class LeftOut:
    """The paths of a tree that are left out: those that are somebody else's, and those that mean nothing."""

    without: Container[str]
    ignored: Callable[[str], bool]

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and (path in self.without or self.ignored(path))


@dataclass(frozen=True)
class Watched:
    """A tree as it was found, what was left out of it, and its paths as the file system has them."""

    tree: Tree
    paths: tuple[tuple[bytes, FoundPath], ...]
    skipped: Container[str]


def watched(tree: Tree, skipped: Container[str]) -> Watched:
    """Return what has to be looked at of a scanned tree."""
    return Watched(tree, tuple((to_bytes(path), found) for path, found in tree.items() if path not in skipped), skipped)


def look(root: str, skipped: Container[str], since_ns: int) -> Watched:
    """Look at a tree but for what is skipped, which is not descended into. What was written in the file clock's last tick, which
    the caller may wait for, counts as written to later.

    Files written to at `since_ns` or later are written back before: a process that has a page mapped, and has written to it
    already, could else write again without touching the time stamps.
    """
    clock = coarse_clock_ns()
    tree = scan(root, {}, without=skipped, quiet_since_ns=clock)
    if any(f.entry.kind == FILE and f.entry.mtime_ns >= since_ns for f in tree.values()):
        with file_errors("writing back a volume"):
            sync_filesystem(root)
        tree = scan(root, {}, without=skipped, quiet_since_ns=clock)
    return watched(tree, skipped)


def written_to(root: str, before: Watched) -> bool:
    """Whether any of the paths was written to, or a path was added or removed. Of a directory owner, mode and extended attributes
    count, its time stamps do not; sockets, and what is skipped, are left out as in a scan.
    """
    full = os.path.realpath(to_bytes(root))
    device = os.lstat(full).st_dev
    for path, found in before.paths:
        place = os.path.join(full, path) if path else full
        try:
            now = os.lstat(place)
        except (FileNotFoundError, NotADirectoryError):
            return True
        if found.entry.kind == DIRECTORY:
            if now.st_ctime_ns == found.ctime_ns and now.st_ino == found.inode:
                continue
            try:
                if not _same_directory(found, now, place) or (now.st_dev == device and _has_new(place, path, before)):
                    return True
            except (FileNotFoundError, NotADirectoryError):
                return True
        elif found.ctime_ns == RACY or now.st_ctime_ns != found.ctime_ns or now.st_ino != found.inode:
            return True
    return False


def _same_directory(before: FoundPath, now: os.stat_result, place: bytes) -> bool:
    """Whether a directory whose time stamps have moved is what it was, but perhaps for the names in it."""
    entry = before.entry
    same = stat.S_ISDIR(now.st_mode) and (stat.S_IMODE(now.st_mode), now.st_uid, now.st_gid) == (entry.mode, entry.uid, entry.gid)
    return same and now.st_ino == before.inode and read_xattrs(place) == entry.xattrs


def _has_new(place: bytes, path: bytes, before: Watched) -> bool:
    prefix = path.decode("utf-8", "surrogateescape") + "/" if path else ""
    with os.scandir(place) as listing:
        for item in listing:
            name = prefix + item.name.decode("utf-8", "surrogateescape")
            if name in before.tree or name in before.skipped:
                continue
            if not stat.S_ISSOCK(item.stat(follow_symlinks=False).st_mode):
                return True
    return False
