"""The tree of a subdot as data: one TreeEntry per path, a Manifest for a whole tree.

Paths are relative and use '/'. The root directory itself has the path '' and is an entry like any other: a database refuses
to start when its directory has lost its owner or mode. Bytes of a name that are not UTF-8 are kept as surrogate escapes
(PEP 383), so every name survives a round trip.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from dm_compose.errors import DamagedError

DIRECTORY, FILE, SYMLINK, FIFO, HARDLINK, CHAR, BLOCK = "d", "f", "l", "p", "h", "c", "b"
UNKNOWN = ""
MANIFEST_FORMAT = 1
_BEFORE_ENTRIES = b',"entries":'
_HEAD = re.compile(rb'{"format":%d,"crc32":(\d+)' % MANIFEST_FORMAT)
_ROWS_AT_ONCE = 4096

Xattrs = tuple[tuple[str, str], ...]


class TreeEntry(NamedTuple):
    """One path of a tree.

    The meaning of `ref` depends on the kind. A file has the id of its object, or UNKNOWN while nobody has compared the two. A
    symlink has its target, a hard link the first path of the same inode, and a device `major:minor`. Other kinds have ''.

    `mode` holds the permission bits only. `size` is in bytes, and 0 for everything but files. `xattrs` holds pairs of a name and
    a value in hex, sorted; ACLs are among them.
    """

    path: str
    kind: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int = 0
    ref: str = ""
    xattrs: Xattrs = ()


def entry_from_row(row: list[Any]) -> TreeEntry:
    """Build an TreeEntry from its JSON array."""
    *head, xattrs = row
    return TreeEntry._make([*head, tuple((name, value) for name, value in xattrs)])


def entry_to_row(entry: TreeEntry) -> list[Any]:
    """Return the JSON array of an TreeEntry: its fields in order, `xattrs` as a list of pairs."""
    return [*entry[:-1], [list(pair) for pair in entry.xattrs]]


class Readable(Protocol):
    """Anything that is read from its beginning to its end."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Manifest:
    """A whole tree: its entries by path, in walk order. The root comes first, and a directory before its contents."""

    entries: dict[str, TreeEntry]

    @classmethod
    def of(cls, entries: Iterable[TreeEntry]) -> Manifest:
        """Build a manifest from entries in walk order."""
        return cls({entry.path: entry for entry in entries})

    @property
    def files(self) -> int:
        """Number of regular files. Several names of one inode count once."""
        return sum(1 for e in self.entries.values() if e.kind == FILE)

    @property
    def size_bytes(self) -> int:
        """Sum of the files' sizes in bytes, holes included. Each inode counts once."""
        return sum(e.size for e in self.entries.values() if e.kind == FILE)

    def objects(self) -> set[str]:
        """Return the ids of the objects that this tree needs."""
        return {e.ref for e in self.entries.values() if e.kind == FILE}

    def encode(self) -> bytes:
        """Return the manifest as text: a JSON object with `format`, `crc32` and `entries` (an array of arrays).

        The checksum is that of the text of the entries.
        """
        text = b"".join(encoded_entries(self.entries.values()))
        return b"".join((encoded_head(zlib.crc32(text)), text, b"}"))

    @staticmethod
    def is_whole(file: Readable) -> bool:
        """Return whether an open file is a manifest as `encode` has written it, by its checksum. Quicker than `decode`.

        False for a manifest without a checksum.
        """
        begin = file.read(1 << 16)
        head, _, _ = begin[:100].partition(_BEFORE_ENTRIES)
        if (found := _HEAD.fullmatch(head)) is None:
            return False
        part = begin[len(head) + len(_BEFORE_ENTRIES) :]
        crc = 0
        while following := file.read(1 << 20):
            crc = zlib.crc32(part, crc)
            part = following
        return int(found[1]) == zlib.crc32(part[:-1], crc)

    @classmethod
    def decode(cls, data: bytes, *, name: str) -> Manifest:
        """Return the manifest that `encode` has written. A manifest without `crc32` is read too.

        DamagedError, which names the manifest, for anything else.
        """
        with _decoding(name):
            manifest = cls.of(entry_from_row(row) for row in _rows(data))
        if "" not in manifest.entries:
            raise DamagedError(f"manifest {name} has no root directory")
        return manifest

    @staticmethod
    def named(data: bytes, *, name: str) -> set[str]:
        """Return what `objects` of an encoded manifest returns. Five times as quick. DamagedError as for `decode`."""
        with _decoding(name):
            rows = _rows(data)
            if any(len(row) != len(TreeEntry._fields) for row in rows):
                raise ValueError("an entry has other fields")
            if not any(row[0] == "" for row in rows):
                raise ValueError("it has no root directory")
            return {row[7] for row in rows if row[1] == FILE}


def encoded_entries(entries: Iterable[TreeEntry]) -> Iterator[bytes]:
    """Yield the text of a manifest's entries, which are in walk order, in parts: `encode` without its head and its last byte."""
    left = iter(entries)
    begin = b"["
    while rows := [entry_to_row(entry) for entry in itertools.islice(left, _ROWS_AT_ONCE)]:
        yield begin + json.dumps(rows, separators=(",", ":"))[1:-1].encode()
        begin = b","
    yield b"]" if begin == b"," else b"[]"


def encoded_head(crc: int) -> bytes:
    """Return the text of a manifest up to its entries, whose text has that CRC-32."""
    return b'{"format":%d,"crc32":%d%s' % (MANIFEST_FORMAT, crc, _BEFORE_ENTRIES)


def _rows(data: bytes) -> list[list[Any]]:
    document = json.loads(data)
    if document["format"] != MANIFEST_FORMAT:
        raise ValueError(f"format {document['format']}")
    if document.get("crc32") not in (None, zlib.crc32(data.partition(_BEFORE_ENTRIES)[2][:-1])):
        raise ValueError("it has changed since it was written")
    return list(document["entries"])


@contextlib.contextmanager
def _decoding(name: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"manifest {name} cannot be read: {error}") from None


@dataclass(frozen=True)
class Change:
    """One path that differs between two trees.

    `how` is added, removed, changed or metadata. `size_bytes` is the file's size, and `changed_bytes` counts the bytes that
    differ; all bytes of a file that was added or removed do.
    """

    path: str
    how: str
    size_bytes: int
    changed_bytes: int


@dataclass(frozen=True)
class TreeDiff:
    """All changes of one tree, sorted by path. It is not `exact` if a file that was not compared counts with its whole size."""

    changes: tuple[Change, ...] = ()
    exact: bool = True

    @property
    def changed_bytes(self) -> int:
        return sum(c.changed_bytes for c in self.changes)

    def __bool__(self) -> bool:
        return bool(self.changes)


@dataclass(frozen=True)
class Restored:
    """The extent of a restore of one subdot: the number of paths it changed, and the bytes that were not as committed.

    Where the file system can share blocks (reflink), nobody reads a changed file, so it counts with its whole size.
    """

    paths: int
    changed_bytes: int
