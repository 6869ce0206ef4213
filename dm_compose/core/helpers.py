"""The containers that dm-compose makes for itself: how they are named, and how they are told from everybody else's. Pure.

A label would not do alone, because Docker copies the labels of an image to its containers, and a compose file may set any.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping

from dm_compose.core.labels import PROJECT_LABEL

ROLE_LABEL = "dev.dotmesh.role"  # on every container and volume that dm-compose makes for itself
_NAME = re.compile(r"/?dm-compose-([a-z]+)-[0-9a-f]{12}")


def helper_name(role: str) -> str:
    """Return a new name for a container with a role."""
    return f"dm-compose-{role}-{uuid.uuid4().hex[:12]}"


def is_helper(name: str, labels: Mapping[str, str]) -> bool:
    """Whether a container is one of ours: it has a name that we gave, with the role of its label, and no Compose project."""
    found = _NAME.fullmatch(name)
    return found is not None and labels.get(ROLE_LABEL) == found[1] and not labels.get(PROJECT_LABEL)
