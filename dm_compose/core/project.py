"""A Compose project as Compose itself resolves it, as data: only what dm-compose looks at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dm_compose.core.containers import Image


@dataclass(frozen=True)
class ServiceMount:
    """One mount of a service. `source` is a top-level volume's key, a host path, or '' for an anonymous volume or tmpfs."""

    kind: str
    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class ComposeService:
    """One service. `environment` and `command` are the compose file's (empty: the image's own apply).

    `replicas` counts containers, `user` is who the process runs as where the file says so, `built` whether Compose builds the
    image; `settings` is the service's `x-dotmesh`.
    """

    name: str
    image: Image
    mounts: tuple[ServiceMount, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    replicas: int = 1
    user: str = ""
    built: bool = False
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class ComposeVolume:
    """A top-level volume. `name` is what the engine calls it; `settings` is the volume's `x-dotmesh`."""

    key: str
    name: str
    external: bool = False
    driver: str = "local"
    options: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Project:
    """A resolved project. `document` is Compose's whole model, `digest` its sha256, `settings` the top-level `x-dotmesh`.

    `services` are those that run in containers. `providers` are those that a provider of Compose makes, which have neither a
    container nor an image, each with its `x-dotmesh`. `inactive` are the names of services and volumes that only profiles that
    are not enabled use.
    """

    name: str
    services: Mapping[str, ComposeService]
    volumes: Mapping[str, ComposeVolume]
    document: Mapping[str, object]
    digest: str
    settings: Mapping[str, object] = field(default_factory=dict)
    providers: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    inactive: frozenset[str] = frozenset()
