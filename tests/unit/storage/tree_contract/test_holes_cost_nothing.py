"""A file of terabytes that has some kilobytes of data costs as much as those kilobytes, and comes back with its holes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from dm_compose.core.names import MAIN_WORKTREE
from dm_compose.objects import contents
from tests.support.places import MIB, Place, needs_root
from tests.support.stores import DATA, DOT
from tests.support.trees import allocated

pytestmark = needs_root
TIB = 1 << 40
SIZE = 3 * TIB
LIMIT = 16 * MIB


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the bytes that are read; a test that reads more than LIMIT fails at once, rather than after hours."""
    counted = [0]
    original = os.pread

    def pread(fd: int, length: int, offset: int) -> bytes:
        counted[0] += length
        assert counted[0] < LIMIT, "holes are read"
        return original(fd, length, offset)

    monkeypatch.setattr(contents.os, "pread", pread)
    return counted


def make_sparse(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(SIZE)
        for offset in (0, TIB, 2 * TIB + 12345):
            file.seek(offset)
            file.write(b"data" * 1000)


def is_as_made(path: Path) -> bool:
    with open(path, "rb") as file:
        runs = [(file.seek(offset), file.read(4000))[1] for offset in (0, TIB, 2 * TIB + 12345)]
    return runs == [b"data" * 1000] * 3 and path.stat().st_size == SIZE and allocated(path) < MIB


@pytest.mark.parametrize("racy", [False, True])
def test_commits_and_restores_of_a_file_of_terabytes_read_its_data_only(anywhere: Place, read: list[int], racy: bool) -> None:
    tree = anywhere.tree()
    make_sparse(tree / "map")
    bench = anywhere.bench(data=tree)
    first = bench.commit()
    if racy:  # an index that proves nothing, as after the kernel has been booted
        bench.local._indexes.remove(DOT)
    os.utime(tree / "map")
    second = bench.commit()
    assert bench.differing(second) == []
    with open(tree / "map", "r+b") as file:
        file.seek(TIB)
        file.write(b"other")
    found = bench.store.diff_live(DOT, MAIN_WORKTREE, bench.directories, first, {}, None)[DATA]
    assert [change.changed_bytes for change in found.changes] == [4096]
    bench.restore(first)
    assert is_as_made(tree / "map")
    (tree / "map").unlink()
    bench.restore(second)
    assert is_as_made(tree / "map")


def test_the_digest_of_a_sparse_file_is_that_of_its_contents_and_its_holes_are_not_read(anywhere: Place, read: list[int]) -> None:
    path = anywhere.trees / "sparse"
    with open(path, "wb") as file:
        file.truncate(64 * MIB)
        file.seek(20 * MIB + 17)
        file.write(b"data" * 1000)
    assert contents.digest_of_file(bytes(path)) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert read[0] < MIB
