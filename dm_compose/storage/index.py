"""The file of an index: a scanned tree as columns, so that 200,000 paths are read in a fifth of a second."""

from __future__ import annotations

import contextlib
import gc
import json
import sys
import zlib
from array import array
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from dm_compose.core.tree import Xattrs
from dm_compose.objects.system import boot_id, write_file
from dm_compose.storage.columns import Columns
from dm_compose.storage.scan import Tree

INDEX_FORMAT = 2
_NUMBERS = (("inode", "Q"), ("ctime", "q"), ("links", "q"), ("mtime", "q"), ("size", "q"), ("meta", "I"))
_TEXTS = ("path", "ref")
_TEXTS_AT_ONCE = 4096


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
    data = [[array(kind, columns[name]).tobytes()] for name, kind in _NUMBERS]
    data += [_encoded(tree), _encoded(entry.ref for entry in entries)]
    header = {
        "format": INDEX_FORMAT,
        "boot": boot_id(),
        "manifest": tree.manifest,
        "byteorder": sys.byteorder,
        "metas": list(metas),
        "odd": list(odd.items()),
        "sizes": [sum(map(len, column)) for column in data],
    }
    line = json.dumps(header, separators=(",", ":")).encode() + b"\n"
    crc = 0
    parts = list(chain.from_iterable(data))
    for part in parts:
        crc = zlib.crc32(part, crc)
    write_file(path, b"%08x %08x\n" % (zlib.crc32(line), crc), line, *parts, durable=False)


def _encoded(texts: Iterable[str]) -> list[bytes]:
    """Return the texts with a zero between two of them, which neither a path nor the target of a symlink can have, in parts."""
    left = iter(texts)
    parts: list[bytes] = []
    while some := list(islice(left, _TEXTS_AT_ONCE)):
        parts.append(("\0" * bool(parts) + "\0".join(some)).encode("utf-8", "surrogateescape"))
    return parts


def load_index(path: Path) -> Tree:
    """Return the index that `save_index` has saved, as a tree. Empty where `load_columns` has none."""
    with _uncollected():
        columns = load_columns(path)
        return Tree() if columns is None else columns.tree()


def load_columns(path: Path) -> Columns | None:
    """Return the index that `save_index` has saved. None if the file is missing, unreadable, garbled or of another format; then
    all contents will be compared.

    If the kernel has been booted since then, all of it is RACY. fdatasync and O_DIRECT bring contents to the disk, and the time
    stamps follow seconds later. After a power cut in between, a file has new contents and the old time stamps.
    """
    try:
        with path.open("rb") as file:
            checksums, line = file.readline(), file.readline()
            if checksums[:8] != b"%08x" % zlib.crc32(line):
                return None
            header = json.loads(line)
            if header["format"] != INDEX_FORMAT or header["byteorder"] != sys.byteorder:
                return None
            proves = bool(header["boot"]) and header["boot"] == boot_id()
            numbers: dict[str, array[int]] = {}
            texts: dict[str, list[str]] = {}
            crc = 0
            for (name, kind), size in zip((*_NUMBERS, *((name, "") for name in _TEXTS)), header["sizes"], strict=True):
                data = file.read(size)
                crc = zlib.crc32(data, crc)
                if kind:
                    numbers[name] = array(kind, data)
                else:
                    texts[name] = data.decode("utf-8", "surrogateescape").split("\0") if numbers["meta"] else []
        if checksums[8:] != b" %08x\n" % crc:
            return None
        return _columns(header, numbers, texts, proves)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None


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


def _columns(header: dict[str, Any], numbers: dict[str, array[int]], texts: dict[str, list[str]], proves: bool) -> Columns:
    xattrs = (tuple((name, value) for name, value in pairs) for *_, pairs in header["metas"])
    described = [(kind, mode, uid, gid, pairs) for (kind, mode, uid, gid, _), pairs in zip(header["metas"], xattrs, strict=True)]
    found = Columns(
        header["manifest"],
        texts["path"],
        texts["ref"],
        numbers["inode"],
        numbers["ctime"] if proves else array("q", bytes(8 * len(numbers["ctime"]))),
        numbers["links"],
        numbers["mtime"],
        numbers["size"],
        numbers["meta"],
        described,
        dict(header["odd"]),
    )
    rows = {len(column) for column in numbers.values()} | {len(column) for column in texts.values()}
    if len(rows) > 1 or max(found.metas, default=-1) >= len(described):
        raise ValueError("the columns do not fit together")
    return found
