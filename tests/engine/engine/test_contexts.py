"""A context of Docker's leads to its engine."""

from __future__ import annotations

import gc
import re
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from dm_compose.engine import Engine
from dm_compose.errors import EngineError

pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]


def test_a_context_that_docker_has_made_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Engine()) as engine:
        expected = engine.facts().version
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    link = tmp_path / "engine.sock"
    link.symlink_to("/var/run/docker.sock")
    for words in (("create", "mine", "--docker", f"host=unix://{link}"), ("use", "mine")):
        subprocess.run(["docker", "context", *words], check=True, capture_output=True, timeout=60)
    with closing(Engine()) as engine:
        assert (engine.facts().version, engine.facts().local) == (expected, True)
    link.unlink()
    with pytest.raises(EngineError, match=re.escape(str(link))):
        Engine()
    gc.collect()  # docker-py leaves a socket open where no engine answers
