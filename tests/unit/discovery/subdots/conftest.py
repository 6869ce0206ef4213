"""The variables of the caller do not change what `dm-compose plan` decides."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_choice_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COMPOSE_FILE", "COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME", "COMPOSE_ENV_FILES"):
        monkeypatch.delenv(name, raising=False)
