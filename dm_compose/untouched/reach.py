"""Ways to reach a container's processes without the network, as the engine's description of the containers tells them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dm_compose.core.containers import Container
from dm_compose.core.overlap import overlap

_KINDS = {"network": "network", "pid": "processes", "ipc": "shared memory"}
_JOIN = "container:"


@dataclass(frozen=True)
class OpenDirectory:
    """A writable mount in which processes outside the container can reach a unix socket. `cause` says why."""

    target: str
    cause: str


def way_in(container: Container, running: Iterable[Container]) -> str | None:
    """Say how somebody outside can reach the container's processes without network, exec or files. None means that nobody can.

    `running` has all containers of the engine whose processes exist.
    """
    others = {c.id: c for c in running if c.id != container.id}
    everybody = {**others, container.id: container}
    for kind, what in _KINDS.items():
        mine = _owner(container, kind, everybody)
        if mine == "host":
            return f"it shares the host's {what}"
        for other in others.values():
            theirs = _owner(other, kind, everybody)
            if mine is None or theirs is None or theirs == mine:
                return f"it shares its {what} with container {other.name}"
            if kind == "pid" and theirs == "host":
                return f"container {other.name} sees all processes of the host"
    return "its standard input is open" if container.stdin_open else None


def _owner(container: Container, kind: str, everybody: Mapping[str, Container]) -> str | None:
    """Return the owner of the namespace that a container lives in: a container's id, or `host`. None means that it is unclear."""
    seen = set()
    while True:
        mode: str = getattr(container, f"{kind}_mode")
        if not mode.startswith(_JOIN):
            return "host" if mode == "host" else container.id
        if container.id in seen:
            return None
        seen.add(container.id)
        wanted = mode.removeprefix(_JOIN)
        found = [c for c in everybody.values() if c.name == wanted or c.id.startswith(wanted)]
        if len(found) != 1:
            return wanted if wanted and len(wanted) == 64 else None
        container = found[0]


def open_directories(container: Container, running: Iterable[Container]) -> list[OpenDirectory]:
    """Return the container's writable mounts that processes outside can reach.

    These are its bind mounts, and its volumes that another running container has as well.
    """
    theirs = [(c, m) for c in running if c.id != container.id for m in c.mounts]
    found = []
    for mount in container.mounts:
        if not mount.writable:
            continue
        if mount.kind == "bind":
            found.append(OpenDirectory(mount.target, "in a directory of the host"))
            continue
        sharer = next((c for c, m in theirs if m.place == mount.place or overlap(m.source, mount.source)), None)
        if sharer is not None:
            found.append(OpenDirectory(mount.target, f"in a volume that container {sharer.name} has as well"))
    return found
