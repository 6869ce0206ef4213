"""A commit of a large file costs the blocks that changed. So does a restore, and no block can be lost unseen."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dm_compose.core.names import MAIN_WORKTREE, CommitId
from dm_compose.errors import DamagedError, DiskFullError
from dm_compose.objects.delta import CHUNK_BLOCKS, MAX_EXTENTS
from dm_compose.objects.extents import BLOCK_BYTES
from dm_compose.store.local.store import LocalStore
from tests.support.crashing import stops
from tests.support.filesystems import Mount, leave_free
from tests.support.stores import DATA, DOT, Bench
from tests.support.trees import allocated

MIB = 1 << 20
SIZE = 2 * MIB + 1234


class Table:
    """A store, and a large file in its only subdot. Where these are, no blocks can be shared."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "data").mkdir(parents=True, exist_ok=True)
        self.file = home / "data/table"
        self.bench = Bench(LocalStore(home / "store"), data=home / "data")
        self.random = random.Random(7)

    def fill(self) -> CommitId:
        self.file.write_bytes(self.random.randbytes(SIZE))
        return self.bench.commit()

    def change(self, *blocks: int) -> None:
        with open(self.file, "r+b") as file:
            for block in blocks:
                file.seek(block * BLOCK_BYTES + 17)
                file.write(self.random.randbytes(8))

    def objects(self) -> Path:
        return self.home / "store/objects"

    def taken(self) -> int:
        """Return the bytes on the disk of all that is stored."""
        return sum(allocated(path) for path in self.objects().rglob("*") if path.is_file())

    def contents(self, commit: CommitId, also: Sequence[str] = ()) -> bytes:
        place = self.home / "export"
        self.bench.store.export(DOT, commit, str(place))
        found = (place / "data/table").read_bytes()
        for name in ("table", *also):
            (place / "data" / name).unlink()
        (place / "data").rmdir()
        place.rmdir()
        return found

    def collect(self) -> int:
        return self.bench.store.collect(datetime.now(UTC) + timedelta(hours=1)).size_bytes


@pytest.fixture
def table(fast_path: Path) -> Iterator[Table]:
    made = Table(fast_path)
    yield made
    made.bench.store.close()


def test_a_commit_of_a_changed_block_takes_some_blocks(table: Table) -> None:
    table.fill()
    before = table.taken()
    table.change(5)
    entry, _ = table.bench.capture()
    assert table.bench.store.commit(DOT, table.bench.publish(entry)).new_bytes == BLOCK_BYTES
    assert table.taken() - before <= 6 * BLOCK_BYTES, "block, sum, map, manifest, each at most one, and a directory"


