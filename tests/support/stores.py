"""Driving a store through whole commits and restores, and one at the other end of a pipe."""

from __future__ import annotations

import functools
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

from dm_compose import process
from dm_compose.core.commit import CommitDraft, Move
from dm_compose.core.events import Event
from dm_compose.core.names import MAIN_WORKTREE, ROOT_SUBDOT, CommitId, DotName, EntryId, RefName, SubdotName, WorktreeName
from dm_compose.core.tree import Restored
from dm_compose.store.api import Store
from dm_compose.store.helper.client import HelperStore, bundle
from dm_compose.store.history import Directories
from dm_compose.store.local.store import LocalStore

DOT = DotName("shop")
DATA = SubdotName("data")

# What the helper runs (remote.py, _BOOT), with places that do not collide.
_BOOT = (
    "import sys;from pathlib import Path;i=sys.stdin.buffer;n=int.from_bytes(i.read(8),'big');"
    "open(sys.argv[1],'wb').write(i.read(n));sys.path.insert(0,sys.argv[1]);"
    "from dm_compose.store.helper.server import serve;serve(Path(sys.argv[2]),i,sys.stdout.buffer)"
)


_code = functools.cache(bundle)


def connect(root: Path, listener: Callable[[Event], None] = lambda _: None, *, first: str = "") -> HelperStore:
    """Return a store that another process keeps at `root`, with the bundled code and the standard library only.

    `first` is Python that it runs before anything else.
    """
    with tempfile.NamedTemporaryFile(suffix=".zip", delete=False) as file:
        code_path = file.name
    isolated = ["-I", "-S", "-E"]  # no site-packages, no environment, no current directory: the standard library only
    pipe = process.start_pipe([sys.executable, *isolated, "-c", first + _BOOT, code_path, str(root)])
    code = _code()
    try:
        return HelperStore(pipe, len(code).to_bytes(8, "big") + code, listener)
    finally:
        Path(code_path).unlink()


def entry_of(commit_id: CommitId) -> EntryId:
    """Return the journal entry under which a commit was made. Both ids have the same digits."""
    return EntryId(commit_id)


class Bench:
    """A store with one dot, and directories that are its subdots."""

    dot = DOT
    worktree: WorktreeName = MAIN_WORKTREE

    def __init__(self, store: Store, **directories: Path) -> None:
        self.store = store
        self.directories: Directories = {SubdotName(name): str(path) for name, path in directories.items()}
        if DOT not in store.dots():
            store.create_dot(DOT)

    @property
    def local(self) -> LocalStore:
        return cast(LocalStore, self.store)

    def prepare(self) -> EntryId:
        return self.store.prepare_commit(self.dot, self.worktree, self.directories)

    def publish(self, entry: EntryId, message: str = "c", *, hidden: bool = False) -> CommitId:
        return self.store.publish(entry, CommitDraft(message, "tester", hidden=hidden)).id

    def commit(self, message: str = "c", *, hidden: bool = False) -> CommitId:
        """Make a commit; nobody writes meanwhile."""
        entry = self.prepare()
        self.store.capture(entry)
        return self.publish(entry, message, hidden=hidden)

    def capture(self) -> tuple[EntryId, int]:
        entry = self.prepare()
        return entry, self.store.capture(entry)

    def aside(self) -> CommitId:
        """Keep the state in a hidden commit that nothing names."""
        entry, _ = self.capture()
        commit_id = self.publish(entry, "aside", hidden=True)
        self.store.abandon(entry)
        return commit_id

    def begin(self, target: CommitId, *, move: bool = False, takes_over: EntryId | None = None) -> EntryId:
        moves = Move("reset", self.branch, target) if move else None
        return self.store.begin_restore(self.dot, self.worktree, target, [], moves, takes_over)

    def restore(self, target: CommitId, *, move: bool = False) -> dict[SubdotName, Restored]:
        """Restore all directories to a commit."""
        return self.finish(self.begin(target, move=move))

    def finish(self, entry: EntryId) -> dict[SubdotName, Restored]:
        """Restore all directories for a journal entry, and end it."""
        done = self.put_in_place(entry)
        self.store.sync_restored(entry)
        self.store.end_restore(entry)
        return done

    def put_in_place(self, entry: EntryId) -> dict[SubdotName, Restored]:
        return {subdot: self.store.restore_subdot(entry, subdot, self.directories) for subdot in self.directories}

    def checkout(self, branch: RefName, head: CommitId | None = None) -> CommitId | None:
        """Go to a branch, a new one at `head`, as the command does; return what was uncommitted where we were."""
        return self.go("checkout", branch, head or self.store.branches(self.dot)[branch])

    def go(self, action: str, branch: RefName, head: CommitId, target: CommitId | None = None) -> CommitId | None:
        """Put `target` in place (by default what `branch` has uncommitted, else `head`), stand on `head`, keep what was there."""
        captured, _ = self.capture()
        changed = bool(self.store.captured_changes(captured, {}))
        saved = self.publish(captured, "saved", hidden=True) if changed else None
        arrived = branch != self.branch
        target = target or (self.store.uncommitted(self.dot).get(branch) if arrived else None) or head
        move = Move(action, branch, head, saved)
        self.finish(self.store.begin_restore(self.dot, self.worktree, target, [], move, captured))
        return saved

    def differing(self, target: CommitId) -> list[SubdotName]:
        return self.store.differing(self.dot, self.worktree, self.directories, target)

    @property
    def head(self) -> CommitId | None:
        return self.store.worktree(self.dot, self.worktree).head

    @property
    def branch(self) -> RefName:
        return self.store.worktree(self.dot, self.worktree).branch


class TreeBench(Bench):
    """A store with one dot whose worktrees are directories of the store."""

    def __init__(self, store: Store, worktree: WorktreeName = MAIN_WORKTREE) -> None:
        self.store = store
        self.worktree = worktree
        if DOT not in store.dots():
            store.create_dot(DOT, tree=True)

    @property
    def directories(self) -> Directories:  # type: ignore[override]
        return self.store.tree(self.dot, self.worktree)

    @property
    def top(self) -> Path:
        return Path(self.directories[ROOT_SUBDOT])

    def put_in_place(self, entry: EntryId) -> dict[SubdotName, Restored]:
        """Restore what the tree has and what the target has, in any order."""
        (target,) = (e.target for e in self.store.unfinished(self.dot) if e.id == entry)
        assert target is not None
        subdots = sorted({*self.directories, *self.store.commit(self.dot, target).subdots})
        return {subdot: self.store.restore_subdot(entry, subdot, self.directories) for subdot in subdots}


def open_bench(root: Path, **directories: Path) -> Bench:
    """Return a bench on a store of this process at `root`."""
    return Bench(LocalStore(root), **directories)


class Stores:
    """Opens stores of one kind, `local` in this process or `remote` at the other end of a pipe, and closes them all."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.opened: list[Store] = []

    def open(self, root: Path, listener: Callable[[Event], None] = lambda _: None) -> Store:
        store = LocalStore(root, listener) if self.kind == "local" else cast(Store, connect(root, listener))
        self.opened.append(store)
        return store

    def bench(self, root: Path, **directories: Path) -> Bench:
        return Bench(self.open(root), **directories)

    def trees(self, root: Path, worktree: WorktreeName = MAIN_WORKTREE) -> TreeBench:
        return TreeBench(self.open(root), worktree)

    def close(self) -> None:
        for store in self.opened:
            store.close()
