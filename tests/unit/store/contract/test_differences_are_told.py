"""Differences between commits and live files are told with the bytes that differ."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dm_compose.core.names import MAIN_WORKTREE, SubdotName
from dm_compose.errors import (
    StoreError,
)
from tests.support.stores import DATA, DOT, Bench, Stores
from tests.support.subdots import CHANGES, LOGS, change_everything, directories, path_of, told, where


def test_an_unchanged_tree_does_not_differ(bench: Bench) -> None:
    commit = bench.commit()
    assert bench.differing(commit) == []
    diff = bench.store.diff_live(*where(bench), commit, {}, None)
    assert set(diff) == {DATA, LOGS}
    assert not any(diff.values())
    assert all(d.exact for d in diff.values())


def test_everything_differs_from_nothing(bench: Bench) -> None:
    diff = bench.store.diff_live(*where(bench), None, {}, None)
    assert [(c.path, c.how, c.changed_bytes) for c in diff[DATA].changes] == [
        *(("", "added", 0), ("one", "added", 10_000), ("two", "added", 10_000))
    ]


def test_trees_can_be_looked_at_before_there_is_a_dot(stores: Stores, fast_path: Path) -> None:
    store = stores.open(fast_path / "store")
    paths = {SubdotName(k): str(v) for k, v in directories(fast_path).items()}
    assert len(store.diff_live(DOT, MAIN_WORKTREE, paths, None, {}, 0)[DATA].changes) == 3
    store.mark_quiet(DOT, MAIN_WORKTREE, paths)
    assert store.changed_since_quiet(DOT, MAIN_WORKTREE, paths, {}) == []


def test_live_changes_are_told_with_the_bytes_that_differ(bench: Bench) -> None:
    commit = bench.commit()
    change_everything(bench)
    diff = bench.store.diff_live(*where(bench), commit, {}, None)
    assert told(diff) == CHANGES
    assert all(d.exact for d in diff.values())
    assert diff[DATA].changed_bytes == 4096 + 123 + 10_000
    assert sorted(bench.differing(commit)) == [DATA, LOGS]


def test_changes_between_commits_are_those_that_were_made(bench: Bench) -> None:
    first = bench.commit()
    change_everything(bench)
    second = bench.commit()
    assert told(bench.store.diff_commits(DOT, first, second, {})) == CHANGES
    back = told(bench.store.diff_commits(DOT, second, first, {}))
    assert back[DATA][-1] == ("two", "added", 10_000, 10_000)
    assert back[LOGS][1] == ("two", "changed", 10_000, 2345)
    assert not any(bench.store.diff_commits(DOT, second, second, {}).values())


def test_a_touched_file_with_the_same_contents_is_no_change(bench: Bench) -> None:
    commit = bench.commit()
    (path_of(bench) / "one").write_bytes(b"1" * 10_000)
    os.utime(path_of(bench) / "two")
    diff = bench.store.diff_live(*where(bench), commit, {}, None)
    assert not any(diff.values())
    assert bench.differing(commit) == [DATA], "time stamps alone may name one too many"


def test_beyond_the_budget_files_count_whole_and_the_answer_says_so(bench: Bench) -> None:
    commit = bench.commit()
    change_everything(bench)
    (path_of(bench) / "tiny").write_bytes(b"")
    none = bench.store.diff_live(*where(bench), commit, {}, 0)
    assert ("one", "changed", 10_000, 10_000) in told(none)[DATA]
    assert not none[DATA].exact
    enough = bench.store.diff_live(*where(bench), commit, {}, 10_000)
    assert ("one", "changed", 10_000, 4096) in told(enough)[DATA]
    assert enough[DATA].exact
    assert not enough[LOGS].exact, "12345 bytes are more than the budget"
    (path_of(bench) / "two").write_bytes(b"!" * 10_000)
    shared = bench.store.diff_live(*where(bench), commit, {}, 19_999)[DATA]
    assert [c.changed_bytes for c in shared.changes if c.how == "changed"] == [4096, 10_000], "the first used the budget up"
    assert not shared.exact


def test_ignored_paths_are_not_told(bench: Bench) -> None:
    commit = bench.commit()
    change_everything(bench)
    ignore = {DATA: ["t*", "directory"], LOGS: ["*"]}
    assert told(bench.store.diff_live(*where(bench), commit, ignore, None)) == {DATA: [CHANGES[DATA][1]], LOGS: []}
    second = bench.commit()
    assert told(bench.store.diff_commits(DOT, commit, second, ignore)) == {DATA: [CHANGES[DATA][1]], LOGS: []}


def test_subdots_that_came_and_went_are_told(bench: Bench) -> None:
    first = bench.commit()
    del bench.directories[LOGS]
    live = told(bench.store.diff_live(*where(bench), first, {}, None))
    assert [c[:2] for c in live[LOGS]] == [("", "removed"), ("one", "removed"), ("two", "removed")]
    second = bench.commit()
    there = told(bench.store.diff_commits(DOT, first, second, {}))
    assert [c[1] for c in there[LOGS]] == ["removed"] * 3
    assert [c[1] for c in told(bench.store.diff_commits(DOT, second, first, {}))[LOGS]] == ["added"] * 3
    assert bench.restore(first)[DATA].paths == 0


def test_names_that_are_not_utf8_are_told(bench: Bench) -> None:
    commit = bench.commit()
    Path(os.fsdecode(bytes(path_of(bench)) + b"/\xff\n")).write_bytes(b"x")
    assert told(bench.store.diff_live(*where(bench), commit, {}, None))[DATA] == [("\udcff\n", "added", 1, 1)]


def test_a_directory_that_is_gone_is_an_error_that_names_it(bench: Bench) -> None:
    commit = bench.commit()
    bench.directories[DATA] = str(path_of(bench)) + "/gone"
    for look in (
        lambda: bench.differing(commit),
        lambda: bench.store.diff_live(*where(bench), commit, {}, None),
        lambda: bench.prepare(),
        lambda: bench.store.mark_quiet(*where(bench)),
    ):
        with pytest.raises(StoreError, match="data/gone"):
            look()
