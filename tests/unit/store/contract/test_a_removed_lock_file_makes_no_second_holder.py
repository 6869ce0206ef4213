"""The file of a lock may be removed while somebody is about to take it. There is one holder all the same."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any

import pytest

from dm_compose.core.names import DotName
from dm_compose.errors import InUseError
from dm_compose.store.local.locks import Locks


def test_a_process_that_opened_the_file_before_its_removal_goes_on_with_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, others = Locks(tmp_path), Locks(tmp_path)
    flock = fcntl.flock
    removed: list[bool] = []

    def after_a_removal(fd: int, kind: int) -> Any:
        if not removed:
            removed.append(True)
            ours.forget(DotName("shop"))  # the file is open by now, and not locked yet
        return flock(fd, kind)

    monkeypatch.setattr(fcntl, "flock", after_a_removal)
    ours.acquire("shop", "us", 5)
    with pytest.raises(InUseError, match="in use by us"):
        others.acquire("shop", "them", 0)
