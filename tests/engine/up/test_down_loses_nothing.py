"""`down` and `down -v` keep what they would take away, and `up` says how a stack whose volumes are gone is had back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import docker
import pytest

from tests.support.projects import TestProject, eventually

pytestmark = pytest.mark.engine

REDIS = {"image": "dm-example/redis:7.0", "pull_policy": "never"}
IDLE = {"image": "dm-example/python", "pull_policy": "never", "command": ["sleep", "infinity"], "init": True}
NewProject = Callable[[Mapping[str, Any]], TestProject]


def volumes_of(project: TestProject) -> set[str]:
    client = docker.from_env()
    try:
        return {v.name for v in client.volumes.list(filters={"label": f"com.docker.compose.project={project.name}"})}
    finally:
        client.close()


def kept_by(stderr: str) -> str:
    """Return the commit that `down -v` says it has kept."""
    return stderr.split("kept: `dm-compose reset --hard ")[1].split("`")[0]


def test_down_with_volumes_says_and_keeps_what_is_not_committed(cache_only: TestProject) -> None:
    cache_only.redis().set("note", "precious")
    cache_only.redis().save()
    done = cache_only.dm("down", "-v")
    assert "cache" in done.stderr
    assert "removes uncommitted changes: cache" in done.stderr
    assert volumes_of(cache_only) == set()
    kept = done.stderr.split("reset --hard ")[1].split("`")[0]
    cache_only.dm("reset", "--hard", kept)
    cache_only.dm("up", "-d")
    cache_only.wait_ready()
    assert cache_only.redis().get("note") == "precious"


def test_down_with_volumes_has_datastores_save_what_is_in_their_memory_only(cache_only: TestProject) -> None:
    cache_only.redis().config_set("save", "")  # so that Redis saves nothing at its end either
    cache_only.redis().set("note", "in memory")
    done = cache_only.dm("down", "-v")
    assert volumes_of(cache_only) == set()
    again = cache_only.dm("up", "-d")
    assert "the volume of cache is gone: `dm-compose reset --hard` brings the last commit back" in again.stderr
    assert "`dm-compose undo` what `down -v` has kept" in again.stderr
    cache_only.wait_ready()
    assert cache_only.redis().get("note") is None
    cache_only.dm("reset", "--hard", kept_by(done.stderr))
    assert cache_only.redis().get("note") == "in memory"
    cache_only.dm("reset", "--hard", cache_only.seed)
    assert cache_only.redis().get("note") == "seed"


def test_up_after_a_plain_down_of_half_the_volumes_says_so_and_names_both_ways(new_project: NewProject) -> None:
    """Compose does not know the volume that `dm-compose up` has given to `cache`, so its own `down -v` leaves that."""
    project = new_project(
        {"services": {"cache": REDIS, "queue": {**REDIS, "volumes": ["queue:/data"]}}, "volumes": {"queue": {}}}
    )
    project.dm("up", "-d", "--wait")
    for service in ("cache", "queue"):
        project.redis(service).set("note", "seed")
    project.dm("commit", "-m", "seed")
    project.compose("down", "-v")
    told = project.dm("up", "-d", "--wait").stderr
    assert "only half of the state is gone: cache still has its old one; to begin with nothing, `dm-compose down -v`" in told
    assert "the volume of queue is gone: `dm-compose reset --hard` brings the last commit back" in told
    assert [project.redis(service).get("note") for service in ("cache", "queue")] == ["seed", None]
    project.dm("reset", "--hard")
    assert [project.redis(service).get("note") for service in ("cache", "queue")] == ["seed", "seed"]


def test_down_with_volumes_names_no_directory_of_the_host_because_it_stays(new_project: NewProject) -> None:
    project = new_project(
        {
            "services": {"cache": REDIS, "web": {**IDLE, "volumes": ["./uploads:/uploads"]}},
            "x-dotmesh": {"include": ["web:/uploads"]},
        }
    )
    uploads = project.file.parent / "uploads"
    uploads.mkdir()
    project.dm("up", "-d", "--wait")
    project.redis().set("note", "seed")
    project.dm("commit", "-m", "seed")
    project.redis().set("note", "precious")
    project.redis().save()
    (uploads / "file").write_text("uploaded")
    told = project.dm("down", "-v").stderr
    assert "removes uncommitted changes: cache (" in told
    assert "web" not in told.partition("removes uncommitted changes: ")[2].partition("\n")[0]
    assert (uploads / "file").read_text() == "uploaded"
    again = project.dm("up", "-d", "--wait").stderr
    assert "empty the directory of web, `dm-compose down -v` and then `up`" in again


def test_an_undo_takes_down_with_volumes_back(cache_only: TestProject) -> None:
    cache_only.redis().set("note", "in memory")
    cache_only.dm("down", "-v")
    cache_only.dm("undo")
    cache_only.dm("up", "-d")
    cache_only.wait_ready()
    assert cache_only.redis().get("note") == "in memory"
    assert cache_only.json("status")["head"]["id"] == cache_only.seed


def test_down_with_volumes_says_where_nothing_can_be_kept(new_project: NewProject) -> None:
    project = new_project({"services": {"cache": REDIS}})
    project.dm("up", "-d")
    project.wait_ready()
    project.redis().set("note", "x")
    project.redis().save()
    done = project.dm("down", "-v")
    assert "this stack has no commit, so nothing is kept" in done.stderr
    assert volumes_of(project) == set()
    assert "gone" not in project.dm("up", "-d").stderr


def test_up_says_how_a_stack_whose_volumes_compose_has_removed_is_had_back(new_project: NewProject) -> None:
    project = new_project({"services": {"cache": {**REDIS, "volumes": ["data:/data"]}}, "volumes": {"data": {}}})
    project.dm("up", "-d")
    project.wait_ready()
    project.redis().set("note", "seed")
    seed = project.json("commit", "-m", "seed")["id"]
    project.compose("down", "-v")
    done = project.dm("up", "-d")
    assert f"gone: `dm-compose reset --hard` brings the last commit back ({seed[:12]} seed)\n" in done.stderr
    project.dm("reset", "--hard")
    assert eventually(lambda: project.redis().get("note"), "redis") == "seed"
    assert "gone" not in project.dm("up", "-d").stderr


MEILI = {**IDLE, "x-dotmesh": {"engine": "meilisearch"}}
WRITE = "mkdir -p /meili_data && echo precious > /meili_data/file"


def test_down_takes_data_out_of_a_containers_writable_layer(new_project: NewProject) -> None:
    project = new_project({"services": {"store": MEILI}})
    project.compose("up", "-d")
    project.compose("exec", "store", "sh", "-c", WRITE)
    project.dm("down", "-t", "1")
    project.dm("up", "-d")
    assert project.compose("exec", "store", "cat", "/meili_data/file").strip() == "precious"


def test_down_with_volumes_keeps_data_of_a_containers_writable_layer(new_project: NewProject) -> None:
    project = new_project({"services": {"store": MEILI}})
    project.dm("up", "-d")
    project.compose("exec", "store", "sh", "-c", "echo older > /meili_data/file")
    project.dm("commit", "-m", "seed", "--unready")  # nothing in it speaks the protocol
    project.dm("down", "-v", "-t", "1")
    project.compose("up", "-d")
    project.compose("exec", "store", "sh", "-c", WRITE)
    done = project.dm("down", "-v", "-t", "1")
    assert volumes_of(project) == set()
    project.dm("reset", "--hard", kept_by(done.stderr))
    project.dm("up", "-d")
    assert project.compose("exec", "store", "cat", "/meili_data/file").strip() == "precious"
