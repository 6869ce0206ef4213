"""Making a tree equal to a manifest in place. Inodes stay where they can, and only blocks that differ are written."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor

from dm_compose.core.tree import BLOCK, CHAR, DIRECTORY, FIFO, FILE, HARDLINK, SYMLINK, UNKNOWN, Manifest, Restored, TreeEntry
from dm_compose.errors import DamagedError, StoreError
from dm_compose.objects.contents import patch
from dm_compose.objects.store import ObjectStore
from dm_compose.objects.system import coarse_clock_ns, wait_for_clock_past, write_xattrs
from dm_compose.storage.beneath import BECAME_ANOTHER, Beneath, in_proc, to_bytes
from dm_compose.storage.plan import TreePlan, plan_tree
from dm_compose.storage.scan import RACY, FoundPath, Tree, proving, scan

RESTORE_THREADS = 4
_FORMATS = {
    DIRECTORY: stat.S_IFDIR,
    FILE: stat.S_IFREG,
    SYMLINK: stat.S_IFLNK,
    FIFO: stat.S_IFIFO,
    CHAR: stat.S_IFCHR,
    BLOCK: stat.S_IFBLK,
}


def restore_tree(
    files: Beneath, known: Tree, target: Manifest, store: ObjectStore, *, without: Collection[str] = ()
) -> tuple[Tree, Restored]:
    """Make a tree equal to `target`. Return its new index, which proves what the files hold, and the extent.

    `known` is the tree's last index. Paths in `without` stay as they are: see storage.scan. Nobody else may write to the tree
    meanwhile. If somebody does, the tree may come out wrong, or StoreError is raised, but nothing outside of it is touched.

    Not atomic: an interrupted restore leaves a mixture. Running it again finishes it, so the caller journals it. Not durable
    until the file system is synced. DamagedError for a missing or damaged object, raised before anything is changed.
    """
    tree = scan(files, known, without=without)
    plan = plan_tree(tree, target, without)
    if not plan:
        return tree, Restored(0, 0)
    try:
        return _carry_out(files, tree, plan, store)
    except OSError as error:
        if error.errno not in BECAME_ANOTHER:
            raise
        raise _replaced(os.fsdecode(error.filename or files.name(""))) from None


def _carry_out(files: Beneath, tree: Tree, plan: TreePlan, store: ObjectStore) -> tuple[Tree, Restored]:
    target = plan.target
    new_files = [e for e in plan.create if e.kind == FILE]
    for entry in (*new_files, *plan.rewrite):  # before anything is changed
        store.check_object(entry.ref, entry.size)
    for path in plan.remove:
        with files.naming(path):
            _remove(files, path, tree[path].entry.kind)
    inodes = {path: found.inode for path, found in tree.items()}
    for entry in plan.create:
        with files.naming(entry.path):
            _remove_socket(*files.at(entry.path))
            if entry.kind not in (FILE, HARDLINK):
                inodes[entry.path] = _make_special(*files.at(entry.path), entry)
    with ThreadPoolExecutor(RESTORE_THREADS, thread_name_prefix="restore") as pool:
        creating = [pool.submit(_create, store, files, e) for e in new_files]
        rewriting = [pool.submit(_rewrite, store, files, e, tree[e.path]) for e in plan.rewrite]
        for entry, made in zip(new_files, creating, strict=True):
            inodes[entry.path] = made.result()
        changed = sum(rewritten.result() for rewritten in rewriting)
    for entry in plan.create:
        if entry.kind == HARDLINK:
            inodes[entry.path] = _link(files, entry, inodes[entry.ref])
    touched = [e for e in target.entries.values() if e.path in plan.metadata]
    for entry in reversed(touched):
        if entry.kind != HARDLINK:
            _apply_metadata(files, entry, inodes[entry.path])
    changed += sum(e.size for e in new_files)
    changed += sum(tree[path].entry.size for path in plan.remove if tree[path].entry.kind == FILE and path not in target.entries)
    return _new_index(files, tree, target, plan.metadata, inodes), Restored(len(plan.remove) + len(touched), changed)


def _replaced(path: str) -> StoreError:
    return StoreError(
        f"{path} was removed or replaced while it was restored",
        hint="Something writes there that dm-compose does not know of. Stop it; the next command finishes the restore.",
    )


def _remove(files: Beneath, path: str, kind: str) -> None:
    directory, name = files.at(path)
    if kind != DIRECTORY:
        os.unlink(name, dir_fd=directory)
        return
    try:
        os.rmdir(name, dir_fd=directory)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:  # EBUSY: another file system is mounted there, and its files are not ours
            raise
        with files.opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd:
            for left in os.listdir(fd):
                _remove_socket(fd, os.fsencode(left))
        os.rmdir(name, dir_fd=directory)


def _remove_socket(directory: int, name: bytes) -> None:
    """Remove a socket, which a scan does not list, from a path that is needed."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=directory)


