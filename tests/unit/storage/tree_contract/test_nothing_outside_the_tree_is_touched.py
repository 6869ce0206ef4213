"""Nothing outside the tree is touched."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dm_compose.errors import StoreError
from tests.support import filesystems
from tests.support.places import Place, check, files, needs_root, survives
from tests.support.stores import DATA
from tests.support.trees import (
    describe,
    differences,
    make_socket,
)

pytestmark = needs_root


def test_restore_does_not_write_through_a_symlink_that_took_a_directorys_place(place: Place) -> None:
    outside = place.tree("outside")
    (outside / "file").write_bytes(b"precious")
    (outside / "extra").write_bytes(b"precious too")
    before = describe(outside)

    def build(root: Path) -> None:
        (root / "d/sub").mkdir(parents=True)
        (root / "d/file").write_bytes(b"committed")
        (root / "d/sub/file").write_bytes(b"committed")

    def damage(root: Path) -> None:
        shutil.rmtree(root / "d")
        os.symlink(outside, root / "d")

    survives(place, build, damage)
    assert differences(before, describe(outside)) == []


def test_restore_does_not_write_through_a_symlink_that_took_a_files_place(place: Place) -> None:
    outside = place.trees / "precious"
    outside.write_bytes(b"precious")
    before = describe(outside)

    def damage(root: Path) -> None:
        (root / "file").unlink()
        os.symlink(outside, root / "file")

    survives(place, files(file=b"committed"), damage)
    assert differences(before, describe(outside)) == []


def test_removing_a_symlink_to_a_directory_leaves_the_directory(place: Place) -> None:
    outside = place.tree("outside")
    (outside / "file").write_bytes(b"precious")
    survives(place, files(file=b"x"), lambda root: os.symlink(outside, root / "new"))
    assert (outside / "file").read_bytes() == b"precious"


def test_a_commit_does_not_descend_into_other_file_systems(copying: Place) -> None:
    tree = copying.tree()
    (tree / "mounted").mkdir()
    bench = copying.bench(data=tree)
    with mounted_at(tree / "mounted"):
        (tree / "mounted/file").write_bytes(b"somebody else's")
        commit = bench.commit()
        assert bench.store.commit(bench.store.dots()[0], commit).subdots[DATA].files == 0


@contextlib.contextmanager
def mounted_at(path: Path) -> Iterator[None]:
    """Have a file system of its own at a directory."""
    if (reason := filesystems.why_not("memory")) is not None:
        pytest.skip(reason)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_restore_never_deletes_what_is_on_a_file_system_mounted_inside_the_tree(copying: Place) -> None:
    tree = copying.tree()
    (tree / "file").write_bytes(b"x")
    bench = copying.bench(data=tree)
    commit = bench.commit()
    (tree / "mounted").mkdir()
    with mounted_at(tree / "mounted"):
        (tree / "mounted/file").write_bytes(b"somebody else's database")
        make_socket(tree / "mounted/server.sock")
        with pytest.raises(StoreError, match="mounted"):
            bench.restore(commit)
        assert (tree / "mounted/file").read_bytes() == b"somebody else's database"
        assert (tree / "mounted/server.sock").is_socket()
    bench.restore(commit)
    assert sorted(os.listdir(tree)) == ["file"]


def test_a_root_that_is_a_symlink_means_the_directory_it_points_to(place: Place) -> None:
    real = place.tree("real")
    (real / "file").write_bytes(b"x")
    os.chown(real, 999, 999)
    os.chmod(real, 0o700)
    wanted = describe(real)
    link = place.trees / "data"
    os.symlink(real, link)
    bench = place.bench(data=link)
    commit = bench.commit()
    os.chown(real, 0, 0)
    (real / "file").write_bytes(b"y")
    (real / "new").write_bytes(b"y")
    assert bench.differing(commit) == [DATA]
    bench.restore(commit)
    check(wanted, real)
    assert os.readlink(link) == str(real)


def test_a_commit_made_in_a_directory_is_restored_through_a_symlink(place: Place) -> None:
    tree = place.tree()
    (tree / "file").write_bytes(b"x")
    wanted = describe(tree)
    bench = place.bench(data=tree)
    commit = bench.commit()
    (tree / "file").write_bytes(b"y")
    moved = place.trees / "moved"
    tree.rename(moved)
    os.symlink(moved, tree)
    bench.restore(commit)
    check(wanted, moved)
    assert tree.is_symlink()
