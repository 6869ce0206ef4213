"""Any store, one in this process and one at the other end of a pipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from dm_compose.core.names import CommitId
from tests.support.stores import Bench, Stores
from tests.support.subdots import directories


@pytest.fixture
def bench(stores: Stores, fast_path: Path) -> Bench:
    """A store with a dot of two subdots that have files and no commit yet."""
    return stores.bench(fast_path / "store", **directories(fast_path))


@pytest.fixture
def own(local: Stores, fast_path: Path) -> Bench:
    """The same, in this process only."""
    return local.bench(fast_path / "store", **directories(fast_path))


@pytest.fixture
def chain(bench: Bench) -> list[CommitId]:
    """Four commits, oldest first."""
    return [bench.commit(f"commit {number}") for number in range(4)]
