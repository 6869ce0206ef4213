"""Projects on the real engine."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dm_compose.core.variables import Variables
from dm_compose.driver import service as service_module
from dm_compose.driver.running import Background
from dm_compose.driver.service import DriverService
from dm_compose.engine import Engine
from tests.support import engines
from tests.support.drivers import IMAGE, DriverBench
from tests.support.engines import PrivateEngine, private_engine
from tests.support.projects import Run, TestProject, example, project_in, sweep_dead_runs
from tests.support.watching import watched

_numbers = itertools.count()


@pytest.fixture(scope="session")
def run() -> Iterator[Run]:
    """This run. Each test removes all that it makes on the engine: AssertionError at the end names what is left."""
    sweep_dead_runs()
    found = Run()
    with watched(found) as watch:
        yield found
        left = watch.left()
    found.finish()
    assert left == []


def start_webapp(project: TestProject) -> None:
    """Bring Postgres and Redis up with one row and one key, and commit that as the project's seed."""
    project.dm("up", "-d")
    project.wait_ready()
    project.sql("create table notes (text text)")
    project.sql("insert into notes values ('seed')")
    project.redis().set("note", "seed")
    project.seed = project.json("commit", "-m", "seed")["id"]


@pytest.fixture(scope="module")
def webapp(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestProject]:
    """Postgres and Redis, up, with the commit `seed`; shared by the tests of a module."""
    for project in project_in(tmp_path_factory.mktemp("webapp"), run, "webapp", example("webapp/compose.yaml")):
        start_webapp(project)
        yield project


@pytest.fixture
def cache_only(run: Run, tmp_path: Path) -> Iterator[TestProject]:
    """Redis alone, up, key `note` committed as `seed`: the quickest stack there is. For one test."""
    document = {"services": {"cache": {"image": "dm-example/redis:7.0", "pull_policy": "never"}}}
    for project in project_in(tmp_path, run, "cache", document):
        project.dm("up", "-d")
        project.wait_ready()
        project.redis().set("note", "seed")
        project.seed = project.json("commit", "-m", "seed")["id"]
        yield project


@pytest.fixture
def new_project(run: Run, tmp_path: Path) -> Iterator[Callable[[Mapping[str, Any]], TestProject]]:
    """Make projects from documents; all are removed after the test."""
    with contextlib.ExitStack() as made:
        numbers = itertools.count()

        def make(document: Mapping[str, Any]) -> TestProject:
            directory = tmp_path / str(next(numbers))
            return made.enter_context(contextlib.contextmanager(project_in)(directory, run, "p", document))

        yield make


@pytest.fixture(scope="module")
def engine() -> Iterator[PrivateEngine]:
    """An engine that ends with the tests of a module."""
    if (reason := engines.why_not()) is not None:
        pytest.skip(reason)
    with private_engine(IMAGE) as running:
        yield running


@pytest.fixture
def bench(engine: PrivateEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[DriverBench]:
    """A volume driver with an empty store on that engine, for one test."""
    path = engine.home / "stores" / str(next(_numbers))
    path.parent.mkdir(exist_ok=True)
    monkeypatch.setenv("DOCKER_HOST", engine.environment["DOCKER_HOST"])
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    monkeypatch.setattr(service_module, "keeper", Background)  # nothing is written to this machine's systemd
    service = DriverService(Engine(), Variables({"DM_HOME": str(path)}), plugins=engine.plugins, keeper=Background())
    made = DriverBench(engine, path, service)
    made.service.init()
    yield made
    for store in made.stores:
        store.close()
    made.service.init()  # whatever the test did to the driver: removing volumes needs it
    if containers := engine.docker("ps", "-aq").stdout.split():
        engine.docker("rm", "-f", "-v", *containers)
    made.service.reset()
    engine.docker("volume", "prune", "-f")
    made.service.engine.close()
