"""The helper container: paths that it mounts, and writers that would lead it astray."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from dm_compose.store.api import Store
from dm_compose.store.helper.client import HELPER_STORE, connect_helper, helper_directory
from tests.support.stores import Bench
from tests.support.swapping import swapping
from tests.support.trees import describe, differences

pytestmark = pytest.mark.engine
TRAPS = 40


@pytest.fixture(params=["data", "a,readonly", 'quo"ted, "twice"', "-v", " ü,source=etc"])
def data(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    (tmp_path / request.param).mkdir()
    return tmp_path / str(request.param)


@pytest.fixture
def helped(tmp_path: Path) -> Iterator[list[Store]]:
    stores: list[Store] = []
    yield stores
    for store in stores:
        store.close()


def bench(tmp_path: Path, data: Path, helped: list[Store]) -> Bench:
    """Return a store in a helper container that mounts `data`."""
    (tmp_path / "store").mkdir()
    mounts = {str(tmp_path / "store"): HELPER_STORE, str(data): helper_directory(0)}
    helped.append(connect_helper(mounts, "dm-example/python", lambda _: None))
    return Bench(helped[0], data=Path(helper_directory(0)))


def test_a_directory_of_any_name_is_mounted_and_no_more_than_that(tmp_path: Path, data: Path, helped: list[Store]) -> None:
    (data / "file").write_bytes(b"committed")
    found = bench(tmp_path, data, helped)
    commit = found.commit()
    wanted = describe(data)
    (data / "file").write_bytes(b"changed")
    (data / "new").write_bytes(b"new")
    found.restore(commit)
    assert differences(wanted, describe(data)) == []


def test_commits_in_a_helper_hold_nothing_of_the_helper(tmp_path: Path, helped: list[Store]) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for number in range(TRAPS):  # the helper has the files of all dots at HELPER_STORE
        name, target = ("passwd", "/etc") if number % 2 else ("state.db", HELPER_STORE)
        (data / f"x{number}").mkdir()
        (data / f"x{number}/{name}").write_bytes(bytes(700))
        os.symlink(target, data / f"y{number}")
    found = bench(tmp_path, data, helped)
    with swapping(data, TRAPS) as writer:
        for _ in range(10):
            entry = found.prepare()
            writer.send_signal(signal.SIGSTOP)  # the freeze
            found.store.capture(entry)
            found.publish(entry)
            for path in data.glob("*/*"):  # so that the next commit copies it again
                if not path.parent.is_symlink():
                    os.utime(path)
            writer.send_signal(signal.SIGCONT)
    objects = [path for path in (tmp_path / "store/objects").rglob("*") if path.is_file() and path.suffix != ".manifest"]
    assert len(objects) >= TRAPS
    assert [path.name for path in objects if path.read_bytes().startswith((b"root:", b"SQLite format 3"))] == []
