"""Containers, images, volumes and events of a Docker Engine, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Image:
    """An image: its identity, and the parts of its configuration that tell about state.

    `reference` is the name in the compose file or of the container. `digest` is the engine's id of the image, '' when the
    engine has no such image. `pulled` lists the `NAME@DIGEST` by which registries know it, sorted. `command` holds the words of
    the entrypoint, followed by those of the command.
    """

    reference: str
    digest: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str = ""
    pulled: tuple[str, ...] = ()

    @property
    def repository(self) -> str:
        """The name without registry host, tag and digest: `bitnami/postgresql` of
        `docker.io/bitnami/postgresql:16@sha256:...`.
        """
        name = self.reference.split("@")[0]
        head, _, tail = name.partition("/")
        if tail and ("." in head or ":" in head or head == "localhost"):
            name = tail
        return name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name

    @property
    def tag(self) -> str:
        """The tag, '' when there is none."""
        last = self.reference.split("@")[0].rpartition("/")[2]
        return last.partition(":")[2]


@dataclass(frozen=True)
class Mount:
    """A directory mounted into a container at `target`.

    `place` is the volume's name, or the absolute path of a bind mount. `source` is the directory on the engine's host.
    """

    kind: str
    place: str
    target: str
    writable: bool
    source: str = field(default="", compare=False)


@dataclass(frozen=True)
class Container:
    """A container as the engine describes it.

    `project` and `service` are Compose's labels, '' for a container that Compose did not make. `state` is one of the engine's
    words: created, running, paused, restarting, exited, dead or removing. `ports` maps a container port to the host's
    (address, port) pairs. `exposed` has the ports, of any protocol, that the image or the compose file names. `network_mode` is
    `host`, `container:ID` or a network; `pid_mode` and `ipc_mode` have the same form.

    `one_off` marks a container that is not its service's own: one of `docker compose run`, or of a hook, whose name is then
    `hook`. `stdin_open` says that somebody may be attached to its standard input.
    `health` is the engine's word for it (starting, healthy, unhealthy), '' where no health check runs.
    `respawns` says that its program can be stopped and started while the container stays (dm_compose.engine.supervisor). `layer`
    is the directory of its writable layer, '' where the engine does not say.
    """

    id: str
    name: str
    project: str
    service: str
    state: str
    image: Image
    mounts: tuple[Mount, ...] = ()
    addresses: tuple[str, ...] = ()
    ports: Mapping[int, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    exposed: frozenset[int] = frozenset()
    environment: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    healthcheck: tuple[str, ...] = ()
    health: str = ""
    network_mode: str = ""
    one_off: bool = False
    hook: str = ""
    pid: int = 0
    respawns: bool = False
    exit_code: int = 0
    pid_mode: str = ""
    ipc_mode: str = ""
    stdin_open: bool = False
    shell: tuple[str, ...] = ("/bin/sh", "-c")
    hostname: str = ""
    layer: str = ""

    @property
    def running(self) -> bool:
        """Whether its processes exist. They do in a paused container too."""
        return self.state in ("running", "paused", "restarting")

    @property
    def health_command(self) -> tuple[str, ...]:
        """The words of the command that the engine runs as health check, () when it runs none."""
        kind, *words = self.healthcheck or ("NONE",)
        return {"CMD": tuple(words), "CMD-SHELL": (*self.shell, *words)}.get(kind, ())

    @property
    def label(self) -> str:
        """The name that messages use: the service's, or the container's if it has no service."""
        return self.service or self.name


@dataclass(frozen=True)
class Volume:
    """A Docker volume. `directory` is its directory on the engine's host. For a local volume that binds a host directory it is
    that directory.
    """

    name: str
    driver: str
    directory: str
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Resource:
    """A container, network or volume (`kind` says which) that can be removed."""

    kind: str
    id: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EngineFacts:
    """A Docker Engine. `endpoint` is its address. `local` says whether it runs on this machine, as far as we can tell.

    `root` is the directory of all its data on its own host. `remaps_users` says that the users of its containers have other
    numbers on the host (dockerd's `userns-remap`).
    """

    endpoint: str
    version: str
    architecture: str
    operating_system: str
    local: bool
    root: str = "/var/lib/docker"
    remaps_users: bool = False


@dataclass(frozen=True)
class EngineEvent:
    """One event of the engine. `kind` (container, network, volume, ...) and `id` name its subject. The engine's clock gives
    `time_ns`.
    """

    kind: str
    action: str
    id: str
    time_ns: int
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)
