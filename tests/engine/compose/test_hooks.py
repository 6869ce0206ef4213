"""Containers of Compose's hooks (`pre_start`) have a service's labels and its volumes, and are not the service's own.

The Compose here may be too old to make one. A container with the labels that Compose gives stands for it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from dm_compose.errors import InUseError
from tests.support.projects import LABEL, TestProject, eventually

pytestmark = pytest.mark.engine


@pytest.fixture
def hook(cache_only: TestProject) -> Iterator[Callable[..., Any]]:
    """Start a container as Compose starts the `pre_start` of the service `cache`, with its volumes to write to."""
    client = docker.from_env()
    made = []

    def start(*command: str) -> Any:
        container = client.containers.run(
            "dm-example/redis:7.0",
            list(command),
            entrypoint=[],
            detach=True,
            init=True,
            name=f"{cache_only.name}-a-hook",  # before the service's own in any order by name
            volumes_from=[cache_only.container("cache")["Id"]],
            labels={
                "com.docker.compose.project": cache_only.name,
                "com.docker.compose.service": "cache",
                "com.docker.compose.hook": "pre_start",
                LABEL: cache_only.run_id,
            },
        )
        made.append(container)
        return container

    yield start
    for container in made:
        container.remove(force=True)
    client.close()


def run_tests(project: TestProject, directory: Path, body: str) -> None:
    """Run tests on the stack; all have to pass."""
    directory.mkdir(exist_ok=True)
    (directory / "pytest.ini").write_text(f"[pytest]\ndm_file = {project.file}\ndm_settle = false\n")
    (directory / "test_it.py").write_text(body)
    outer = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly"],
        cwd=directory,
        env={**outer, **project.environment},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_that_runs_is_refused_and_not_killed(cache_only: TestProject, hook: Callable[..., Any]) -> None:
    container = hook("sleep", "infinity")
    done = cache_only.dm("reset", "--hard", check=False)
    assert done.returncode == InUseError.exit_code
    assert f"container {container.name} (a pre_start hook) has cache" in done.stderr
    container.reload()
    assert container.status == "running"


def test_one_that_has_failed_is_no_container_of_its_service(
    cache_only: TestProject, hook: Callable[..., Any], tmp_path: Path
) -> None:
    """Compose keeps it. The service is down, so a run of tests brings it up, and removes its container at the end."""
    container = hook("false")
    eventually(lambda: container.reload() or container.status == "exited", "the hook to end")
    cache_only.compose("rm", "-sf", "cache")
    run_tests(cache_only, tmp_path / "tests", "def test_it(dm_stack): assert dm_stack.exec('cache', 'true').exit_code == 0")
    labels = [f"com.docker.compose.project={cache_only.name}", "com.docker.compose.service=cache"]
    with contextlib.closing(docker.from_env()) as client:
        assert [c.name for c in client.containers.list(all=True, filters={"label": labels})] == [container.name]
