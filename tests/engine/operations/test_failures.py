"""When something goes wrong, three things hold: the stack as it was, the old commits intact, one clear message."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.support.processes import python_path
from tests.support.projects import TestProject, eventually

pytestmark = pytest.mark.engine

NewProject = Callable[[Mapping[str, Any]], TestProject]


def start(project: TestProject, *words: str, **environment: str) -> subprocess.Popen[str]:
    """Start dm-compose without waiting for it."""
    env = {**os.environ, **project.environment, **environment}
    return subprocess.Popen(["dm-compose", "-f", str(project.file), *words], env=env, text=True, stdout=-1, stderr=-1)


@pytest.mark.parametrize("where", ["terminal", "pipe"])
def test_an_attached_up_that_is_told_to_end_has_compose_stop_the_containers(new_project: NewProject, where: str) -> None:
    program = (
        "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(42)); print('up', flush=True); signal.pause()"
    )
    app = {"image": "dm-example/python", "pull_policy": "never", "command": ["python3", "-c", program]}
    project = new_project({"services": {"app": app}})
    master, slave = pty.openpty()
    out = slave if where == "terminal" else subprocess.DEVNULL
    words = ["dm-compose", "-f", str(project.file), "up"]
    child = subprocess.Popen(words, env={**os.environ, **project.environment}, stdin=out, stdout=out, stderr=out)
    reader = threading.Thread(target=_drain, args=(master,), daemon=True)  # or Compose waits until somebody reads
    reader.start()
    try:
        # fails while Compose is making the container
        eventually(lambda: "up" in project.compose("logs", "app", check=False), "the container to run")
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=60) == 130
    finally:
        child.kill()
        os.close(slave)
        reader.join()
        os.close(master)
    state = project.container("app")["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 42)


def _drain(terminal: int) -> None:
    with contextlib.suppress(OSError):  # EIO: the other end is closed
        while os.read(terminal, 4096):
            pass


@pytest.fixture
def slow_commit(cache_only: TestProject, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start a commit that stays in its frozen phase until it is killed: its capture stops on a fifo nobody writes to."""

    def begin(**environment: str) -> subprocess.Popen[str]:
        hook = tmp_path / "hang"
        hook.mkdir(exist_ok=True)
        (hook / "sitecustomize.py").write_text(
            "import sys\n"
            "def hook(event, args):\n"
            "    if event == 'os.scandir' and 'HANG' in __import__('os').environ and frozen():\n"
            "        __import__('time').sleep(600)\n"
            "def frozen():\n"
            "    module = sys.modules.get('dm_compose.storage.capture')\n"
            "    frame = sys._getframe()\n"
            "    while frame is not None:\n"
            "        if frame.f_code.co_name == 'finish' and module is not None: return True\n"
            "        frame = frame.f_back\n"
            "    return False\n"
            "sys.addaudithook(hook)\n"
        )
        child = start(cache_only, "commit", "-m", "slow", PYTHONPATH=python_path(hook), HANG="1", **environment)
        eventually(lambda: cache_only.state("cache") == "paused", "the commit to freeze the stack")
        return child

    return begin


def _watchdogs(project: TestProject) -> list[int]:
    container = project.container("cache")["Id"]
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"dm-compose-watchdog" in words and container.encode() in words:
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_commit_that_is_killed_thaws_the_stack_by_itself(
    cache_only: TestProject, slow_commit: Callable[..., subprocess.Popen[str]], number: int
) -> None:
    child = slow_commit()
    child.send_signal(number)
    eventually(lambda: cache_only.state("cache") == "running", "the container to be thawed")
    child.kill()  # its reading thread still hangs
    child.communicate(timeout=60)
    assert cache_only.redis().get("note") == "seed"
    eventually(lambda: not _watchdogs(cache_only), "the watchdog to end")
    assert [c["message"] for c in cache_only.json("log")] == ["seed"]


def test_when_the_watchdog_is_killed_too_the_next_command_thaws_the_stack(
    cache_only: TestProject, slow_commit: Callable[..., subprocess.Popen[str]]
) -> None:
    child = slow_commit()
    for pid in _watchdogs(cache_only):
        os.kill(pid, signal.SIGKILL)
    child.kill()
    child.communicate(timeout=60)
    assert cache_only.state("cache") == "paused"
    cache_only.dm("status")
    assert cache_only.state("cache") == "running"
    assert [c["message"] for c in cache_only.json("log")] == ["seed"]
    cache_only.dm("commit", "-m", "works again")


def test_a_second_command_waits_for_the_first_and_says_for_whom(
    cache_only: TestProject, slow_commit: Callable[..., subprocess.Popen[str]]
) -> None:
    child = slow_commit()
    second = start(cache_only, "commit", "-m", "second")
    assert second.stderr is not None
    line = second.stderr.readline()
    assert "in use by dm-compose" in line
    assert str(child.pid) in line
    child.kill()
    child.communicate(timeout=60)
    _, _ = second.communicate(timeout=60)
    assert second.returncode == 0
    assert [c["message"] for c in cache_only.json("log")] == ["second", "seed"]


