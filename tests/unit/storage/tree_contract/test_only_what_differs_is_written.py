"""Only the blocks that differ are written, and holes stay holes."""

from __future__ import annotations

import ctypes
import os
import random
from pathlib import Path

import pytest

from tests.support.places import MIB, Place, check, files, needs_root, survives, zoo
from tests.support.trees import (
    allocated,
    describe,
    inodes,
)

pytestmark = needs_root


# Sparse files


def sparse(path: Path, size: int, **at: bytes) -> None:
    """Make a file of holes with some data; keywords are offsets."""
    with open(path, "wb") as file:
        file.truncate(size)
        for offset, data in at.items():
            file.seek(int(offset.lstrip("_")))
            file.write(data)


BIG = 256 * MIB


def test_a_sparse_file_stays_sparse_in_the_store_and_after_restore(anywhere: Place) -> None:
    tree = anywhere.tree()
    sparse(tree / "file", BIG, _0=b"first", _100000000=b"middle", _268435451=b"last!")
    bench = anywhere.bench(data=tree)
    commit = bench.commit()
    stored = sum(allocated(path) for path in (anywhere.stores / "store/objects").rglob("*"))
    assert stored < MIB
    (tree / "file").unlink()
    bench.restore(commit)
    assert allocated(tree / "file") < MIB
    assert os.stat(tree / "file").st_size == BIG
    with open(tree / "file", "rb") as file:
        for offset, data in ((0, b"first"), (100_000_000, b"middle"), (BIG - 5, b"last!"), (200_000_000, b"\0" * 10)):
            assert os.pread(file.fileno(), len(data), offset) == data


def test_a_hole_is_punched_where_the_committed_file_had_one(anywhere: Place) -> None:
    tree = anywhere.tree()
    sparse(tree / "file", 8 * MIB, _0=b"first")
    bench = anywhere.bench(data=tree)
    commit = bench.commit()
    wanted = describe(tree)
    inode = os.stat(tree / "file").st_ino
    (tree / "file").write_bytes(os.urandom(8 * MIB))
    os.sync()
    assert allocated(tree / "file") >= 8 * MIB
    bench.restore(commit)
    check(wanted, tree)
    assert allocated(tree / "file") < MIB
    assert os.stat(tree / "file").st_ino == inode


@pytest.mark.parametrize("size", [0, 1, 4095, 5 * MIB + 17, 9 * MIB, 64 * MIB])
def test_a_sparse_file_that_grew_or_was_truncated_comes_back(anywhere: Place, size: int) -> None:
    def build(root: Path) -> None:
        sparse(root / "file", 8 * MIB + 123, _0=b"first", _5000000=b"middle" * 1000)

    def damage(root: Path) -> None:
        os.truncate(root / "file", size)
        with open(root / "file", "r+b") as file:
            file.seek(max(0, size - 100))
            file.write(b"end" * 10)

    survives(anywhere, build, damage)


def test_data_comes_back_where_a_hole_was_punched(anywhere: Place) -> None:
    def damage(root: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
        with open(root / "file", "r+b") as file:
            assert libc.fallocate(file.fileno(), 3, MIB, 2 * MIB) == 0

    survives(anywhere, files(file=bytes(range(256)) * 16384), damage)


# In place


def test_only_the_blocks_that_differ_are_written(copying: Place) -> None:
    tree = copying.tree()
    contents = random.Random(5).randbytes(5 * MIB + 321)
    (tree / "file").write_bytes(contents)
    bench = copying.bench(data=tree)
    commit = bench.commit()
    with open(tree / "file", "r+b") as file:
        for offset in (0, 3 * MIB + 7, 5 * MIB + 320):
            file.seek(offset)
            file.write(bytes([contents[offset] ^ 1]))
    (done,) = bench.restore(commit).values()
    assert done.changed_bytes == 4096 + 4096 + 321
    assert (tree / "file").read_bytes() == contents


def test_a_patched_file_and_its_directories_keep_their_inodes(anywhere: Place) -> None:
    tree = anywhere.tree()
    zoo(tree)
    (tree / "base/large").write_bytes(os.urandom(3 * MIB))
    bench = anywhere.bench(data=tree)
    commit = bench.commit()
    before = inodes(tree)
    wanted = describe(tree)
    with open(tree / "base/large", "r+b") as file:
        file.seek(2 * MIB)
        file.write(b"!")
    for path in (tree / "base", tree / "base/16384", tree / "base/16384/7", tree / "pipe"):
        os.chmod(path, 0o777)
    os.truncate(tree / "base/16384/8", 1)
    with open(tree / "base/16384/9", "ab") as file:
        file.write(b"more" * 5000)
    bench.restore(commit)
    check(wanted, tree)
    assert inodes(tree) == before


def test_an_open_file_shows_the_restored_contents(place: Place) -> None:
    tree = place.tree()
    (tree / "file").write_bytes(b"committed")
    bench = place.bench(data=tree)
    commit = bench.commit()
    (tree / "file").write_bytes(b"changed and longer")
    with open(tree / "file", "rb") as reader:
        bench.restore(commit)
        assert reader.read() == b"committed"


def test_restored_files_do_not_change_the_commit_they_came_from(place: Place) -> None:
    tree = place.tree()
    (tree / "file").write_bytes(b"committed" * 10_000)
    bench = place.bench(data=tree)
    commit = bench.commit()
    (tree / "file").unlink()
    for _ in range(3):
        bench.restore(commit)
        assert (tree / "file").read_bytes() == b"committed" * 10_000
        with open(tree / "file", "r+b") as file:  # in place: a clone or a link must not be written through
            file.write(b"scribble")
