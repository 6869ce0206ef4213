"""Telling whether a tree was written to since an earlier look, with as few system calls as possible.

This runs before and after each test. Most files of a datastore are written by the idle server itself, and are left out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Container
from dataclasses import dataclass

from dm_compose.core.tree import DIRECTORY, FILE
from dm_compose.objects.system import coarse_clock_ns, file_errors, read_xattrs, sync_filesystem
from dm_compose.storage.beneath import BECAME_ANOTHER, Beneath, in_proc, to_bytes, to_text
from dm_compose.storage.scan import RACY, FoundPath, Tree, scan


@dataclass(frozen=True)
class LeftOut:
    """Paths of a tree that are left out. Those in `without` belong to other subdots. Changes of `ignored` ones mean nothing."""

    without: Container[str]
    ignored: Callable[[str], bool]

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and (path in self.without or self.ignored(path))


@dataclass(frozen=True)
class Watched:
    """A tree as it was when we looked at it.

    `paths` lists for each directory the names in it to look at again. The root is the name '.' in itself. `skipped` says which
    paths were left out.
    """

    tree: Tree
    paths: tuple[tuple[str, tuple[tuple[bytes, FoundPath], ...]], ...]
    skipped: Container[str]


def watched(tree: Tree, skipped: Container[str]) -> Watched:
    """Prepare a scanned tree for `written_to`, which will not look at paths in `skipped`."""
    paths: dict[str, list[tuple[bytes, FoundPath]]] = {}
    for path, found in tree.items():
        if path not in skipped:
            parent, _, name = path.rpartition("/")
            paths.setdefault(parent, []).append((to_bytes(name) or b".", found))
    return Watched(tree, tuple((parent, tuple(names)) for parent, names in paths.items()), skipped)


def look(files: Beneath, skipped: Container[str], since_ns: int) -> Watched:
    """Look at a tree, but not at paths in `skipped` and not below them. `written_to` compares it with a later state.

    A file that was written in the current tick of the file clock will always count as written to. To avoid that, the caller
    waits for the next tick first (wait_for_clock_past).

    If a file was modified at `since_ns` or later, the file system is synced first. Otherwise a process that has written to a
    mapped page could write to it again without a change of the time stamps, until the page is on the disk.
    """
    clock = coarse_clock_ns()
    tree = scan(files, {}, without=skipped, quiet_since_ns=clock)
    if any(f.entry.kind == FILE and f.entry.mtime_ns >= since_ns for f in tree.values()):
        with file_errors("writing a volume to the disk"):
            sync_filesystem(files.fd)
        tree = scan(files, {}, without=skipped, quiet_since_ns=clock)
    return watched(tree, skipped)


def written_to(files: Beneath, before: Watched) -> bool:
    """Return whether any path was written to, added or removed since `before`.

    A directory counts if its owner, mode or extended attributes have changed; its time stamps alone do not count. Sockets and
    skipped paths never count.
    """
    device = os.fstat(files.fd).st_dev
    try:
        for parent, names in before.paths:
            directory = files.directory(parent)
            for name, found in names:
                now = os.stat(name, dir_fd=directory, follow_symlinks=False)
                if found.entry.kind != DIRECTORY:
                    if found.ctime_ns == RACY or now.st_ctime_ns != found.ctime_ns or now.st_ino != found.inode:
                        return True
                elif now.st_ctime_ns != found.ctime_ns or now.st_ino != found.inode:
                    if not _same_directory(found, now, in_proc(directory, name)):
                        return True
                    if now.st_dev == device and _has_new(files, found.entry.path, before):
                        return True
    except OSError as error:
        if error.errno not in BECAME_ANOTHER:
            raise
        return True
    return False


def _same_directory(before: FoundPath, now: os.stat_result, place: bytes) -> bool:
    """Return whether a directory is as it was, apart from its time stamps and the names in it."""
    entry = before.entry
    same = stat.S_ISDIR(now.st_mode) and (stat.S_IMODE(now.st_mode), now.st_uid, now.st_gid) == (entry.mode, entry.uid, entry.gid)
    return same and now.st_ino == before.inode and read_xattrs(place) == entry.xattrs


def _has_new(files: Beneath, path: str, before: Watched) -> bool:
    prefix = f"{path}/" if path else ""
    with files.opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd, os.scandir(fd) as listing:
        for item in listing:
            name = prefix + to_text(os.fsencode(item.name))
            if name in before.tree or name in before.skipped:
                continue
            if not stat.S_ISSOCK(item.stat(follow_symlinks=False).st_mode):
                return True
    return False
