"""Every write that a Redis has acknowledged is in its files when it is frozen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import docker
import pytest
import redis

from dm_compose.core.containers import Image
from dm_compose.datastores.base import ServiceFacts
from dm_compose.datastores.builtin.redis import save
from tests.support.projects import LABEL, Run, eventually

VALUE = b"x" * 200_000
ROUNDS = 3


@dataclass
class Running:
    """See datastores.base.Running; Redis needs no command."""

    host: str
    port: int = 6379
    service: ServiceFacts = field(default_factory=lambda: ServiceFacts(Image("redis")))

    def run(self, command: object, **_: object) -> tuple[int, str]:
        raise AssertionError(f"{command} was not expected")


@pytest.fixture
def appending(run: Run) -> Iterator[Running]:
    """A Redis with an append-only file that is synced each second."""
    client = docker.from_env()
    command = [
        "redis-server",
        "--appendonly",
        "yes",
        "--appendfsync",
        "everysec",
        "--save",
        "",
        "--auto-aof-rewrite-percentage",
        "0",
    ]
    container = client.containers.run("dm-example/redis:7.0", command, detach=True, labels={LABEL: run.id})
    try:
        container.reload()
        found = Running(next(iter(container.attrs["NetworkSettings"]["Networks"].values()))["IPAddress"])
        eventually(lambda: redis.Redis(found.host).ping(), "redis")
        yield found
    finally:
        container.remove(force=True, v=True)
        client.close()


def test_all_that_is_acknowledged_is_in_the_append_only_file_and_nothing_is_added_until_the_freeze(appending: Running) -> None:
    """With `everysec` Redis answers before it writes for as long as a sync is under way, which much data makes long."""
    over = threading.Event()
    acknowledged = 0

    def write() -> None:
        nonlocal acknowledged
        with redis.Redis(appending.host, socket_timeout=30) as client:
            while not over.is_set():
                client.set(f"key{acknowledged % 200}", VALUE)
                acknowledged += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with redis.Redis(appending.host, socket_timeout=30) as client:
            for _ in range(ROUNDS):
                before = acknowledged
                eventually(lambda before=before: acknowledged > before + 200, "some writes")
                resume = save(appending)
                assert resume is not None
                held = acknowledged
                info = client.info("persistence")
                assert info["aof_buffer_length"] == 0
                over.wait(0.2)
                assert acknowledged <= held + 1  # the answer to one may have been on its way
                assert client.info("persistence")["aof_current_size"] == info["aof_current_size"]
                resume()
                eventually(lambda held=held: acknowledged > held + 10, "writes after the pause")
    finally:
        over.set()
        writer.join(30)
