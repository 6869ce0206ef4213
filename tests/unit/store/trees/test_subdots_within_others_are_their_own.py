"""Subdots within the directories of others are their own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from dm_compose.core.names import MAIN_WORKTREE, SubdotName
from tests.support.stores import DATA, DOT, Bench, Stores
from tests.support.trees import describe, differences
from tests.support.worktrees import remove, told


def nested(stores: Stores, path: Path, inner: str = "pg") -> Bench:
    """A stack that binds ./data and a directory in it."""
    (path / "data" / inner).mkdir(parents=True)
    (path / "data/file").write_text("outer")
    (path / "data" / inner / "table").write_text("inner")
    return stores.bench(path / "store", data=path / "data", pg=path / "data" / inner)


PG = SubdotName("pg")


@pytest.mark.parametrize("inner", ["pg", "a/b/pg"])
def test_a_subdot_in_anothers_directory_is_its_own(stores: Stores, fast_path: Path, inner: str) -> None:
    bench = nested(stores, fast_path, inner)
    first = bench.commit()
    wanted = describe(fast_path / "data")
    commit = bench.store.commit(DOT, first)
    assert (commit.subdots[DATA].files, commit.subdots[PG].files) == (1, 1)
    (fast_path / "data" / inner / "table").write_text("changed")
    (fast_path / "data" / inner / "new").touch()
    assert bench.differing(first) == [PG]
    assert told(bench.store.diff_live(DOT, MAIN_WORKTREE, bench.directories, first, {}, None)).keys() == {"pg"}
    commit_id, _ = bench.capture()
    assert bench.store.captured_changes(commit_id, {}) == [PG]
    second = bench.publish(commit_id)
    changed = describe(fast_path / "data")
    for target, tree in ((first, wanted), (second, changed)):
        bench.restore(target)
        assert differences(tree, describe(fast_path / "data")) == []
        assert bench.differing(target) == []


def test_restoring_the_outer_subdot_leaves_the_inner_one(stores: Stores, fast_path: Path) -> None:
    bench = nested(stores, fast_path)
    first = bench.commit()
    (fast_path / "data/file").write_text("changed")
    (fast_path / "data/pg/table").write_text("changed")
    entry = bench.begin(first)
    bench.store.restore_subdot(entry, DATA, bench.directories)
    bench.store.sync_restored(entry)
    bench.store.end_restore(entry)
    assert (fast_path / "data/file").read_text() == "outer"
    assert (fast_path / "data/pg/table").read_text() == "changed"


def test_a_directory_that_is_a_subdot_by_a_link_is_its_own_too(stores: Stores, fast_path: Path) -> None:
    """A volume's directory, or a bind source, may be reached through a symlink."""
    (fast_path / "data/pg").mkdir(parents=True)
    (fast_path / "data/pg/table").write_text("inner")
    (fast_path / "link").symlink_to("data")
    bench = stores.bench(fast_path / "store", data=fast_path / "data", pg=fast_path / "link/pg/")
    commit = bench.store.commit(DOT, bench.commit())
    assert (commit.subdots[DATA].files, commit.subdots[PG].files) == (0, 1)


@pytest.mark.parametrize("inner", ["pg", "a/b/pg"])
@pytest.mark.parametrize("before", ["nothing", "a directory", "a file", "a file above"])
def test_a_subdot_that_came_later_is_left_as_it_is_by_a_restore_to_before(
    local: Stores, fast_path: Path, inner: str, before: str
) -> None:
    bench = nested(local, fast_path, inner)
    bench.commit()
    shutil.rmtree(fast_path / "data" / inner.split("/")[0])
    if before == "a directory":
        (fast_path / "data" / inner).mkdir(parents=True)
        (fast_path / "data" / inner / "old").write_text("when it was no subdot yet")
        (fast_path / "data/z").mkdir()
        os.link(fast_path / "data" / inner / "old", fast_path / "data/z/same")
        os.link(fast_path / "data" / inner / "old", fast_path / "data/z/too")
    elif before == "a file":
        (fast_path / "data" / inner).parent.mkdir(parents=True, exist_ok=True)
        (fast_path / "data" / inner).write_text("a file")
    elif before == "a file above":
        (fast_path / "data" / inner.split("/")[0]).write_text("a file")
    bench.directories = {DATA: str(fast_path / "data")}
    old = bench.commit()
    remove(fast_path / "data" / inner.split("/")[0])
    (fast_path / "data" / inner).mkdir(parents=True)
    (fast_path / "data" / inner / "table").write_text("inner")
    (fast_path / "data/file").write_text("changed")
    shutil.rmtree(fast_path / "data/z", ignore_errors=True)
    bench.directories = {DATA: str(fast_path / "data"), PG: str(fast_path / "data" / inner)}
    bench.commit()
    kept = describe(fast_path / "data" / inner)
    for _ in range(2):
        bench.restore(old)
        assert (fast_path / "data/file").read_text() == "outer"
        assert differences(kept, describe(fast_path / "data" / inner)) == []
        assert bench.differing(old) == []
    if before == "a directory":
        assert (fast_path / "data/z/same").read_text() == "when it was no subdot yet"
        assert (fast_path / "data/z/same").samefile(fast_path / "data/z/too")
    bench.commit()


def test_a_subdot_that_went_is_restored_into_the_directory_that_held_it(stores: Stores, fast_path: Path) -> None:
    bench = nested(stores, fast_path)
    first = bench.commit()
    wanted = describe(fast_path / "data")
    del bench.directories[PG]
    second = bench.commit()
    assert bench.store.commit(DOT, second).subdots[DATA].files == 2
    (fast_path / "data/pg/table").write_text("changed")
    bench.restore(second)
    assert differences(wanted, describe(fast_path / "data")) == []
    bench.directories[PG] = str(fast_path / "data/pg")
    bench.restore(first)
    assert differences(wanted, describe(fast_path / "data")) == []
