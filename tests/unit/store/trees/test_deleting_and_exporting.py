"""A deleted dot takes its trees along; an exported commit is what was committed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dm_compose.core.names import CommitId, DotName
from dm_compose.errors import ExistsError, NotFoundError
from tests.support.stores import DOT, Stores, TreeBench
from tests.support.trees import describe, differences
from tests.support.worktrees import NO_DOT, ROOT, add, pointed_to, same, state

# Deleting a dot


def test_a_deleted_dot_takes_its_trees_along(bench: TreeBench, fast_path: Path) -> None:
    first = bench.commit()
    add(bench, first)
    kept = DotName("kept")
    bench.store.create_dot(kept, tree=True)
    bench.store.delete_dot(DOT)
    assert [p.name for p in (fast_path / "store/trees").iterdir()] == ["kept"]
    assert not (fast_path / "store/index/shop").exists()
    assert list((fast_path / "store/incoming").iterdir()) == []
    bench.store.create_dot(DOT, tree=True)
    assert bench.directories.keys() == {ROOT}
    assert list(bench.top.iterdir()) == []
    assert pointed_to(fast_path) == bench.top
    (bench.top / "file").touch()
    wanted = state(bench)
    again = bench.commit()
    (bench.top / "file").unlink()
    bench.restore(again)
    same(bench, wanted)


def test_a_dot_made_where_a_killed_deletion_left_a_tree_begins_empty(bench: TreeBench, fast_path: Path) -> None:
    bench.commit()
    old = fast_path / "old"
    shutil.copytree(fast_path / "store/trees/shop", old, symlinks=True)
    for tree in (False, True):
        bench.store.delete_dot(DOT)
        (fast_path / "store/trees").mkdir(exist_ok=True)
        shutil.copytree(old, fast_path / "store/trees/shop", symlinks=True)
        bench.store.create_dot(DOT, tree=tree)
        assert not (fast_path / "store/trees/shop/main/readme").exists()
    assert bench.directories.keys() == {ROOT}


# Export


def test_an_exported_commit_is_what_was_committed(bench: TreeBench, fast_path: Path) -> None:
    first = bench.commit()
    wanted = state(bench)
    (bench.top / "db/table").unlink()
    bench.commit()
    bench.store.export(DOT, first, str(fast_path / "deep/export"))
    assert differences(wanted, describe(fast_path / "deep/export")) == []


def test_subdots_of_volumes_are_exported_below_the_directory(stores: Stores, fast_path: Path) -> None:
    for name in ("data", "logs"):
        (fast_path / name).mkdir()
        (fast_path / name / "file").write_text(name)
    bench = stores.bench(fast_path / "store", data=fast_path / "data", logs=fast_path / "logs")
    commit = bench.commit()
    (fast_path / "export").mkdir()
    bench.store.export(DOT, commit, str(fast_path / "export"))
    for name in ("data", "logs"):
        assert differences(describe(fast_path / name), describe(fast_path / "export" / name)) == []
    assert sorted(p.name for p in (fast_path / "export").iterdir()) == ["data", "logs"]


def test_an_export_removes_nobodys_files(bench: TreeBench, fast_path: Path) -> None:
    commit = bench.commit()
    (fast_path / "home/db").mkdir(parents=True)
    (fast_path / "home/db/precious").write_text("mine")
    before = describe(fast_path / "home")
    with pytest.raises(ExistsError, match="home") as caught:
        bench.store.export(DOT, commit, str(fast_path / "home"))
    assert caught.value.hint
    assert differences(before, describe(fast_path / "home")) == []


def test_an_export_of_what_does_not_exist_makes_nothing(bench: TreeBench, fast_path: Path) -> None:
    commit = bench.commit()
    for dot, what in ((DOT, CommitId("0" * 32)), (NO_DOT, commit)):
        with pytest.raises(NotFoundError):
            bench.store.export(dot, what, str(fast_path / "export"))
    assert not (fast_path / "export").exists()
