"""Looking at a tree: every path's metadata, and which files still hold what they held at the last look."""

from __future__ import annotations

import errno
import json
import os
import stat
import time
import zlib
from collections.abc import Collection, Container, Mapping
from pathlib import Path
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
    Entry,
    entry_from_row,
    entry_to_row,
)
from dm_compose.storage.system import (
    coarse_clock_ns,
    file_errors,
    read_xattrs,
    sync_filesystem,
    wait_for_clock_past,
    write_file,
)

INDEX_FORMAT = 1
RACY = 0
BECAME_ANOTHER = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL}  # what a writer does to a path while it is looked at


class FoundPath(NamedTuple):
    """One path as it was found. `ctime_ns` is RACY when a later write could leave the same time stamps behind."""

    entry: Entry
    inode: int
    ctime_ns: int
    links: int


Tree = dict[str, FoundPath]


def to_bytes(path: str) -> bytes:
    """Return the file system's name of an Entry path."""
    return path.encode("utf-8", "surrogateescape")


def join(root: str, path: str) -> bytes:
    """Return the file system's full name of an Entry path below `root`."""
    return to_bytes(f"{root}/{path}") if path else to_bytes(root)


def scan(root: str, known: Mapping[str, FoundPath], *, without: Container[str] = (), quiet_since_ns: int | None = None) -> Tree:
    """Return every path below `root` in walk order (names sorted, a directory before what it holds), the root first.

    A file whose inode, size, mtime and ctime are those in `known` keeps the object recorded there; any other file has
    `ref` UNKNOWN. Reads no file contents. Sockets are left out: they are not state. Directories of another file system
    mounted inside are recorded as empty, and paths in `without` are left out: they belong to somebody else's tree. A `root`
    that is a symlink means what it points to. Safe to call while the tree is written to: what vanishes meanwhile is left out.

    A file stamped at or after `quiet_since_ns` (by default the start of the scan) is RACY. Who wants the result to vouch
    for contents calls syncfs first and passes the clock of before it: a process that has a page mapped writes to it
    again without touching the time stamps, until the page has been written back.
    """
    clock = coarse_clock_ns() if quiet_since_ns is None else quiet_since_ns
    full = os.path.realpath(to_bytes(root))
    top = os.lstat(full)
    tree: Tree = {"": _found("", full, top, known, clock, {})}
    first_names: dict[int, str] = {}
    pending = [("", full)]
    while pending:
        prefix, directory = pending.pop()
        try:
            with os.scandir(directory) as listing:
                items = sorted(listing, key=lambda item: item.name)
        except (FileNotFoundError, NotADirectoryError):
            if not prefix:
                raise
            continue
        below = []
        for item in items:
            path = prefix + item.name.decode("utf-8", "surrogateescape")
            if path in without:
                continue
            try:
                info = item.stat(follow_symlinks=False)
                if stat.S_ISSOCK(info.st_mode):
                    continue
                tree[path] = _found(path, item.path, info, known, clock, first_names)
            except OSError as error:
                if error.errno not in BECAME_ANOTHER:
                    raise
                continue
            if stat.S_ISDIR(info.st_mode) and info.st_dev == top.st_dev:
                below.append((path + "/", item.path))
        pending.extend(reversed(below))
    return tree


def proving(ctime_ns: int, clock_ns: int) -> int:
    """Return a ctime that any write at `clock_ns` or later moves, otherwise RACY.

    Zeros where fractions of a second should be are the stamp of a file system that counts whole seconds (ext4 with inodes of
    128 bytes, as made by ext3 and on small volumes).
    """
    grain = 0 if ctime_ns % 1_000_000_000 else 999_999_999
    return ctime_ns if ctime_ns + grain < clock_ns else RACY


def scan_synced(root: str, known: Mapping[str, FoundPath], *, without: Collection[str] = ()) -> Tree:
    """Scan a tree so that the result vouches for it: any later write, through a mapped page too, shows in the time stamps.

    Whatever was written before the call counts as before, unless time stamps are of whole seconds. Writes meanwhile are RACY.
    """
    wait_for_clock_past(time.time_ns())  # the fine clock: kernels from 6.13 stamp with it, ahead of the coarse one
    clock = coarse_clock_ns()
    with file_errors("writing back a volume"):
        sync_filesystem(root)
    return scan(root, known, without=without, quiet_since_ns=clock)


def _found(
    path: str, full: bytes, info: os.stat_result, known: Mapping[str, FoundPath], clock: int, first_names: dict[int, str]
) -> FoundPath:
    old = known.get(path)
    if old is not None and old.ctime_ns == info.st_ctime_ns and _is_same(old, info):
        return old
    ctime = proving(info.st_ctime_ns, clock)
    kind, ref = _kind(path, full, info, first_names)
    if (
        old is not None
        and old.ctime_ns == info.st_ctime_ns
        and old.inode == info.st_ino
        and old.entry.kind == kind
        and old.entry.mtime_ns == info.st_mtime_ns
        and (old.entry.size == info.st_size or kind != FILE)
        and (old.entry.ref == ref or kind == FILE)
    ):
        return FoundPath(old.entry, info.st_ino, ctime, info.st_nlink)
    size = info.st_size if kind == FILE else 0
    xattrs = read_xattrs(full) if kind != HARDLINK else ()
    entry = Entry(path, kind, stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, info.st_mtime_ns, size, ref, xattrs)
    return FoundPath(entry, info.st_ino, ctime, info.st_nlink)


def _is_same(old: FoundPath, info: os.stat_result) -> bool:
    """Whether a file or directory is what was found before, its ctime being the proven one of then: nearly all of a tree is."""
    entry = old.entry
    if old.inode != info.st_ino or old.links != info.st_nlink or entry.mtime_ns != info.st_mtime_ns:
        return False
    if entry.kind == FILE:
        return stat.S_ISREG(info.st_mode) and info.st_nlink == 1 and entry.size == info.st_size
    return entry.kind == DIRECTORY and stat.S_ISDIR(info.st_mode)


def _kind(path: str, full: bytes, info: os.stat_result, first_names: dict[int, str]) -> tuple[str, str]:
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
        return SYMLINK, os.readlink(full).decode("utf-8", "surrogateescape")
    if stat.S_ISFIFO(mode):
        return FIFO, ""
    return (CHAR if stat.S_ISCHR(mode) else BLOCK), f"{os.major(info.st_rdev)}:{os.minor(info.st_rdev)}"


def save_index(path: Path, tree: Tree) -> None:
    """Write `tree`, whose files must all have their object, as the proof for the next scan.

    Atomic. A checksum goes before it: a proof that was garbled would be worse than none. Call it only when the tree's
    contents are on the disk: after a power cut the file system may have kept the time stamps of a write and lost its
    contents, and the index would vouch for them.
    """
    rows = [[*entry_to_row(f.entry), f.inode, f.ctime_ns, f.links] for f in tree.values()]
    data = json.dumps({"format": INDEX_FORMAT, "rows": rows}, separators=(",", ":")).encode()
    write_file(path, b"%08x\n" % zlib.crc32(data) + data, durable=False)


def load_index(path: Path) -> Tree:
    """Read what `save_index` wrote; an unreadable, garbled, missing or older index is an empty one: everything is compared."""
    try:
        checksum, _, data = path.read_bytes().partition(b"\n")
        if checksum != b"%08x" % zlib.crc32(data):
            return {}
        document = json.loads(data)
        if document["format"] != INDEX_FORMAT:
            return {}
        return {row[0]: FoundPath(entry_from_row(row[:-3]), row[-3], row[-2], row[-1]) for row in document["rows"]}
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return {}
