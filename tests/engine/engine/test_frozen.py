"""A frozen container is killed without running for an instant."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from dm_compose.engine import Engine
from dm_compose.engine.frozen import kill_all_but_the_first
from tests.support.projects import LABEL, Run, eventually

pytestmark = pytest.mark.engine

WORKERS = """
import os, time
for number in range(40):
    if os.fork() == 0:
        fd = os.open("/out/written", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        while True:
            os.write(fd, b"x")
            time.sleep(0.0005)
time.sleep(1000)
"""


@pytest.fixture
def container(run: Run, tmp_path: Path) -> Iterator[Any]:
    """A container with a first process that sleeps, and 40 others that write."""
    client = docker.from_env()
    made = client.containers.run(
        "dm-example/python",
        ["python3", "-c", WORKERS],
        detach=True,
        labels={LABEL: run.id},
        volumes={str(tmp_path): {"bind": "/out", "mode": "rw"}},
    )
    yield made
    made.remove(force=True)
    client.close()


@pytest.mark.parametrize("round_number", range(3))
def test_no_process_of_it_writes_between_thaw_and_death(container: Any, tmp_path: Path, round_number: int) -> None:
    """Docker thaws a paused container when it kills it, and its signal is for the first process only."""
    engine, written = Engine(), tmp_path / "written"
    eventually(lambda: written.stat().st_size > 10_000, "the workers to write")
    engine.pause(container.id)
    before = written.stat().st_size
    kill_all_but_the_first(engine, engine.container(container.id))
    engine.kill(container.id)
    assert written.stat().st_size == before
    container.reload()
    assert (container.status, container.attrs["State"]["ExitCode"]) == ("exited", 137)
    engine.close()
