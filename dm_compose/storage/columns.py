"""An index as columns. It takes a third of the memory of a Tree, and is compared with the files as it is.

Most looks at a tree only ask what has changed, and nearly nothing has. No object is made for a file that is as it was.
"""

from __future__ import annotations

import operator
import os
import stat
from array import array
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from itertools import compress, repeat

from dm_compose.core.tree import FILE, TreeEntry, Xattrs
from dm_compose.objects.system import coarse_clock_ns
from dm_compose.storage.beneath import BECAME_ANOTHER, Beneath
from dm_compose.storage.scan import FoundPath, Tree, found_path
from dm_compose.storage.walk import walk

Entries = dict[str, TreeEntry]
Found = tuple[str, os.stat_result]

_STAMP = operator.attrgetter("st_ino", "st_ctime_ns", "st_nlink", "st_mtime_ns", "st_size", "st_mode")
_NO_MODE = -1


@dataclass(frozen=True)
class Columns:
    """The paths of a tree in walk order, a row each. For the fields see FoundPath and TreeEntry.

    `metas` counts in `described`, which has all different (kind, mode, uid, gid, xattrs). `odd` has the times of change of rows
    whose time is too long ago, or too far ahead, for a signed number of 64 bits; the column has 0 for these.
    """

    manifest: str
    paths: list[str]
    refs: list[str]
    inodes: array[int]
    ctimes: array[int]
    links: array[int]
    mtimes: array[int]
    sizes: array[int]
    metas: array[int]
    described: list[tuple[str, int, int, int, Xattrs]]
    odd: dict[int, int] = field(default_factory=dict)

    def found(self, row: int) -> FoundPath:
        """Return one row."""
        kind, mode, uid, gid, xattrs = self.described[self.metas[row]]
        mtime = self.odd.get(row, self.mtimes[row])
        entry = TreeEntry(self.paths[row], kind, mode, uid, gid, mtime, self.sizes[row], self.refs[row], xattrs)
        return FoundPath(entry, self.inodes[row], self.ctimes[row], self.links[row])

    def tree(self) -> Tree:
        """Return all rows as a tree."""
        tree = Tree()
        tree.manifest = self.manifest
        if not (rows := len(self.paths)):
            return tree
        kinds, modes, uids, gids, xattrs = zip(*self.described, strict=True)
        ctimes = self.ctimes.tolist()
        # one number in memory for both times, as of most files
        mtimes = [ctime if ctime == mtime else mtime for ctime, mtime in zip(ctimes, self.mtimes, strict=True)]
        described = [map(of_all.__getitem__, self.metas) for of_all in (kinds, modes, uids, gids)]
        rest = self.sizes, self.refs, map(xattrs.__getitem__, self.metas)
        # Loops of Python's own, and tuple.__new__ instead of the constructor of a NamedTuple, take half of the time.
        entries = map(tuple.__new__, repeat(TreeEntry), zip(self.paths, *described, mtimes, *rest, strict=True))
        zeros = [0] * rows  # neither device nor time of change is known
        found = zip(entries, self.inodes, ctimes, self.links, zeros, zeros, strict=True)
        tree.update(zip(self.paths, map(tuple.__new__, repeat(FoundPath), found), strict=True))
        for row in self.odd:
            tree[self.paths[row]] = self.found(row)
        return tree

    def changes(self, files: Beneath, without: Container[str]) -> tuple[Entries, Entries] | None:
        """Return the entries here, and those of the directory now, of all paths in which the two differ.

        They are those in which a scan would differ. None if a file with several names is there: only a scan can tell about these.
        """
        return _Look(self, files, without).changes()