def _make_special(directory: int, name: bytes, entry: TreeEntry) -> int:
    """Make whatever is no regular file, and return its inode."""
    if entry.kind == DIRECTORY:
        os.mkdir(name, 0o700, dir_fd=directory)
    elif entry.kind == SYMLINK:
        os.symlink(to_bytes(entry.ref), name, dir_fd=directory)
    elif entry.kind == FIFO:
        os.mkfifo(name, 0o600, dir_fd=directory)
    else:
        major, minor = entry.ref.split(":")
        kind = stat.S_IFCHR if entry.kind == CHAR else stat.S_IFBLK
        os.mknod(name, kind | 0o600, os.makedev(int(major), int(minor)), dir_fd=directory)
    return os.stat(name, dir_fd=directory, follow_symlinks=False).st_ino


def _create(store: ObjectStore, files: Beneath, entry: TreeEntry) -> int:
    """Make a file with the contents of its object, and return its inode."""
    with (
        store.open_object(entry.ref) as wanted,
        files.opened(entry.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600) as fd,
    ):
        wanted.copy_to(fd)
        return os.fstat(fd).st_ino


def _rewrite(store: ObjectStore, files: Beneath, entry: TreeEntry, found: FoundPath) -> int:
    """Give an existing file the contents of its object. Return the number of bytes that differed, or the file's size if nobody
    has compared them.
    """
    with store.open_object(entry.ref) as wanted, files.opened(entry.path, os.O_RDWR | os.O_NONBLOCK) as fd:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or (info.st_ino, info.st_nlink) != (found.inode, found.links):
            raise _replaced(files.name(entry.path))
        if wanted.clone_onto(fd):
            return max(info.st_size, entry.size)
        with contextlib.ExitStack() as opened:
            present = None
            if found.entry.ref != UNKNOWN and info.st_ctime_ns == found.ctime_ns:  # it has what its object has
                with contextlib.suppress(DamagedError):
                    present = opened.enter_context(store.open_object(found.entry.ref))
            return patch(fd, wanted, present)


def _link(files: Beneath, entry: TreeEntry, inode: int) -> int:
    first = files.open(entry.ref, os.O_PATH)
    try:
        if os.fstat(first).st_ino != inode:
            raise _replaced(files.name(entry.ref))
        directory, name = files.at(entry.path)
        with files.naming(entry.path):
            os.link(in_proc(first), name, dst_dir_fd=directory, follow_symlinks=True)
    finally:
        os.close(first)
    return inode


def _apply_metadata(files: Beneath, entry: TreeEntry, inode: int) -> None:
    """Set the owner first, because chown clears set-id bits and capabilities. Set extended attributes after the mode, because
    chmod changes ACLs. Times come last.
    """
    with files.handle(entry.path) as fd:
        present, place = os.fstat(fd), in_proc(fd)
        if present.st_ino != inode or stat.S_IFMT(present.st_mode) != _FORMATS[entry.kind]:
            raise _replaced(files.name(entry.path))
        if (present.st_uid, present.st_gid) != (entry.uid, entry.gid):
            os.chown(place, entry.uid, entry.gid)
        if entry.kind != SYMLINK:
            os.chmod(place, entry.mode)
        write_xattrs(place, entry.xattrs)
        os.utime(place, ns=(entry.mtime_ns, entry.mtime_ns))


def _new_index(files: Beneath, tree: Tree, target: Manifest, touched: set[str], inodes: Mapping[str, int]) -> Tree:
    """Return the index of the restored tree. It waits a tick of the file clock, so that any later write changes a time stamp."""
    infos = {path: files.stat(path) for path in target.entries if path in touched}
    if infos:
        wait_for_clock_past(max(info.st_ctime_ns for info in infos.values()))
    clock = coarse_clock_ns()
    index = Tree()
    for path, entry in target.entries.items():
        if (info := infos.get(path)) is None:
            index[path] = tree[path]
        else:
            ctime = proving(info.st_ctime_ns, clock) if info.st_ino == inodes[path] else RACY
            index[path] = FoundPath(entry, info.st_ino, ctime, info.st_nlink)
    return index
