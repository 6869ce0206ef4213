"""The check at the end of a run finds what a test has left on the engine, whatever it is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest

from dm_compose.engine import OWNER_LABEL, Owner
from tests.support.projects import LABEL, Run, eventually
from tests.support.watching import Watch, watched

pytestmark = pytest.mark.engine

PYTHON, REDIS = "dm-example/python", "dm-example/redis:7.0"


class Careless:
    """A run that makes things on the engine; it has its own name and watch, and this test cleans up after it."""

    def __init__(self, client: Any, watch: Watch, run: Run) -> None:
        self.client, self.watch, self.run = client, watch, run
        self.labels = {LABEL: run.id}
        self.made: list[Any] = []

    def make(self, collection: Any, *words: object, **options: Any) -> Any:
        self.made.append(collection.create(*words, **options))
        return self.made[-1]

    def start_redis(self, labels: dict[str, str]) -> tuple[Any, str]:
        """Start a container and return it with its volume, which has no name."""
        container = self.make(self.client.containers, REDIS, labels=labels)
        container.start()
        container.reload()
        return container, container.attrs["Mounts"][0]["Name"]

    def clean_up(self) -> None:
        for made in reversed(self.made):
            with contextlib.suppress(docker.errors.NotFound):
                made.remove(**({"force": True, "v": True} if made in self.client.containers.list(all=True) else {}))


@pytest.fixture
def careless() -> Iterator[Careless]:
    run = Run()
    with contextlib.closing(docker.from_env()) as client, watched(run) as watch:
        found = Careless(client, watch, run)
        yield found
        found.clean_up()
        assert watch.left() == []


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.watching.SETTLE_S", 1.0)


Make = Callable[[Careless], Any]
LEFT: dict[str, tuple[Make, str]] = {
    "container": (lambda c: c.make(c.client.containers, PYTHON, labels=c.labels), "container {0.name}"),
    "container of a clone": (
        lambda c: c.make(c.client.containers, PYTHON, labels={"com.docker.compose.project": f"{c.run.prefix}0-shop-t1"}),
        "container {0.name}",
    ),
    "container for a moment": (
        lambda c: c.make(c.client.containers, PYTHON, labels={OWNER_LABEL: str(Owner.me())}),
        "container {0.name}",
    ),
    "network": (lambda c: c.make(c.client.networks, f"{c.run.prefix}net", labels=c.labels), "network {0.name}"),
    "volume": (lambda c: c.make(c.client.volumes, f"{c.run.prefix}volume", labels=c.labels), "volume {0.name}"),
}


@pytest.mark.parametrize(("make", "told"), LEFT.values(), ids=LEFT)
def test_a_thing_that_is_left_is_named(careless: Careless, make: Make, told: str) -> None:
    made = make(careless)
    eventually(lambda: careless.watch.left() == [told.format(made)], "the watch to hear of it")


@pytest.mark.parametrize("labels", ["of the run", "of dm-compose"])
def test_a_volume_without_a_name_is_named_with_the_container_that_left_it(careless: Careless, labels: str) -> None:
    container, volume = careless.start_redis(careless.labels if labels == "of the run" else {OWNER_LABEL: str(Owner.me())})
    container.remove(force=True)  # without its volume, as a careless test does
    careless.made.append(careless.client.volumes.get(volume))
    assert careless.watch.left() == [f"volume {volume}, which was mounted in {container.name} at /data"]


def test_a_container_that_goes_with_its_volume_leaves_nothing(careless: Careless) -> None:
    container, _ = careless.start_redis(careless.labels)
    container.remove(force=True, v=True)
    assert careless.watch.left() == []


def test_the_things_of_others_are_none_of_ours(careless: Careless, run: Run) -> None:
    _, volume = careless.start_redis({LABEL: run.id})
    assert careless.watch.left() == []
    assert careless.client.volumes.get(volume)
