"""Which containers a commit or reset touches, and which it must not."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import docker
import pytest

from dm_compose.engine import OWNER_LABEL, Engine
from tests.support.crashing import KILLED, run_until
from tests.support.projects import LABEL, TestProject, eventually

pytestmark = pytest.mark.engine

REDIS = {"image": "dm-example/redis:7.0", "pull_policy": "never"}
IDLE = {"image": "dm-example/python", "pull_policy": "never", "command": ["sleep", "infinity"], "init": True}
NewProject = Callable[[Mapping[str, Any]], TestProject]


@pytest.fixture
def stranger(cache_only: TestProject) -> Iterator[Callable[..., Any]]:
    """Start a container outside the project that mounts the project's volume."""
    client = docker.from_env()
    made = []

    def start(mode: str) -> Any:
        volume = cache_only.container("cache")["Mounts"][0]["Name"]
        container = client.containers.run(
            "dm-example/python", ["sleep", "infinity"], detach=True, init=True,
            volumes={volume: {"bind": "/peek", "mode": mode}}, labels={LABEL: cache_only.run_id},
        )  # fmt: skip
        made.append(container)
        return container

    yield start
    for container in made:
        container.remove(force=True)
    client.close()


def test_reset_refuses_while_a_stranger_has_a_subdot_mounted_and_names_it(
    cache_only: TestProject, stranger: Callable[..., Any]
) -> None:
    container = stranger("ro")
    before = cache_only.started_at("cache")
    done = cache_only.dm("reset", "--hard", check=False)
    assert done.returncode == 8
    assert container.name in done.stderr
    assert cache_only.started_at("cache") == before
    container.reload()
    assert container.status == "running"


def test_commit_refuses_while_a_stranger_may_write_but_not_for_a_reader(
    cache_only: TestProject, stranger: Callable[..., Any]
) -> None:
    reader = stranger("ro")
    cache_only.dm("commit", "-m", "beside a reader")
    writer = stranger("rw")
    done = cache_only.dm("commit", "-m", "beside a writer", check=False)
    assert done.returncode == 8
    assert writer.name in done.stderr
    for container in (reader, writer):
        container.reload()
        assert container.status == "running"


def test_a_container_that_a_killed_command_had_made_for_a_moment_goes_with_the_next_such_command() -> None:
    with contextlib.closing(Engine()) as engine:
        image = engine.image("dm-example/redis:7.0")
        assert image is not None

        def look() -> bool:
            with contextlib.closing(Engine()) as mine:
                return mine.image_has(image.digest, [("/bin/sh",)])

        before = engine.labelled(OWNER_LABEL)
        codes = [run_until(stop, look) for stop in range(1, 12)]
        assert KILLED in codes
        assert engine.labelled(OWNER_LABEL) == before
        assert 0 in codes
        codes = [run_until(stop, look) for stop in range(1, codes.index(0) + 1)]
        assert engine.labelled(OWNER_LABEL) != before
        look()
        assert engine.labelled(OWNER_LABEL) == before


def test_a_stopped_stranger_does_not_matter(cache_only: TestProject, stranger: Callable[..., Any]) -> None:
    stranger("rw").kill()
    cache_only.dm("reset", "--hard")


def test_application_containers_stay_up(new_project: NewProject) -> None:
    project = new_project({"services": {"cache": REDIS, "app": {**IDLE, "depends_on": ["cache"]}}})
    project.dm("up", "-d")
    project.wait_ready()
    project.dm("commit", "-m", "seed")
    app, cache = project.started_at("app"), project.started_at("cache")
    project.redis().set("note", "x")
    project.dm("reset", "--hard")
    assert project.started_at("app") == app
    assert project.started_at("cache") != cache
    assert project.redis().get("note") is None


MEMCACHED = """
import socketserver
data = {}
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            verb, *names = line.split()
            if verb == b"version":
                self.wfile.write(b"VERSION 1.6\\r\\n")
            elif verb == b"set":
                data[names[0]] = line + self.rfile.readline()
                self.wfile.write(b"STORED\\r\\n")
            else:
                self.wfile.write(data.get(names[0], b"") + b"END\\r\\n")
socketserver.ThreadingTCPServer(("", 11211), Handler).serve_forever()
"""


