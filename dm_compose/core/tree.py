"""The tree of a subdot as data: one Entry per path, a Manifest for a whole tree.

Paths are relative, use '/', and are '' for the root directory itself, which is an entry like any other: losing its
owner and mode is how restored databases come to refuse to start. Bytes of a name that are not UTF-8 are kept
as surrogate escapes (PEP 383), so every name round-trips.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from dm_compose.errors import DamagedError

DIRECTORY, FILE, SYMLINK, FIFO, HARDLINK, CHAR, BLOCK = "d", "f", "l", "p", "h", "c", "b"
UNKNOWN = ""
MANIFEST_FORMAT = 1
_BEFORE_ENTRIES = b',"entries":'

Xattrs = tuple[tuple[str, str], ...]


class Entry(NamedTuple):
    """One path of a tree.

    `ref` is the object's id for a file (UNKNOWN when nobody has compared it yet), the target of a symlink, the first
    path of the same inode for a hard link, `major:minor` for a device, and '' otherwise. `mode` has the permission bits only.
    `size` is in bytes and 0 for everything but files. `xattrs` holds (name, value in hex), sorted; ACLs are among them.
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


def entry_from_row(row: list[Any]) -> Entry:
    """Build an Entry from its JSON array."""
    *head, xattrs = row
    return Entry._make([*head, tuple((name, value) for name, value in xattrs)])


def entry_to_row(entry: Entry) -> list[Any]:
    """Return the JSON array of an Entry: its fields in order, `xattrs` as a list of pairs."""
    return [*entry[:-1], [list(pair) for pair in entry.xattrs]]


@dataclass(frozen=True)
class Manifest:
    """A whole tree: entries in walk order (a directory before what it holds), the root first."""

    entries: dict[str, Entry]

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Manifest:
        return cls({entry.path: entry for entry in entries})

    @property
    def files(self) -> int:
        """Number of regular files; names of one inode count once."""
        return sum(1 for e in self.entries.values() if e.kind == FILE)

    @property
    def size_bytes(self) -> int:
        """Sum of the files' sizes, each inode once, holes included."""
        return sum(e.size for e in self.entries.values() if e.kind == FILE)

    def objects(self) -> set[str]:
        """Ids of the objects this tree needs."""
        return {e.ref for e in self.entries.values() if e.kind == FILE}

    def encode(self) -> bytes:
        """Return the file format: one JSON object, `format`, `crc32` of the text of the entries, `entries` (an array of
        arrays).
        """
        rows = json.dumps([entry_to_row(e) for e in self.entries.values()], separators=(",", ":")).encode()
        return b'{"format":%d,"crc32":%d%s%s}' % (MANIFEST_FORMAT, zlib.crc32(rows), _BEFORE_ENTRIES, rows)

    @classmethod
    def decode(cls, data: bytes, *, name: str) -> Manifest:
        """Read what `encode` wrote; DamagedError names the manifest when it is anything else. A missing `crc32` is not missed."""
        try:
            document = json.loads(data)
            if document["format"] != MANIFEST_FORMAT:
                raise ValueError(f"format {document['format']}")
            if document.get("crc32") not in (None, zlib.crc32(data.partition(_BEFORE_ENTRIES)[2][:-1])):
                raise ValueError("it does not hold what was written")
            manifest = cls.of(entry_from_row(row) for row in document["entries"])
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedError(f"manifest {name} cannot be read: {error}") from None
        if "" not in manifest.entries:
            raise DamagedError(f"manifest {name} has no root directory")
        return manifest


@dataclass(frozen=True)
class Change:
    """How one path differs between two trees. `bytes` is the content that differs (for an added or removed file: its size)."""

    path: str
    how: str
    size_bytes: int
    changed_bytes: int


@dataclass(frozen=True)
class TreeDiff:
    """All changes of one tree, sorted by path. `exact` is false where sizes stand for contents that were not compared."""

    changes: tuple[Change, ...] = ()
    exact: bool = True

    @property
    def changed_bytes(self) -> int:
        return sum(c.changed_bytes for c in self.changes)

    def __bool__(self) -> bool:
        return bool(self.changes)


@dataclass(frozen=True)
class Restored:
    """What a restore of one subdot changed: a number of paths, and the bytes of contents that were not as committed.

    Where the file system can share blocks (reflink), nobody reads a changed file, so it counts with its whole size.
    """

    paths: int
    changed_bytes: int
