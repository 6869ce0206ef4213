"""The plan of a stack: its subdots, and the datastores that its services run.

`dm-compose plan` prints it. docs/plan.md has its JSON form.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dm_compose.core.names import DotName, SubdotName
from dm_compose.core.plain import to_plain
from dm_compose.datastores import Datastore, ServiceFacts


class Kind(enum.Enum):
    """The origin of a directory of state."""

    NAMED = "named"  # a named volume
    ANONYMOUS = "anonymous"  # a volume line without a name
    IMAGE = "image"  # the image alone, or the data path of a datastore that no line mentions
    BIND = "bind"  # a directory of the host


@dataclass(frozen=True)
class Subdot:
    """One directory of durable state.

    `services` mount it; the first of them owns the data, and has it at `path` in its container. `volume` is the Docker volume
    that holds the directory: for anonymous and image volumes the one that `dm-compose up` makes, None for a bind. `source` is the
    volume's key in the compose file, the bind's path on the host, or ''. `engine` names the datastore whose data it is, if known.
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

    `datastore` is None where the service runs no known datastore, for example only a client that comes in the datastore's image.
    `told` says that the compose file names the datastore (`x-dotmesh.engine`). `port` is the port that the compose file names, if
    any.
    """

    facts: ServiceFacts
    datastore: Datastore | None
    told: bool = False
    port: int | None = None

    @property
    def version(self) -> str | None:
        """The version of the datastore, as far as the image tells."""
        return self.datastore.version(self.facts) if self.datastore is not None else None


@dataclass(frozen=True)
class StackPlan:
    """Everything that a stack's files tell about its state. `services` has a row for each service of the compose file."""

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

    def as_plain(self) -> dict[str, Any]:
        """Return the plan in its documented JSON form, which has no row for each service."""
        return {name: to_plain(getattr(self, name)) for name in ("dot", "project", "subdots", "skipped")}
