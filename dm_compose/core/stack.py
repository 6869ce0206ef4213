"""What a stack's state is: the plan that `dm-compose plan` prints. Its JSON form is stable and documented in docs/plan.md."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from dm_compose.core.names import DotName, SubdotName


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
class SkippedMount:
    """One mount that is not a subdot, and why."""

    service: str
    path: str
    reason: str


@dataclass(frozen=True)
class StackPlan:
    """Everything that is known of a stack's state from its files."""

    dot: DotName
    project: str
    subdots: tuple[Subdot, ...]
    skipped: tuple[SkippedMount, ...]

    def subdot(self, name: str) -> Subdot | None:
        """Return a subdot by name."""
        return next((s for s in self.subdots if s.name == name), None)
