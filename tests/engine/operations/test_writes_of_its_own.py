"""An engine writes on its own for a while after its start. `status` calls that housekeeping, if nothing has reached it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.support.projects import TestProject, eventually

pytestmark = pytest.mark.engine

QUIET_S = 3.0  # the checkpoint is written a second after the start
WRITE_ON = "while :; do echo 'insert into shop.t values (1);'; done | mariadb -uroot -psecret"
MARIADB = {
    "image": "dm-example/mariadb:10.11",
    "pull_policy": "never",
    "environment": {"MARIADB_ROOT_PASSWORD": "secret"},
    "volumes": ["data:/var/lib/mysql"],
}


@pytest.fixture
def reset_to_a_recovery(new_project: Callable[[Mapping[str, Any]], TestProject]) -> TestProject:
    """A MariaDB on a commit that was made between two writes. It has recovered, and has written its checkpoint since."""
    project = new_project({"services": {"db": MARIADB}, "volumes": {"data": {}}})
    project.dm("up", "-d", "--wait")
    sql(project, "create database shop; create table shop.t (n int)")
    writer = ["docker", "exec", "-d", project.container("db")["Id"], "sh", "-c", WRITE_ON]
    subprocess.run(writer, check=True, timeout=60)
    project.dm("commit", "-m", "seed")
    project.dm("reset", "--hard")
    client = docker.from_env()
    log = Path(client.volumes.get(f"{project.name}_data").attrs["Mountpoint"]) / "ib_logfile0"
    client.close()
    eventually(lambda: time.time() - log.stat().st_mtime > QUIET_S, "the checkpoint after the recovery, and quiet since")
    return project


def sql(project: TestProject, statement: str) -> None:
    words = ["docker", "exec", project.container("db")["Id"], "mariadb", "-uroot", "-psecret", "-e", statement]
    subprocess.run(words, check=True, capture_output=True, timeout=60)


def state(project: TestProject, **environment: str) -> str:
    (found,) = json.loads(project.dm("status", "--json", **environment).stdout)["subdots"]
    return str(found["state"])


def test_a_checkpoint_after_a_recovery_is_housekeeping_and_a_row_is_not(reset_to_a_recovery: TestProject) -> None:
    project = reset_to_a_recovery
    assert state(project) == "housekeeping only"
    assert state(project, DM_FILES="helper", DM_HELPER_IMAGE="dm-example/python") == "housekeeping only"
    assert state(project) == "housekeeping only", "to ask is no touch, nor is a helper of ours"
    project.dm("reset", "HEAD")
    sql(project, "insert into shop.t values (3)")
    assert state(project) == "written to"
    assert project.dm("reset", "HEAD", check=False).returncode == 7


def test_a_container_that_has_had_the_volume_meanwhile_may_have_written(reset_to_a_recovery: TestProject) -> None:
    project = reset_to_a_recovery
    volume = f"{project.name}_data:/data"
    words = ["docker", "run", "--rm", "-v", volume, "dm-example/python", "sh", "-c", "echo >> /data/ib_logfile0"]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    assert state(project) == "written to"
