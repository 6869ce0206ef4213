"""Scanning a tree: the metadata of every path, and which files still hold what they held at the last scan.

The result of a scan is also the *index* of a tree: it proves the contents of a file for as long as its time stamps stay. Its file
is in storage.index. storage.again looks at some paths of a tree only.
"""

from __future__ import annotations

import operator
import os
import stat
import time
from collections.abc import Container, Mapping
from itertools import compress
from typing import NamedTuple

from dm_compose.core.tree import (
    BLOCK,
    CHAR,
    DIRECTORY,
    FIFO,
    FILE,
    HARDLINK,
    SYMLINK,
    UNKNOWN,
    TreeEntry,
)
from dm_compose.objects.system import coarse_clock_ns, file_errors, read_xattrs, sync_filesystem, wait_for_clock_past
from dm_compose.storage.beneath import BECAME_ANOTHER, Beneath, in_proc, to_bytes, to_text
from dm_compose.storage.walk import walk

RACY = 0
_NUMBERS: dict[int, int] = {}  # of `_once`: there are few different modes, owners and devices


class FoundPath(NamedTuple):
    """One path as a scan has found it. `links` is the number of hard links.

    `ctime_ns` is RACY if a later write could leave the same time stamps, so that they prove nothing. `device` and `changed_ns`
    (the ctime, racy or not) tell whether a file that is opened later is the one that was found; an index does not have them.
    """

    entry: TreeEntry
    inode: int
    ctime_ns: int
    links: int
    device: int = 0
    changed_ns: int = 0

    def is_still(self, info: os.stat_result) -> bool:
        """Return whether an open file is the one that the scan has found, and has not been changed since then."""
        now = info.st_dev, info.st_ino, info.st_size, info.st_ctime_ns
        return now == (self.device, self.inode, self.entry.size, self.changed_ns)


class Tree(dict[str, FoundPath]):
    """The paths of a tree, as a scan has found them.

    `manifest` is the id of a manifest that has exactly these entries, '' if no such manifest is known. Code that changes a
    tree sets it to ''. `mounts` are the directories on which other file systems are mounted.
    """

    manifest: str = ""
    mounts: tuple[str, ...] = ()

    def differing_from(self, before: Tree) -> list[str]:
        """Return the paths that are not in both trees with equal entries, in no order that means anything."""
        others = compress(self.items(), map(operator.is_not, self.values(), map(before.get, self)))  # a loop of Python's own
        changed = [path for path, found in others if (old := before.get(path)) is None or old.entry != found.entry]
        return [*changed, *(before.keys() - self.keys())]


def scan(
    files: Beneath, known: Mapping[str, FoundPath], *, without: Container[str] = (), quiet_since_ns: int | None = None
) -> Tree:
    """Return every path below a directory in walk order: the root first, names sorted, a directory before its contents.

    A file whose inode, size, mtime and ctime are those in `known` keeps the object recorded there. Any other file has the
    `ref` UNKNOWN. No contents are read. A tree may be scanned while it is written to: paths that vanish meanwhile are left out.

    Sockets are left out, because they are not state. Paths in `without`, and all below them, are left out, because they belong
    to another subdot. A directory on which another file system is mounted counts as empty.

    A file whose ctime is not before `quiet_since_ns` (by default the start of the scan) is RACY. To get a result that proves
    contents, read the clock, call syncfs, and pass that time (`scan_synced` does it). Without the syncfs a process that has
    written to a mapped page could write to it again without a change of the time stamps.
    """
    clock = coarse_clock_ns() if quiet_since_ns is None else quiet_since_ns
    top = os.fstat(files.fd)
    tree = Tree()
    tree[""] = found_path("", files.fd, ".", top, known, clock, {})
    first_names: dict[int, str] = {}
    for prefix, fd, items, enter in walk(files):
        for name, item in items:
            path = prefix + name
            if path in without:
                continue
            try:
                info = item.stat(follow_symlinks=False)
                old = known.get(path)
                if old is not None and old.ctime_ns == info.st_ctime_ns and old.entry.kind == FILE and _is_same_file(old, info):
                    tree[path] = old  # as found_path would do; nearly all paths end here
                    continue
                if stat.S_ISSOCK(info.st_mode):
                    continue
                tree[path] = found_path(path, fd, name, info, known, clock, first_names)
            except OSError as error:
                if error.errno not in BECAME_ANOTHER:
                    error.filename = files.name(path)
                    raise
                continue
            if stat.S_ISDIR(info.st_mode):
                if info.st_dev == top.st_dev:
                    enter.append(name)
                else:
                    tree.mounts = (*tree.mounts, path)
    return tree


