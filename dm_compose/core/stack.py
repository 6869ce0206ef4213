"""The state of a stack, as `dm-compose plan` prints it. The JSON form is stable and documented in docs/plan.md."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from dm_compose.core.names import DotName, SubdotName


class Kind(enum.Enum):
    """The origin of a directory of state.

    The compose file mounts a named volume (NAMED), an anonymous volume (ANONYMOUS) or a host directory (BIND), or only the image
    declares a volume there (IMAGE).
    """

    NAMED = "named"
    ANONYMOUS = "anonymous"
    IMAGE = "image"
    BIND = "bind"


@dataclass(frozen=True)
class Subdot:
    """One directory of durable state.

    `services` are those that mount it. The first one owns the data, and its container has the directory at `path`. `volume` is
    the Docker volume that holds it, None for a bind mount; anonymous and image volumes get theirs from `dm-compose up`.
    `source` is the volume's key in the compose file, the host path of a bind mount, or ''. `engine` is the name of the datastore
    that the data belongs to, None when it is not known. `reason` says why the directory is state.
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
    """One mount that is not a subdot, and the reason."""

    service: str
    path: str
    reason: str


@dataclass(frozen=True)
class StackPlan:
    """All state of a stack, as its compose files and images tell it."""

    dot: DotName
    project: str
    subdots: tuple[Subdot, ...]
    skipped: tuple[SkippedMount, ...]

    def subdot(self, name: str) -> Subdot | None:
        """Return a subdot by name; None when there is none of that name."""
        return next((s for s in self.subdots if s.name == name), None)
