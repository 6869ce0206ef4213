"""Making a tree equal to a manifest in place. Inodes stay where they can, and only blocks that differ are written."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import defaultdict
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from dm_compose.core.tree import BLOCK, CHAR, DIRECTORY, FIFO, FILE, HARDLINK, SYMLINK, Manifest, Restored, TreeEntry
from dm_compose.storage.contents import copy_file, patch, reflink_onto
from dm_compose.storage.objects import ObjectStore
from dm_compose.storage.scan import FoundPath, Tree, join, proving, scan
from dm_compose.storage.system import coarse_clock_ns, wait_for_clock_past, write_xattrs

RESTORE_THREADS = 4


@dataclass
class TreePlan:
    """The steps that make a tree equal to `target`: remove paths, create paths, rewrite files, set metadata.

    In `remove` the paths in a directory come before the directory.
    """

    target: Manifest
    remove: list[str] = field(default_factory=list)
    create: list[TreeEntry] = field(default_factory=list)
    rewrite: list[TreeEntry] = field(default_factory=list)
    metadata: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.remove or self.create or self.rewrite or self.metadata)


def plan_tree(tree: Tree, target: Manifest, without: Collection[str] = ()) -> TreePlan:
    """Compare a scanned tree with a manifest. Pure. A file whose contents are not known is rewritten.

    Paths in `without`, and directories above them, stay even if the manifest has something else there.
    """
    above = {parent for path in without for parent in _parents(path)}
    if without:
        target = _around(target, without, above)
    plan = TreePlan(target)
    kept = _kept_paths(tree, target)
    plan.remove = [path for path in reversed(tree) if path not in kept and path not in above]
    for path, wanted in target.entries.items():
        if path not in kept:
            plan.create.append(wanted)
        else:
            present = tree[path].entry
            if wanted.kind == FILE and present.ref != wanted.ref:
                plan.rewrite.append(wanted)
            elif present != wanted:
                plan.metadata.add(path)
    touched = [*plan.remove, *(e.path for e in plan.create), *(e.path for e in plan.rewrite)]
    plan.metadata.update(e.path for e in plan.create + plan.rewrite)
    plan.metadata.update(parent for path in touched if (parent := _parent(path)) in target.entries)
    return plan


def _kept_paths(tree: Tree, target: Manifest) -> set[str]:
    """Return the paths whose inode can stay: those of the same kind whose hard links have the same names on both sides."""
    live_names = _names_by_first({path: found.entry for path, found in tree.items()})
    wanted_names = _names_by_first(target.entries)
    kept: set[str] = set()
    for path, found in tree.items():
        wanted = target.entries.get(path)
        present = found.entry
        if wanted is None or wanted.kind != present.kind:
            continue
        if present.kind in (SYMLINK, CHAR, BLOCK) and present.ref != wanted.ref:
            continue
        if (
            present.kind == FILE
            and (found.links != 1 or path in live_names or path in wanted_names)
            and (live_names.get(path) != wanted_names.get(path) or found.links != 1 + len(live_names.get(path, ())))
        ):
            continue
        if present.kind == HARDLINK and (present.ref != wanted.ref or present.ref not in kept):
            continue
        kept.add(path)
    return kept


def _names_by_first(entries: dict[str, TreeEntry]) -> dict[str, set[str]]:
    names: dict[str, set[str]] = defaultdict(set)
    for entry in entries.values():
        if entry.kind == HARDLINK:
            names[entry.ref].add(entry.path)
    return dict(names)


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _parents(path: str) -> Iterator[str]:
    while path := _parent(path):
        yield path


def _around(target: Manifest, without: Collection[str], above: Collection[str]) -> Manifest:
    """Return a manifest that fits around the paths in `without`.

    Entries at these paths are left out, and so are entries at the paths `above` them that are no directories, together with
    everything below. A file whose first name is left out goes on under its next one.
    """
    dropped: dict[str, TreeEntry] = {}
    for path, entry in target.entries.items():
        if path in without or (path in above and entry.kind != DIRECTORY) or (dropped and _parent(path) in dropped):
            dropped[path] = entry
    if not dropped:
        return target
    kept = []
    first_names: dict[str, str] = {}  # new first names of files whose first name is left out
    for path, entry in target.entries.items():
        if path in dropped:
            continue
        if entry.kind == HARDLINK and entry.ref in dropped:
            first = first_names.setdefault(entry.ref, path)
            entry = dropped[entry.ref]._replace(path=path) if first == path else entry._replace(ref=first)
        kept.append(entry)
    return Manifest.of(kept)


def restore_tree(
    root: str, known: Tree, target: Manifest, store: ObjectStore, *, without: Collection[str] = ()
) -> tuple[Tree, Restored]:
    """Make the tree below `root` equal to `target`. Return its new index, which proves what the files hold, and the extent.

    `known` is the tree's last index. Paths in `without` stay as they are: see storage.scan. Nobody else may write to the tree
    meanwhile.

    Not atomic: an interrupted restore leaves a mixture. Running it again finishes it, so the caller journals it. Not durable
    until the file system is synced. DamagedError for a missing or damaged object, raised before anything is changed.
    """
    root = os.path.realpath(root)
    tree = scan(root, known, without=without)
    plan = plan_tree(tree, target, without)
    target = plan.target
    if not plan:
        return tree, Restored(0, 0)
    new_files = [e for e in plan.create if e.kind == FILE]
    for entry in (*new_files, *plan.rewrite):  # before anything is changed
        store.check_object(entry.ref, entry.size)
    for path in plan.remove:
        _remove(join(root, path), tree[path].entry.kind)
    for entry in plan.create:
        _remove_socket(join(root, entry.path))
        if entry.kind not in (FILE, HARDLINK):
            _make_special(root, entry)
    with ThreadPoolExecutor(RESTORE_THREADS, thread_name_prefix="restore") as pool:
        creating = [pool.submit(copy_file, store.path(e.ref), join(root, e.path)) for e in new_files]
        rewriting = [pool.submit(_rewrite, store, root, e) for e in plan.rewrite]
        for made in creating:
            made.result()
        changed = sum(rewritten.result() for rewritten in rewriting)
    for entry in plan.create:
        if entry.kind == HARDLINK:
            os.link(join(root, entry.ref), join(root, entry.path), follow_symlinks=False)
    touched = [e for e in target.entries.values() if e.path in plan.metadata]
    for entry in reversed(touched):
        if entry.kind != HARDLINK:
            _apply_metadata(join(root, entry.path), entry)
    changed += sum(e.size for e in new_files)
    changed += sum(tree[path].entry.size for path in plan.remove if tree[path].entry.kind == FILE and path not in target.entries)
    return _new_index(root, tree, target, plan.metadata), Restored(len(plan.remove) + len(touched), changed)


def _remove(path: bytes, kind: str) -> None:
    if kind == DIRECTORY:
        try:
            os.rmdir(path)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:  # EBUSY: another file system is mounted there, and its files are not ours
                raise
            for name in os.listdir(path):
                _remove_socket(os.path.join(path, name))
            os.rmdir(path)
    else:
        os.unlink(path)


def _remove_socket(path: bytes) -> None:
    """Remove a socket, which a scan does not list, from a path that is needed."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)


