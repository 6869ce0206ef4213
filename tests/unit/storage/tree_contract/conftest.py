"""Both ways in which a capture looks at a tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from dm_compose.storage import capture
from tests.support.capabilities import why_no_watch


@pytest.fixture(params=["whole", "watched"])
def look(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have captures look at the whole tree, or only at what may have changed since the look before, however small the tree is."""
    if request.param == "watched":
        if (reason := why_no_watch(tmp_path)) is not None:
            pytest.skip(reason)
        monkeypatch.setattr(capture, "WATCHED_PATHS", 0)
