"""The command line `dm-compose`, without an engine; Compose is the real one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dm_compose.cli import main as entry
from tests.support.commands import (
    NO_ENGINE,
    Ended,
)

Here = Callable[..., Ended]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test stands in a directory with a project, sees no engine, and has its own state directory."""
    for name in list(os.environ):
        if name.startswith(("COMPOSE_", "DM_")) or name in ("NO_COLOR", "FORCE_COLOR", "DOCKER_CONTEXT", "PYTHONIOENCODING"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DOCKER_HOST", NO_ENGINE)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "shop").mkdir()
    monkeypatch.chdir(tmp_path / "shop")
    Path("compose.yaml").write_text(
        "services:\n  db: {image: 'postgres:16', volumes: ['pg:/var/lib/postgresql/data', './i:/docker-entrypoint-initdb.d']}\n"
        "  cache: {image: 'redis:7'}\nvolumes: {pg: }\n"
    )
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def here(capfd: pytest.CaptureFixture[str]) -> Here:
    """Run the command line in this process."""

    def call(*words: str) -> Ended:
        capfd.readouterr()
        with pytest.raises(SystemExit) as raised:
            entry.main(list(words))
        out, err = capfd.readouterr()
        return Ended(int(raised.value.code or 0), out, err)

    return call