def proving(ctime_ns: int, clock_ns: int) -> int:
    """Return `ctime_ns` if every write at `clock_ns` or later changes it, otherwise RACY.

    A ctime without a fraction of a second may come from a file system that counts whole seconds: ext4 with inodes of 128 bytes,
    which ext3 has made, or mkfs on a small volume. It then proves something only when the second is over.
    """
    grain = 0 if ctime_ns % 1_000_000_000 else 999_999_999
    return ctime_ns if ctime_ns + grain < clock_ns else RACY


def scan_synced(files: Beneath, known: Mapping[str, FoundPath], *, without: Container[str] = ()) -> Tree:
    """Scan a tree so that the result proves contents: every later write changes a time stamp, even one to a mapped page.

    See `synced`. Files that are written to during the call are RACY.
    """
    clock = synced(files)
    return scan(files, known, without=without, quiet_since_ns=clock)


def synced(files: Beneath) -> int:
    """Write a tree's file system to the disk. Return the time (ns) of the file clock before that, for `quiet_since_ns`.

    It waits a tick of that clock, so that writes before the call are not RACY, except on file systems that count whole seconds.
    """
    wait_for_clock_past(time.time_ns())  # kernels from 6.13 stamp files with this fine clock, which is ahead of the coarse one
    clock = coarse_clock_ns()
    with file_errors("writing a volume to the disk"):
        sync_filesystem(files.fd)
    return clock


def found_path(
    path: str,
    directory: int,
    name: str,
    info: os.stat_result,
    known: Mapping[str, FoundPath],
    clock: int,
    first_names: dict[int, str],
) -> FoundPath:
    """Return a path as it is now, by its stat and its name in an open directory. If it is as in `known`, that object is returned.

    `clock` is the `quiet_since_ns` of a scan. `first_names` collects the first path of each file with several names.
    """
    old = known.get(path)
    if old is not None and old.ctime_ns == info.st_ctime_ns and _is_same(old, info):
        return old
    ctime = proving(info.st_ctime_ns, clock)
    kind, ref = _kind(path, directory, name, info, first_names)
    if (
        old is not None
        and old.ctime_ns == info.st_ctime_ns
        and old.inode == info.st_ino
        and old.entry.kind == kind
        and old.entry.mtime_ns == info.st_mtime_ns
        and (old.entry.size == info.st_size or kind != FILE)
        and (old.entry.ref == ref or kind == FILE)
    ):
        return FoundPath(old.entry, info.st_ino, ctime, info.st_nlink, info.st_dev, info.st_ctime_ns)
    size = info.st_size if kind == FILE else 0
    xattrs = read_xattrs(in_proc(directory, to_bytes(name))) if kind != HARDLINK else ()
    mode, uid, gid, device = map(_once, (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, info.st_dev))
    changed = info.st_ctime_ns
    mtime = changed if info.st_mtime_ns == changed else info.st_mtime_ns
    entry = TreeEntry(path, kind, mode, uid, gid, mtime, size, ref, xattrs)
    return FoundPath(entry, info.st_ino, ctime, info.st_nlink, device, changed)


def _once(number: int) -> int:
    """Return an equal number that is in memory once. Without that, mode, owner and device of each file take 112 bytes."""
    return _NUMBERS.setdefault(number, number)


def _is_same(old: FoundPath, info: os.stat_result) -> bool:
    """Return whether a file or directory with a proven and unchanged ctime is as it was."""
    if old.entry.kind == FILE:
        return _is_same_file(old, info)
    same = old.inode == info.st_ino and old.links == info.st_nlink and old.entry.mtime_ns == info.st_mtime_ns
    return same and old.entry.kind == DIRECTORY and stat.S_ISDIR(info.st_mode)


def _is_same_file(old: FoundPath, info: os.stat_result) -> bool:
    """Return whether a file with a proven and unchanged ctime is as it was. One chain, because a scan asks it for each file."""
    return (
        old.inode == info.st_ino
        and info.st_nlink == 1 == old.links
        and old.entry.mtime_ns == info.st_mtime_ns
        and old.entry.size == info.st_size
        and stat.S_ISREG(info.st_mode)
    )


def _kind(path: str, directory: int, name: str, info: os.stat_result, first_names: dict[int, str]) -> tuple[str, str]:
    mode = info.st_mode
    if stat.S_ISREG(mode):
        if info.st_nlink > 1:
            first = first_names.setdefault(info.st_ino, path)
            if first != path:
                return HARDLINK, first
        return FILE, UNKNOWN
    if stat.S_ISDIR(mode):
        return DIRECTORY, ""
    if stat.S_ISLNK(mode):
        return SYMLINK, to_text(os.readlink(to_bytes(name), dir_fd=directory))
    if stat.S_ISFIFO(mode):
        return FIFO, ""
    return (CHAR if stat.S_ISCHR(mode) else BLOCK), f"{os.major(info.st_rdev)}:{os.minor(info.st_rdev)}"
