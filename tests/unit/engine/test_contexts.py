"""The engine is the one that the docker CLI would use: DOCKER_HOST, DOCKER_CONTEXT and Docker's configuration name it."""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dm_compose.engine import Engine
from dm_compose.errors import EngineError

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Docker's configuration, with a context `far` whose engine is not there."""
    (tmp_path / "config.json").write_text("{}")
    meta = tmp_path / "contexts" / "meta" / hashlib.sha256(b"far").hexdigest()
    meta.mkdir(parents=True)
    endpoints = {"docker": {"Host": "unix:///nowhere/far.sock", "SkipTLSVerify": False}}
    (meta / "meta.json").write_text(json.dumps({"Name": "far", "Metadata": {}, "Endpoints": endpoints}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    yield tmp_path
    gc.collect()  # docker-py leaves a socket open where no engine answers


def test_the_variable_names_the_context(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "far")
    with pytest.raises(EngineError, match=r"no Docker Engine answers at unix:///nowhere/far\.sock: no such file or directory"):
        Engine()


def test_the_configuration_names_the_context(config: Path) -> None:
    (config / "config.json").write_text(json.dumps({"currentContext": "far"}))
    with pytest.raises(EngineError, match=r"at unix:///nowhere/far\.sock"):
        Engine()


def test_a_context_that_does_not_exist_is_not_the_default_one(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "nope")
    with pytest.raises(EngineError, match=r"^Docker has no context nope") as raised:
        Engine()
    assert "docker context ls" in str(raised.value.hint)


def test_the_host_variable_goes_before_all_contexts(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "far")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/near.sock")
    with pytest.raises(EngineError, match=r"at unix:///nowhere/near\.sock"):
        Engine()


def test_the_variable_goes_before_the_configuration(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (config / "config.json").write_text(json.dumps({"currentContext": "nope"}))
    monkeypatch.setenv("DOCKER_CONTEXT", "far")
    with pytest.raises(EngineError, match=r"at unix:///nowhere/far\.sock"):
        Engine()
