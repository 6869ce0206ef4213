"""Data in the writable layer of a container. It is carried over to a volume when `dm-compose up` replaces the container."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dm_compose.compose.words import VerbWords
from dm_compose.core.containers import Container
from dm_compose.core.events import Event, Listener
from dm_compose.core.project import Project
from dm_compose.discovery.stack_plan import Subdot
from dm_compose.engine import Engine
from dm_compose.errors import DmError, ExistsError, NotFoundError


@dataclass(frozen=True)
class Layer:
    """A subdot in the writable layer of a container, and the labels that its volume gets."""

    subdot: Subdot
    container: Container
    labels: dict[str, str]

    @property
    def volume(self) -> str:
        """The name of the volume that the subdot is about to get."""
        assert self.subdot.volume is not None
        return self.subdot.volume


def replaceable(verb: VerbWords, project: Project) -> set[str]:
    """Return the services whose containers a verb may replace: those that it names, or all, with their dependencies. Pure."""
    if verb.asks("no-recreate"):
        return set()
    services: Any = project.document.get("services") or {}
    needs = {name: [] if verb.asks("no-deps") else list(service.get("depends_on") or ()) for name, service in services.items()}
    named = [name.partition("=")[0] if verb.verb == "scale" else name for name in verb.names]
    if verb.verb == "run":  # makes a container beside the service's own, and may replace only those that this needs
        pending = [other for name in named[:1] for other in needs.get(name, ())]
    else:
        pending = [name for name in named if name in needs] or list(needs)
    found: set[str] = set()
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += needs.get(name, ())
    return found


def refuse_to_overwrite(engine: Engine, layers: Sequence[Layer]) -> None:
    """Raise ExistsError if a volume that is about to get the data of a container exists already."""
    for layer in layers:
        if engine.volume(layer.volume) is not None:
            service = layer.container.service
            raise ExistsError(
                f"{service} keeps {layer.subdot.path} in its container, but volume {layer.volume} has other data already",
                hint=f"To go on with the container's: docker volume rm {layer.volume}. "
                f"To go on with the volume's: docker compose rm -sf {service}. Then repeat the command.",
            )


@contextlib.contextmanager
def carried_over(engine: Engine, layers: Sequence[Layer], listener: Listener) -> Iterator[None]:
    """Copy data out of writable layers into new volumes. In the block Compose replaces the containers.

    If Compose has not begun to replace a container when the block ends, for example because of an error, the copy is removed and
    the container goes on with the data in its layer. ExistsError if a volume exists already.
    """
    stopped: dict[str, Container] = {}
    copies: list[Layer] = []
    try:
        for layer in layers:
            container, path = layer.container, layer.subdot.path
            listener(Event("carry", f"{layer.subdot.name}: copying {path} of {container.name} into volume {layer.volume}"))
            stopped[container.id] = container
            if container.running:
                engine.stop(container.id)
            engine.copy_into_new_volume(container.id, path, layer.volume, layer.labels)
            copies.append(layer)
        yield
    finally:
        for container in stopped.values():
            try:
                _go_on(engine, container, [c.volume for c in copies if c.container.id == container.id], listener)
            except DmError as error:  # must not hide why the block ended
                listener(Event("warning", error.message))


def _go_on(engine: Engine, container: Container, copies: list[str], listener: Listener) -> None:
    """Start a container again if Compose left it as it was. The copies of its data are removed, because they would get old."""
    try:
        engine.container(container.id)
    except NotFoundError:
        return  # replaced
    if engine.containers(places=copies):
        # Its successor has the copy. If this container went on writing, its writes would be lost.
        text = f"{container.label} stays down: Compose has made its successor and did not finish; repeat the command to go on"
        listener(Event("warning", text))
        return
    for volume in copies:
        engine.remove_volume(volume)
    if container.running:
        engine.start(container.id)
