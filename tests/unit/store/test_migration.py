"""A store that an earlier version wrote is opened with everything in it, also when the migration is killed on the way."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dm_compose.core.commit import Move, ReflogEntry, Worktree
from dm_compose.core.names import DEFAULT_BRANCH, MAIN_WORKTREE, CommitId, DotName, RefName, WorktreeName
from dm_compose.errors import DamagedError
from dm_compose.objects.manifests import text_of
from dm_compose.state.schema import MIGRATIONS, SCHEMA_VERSION
from dm_compose.store.api import Store
from dm_compose.store.local.store import LocalStore
from tests.support.crashing import copy, stops
from tests.support.stores import DATA, DOT, Bench, Stores, entry_of
from tests.support.trees import describe, differences

EMPTY = DotName("empty")
TAG = RefName("v1")
OLD_MANIFEST = b'{"format":1,"entries":'


class Before:
    """A store as version 1 left it, and what it held."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "data").mkdir(parents=True)
        bench = Bench(LocalStore(root / "store"), data=root / "data")
        bench.store.create_dot(EMPTY)
        self.trees = {}
        for number in range(3):
            (root / "data" / f"{number}").write_bytes(b"%d" % number * 3000)
            self.trees[bench.commit(f"commit {number}")] = describe(root / "data")
        first = next(iter(self.trees))
        hidden = bench.commit("saved", hidden=True)
        self.trees[hidden] = self.trees[bench.head]
        move = Move("reset", DEFAULT_BRANCH, first, hidden)
        bench.finish(bench.store.begin_restore(DOT, MAIN_WORKTREE, first, [], move, entry_of(hidden)))
        bench.store.set_tag(DOT, TAG, bench.head)
        bench.store.set_places(DOT, MAIN_WORKTREE, {DATA: "shop_data"})
        bench.store.begin_session(DOT, MAIN_WORKTREE, first)
        self.known = known(bench.store)
        bench.store.close()
        make_old(root / "store")

    def check(self, root: Path) -> None:
        """Everything is there and can be used."""
        store = LocalStore(root / "store")
        assert known(store) == self.known
        assert store.check({}, repair=False).sound
        for commit, wanted in self.trees.items():
            place = root / f"export {commit}"
            store.export(DOT, commit, str(place))
            assert differences(wanted, describe(place / "data")) == []
        store.close()


def known(store: Store) -> dict[str, Any]:
    """Return all that a store says of its dots."""
    return {
        dot: {
            "worktrees": store.worktrees(dot),
            "current": store.current(dot),
            "branches": store.branches(dot),
            "tags": store.tags(dot),
            "uncommitted": store.uncommitted(dot),
            "log": [c for head in store.branches(dot).values() for c in store.log(dot, head)],
            "reflog": store.reflog(dot, MAIN_WORKTREE),
            "commits": [store.commit(dot, e.saved) for e in store.reflog(dot, MAIN_WORKTREE) if e.saved],
            "journal": store.unfinished(dot),
        }
        for dot in store.dots()
    }


def make_old(store: Path) -> None:
    """Write the database and the manifests as version 1 did."""
    with contextlib.closing(sqlite3.connect(store / "state.db")) as new:
        rows = {
            "dots": new.execute("SELECT name, created FROM dots").fetchall(),
            "commits": new.execute("SELECT id, dot, created, document FROM commits ORDER BY rowid").fetchall(),
            "refs": new.execute("SELECT dot, kind, name, commit_id FROM refs").fetchall(),
            "worktrees": new.execute("SELECT dot, name, branch, places FROM worktrees").fetchall(),
            "reflog": new.execute("SELECT number, dot, worktree, at, action, branch, old, new, saved FROM reflog").fetchall(),
            "journal": new.execute("SELECT id, dot, document FROM journal").fetchall(),
        }
    for path in store.glob("state.db*"):
        path.unlink()
    with contextlib.closing(sqlite3.connect(store / "state.db")) as old:
        old.execute("PRAGMA journal_mode = WAL")
        old.executescript(MIGRATIONS[0])
        for table, content in rows.items():
            for row in content:
                old.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
        old.execute("PRAGMA user_version = 1")
        old.commit()
    for manifest in store.rglob("*.manifest"):
        entries = json.loads(text_of(manifest.read_bytes(), name=manifest.name))["entries"]
        manifest.write_bytes(OLD_MANIFEST + json.dumps(entries, separators=(",", ":")).encode() + b"}")


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Before:
    return Before(tmp_path_factory.mktemp("old") / "old")


