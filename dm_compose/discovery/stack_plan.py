"""The plan of a stack: its subdots, and what its services run. `dm-compose plan` prints it; docs/plan.md has its JSON form."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from dm_compose.core.names import DotName, SubdotName
from dm_compose.datastores import Datastore, Service


class Kind(enum.Enum):
    """How a compose file came to give a directory: a named volume, a volume line without a name, the image alone, or a host
    directory.
    """

    NAMED = "named"
    ANONYMOUS = "anonymous"
    IMAGE = "image"
    BIND = "bind"


@dataclass(frozen=True)
class Subdot:
    """One directory of durable state.

    services: who mounts it, the one that owns the data first. path: where in that service's container.
    volume: the Docker volume that holds it (for anonymous and image volumes the one that `dm-compose up` gives), None for a bind.
    source: the volume's key in the compose file, or the bind's host path, or ''. engine: the datastore whose data it is, if
    known.
    """

    name: SubdotName
    services: tuple[str, ...]
    path: str
    kind: Kind
    volume: str | None
    source: str
    engine: str | None
    reason: str


@dataclass(frozen=True)
class Skipped:
    """One mount that is not a subdot, and why."""

    service: str
    path: str
    reason: str


@dataclass(frozen=True)
class PlannedService:
    """A service as its image and its compose file describe it, and the datastore that it runs.

    `datastore` is None for anything else, and for a client of a datastore that runs in the datastore's image. `told` says that
    the compose file names the datastore (`x-dotmesh.engine`), and `port` is the one that it names, if any.
    """

    facts: Service
    datastore: Datastore | None
    told: bool = False
    port: int | None = None

    @property
    def version(self) -> str | None:
        """The version of the datastore, as far as the image tells."""
        return self.datastore.version(self.facts) if self.datastore is not None else None


@dataclass(frozen=True)
class StackPlan:
    """Everything that is known of a stack's state from its files. `services` has a row for each service of the compose file."""

    dot: DotName
    project: str
    subdots: tuple[Subdot, ...]
    skipped: tuple[Skipped, ...] = ()
    services: Mapping[str, PlannedService] = field(default_factory=dict)

    def stateful_services(self) -> set[str]:
        """Return the services that have state: a subdot, or a datastore's data in memory."""
        in_memory = {n for n, s in self.services.items() if s.datastore is not None and s.datastore.in_memory}
        return in_memory | {name for subdot in self.subdots for name in subdot.services}

    def subdot(self, name: str) -> Subdot | None:
        """Return a subdot by name."""
        return next((s for s in self.subdots if s.name == name), None)