def test_a_restore_of_a_changed_block_writes_it_and_reads_no_other_if_the_state_before_was_kept(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = table.fill()
    table.change(5)
    table.bench.aside()
    read = []
    original = os.pread

    def pread(fd: int, count: int, offset: int) -> bytes:
        read.append(count)
        return original(fd, count, offset)

    monkeypatch.setattr(os, "pread", pread)
    assert table.bench.restore(first)[DATA].changed_bytes == BLOCK_BYTES
    monkeypatch.undo()
    assert sum(read) < 20 * BLOCK_BYTES
    assert table.file.read_bytes() == table.contents(first)


def test_a_file_that_was_rewritten_with_the_same_contents_adds_nothing(table: Table) -> None:
    table.fill()
    before = {path.name for path in table.objects().rglob("*")}
    table.file.write_bytes(table.file.read_bytes())
    table.bench.commit()
    added = [path.name for path in table.objects().rglob("*") if path.name not in before]
    assert [name for name in added if not name.endswith(".manifest")] == [table.bench.head]


def test_zeros_cost_nothing_in_a_new_file_and_in_a_changed_one(table: Table) -> None:
    table.file.write_bytes(bytes(SIZE))
    table.bench.commit()
    assert table.taken() < 10 * BLOCK_BYTES
    table.fill()
    before = table.taken()
    with open(table.file, "r+b") as file:
        file.write(bytes(MIB))
    zeros = table.bench.commit()
    assert table.taken() - before < 10 * BLOCK_BYTES
    assert table.contents(zeros) == table.file.read_bytes()


def test_however_many_commits_there_are_no_part_of_a_file_is_in_too_many_pieces(table: Table) -> None:
    table.fill()
    wanted = {}
    for _ in range(150):
        table.change(*(table.random.randrange(SIZE // BLOCK_BYTES) for _ in range(9)))
        wanted[table.bench.commit()] = table.file.read_bytes()
    (ref,) = [f.entry.ref for f in table.bench.local._indexes.load((DOT, MAIN_WORKTREE, DATA)).values() if f.entry.size]
    with table.bench.local._objects.open_object(ref) as found:
        pieces = found.extent_map().extents
        chunks = range(0, SIZE // BLOCK_BYTES, CHUNK_BLOCKS)
        most = max(len(list(found.extent_map().between(first, first + CHUNK_BLOCKS))) for first in chunks)
    assert MAX_EXTENTS // 2 < most <= MAX_EXTENTS
    assert len({piece.source for piece in pieces}) > 2
    for commit, contents in wanted.items():
        assert table.contents(commit) == contents


def halves(table: Table) -> tuple[CommitId, bytes]:
    """Leave a commit, whose file shares half of its blocks with one that nothing names. Return it, and what the file holds."""
    table.file.write_bytes(table.random.randbytes(SIZE))
    table.bench.aside()
    table.change(*range(256))
    return table.bench.commit(), table.file.read_bytes()


def test_gc_gives_back_the_blocks_of_a_file_that_no_commit_needs_and_keeps_the_others(table: Table) -> None:
    commit, contents = halves(table)
    before = table.taken()
    told = table.bench.store.garbage(datetime.now(UTC) + timedelta(hours=1))
    freed = table.collect()
    assert freed == told.size_bytes
    assert 256 * BLOCK_BYTES <= freed <= before - table.taken()
    assert table.contents(commit) == contents
    assert table.bench.store.check({}, repair=False).sound
    assert not table.bench.store.garbage(datetime.now(UTC) + timedelta(hours=1))
    table.change(300)
    again = table.bench.commit()
    assert table.contents(again) == table.file.read_bytes()


def test_gc_killed_anywhere_leaves_no_commit_without_a_block_of_it(fast_path: Path) -> None:
    made = Table(fast_path / "made")
    commit, contents = halves(made)
    made.bench.store.close()
    before = made.taken()
    for root in stops(fast_path / "made", fast_path / "case", lambda root: Table(root).collect()):
        table = Table(root)
        assert table.contents(commit) == contents
        table.collect()
        assert table.contents(commit) == contents
        assert before - table.taken() >= 256 * BLOCK_BYTES
        assert table.bench.store.check({}, repair=False).sound
        table.bench.store.close()


def test_a_commit_of_a_large_file_killed_anywhere_is_whole_or_not_there(fast_path: Path) -> None:
    made = Table(fast_path / "made")
    first = made.fill()
    old = made.file.read_bytes()
    made.change(3, 400)
    made.bench.store.close()
    new, seen = made.file.read_bytes(), set()
    for root in stops(fast_path / "made", fast_path / "case", lambda root: Table(root).bench.commit()):
        table = Table(root)
        for entry in table.bench.store.unfinished(DOT):
            table.bench.store.abandon(entry.id)
        head = table.bench.head
        seen.add(head == first)
        assert table.contents(head) == (old if head == first else new)
        assert table.contents(table.bench.commit()) == new
        assert table.contents(first) == old
        table.bench.store.close()
    assert seen == {True, False}


@pytest.mark.parametrize("block", [0, 2, 5, 511, SIZE // BLOCK_BYTES])
def test_a_damaged_block_is_found_by_fsck_refused_by_a_restore_and_repaired_from_a_live_file(table: Table, block: int) -> None:
    first = table.fill()
    table.change(0, 5)
    second = table.bench.commit()
    (whole,) = [path for path in (table.objects() / first).iterdir() if path.name == "1"]
    damaged = table.objects() / second / "data" if block in (0, 5) else whole
    with open(damaged, "r+b") as file:
        file.seek({0: 0, 5: BLOCK_BYTES}.get(block, block * BLOCK_BYTES) + 99)
        file.write(b"damage")
    (found,) = table.bench.store.check({}, repair=False).damage
    assert (found.where, set(found.commits)) == (
        f"{damaged.parent.name}/{damaged.name}",
        {second} if block in (0, 5) else {first, second},
    )
    wanted = table.file.read_bytes()
    table.change(*range(SIZE // BLOCK_BYTES))
    live = table.file.read_bytes()
    with pytest.raises(DamagedError, match=found.where):
        table.bench.restore(second)
    table.file.write_bytes(live)
    with pytest.raises(DamagedError, match=found.where):
        table.contents(second)
    table.file.write_bytes(wanted)
    (found,) = table.bench.store.check({DOT: {MAIN_WORKTREE: table.bench.directories}}, repair=True).damage
    assert found.repaired
    assert table.bench.store.check({}, repair=False).sound
    entry = table.bench.store.unfinished(DOT)[0]
    table.bench.finish(entry.id)
    assert table.file.read_bytes() == wanted


def test_a_lost_file_of_blocks_is_named_with_all_commits_that_need_it(table: Table) -> None:
    first = table.fill()
    (table.objects() / first / "1").rename(table.home / "lost")
    table.change(3)
    with pytest.raises(DamagedError, match=f"{first}/1"):
        table.bench.restore(first)
    (found,) = table.bench.store.check({}, repair=False).damage
    assert set(found.commits) == {first}


def test_a_file_that_was_set_aside_and_received_again_is_repaired_where_it_is_read(table: Table) -> None:
    commit, contents = halves(table)
    table.collect()
    (aside,) = table.objects().glob("*/1.data")
    again = aside.with_suffix("")
    again.write_bytes(aside.read_bytes())  # received whole once more, and damaged since
    with open(again, "r+b") as file:
        file.seek(300 * BLOCK_BYTES)
        file.write(b"damage")
    (found,) = table.bench.store.check({DOT: {MAIN_WORKTREE: table.bench.directories}}, repair=True).damage
    assert found.repaired
    assert table.bench.store.check({}, repair=False).sound
    assert table.contents(commit) == contents


def test_a_lost_large_object_is_repaired_by_another_one_with_the_same_contents(table: Table) -> None:
    table.file.write_bytes(table.random.randbytes(SIZE))
    (table.home / "data/twin").write_bytes(table.file.read_bytes())
    (table.home / "data/other").write_bytes(table.random.randbytes(SIZE))
    commit = table.bench.commit()
    objects = [path for path in (table.objects() / commit).iterdir() if path.stat().st_size == SIZE]
    next(path for path in objects if path.read_bytes() == table.file.read_bytes()).unlink()
    (found,) = table.bench.store.check({}, repair=True).damage
    assert found.repaired
    assert table.bench.store.check({}, repair=False).sound
    assert table.contents(commit, also=("twin", "other")) == table.file.read_bytes()


def test_a_damaged_map_is_named_and_keeps_gc_from_taking_what_it_may_need(table: Table) -> None:
    table.fill()
    table.change(3)
    second = table.bench.commit()
    (path,) = (table.objects() / second).glob("*.map")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    (found,) = table.bench.store.check({}, repair=False).damage
    assert "map" in found.what
    assert set(found.commits) == {second}
    before = sorted(table.objects().rglob("*"))
    table.bench.aside()
    table.collect()
    assert set(before) <= set(table.objects().rglob("*"))
    (found,) = table.bench.store.check({DOT: {MAIN_WORKTREE: table.bench.directories}}, repair=True).damage
    assert found.repaired
    assert table.contents(second) == table.file.read_bytes()


@pytest.mark.parametrize("free", range(0, 200 << 10, 24 << 10))
def test_a_disk_that_fills_up_costs_the_commit_that_it_happens_to_and_no_block_of_another(
    small: Mount, tmp_path: Path, free: int
) -> None:
    (tmp_path / "data").mkdir()
    file, chance = tmp_path / "data/table", random.Random(free)
    file.write_bytes(chance.randbytes(SIZE))
    bench = Bench(LocalStore(small.path / "store"), data=tmp_path / "data")
    first, old = bench.commit(), file.read_bytes()
    with open(file, "r+b") as opened:
        for block in chance.sample(range(SIZE // BLOCK_BYTES), 60):
            opened.seek(block * BLOCK_BYTES)
            opened.write(chance.randbytes(BLOCK_BYTES))
    ballast = leave_free(small.path, free)
    made = None
    with contextlib.suppress(DiskFullError):
        made = bench.commit()
    ballast.unlink()
    for entry in bench.store.unfinished(DOT):
        bench.store.abandon(entry.id)
    new = file.read_bytes()
    assert bench.store.check({}, repair=False).sound
    assert bench.head == (made or first)
    bench.commit()
    bench.restore(first)
    assert file.read_bytes() == old
    bench.restore(bench.head)
    assert file.read_bytes() == new
    bench.store.close()
