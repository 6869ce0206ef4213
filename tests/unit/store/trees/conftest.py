"""Worktrees that are directories of the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from dm_compose.core.names import MAIN_WORKTREE
from tests.support.stores import DOT, Stores, TreeBench
from tests.support.worktrees import DB


@pytest.fixture
def bench(stores: Stores, fast_path: Path) -> TreeBench:
    """A tree dot with files in its root and in one subdot, and no commit yet."""
    bench = stores.trees(fast_path / "store")
    (bench.top / "readme").write_text("root file")
    (bench.top / ".hidden").mkdir()
    (bench.top / ".hidden/file").write_text("not a subdot's name")
    db = Path(bench.store.make_subdot(DOT, MAIN_WORKTREE, DB))
    (db / "table").write_bytes(b"t" * 10_000)
    return bench
