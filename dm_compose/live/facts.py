"""The facts that a compose file and the engine's images tell about a stack: its project, images and plan, each found out once."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from dm_compose.compose import Compose
from dm_compose.core.containers import Image
from dm_compose.core.labels import PROJECT_LABEL, VOLUME_LABEL
from dm_compose.core.project import Project
from dm_compose.datastores.registry import registry
from dm_compose.discovery.stack_plan import StackPlan, Subdot
from dm_compose.discovery.subdots import make_plan
from dm_compose.engine import Engine
from dm_compose.errors import EngineError


class StackFacts:
    """The facts of a stack, each found out on first use. ComposeError and EngineError may be raised then."""

    def __init__(self, compose: Compose) -> None:
        self.compose = compose
        self.no_engine: EngineError | None = None  # the reason for which no image is known

    @functools.cached_property
    def project(self) -> Project:
        """The project as Compose resolves it."""
        return self.compose.project()

    @functools.cached_property
    def engine(self) -> Engine:
        """The engine, connected on first use."""
        return Engine()

    @functools.cached_property
    def images(self) -> Mapping[str, Image]:
        """The images that are on the engine, by service. There are none without an engine."""
        # The engine is asked while Compose resolves the project: both take a tenth of a second.
        with ThreadPoolExecutor(1) as pool:
            connected = pool.submit(lambda: self.engine)
            services = self.project.services.values()
            try:
                connected.result()
            except EngineError as error:
                self.no_engine = error
                return {}
        found = {service.name: self.engine.image(service.image.reference) for service in services}
        return {name: image for name, image in found.items() if image is not None}

    @functools.cached_property
    def plan(self) -> StackPlan:
        """The directories that are the stack's state, and the datastores that its services run.

        Without an engine only datastores can have state that the compose file does not mention. A bind mount of a file is known
        by the file on this machine.
        """
        binds = {m.source for s in self.project.services.values() for m in s.mounts if m.kind == "bind"}
        files = {source for source in binds if os.path.exists(source) and not os.path.isdir(source)}
        return make_plan(self.project, self.images, registry(), files)

    def fixed_ports(self) -> dict[str, list[str]]:
        """Return the ports of the host that services publish, by service. Two stacks that run at once cannot both have them."""
        found: dict[str, list[str]] = {}
        services = cast(Mapping[str, Mapping[str, Any]], self.project.document.get("services") or {})
        for name, service in services.items():
            ports = [str(port["published"]) for port in service.get("ports") or [] if str(port.get("published") or "0") != "0"]
            if ports:
                found[name] = ports
        return found

    def look_at_images_again(self) -> None:
        """Forget the images and the plan made of them, because images have been pulled or built."""
        for name in ("images", "plan"):
            self.__dict__.pop(name, None)

    def volume_labels(self, subdot: Subdot) -> dict[str, str]:
        """Return the labels by which Compose knows a subdot's volume as its own."""
        assert subdot.volume is not None
        key = subdot.source or subdot.volume.removeprefix(f"{self.project.name}_")
        return {PROJECT_LABEL: self.project.name, VOLUME_LABEL: key}
