"""Supervisors for the services of a test stack (engine.supervisor): which services can have one, and how they get it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dm_compose.core.at_once import at_once
from dm_compose.core.containers import Image
from dm_compose.engine import NEEDED, RESPAWN_LABEL, Engine, supervised

OK = ""


def respawn_obstacles(
    document: Mapping[str, Any], images: Mapping[str, Image], engine: Engine, names: Iterable[str]
) -> dict[str, str]:
    """Return, for each service, why its program cannot be taken down and up without its container. OK means that it can."""
    services = document["services"]
    found = {name: _obstacle(services[name], images.get(name)) for name in names}
    digests = list({images[name].digest for name, obstacle in found.items() if obstacle == OK})
    has_shell = dict(zip(digests, at_once(lambda d: engine.image_has(d, NEEDED), digests), strict=True))
    return {
        name: "its image has no /bin/sh, sleep and rm" if obstacle == OK and not has_shell[images[name].digest] else obstacle
        for name, obstacle in found.items()
    }


def _obstacle(service: Mapping[str, Any], image: Image | None) -> str:
    """Return the obstacle in a service's own settings, if any."""
    if image is None:
        return "its image is not there yet"
    if service.get("pid"):
        return "it shares a PID namespace"
    if service.get("ipc") not in (None, "private", "shareable"):
        return "it shares an IPC namespace"
    if service.get("tmpfs") or any(mount.get("type") == "tmpfs" for mount in service.get("volumes") or ()):
        return "the files of its tmpfs would stay"
    if not any(what_runs(service, image)):
        return "neither image nor service says what to run"
    return OK


def supervise(document: dict[str, Any], images: Mapping[str, Image], names: Iterable[str]) -> None:
    """Put the supervisor in front of the commands of these services. The document is changed in place."""
    for name in names:
        service = document["services"][name]
        entrypoint, command = what_runs(service, images[name])
        service["entrypoint"] = [word.replace("$", "$$") for word in supervised(())] + entrypoint + command
        service["command"] = []
        labels = service.setdefault("labels", {})
        labels[RESPAWN_LABEL] = "1"


def what_runs(service: Mapping[str, Any], image: Image) -> tuple[list[str], list[str]]:
    """Return entrypoint and command as Compose would run them, with `$` written `$$`.

    If the service has an entrypoint of its own that is not empty, the image's command does not count.
    """
    entrypoint, command = service.get("entrypoint"), service.get("command")
    of_image = [word.replace("$", "$$") for word in image.command]
    count = len(image.entrypoint)
    mine = of_image[:count] if entrypoint is None else list(entrypoint)
    if not command:  # an empty one is none, for the engine too
        return mine, of_image[count:] if not entrypoint else []
    return mine, list(command)
