"""A dot of two subdots with files, and what is true of it."""

from __future__ import annotations

import os
import random
from collections.abc import Collection
from pathlib import Path
from typing import Any

from dm_compose.core.names import MAIN_WORKTREE, CommitId, DotName, SubdotName, WorktreeName
from tests.support.stores import DATA, DOT, Bench
from tests.support.trees import describe, differences

LOGS = SubdotName("logs")
NONE: CommitId = CommitId("0" * 32)
MIB = 1 << 20


def directories(path: Path, files: Collection[str] = ("one", "two")) -> dict[str, Path]:
    """Make two trees with these files each."""
    for subdot in ("data", "logs"):
        (path / subdot).mkdir()
        for name in files:
            (path / subdot / name).write_bytes({"one": b"1", "two": b"2"}[name] * 10_000)
    return {"data": path / "data", "logs": path / "logs"}


def path_of(bench: Bench, subdot: SubdotName = DATA) -> Path:
    return Path(bench.directories[subdot])


def where(bench: Bench) -> tuple[DotName, WorktreeName, dict[SubdotName, str]]:
    return DOT, MAIN_WORKTREE, bench.directories


def trees(bench: Bench) -> dict[SubdotName, Any]:
    return {subdot: describe(path) for subdot, path in bench.directories.items()}


def check(bench: Bench, wanted: dict[SubdotName, Any]) -> None:
    assert [line for subdot, tree in trees(bench).items() for line in differences(wanted[subdot], tree)] == []


def nothing_left(root: Path, bench: Bench) -> None:
    """No operation is open, and no half-made commit takes space."""
    assert bench.store.unfinished(DOT) == []
    assert list((root / "incoming").iterdir()) == []


def change_everything(bench: Bench) -> None:
    data = path_of(bench)
    (data / "one").write_bytes(b"1" * 5000 + b"!" + b"1" * 4999)
    (data / "two").unlink()
    (data / "three").write_bytes(b"3" * 123)
    (data / "directory").mkdir()
    os.chmod(path_of(bench, LOGS) / "one", 0o600)
    (path_of(bench, LOGS) / "two").write_bytes(b"2" * 12_345)


CHANGES = {
    DATA: [
        ("directory", "added", 0, 0),
        ("one", "changed", 10_000, 4096),
        ("three", "added", 123, 123),
        ("two", "removed", 10_000, 10_000),
    ],
    LOGS: [("one", "metadata", 10_000, 0), ("two", "changed", 12_345, 2345)],
}


def told(diff: Any) -> dict[SubdotName, Any]:
    return {s: [(c.path, c.how, c.size_bytes, c.changed_bytes) for c in d.changes] for s, d in diff.items()}


def garble(path: Path, seed: int = 0) -> None:
    data = bytearray(path.read_bytes())
    rng = random.Random(seed)
    for _ in range(20):
        data[rng.randrange(len(data))] = rng.randrange(256)
    path.write_bytes(data)
