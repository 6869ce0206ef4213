"""Any damage to a tree is undone, where files are copied, cloned, and across file systems."""

from __future__ import annotations

import os
import random
import shutil
import stat
from pathlib import Path

import pytest

from dm_compose.objects.contents import copy_file
from tests.support.places import Place, check, needs_root, survives, zoo
from tests.support.trees import (
    describe,
    inodes,
    make_socket,
)

pytestmark = needs_root


def test_the_place_clones_exactly_when_it_says_so(anywhere: Place) -> None:
    (anywhere.trees / "file").write_bytes(b"x" * 8192)
    assert copy_file(bytes(anywhere.trees / "file"), bytes(anywhere.stores / "copy")) is anywhere.reflinks


def wreck(root: Path, rng: random.Random) -> None:
    """Do to a tree whatever an engine, an administrator or a bug may do."""
    everything = [Path(d) / n for d, names, more in os.walk(root) for n in names + more]
    rng.shuffle(everything)
    for path in everything:
        if not os.path.lexists(path):
            continue
        info = os.lstat(path)
        fate = rng.randrange(10)
        if fate == 0:
            shutil.rmtree(path) if stat.S_ISDIR(info.st_mode) else path.unlink()
        elif fate == 1 and stat.S_ISREG(info.st_mode):
            with open(path, "r+b") as file:
                file.seek(rng.randrange(info.st_size + 9000))
                file.write(rng.randbytes(rng.randrange(1, 5000)))
        elif fate == 2 and stat.S_ISREG(info.st_mode):
            os.truncate(path, rng.randrange(info.st_size + 9000))
        elif fate == 3 and not stat.S_ISLNK(info.st_mode):
            os.chmod(path, rng.randrange(0o10000))
        elif fate == 4:
            os.lchown(path, rng.randrange(2000), rng.randrange(2000))
        elif fate == 5:
            shutil.rmtree(path) if stat.S_ISDIR(info.st_mode) else path.unlink()
            kind = rng.randrange(4)
            if kind == 0:
                path.mkdir()
                (path / "inside").write_bytes(rng.randbytes(100))
            elif kind == 1:
                os.symlink(rng.choice(("/etc", "nowhere", "base")), path)
            elif kind == 2:
                make_socket(path)
            else:
                path.write_bytes(rng.randbytes(3000))
        elif fate == 6:
            path.rename(path.with_name(f"renamed {path.name}"))
        elif fate == 7 and stat.S_ISREG(info.st_mode):
            os.link(path, path.with_name(f"linked {path.name}"))
    for number in range(rng.randrange(4)):
        (root / f"new {number} {rng.randrange(1000)}").write_bytes(rng.randbytes(2000))


@pytest.mark.parametrize("seed", range(10))
def test_any_damage_is_undone(anywhere: Place, seed: int) -> None:
    survives(anywhere, zoo, lambda root: wreck(root, random.Random(seed)))


def test_everything_deleted_comes_back(anywhere: Place) -> None:
    def delete(root: Path) -> None:
        for item in root.iterdir():
            shutil.rmtree(item) if item.is_dir() and not item.is_symlink() else item.unlink()

    survives(anywhere, zoo, delete)


def test_a_damaged_tree_is_itself_committed_and_both_come_back(anywhere: Place) -> None:
    tree = anywhere.tree()
    zoo(tree)
    bench = anywhere.bench(data=tree)
    states = []
    for seed in range(4):
        states.append((bench.commit(), describe(tree)))
        wreck(tree, random.Random(seed))
    for commit, wanted in [*states, *reversed(states), states[2], states[0]]:
        bench.restore(commit)
        check(wanted, tree)


def test_committing_changes_nothing_in_the_tree(place: Place) -> None:
    tree = place.tree()
    zoo(tree)
    bench = place.bench(data=tree)
    wanted, numbers = describe(tree), inodes(tree)
    ctimes = {name: os.lstat(tree / name).st_ctime_ns for name in numbers}
    bench.commit()
    bench.commit()
    check(wanted, tree)
    assert inodes(tree) == numbers
    assert {name: os.lstat(tree / name).st_ctime_ns for name in numbers} == ctimes


def test_restoring_an_unchanged_tree_touches_nothing(place: Place) -> None:
    tree = place.tree()
    zoo(tree)
    bench = place.bench(data=tree)
    commit = bench.commit()
    before = {name: os.lstat(tree / name) for name in inodes(tree)}
    (done,) = bench.restore(commit).values()
    assert (done.paths, done.changed_bytes) == (0, 0)
    after = {name: os.lstat(tree / name) for name in before}
    assert {n: (i.st_ino, i.st_ctime_ns) for n, i in after.items()} == {n: (i.st_ino, i.st_ctime_ns) for n, i in before.items()}
