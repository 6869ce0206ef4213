"""A service that a provider makes has no container and no image. The rest of the stack, and its clones, work beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.leftovers import engine_view
from tests.support.projects import Run, TestProject, project_in

pytestmark = pytest.mark.engine

PROVIDER = """#!/bin/sh
echo "$@" >>"$0.calls"
case "$*" in
*" up "*) echo '{"type": "setenv", "message": "URL=https://cloud.example/1"}' ;;
esac
"""
TESTS = """
def test_one(dm_stack):
    assert "CLOUD_URL=https://cloud.example/1" in dm_stack.exec("cache", "env").output
    assert dm_stack.exec("cache", "redis-cli", "set", "note", "scribble").output.strip() == "OK"

def test_two(dm_stack):
    assert dm_stack.exec("cache", "redis-cli", "get", "note").output.strip() == "seed"
"""


class Shop:
    """A stack with a service that a provider makes, and the calls of that provider."""

    def __init__(self, project: TestProject, provider: Path) -> None:
        self.project = project
        self._calls = Path(f"{provider}.calls")

    def calls(self) -> list[str]:
        """Return the calls since the last time, without the questions for what the provider can do."""
        lines = self._calls.read_text().splitlines() if self._calls.exists() else []
        self._calls.unlink(missing_ok=True)
        return [line for line in lines if "metadata" not in line]


@pytest.fixture(scope="module")
def shop(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Redis, which depends on a service that a provider makes: up, with the commit `seed`."""
    directory = tmp_path_factory.mktemp("providers")
    provider = directory / "dmtestcloud"
    provider.write_text(PROVIDER)
    provider.chmod(0o755)
    document = {
        "services": {
            "cloud": {"provider": {"type": "dmtestcloud", "options": {"size": "3"}}},
            "cache": {"image": "dm-example/redis:7.0", "pull_policy": "never", "depends_on": ["cloud"]},
        }
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
        for project in project_in(directory / "stack", run, "cloud", document):
            project.dm("up", "-d")
            project.wait_ready()
            project.redis().set("note", "seed")
            project.seed = project.json("commit", "-m", "seed")["id"]
            found = Shop(project, provider)
            assert found.calls() == [f"compose --project-name={project.name} up --size=3 cloud"]
            yield found


def run_two_tests(shop: Shop, directory: Path, *options: str) -> None:
    """Run two tests on the stack; both have to pass."""
    directory.mkdir(exist_ok=True)
    (directory / "pytest.ini").write_text(f"[pytest]\ndm_file = {shop.project.file}\n")
    (directory / "test_it.py").write_text(TESTS)
    outer = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", *options],
        cwd=directory,
        env={**outer, **shop.project.environment},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_plan_says_nothing_of_an_image_that_there_cannot_be(shop: Shop) -> None:
    assert shop.project.dm("plan").stderr == ""


def test_nobody_asks_compose_for_its_image(shop: Shop) -> None:
    assert "cloud Skipped" not in shop.project.dm("up", "-d").stderr
    assert len(shop.calls()) == 1


def test_a_reset_leaves_it_alone(shop: Shop) -> None:
    shop.project.redis().set("note", "scribble")
    shop.project.dm("reset", "--hard")
    assert shop.project.redis().get("note") == "seed"
    assert shop.calls() == []


def test_tests_on_a_stack_that_runs_do_not_make_it_once_more(shop: Shop, tmp_path: Path) -> None:
    shop.project.dm("up", "-d")
    shop.calls()
    run_two_tests(shop, tmp_path / "tests")
    assert shop.calls() == []
    assert shop.project.state("cache") == "running"


def test_tests_on_a_stack_that_is_down_make_it_and_take_it_away(shop: Shop, tmp_path: Path) -> None:
    shop.project.dm("down")
    shop.calls()
    run_two_tests(shop, tmp_path / "tests", "--no-dm-settle")
    name = shop.project.name
    assert shop.calls() == [
        f"compose --project-name={name} up --size=3 cloud",
        f"compose --project-name={name} down --size=3 cloud",
    ]
    shop.project.dm("up", "-d")
    shop.calls()


def test_each_clone_has_one_of_its_own_and_takes_it_away(shop: Shop, tmp_path: Path) -> None:
    before = engine_view(shop.project)
    run_two_tests(shop, tmp_path / "tests", "--dm-isolate")
    assert engine_view(shop.project) == before
    calls = shop.calls()
    projects = {call.split()[1].removeprefix("--project-name=") for call in calls}
    assert shop.project.name not in projects
    assert all(project.startswith(f"{shop.project.name}-") for project in projects)
    for project in projects:
        mine = [call for call in calls if f"--project-name={project} " in call]
        assert [call.split()[2] for call in mine] == ["up", "down"], calls
