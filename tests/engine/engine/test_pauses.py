"""No container is left frozen, though the engine hears of its own pauses late when the machine is busy."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from dm_compose.engine import Engine
from dm_compose.engine.cgroups import cgroup_of, is_frozen
from dm_compose.errors import EngineError
from dm_compose.process import Watchdog
from tests.support.projects import LABEL, Run, eventually

pytestmark = pytest.mark.engine

ROUNDS = 150


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.close()


@pytest.fixture
def container(run: Run, engine: Engine) -> Iterator[Any]:
    client = docker.from_env()
    made = client.containers.run("dm-example/python", ["sleep", "1000"], detach=True, labels={LABEL: run.id})
    yield engine.container(made.id)
    made.remove(force=True)
    client.close()


@contextlib.contextmanager
def both_cores_busy() -> Iterator[None]:
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


@contextlib.contextmanager
def unknown_to_the_engine(container: Any, seconds: float) -> Iterator[None]:
    """Hold a container still for a while, as the kernel does for the engine, which takes it for a running one."""
    directory = cgroup_of(container.pid, container.id)
    freezers = [
        Path("/sys/fs/cgroup/freezer") / "/".join(directory.parts[n:]) / "freezer.state" for n in range(len(directory.parts))
    ]
    old = next((file for file in freezers if file.is_file() and container.id in str(file)), None)
    file, frozen, thawed = (old, "FROZEN", "THAWED") if old else (directory / "cgroup.freeze", "1", "0")
    file.write_text(frozen)
    eventually(lambda: is_frozen(container.pid, container.id), "the kernel to hold it still")
    timer = threading.Timer(seconds, file.write_text, [thawed])
    timer.start()
    try:
        yield
    finally:
        timer.join()


def test_the_kernel_says_what_is_frozen(engine: Engine, container: Any) -> None:
    assert is_frozen(container.pid, container.id) is False
    engine.pause(container.id)
    assert is_frozen(container.pid, container.id) is True
    assert is_frozen(1, container.id) is None, "that is no process of this container"


def test_who_thaws_returns_when_it_is_thawed_whatever_the_engine_says(engine: Engine, container: Any) -> None:
    with unknown_to_the_engine(container, 0.7):
        engine.unpause(container.id)
        assert is_frozen(container.pid, container.id) is False


def test_one_that_is_not_frozen_is_not_waited_for(engine: Engine, container: Any) -> None:
    began = time.monotonic()
    engine.unpause(container.id)
    assert time.monotonic() - began < 5
    engine.pause(container.id)
    with pytest.raises(EngineError, match="already paused"):
        engine.pause(container.id)
    assert time.monotonic() - began < 5


def test_pauses_at_once_one_after_the_other_leave_nothing_frozen(engine: Engine, container: Any) -> None:
    with both_cores_busy():
        for number in range(ROUNDS):
            engine.pause(container.id)
            assert is_frozen(container.pid, container.id) is True, number
            engine.unpause(container.id)
            assert is_frozen(container.pid, container.id) is False, number


def test_a_watchdog_thaws_one_that_the_engine_takes_for_a_running_one(engine: Engine, container: Any) -> None:
    engine.pause(container.id)
    engine.unpause(container.id)
    watchdog = Watchdog(["docker", "unpause", container.id])
    with unknown_to_the_engine(container, 0.3):
        watchdog._child.stdin.close()  # as the kernel does when we die
        time.sleep(0.2)
    engine.pause(container.id)  # what the engine has not heard yet, it hears now
    eventually(lambda: is_frozen(container.pid, container.id) is False, "the second try")
    watchdog._child.wait(timeout=30)