def test_a_datastore_that_has_its_data_in_memory_only_is_empty_and_ready_after_a_reset(new_project: NewProject) -> None:
    memory = {**IDLE, "command": ["python3", "-c", MEMCACHED], "x-dotmesh": {"engine": "memcached"}}
    project = new_project({"services": {"cache": REDIS, "memory": memory, "app": IDLE}})

    def ask(request: bytes) -> bytes:
        with socket.create_connection((project.address("memory"), 11211), 5) as connection:
            connection.sendall(request)
            return connection.recv(100)

    project.dm("up", "-d")
    project.wait_ready()
    project.dm("commit", "-m", "seed")
    eventually(lambda: ask(b"version\r\n"), "the memory")
    for changed in (True, False):
        ask(b"set stale 0 0 1\r\nx\r\n")
        assert ask(b"get stale\r\n") != b"END\r\n"
        app = project.started_at("app")
        if changed:
            project.redis().set("note", "x")
        done = project.dm("reset", "--hard", "--dry-run")
        assert "kill memory: memcached has its data in memory only" in done.stdout
        project.dm("reset", "--hard")
        assert ask(b"get stale\r\n") == b"END\r\n"
        assert project.started_at("app") == app


def test_restart_always_does_not_bring_a_container_up_during_the_restore(new_project: NewProject) -> None:
    project = new_project({"services": {"cache": {**REDIS, "restart": "always"}}})
    project.dm("up", "-d")
    project.wait_ready()
    project.redis().set("note", "seed")
    project.dm("commit", "-m", "seed")
    project.redis().set("note", "x")
    project.dm("reset", "--hard")
    assert project.redis().get("note") == "seed"
    assert project.container("cache")["RestartCount"] == 0
    assert project.state("cache") == "running"


def test_a_stopped_container_stays_stopped_and_its_files_are_put_back(cache_only: TestProject) -> None:
    cache_only.redis().set("note", "x")
    cache_only.dm("commit", "-m", "x")
    cache_only.compose("stop", "cache")
    cache_only.dm("reset", "--hard", cache_only.seed)
    assert cache_only.state("cache") == "exited"
    cache_only.compose("start", "cache")
    cache_only.wait_ready()
    assert cache_only.redis().get("note") == "seed"


def test_a_paused_container_is_paused_again_after_a_reset(cache_only: TestProject) -> None:
    cache_only.redis().set("note", "x")
    cache_only.dm("commit", "-m", "x")
    cache_only.compose("pause", "cache")
    cache_only.dm("reset", "--hard", cache_only.seed)
    assert cache_only.state("cache") == "paused"
    cache_only.compose("unpause", "cache")
    assert eventually(lambda: cache_only.redis().get("note"), "redis") == "seed"


def test_a_commit_leaves_a_paused_container_paused(cache_only: TestProject) -> None:
    cache_only.compose("pause", "cache")
    cache_only.dm("commit", "-m", "while paused")
    assert cache_only.state("cache") == "paused"


def test_a_commit_of_a_stack_that_is_down_works_and_starts_nothing(cache_only: TestProject) -> None:
    cache_only.compose("stop", "cache")
    report = cache_only.json("commit", "-m", "down")
    assert report["frozen_s"] == 0
    assert cache_only.state("cache") == "exited"


def test_two_services_that_share_a_volume_go_down_together(new_project: NewProject) -> None:
    mount = {"volumes": ["shared:/data"]}
    project = new_project(
        {
            "services": {
                "cache": {**REDIS, **mount},
                "writer": {**IDLE, **mount},
                "reader": {**IDLE, "volumes": ["shared:/data:ro"]},
            },
            "volumes": {"shared": None},
        }
    )
    project.dm("up", "-d")
    project.wait_ready()
    project.dm("commit", "-m", "seed")
    before = {name: project.started_at(name) for name in ("cache", "writer", "reader")}
    project.compose("exec", "writer", "sh", "-c", "echo hello > /data/file")
    project.dm("reset", "--hard")
    after = {name: project.started_at(name) for name in before}
    assert after["cache"] != before["cache"]
    assert after["writer"] != before["writer"]
    assert after["reader"] == before["reader"]
    assert "file" not in project.compose("exec", "reader", "ls", "/data")


def test_a_one_off_container_that_writes_is_refused_and_not_killed(cache_only: TestProject) -> None:
    cache_only.dm("run", "-d", "--name", f"{cache_only.name}-oneoff", "cache", "sleep", "infinity")
    done = cache_only.dm("reset", "--hard", check=False)
    assert done.returncode == 8
    assert f"{cache_only.name}-oneoff" in done.stderr
    client = docker.from_env()
    container = client.containers.get(f"{cache_only.name}-oneoff")
    assert container.status == "running"
    container.remove(force=True)
    client.close()
