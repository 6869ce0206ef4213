"""The project file that `dm-compose up` gives to Compose where the user's own would leave state without a lasting place. Pure.

What changes: an anonymous volume, and a datastore's data path that no volume line covers, get a named volume; volumes of the
driver `dm` become ordinary ones. Everything else stays as Compose resolved it.
"""

from __future__ import annotations

import copy
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dm_compose.core.names import SubdotName
from dm_compose.core.project import Project
from dm_compose.discovery.naming import ANCESTOR_DRIVER, GENERATED_PREFIX
from dm_compose.discovery.stack_plan import Kind, StackPlan


@dataclass(frozen=True)
class Situation:
    """Where a subdot without a volume name of its own is now.

    mounted: the volume that a container of its service has there; recorded: the one it had when it was last seen, if it still
    exists;
    in_layer: a container exists and keeps the data in its writable layer.
    """

    mounted: str | None = None
    recorded: str | None = None
    in_layer: bool = False


def generate(project: Project, plan: StackPlan, situations: Mapping[SubdotName, Situation]) -> dict[str, Any] | None:
    """Return the document to bring up instead of the user's files, None when those serve.

    An anonymous volume that a container has is left to Compose, which hands it on when it recreates the container. A volume of
    ours under an older name of the subdot is kept.
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
        if volume.driver == ANCESTOR_DRIVER and not volume.external and key in volumes:
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
