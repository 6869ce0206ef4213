"""A session that ends takes away what it made, and nothing of its user's: volumes of images that hold no state among others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import docker
import pymongo
import pytest
from docker.errors import NotFound

from dm_compose.sessions.leases import own_stack
from dm_compose.sessions.options import SessionOptions
from tests.support.projects import TestProject, eventually

pytestmark = pytest.mark.engine

MONGO = {"image": "dm-example/mongo", "pull_policy": "never"}  # declares /data/db and /data/configdb, of which one is state
REDIS = {"image": "dm-example/redis:7.0", "pull_policy": "never"}
NewProject = Callable[[Mapping[str, Any]], TestProject]


def volume_at(project: TestProject, service: str, path: str) -> str:
    return str(next(m["Name"] for m in project.container(service)["Mounts"] if m["Destination"] == path))


def exists(volume: str) -> bool:
    with contextlib.closing(docker.from_env()) as client, contextlib.suppress(NotFound):
        return bool(client.volumes.get(volume))
    return False


@pytest.fixture
def shop(new_project: NewProject) -> TestProject:
    """MongoDB and Redis, down, with one commit."""
    project = new_project({"services": {"files": MONGO, "cache": REDIS}})
    project.dm("up", "-d")
    with pymongo.MongoClient[Any](project.address("files"), directConnection=True) as client:
        eventually(lambda: client.admin.command("ping"), "mongo")
    project.wait_ready()
    project.dm("commit", "-m", "seed")
    project.down()
    return project


def test_of_a_stack_that_was_down_no_volume_is_left_that_the_session_made(shop: TestProject) -> None:
    with own_stack(shop.stack(), SessionOptions()):
        state, made = (volume_at(shop, "files", path) for path in ("/data/db", "/data/configdb"))
        assert exists(made)
    assert not exists(made)
    assert state == f"{shop.name}_dm-files"
    assert exists(state)


def test_of_a_stack_that_was_up_in_part_the_users_volumes_stay(shop: TestProject) -> None:
    shop.compose("up", "-d", "cache")
    users = volume_at(shop, "cache", "/data")
    assert len(users) == 64
    with own_stack(shop.stack(), SessionOptions()):
        assert volume_at(shop, "cache", "/data") == users
        made = volume_at(shop, "files", "/data/configdb")
    assert not exists(made)
    assert exists(users)
    assert volume_at(shop, "cache", "/data") == users


def test_a_volume_without_a_name_that_is_state_stays_with_what_it_holds(new_project: NewProject) -> None:
    project = new_project({"services": {"cache": REDIS}})
    project.compose("up", "-d")
    project.wait_ready()
    users = volume_at(project, "cache", "/data")
    assert len(users) == 64
    project.redis().set("note", "seed")
    project.dm("commit", "-m", "seed")
    project.dm("down")
    try:
        with own_stack(project.stack(), SessionOptions()):
            assert volume_at(project, "cache", "/data") == users
            assert project.redis().get("note") == "seed"
        assert exists(users)
        project.dm("up", "-d")
        project.wait_ready()
        assert project.redis().get("note") == "seed"
        project.dm("down")
    finally:
        with contextlib.closing(docker.from_env()) as client:
            client.volumes.get(users).remove()
