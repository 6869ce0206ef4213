"""Refusing trees from a remote that must not be written to a disk. A writer of the remote may be an enemy of its readers."""

from __future__ import annotations

from collections.abc import Mapping

from dm_compose.core.names import ROOT_SUBDOT, SubdotName
from dm_compose.core.tree import DIRECTORY, FIFO, FILE, HARDLINK, SYMLINK, Manifest, TreeEntry
from dm_compose.errors import DamagedError, UntrustedError
from dm_compose.transfer.codec import decompress_document
from dm_compose.transfer.tables import MAX_OBJECT_BYTES, OBJECT_ID

MAX_TREE_BYTES = 128 << 20
MAX_PATH_BYTES, MAX_NAME_BYTES = 4095, 255  # Linux
MAX_ID = (1 << 32) - 2
MAX_XATTR_BYTES = 64 << 10
_NAMESPACES = ("user.", "trusted.", "security.", "system.posix_acl_")
_KINDS = {DIRECTORY, FILE, SYMLINK, FIFO, HARDLINK}


def read_tree(blob: bytes, *, what: str) -> tuple[bytes, Manifest]:
    """Return the tree in a blob twice: the bytes to store, and decoded. UntrustedError if it may not be written to a disk."""
    data = decompress_document(blob, MAX_TREE_BYTES, what=what)
    try:
        manifest = Manifest.decode(data, name=what)
    except (DamagedError, RecursionError) as error:
        raise UntrustedError(str(error)) from None
    seen: dict[str, TreeEntry] = {}
    for path, entry in manifest.entries.items():
        _check(entry, path, seen, what)
        seen[path] = entry
    return data, manifest


def _check(entry: TreeEntry, path: object, before: Mapping[str, TreeEntry], what: str) -> None:
    """Raise UntrustedError for an entry that could lead out of its tree, or that no file system could hold."""
    problem = _path_problem(path, entry, before) or _field_problem(entry) or _kind_problem(entry, before)
    if problem is not None:
        raise UntrustedError(f"{what} is refused: {str(path)[:200]!r} {problem}")


def _path_problem(path: object, entry: TreeEntry, before: Mapping[str, TreeEntry]) -> str | None:
    if not isinstance(path, str) or "\0" in path:
        return "is not a path"
    if not path:
        return None if entry.kind == DIRECTORY else "is not a directory"
    try:
        name = path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return "is not a path"
    parts = name.split(b"/")
    if len(name) > MAX_PATH_BYTES or any(len(part) > MAX_NAME_BYTES for part in parts):
        return "is too long"
    if any(part in (b"", b".", b"..") for part in parts):
        return "leads out of its directory"
    parent = before.get(path.rpartition("/")[0])
    if parent is None or parent.kind != DIRECTORY:  # nothing is written through a symlink
        return "is not in a directory"
    return None


def _field_problem(entry: TreeEntry) -> str | None:
    numbers = (entry.mode, 0o7777), (entry.uid, MAX_ID), (entry.gid, MAX_ID), (entry.size, MAX_OBJECT_BYTES)
    if any(type(value) is not int or not 0 <= value <= limit for value, limit in numbers):
        return "has an absurd mode, owner or size"
    if type(entry.mtime_ns) is not int or abs(entry.mtime_ns) >= 1 << 63:
        return "has an absurd time stamp"
    if not isinstance(entry.ref, str):
        return "has no valid reference"
    for name, value in entry.xattrs:
        if not isinstance(name, str) or not name.startswith(_NAMESPACES) or len(name) > 255 or "\0" in name:
            return "has an extended attribute that nobody may set"
        try:
            if len(bytes.fromhex(value)) > MAX_XATTR_BYTES:
                return "has an absurd extended attribute"
        except (ValueError, TypeError):
            return "has an unreadable extended attribute"
    return None


def _kind_problem(entry: TreeEntry, before: Mapping[str, TreeEntry]) -> str | None:
    if entry.kind not in _KINDS:
        return "is a device or of an unknown kind"
    if entry.kind != FILE and entry.size:
        return "has a size without being a file"
    if entry.kind == FILE and not OBJECT_ID.fullmatch(entry.ref):
        return "has an invalid object id"
    if entry.kind == HARDLINK:
        first = before.get(entry.ref)
        if first is None or first.kind != FILE:
            return "is a second name of something that is not a file"
    if entry.kind == SYMLINK and (not 0 < len(entry.ref.encode("utf-8", "replace")) <= MAX_PATH_BYTES or "\0" in entry.ref):
        return "is a symlink to nowhere"
    return None


def check_together(trees: Mapping[SubdotName, Manifest], *, what: str) -> None:
    """Raise UntrustedError when `__root__`, the subdot of the whole dot, has a file in the place of another subdot."""
    root = trees.get(ROOT_SUBDOT)
    if root is not None and (clash := sorted(trees.keys() & root.entries.keys())):
        raise UntrustedError(f"{what} is refused: {clash[0]!r} is a subdot and a file of {ROOT_SUBDOT}")
