"""Data in a container's writable layer: taken along by `up`, and never at the cost of what is somewhere already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import docker
import pytest

from dm_compose.engine import Engine
from dm_compose.errors import ExistsError, NotFoundError
from tests.support.projects import LABEL, TestProject

pytestmark = pytest.mark.engine

IDLE = {"image": "dm-example/python", "pull_policy": "never", "command": ["sleep", "infinity"], "init": True}
STORE = {**IDLE, "x-dotmesh": {"engine": "meilisearch"}}
NewProject = Callable[[Mapping[str, Any]], TestProject]


def write(project: TestProject, text: str) -> None:
    project.compose("exec", "store", "sh", "-c", f"mkdir -p /meili_data && echo {text} > /meili_data/file")


def read(project: TestProject) -> str:
    return project.compose("exec", "store", "cat", "/meili_data/file").strip()


def volume_of(project: TestProject) -> str | None:
    """Return the volume that the container has mounted."""
    return next((m["Name"] for m in project.container("store")["Mounts"]), None)


def volumes(project: TestProject) -> list[str]:
    client = docker.from_env()
    try:
        return [v.name for v in client.volumes.list(filters={"label": f"com.docker.compose.project={project.name}"})]
    finally:
        client.close()


@pytest.fixture
def torn(new_project: NewProject) -> TestProject:
    """A project whose volume has `older` in it, and whose container, made anew by plain Compose, has `newer` in its layer."""
    project = new_project({"services": {"store": STORE}})
    project.dm("up", "-d")
    write(project, "older")
    project.compose("up", "-d")
    assert volume_of(project) is None
    write(project, "newer")
    return project


def test_up_refuses_to_copy_over_what_is_in_the_volume_and_names_it(torn: TestProject) -> None:
    before = torn.container("store")["Id"], torn.started_at("store")
    for words in (["up", "-d"], ["up", "--dry-run"], ["create"]):
        done = torn.dm(*words, check=False)
        assert done.returncode == ExistsError.exit_code
        assert done.stderr.startswith("error: store keeps /meili_data in its container")
        assert done.stderr.count(f"{torn.name}_dm-store") == 2
        assert f"docker volume rm {torn.name}_dm-store" in done.stderr
    assert (torn.container("store")["Id"], torn.started_at("store")) == before
    assert read(torn) == "newer"


def test_the_older_data_is_there_after_the_container_is_gone(torn: TestProject) -> None:
    torn.dm("up", "-d", check=False)
    torn.compose("rm", "-sf", "store")
    torn.dm("up", "-d")
    assert read(torn) == "older"


def test_the_newer_data_is_taken_along_after_the_volume_is_gone(torn: TestProject) -> None:
    client = docker.from_env()
    client.volumes.get(f"{torn.name}_dm-store").remove()
    client.close()
    torn.dm("up", "-d")
    assert read(torn) == "newer"
    assert volume_of(torn) == f"{torn.name}_dm-store"


def test_a_container_that_has_written_nothing_gets_the_volume_of_before_back(new_project: NewProject) -> None:
    project = new_project({"services": {"store": STORE}})
    project.dm("up", "-d")
    write(project, "older")
    project.compose("up", "-d")
    assert volume_of(project) is None
    project.dm("up", "-d")
    assert read(project) == "older"
    project.compose("up", "-d")
    project.compose("exec", "store", "mkdir", "/meili_data")
    project.dm("up", "-d")
    assert read(project) == "older"


def test_data_behind_a_symbolic_link_is_taken_along(new_project: NewProject) -> None:
    document = {"services": {"store": {**STORE, "command": ["sh", "-c", "ln -sfn /srv /meili_data; sleep infinity"]}}}
    project = new_project(document)
    project.compose("up", "-d")
    project.compose("exec", "store", "sh", "-c", "echo linked > /srv/file")
    project.dm("up", "-d")
    client = docker.from_env()
    place = client.volumes.get(f"{project.name}_dm-store").attrs["Mountpoint"]
    client.close()
    with open(f"{place}/file") as file:
        assert file.read() == "linked\n"


def test_a_verb_that_replaces_other_containers_leaves_the_data_where_it_is(new_project: NewProject) -> None:
    document = {"services": {"store": STORE, "web": {**IDLE, "depends_on": ["store"]}, "other": IDLE}}
    project = new_project(document)
    project.compose("up", "-d", "store")
    write(project, "newer")
    before = project.container("store")["Id"], project.started_at("store")
    project.dm("up", "-d", "other")
    project.dm("run", "--rm", "-T", "store", "true")
    project.dm("run", "--rm", "-T", "--no-deps", "web", "true")
    project.dm("up", "-d", "--no-recreate")
    assert (project.container("store")["Id"], project.started_at("store")) == before
    assert volumes(project) == []
    project.dm("run", "--rm", "-T", "web", "true")
    assert volume_of(project) == f"{project.name}_dm-store"
    assert read(project) == "newer"


def test_when_compose_fails_the_container_runs_again_with_its_data_and_there_is_no_volume(new_project: NewProject) -> None:
    project = new_project({"services": {"store": STORE}})
    project.compose("up", "-d")
    write(project, "newer")
    before = project.container("store")["Id"]
    assert project.dm("up", "-d", "nobody", check=False).returncode == 1
    assert (project.container("store")["Id"], project.state("store")) == (before, "running")
    assert read(project) == "newer"
    assert volumes(project) == []


def test_when_compose_fails_half_way_the_same_again_goes_on_with_the_data(new_project: NewProject) -> None:
    document = {"services": {"store": STORE, "web": {"image": "dm-example/no-such-image", "pull_policy": "never"}}}
    project = new_project(document)
    project.compose("up", "-d", "store")
    write(project, "newer")
    done = project.dm("up", "-d", check=False)
    assert done.returncode == 1
    project.write({"services": {"store": STORE}})
    project.dm("up", "-d")
    assert read(project) == "newer"
    assert volume_of(project) == f"{project.name}_dm-store"


def test_a_volume_that_is_there_is_neither_written_to_nor_removed(cache_only: TestProject) -> None:
    engine, container = Engine(), cache_only.container("cache")["Id"]
    client = docker.from_env()
    volume = client.volumes.create(f"{cache_only.name}-mine", labels={LABEL: cache_only.run_id})
    try:
        for path in ("/data", "/nowhere"):
            with pytest.raises(ExistsError, match=volume.name):
                engine.copy_into_new_volume(container, path, volume.name, {})
        with pytest.raises(ExistsError, match=volume.name):
            engine.create_new_volume(volume.name, {})
        with pytest.raises(NotFoundError):
            engine.copy_into_new_volume(container, "/nowhere", f"{cache_only.name}-new", {})
        assert engine.volume(f"{cache_only.name}-new") is None
        assert not list(Path(volume.attrs["Mountpoint"]).iterdir())
    finally:
        volume.remove()
        client.close()
