"""A thing that has a key is read by its key: no command lists all dots, worktrees or operations to find one of them."""

from __future__ import annotations

import functools
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dm_compose.core.commit import COMMIT
from dm_compose.core.names import DEFAULT_BRANCH, MAIN_WORKTREE, DotName, EntryId, RefName, WorktreeName
from dm_compose.errors import DamagedError, NotFoundError
from dm_compose.state import Database
from tests.support.machines import Machine
from tests.support.stores import DOT, Stores

LISTINGS = ("dots", "worktrees", "journal")
AT_MOST = 3


def _count_listings(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Return a counter of the database's methods that list everything of a kind, as they are called from now on."""
    counted: Counter[str] = Counter()

    def counting(name: str, listing: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(listing)
        def call(*args: Any, **kwargs: Any) -> Any:
            counted[name] += 1
            return listing(*args, **kwargs)

        return call

    for name in LISTINGS:
        monkeypatch.setattr(Database, name, counting(name, getattr(Database, name)))
    return counted


@pytest.mark.parametrize("words", [("reset", "--hard", "HEAD"), ("commit", "-m", "two"), ("checkout", "other")])
def test_the_smallest_command_lists_nothing_more_than_three_times(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    machine("init", "a")
    machine.write("a", "file", "one")
    machine.commit("a", "one")
    machine("--dot", "a", "branch", "other")
    machine.write("a", "file", "two")
    counted = _count_listings(monkeypatch)
    machine("--dot", "a", *words)
    assert counted["journal"] > 0, "nothing is counted"
    assert {name: times for name, times in counted.items() if times > AT_MOST} == {}


def test_an_operation_is_read_by_its_id_alone(stores: Stores, tmp_path: Path) -> None:
    """A damaged operation of another dot keeps nobody from ending his own."""
    (tmp_path / "data").mkdir()
    bench = stores.bench(tmp_path / "store", data=tmp_path / "data")
    seed = bench.commit()
    other = DotName("other")
    bench.store.create_dot(other)
    bench.store.prepare_commit(other, MAIN_WORKTREE, {})
    with sqlite3.connect(tmp_path / "store" / "state.db") as database:
        database.execute("UPDATE journal SET document = 'garbled' WHERE dot = ?", (other,))
    database.close()
    bench.restore(seed, move=True)
    bench.store.abandon(bench.prepare())
    assert bench.store.unfinished(DOT) == []
    with pytest.raises(DamagedError):
        bench.store.unfinished(other)


def test_the_database_finds_by_key_what_it_lists(local: Stores, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    bench = local.bench(tmp_path / "store", data=tmp_path / "data")
    unborn = WorktreeName("unborn")
    bench.store.create_dot(DotName("other"), tree=True)
    head = bench.commit()
    bench.store.set_tag(DOT, RefName("v1"), head)
    entry = bench.prepare()
    database = bench.local._database
    for dot in database.dots():
        assert database.has_dot(dot)
        for name, worktree in database.worktrees(dot).items():
            assert database.worktree(dot, name) == database.find_worktree(dot, name) == worktree
        for kind in ("branch", "tag", "uncommitted"):
            for ref, commit_id in database.refs(dot, kind).items():
                assert database.ref(dot, kind, ref) == commit_id
    assert database.worktree(DOT, MAIN_WORKTREE).head == head
    assert database.journal_entry(entry) == database.journal(DOT)[0]
    assert database.journal_entry(entry).operation == COMMIT
    assert not database.has_dot(DotName("nope"))
    assert database.find_worktree(DOT, unborn) is None
    assert database.find_worktree(DotName("nope"), MAIN_WORKTREE) is None
    assert database.ref(DOT, "tag", DEFAULT_BRANCH) is None
    assert database.journal_entry(EntryId.new()) is None
    with pytest.raises(NotFoundError, match="dot shop has no worktree unborn"):
        database.worktree(DOT, unborn)
    with pytest.raises(NotFoundError, match="there is no dot nope"):
        database.worktree(DotName("nope"), MAIN_WORKTREE)