def test_a_failing_quiesce_hook_gives_the_commit_up_and_names_the_way_out(new_project: NewProject) -> None:
    config = ["redis-server", "--requirepass", "secret"]
    project = new_project({"services": {"cache": {"image": "dm-example/redis:7.0", "pull_policy": "never", "command": config}}})
    project.dm("up", "-d")
    eventually(lambda: b"NOAUTH" in _ask(project), "redis")
    project.dm("commit", "-m", "the password is on the command line")
    # A password that nobody told Compose:
    project.compose("exec", "cache", "redis-cli", "-a", "secret", "config", "set", "requirepass", "other")
    done = project.dm("commit", "-m", "x", check=False)
    assert done.returncode == 1
    assert "--stop" in done.stderr
    assert project.state("cache") == "running"
    assert len(project.json("log")) == 1


def _ask(project: TestProject) -> bytes:
    import socket

    with socket.create_connection((project.address("cache"), 6379), 5) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(100)


def test_a_datastore_that_does_not_come_up_is_named_and_the_state_before_is_put_back(cache_only: TestProject) -> None:
    volume = Path(docker.from_env().volumes.get(f"{cache_only.name}_dm-cache").attrs["Mountpoint"])
    good = (volume / "dump.rdb").read_bytes()
    cache_only.compose("stop", "cache")
    (volume / "dump.rdb").write_bytes(b"REDIS0010 this is no dump file" * 10)
    bad = cache_only.json("commit", "-m", "broken")["id"]
    cache_only.dm("reset", "--hard", cache_only.seed)
    cache_only.compose("start", "cache")
    cache_only.wait_ready()
    cache_only.redis().set("note", "uncommitted")
    done = cache_only.dm("reset", "--hard", bad, check=False)
    assert done.returncode == 10
    assert "cache" in done.stderr
    assert "redis" in done.stderr
    assert "last lines of its log" in done.stderr
    assert cache_only.redis().get("note") == "uncommitted"
    assert cache_only.json("status")["head"]["id"] == cache_only.seed
    assert good[:5] == b"REDIS"


def volumes_of(project: TestProject) -> list[str]:
    """Return the names of a project's volumes on the engine."""
    done = subprocess.run(["docker", "volume", "ls", "-q"], capture_output=True, text=True, timeout=60, check=True)
    return [name for name in done.stdout.split() if name.startswith(f"{project.name}_")]


def test_a_command_that_is_refused_leaves_no_volume_that_it_has_made(cache_only: TestProject) -> None:
    cache_only.dm("down", "-v")
    assert volumes_of(cache_only) == []
    for words in (["reset", "--hard", "nosuch"], ["checkout", "nosuch"], ["undo", "--timeout", "soon"]):
        assert cache_only.dm(*words, check=False).returncode
        assert volumes_of(cache_only) == [], words
    cache_only.dm("reset", "--hard")
    assert len(volumes_of(cache_only)) == 1
    cache_only.dm("up", "-d", "--wait")
    assert cache_only.redis().get("note") == "seed"


def test_a_command_without_a_dot_makes_no_volume_and_a_commit_of_nothing_says_so(new_project: NewProject) -> None:
    document = {"services": {"cache": {"image": "dm-example/redis:7.0", "pull_policy": "never", "volumes": ["data:/data"]}}}
    project = new_project({**document, "volumes": {"data": {}}})
    for words in (("reset", "--hard"), ("diff",), ("show",), ("undo",), ("tag", "v1")):
        refused = project.dm(*words, check=False)
        assert (refused.returncode, "has no commit yet" in refused.stderr) == (5, True), words
    assert volumes_of(project) == []
    project.compose("up", "--no-start")
    assert "all subdots of this commit are empty" in project.dm("commit", "-m", "early").stderr


def test_a_commit_that_stops_the_stack_waits_as_long_as_it_is_told(new_project: NewProject) -> None:
    store = {"image": "dm-example/python", "pull_policy": "never", "command": ["sleep", "infinity"], "init": True}
    project = new_project({"services": {"store": {**store, "x-dotmesh": {"engine": "meilisearch"}}}})  # which it is not
    project.dm("up", "-d")
    for words, environment in ((["--timeout", "0.5"], {}), ([], {"DM_TIMEOUT": "0.5"})):
        done = project.dm("commit", "--stop", "-m", "x", *words, check=False, **environment)
        assert done.returncode == 10
        assert "did not answer in time" in done.stderr
        assert project.state("store") == "running"