class _Look:
    """One look at a directory, beside the columns of an earlier one.

    A scan finds the paths in a directory one after the other, and so they are in neighbouring rows. A directory with the same
    names is compared as a whole. `_at` is the row where the next directory begins, if nothing has come or gone.
    """

    def __init__(self, columns: Columns, files: Beneath, without: Container[str]) -> None:
        self._columns, self._files, self._without = columns, files, without
        self._clock = coarse_clock_ns()
        self._at = 0
        self._seen = bytearray(len(columns.paths))
        self._row_of: dict[str, int] = {}
        self._before: Entries = {}
        self._now: Entries = {}
        modes = [stat.S_IFREG | mode if kind == FILE else _NO_MODE for kind, mode, *_ in columns.described]
        self._modes = [modes[meta] if links == 1 else _NO_MODE for meta, links in zip(columns.metas, columns.links, strict=True)]

    def changes(self) -> tuple[Entries, Entries] | None:
        top = os.fstat(self._files.fd)
        for row in self._rows([""]):
            self._compare(row, "", self._files.fd, ".", top)
        for prefix, fd, items, enter in walk(self._files):
            found = list(self._found(prefix, items))
            for number, row in self._suspects(prefix, found):
                name, info = found[number]
                if stat.S_ISREG(info.st_mode) and info.st_nlink > 1:
                    return None
                if self._compare(row, prefix + name, fd, name, info) and stat.S_ISDIR(info.st_mode) and info.st_dev == top.st_dev:
                    enter.append(name)
        gone = self._seen.find(0)
        while gone >= 0:
            entry = self._columns.found(gone).entry
            self._before[entry.path] = entry
            gone = self._seen.find(0, gone + 1)
        return self._before, self._now

    def _found(self, prefix: str, items: list[tuple[str, os.DirEntry[str]]]) -> Iterator[Found]:
        for name, item in items:
            if prefix + name in self._without:
                continue
            try:
                yield name, item.stat(follow_symlinks=False)
            except OSError as error:
                if error.errno not in BECAME_ANOTHER:
                    error.filename = self._files.name(prefix + name)
                    raise

    def _suspects(self, prefix: str, found: list[Found]) -> Iterator[tuple[int, int | None]]:
        """Yield number and row of each path that is not a file as it was. All others are seen then."""
        begin = self._at
        rows = self._rows([prefix + name for name, _ in found])
        if not isinstance(rows, range):
            yield from enumerate(rows)
            return
        here, end = self._columns, begin + len(found)
        stamps = (column[begin:end] for column in (here.inodes, here.ctimes, here.links, here.mtimes, here.sizes, self._modes))
        differ = map(operator.ne, zip(*stamps, strict=True), (_STAMP(info) for _, info in found))  # a loop of Python's own
        for number in compress(range(len(found)), differ):
            yield number, rows[number]

    def _rows(self, paths: list[str]) -> range | list[int | None]:
        """Return the row of each path. As a range if they are the next rows, and then all of them are seen."""
        begin, end = self._at, self._at + len(paths)
        if self._columns.paths[begin:end] == paths:
            self._seen[begin:end] = b"\1" * len(paths)
            self._at = end
            return range(begin, end)
        if not self._row_of:
            self._row_of = {path: row for row, path in enumerate(self._columns.paths)}
        rows = [self._row_of.get(path) for path in paths]
        self._at = max((row + 1 for row in rows if row is not None), default=begin)
        return rows

    def _compare(self, row: int | None, path: str, directory: int, name: str, info: os.stat_result) -> bool:
        """Note whether a path differs. Return False if nothing that counts is there."""
        old = self._columns.found(row) if row is not None else None
        try:
            if is_there := not stat.S_ISSOCK(info.st_mode):
                known = {path: old} if old is not None else {}
                now = found_path(path, directory, name, info, known, self._clock, {}).entry
        except OSError as error:
            if error.errno not in BECAME_ANOTHER:
                error.filename = self._files.name(path)
                raise
            is_there = False
        if row is not None:
            self._seen[row] = is_there
        if is_there and (old is None or old.entry != now):
            self._now[path] = now
            if old is not None:
                self._before[path] = old.entry
        return is_there
