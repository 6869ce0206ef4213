"""Clones of a stack for test runs: each run and worker has its own, the stack itself is not touched, and nothing is left."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dm_compose.clones.clone import Clone, clone_name, made
from dm_compose.clones.sweep import sweep
from dm_compose.core.events import ignore
from dm_compose.dots.all_dots import Dots
from dm_compose.dots.stack import Stack
from dm_compose.engine import Engine
from dm_compose.live.access import open_access
from tests.support.crashing import KILLED, run_until
from tests.support.leftovers import leftovers, resources
from tests.support.projects import Run, TestProject, eventually, project_in
from tests.support.trees import describe, differences

pytestmark = pytest.mark.engine

HEADER = """
import os, pathlib, pytest, redis

def client(url):
    return redis.Redis.from_url(url, decode_responses=True, socket_timeout=10)

def is_seed():
    return client(os.environ["CACHE"]).keys() == ["note"] and client(os.environ["QUEUE"]).keys() == ["note"]

def scribble(text):
    for name in ("CACHE", "QUEUE"):
        assert client(os.environ[name]).set(text, text)
        assert client(os.environ[name]).save()
"""
SERVICES = ("cache", "queue")
STOPS = (1, 4, 9, 14, 20, 27, 35, 45, 1000)  # changes of the disk and requests to the engine; the last is all of them


class ShopTests:
    """A directory of tests of the shop."""

    def __init__(self, project: TestProject, directory: Path) -> None:
        self.project, self.directory = project, directory
        directory.mkdir()
        variables = "CACHE=redis://{cache:6379}\n    QUEUE=redis://{queue:6379:host}:{queue:6379:port}/0"
        (directory / "pytest.ini").write_text(f"[pytest]\ndm_file = {project.file}\ndm_env =\n    {variables}\n")

    def command(self, name: str, body: str, *options: str) -> tuple[list[str], dict[str, Any]]:
        (self.directory / f"test_{name}.py").write_text(HEADER + body)
        outer = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        words = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:pytester",
            "-p",
            "no:randomly",
            f"test_{name}.py",
            *options,
        ]
        return words, {"cwd": self.directory, "env": {**outer, **self.project.environment}, "text": True}

    def run(self, name: str, body: str, *options: str) -> str:
        """Run tests that all pass; return what was printed."""
        words, settings = self.command(name, body, *options)
        done = subprocess.run(words, capture_output=True, timeout=170, check=False, **settings)
        assert done.returncode == 0, done.stdout + done.stderr
        return str(done.stdout)

    @contextlib.contextmanager
    def hanging(self, name: str, *options: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
        """Start two tests that dirty the stack and wait; yields the run and a directory where they say so and wait for `go`."""
        place = self.directory / name
        place.mkdir()
        body = f"""
@pytest.mark.parametrize("n", range(2))
def test_hangs(dm_stack, n):
    import time
    scribble("hanging")
    pathlib.Path({str(place)!r}, str(n)).touch()
    while not pathlib.Path({str(place)!r}, "go").exists():
        time.sleep(0.05)
    assert client(os.environ["CACHE"]).get("hanging") == "hanging"
"""
        words, settings = self.command(name, body, *options)
        run = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, **settings)
        try:
            yield run, place
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
            run.wait()
            assert run.stdout is not None
            run.stdout.close()


@pytest.fixture(scope="module")
def shop(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestProject]:
    """Two Redis: one in a directory of the host, with a fixed name and a port of the host that is taken; one without a volume
    line. Up and, after the commit `seed`, dirty.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    directory = tmp_path_factory.mktemp("shop")
    image = {"image": "dm-example/redis:7.0", "pull_policy": "never"}
    document = {
        "services": {
            "cache": {
                **image,
                "container_name": f"the-cache-{run.id}",
                "ports": [f"127.0.0.1:{port}:6379"],
                "volumes": [f"{directory}/files:/data"],
            },
            "queue": {**image, "depends_on": ["cache"]},
        }
    }
    (directory / "files").mkdir()
    os.chown(directory / "files", 999, 999)
    for project in project_in(directory / "project", run, "shop", document):
        project.dm("up", "-d")
        for service in SERVICES:
            eventually(lambda: project.redis(service).set("note", "seed"), service)  # noqa: B023
        project.seed = project.json("commit", "-m", "seed")["id"]
        for service in SERVICES:
            project.redis(service).set("note", "my work")
            project.redis(service).save()
        yield project
        project.dm("prune")


def history(stack: Stack) -> list[object]:
    """Return all that its user sees of a stack's dot and of others."""
    return [stack.log(), stack.reflog(), stack.branches(), stack.worktrees(), stack.status(), Dots(stack.variables).names()]


@pytest.fixture
def tests(shop: TestProject, tmp_path: Path) -> Iterator[ShopTests]:
    """Tests of the shop, whatever they do: the stack is as it was, still up and still dirty, and nothing is left of clones."""
    place, stack = shop.directory.parent.parent / "files", shop.stack()
    files, seen = describe(place), history(stack)
    started = [shop.started_at(service) for service in SERVICES]
    yield ShopTests(shop, tmp_path / "tests")
    assert differences(files, describe(place)) == []
    assert [shop.started_at(service) for service in SERVICES] == started
    assert [shop.redis(service).get("note") for service in SERVICES] == ["my work", "my work"]
    assert history(stack) == seen
    assert leftovers(shop) == []


