"""Worktrees share no files."""

from __future__ import annotations

from pathlib import Path

import pytest

from dm_compose.core.commit import Worktree
from dm_compose.core.names import MAIN_WORKTREE, CommitId
from dm_compose.errors import DamagedError, ExistsError, InUseError, NotFoundError
from tests.support.stores import DOT, TreeBench
from tests.support.worktrees import DB, FEATURE, MASTER, OTHER, SECOND, add, live, same, state


def test_a_new_tree_is_filled_with_its_commit(bench: TreeBench) -> None:
    first = bench.commit()
    wanted = state(bench)
    (bench.top / "db/table").write_bytes(b"later")
    bench.commit()
    second = add(bench, first)
    same(second, wanted)
    assert (second.branch, second.head) == (FEATURE, first)
    assert second.differing(first) == []
    assert live(second, first) == {}


def test_what_is_in_a_new_tree_is_known_without_reading_or_copying_it(bench: TreeBench) -> None:
    first = bench.commit()
    second = add(bench, first)
    commit_id, copied_bytes = second.capture()
    made = second.store.commit(DOT, second.publish(commit_id))
    assert (made.parent, made.new_bytes, copied_bytes) == (first, 0, 0)
    before = second.store.commit(DOT, first)
    assert {s: v.manifest for s, v in made.subdots.items()} == {s: v.manifest for s, v in before.subdots.items()}


def test_a_new_tree_is_filled_with_the_uncommitted_state_of_its_branch(bench: TreeBench) -> None:
    first = bench.commit()
    (bench.top / "db/table").write_bytes(b"uncommitted")
    (bench.top / "x").mkdir()
    wanted = state(bench)
    saved = bench.checkout(OTHER, first)
    assert bench.store.uncommitted(DOT) == {MASTER: saved}
    second = add(bench, first, MASTER)
    same(second, wanted)
    assert (second.branch, second.head) == (MASTER, first)
    assert bench.store.uncommitted(DOT) == {}
    assert live(second, first).keys() == {"db", "x"}


def test_a_tree_on_an_old_branch_is_filled_with_its_head_wherever_it_is_said_to_start(bench: TreeBench) -> None:
    first = bench.commit()
    (bench.top / "db/table").write_bytes(b"later")
    head = bench.commit()
    wanted = state(bench)
    bench.store.add_branch(DOT, FEATURE, head)
    second = add(bench, first)
    assert (second.branch, second.head) == (FEATURE, head)
    same(second, wanted)
    assert second.differing(head) == []


def test_trees_do_not_share_files(bench: TreeBench) -> None:
    first = bench.commit()
    wanted = state(bench)
    second = add(bench, first)
    (second.top / "db/table").write_bytes(b"changed")
    made = second.commit()
    same(bench, wanted)
    assert bench.differing(first) == []
    bench.restore(made)
    assert (bench.top / "db/table").read_bytes() == b"changed"


def test_a_tree_that_cannot_be_added_leaves_nothing(bench: TreeBench, fast_path: Path) -> None:
    first = bench.commit()
    with pytest.raises(InUseError):
        add(bench, first, MASTER)
    with pytest.raises(NotFoundError):
        add(bench, CommitId("0" * 32))
    with pytest.raises(ExistsError):
        add(bench, first, FEATURE, MAIN_WORKTREE)
    for path in (fast_path / "store/objects").rglob("*"):
        if path.is_file() and path.suffix != ".manifest":
            path.unlink()
    with pytest.raises(DamagedError):
        add(bench, first)
    assert bench.store.worktrees(DOT).keys() == {MAIN_WORKTREE}
    assert bench.store.branches(DOT).keys() == {MASTER}
    assert [p.name for p in bench.top.parent.iterdir() if not p.is_symlink()] == ["main"]
    assert list((fast_path / "store/incoming").iterdir()) == []


def test_a_removed_tree_is_gone_and_can_be_made_again(bench: TreeBench, fast_path: Path) -> None:
    first = bench.commit()
    second = add(bench, first)
    (second.top / "db/table").write_bytes(b"changed")
    made = second.commit()
    (second.top / "dirt").touch()
    bench.store.remove_worktree(DOT, SECOND)
    assert not (bench.top.parent / "second").exists()
    assert not (fast_path / "store/index/shop/second").exists()
    assert list((fast_path / "store/incoming").iterdir()) == []
    again = add(bench, made)
    assert (again.top / "db/table").read_bytes() == b"changed"
    assert again.differing(made) == []
    assert not (again.top / "dirt").exists()


def test_a_tree_that_nobody_registered_is_replaced(bench: TreeBench) -> None:
    """A killed command may have left it."""
    first = bench.commit()
    wanted = state(bench)
    (bench.top.parent / "second/db").mkdir(parents=True)
    (bench.top.parent / "second/db/old").touch()
    same(add(bench, first), wanted)


def test_a_worktree_that_is_no_tree_can_stand_beside_trees(bench: TreeBench) -> None:
    first = bench.commit()
    bench.store.add_worktree(Worktree(DOT, SECOND, FEATURE, None, {DB: "volume"}, "project"), first)
    assert not (bench.top.parent / "second").exists()
    bench.store.remove_worktree(DOT, SECOND)
