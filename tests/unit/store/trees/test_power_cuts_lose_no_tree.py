"""A power cut loses no tree."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dm_compose.core.names import MAIN_WORKTREE, DotName, WorktreeName
from tests.support import filesystems
from tests.support.filesystems import Mount
from tests.support.stores import DOT, Stores
from tests.support.worktrees import DB, OTHER, ROOT, SECOND, X, add, same, state, switch_to


def test_trees_survive_a_power_cut_as_they_were_when_a_call_returned(local: Stores, disk: Mount) -> None:
    bench = local.trees(disk.path / "store")
    db = Path(bench.store.make_subdot(DOT, MAIN_WORKTREE, DB))
    (db / "table").write_bytes(os.urandom(100_000))
    first = bench.commit()
    wanted = state(bench)
    add(bench, first)
    add(bench, first, OTHER, WorktreeName("third"))
    switch_to(bench, SECOND)
    bench.store.remove_worktree(DOT, WorktreeName("third"))
    bench.store.make_subdot(DOT, MAIN_WORKTREE, X)
    kept = DotName("kept")
    bench.store.create_dot(kept, tree=True)
    with filesystems.mounted(disk.power_cut()) as after:
        revived = local.trees(after.path / "store", SECOND)
        assert revived.store.current(DOT) == SECOND
        assert (after.path / "store/trees/shop/.current").resolve() == revived.top
        assert revived.store.worktrees(DOT).keys() == {MAIN_WORKTREE, SECOND}
        same(revived, wanted)
        assert revived.differing(first) == []
        assert revived.store.tree(DOT, MAIN_WORKTREE).keys() == {ROOT, DB, X}
        assert list(Path(revived.store.tree(kept, MAIN_WORKTREE)[ROOT]).iterdir()) == []
        assert (after.path / "store/trees/kept/.current").is_symlink()
        assert revived.store.check({}, repair=False).sound
        local.close()


def test_a_commit_after_gc_and_a_repair_survive_a_power_cut(local: Stores, disk: Mount) -> None:
    bench = local.trees(disk.path / "store")
    (bench.top / "file").write_bytes(os.urandom(100_000))
    (bench.top / "twin").write_bytes((bench.top / "file").read_bytes())
    hidden = bench.aside()
    bench.store.collect(datetime.now(UTC) + timedelta(hours=1))
    commit = bench.commit()
    wanted = state(bench)
    bench.store.check({}, repair=False)
    lost = disk.path / "store/objects" / commit / "1"
    lost.unlink()
    assert bench.store.check({}, repair=True).sound
    with filesystems.mounted(disk.power_cut()) as after:
        revived = local.trees(after.path / "store")
        assert not (after.path / "store/objects" / hidden).exists()
        assert revived.store.check({}, repair=False).damage == ()
        shutil.rmtree(revived.top)
        revived.restore(commit)
        same(revived, wanted)
        local.close()