def _make_special(root: str, entry: TreeEntry) -> None:
    path = join(root, entry.path)
    if entry.kind == DIRECTORY:
        os.mkdir(path, 0o700)
    elif entry.kind == SYMLINK:
        os.symlink(entry.ref.encode("utf-8", "surrogateescape"), path)
    elif entry.kind == FIFO:
        os.mkfifo(path, 0o600)
    else:
        major, minor = entry.ref.split(":")
        kind = stat.S_IFCHR if entry.kind == CHAR else stat.S_IFBLK
        os.mknod(path, kind | 0o600, os.makedev(int(major), int(minor)))


def _rewrite(store: ObjectStore, root: str, entry: TreeEntry) -> int:
    """Give an existing file the contents of its object. Return the number of bytes that differed, or the file's size if nobody
    has compared them.
    """
    object_fd = store.open_object(entry.ref)
    try:
        fd = os.open(join(root, entry.path), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            old_size = os.fstat(fd).st_size
            if reflink_onto(fd, object_fd):
                return max(old_size, entry.size)
            return patch(fd, object_fd)
        finally:
            os.close(fd)
    finally:
        os.close(object_fd)


def _apply_metadata(path: bytes, entry: TreeEntry) -> None:
    """Set the owner first, because chown clears set-id bits and capabilities. Set extended attributes after the mode, because
    chmod changes ACLs. Times come last.
    """
    present = os.lstat(path)
    if (present.st_uid, present.st_gid) != (entry.uid, entry.gid):
        os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
    if entry.kind != SYMLINK:
        os.chmod(path, entry.mode)
    write_xattrs(path, entry.xattrs)
    os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)


def _new_index(root: str, tree: Tree, target: Manifest, touched: set[str]) -> Tree:
    """Return the index of the restored tree. It waits a tick of the file clock, so that any later write changes a time stamp."""
    infos = {path: os.lstat(join(root, path)) for path in touched}
    if infos:
        wait_for_clock_past(max(info.st_ctime_ns for info in infos.values()))
    clock = coarse_clock_ns()
    index: Tree = {}
    for path, entry in target.entries.items():
        if (info := infos.get(path)) is None:
            index[path] = tree[path]
        else:
            index[path] = FoundPath(entry, info.st_ino, proving(info.st_ctime_ns, clock), info.st_nlink)
    return index
