"""The file of an index: a scanned tree as columns, so that 200,000 paths are read in a fifth of a second."""

from __future__ import annotations

import contextlib
import gc
import json
import sys
import zlib
from array import array
from collections.abc import Iterable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

from dm_compose.core.tree import TreeEntry, Xattrs, entry_from_row
from dm_compose.objects.system import boot_id, write_file
from dm_compose.storage.scan import RACY, FoundPath, Tree

INDEX_FORMAT = 2
_OLD_FORMAT = 1  # one JSON document
_NUMBERS = (("inode", "Q"), ("ctime", "q"), ("links", "q"), ("mtime", "q"), ("size", "q"), ("meta", "I"))
_TEXTS = ("path", "ref")


def save_index(path: Path, tree: Tree) -> None:
    """Save the index of a tree whose files all have an object, for the next scan. Atomic, not durable.

    The caller has made sure that the tree's contents are on the disk. After a power cut a file system may have kept the time
    stamps of a write and lost its contents, and the index would prove the wrong ones. A checksum guards against garbled files.

    The file is a line with the checksums of the JSON and of the columns, a line of JSON, and the columns one after the other; the
    JSON has their lengths. The column `meta` counts in a list in the JSON of all different (kind, mode, uid, gid, xattrs).
    """
    metas: dict[tuple[str, int, int, int, Xattrs], int] = {}
    entries = [found.entry for found in tree.values()]
    odd = {}  # a time that no signed number of 64 bits can count in ns: before 1677, or after 2262
    mtimes = [entry.mtime_ns for entry in entries]
    if max(mtimes, default=0) >= 1 << 63 or min(mtimes, default=0) < -(1 << 63):
        odd = {number: mtime for number, mtime in enumerate(mtimes) if not -(1 << 63) <= mtime < 1 << 63}
        mtimes = [0 if number in odd else mtime for number, mtime in enumerate(mtimes)]
    columns: dict[str, Iterable[int]] = {
        "inode": (found.inode for found in tree.values()),
        "ctime": (found.ctime_ns for found in tree.values()),
        "links": (found.links for found in tree.values()),
        "mtime": mtimes,
        "size": (entry.size for entry in entries),
        "meta": (metas.setdefault((e.kind, e.mode, e.uid, e.gid, e.xattrs), len(metas)) for e in entries),
    }
    data = [array(kind, columns[name]).tobytes() for name, kind in _NUMBERS]
    data += [_encoded(tree), _encoded(entry.ref for entry in entries)]
    header = {
        "format": INDEX_FORMAT,
        "boot": boot_id(),
        "manifest": tree.manifest,
        "byteorder": sys.byteorder,
        "metas": list(metas),
        "odd": list(odd.items()),
        "sizes": [len(column) for column in data],
    }
    line = json.dumps(header, separators=(",", ":")).encode() + b"\n"
    crc = 0
    for column in data:
        crc = zlib.crc32(column, crc)
    write_file(path, b"%08x %08x\n" % (zlib.crc32(line), crc), line, *data, durable=False)


def _encoded(texts: Iterable[str]) -> bytes:
    return "\0".join(texts).encode("utf-8", "surrogateescape")  # neither a path nor the target of a symlink can have a zero


def load_index(path: Path) -> Tree:
    """Return the index that `save_index` has saved. It is empty if the file is missing, unreadable, garbled or of another format;
    then all contents will be compared. The format before this one is read, too.

    If the kernel has been booted since then, all of it is RACY. fdatasync and O_DIRECT bring contents to the disk, and the time
    stamps follow seconds later. After a power cut in between, a file has new contents and the old time stamps.
    """
    try:
        with path.open("rb") as file:
            checksums, line = file.readline(), file.readline()
            is_old = checksums == b"%08x\n" % zlib.crc32(line)
            if not is_old and checksums[:8] != b"%08x" % zlib.crc32(line):
                return Tree()
            header = json.loads(line)
            proves = bool(header.get("boot")) and header["boot"] == boot_id()
            if is_old:
                return _from_rows(header["rows"], proves) if header["format"] == _OLD_FORMAT else Tree()
            if header["format"] != INDEX_FORMAT or header["byteorder"] != sys.byteorder:
                return Tree()
            numbers: dict[str, array[int]] = {}
            texts: dict[str, list[str]] = {}
            crc = 0
            for (name, kind), size in zip((*_NUMBERS, *((name, "") for name in _TEXTS)), header["sizes"], strict=True):
                data = file.read(size)
                crc = zlib.crc32(data, crc)
                if kind:
                    numbers[name] = array(kind, data)
                else:
                    texts[name] = data.decode("utf-8", "surrogateescape").split("\0")
        if checksums[8:] != b" %08x\n" % crc:
            return Tree()
        with _uncollected():
            return _from_columns(header, numbers, texts, proves)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return Tree()


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector from looking through hundreds of thousands of new tuples again and again: half of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _from_rows(rows: list[list[Any]], proves: bool) -> Tree:
    return Tree((row[0], FoundPath(entry_from_row(row[:-3]), row[-3], row[-2] if proves else RACY, row[-1])) for row in rows)


def _from_columns(header: dict[str, Any], numbers: dict[str, array[int]], texts: dict[str, list[str]], proves: bool) -> Tree:
    tree = Tree()
    tree.manifest = header["manifest"]
    if not (rows := len(numbers["meta"])):
        return tree
    kinds, modes, uids, gids, pairs = zip(*header["metas"], strict=True)
    xattrs = [tuple((name, value) for name, value in of_one) for of_one in pairs]
    ctimes = numbers["ctime"].tolist() if proves else [RACY] * rows
    # one number in memory for both times, as of most files
    mtimes = [ctime if ctime == mtime else mtime for ctime, mtime in zip(ctimes, numbers["mtime"], strict=True)]
    described = [map(of_all.__getitem__, numbers["meta"]) for of_all in (kinds, modes, uids, gids)]
    rest = numbers["size"], texts["ref"], map(xattrs.__getitem__, numbers["meta"])
    # Loops of Python's own, and tuple.__new__ instead of the constructor of a NamedTuple, take half of the time.
    entries = map(tuple.__new__, repeat(TreeEntry), zip(texts["path"], *described, mtimes, *rest, strict=True))
    zeros = [0] * rows  # neither device nor time of change is known
    found = zip(entries, numbers["inode"], ctimes, numbers["links"], zeros, zeros, strict=True)
    tree.update(zip(texts["path"], map(tuple.__new__, repeat(FoundPath), found), strict=True))
    for number, mtime in header["odd"]:
        path = texts["path"][number]
        tree[path] = tree[path]._replace(entry=tree[path].entry._replace(mtime_ns=mtime))
    return tree
