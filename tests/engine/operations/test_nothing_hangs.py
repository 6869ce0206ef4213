"""A call that never returns is given up in time, and a signal ends every wait: the stack is as it was either way."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.plugins import install
from tests.support.projects import TestProject, eventually

pytestmark = pytest.mark.engine

NewProject = Callable[[Mapping[str, Any]], TestProject]
SOON_S = 4.0  # to end after a signal, on a busy machine: the wait itself would be 120 s

# The second call of the hook, which comes while everything else stands still, runs a command that does not end.
HANGING = """
import itertools
import os

from dm_compose import hookimpl
from dm_compose.datastores import Datastore
from dm_compose.datastores.builtin import redis

calls = itertools.count(1)


def quiesce(running):
    if next(calls) >= int(os.environ["ACME_HANGS_AT"]):
        running.run(["sleep", "600"])
    return redis.save(running)


def never(*_):
    return False


@hookimpl
def dm_register_datastores(register):
    ready = never if "ACME_NEVER_READY" in os.environ else redis.ready
    register(
        Datastore(name="redis", images=("dm-example/redis",), data=("/data",), port=6379, ready=ready, quiesce=quiesce)
    )
"""


@pytest.fixture
def acme(tmp_path: Path) -> dict[str, str]:
    """The variables with which dm-compose has the plugin."""
    install(tmp_path / "plugins", HANGING)
    path = os.pathsep.join(filter(None, (str(tmp_path / "plugins"), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path, "ACME_HANGS_AT": "1000"}


@pytest.fixture
def started(cache_only: TestProject, acme: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start dm-compose without waiting for it."""
    children = []

    def start(*words: str, **environment: str) -> subprocess.Popen[str]:
        env = {**os.environ, **cache_only.environment, **acme, **environment}
        command = ["dm-compose", "-f", str(cache_only.file), *words]
        children.append(subprocess.Popen(command, env=env, text=True, stdout=-1, stderr=-1))
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.communicate(timeout=60)


def ended(child: subprocess.Popen[str], number: int) -> tuple[int, str, float]:
    """Send a signal. Return the exit code, what was said, and the seconds until the process had ended."""
    began = time.monotonic()
    child.send_signal(number)
    _, said = child.communicate(timeout=30)
    return child.returncode, said, time.monotonic() - began


def test_a_quiesce_hook_that_hangs_while_all_else_stands_still_is_given_up(
    cache_only: TestProject, acme: dict[str, str], new_project: NewProject
) -> None:
    app = {"image": "dm-example/python", "pull_policy": "never", "command": ["sleep", "infinity"], "init": True}
    cache = {"image": "dm-example/redis:7.0", "pull_policy": "never"}
    project = new_project({"services": {"cache": cache, "app": app}})
    project.dm("up", "-d")
    project.wait_ready()
    began = time.monotonic()
    done = project.dm("commit", "-m", "x", check=False, **{**acme, "ACME_HANGS_AT": "2"})
    assert done.returncode == 10, done.stderr
    assert "cache: waited 5 s for redis to bring its data to the disk" in done.stderr
    assert time.monotonic() - began < 5 + 3 * SOON_S
    assert (project.state("app"), project.state("cache")) == ("running", "running")
    assert project.redis().ping()
    project.dm("commit", "-m", "works again")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_wait_for_a_hook_that_hangs(
    cache_only: TestProject, started: Callable[..., subprocess.Popen[str]], number: int, code: int
) -> None:
    cache = cache_only.container("cache")["Id"]
    child = started("commit", "-m", "x", ACME_HANGS_AT="1")
    eventually(lambda: b"sleep 600" in subprocess.run(["docker", "top", cache], capture_output=True, check=True).stdout, "hook")
    found, _, took_s = ended(child, number)
    assert found == code
    assert took_s < SOON_S
    assert cache_only.state("cache") == "running"
    assert [c["message"] for c in cache_only.json("log")] == ["seed"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_wait_for_a_datastore_and_puts_the_state_before_back(
    cache_only: TestProject, started: Callable[..., subprocess.Popen[str]], number: int, code: int
) -> None:
    cache_only.redis().set("note", "uncommitted")
    before = cache_only.started_at("cache")
    child = started("reset", "--hard", ACME_NEVER_READY="1")
    eventually(lambda: cache_only.started_at("cache") > before and cache_only.state("cache") == "running", "the start")
    time.sleep(0.5)  # it waits for the answer by now; nothing depends on it
    found, said, took_s = ended(child, number)
    assert found == code, said
    assert took_s < SOON_S
    eventually(lambda: cache_only.redis().get("note") == "uncommitted", "the state before")
    assert cache_only.json("status")["head"]["id"] == cache_only.seed


def test_a_health_command_that_hangs_does_not_hold_the_wait_up_beyond_its_time(new_project: NewProject) -> None:
    hangs = {"test": ["CMD", "sleep", "600"], "interval": "600s", "timeout": "600s", "start_period": "600s"}
    image = {"image": "dm-example/python", "pull_policy": "never", "init": True}
    app = {**image, "command": ["sleep", "infinity"], "healthcheck": hangs}
    project = new_project({"services": {"app": {**app, "volumes": ["data:/data"]}}, "volumes": {"data": None}})
    project.dm("up", "-d")
    began = time.monotonic()
    done = project.dm("commit", "--stop", "-m", "x", "--timeout", "1", check=False)
    assert done.returncode == 10, done.stderr
    assert "app did not answer in time" in done.stderr
    assert time.monotonic() - began < 30


def test_commit_stop_leaves_a_paused_container_paused(cache_only: TestProject) -> None:
    cache_only.redis().set("note", "in memory")
    cache_only.compose("pause", "cache")
    cache_only.dm("commit", "--stop", "-m", "x")
    assert cache_only.state("cache") == "paused"
    cache_only.compose("unpause", "cache")
    assert cache_only.redis().get("note") == "in memory"
