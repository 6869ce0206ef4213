"""Stores of which a test knows what every commit holds, and ways to damage them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dm_compose.core.names import MAIN_WORKTREE, CommitId, DotName, RefName, SubdotName
from dm_compose.core.upkeep import Checkup, Garbage
from dm_compose.errors import DamagedError
from dm_compose.objects.manifests import text_of
from dm_compose.state import Database
from dm_compose.store.api import Store
from tests.support.stores import DATA, DOT, Bench, Stores
from tests.support.subdots import directories
from tests.support.trees import describe, differences

TAG = RefName("v1")
OTHER = DotName("other")
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def soon() -> datetime:
    """Return an instant that all reflog entries are older than."""
    return datetime.now(UTC) + timedelta(hours=1)


@dataclass
class Kept:
    """A bench that knows what each of its commits holds."""

    bench: Bench
    home: Path
    truth: dict[CommitId, dict[SubdotName, Any]] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        return self.bench.store

    def write(self, name: str, content: bytes, subdot: SubdotName = DATA) -> None:
        (Path(self.bench.directories[subdot]) / name).write_bytes(content)

    def state(self) -> dict[SubdotName, Any]:
        return {subdot: describe(path) for subdot, path in self.bench.directories.items()}

    def note(self, commit: CommitId) -> CommitId:
        self.truth[commit] = self.state()
        return commit

    def commit(self, *, hidden: bool = False) -> CommitId:
        return self.note(self.bench.commit(hidden=hidden))

    def aside(self) -> CommitId:
        return self.note(self.bench.aside())

    def commits(self) -> set[CommitId]:
        """Return the commits that the store knows, found in its database."""
        database = Database(self.home / "store/state.db")
        try:
            return {commit.id for commit in database.commits(DOT)}
        finally:
            database.close()

    def wrong(self) -> set[CommitId]:
        """Return the known commits that do not come back as they were made."""
        found = set()
        for commit in self.commits():
            place = self.home / "export"
            shutil.rmtree(place, ignore_errors=True)
            try:
                self.store.export(DOT, commit, str(place))
            except DamagedError:
                found.add(commit)
                continue
            for subdot, wanted in self.truth[commit].items():
                if differences(wanted, describe(place / subdot)):
                    found.add(commit)
        return found

    def files(self) -> dict[str, bytes]:
        """Return all objects and manifests."""
        root = self.home / "store/objects"
        return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}

    def needed(self) -> set[str]:
        """Return what the known commits need."""
        database = Database(self.home / "store/state.db")
        manifests = {subdot.manifest for commit in database.commits() for subdot in commit.subdots.values()}
        database.close()
        entries = [e for ref in manifests for e in json.loads(text_of(self.files()[ref], name=ref))["entries"]]
        return manifests | {entry[7] for entry in entries if entry[1] == "f"}

    def collect(self, keep_since: datetime | None = None) -> Garbage:
        """Collect, and check what is always true of it."""
        since = keep_since or soon()
        told = self.store.garbage(since)
        before = self.commits(), set(self.files())
        assert (self.commits(), set(self.files())) == before, "garbage only looks"
        done = self.store.collect(since)
        assert done == told
        assert before[0] - self.commits() == set(done.commits)
        gone = [name for name in before[1] - set(self.files()) if not name.endswith((".sum", "/data", ".data"))]
        assert len(gone) == done.objects
        assert not self.store.garbage(since), "nothing is left of it"
        assert not self.store.collect(since)
        assert list((self.home / "store/incoming").iterdir()) == [] or self.store.unfinished(DOT)
        assert self.wrong() == set()
        return done


def lose(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def replace_by_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = [lose, truncate, flip, replace_by_a_directory]


def one_commit(stores: Stores, path: Path) -> Kept:
    """Make a store with one commit on master."""
    kept = Kept(stores.bench(path / "store", **directories(path, ["one"])), path)
    kept.commit()
    return kept


@dataclass
class Shelf:
    """A store in which some contents are kept twice, some live, and some neither."""

    kept: Kept
    root: Path

    @property
    def live(self) -> Any:
        return {DOT: {MAIN_WORKTREE: self.kept.bench.directories}}

    def check(self, *, repair: bool = False, live: bool = True) -> Checkup:
        return self.kept.store.check(self.live if live else {}, repair=repair)
