"""Driving a store through whole commits and restores, and one at the other end of a pipe."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

from dm_compose import process
from dm_compose.core.commit import CommitDraft, Move
from dm_compose.core.events import Event
from dm_compose.core.names import DEFAULT_BRANCH, MAIN_WORKTREE, CommitId, DotName, SubdotName
from dm_compose.store.api import Captured, Restored, Store
from dm_compose.store.local import LocalStore
from dm_compose.store.remote import RemoteStore, bundle

DOT = DotName("shop")
DATA = SubdotName("data")

# What the helper runs (remote.py, _BOOT), with places that do not collide.
_BOOT = (
    "import sys;from pathlib import Path;i=sys.stdin.buffer;n=int.from_bytes(i.read(8),'big');"
    "open(sys.argv[1],'wb').write(i.read(n));sys.path.insert(0,sys.argv[1]);"
    "from dm_compose.store.server import serve;serve(Path(sys.argv[2]),i,sys.stdout.buffer)"
)


def connect(root: Path, listener: Callable[[Event], None] = lambda _: None) -> RemoteStore:
    """Return a store that another process keeps at `root`, with the bundled code and the standard library only."""
    with tempfile.NamedTemporaryFile(suffix=".zip", delete=False) as file:
        code_path = file.name
    isolated = ["-I", "-S", "-E"]  # no site-packages, no environment, no current directory: the standard library only
    pipe = process.start_pipe([sys.executable, *isolated, "-c", _BOOT, code_path, str(root)])
    code = bundle()
    try:
        return RemoteStore(pipe, len(code).to_bytes(8, "big") + code, listener)
    finally:
        Path(code_path).unlink()


class Bench:
    """A store with one dot, and directories that are its subdots."""

    def __init__(self, store: Store, **directories: Path) -> None:
        self.store = store
        self.directories = {SubdotName(name): str(path) for name, path in directories.items()}
        if DOT not in store.dots():
            store.create_dot(DOT)

    @property
    def local(self) -> LocalStore:
        return cast(LocalStore, self.store)

    def prepare(self) -> CommitId:
        return self.store.prepare_commit(DOT, MAIN_WORKTREE, self.directories)

    def publish(self, commit_id: CommitId, message: str = "c", *, hidden: bool = False) -> CommitId:
        return self.store.publish(commit_id, CommitDraft(message, "tester", hidden=hidden)).id

    def commit(self, message: str = "c", *, hidden: bool = False) -> CommitId:
        """Make a commit; nobody writes meanwhile."""
        commit_id = self.prepare()
        self.store.capture(commit_id)
        return self.publish(commit_id, message, hidden=hidden)

    def capture(self) -> tuple[CommitId, Captured]:
        commit_id = self.prepare()
        return commit_id, self.store.capture(commit_id)

    def begin(self, target: CommitId, *, move: bool = False, takes_over: CommitId | None = None) -> CommitId:
        moves = Move("reset", DEFAULT_BRANCH, target) if move else None
        return self.store.begin_restore(DOT, MAIN_WORKTREE, target, [], moves, takes_over)

    def restore(self, target: CommitId, *, move: bool = False) -> dict[SubdotName, Restored]:
        """Restore all directories to a commit."""
        entry = self.begin(target, move=move)
        done = {subdot: self.store.restore(entry, subdot, self.directories) for subdot in self.directories}
        self.store.sync_restored(entry)
        self.store.end_restore(entry)
        return done

    def differing(self, target: CommitId) -> list[SubdotName]:
        return self.store.differing(DOT, MAIN_WORKTREE, self.directories, target)

    @property
    def head(self) -> CommitId | None:
        return self.store.worktree(DOT, MAIN_WORKTREE).head


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

    def close(self) -> None:
        for store in self.opened:
            store.close()
