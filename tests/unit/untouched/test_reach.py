"""The ways to reach a container beside the network."""

from __future__ import annotations

from typing import Any

import pytest

from dm_compose.core.containers import Container, Image, Mount
from dm_compose.core.overlap import within
from dm_compose.untouched.reach import open_directories, way_in


def made(name: str, **fields: Any) -> Container:
    return Container(id=name * (64 // len(name)), name=name, project="", service="", state="running", image=Image("x"), **fields)


DB = made("db")
GONE = "container:" + 64 * "7"


@pytest.mark.parametrize(
    ("mine", "other", "cause"),
    [
        ({}, {}, None),
        ({"network_mode": "shop_default"}, {"network_mode": "shop_default"}, None),
        ({}, {"network_mode": "host", "ipc_mode": "host"}, None),
        ({"ipc_mode": "private"}, {"ipc_mode": "shareable"}, None),
        ({}, {"network_mode": "container:db"}, "it shares its network with container ab"),
        ({}, {"network_mode": f"container:{DB.id}"}, "it shares its network with container ab"),
        ({}, {"pid_mode": "container:db"}, "it shares its processes with container ab"),
        ({}, {"ipc_mode": "container:db"}, "it shares its shared memory with container ab"),
        ({"pid_mode": "container:ab"}, {}, "it shares its processes with container ab"),
        ({}, {"network_mode": "container:nobody-knows"}, "it shares its network with container ab"),
        ({"network_mode": GONE}, {"network_mode": GONE}, "it shares its network with container ab"),
        ({}, {"network_mode": GONE}, None),
        ({}, {"pid_mode": "host"}, "container ab sees all processes of the host"),
        ({"pid_mode": "host"}, {}, "it shares the host's processes"),
        ({"stdin_open": True}, {}, "its standard input is open"),
    ],
)  # fmt: skip
def test_a_shared_namespace_is_a_way_in(mine: dict[str, Any], other: dict[str, Any], cause: str | None) -> None:
    db = made("db", **mine)
    assert way_in(db, [db, made("ab", **other)]) == cause


def test_containers_that_joined_the_same_one_share() -> None:
    running = [made("db", network_mode="container:ab"), made("ab"), made("ef", network_mode="container:ab")]
    assert way_in(running[0], running) is not None
    assert way_in(running[0], [running[0], running[2]]) is not None  # the one they joined has ended


def test_containers_that_joined_each_other_cannot_be_told_apart() -> None:
    running = [made("db", pid_mode="container:ab"), made("ab", pid_mode="container:db")]
    assert way_in(running[0], running) is not None


VOLUMES = "/var/lib/docker/volumes"
DATA = Mount("volume", "data", "/data", writable=True, source=f"{VOLUMES}/data/_data")


@pytest.mark.parametrize(
    ("mine", "other", "shared"),
    [
        (DATA, None, False),
        (DATA, Mount("volume", "other", "/data", writable=True, source=f"{VOLUMES}/other/_data"), False),
        (DATA, Mount("volume", "data", "/peek", writable=False, source=f"{VOLUMES}/data/_data"), True),
        (DATA, Mount("bind", VOLUMES, "/backup", writable=False, source=VOLUMES), True),
        (DATA, Mount("bind", "/", "/host", writable=False, source="/"), True),
        (DATA, Mount("bind", f"{VOLUMES}/data/_data/run", "/run", writable=True, source=f"{VOLUMES}/data/_data/run"), True),
        (Mount("bind", "/srv/run", "/run", writable=True, source="/srv/run"), None, True),
        (Mount("bind", "/srv/run", "/run", writable=False, source="/srv/run"), None, False),
    ],
)
def test_sockets_can_be_reached_in_what_is_mounted_elsewhere(mine: Mount, other: Mount | None, shared: bool) -> None:
    db, app = made("db", mounts=(mine,)), made("ab", mounts=(other,) if other else ())
    assert [d.target for d in open_directories(db, [db, app])] == ([mine.target] if shared else [])


def test_a_path_is_within_a_directory_by_whole_names() -> None:
    assert within("/run/db/x.sock", "/run/db")
    assert within("/x.sock", "/")
    assert not within("/run/db2/x.sock", "/run/db")


def test_a_health_check_is_known_by_its_command() -> None:
    assert made("db", healthcheck=("CMD", "redis-cli", "ping")).health_command == ("redis-cli", "ping")
    assert made("db", healthcheck=("CMD-SHELL", "pg_isready || exit 1")).health_command == (
        "/bin/sh",
        "-c",
        "pg_isready || exit 1",
    )
    assert made("db", healthcheck=("CMD-SHELL", "x"), shell=("/bin/bash", "-ec")).health_command == ("/bin/bash", "-ec", "x")
    assert made("db", healthcheck=("NONE",)).health_command == () == made("db").health_command
