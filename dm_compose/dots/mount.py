"""Show a dot at a path of this machine: as a symlink to its live files, or as a read-only copy of a commit."""

from __future__ import annotations

import contextlib
import os
import stat
import uuid
from collections.abc import Iterable
from pathlib import Path

from dm_compose.core.names import DEFAULT_SUBDOT, ROOT_SUBDOT, CommitId, SubdotName
from dm_compose.core.volumes import VolumeName
from dm_compose.dots.all_dots import Dots
from dm_compose.errors import ExistsError, NotFoundError, StoreError, UntrustedError
from dm_compose.live.worktree import LiveWorktree
from dm_compose.objects.system import file_errors
from dm_compose.operations.checks import require_places
from dm_compose.storage.beneath import Root, in_proc
from dm_compose.storage.walk import remove_tree, walk
from dm_compose.store.history import CURRENT
from dm_compose.store.privileges import mark_of


def mount(dots: Dots, name: VolumeName, path: Path, *, create: bool) -> str:
    """Make `path` a symlink to the live files of a dot's subdot, and return its target.

    The symlink follows the dot's current branch, unless the name is pinned to a branch. A dot whose files are in Docker's volumes
    becomes a directory of symlinks. If `path` is that symlink already, a subdot that a reset has removed is made again. Without
    `create`, NotFoundError for a dot that does not exist. ExistsError if `path` is anything else.
    """
    exists = name.dot in dots.names()
    if not exists and not create:
        raise NotFoundError(f"Dot {name.dot} does not exist.", hint="If you want to create it - use the '--create' flag.")
    if not (exists and path.is_symlink()):
        _refuse_existing(path)
    if not exists:
        dots.create(name.dot)
    with dots.dot(name.dot, name.branch).live(lock=False) as live:
        _require_reach(live)
        with file_errors(f"mounting {name} at {path}"):
            if not live.tree:
                require_places(live)
                return _link_places(live, name, path)
            directory = live.store.make_subdot(name.dot, live.worktree, name.subdot)
            if name.branch is None:
                tree = live.store.make_subdot(name.dot, live.worktree, ROOT_SUBDOT)
                followed = Path(tree).parent / CURRENT
                directory = str(followed if name.subdot == ROOT_SUBDOT else followed / name.subdot)
            return _link(directory, path)


def _link(directory: str, path: Path) -> str:
    if not (path.is_symlink() and os.readlink(path) == directory):
        _refuse_existing(path)
        os.symlink(directory, path)
    return directory


def _link_places(live: LiveWorktree, name: VolumeName, path: Path) -> str:
    directories = live.directories
    if name.subdot in directories:
        return _link(directories[name.subdot], path)
    if name.subdot != DEFAULT_SUBDOT:
        raise _no_subdot(name, directories)
    _refuse_existing(path)
    path.mkdir()
    for subdot, directory in directories.items():
        os.symlink(directory, path / subdot)
    return str(path)


def _no_subdot(name: VolumeName, known: Iterable[SubdotName]) -> NotFoundError:
    there = ", ".join(sorted(known)) or "none"
    return NotFoundError(f"dot {name.dot} has no subdot {name.subdot}", hint=f"Its subdots: {there}.")


def mount_commit(dots: Dots, name: VolumeName, ref: str, path: Path) -> CommitId:
    """Make `path` a copy of a subdot's files in a commit, without write permissions. Return the commit's id. All or nothing.

    `__root__` stands for all subdots, with a directory for each. So does a name without a subdot, if the commit has no
    `__default__`. ExistsError, NotFoundError.
    """
    _refuse_existing(path)
    with dots.dot(name.dot, name.branch).live(lock=False) as live:
        _require_reach(live)
        commit_id: CommitId = live.store.resolve(name.dot, live.worktree, ref)
        subdots = live.store.commit(name.dot, commit_id).subdots
        if name.subdot not in (*subdots, DEFAULT_SUBDOT, ROOT_SUBDOT):
            raise _no_subdot(name, subdots)
        _refuse_privileged(live, commit_id)
        one = name.subdot if name.subdot in subdots and name.subdot != ROOT_SUBDOT else None
        building = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            with file_errors(f"mounting a commit at {path}"):
                building.mkdir(mode=0o755)
            live.store.export(name.dot, commit_id, str(building), one)
            with file_errors(f"mounting a commit at {path}"):
                _make_read_only(building)
                os.rename(building, path)
        except BaseException:
            with contextlib.suppress(OSError):
                remove_tree(building)
            raise
        return commit_id


def _refuse_privileged(live: LiveWorktree, commit_id: CommitId) -> None:
    settings = live.store.settings()
    for subdot, state in live.store.commit(live.dot, commit_id).subdots.items():
        if (path := settings.get(mark_of(state.manifest))) is not None:
            raise UntrustedError(
                f"commit {commit_id.short} came from a remote, and {subdot} has files with set-id bits, capabilities or other"
                f" rights, such as {path}",
                hint="They are not written to a directory of the host.",
            )


def _make_read_only(top: Path) -> None:
    with Root(str(top)).open() as files:
        for prefix, _, items, enter in walk(files):
            enter.extend(name for name, item in items if item.is_dir(follow_symlinks=False))
            for path in ("" if not prefix else prefix.rstrip("/"), *(prefix + name for name, _ in items)):
                with files.handle(path) as fd:
                    mode = os.fstat(fd).st_mode
                    if not stat.S_ISLNK(mode) and mode & 0o222:
                        os.chmod(in_proc(fd), stat.S_IMODE(mode) & ~0o222)


def _require_reach(live: LiveWorktree) -> None:
    if live.access.how != "in-process":
        raise StoreError(
            "the store's files cannot be reached from here", hint="Mounting needs root on the Docker Engine's own host."
        )


def _refuse_existing(path: Path) -> None:
    if os.path.lexists(path):
        raise ExistsError(f"{path} exists already", hint="Name a path where there is nothing.")
    if not path.parent.is_dir():
        raise NotFoundError(f"there is no directory {path.parent} to mount in")
