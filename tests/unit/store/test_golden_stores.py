"""Stores that earlier versions wrote, and one of today's format: each is opened by today's code, with everything in it.

`tools/golden_store.py` has made them. The digests beside each store are of the files that were committed.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import tarfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dm_compose.core.events import Event
from dm_compose.core.names import DEFAULT_BRANCH, CommitId, RefName
from dm_compose.objects.store import MAP, PUT_ASIDE
from dm_compose.state.schema import SCHEMA_VERSION
from dm_compose.store.api import Store
from dm_compose.store.local.store import LocalStore
from tests.support.crashing import stops
from tests.support.stores import DOT, Bench, Stores
from tools.golden_store import contents

STORES = Path(__file__).parents[2] / "data/stores"
NAMES = sorted(path.stem for path in STORES.glob("*.json"))
OLD = [name for name in NAMES if name != f"format-{SCHEMA_VERSION}"]
HOUR = timedelta(hours=1)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the files in the commits belong to root")


class Golden:
    """A copy of a golden store, and what was recorded when it was made."""

    def __init__(self, name: str, home: Path) -> None:
        self.home = home
        self.recorded: dict[str, Any] = json.loads((STORES / f"{name}.json").read_text())
        with tarfile.open(STORES / f"{name}.tar.gz") as archive:
            archive.extractall(home, filter="fully_trusted")

    def version(self) -> int:
        with contextlib.closing(sqlite3.connect(self.home / "store/state.db")) as database:
            return int(database.execute("PRAGMA user_version").fetchone()[0])

    def check(self, store: Store) -> None:
        """Every commit is as recorded, byte by byte, and is found by the names that it had."""
        assert store.branches(DOT) == self.recorded["branches"]
        assert store.tags(DOT) == self.recorded["tags"]
        assert store.uncommitted(DOT) == self.recorded["uncommitted"]
        for branch, messages in self.recorded["log"].items():
            assert [commit.message for commit in store.log(DOT, store.branches(DOT)[RefName(branch)])] == messages
        for commit, form in self.recorded["settled"].items():
            assert store.settled(DOT, CommitId(commit)) == form
        for commit, wanted in self.recorded["commits"].items():
            place = self.home / "export"
            store.export(DOT, CommitId(commit), str(place))
            assert contents(place / "data") == wanted
            _remove(place)
        assert len(self.recorded["commits"]) >= 5

    def bench(self) -> Bench:
        """Return the store with its live files, which are those of the branch that it is on."""
        bench = Bench(LocalStore(self.home / "store"), data=self.home / "data")
        head = bench.head
        assert head is not None
        bench.store.export(DOT, head, str(self.home / "live"))
        os.rename(self.home / "live/data", self.home / "data")
        return bench


def _remove(place: Path) -> None:
    for path in sorted(place.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    place.rmdir()


@pytest.fixture(params=NAMES)
def golden(request: pytest.FixtureRequest, fast_path: Path) -> Golden:
    return Golden(request.param, fast_path / "case")


def test_there_is_a_store_of_each_format_since_the_third() -> None:
    """A change of the format needs a new one: see tools/golden_store.py."""
    assert [f"format-{number}" for number in range(3, SCHEMA_VERSION + 1)] == NAMES
    with tarfile.open(STORES / f"{NAMES[-1]}.tar.gz") as archive:
        names = archive.getnames()
    for ending in (MAP, PUT_ASIDE, "/data", "/data.sum"):
        assert any(name.endswith(ending) for name in names)


def test_a_golden_store_is_opened_with_everything_in_it(golden: Golden, stores: Stores) -> None:
    assert golden.version() == golden.recorded["format"]
    store = stores.open(golden.home / "store")
    golden.check(store)
    stores.close()
    assert golden.version() == SCHEMA_VERSION


@pytest.mark.parametrize("repair", [False, True])
def test_a_golden_store_is_sound(golden: Golden, local: Stores, *, repair: bool) -> None:
    store = local.open(golden.home / "store")
    found = store.check({}, repair=repair)
    assert found.damage == ()
    assert found.commits == 5
    golden.check(store)


def test_work_goes_on_in_a_golden_store(golden: Golden) -> None:
    bench = golden.bench()
    store, table = bench.store, golden.home / "data/table"
    head = bench.head
    with table.open("r+b") as file:
        file.seek(5 * 4096)
        file.write(b"changed")
    changed = contents(golden.home / "data")
    made = bench.commit("of today")
    bench.restore(CommitId(golden.recorded["branches"]["feature"]), move=True)
    assert bench.head == head
    assert contents(golden.home / "data") == golden.recorded["commits"][head]
    bench.restore(made, move=True)
    assert contents(golden.home / "data") == changed
    golden.recorded["branches"]["feature"] = made
    golden.recorded["log"]["feature"].insert(0, "of today")
    bench.checkout(DEFAULT_BRANCH)
    kept = bench.checkout(RefName("feature"))  # the same files as before, in a commit of today
    golden.recorded["commits"][kept] = golden.recorded["commits"].pop(golden.recorded["uncommitted"][DEFAULT_BRANCH])
    golden.recorded["uncommitted"][DEFAULT_BRANCH] = kept
    store.collect(datetime.now(UTC) + HOUR)
    assert not store.garbage(datetime.now(UTC) + HOUR)
    assert store.check({}, repair=False).sound
    golden.recorded["commits"][made] = changed
    golden.check(store)
    store.close()


def test_gc_takes_from_a_golden_store_what_only_a_removed_branch_needed(golden: Golden) -> None:
    bench = golden.bench()
    store, head_of_main = bench.store, golden.recorded["branches"][DEFAULT_BRANCH]
    store.remove_branch(DOT, DEFAULT_BRANCH)
    for name in golden.recorded["tags"]:
        store.remove_tag(DOT, RefName(name))
    told = store.garbage(datetime.now(UTC) + HOUR)
    assert head_of_main in told.commits
    assert store.collect(datetime.now(UTC) + HOUR).size_bytes == told.size_bytes > 0
    assert store.check({}, repair=False).sound
    (head,) = store.branches(DOT).values()
    store.export(DOT, head, str(golden.home / "after"))
    assert contents(golden.home / "after/data") == golden.recorded["commits"][head]
    store.close()


@pytest.mark.parametrize("name", OLD)
def test_the_new_format_is_told_once_to_the_first_who_listens(name: str, stores: Stores, fast_path: Path) -> None:
    golden, told = Golden(name, fast_path / "case"), list[Event]()
    LocalStore(golden.home / "store").close()  # nobody listens
    for _ in range(2):
        stores.open(golden.home / "store", told.append)
        stores.close()
    where = golden.home / "store"
    text = f"the store at {where} is in format {SCHEMA_VERSION} now; an older dm-compose cannot open it any more"
    assert [(event.what, event.text) for event in told] == [("warning", text)]


def test_of_many_that_open_an_old_store_at_once_one_tells_of_the_new_format(fast_path: Path) -> None:
    golden, told = Golden(OLD[-1], fast_path / "case"), list[Event]()
    with ThreadPoolExecutor(8) as pool:
        for store in list(pool.map(lambda _: LocalStore(golden.home / "store", told.append), range(8))):
            store.close()
    assert len(told) == 1


def test_a_store_without_commits_and_one_of_todays_format_tell_nothing(local: Stores, fast_path: Path) -> None:
    told = list[Event]()
    local.open(fast_path / "new", told.append)
    local.open(Golden(f"format-{SCHEMA_VERSION}", fast_path / "case").home / "store", told.append)
    assert told == []


@pytest.mark.parametrize("name", OLD)
def test_bringing_a_store_over_killed_anywhere_leaves_the_old_one_or_the_new_one(name: str, fast_path: Path) -> None:
    made, versions, told = Golden(name, fast_path / "made"), [], list[int]()
    opened = lambda root: LocalStore(root / "store", lambda _: None)  # noqa: E731
    for root in stops(fast_path / "made", fast_path / "case", opened, at_least=10, statements=""):
        made.home = root
        versions.append(made.version())
        events = list[Event]()
        store = LocalStore(root / "store", events.append)
        made.check(store)
        store.close()
        told.append(len(events))
    assert set(versions) == {made.recorded["format"], SCHEMA_VERSION}
    assert versions == sorted(versions)
    assert told == sorted(told, reverse=True)
    assert set(told) == {0, 1}
