"""Warm spares on a real stack: each test has another clone, restored and paused before, at addresses that stay."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path

import docker
import pytest

from tests.engine.pytest_dotmesh.test_plugin import Tests, outcome
from tests.support.leftovers import leftovers
from tests.support.projects import TestProject, eventually

pytestmark = pytest.mark.engine

EIGHT = """
seen = []

@pytest.mark.parametrize("n", range(7))
def test_sees_the_seed_alone(dm_stack, n):
    assert is_seed(dm_stack)
    scribble(dm_stack)
    seen.append((dm_stack.project, dm_stack.address("db", 5432), dm_stack.address("cache", 6379)))

@pytest.mark.parametrize("n", range(4))
def test_touches_nothing(dm_stack, n):
    seen.append((dm_stack.project, dm_stack.address("db", 5432), dm_stack.address("cache", 6379)))

def test_had_several_stacks_at_one_address(dm_stack):
    projects, *addresses = zip(*seen)
    assert len(set(projects)) == 2
    assert [len(set(found)) for found in addresses] == [1, 1]
    after_quiet = [*projects[-3:], dm_stack.project]
    # On a loaded machine a last packet after the hand-out may look like a touch now and then, never each time.
    assert any(before == after for before, after in zip(projects[-4:], after_quiet)), "nothing was touched by four tests"
"""

REDIS = """
import docker, pathlib, pytest, redis, socket, time

connections = []

def cache(stack):
    return redis.Redis(*stack.address("cache", 6379), decode_responses=True, socket_timeout=10)

def spares(name):
    found = docker.from_env().containers.list(filters={"status": "paused", "label": "dev.dotmesh.clone"}, ignore_removed=True)
    return [c for c in found if c.labels["dev.dotmesh.clone"].startswith(name + "-t")]

def paused(name):
    deadline = time.monotonic() + 60
    while not spares(name):
        assert time.monotonic() < deadline, "no spare"
        time.sleep(0.02)
    return spares(name)[0]

def is_seed(stack):
    return cache(stack).keys() == ["note"] and cache(stack).get("note") == "seed"
"""


@pytest.fixture
def tests(webapp: TestProject, tmp_path: Path) -> Tests:
    return Tests(webapp, tmp_path / "tests")


def test_each_test_sees_the_seed_in_another_stack_at_the_same_address(tests: Tests) -> None:
    tests.write(EIGHT)
    done = tests.run("--dm-spares", "1")
    assert "12 passed" in outcome(done), done.stdout
    assert "dm: spares: 1 paused clones of the stack, which hold" in done.stdout
    assert leftovers(tests.project) == []


def test_each_worker_of_xdist_has_spares_of_its_own_and_reports_and_hooks_tell_of_every_test(tests: Tests) -> None:
    (tests.directory / "conftest.py").write_text(
        """
def tell(what):
    with open("hooks", "a") as file:
        file.write(what + "\\n")

def pytest_dm_before_restore(config, stack, commit):
    tell("before")

def pytest_dm_after_restore(config, stack, report):
    tell(f"after {sorted(report.touched)}")
"""
    )
    tests.write(
        """
@pytest.mark.parametrize("n", range(8))
def test_sees_the_seed_alone(dm_stack, n, worker_id):
    assert dm_stack.project.rpartition("-")[2].startswith(f"{worker_id}s")
    assert is_seed(dm_stack)
    scribble(dm_stack)

@pytest.mark.parametrize("n", range(4))
def test_touches_nothing(dm_stack, n):
    pass
"""
    )
    done = tests.run("-n", "2", "--dm-spares", "1", "--dm-report", "--dm-report-json=dm.json")
    assert "12 passed" in outcome(done), done.stdout
    assert "test_sees_the_seed_alone[0]: put back in the background" in done.stdout
    reports = sorted(json.loads((tests.directory / "dm.json").read_text())["tests"], key=lambda r: r["test"])
    assert [(report["handed_out"], report["touched"].keys()) for report in reports[:8]] == [(True, {"db", "cache"})] * 8
    # On a loaded machine a last packet after the hand-out may look like a touch now and then, never each time.
    assert (False, {}) in [(report["handed_out"], report["touched"]) for report in reports[8:]]
    hooks = (tests.directory / "hooks").read_text().splitlines()
    assert hooks.count("after ['cache', 'db']") >= 8
    assert hooks.count("before") == len(hooks) - hooks.count("before"), "each hook before a restore has its hook after it"
    assert leftovers(tests.project) == []


@pytest.mark.slow
def test_whatever_is_done_to_a_spare_the_next_test_sees_the_seed(cache_only: TestProject, tmp_path: Path) -> None:
    tests = Tests(cache_only, tmp_path / "tests")
    (tests.directory / "clients.py").write_text(REDIS)
    tests.write(f"""
NAME = {cache_only.name!r}

def kill(spare):
    spare.kill()

def write_to_its_memory(spare):
    spare.unpause()
    assert spare.exec_run("redis-cli set note changed").exit_code == 0
    spare.pause()

def write_to_its_files(spare):
    place = pathlib.Path(next(m["Source"] for m in spare.attrs["Mounts"]), "dump.rdb")
    place.write_bytes(b"changed")

def remove(spare):
    spare.remove(force=True)

@pytest.mark.parametrize("change", [kill, write_to_its_memory, write_to_its_files, remove])
def test_changes_the_spare(dm_stack, change):
    assert is_seed(dm_stack)
    cache(dm_stack).set("note", "changed")
    change(paused(NAME))

def test_last(dm_stack):
    assert is_seed(dm_stack)

@pytest.mark.dm(commit="other")
def test_another_commit(dm_stack):
    assert cache(dm_stack).get("note") == "other"
    connections.append(socket.create_connection(dm_stack.address("cache", 6379)))

def test_old_connections_are_closed(dm_stack):
    assert is_seed(dm_stack)
    with pytest.raises(ConnectionResetError):
        connections[0].recv(1)
""")
    cache_only.redis().set("note", "other")
    cache_only.dm("commit", "-m", "other")
    cache_only.dm("tag", "other")
    cache_only.dm("reset", "--hard", cache_only.seed)
    done = tests.run("--dm-spares", "1")
    assert "7 passed" in outcome(done), done.stdout
    assert "was changed while it stood by, so it is restored again" in done.stdout
    assert leftovers(cache_only) == []


@pytest.mark.slow
def test_a_killed_run_leaves_nothing_paused_once_somebody_has_swept(cache_only: TestProject, tmp_path: Path) -> None:
    tests = Tests(cache_only, tmp_path / "tests")
    (tests.directory / "clients.py").write_text(REDIS)
    tests.write(f"""
def test_hangs(dm_stack):
    paused({cache_only.name!r})
    pathlib.Path("there").touch()
    time.sleep(100)
""")
    words, place, environment = tests.command("--dm-spares", "1"), tests.directory, tests.environment
    run = subprocess.Popen(words, stdout=-1, stderr=-2, start_new_session=True, cwd=place, env=environment)
    try:
        eventually((tests.directory / "there").exists, "the run", timeout_s=90)
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
    with contextlib.closing(docker.from_env()) as client:
        mine = [c for c in client.containers.list(all=True, ignore_removed=True) if c.name.startswith(f"{cache_only.name}-t")]
        assert sorted(c.status for c in mine) == ["paused", "running"]
    cache_only.dm("prune")
    assert leftovers(cache_only) == []
