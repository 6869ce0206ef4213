"""Docker's volumes in a store: a volume's name says which dot, branch and directory it is.

The store keeps a registration for each volume that Docker knows, and nothing else. Only Docker knows which containers have a
volume mounted, so a driver that is killed between two calls has lost nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dm_compose.core.commit import Worktree
from dm_compose.core.names import DEFAULT_BRANCH, CommitId, DotName, RefName, SubdotName, WorktreeName, worktree_name
from dm_compose.core.volumes import VolumeName
from dm_compose.errors import DmError, ExistsError, InUseError, NotFoundError
from dm_compose.store.api import Store

LOCK_TIMEOUT_S = 5.0  # Docker waits for us, and a `dm checkout` that holds the lock may wait for Docker
_ANONYMOUS = re.compile(r"[0-9a-f]{64}")  # the name that Docker gives to the volume of an image's VOLUME line


@dataclass(frozen=True)
class DotVolume:
    """A registered volume.

    `pinned` is the branch in its name. `branch` and `worktree` are those whose files it shows now, and `directory` is where
    these are, '' before the first use. All three are empty when the name no longer leads anywhere.
    """

    name: str
    dot: DotName
    subdot: SubdotName | None = None
    pinned: RefName | None = None
    branch: RefName | None = None
    worktree: WorktreeName | None = None
    directory: str = ""


class DotVolumes:
    """The volumes of a store's dots, by the names that Docker knows. Every method is idempotent, and several may run at once."""

    def __init__(self, store: Store, *, lock_timeout_s: float = LOCK_TIMEOUT_S) -> None:
        self._store = store
        self._lock_timeout_s = lock_timeout_s

    def create(self, text: str) -> None:
        """Register a volume, and make its dot, the worktree of the branch it is pinned to, and its subdot's directory.

        A dot that is made here keeps its files in the store. UsageError for a text that is no name, NotFoundError for a branch
        that does not exist. InUseError where the dot's files are Docker volumes themselves, and when a worktree has to be made
        but the dot's lock is not free within the lock timeout.
        """
        name = VolumeName.parse(text)
        self._ensure_dot(name)
        worktree = self._worktree(name) or self._check_out(name)
        self._store.make_subdot(name.dot, worktree.name, name.subdot)
        self._store.add_volume(text, name.dot)

    def remove(self, text: str) -> None:
        """Forget a registration. The data stays in its dot.

        A volume that Docker made for a VOLUME line of an image is an exception: nobody could ask for its files again. Its dot is
        deleted, unless it has commits.
        """
        dot = self._store.volumes().get(text)
        if dot is None:
            return
        self._store.remove_volume(text)
        if text == dot and _ANONYMOUS.fullmatch(text):
            with contextlib.suppress(InUseError, NotFoundError), self._locked(dot, timeout_s=0):
                if not self._store.branches(dot) and dot not in self._store.volumes().values():
                    self._store.delete_dot(dot)

    def mountpoint(self, text: str) -> str:
        """Return the directory of a volume. It is made, empty, when it is missing.

        The directory is in the worktree that the dot's volumes follow now, or in that of the branch the volume is pinned to. No
        lock is taken, because the process that holds the dot's lock may be starting a container. NotFoundError and InUseError as
        for `create`.
        """
        name = VolumeName.parse(text)
        worktree = self._worktree(name)
        if worktree is None:
            raise NotFoundError(
                f"branch {name.branch} of dot {name.dot} is not checked out anywhere",
                hint=f"`dm checkout {name.branch}` makes its files, and so does a new volume of it.",
            )
        return self._store.make_subdot(name.dot, worktree.name, name.subdot)

    def get(self, text: str) -> DotVolume:
        """Return a registered volume. NotFoundError for any other name."""
        dot = self._store.volumes().get(text)
        if dot is None:
            raise NotFoundError(f"the driver has no volume {text!r}")
        return self._described(text, dot, {})

    def registered(self) -> list[DotVolume]:
        """Return all registered volumes, sorted by name."""
        trees: dict[tuple[DotName, WorktreeName], Mapping[SubdotName, str]] = {}
        return [self._described(text, dot, trees) for text, dot in self._store.volumes().items()]

    def _described(
        self, text: str, dot: DotName, trees: dict[tuple[DotName, WorktreeName], Mapping[SubdotName, str]]
    ) -> DotVolume:
        try:
            name = VolumeName.parse(text)
            worktree = self._worktree(name)
        except DmError:
            return DotVolume(text, dot)
        if worktree is None:
            return DotVolume(text, dot, name.subdot, name.branch)
        key = dot, worktree.name
        if key not in trees:
            trees[key] = self._store.tree(dot, worktree.name)
        directory = trees[key].get(name.subdot, "")
        return DotVolume(text, dot, name.subdot, name.branch, worktree.branch, worktree.name, directory)

    def _ensure_dot(self, name: VolumeName) -> None:
        if self._store.has_dot(name.dot):
            return
        if name.branch not in (None, DEFAULT_BRANCH):
            raise NotFoundError(
                f"there is no dot {name.dot}, so it has no branch {name.branch}", hint=f"A volume named {name.dot} makes the dot."
            )
        with contextlib.suppress(ExistsError):  # somebody else has made it meanwhile
            self._store.create_dot(name.dot, tree=True)

    def _worktree(self, name: VolumeName) -> Worktree | None:
        """Return the worktree whose files a volume shows. None for a branch that is not checked out."""
        found: Worktree | None
        if name.branch is None:
            found = self._store.worktree(name.dot, self._store.current(name.dot))
        else:
            found = next((w for w in self._store.worktrees(name.dot).values() if w.branch == name.branch), None)
        if found is not None and not found.tree:
            what = f"branch {name.branch} of dot {name.dot}" if name.branch else f"dot {name.dot}"
            raise InUseError(
                f"{what} is the state of a Compose stack, whose files are Docker volumes already",
                hint="Mount those, or name another branch or dot.",
            )
        return found

    def _check_out(self, name: VolumeName) -> Worktree:
        """Make a worktree for the branch that a volume is pinned to."""
        dot, branch = name.dot, name.branch
        assert branch is not None
        self._head(dot, branch)
        with self._locked(dot, timeout_s=self._lock_timeout_s):
            if (found := self._worktree(name)) is not None:
                return found
            if self._store.unfinished(dot):  # it may be a checkout of this very branch
                raise InUseError(
                    f"an operation on dot {dot} was cut off before its end",
                    hint="The next `dm` command finishes it; try again then.",
                )
            head = self._head(dot, branch)
            made = Worktree(dot, worktree_name(branch, self._store.worktrees(dot)), branch, head, tree=True)
            self._store.add_worktree(made, head)
            return made

    def _head(self, dot: DotName, branch: RefName) -> CommitId:
        head = self._store.branches(dot).get(branch)
        if head is None:
            raise NotFoundError(f"dot {dot} has no branch {branch}", hint="`dm branch` lists what there is.")
        return head

    @contextlib.contextmanager
    def _locked(self, dot: DotName, *, timeout_s: float) -> Iterator[None]:
        token = self._store.lock(dot, f"the dm volume driver (process {os.getpid()})", timeout_s)
        try:
            yield
        finally:
            self._store.unlock(token)
