"""A published commit and a restored tree survive a power cut."""

from __future__ import annotations

import os
import random

import pytest

from dm_compose.core.names import MAIN_WORKTREE
from tests.support import filesystems
from tests.support.filesystems import Mount
from tests.support.stores import DATA, DOT, Stores
from tests.support.subdots import nothing_left
from tests.support.trees import describe, differences


def test_what_was_published_survives_a_power_cut(local: Stores, disk: Mount) -> None:
    (disk.path / "data").mkdir()
    bench = local.bench(disk.path / "store", data=disk.path / "data")
    rng = random.Random(6)
    states = []
    for number in range(3):
        for name in range(20):
            if name % 3 == number:
                (disk.path / f"data/{name}").write_bytes(rng.randbytes(30_000))
        states.append((bench.commit(), describe(disk.path / "data")))
    (disk.path / "data/1").write_bytes(b"never written back")
    with filesystems.mounted(disk.power_cut()) as after:
        revived = local.bench(after.path / "store", data=after.path / "data")
        assert revived.head == states[-1][0]
        assert revived.store.unfinished(DOT) == []
        for commit, wanted in states:
            revived.restore(commit)
            assert differences(wanted, describe(after.path / "data")) == []
        local.close()


def test_what_was_restored_and_synced_survives_a_power_cut(local: Stores, disk: Mount) -> None:
    (disk.path / "data").mkdir()
    for name in range(20):
        (disk.path / f"data/{name}").write_bytes(os.urandom(30_000))
    bench = local.bench(disk.path / "store", data=disk.path / "data")
    commit = bench.commit()
    wanted = describe(disk.path / "data")
    for name in range(0, 20, 3):
        (disk.path / f"data/{name}").unlink()
    for name in range(1, 20, 3):
        (disk.path / f"data/{name}").write_bytes(b"changed")
    bench.restore(commit, move=True)
    with filesystems.mounted(disk.power_cut()) as after:
        revived = local.bench(after.path / "store", data=after.path / "data")
        assert differences(wanted, describe(after.path / "data")) == []
        assert revived.store.unfinished(DOT) == []
        assert revived.differing(commit) == []
        local.close()


def test_a_restore_cut_off_before_the_sync_is_still_in_the_journal_and_can_be_finished(local: Stores, disk: Mount) -> None:
    (disk.path / "data").mkdir()
    for name in range(20):
        (disk.path / f"data/{name}").write_bytes(os.urandom(30_000))
    bench = local.bench(disk.path / "store", data=disk.path / "data")
    commit = bench.commit()
    wanted = describe(disk.path / "data")
    for name in range(20):
        (disk.path / f"data/{name}").write_bytes(b"changed" * name)
    entry = bench.begin(commit, move=True)
    bench.store.restore_subdot(entry, DATA, {DATA: str(disk.path / "data")})
    with filesystems.mounted(disk.power_cut()) as after:
        revived = local.bench(after.path / "store", data=after.path / "data")
        (journal,) = revived.store.unfinished(DOT)
        revived.store.restore_subdot(journal.id, DATA, {DATA: str(after.path / "data")})
        revived.store.sync_restored(journal.id)
        revived.store.end_restore(journal.id)
        assert differences(wanted, describe(after.path / "data")) == []
        local.close()


def test_a_power_cut_in_the_middle_of_a_commit_leaves_the_commits_before_it(local: Stores, disk: Mount) -> None:
    (disk.path / "data").mkdir()
    (disk.path / "data/file").write_bytes(os.urandom(100_000))
    bench = local.bench(disk.path / "store", data=disk.path / "data")
    first = bench.commit()
    wanted = describe(disk.path / "data")
    (disk.path / "data/file").write_bytes(os.urandom(100_000))
    bench.prepare()
    with filesystems.mounted(disk.power_cut()) as after:
        revived = local.bench(after.path / "store", data=after.path / "data")
        for entry in revived.store.unfinished(DOT):
            revived.store.abandon(entry.id)
        nothing_left(after.path / "store", revived)
        assert revived.head == first
        revived.restore(first)
        assert differences(wanted, describe(after.path / "data")) == []
        local.close()


def test_after_a_power_cut_the_index_proves_nothing_about_contents_that_outran_their_time_stamps(
    local: Stores, disk: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    (disk.path / "data").mkdir()
    (disk.path / "data/table").write_bytes(b"A" * 65_536)
    bench = local.bench(disk.path / "store", data=disk.path / "data")
    first = bench.commit()
    bench.store.mark_quiet(DOT, MAIN_WORKTREE, bench.directories, [])
    os.sync()
    fd = os.open(disk.path / "data/table", os.O_RDWR)  # as InnoDB and others do: in place, and then fdatasync
    os.pwrite(fd, b"B" * 4096, 8192)
    os.fdatasync(fd)  # the contents are on the disk, and the ctime will be with the next transaction of the journal
    os.close(fd)
    with filesystems.mounted(disk.power_cut()) as after:
        monkeypatch.setattr("dm_compose.storage.index.boot_id", lambda: "another boot")
        assert b"B" * 4096 in (after.path / "data/table").read_bytes()
        revived = local.bench(after.path / "store", data=after.path / "data")
        assert revived.store.changed_since_quiet(DOT, MAIN_WORKTREE, revived.directories, {}) == [DATA]
        assert revived.differing(first) == [DATA]
        second = revived.commit()
        assert revived.differing(second) == []  # compared once; the index proves it from then on
        revived.restore(first)
        assert (after.path / "data/table").read_bytes() == b"A" * 65_536
        revived.restore(second)
        assert b"B" * 4096 in (after.path / "data/table").read_bytes()
        local.close()