def test_each_worker_has_a_stack_of_its_own_that_starts_every_test_at_the_seed(tests: ShopTests) -> None:
    body = """
@pytest.mark.parametrize("n", range(4))
def test_sees_the_seed_alone(dm_stack, n, worker_id):
    assert is_seed()
    scribble(f"{worker_id} {n}")
    assert dm_stack.address("cache", 6379)[0] == "127.0.0.1"
    assert dm_stack.exec("queue", "sh", "-c", "redis-cli -h $(hostname) get note").output.strip() == "seed"
    assert client(os.environ["CACHE"]).get(f"{worker_id} {n}")
"""
    printed = tests.run("workers", body, "-n", "2", "--dm-report")
    assert "4 passed" in printed
    assert "restarted cache, queue" in printed
    assert "restores around 4 tests" in printed


def test_isolated_tests_commit_and_go_to_commits_of_the_stack_without_touching_it(tests: ShopTests) -> None:
    body = """
def test_puts_aside(dm_stack):
    assert is_seed()
    scribble("aside")
    commit = dm_stack.commit("put aside")
    dm_stack.reset()
    assert is_seed()
    dm_stack.reset(commit)
    assert client(os.environ["QUEUE"]).get("aside") == "aside"
    dm_stack.reset("master")
    assert is_seed()
    pathlib.Path("commit").write_text(commit)
"""
    tests.run("isolated", body, "--dm-isolate")
    commit = (tests.directory / "commit").read_text()
    assert "queue" in tests.project.json("diff", "HEAD", commit)


def test_workers_that_share_use_one_stack_in_turn(tests: ShopTests) -> None:
    body = """
@pytest.mark.parametrize("n", range(4))
def test_sees_the_seed_alone(dm_stack, n):
    assert is_seed()
    scribble(f"{n}")
    with open("clones", "a") as file:
        file.write(os.environ["CACHE"].rpartition(":")[2] * 0 + dm_stack.exec("queue", "hostname").output)
    import time
    time.sleep(0.1)
    assert client(os.environ["CACHE"]).keys("[0-9]") == [f"{n}"]
"""
    tests.run("shared", body, "-n", "2", "--dm-workers-share", "--dm-isolate")
    assert len(set((tests.directory / "clones").read_text().split())) == 1


def mine_of(tests: ShopTests, *options: str) -> list[dict[str, Any]]:
    """Return the clones of this stack that `prune` has found. It finds those of tests beside this one too."""
    return [clone for clone in tests.project.json("prune", *options)["clones"] if clone["name"].startswith(tests.project.name)]


@pytest.mark.slow
def test_what_a_killed_run_has_left_is_swept_and_nothing_of_a_run_that_lives(tests: ShopTests) -> None:
    with tests.hanging("killed", "-n", "2") as (killed, at), tests.hanging("living", "--dm-isolate") as (living, beside):
        eventually(lambda: (at / "0").exists() and (at / "1").exists(), "both workers", timeout_s=90)
        eventually((beside / "0").exists, "the other run", timeout_s=90)
        os.killpg(killed.pid, signal.SIGKILL)
        eventually(lambda: killed.poll() is not None, "its end")
        before = resources(tests.project)
        dead = mine_of(tests, "--dry-run")
        assert len(dead) == 2
        named = {r["name"] for clone in dead for r in clone["resources"]}
        assert len(named) == 10  # two containers, a network and two volumes each
        assert resources(tests.project) == before
        tests.run("next", "def test_it(dm_stack):\n    assert is_seed()\n", "--dm-isolate")
        assert set(resources(tests.project)) == set(before) - named
        assert mine_of(tests) == []
        (beside / "go").touch()
        printed, _ = living.communicate(timeout=60)
        assert living.returncode == 0, printed


@pytest.mark.slow
def test_a_clone_whose_maker_is_killed_anywhere_is_swept_also_by_one_that_is_killed(tests: ShopTests) -> None:
    stack = tests.project.stack()
    known = {name: getattr(stack.facts, name) for name in ("project", "images", "plan")}

    def make(number: int) -> None:
        mine = Stack(stack.compose.options, stack.variables)
        mine.facts.__dict__.update(known)
        with made(Clone(mine, clone_name(stack.facts.project.name, "killed", f"gw{number}"), "killed"), "HEAD"):
            os._exit(KILLED)

    def clean() -> None:
        engine = Engine()
        access = open_access(engine, [], stack.variables, ignore)
        sweep(engine, access.store, stack.variables, ignore, thorough=True)
        access.store.close()
        engine.close()

    for number, stop in enumerate(STOPS):
        assert run_until(stop, lambda number=number: make(number)) == KILLED
        run_until(number % 5 + 1, clean)
        clean()
        assert [left for left in leftovers(tests.project) if "/locks/" not in left] == []
    Dots(stack.variables).collect(keep_days=30)
