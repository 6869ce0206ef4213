"""A switch moves the volumes to another worktree, and touches no file and no branch."""

from __future__ import annotations

from pathlib import Path

import pytest

from dm_compose.core.commit import SWITCH
from dm_compose.core.names import MAIN_WORKTREE
from dm_compose.errors import InUseError
from tests.support.stores import DOT, TreeBench
from tests.support.worktrees import FEATURE, MASTER, OTHER, SECOND, add, pointed_to, same, state, switch_to


def test_a_switch_has_the_volumes_follow_another_worktree_and_is_logged_there(bench: TreeBench, fast_path: Path) -> None:
    first = bench.commit()
    second = add(bench, first)
    made = second.commit()
    entry = bench.store.begin_switch(DOT, SECOND, ["c1", "c2"], "checkout feature")
    (journal,) = bench.store.unfinished(DOT)
    assert (journal.id, journal.operation, journal.worktree, journal.stopped) == (entry, SWITCH, SECOND, ("c1", "c2"))
    assert journal.move.action == "checkout feature"
    assert bench.store.current(DOT) == MAIN_WORKTREE
    for _ in range(2):
        bench.store.switch(entry)
        assert bench.store.current(DOT) == SECOND
        assert pointed_to(fast_path) == second.top
    bench.store.close_entry(entry)
    assert bench.store.unfinished(DOT) == []
    (newest, *_) = log = bench.store.reflog(DOT, SECOND)
    assert [e.action for e in log] == ["checkout feature", "commit"]
    assert (newest.left, newest.branch, newest.old, newest.new, newest.saved) == (MASTER, FEATURE, first, made, None)
    assert [e.action for e in bench.store.reflog(DOT, MAIN_WORKTREE)] == ["commit"]


def test_a_switch_touches_no_file_and_no_branch(bench: TreeBench) -> None:
    first = bench.commit()
    second = add(bench, first)
    (bench.top / "dirt").touch()
    (second.top / "other dirt").touch()
    one, two, branches = state(bench), state(second), bench.store.branches(DOT)
    for name in (SECOND, MAIN_WORKTREE, SECOND):
        switch_to(bench, name)
    same(bench, one)
    same(second, two)
    assert bench.store.branches(DOT) == branches
    assert bench.store.uncommitted(DOT) == {}


def test_a_switch_to_where_the_volumes_are_moves_and_logs_nothing(bench: TreeBench) -> None:
    bench.commit()
    before = bench.store.reflog(DOT, MAIN_WORKTREE)
    switch_to(bench, MAIN_WORKTREE)
    assert bench.store.reflog(DOT, MAIN_WORKTREE) == before


def test_a_cancelled_switch_has_not_happened(bench: TreeBench, fast_path: Path) -> None:
    second = add(bench, bench.commit())
    entry = bench.store.begin_switch(DOT, SECOND, [], "checkout")
    for _ in range(2):
        bench.store.close_entry(entry)
    assert bench.store.current(DOT) == MAIN_WORKTREE
    assert pointed_to(fast_path) == bench.top
    assert second.store.reflog(DOT, SECOND) == []


def test_the_current_and_the_main_tree_cannot_be_removed(bench: TreeBench) -> None:
    add(bench, bench.commit())
    switch_to(bench, SECOND)
    for name, word in ((SECOND, "current"), (MAIN_WORKTREE, "main")):
        with pytest.raises(InUseError, match=word):
            bench.store.remove_worktree(DOT, name)
    switch_to(bench, MAIN_WORKTREE)
    bench.store.remove_worktree(DOT, SECOND)


def test_a_removed_branch_is_noted_in_the_worktree_that_is_current(bench: TreeBench) -> None:
    first = bench.commit()
    add(bench, first)
    switch_to(bench, SECOND)
    bench.store.add_branch(DOT, OTHER, first)
    bench.store.remove_branch(DOT, OTHER)
    assert bench.store.reflog(DOT, SECOND)[0].action == "branch -d other"
    assert "branch -d other" not in [e.action for e in bench.store.reflog(DOT, MAIN_WORKTREE)]
