"""Stores that are looked after."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.keeping import Kept, Shelf, one_commit
from tests.support.stores import Stores
from tests.support.subdots import LOGS, directories


@pytest.fixture
def kept(stores: Stores, fast_path: Path) -> Kept:
    """A store with one commit on master."""
    return one_commit(stores, fast_path)


@pytest.fixture
def own(local: Stores, fast_path: Path) -> Kept:
    """The same, in this process only."""
    return one_commit(local, fast_path)


@pytest.fixture
def shelf(local: Stores, fast_path: Path) -> Shelf:
    kept = Kept(local.bench(fast_path / "store", **directories(fast_path, ["one"])), fast_path)
    kept.write("twin", b"twin" * 3000)
    kept.write("twin", b"twin" * 3000, LOGS)
    kept.write("gone", b"only in the first" * 100)
    first = kept.commit()
    kept.write("gone", b"only in the second" * 100)
    kept.write("one", b"only live and in the third" * 100, LOGS)
    kept.commit()
    kept.write("gone", b"live" * 100)
    kept.commit()
    wanted = kept.state()
    kept.bench.restore(first)
    kept.commit()  # its manifests are those of the first, written a second time
    kept.bench.restore(next(c for c, state in kept.truth.items() if state == wanted))
    kept.write("dirty", b"uncommitted")
    return Shelf(kept, fast_path / "store/objects")