def test_a_commit_of_another_engine_version_is_refused_by_both_names_and_a_flag_overrides(cache_only: TestProject) -> None:
    client = docker.from_env()
    tag = f"{cache_only.name}-newer"
    context = cache_only.directory / "image"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM dm-example/redis:7.0\nENV REDIS_VERSION=8.0\n")
    subprocess.run(
        ["docker", "buildx", "build", "-q", "--load", "-t", tag, str(context)], check=True, capture_output=True, timeout=120
    )
    try:
        cache_only.write({"services": {"cache": {"image": tag, "pull_policy": "never"}}})
        cache_only.dm("up", "-d")
        cache_only.wait_ready()
        before = cache_only.started_at("cache")
        done = cache_only.dm("reset", "--hard", check=False)
        assert done.returncode == 9
        assert "redis 7.0" in done.stderr
        assert "redis 8.0" in done.stderr
        assert cache_only.started_at("cache") == before
        cache_only.dm("reset", "--hard", "--any-version")
        assert cache_only.redis().get("note") == "seed"
    finally:
        cache_only.dm("down")
        client.images.remove(tag, force=True)
        client.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    image, mount = tmp_path / "disk", tmp_path / "small"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(24 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(mount)], check=True)
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


def test_a_full_disk_while_committing_leaves_stack_and_commits_alone(cache_only: TestProject, small_disk: Path) -> None:
    home = {"DM_HOME": str(small_disk / "home")}
    cache_only.dm("commit", "-m", "fits", **home)
    rng = os.urandom(1 << 20)
    for number in range(40):
        cache_only.redis().set(f"big{number}", rng)
    before = cache_only.started_at("cache")
    done = cache_only.dm("commit", "-m", "too big", check=False, **home)
    assert done.returncode == 12, done.stderr
    assert "no space left" in done.stderr
    assert (cache_only.state("cache"), cache_only.started_at("cache")) == ("running", before)
    assert [c["message"] for c in cache_only.json("log", **home)] == ["fits"]
    assert not list((small_disk / "home" / "incoming").iterdir())
    for number in range(40):
        cache_only.redis().delete(f"big{number}")
    cache_only.redis().save()
    cache_only.dm("commit", "-m", "fits again", **home)
    cache_only.dm("reset", "--hard", "HEAD^", **home)
    assert cache_only.redis().get("note") == "seed"


def test_no_engine_and_no_store_have_their_messages(cache_only: TestProject, tmp_path: Path) -> None:
    done = cache_only.dm("status", check=False, DOCKER_HOST="unix:///nonexistent.sock")
    assert done.returncode == 4
    assert "hint" in done.stderr
    (tmp_path / "file").write_text("")
    done = cache_only.dm("status", check=False, DM_HOME=str(tmp_path / "file" / "home"))
    assert done.returncode == 11
    assert "Traceback" not in done.stderr


def test_a_store_of_a_newer_version_is_refused(cache_only: TestProject) -> None:
    import sqlite3

    database = sqlite3.connect(cache_only.home / "state.db")
    database.execute("PRAGMA user_version = 999")
    database.close()
    done = cache_only.dm("status", check=False)
    assert done.returncode == 11
    assert "newer version" in done.stderr


def test_a_writer_of_two_datastores_never_appears_out_of_order(webapp: TestProject) -> None:
    """A writes to Postgres and then Redis, B the other way round; in every commit the second is never ahead of the first."""
    stop = threading.Event()
    webapp.sql("create table if not exists counters (name text primary key, n int)")
    webapp.sql("insert into counters values ('a', 0), ('b', 0) on conflict do nothing")
    webapp.redis().mset({"a": 0, "b": 0})

    def write(name: str, *, postgres_first: bool) -> None:
        with webapp.postgres() as connection:
            client = webapp.redis()
            number = 0
            while not stop.is_set():
                number += 1
                statement = f"update counters set n = {number} where name = '{name}'"
                if postgres_first:
                    connection.execute(statement)
                client.set(name, number)
                if not postgres_first:
                    connection.execute(statement)

    threads = [
        threading.Thread(target=write, args=("a",), kwargs={"postgres_first": True}),
        threading.Thread(target=write, args=("b",), kwargs={"postgres_first": False}),
    ]
    for thread in threads:
        thread.start()
    commits = []
    try:
        for number in range(6):
            time.sleep(0.05)  # lets the writers get on; nothing depends on how far
            commits.append(webapp.json("commit", "-m", str(number))["id"])
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    seen = []
    for commit in commits:
        webapp.stack().reset(commit, hard=True)
        in_postgres = dict(webapp.sql("select name, n from counters"))
        in_redis = {name: int(webapp.redis().get(name) or 0) for name in ("a", "b")}
        assert in_postgres["a"] - 1 <= in_redis["a"] <= in_postgres["a"], (in_postgres, in_redis)
        assert in_redis["b"] - 1 <= in_postgres["b"] <= in_redis["b"], (in_postgres, in_redis)
        seen.append(in_redis["a"])
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]
