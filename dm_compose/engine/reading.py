"""The answers of the engine's API, read into our data classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dm_compose.core.containers import Container, EngineEvent, Image, Mount
from dm_compose.core.labels import PROJECT_LABEL

RESPAWN_LABEL = "dev.dotmesh.respawn"  # on containers whose first process is supervisor.SCRIPT
_SERVICE = "com.docker.compose.service"
_ONE_OFF = "com.docker.compose.oneoff"
_HOOK = "com.docker.compose.hook"  # from Compose 5.3: `pre_start`, on a container with the service's labels and volumes


def read_event(found: Mapping[str, Any]) -> EngineEvent:
    """Return an event as `docker events` tells of it."""
    actor = found.get("Actor") or {}
    return EngineEvent(
        found.get("Type", ""), found.get("Action", ""), actor.get("ID", ""), found["timeNano"], actor.get("Attributes") or {}
    )


def read_place(mount: Mapping[str, Any]) -> str:
    """Return the name of a mounted volume, or the path of a bind mount."""
    return str(mount.get("Name") or mount.get("Source") or "")


def read_mounts(found: Iterable[Mapping[str, Any]]) -> tuple[Mount, ...]:
    """Return the mounts of a container that are volumes or bind mounts."""
    return tuple(
        Mount(m["Type"], read_place(m), m["Destination"], bool(m["RW"]), m.get("Source") or "")
        for m in found
        if m["Type"] in ("volume", "bind")
    )


def _pairs(environment: Iterable[str] | None) -> dict[str, str]:
    return dict(item.partition("=")[::2] for item in environment or ())


def read_image(reference: str, found: Mapping[str, Any]) -> Image:
    """Return an image as `docker image inspect` tells of it."""
    config = found.get("Config") or {}
    return Image(
        reference=reference,
        digest=found["Id"],
        environment=_pairs(config.get("Env")),
        volumes=tuple(sorted(config.get("Volumes") or {})),
        entrypoint=tuple(config.get("Entrypoint") or ()),
        command=(*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])),
        user=config.get("User") or "",
        pulled=tuple(sorted(found.get("RepoDigests") or ())),
    )


def _command(found: Mapping[str, Any], *, respawns: bool) -> tuple[str, ...]:
    words = (found["Path"], *found["Args"]) if found.get("Path") else ()
    return words[4:] if respawns else words  # without `/bin/sh -c SCRIPT NAME`: see supervisor.supervised


def read_container(found: Mapping[str, Any]) -> Container:
    """Return a container as `docker inspect` tells of it."""
    config = found["Config"]
    labels = config.get("Labels") or {}
    host = found.get("HostConfig") or {}
    networks = found["NetworkSettings"]["Networks"] or {}
    ports: dict[int, tuple[tuple[str, int], ...]] = {}
    for name, bindings in (found["NetworkSettings"]["Ports"] or {}).items():
        number, _, protocol = name.partition("/")
        if bindings and protocol == "tcp":
            ports[int(number)] = tuple((b["HostIp"] or "0.0.0.0", int(b["HostPort"])) for b in bindings)  # noqa: S104 (as Docker reports it)
    environment = _pairs(config.get("Env"))
    return Container(
        id=found["Id"],
        name=found["Name"].lstrip("/"),
        project=labels.get(PROJECT_LABEL, ""),
        service=labels.get(_SERVICE, ""),
        state="paused" if found["State"].get("Paused") else found["State"]["Status"],
        image=Image(reference=config["Image"], digest=found["Image"], environment=environment),
        mounts=read_mounts(found["Mounts"]),
        addresses=tuple(a for n in networks.values() if (a := n.get("IPAddress") or n.get("GlobalIPv6Address"))),
        ports=ports,
        exposed=frozenset(int(name.partition("/")[0]) for name in config.get("ExposedPorts") or {}),
        environment=environment,
        command=_command(found, respawns=RESPAWN_LABEL in labels),
        respawns=RESPAWN_LABEL in labels,
        exit_code=found["State"].get("ExitCode") or 0,
        healthcheck=tuple((config.get("Healthcheck") or {}).get("Test") or ()),
        health={"none": ""}.get(health := (found["State"].get("Health") or {}).get("Status") or "", health),
        network_mode=host.get("NetworkMode") or "",
        one_off=labels.get(_ONE_OFF, "").lower() == "true" or _HOOK in labels,
        hook=labels.get(_HOOK, ""),
        pid=found["State"].get("Pid") or 0,
        pid_mode=host.get("PidMode") or "",
        ipc_mode=host.get("IpcMode") or "",
        stdin_open=bool(config.get("OpenStdin")),
        shell=tuple(config.get("Shell") or ("/bin/sh", "-c")),
        hostname=config.get("Hostname") or "",
        layer=((found.get("GraphDriver") or {}).get("Data") or {}).get("UpperDir") or "",
    )
