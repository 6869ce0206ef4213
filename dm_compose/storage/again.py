"""Looking again at a tree of which it is known what may have changed. The cost follows the changes, not the size of the tree."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Container, Iterable

from dm_compose.core.tree import DIRECTORY, FILE, HARDLINK, UNKNOWN
from dm_compose.storage.beneath import BECAME_ANOTHER, Beneath, to_bytes, to_text
from dm_compose.storage.scan import RACY, FoundPath, Tree, found_path


class Places:
    """Where to look in a scanned tree: the path of each inode, the paths in each directory, and the paths never proven.

    It is made while writers run, because that takes a while for a large tree.
    """

    def __init__(self, tree: Tree) -> None:
        self.by_inode: dict[int, str] = {}
        self.below: defaultdict[str, list[str]] = defaultdict(list)
        for path, found in tree.items():
            self.by_inode.setdefault(found.inode, path)
            if path:
                self.below[path.rpartition("/")[0]].append(path)
        self.unproven = unproven(tree)


def unproven(tree: Tree) -> set[str]:
    """Return the paths of a tree that have to be looked at again in any case."""
    unknown = {path for path, found in tree.items() if found.ctime_ns == RACY or _lacks_object(found)}
    return unknown.union(tree.mounts)


def _lacks_object(found: FoundPath) -> bool:
    return found.entry.kind == FILE and found.entry.ref == UNKNOWN


def look_again(
    files: Beneath, tree: Tree, places: Places, inodes: Iterable[int], *, without: Container[str], quiet_since_ns: int
) -> set[str] | None:
    """Bring a scanned tree up to date: look at the inodes that may have changed, and at what was never proven.

    Return the paths that were looked at. None if that is not enough, because a file with several names is among them. The tree
    has to be scanned then, and is good as what is known for the scan.

    Nobody may write meanwhile. For all else see storage.scan.scan, of which this gives the result. Only the order of the paths
    may be another one: see `in_walk_order`.
    """
    device = os.fstat(files.fd).st_dev
    queue = [*places.unproven, *(places.by_inode[inode] for inode in inodes if inode in places.by_inode)]
    seen: set[str] = set()
    while queue:
        path = queue.pop()
        if path in seen or path in without:
            continue
        seen.add(path)
        old = tree.get(path)
        try:
            directory, name = files.at(path)
            info = os.stat(name, dir_fd=directory, follow_symlinks=False)
            several = stat.S_ISREG(info.st_mode) and info.st_nlink > 1
            if several or (old is not None and (old.entry.kind == HARDLINK or (old.entry.kind == FILE and old.links > 1))):
                return None
            if stat.S_ISSOCK(info.st_mode):
                raise FileNotFoundError
            new = tree[path] = found_path(path, directory, to_text(name), info, tree, quiet_since_ns, {})
            if stat.S_ISDIR(info.st_mode):
                if info.st_dev == device and (new is not old or new.ctime_ns == RACY):
                    queue += _changed_in(files, tree, places, path)
                elif info.st_dev != device:
                    _forget_below(tree, places, path)
                    tree.mounts = (*tree.mounts, path)
            elif old is not None and old.entry.kind == DIRECTORY:
                _forget_below(tree, places, path)
        except OSError as error:
            if isinstance(error, FileNotFoundError) or error.errno in BECAME_ANOTHER:
                _forget_below(tree, places, path)
                tree.pop(path, None)
            else:
                error.filename = files.name(path)
                raise
    return seen


def _changed_in(files: Beneath, tree: Tree, places: Places, path: str) -> list[str]:
    """Return the paths in a directory that are new there, or another inode. Forget those that are not there any more."""
    prefix = f"{path}/" if path else ""
    with files.opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd, os.scandir(fd) as listing:
        now = {prefix + to_text(os.fsencode(item.name)): item.inode() for item in listing}
    for known in places.below[path]:
        if known not in now and known in tree:
            _forget_below(tree, places, known)
            del tree[known]
    changed = [name for name, inode in now.items() if name not in tree or tree[name].inode != inode]
    places.below[path] = list(now)
    return changed


def _forget_below(tree: Tree, places: Places, path: str) -> None:
    left = [path]
    while left:
        below = places.below.pop(left.pop(), ())
        for path in below:
            tree.pop(path, None)
        left += below


def in_walk_order(tree: Tree) -> Tree:
    """Return a tree with its paths in the order of a scan."""
    below: defaultdict[str, list[str]] = defaultdict(list)
    for path in tree:
        if path:
            below[path.rpartition("/")[0]].append(path)
    ordered = Tree({"": tree[""]})
    ordered.manifest, ordered.mounts = tree.manifest, tree.mounts
    directories = [""]
    while directories:
        names = sorted(below[directories.pop()], key=to_bytes)
        ordered.update((path, tree[path]) for path in names)
        directories += [path for path in reversed(names) if path in below]
    return ordered
