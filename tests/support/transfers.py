"""Stores, remotes and dots for tests of transfers."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from pathlib import Path

from dm_compose.core.commit import CommitDraft, Move
from dm_compose.core.names import DEFAULT_BRANCH, MAIN_WORKTREE, CommitId, DotName, RefName, SubdotName
from dm_compose.core.tree import Manifest, TreeEntry
from dm_compose.remotes import Remote, RemoteName, RemoteUrl, open_remote
from dm_compose.transfer import Fetched, Pushed, fetch, push
from tests.support.stores import Stores

SHOP = RemoteName.parse("admin/shop")
DOT = DotName("shop")


class Side:
    """One machine: a store with a dot, and the directories of its subdots, one of which is named `data`.

    `kind`: whether the store is in this process (`local`) or at the other end of a pipe (`remote`).
    """

    def __init__(self, root: Path, *subdots: str, kind: str = "local") -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.store = Stores(kind).open(root / "store")
        if DOT not in self.store.dots():
            self.store.create_dot(DOT)
        self.directories = {SubdotName(name): str(root / name) for name in subdots or ("data",)}
        for directory in self.directories.values():
            os.makedirs(directory, exist_ok=True)

    @property
    def data(self) -> Path:
        return self.root / "data"

    def commit(self, message: str = "c", *, hidden: bool = False) -> CommitId:
        entry = self.store.prepare_commit(DOT, MAIN_WORKTREE, self.directories)
        self.store.capture(entry)
        return self.store.publish(entry, CommitDraft(message, "tester", hidden=hidden)).id

    def restore(self, target: CommitId, branch: RefName = DEFAULT_BRANCH) -> None:
        """Put a commit's files in place and stand on it."""
        move = Move("reset", branch, target)
        entry = self.store.begin_restore(DOT, MAIN_WORKTREE, target, [], move, None)
        for subdot in self.directories:
            self.store.restore_subdot(entry, subdot, self.directories)
        self.store.sync_restored(entry)
        self.store.end_restore(entry)

    def head(self, branch: RefName = DEFAULT_BRANCH) -> CommitId | None:
        return self.store.branches(DOT).get(branch)

    def push(self, remote: Remote, branch: RefName = DEFAULT_BRANCH, *, stash: bool = False) -> Pushed:
        return push(self.store, DOT, branch, remote, SHOP, stash=stash)

    def fetch(self, remote: Remote, what: RefName | CommitId = DEFAULT_BRANCH, *, depth: int | None = None) -> Fetched:
        head = self.head(what) if isinstance(what, RefName) else None
        return fetch(remote, SHOP, what, self.store, DOT, head=head, depth=depth)

    def pull(self, remote: Remote, branch: RefName = DEFAULT_BRANCH) -> Fetched:
        """Fetch a branch and put its files in place."""
        got = self.fetch(remote, branch)
        self.restore(got.head, branch)
        return got

    def entries(self, commit_id: CommitId | None) -> Mapping[str, TreeEntry]:
        """Return what the only subdot of a commit consists of."""
        assert commit_id is not None
        (state,) = self.store.commit(DOT, commit_id).subdots.values()
        return Manifest.decode(self.store.exchange().manifest(state.manifest), name=state.manifest).entries

    def messages(self, branch: RefName = DEFAULT_BRANCH) -> list[str]:
        head = self.head(branch)
        return [c.message for c in self.store.log(DOT, head)] if head is not None else []

    def close(self) -> None:
        self.store.close()


def directory_remote(path: Path) -> Remote:
    return open_remote(RemoteUrl.parse(str(path)))


def write_pages(path: Path, pages: int, *, seed: int = 0, page: int = 8192) -> None:
    """Write a file of pages that compress about as well as a database's."""
    chance = random.Random(seed)
    with path.open("wb") as file:
        for number in range(pages):
            body = number.to_bytes(8, "little") + b"".join(b"%x customer;" % chance.getrandbits(32) for _ in range(500))
            file.write(body[:page].ljust(page, b"\0"))


def change_page(path: Path, number: int, text: bytes, *, page: int = 8192) -> None:
    """Write into one page of a file."""
    with path.open("r+b") as file:
        file.seek(number * page + 100)
        file.write(text)
