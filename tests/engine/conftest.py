"""Projects on the real engine."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.projects import Run, TestProject, example, project_in, sweep_dead_runs


@pytest.fixture(scope="session")
def run() -> Iterator[Run]:
    sweep_dead_runs()
    found = Run()
    yield found
    found.finish()


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
