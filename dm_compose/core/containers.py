"""What is seen of the Docker Engine, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Image:
    """An image's identity and the parts of its configuration that tell about state.

    `reference` is as the compose file or container names it; `digest` the engine's id of the image, '' when it is not there;
    `pulled` are the `NAME@DIGEST` that registries know it by, sorted. `command` is what it runs: the entrypoint's words, then
    the command's.
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
    """A directory mounted into a container. `place` is the volume's name, or the absolute path of a bind mount; `source` where
    the engine's host has either.
    """

    kind: str
    place: str
    target: str
    writable: bool
    source: str = field(default="", compare=False)


@dataclass(frozen=True)
class Container:
    """A container as the engine describes it. `project` and `service` are Compose's labels, '' without Compose.

    `state` is the engine's word: created, running, paused, restarting, exited, dead, removing. `ports` maps a container port
    to the host's (address, port) pairs. `network_mode` is `host`, `container:ID` or a network; `pid_mode` and `ipc_mode` are
    alike. `one_off` marks a container that is not its service's own: of `docker compose run`, or of a hook, whose name is
    `hook`. `stdin_open` says that its standard input may be attached to. `respawns` says that its program can be taken down and
    up while the container stays (dm_compose.engine.supervisor).
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
    environment: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    healthcheck: tuple[str, ...] = ()
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

    @property
    def running(self) -> bool:
        """Whether its processes exist, frozen or not."""
        return self.state in ("running", "paused", "restarting")

    @property
    def health_command(self) -> tuple[str, ...]:
        """The command that the engine runs as health check, () when it runs none."""
        kind, *words = self.healthcheck or ("NONE",)
        return {"CMD": tuple(words), "CMD-SHELL": (*self.shell, *words)}.get(kind, ())

    @property
    def label(self) -> str:
        """What people call it: the service's name, else the container's."""
        return self.service or self.name


@dataclass(frozen=True)
class Volume:
    """A Docker volume. `directory` is where the engine's host keeps it; a local volume that binds a device has the device's
    path.
    """

    name: str
    driver: str
    directory: str
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Resource:
    """Something of the engine that can be removed. `kind` is container, network or volume."""

    kind: str
    id: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EngineFacts:
    """The engine one talks to. `endpoint` is its address, `local` whether its host is this machine, as far as one can tell."""

    endpoint: str
    version: str
    architecture: str
    operating_system: str
    local: bool


@dataclass(frozen=True)
class EngineEvent:
    """Something that happened in the engine. `kind` is container, network, volume, ...; `id` says whose; `time_ns` is by the
    engine's clock.
    """

    kind: str
    action: str
    id: str
    time_ns: int
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)