def version(store: Path) -> int:
    with contextlib.closing(sqlite3.connect(store / "state.db")) as database:
        return int(database.execute("PRAGMA user_version").fetchone()[0])


def test_a_store_of_version_1_is_opened_with_everything_in_it(before: Before, stores: Stores, fast_path: Path) -> None:
    copy(before.root, fast_path / "case")
    assert version(fast_path / "case/store") == 1
    store = stores.open(fast_path / "case/store")
    assert known(store) == before.known
    stores.close()
    assert version(fast_path / "case/store") == SCHEMA_VERSION
    before.check(fast_path / "case")


def test_all_that_is_new_can_be_done_in_a_store_of_version_1(before: Before, local: Stores, fast_path: Path) -> None:
    copy(before.root, fast_path / "case")
    bench = local.bench(fast_path / "case/store", data=fast_path / "case/data")
    store, first = bench.store, bench.head
    number = store.reflog(DOT, MAIN_WORKTREE)[0].number
    for entry in store.unfinished(DOT):
        store.close_entry(entry.id)
    (fast_path / "case/data/0").write_bytes(b"dirt")
    dirty = describe(fast_path / "case/data")
    bench.checkout(RefName("feature"), first)
    bench.commit()
    bench.checkout(DEFAULT_BRANCH)
    assert differences(dirty, describe(fast_path / "case/data")) == []
    assert store.reflog(DOT, MAIN_WORKTREE)[0].number > number
    store.add_worktree(Worktree(DOT, WorktreeName("second"), RefName("other"), None, tree=True), first)
    store.add_volume("shop", DOT)
    store.set_setting("a", "b")
    store.remove_branch(DOT, RefName("feature"))
    assert store.collect(datetime.now(UTC) + timedelta(hours=1)).commits
    assert store.check({}, repair=False).sound
    store.delete_dot(DOT)
    assert store.dots() == [EMPTY]


def test_the_branch_that_a_move_left_is_the_one_it_is_on_where_nobody_noted_it(before: Before, fast_path: Path) -> None:
    copy(before.root, fast_path / "case")
    store = LocalStore(fast_path / "case/store")
    log: list[ReflogEntry] = store.reflog(DOT, MAIN_WORKTREE)
    store.close()
    assert len(log) == 4
    assert all(entry.left == entry.branch == DEFAULT_BRANCH for entry in log)


def test_a_migration_killed_at_any_statement_leaves_the_old_store_or_the_new_one(before: Before, fast_path: Path) -> None:
    versions = []
    for root in stops(before.root, fast_path / "case", lambda root: LocalStore(root / "store"), at_least=20, statements=""):
        versions.append(version(root / "store"))
        before.check(root)
        assert version(root / "store") == SCHEMA_VERSION
    assert set(versions) == {1, SCHEMA_VERSION}
    assert versions == sorted(versions)


def test_a_store_that_many_open_at_once_is_migrated_once(before: Before, fast_path: Path) -> None:
    for number in range(5):
        copy(before.root, fast_path / f"case{number}")
        with ThreadPoolExecutor(8) as pool:
            opened = list(pool.map(lambda _: LocalStore(fast_path / f"case{number}/store"), range(8)))  # noqa: B023
        for store in opened:
            assert known(store) == before.known
            store.close()


def test_a_migrated_database_is_the_one_that_a_new_store_has(before: Before, fast_path: Path) -> None:
    copy(before.root, fast_path / "case")
    for name in ("case", "new"):
        LocalStore(fast_path / name / "store" if name == "case" else fast_path / name).close()
    tables = []
    for path in (fast_path / "case/store/state.db", fast_path / "new/state.db"):
        with contextlib.closing(sqlite3.connect(path)) as database:
            tables.append(sorted(row[0] or "" for row in database.execute("SELECT sql FROM sqlite_master")))
            assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    assert tables[0] == tables[1]
    assert not any("new_" in sql for sql in tables[0])


def test_an_old_commit_id_cannot_be_taken_by_another_commit_of_its_dot(before: Before, fast_path: Path) -> None:
    """It was unique in the store, and is in its dot."""
    copy(before.root, fast_path / "case")
    store = LocalStore(fast_path / "case/store")
    commit: CommitId = next(iter(before.trees))
    with pytest.raises(DamagedError, match="UNIQUE"):
        store._database.add_commit(store.commit(DOT, commit))
    store.close()
