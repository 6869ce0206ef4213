"""The project file that `dm-compose up` gives to Compose if the user's own would leave state without a lasting place. Pure.

It differs from the user's own in two points. An anonymous volume, and a datastore's data path that no volume line covers, get a
named volume. Volumes of the driver `dm` become ordinary ones. Everything else stays as Compose resolved it.
"""

from __future__ import annotations

import copy
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dm_compose.core.names import SubdotName
from dm_compose.core.project import Project
from dm_compose.core.volumes import DRIVER
from dm_compose.discovery.naming import GENERATED_PREFIX
from dm_compose.discovery.stack_plan import Kind, StackPlan


@dataclass(frozen=True)
class Situation:
    """The place where a subdot without a volume name of its own is now.

    `mounted` is the volume that a container of its service has there. `recorded` is the volume that it had when it was last seen,
    if that still exists. `in_layer` says that a container exists and keeps the data in its writable layer.
    """

    mounted: str | None = None
    recorded: str | None = None
    in_layer: bool = False


def generate(project: Project, plan: StackPlan, situations: Mapping[SubdotName, Situation]) -> dict[str, Any] | None:
    """Return the document to bring up instead of the user's files. None means that these do.

    If a container has an anonymous volume, it is left to Compose, which hands it on when it recreates the container. A volume
    that we made under an older name of the subdot is kept.
    """
    document: dict[str, Any] = copy.deepcopy(dict(project.document))
    services = document.get("services") or {}
    volumes = document.setdefault("volumes", {}) or {}
    document["volumes"] = volumes
    changed = False
    for subdot in plan.subdots:
        if subdot.kind not in (Kind.ANONYMOUS, Kind.IMAGE) or subdot.services[0] not in services:
            continue
        assert subdot.volume is not None
        now = situations.get(subdot.name, Situation())
        own = f"{project.name}_{GENERATED_PREFIX}"
        if now.mounted is not None and not now.mounted.startswith(own):
            continue
        place = now.mounted or (None if now.in_layer else now.recorded) or subdot.volume
        key = subdot.volume.removeprefix(f"{project.name}_")
        volumes[key] = {"name": place} if place.startswith(own) else {"name": place, "external": True}
        mount_volume(services[subdot.services[0]], key, subdot.path)
        changed = True
    for key, volume in project.volumes.items():
        if volume.driver == DRIVER and not volume.external and key in volumes:
            volumes[key] = {"name": volume.name}
            changed = True
    return document if changed else None


def mount_volume(service: dict[str, Any], key: str, path: str) -> None:
    """Give the service's anonymous volume at `path` a name, or add a volume there."""
    mounts = service.setdefault("volumes", [])
    for mount in mounts:
        if mount["type"] == "volume" and not mount.get("source") and posixpath.normpath(mount["target"]) == path:
            mount["source"] = key
            return
    mounts.append({"type": "volume", "source": key, "target": path, "volume": {}})
