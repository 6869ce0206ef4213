"""Directories for trees and a store, and trees that are committed, damaged and restored there."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.stores import DATA, Bench, open_bench
from tests.support.trees import (
    Description,
    describe,
    differences,
)

MIB = 1 << 20
OLD_NS = 1_234_567_890_123_456_789
Step = Callable[[Path], object]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@dataclass(frozen=True)
class Place:
    """Where a test has its trees and its store. `reflinks` when files of one can be clones of files of the other."""

    name: str
    trees: Path
    stores: Path
    reflinks: bool
    benches: list[Bench] = field(default_factory=list)

    def tree(self, name: str = "data") -> Path:
        """Return a new empty directory."""
        path = self.trees / name
        path.mkdir()
        return path

    def bench(self, **directories: Path) -> Bench:
        """Return a bench on a store beside the trees."""
        bench = open_bench(self.stores / "store", **directories)
        self.benches.append(bench)
        return bench

    def close(self) -> None:
        """Close the stores."""
        for bench in self.benches:
            bench.store.close()


def check(wanted: Description, root: Path) -> None:
    """Fail with what differs."""
    assert differences(wanted, describe(root)) == []


def survives(place: Place, build: Step, damage: Step) -> Bench:
    """Commit what `build` makes; after `damage` a restore gives it back, and one into an empty directory makes the same."""
    tree = place.tree()
    build(tree)
    wanted = describe(tree)
    bench = place.bench(data=tree)
    commit = bench.commit()
    check(wanted, tree)
    damage(tree)
    assert differences(wanted, describe(tree)), "the damage must be visible to the test"
    assert bench.differing(commit) == [DATA]
    root_inode = os.stat(tree).st_ino
    bench.restore(commit)
    check(wanted, tree)
    assert os.stat(tree).st_ino == root_inode, "containers have the root directory mounted"
    assert bench.differing(commit) == []
    again = bench.commit()
    assert bench.store.diff_commits(bench.store.dots()[0], commit, again, {})[DATA].changes == ()

    elsewhere = place.tree("elsewhere")
    bench.directories[DATA] = str(elsewhere)
    bench.restore(commit)
    check(wanted, elsewhere)
    return bench


def files(**contents: bytes) -> Step:
    """Return a builder of a flat tree."""

    def build(root: Path) -> None:
        for name, data in contents.items():
            (root / name).write_bytes(data)

    return build


def zoo(root: Path) -> None:
    """Make one of everything."""
    rng = random.Random(1)
    (root / "base/16384").mkdir(parents=True)
    (root / "empty").mkdir()
    for number in range(20):
        (root / f"base/16384/{number}").write_bytes(rng.randbytes(rng.choice((0, 1, 4095, 4096, 4097, 70_000))))
    os.link(root / "base/16384/3", root / "base/link")
    os.symlink("base/16384/4", root / "current")
    os.mkfifo(root / "pipe")
    with open(root / "sparse", "wb") as file:
        file.truncate(MIB)
        file.seek(300_000)
        file.write(b"middle")
    os.chown(root / "base", 999, 998)
    os.chmod(root / "base", 0o2750)
    os.setxattr(root / "base/16384/5", "user.note", b"\0\xff")
