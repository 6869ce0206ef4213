"""The directories in the root of a tree are its subdots."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from dm_compose.core.commit import Worktree
from dm_compose.core.names import MAIN_WORKTREE, DotName
from dm_compose.errors import ExistsError, NotFoundError
from tests.support.stores import DOT, Stores, TreeBench
from tests.support.trees import describe, differences
from tests.support.worktrees import DB, FEATURE, NO_DOT, ROOT, SECOND, X, pointed_to, same, state, switch_to


def test_a_new_tree_is_an_empty_directory_and_current(stores: Stores, fast_path: Path) -> None:
    bench = stores.trees(fast_path / "store")
    assert bench.store.worktree(DOT, MAIN_WORKTREE).tree
    assert bench.directories.keys() == {ROOT}
    assert list(bench.top.iterdir()) == []
    assert bench.store.current(DOT) == MAIN_WORKTREE
    assert pointed_to(fast_path) == bench.top
    assert bench.head is None


def test_directories_with_a_subdots_name_are_subdots_and_all_else_is_the_roots(bench: TreeBench) -> None:
    outside = bench.top.parent
    for name in ("x", "__default__", "a.b-c_d", "9"):
        (bench.top / name).mkdir()
    for name in ("_x", "__root__", "lost+found", "with space", "-x", "x" * 101, os.fsdecode(b"\xff")):
        (bench.top / name).mkdir()
    (bench.top / "file").touch()
    (bench.top / "link").symlink_to(outside)
    os.mkfifo(bench.top / "fifo")
    assert bench.directories.keys() == {ROOT, DB, "x", "__default__", "a.b-c_d", "9"}
    assert all(Path(path) == bench.top / ("" if name == ROOT else name) for name, path in bench.directories.items())
    commit = bench.commit()
    assert set(bench.store.commit(DOT, commit).subdots) == set(bench.directories)
    wanted = state(bench)
    for path in bench.top.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    bench.restore(commit)
    same(bench, wanted)


def test_a_subdot_is_made_empty_once(bench: TreeBench) -> None:
    path = bench.store.make_subdot(DOT, MAIN_WORKTREE, X)
    assert path == str(bench.top / "x")
    assert list(Path(path).iterdir()) == []
    (Path(path) / "file").touch()
    assert bench.store.make_subdot(DOT, MAIN_WORKTREE, X) == path
    assert (Path(path) / "file").exists()
    assert bench.store.make_subdot(DOT, MAIN_WORKTREE, ROOT) == str(bench.top)


def test_a_subdot_of_what_is_no_tree_is_not_made(bench: TreeBench, fast_path: Path) -> None:
    plain = DotName("plain")
    bench.store.create_dot(plain)
    for dot, worktree in ((NO_DOT, MAIN_WORKTREE), (DOT, SECOND), (plain, MAIN_WORKTREE)):
        with pytest.raises(NotFoundError, match=dot):
            bench.store.make_subdot(dot, worktree, X)
        with pytest.raises(NotFoundError, match=dot):
            bench.store.tree(dot, worktree)
    assert sorted(p.name for p in (fast_path / "store/trees").iterdir()) == ["shop"]
    assert not (fast_path / "store/trees/shop/second").exists()


@pytest.mark.parametrize("what", ["file", "link", "dangling link"])
def test_no_subdot_is_made_where_something_else_is(bench: TreeBench, fast_path: Path, what: str) -> None:
    """A container that may write to the root must not get the host's directories as volumes."""
    outside = fast_path / "outside"
    if what == "file":
        (bench.top / "x").write_text("mine")
    else:
        (bench.top / "x").symlink_to(outside)
    if what == "link":
        outside.mkdir()
    with pytest.raises(ExistsError, match="x"):
        bench.store.make_subdot(DOT, MAIN_WORKTREE, X)
    assert outside.exists() == (what == "link")


def test_a_tree_whose_directory_is_lost_can_be_looked_at_and_restored(bench: TreeBench) -> None:
    commit = bench.commit()
    wanted = state(bench)
    shutil.rmtree(bench.top)
    assert bench.directories == {ROOT: str(bench.top)}
    assert sorted(bench.store.differing(DOT, MAIN_WORKTREE, bench.directories, commit)) == [ROOT, DB]
    bench.restore(commit)
    same(bench, wanted)


def test_a_dot_that_exists_is_not_touched_by_making_it_again(bench: TreeBench, fast_path: Path) -> None:
    commit = bench.commit()
    bench.store.add_worktree(Worktree(DOT, SECOND, FEATURE, None, tree=True), commit)
    switch_to(bench, SECOND)
    plain = DotName("plain")
    bench.store.create_dot(plain)
    before = describe(fast_path / "store/trees")
    for dot in (DOT, plain):
        for tree in (True, False):
            with pytest.raises(ExistsError):
                bench.store.create_dot(dot, tree=tree)
    assert differences(before, describe(fast_path / "store/trees")) == []
    assert pointed_to(fast_path) == bench.top.parent / "second"
