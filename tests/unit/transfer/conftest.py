"""Transfers of small files, as if they were large: in this process each file that changes becomes blocks.

A store at the other end of a pipe has whole files.
"""

from __future__ import annotations

import pytest

from dm_compose.objects import batch, staged


@pytest.fixture(autouse=True)
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no file be small."""
    for module in (batch, staged):
        monkeypatch.setattr(module, "SMALL_BYTES", 0)
