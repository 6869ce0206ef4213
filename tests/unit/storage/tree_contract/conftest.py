"""Both ways in which a capture looks at a tree."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dm_compose.storage import capture
from dm_compose.storage.dirt import Dirt


def can_watch(path: Path) -> bool:
    """Return whether the file system of a directory can be watched by this process."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    dirt = Dirt.begin(fd)
    os.close(fd)
    if dirt is not None:
        dirt.close()
    return dirt is not None


@pytest.fixture(params=["whole", "watched"])
def look(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have captures look at the whole tree, or only at what may have changed since the look before, however small the tree is."""
    if request.param == "watched":
        if not can_watch(tmp_path):
            pytest.skip("needs root in the first PID namespace, and ext4 or xfs")
        monkeypatch.setattr(capture, "WATCHED_PATHS", 0)
