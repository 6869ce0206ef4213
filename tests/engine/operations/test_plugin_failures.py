"""A plugin's datastore fails: the stack runs on, and the plugin is named, not dm-compose."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dm_compose.errors import PluginError
from tests.support.plugins import install
from tests.support.projects import TestProject

pytestmark = pytest.mark.engine

ACME = """
import os

from dm_compose import hookimpl
from dm_compose.datastores import Datastore
from dm_compose.datastores.builtin import redis


def fails(*_):
    raise RuntimeError("the disk of Acme is full")


def fails_in_the_end(_):
    return fails


@hookimpl
def dm_register_datastores(register):
    register(
        Datastore(
            name="redis",
            images=("dm-example/redis",),
            data=("/data",),
            port=6379,
            ready=fails if "ready" in os.environ["ACME_FAILS"] else redis.ready,
            quiesce={"quiesce": fails, "resume": fails_in_the_end}.get(os.environ["ACME_FAILS"]),
        )
    )
"""


@pytest.fixture
def acme(cache_only: TestProject, tmp_path: Path) -> Callable[..., str]:
    """Run a command with the plugin `acme`, of which the named part fails; return what it says when it fails as it should."""
    install(tmp_path / "plugins", ACME)
    path = os.pathsep.join(filter(None, (str(tmp_path / "plugins"), os.environ.get("PYTHONPATH"))))

    def run(part: str, *words: str, code: int) -> str:
        done = cache_only.dm(*words, check=False, PYTHONPATH=path, ACME_FAILS=part)
        assert done.returncode == code, done.stderr
        assert "bug in dm-compose" not in done.stderr
        return done.stderr

    return run


@pytest.mark.parametrize("words", [("commit", "-m", "x"), ("reset", "--hard")])
def test_a_quiesce_that_fails_leaves_the_stack_running(
    cache_only: TestProject, acme: Callable[..., str], words: list[str]
) -> None:
    cache_only.redis().set("note", "uncommitted")
    said = acme("quiesce", *words, code=PluginError.exit_code)
    assert "plugin acme: quiesce of datastore redis raised RuntimeError: the disk of Acme is full" in said
    assert cache_only.state("cache") == "running"
    assert cache_only.redis().get("note") == "uncommitted"
    assert [found["message"] for found in cache_only.json("log")] == ["seed"]


def test_a_resume_that_fails_is_a_warning_because_the_commit_is_whole(cache_only: TestProject, acme: Callable[..., str]) -> None:
    said = acme("resume", "commit", "-m", "x", code=0)
    assert "plugin acme: the end of quiesce of datastore redis raised RuntimeError: the disk of Acme is full" in said
    assert cache_only.state("cache") == "running"
    assert [found["message"] for found in cache_only.json("log")] == ["x", "seed"]


def test_a_probe_that_fails_is_told_and_the_next_command_finishes_without_the_plugin(
    cache_only: TestProject, acme: Callable[..., str]
) -> None:
    cache_only.redis().set("note", "uncommitted")
    said = acme("ready", "reset", "--hard", code=PluginError.exit_code)
    assert "plugin acme: ready of datastore redis raised RuntimeError: the disk of Acme is full" in said
    cache_only.dm("reset", "--hard")
    assert cache_only.redis().get("note") == "seed"
