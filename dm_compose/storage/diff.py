"""Comparing two trees: contents, kinds, owners, modes and extended attributes. A difference of time stamps alone is none."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager

from dm_compose.core.tree import DIRECTORY, FILE, Change, TreeDiff, TreeEntry
from dm_compose.objects.contents import Contents, differing_bytes

Opener = Callable[[TreeEntry], AbstractContextManager[Contents]]


def diff_trees(
    old: Mapping[str, TreeEntry],
    new: Mapping[str, TreeEntry],
    open_old: Opener | None = None,
    open_new: Opener | None = None,
    *,
    ignore: Iterable[str] = (),
    budget_bytes: int | None = None,
) -> TreeDiff:
    """Return the changes from `old` to `new`. Only files whose objects are not known to be the same are read.

    `open_old` and `open_new` open a file for reading. A file that would exceed `budget_bytes`, the sum of the
    sizes of all files that are read, is not compared, and neither is any file if one of the openers is missing. Such a file
    counts with its whole size, and the result is not `exact`.

    `ignore` holds shell patterns of paths to leave out. A file that vanishes while it is compared counts as removed.
    """
    ignored = matcher(ignore)
    changes = []
    exact = True
    for path in sorted(old.keys() | new.keys()):
        if ignored(path):
            continue
        before, after = old.get(path), new.get(path)
        change: Change | None
        if before is None or after is None:
            change = _whole(path, before, after)
        elif before.kind == after.kind == FILE and before.ref != after.ref:
            size = max(before.size, after.size)
            if open_old is None or open_new is None or (budget_bytes is not None and size > budget_bytes):
                exact = False
                change = Change(path, "changed", after.size, size)
            else:
                if budget_bytes is not None:
                    budget_bytes -= size
                change = _compare(before, after, open_old, open_new)
        elif _meaning(before) != _meaning(after):
            change = Change(path, "changed" if before.kind != after.kind else "metadata", after.size, 0)
        else:
            continue
        if change is not None:
            changes.append(change)
    return TreeDiff(tuple(changes), exact)


def matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Return a function that says whether a path matches one of the shell patterns. `*` matches slashes too."""
    joined = "|".join(fnmatch.translate(p) for p in patterns)
    if not joined:
        return lambda _: False
    compiled = re.compile(joined)
    return lambda path: compiled.match(path) is not None


def _whole(path: str, before: TreeEntry | None, after: TreeEntry | None) -> Change:
    entry = before or after
    assert entry is not None
    return Change(path, "removed" if after is None else "added", entry.size, entry.size)


def _compare(before: TreeEntry, after: TreeEntry, open_old: Opener, open_new: Opener) -> Change | None:
    with open_old(before) as old:
        try:
            with open_new(after) as new:
                changed = differing_bytes(old, new)
        except FileNotFoundError:
            return Change(after.path, "removed", before.size, before.size)
    if changed:
        return Change(after.path, "changed", after.size, changed)
    return Change(after.path, "metadata", after.size, 0) if _meaning(before) != _meaning(after) else None


def _meaning(entry: TreeEntry) -> tuple[object, ...]:
    """Return the parts of an entry, besides a file's contents, whose change counts. Time stamps are not among them, because
    datastores touch files without changing them.
    """
    ref = "" if entry.kind in (FILE, DIRECTORY) else entry.ref
    return entry.kind, entry.mode, entry.uid, entry.gid, ref, entry.xattrs
