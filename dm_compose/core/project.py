"""The parts of a Compose project that dm-compose looks at, as data. Compose itself resolves the files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dm_compose.core.containers import Image


@dataclass(frozen=True)
class ServiceMount:
    """One mount of a service. `source` is the key of a top-level volume, a host path, or '' for an anonymous volume or tmpfs."""

    kind: str
    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class ComposeService:
    """One service of the compose file.

    Where `environment`, `command` or `user` are empty, the image's own apply. `replicas` is the number of containers. `built`
    says whether Compose builds the image. `settings` is the service's `x-dotmesh`.
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
    """A top-level volume. `key` is its name in the file, `name` its name on the engine, and `settings` its `x-dotmesh`."""

    key: str
    name: str
    external: bool = False
    driver: str = "local"
    options: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Project:
    """A resolved project. `document` is Compose's whole model and `digest` is its sha256. `settings` is the top-level
    `x-dotmesh`.

    `services` run in containers. `providers` are made by a provider of Compose, so they have neither a container nor an image;
    each comes with its `x-dotmesh`. `inactive` names the services and volumes that belong only to profiles that are not enabled.
    """

    name: str
    services: Mapping[str, ComposeService]
    volumes: Mapping[str, ComposeVolume]
    document: Mapping[str, object]
    digest: str
    settings: Mapping[str, object] = field(default_factory=dict)
    providers: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    inactive: frozenset[str] = frozenset()
