"""A commit that a datastore does not start from blocks nobody: whatever was begun on it is superseded, and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path

import docker
import pytest

from dm_compose.core.names import MAIN_WORKTREE, DotName
from dm_compose.errors import EngineError, InUseError, NotReadyError
from dm_compose.sessions.leases import own_stack
from dm_compose.sessions.options import SessionOptions
from dm_compose.store.local.store import LocalStore
from tests.support.projects import TestProject, eventually

pytestmark = pytest.mark.engine

SHORT = {"DM_TIMEOUT": "6"}


@pytest.fixture
def bad(cache_only: TestProject) -> str:
    """A commit that Redis does not start from, in a stack that is up on the seed, with `note` uncommitted."""
    volume = Path(docker.from_env().volumes.get(f"{cache_only.name}_dm-cache").attrs["Mountpoint"])
    cache_only.compose("stop", "cache")
    (volume / "dump.rdb").write_bytes(b"REDIS0010 this is no dump file" * 10)
    made = cache_only.json("commit", "-m", "broken")["id"]
    cache_only.dm("reset", "--hard", cache_only.seed)
    cache_only.compose("start", "cache")
    cache_only.wait_ready()
    cache_only.redis().set("note", "mine")
    return made


def test_a_test_run_on_such_a_commit_gives_the_users_work_back(cache_only: TestProject, bad: str) -> None:
    options = SessionOptions(commit=bad, ready_timeout_s=6)
    with pytest.raises(NotReadyError), own_stack(cache_only.stack(), options):
        pass
    assert eventually(lambda: cache_only.redis().get("note"), "redis") == "mine"
    assert cache_only.json("status")["unfinished"] == []
    cache_only.dm("commit", "-m", "nobody is blocked")


def test_a_killed_reset_to_such_a_commit_is_superseded_by_the_next_one(cache_only: TestProject, bad: str, tmp_path: Path) -> None:
    environment = {**os.environ, **cache_only.environment, **SHORT}
    command = ["dm-compose", "-f", str(cache_only.file), "reset", "--hard", bad]
    child = subprocess.Popen(command, env=environment, stdout=-1, stderr=-1)
    eventually(lambda: cache_only.container("cache")["State"]["ExitCode"] == 1, "Redis to give up")
    child.kill()
    child.communicate()
    refused = cache_only.dm("commit", "-m", "x", check=False, **SHORT)
    assert refused.returncode == NotReadyError.exit_code
    assert "an earlier reset" in refused.stderr
    assert "`reset --hard HEAD` goes on without it" in refused.stderr
    began = time.monotonic()
    cache_only.dm("reset", "--hard", **SHORT)
    assert time.monotonic() - began < 60
    assert eventually(lambda: cache_only.redis().get("note"), "redis") == "seed"
    cache_only.dm("undo")
    assert cache_only.redis().get("note") == "mine"


def test_a_put_back_that_fails_as_well_says_both_causes_with_both_logs(cache_only: TestProject, bad: str) -> None:
    """The state before is one that Redis does not start from either. It has read its files already, so it runs."""
    volume = Path(docker.from_env().volumes.get(f"{cache_only.name}_dm-cache").attrs["Mountpoint"])
    script = "test ! -e /data/poison || { echo it is poisoned; exit 3; }; exec redis-server --protected-mode no"
    command = ["sh", "-c", script]
    document = {"services": {"cache": {"image": "dm-example/redis:7.0", "pull_policy": "never", "command": command}}}
    cache_only.write(document)
    cache_only.dm("up", "-d")
    cache_only.wait_ready()
    (volume / "poison").touch()
    done = cache_only.dm("reset", "--hard", bad, check=False, **SHORT)
    assert done.returncode == NotReadyError.exit_code
    assert done.stderr.count("last lines of its log") == 2, done.stderr
    assert "could not be put back either" in done.stderr
    assert "it is poisoned" in done.stderr
    cache_only.dm("reset", "--hard", cache_only.seed, **SHORT)
    assert eventually(lambda: cache_only.redis().get("note"), "redis") == "seed"


def test_a_live_test_run_holds_its_stack_against_people_and_not_against_its_clones(cache_only: TestProject) -> None:
    cache_only.redis().set("note", "mine")
    with own_stack(cache_only.stack(), SessionOptions()):
        for words in (["commit", "-m", "x"], ["reset", "--hard"], ["checkout", "-b", "b"], ["undo"], ["down"], ["down", "-v"]):
            done = cache_only.dm(*words, check=False)
            assert done.returncode == InUseError.exit_code, (words, done.stderr)
            assert f"(process {os.getpid()} of" in done.stderr
        assert cache_only.json("status")["in_use"]["since"] is not None
        assert "in use by a test run since" in cache_only.dm("status").stdout
        assert cache_only.state("cache") == "running"
    assert cache_only.redis().get("note") == "mine"
    assert cache_only.json("status")["in_use"] is None
    cache_only.dm("commit", "-m", "x")


def test_without_an_engine_nothing_is_dropped_that_an_engine_has_to_put_back(cache_only: TestProject) -> None:
    """A commit is killed together with its watchdog, and somebody works on without the engine: the container is thawed later."""
    dot, container = DotName(cache_only.name), cache_only.container("cache")["Id"]
    with contextlib.closing(LocalStore(cache_only.home)) as store:
        entry = store.prepare_commit(dot, MAIN_WORKTREE, {})
        store.will_disturb(entry, [container], [])
    client = docker.from_env()
    client.containers.get(container).pause()
    refused = _dm(cache_only, "tag", "one", check=False)
    assert refused.returncode == EngineError.exit_code
    assert "may still be paused" in _dm(cache_only, "status").stderr
    with contextlib.closing(LocalStore(cache_only.home)) as store:
        assert [e.id for e in store.unfinished(dot)] == [entry]
    cache_only.dm("tag", "three")
    assert cache_only.state("cache") == "running"
    assert cache_only.json("status")["unfinished"] == []
    client.close()


def _dm(project: TestProject, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run `dm` where no engine answers."""
    return project.command("dm", "--dot", project.name, *words, check=check, DOCKER_HOST="unix:///nonexistent.sock")
