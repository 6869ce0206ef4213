"""Whether a tree was written to since a scan that vouches for it (scan.scan_standing), by as few looks as that takes.

It is asked before and after each test, and most files of a datastore are the running server's own, which are left out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection
from dataclasses import dataclass

from dm_compose.core.tree import DIRECTORY
from dm_compose.storage.scan import RACY, Found, Tree, to_bytes
from dm_compose.storage.system import read_xattrs


@dataclass(frozen=True)
class Watched:
    """The paths of a scanned tree that are looked at, and names in it that mean nothing when they are new."""

    tree: Tree
    paths: tuple[tuple[bytes, Found], ...]
    ignored: Callable[[str], bool]


def watch(tree: Tree, ignored: Callable[[str], bool]) -> Watched:
    """Return what has to be looked at in a tree, without the paths that are `ignored`."""
    return Watched(tree, tuple((to_bytes(path), found) for path, found in tree.items() if not ignored(path)), ignored)


def written_to(root: str, watched: Watched, *, without: Collection[str] = ()) -> bool:
    """Whether any of the paths was written to, or a path was added or removed. Of a directory owner, mode and extended attributes
    count, its time stamps do not; sockets, and paths in `without`, are left out as in a scan.
    """
    full = os.path.realpath(to_bytes(root))
    device = os.lstat(full).st_dev
    for path, before in watched.paths:
        place = os.path.join(full, path) if path else full
        try:
            now = os.lstat(place)
        except (FileNotFoundError, NotADirectoryError):
            return True
        entry = before.entry
        if entry.kind == DIRECTORY:
            if now.st_ctime_ns == before.ctime_ns and now.st_ino == before.inode:
                continue
            try:
                if not _same_directory(before, now, place) or (now.st_dev == device and _has_new(place, path, watched, without)):
                    return True
            except (FileNotFoundError, NotADirectoryError):
                return True
        elif before.ctime_ns == RACY or now.st_ctime_ns != before.ctime_ns or now.st_ino != before.inode:
            return True
    return False


def _same_directory(before: Found, now: os.stat_result, place: bytes) -> bool:
    """Whether a directory whose time stamps have moved is what it was, but perhaps for the names in it."""
    entry = before.entry
    same = stat.S_ISDIR(now.st_mode) and (stat.S_IMODE(now.st_mode), now.st_uid, now.st_gid) == (entry.mode, entry.uid, entry.gid)
    return same and now.st_ino == before.inode and read_xattrs(place) == entry.xattrs


def _has_new(place: bytes, path: bytes, watched: Watched, without: Collection[str]) -> bool:
    prefix = path.decode("utf-8", "surrogateescape") + "/" if path else ""
    with os.scandir(place) as listing:
        for item in listing:
            name = prefix + item.name.decode("utf-8", "surrogateescape")
            if name in watched.tree or name in without or watched.ignored(name):
                continue
            if not stat.S_ISSOCK(item.stat(follow_symlinks=False).st_mode):
                return True
    return False
