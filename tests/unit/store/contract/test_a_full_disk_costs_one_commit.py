"""A disk that fills up costs the commit that it happens to, and no other."""

from __future__ import annotations

import contextlib
import os
import random
from pathlib import Path
from typing import Any

import pytest

from dm_compose.core.names import MAIN_WORKTREE, CommitId, DotName, SubdotName
from dm_compose.errors import (
    DiskFullError,
)
from tests.support import filesystems
from tests.support.filesystems import Mount, leave_free
from tests.support.stores import DATA, DOT, Bench, Stores
from tests.support.subdots import MIB, check, directories, nothing_left, path_of, trees, where
from tests.support.trees import describe, differences
from tests.unit.conftest import available


def small_bench(stores: Stores, small: Mount, tmp_path: Path) -> Bench:
    return stores.bench(small.path / "store", **directories(tmp_path))


def still_works(bench: Bench, root: Path, commit: CommitId, wanted: dict[SubdotName, Any]) -> None:
    """The old commit is intact, nothing is left over, and commits can be made."""
    nothing_left(root, bench)
    assert bench.head == commit
    (path_of(bench) / "one").write_bytes(b"new work")
    now = trees(bench)
    second = bench.commit()
    bench.restore(commit)
    check(bench, wanted)
    bench.restore(second)
    check(bench, now)


def test_a_disk_that_is_full_while_copying_costs_that_commit_only(stores: Stores, small: Mount, tmp_path: Path) -> None:
    bench = small_bench(stores, small, tmp_path)
    first = bench.commit()
    wanted = trees(bench)
    (path_of(bench) / "large").write_bytes(os.urandom(20 * MIB))
    with pytest.raises(DiskFullError) as caught:
        bench.prepare()
    assert caught.value.hint
    (path_of(bench) / "large").unlink()
    still_works(bench, small.path / "store", first, wanted)


def test_a_disk_that_is_full_during_capture_costs_that_commit_only(local: Stores, small: Mount, tmp_path: Path) -> None:
    bench = small_bench(local, small, tmp_path)
    first = bench.commit()
    wanted = trees(bench)
    (path_of(bench) / "large").write_bytes(b"")
    entry = bench.prepare()
    (path_of(bench) / "large").write_bytes(os.urandom(20 * MIB))  # the early copy is brought up to date
    (path_of(bench) / "larger").write_bytes(os.urandom(20 * MIB))  # a new file is copied
    with pytest.raises(DiskFullError):
        bench.store.capture(entry)
    (path_of(bench) / "large").unlink()
    (path_of(bench) / "larger").unlink()
    bench.store.abandon(entry)
    still_works(bench, small.path / "store", first, wanted)


@pytest.mark.parametrize("free", [0, 8 << 10, 40 << 10])
def test_a_disk_that_is_full_when_a_commit_is_published_costs_that_commit_only(
    local: Stores, small: Mount, tmp_path: Path, free: int
) -> None:
    bench = small_bench(local, small, tmp_path)
    first = bench.commit()
    wanted = trees(bench)
    for _ in range(400):
        (path_of(bench) / os.urandom(100).hex()).touch()  # names that a manifest cannot compress away
    commit_id, _ = bench.capture()
    ballast = leave_free(small.path, free)
    with pytest.raises(DiskFullError):
        bench.publish(commit_id)
    with contextlib.suppress(DiskFullError):
        bench.store.abandon(commit_id)
    ballast.unlink()
    for entry in bench.store.unfinished(DOT):  # as the next command does
        bench.store.abandon(entry.id)
    for path in path_of(bench).glob("0*"):
        path.unlink()
    still_works(bench, small.path / "store", first, wanted)


def test_a_store_on_a_full_disk_can_be_read(local: Stores, small: Mount, tmp_path: Path) -> None:
    bench = small_bench(local, small, tmp_path)
    commit = bench.commit()
    leave_free(small.path, 0)
    assert [c.id for c in bench.store.log(DOT, commit)] == [commit]
    assert bench.differing(commit) == []
    token = bench.store.lock("shop", "me", 0)
    bench.store.unlock(token)


def test_a_store_that_cannot_be_opened_because_the_disk_is_full_says_so(stores: Stores, tmp_path: Path) -> None:
    """SQLite needs some pages to share its index. (On a full tmpfs the kernel kills the process at that point: no test.)"""
    with filesystems.mounted(available(lambda: filesystems.make_small("ext4"))) as small:
        stores.bench(small.path / "store", **directories(tmp_path)).commit()
        stores.close()
        leave_free(small.path, 0)
        with pytest.raises(DiskFullError):
            stores.open(small.path / "store").dots()


def test_every_call_on_a_full_disk_says_that_it_is_full_or_works(local: Stores, small: Mount, tmp_path: Path) -> None:
    bench = small_bench(local, small, tmp_path)
    commit = bench.commit()
    (path_of(bench) / "one").write_bytes(b"y" * 20_000)
    leave_free(small.path, 0)
    for call in (
        lambda: bench.store.create_dot(DotName("new")),
        lambda: bench.store.set_places(DOT, MAIN_WORKTREE, {DATA: "x" * 100_000}),
        lambda: bench.store.mark_quiet(*where(bench)),
        lambda: bench.store.note(DOT, MAIN_WORKTREE, "x" * 100_000, commit),
        lambda: bench.begin(commit),
        lambda: bench.store.begin_session(DOT, MAIN_WORKTREE, commit),
        lambda: bench.commit(),
        lambda: bench.store.lock("new lock", "x" * 100_000, 0),
    ):
        with contextlib.suppress(DiskFullError):
            call()


@pytest.mark.parametrize("free", [0, 700 << 10, 2500 << 10])
def test_a_volume_that_is_full_during_a_restore_is_restored_once_there_is_space(
    local: Stores, small: Mount, tmp_path: Path, free: int
) -> None:
    tree = small.path / "data"
    tree.mkdir()
    rng = random.Random(4)
    for number in range(4):
        (tree / f"{number}").write_bytes(rng.randbytes(MIB))
    bench = local.bench(tmp_path / "store", data=tree)
    commit = bench.commit()
    wanted = describe(tree)
    for number in (0, 1):
        (tree / f"{number}").unlink()
    (tree / "2").write_bytes(b"")
    (tree / "3").write_bytes(rng.randbytes(MIB))
    ballast = leave_free(small.path, free)
    with pytest.raises(DiskFullError, match="restoring data"):
        bench.restore(commit)
    ballast.unlink()
    assert bench.differing(commit) == [DATA]
    (entry,) = bench.store.unfinished(DOT)
    bench.store.restore_subdot(entry.id, DATA, {DATA: str(tree)})
    bench.store.sync_restored(entry.id)
    bench.store.end_restore(entry.id)
    assert differences(wanted, describe(tree)) == []
    assert bench.differing(commit) == []
