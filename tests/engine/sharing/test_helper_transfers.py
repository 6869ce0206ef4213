"""Transfers of a store that only the helper container can reach, as for everybody who is not root."""

from __future__ import annotations

from pathlib import Path

import pytest

from dm_compose.store.local.store import LocalStore
from tests.support.projects import TestProject
from tests.support.trees import describe, differences

pytestmark = pytest.mark.engine
HELPER = {"DM_FILES": "helper", "DM_HELPER_IMAGE": "dm-example/python"}


def test_a_dot_travels_through_the_helper_container(cache_only: TestProject, tmp_path: Path) -> None:
    remote = f"file://{tmp_path}/remote"
    stores = {name: str(tmp_path / name) for name in ("helped", "direct")}
    (tmp_path / "helped").mkdir()
    cache_only.redis().set("note", "more")
    cache_only.dm("commit", "-m", "more")
    pushed = cache_only.json("push", remote, **HELPER)
    assert len(pushed["commits"]) == 2
    clone = ("dm", "clone", remote, f"admin/{cache_only.name}", "--local-name", "copy")
    cache_only.command(*clone, DM_HOME=stores["helped"], **HELPER)
    cache_only.command(*clone, DM_HOME=stores["direct"])
    helped, direct = (sorted(Path(store, "trees/copy/.current").resolve().iterdir()) for store in stores.values())
    assert [subdot.name for subdot in helped] == [subdot.name for subdot in direct] != []
    assert [differences(describe(one), describe(other)) for one, other in zip(direct, helped, strict=True)] == [[]] * len(direct)
    store = LocalStore(Path(stores["helped"]))
    assert store.check({}, repair=False).sound
    store.close()
