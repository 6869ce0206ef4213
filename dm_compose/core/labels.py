"""Labels of containers, volumes and networks: Compose's own, and ours. Pure.

A label alone does not tell the containers that dm-compose makes for itself from others, because Docker copies the labels of an
image to its containers, and a compose file may set any. Their names do.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping

PROJECT_LABEL = "com.docker.compose.project"
VOLUME_LABEL = "com.docker.compose.volume"

CLONE_LABEL = "dev.dotmesh.clone"  # the clone's name, on all that is the clone's
RUN_LABEL = "dev.dotmesh.run"  # the test run's id
SESSION_LABEL = "dev.dotmesh.session"  # on containers that a test run has brought up: their project; its owner is beside it
SUBDOT_LABEL = "dev.dotmesh.subdot"  # on a volume of a further worktree: the subdot that it holds
WORKTREE_LABEL = "dev.dotmesh.worktree"  # on a volume of a further worktree: DOT/WORKTREE
ROLE_LABEL = "dev.dotmesh.role"  # on every container and volume that dm-compose makes for itself
_NAME = re.compile(r"/?dm-compose-([a-z]+)-[0-9a-f]{12}")


def helper_name(role: str) -> str:
    """Return a new name for a container with a role."""
    return f"dm-compose-{role}-{uuid.uuid4().hex[:12]}"


def is_helper(name: str, labels: Mapping[str, str]) -> bool:
    """Whether a container is one of ours: it has a name that we gave, with the role of its label, and no Compose project."""
    found = _NAME.fullmatch(name)
    return found is not None and labels.get(ROLE_LABEL) == found[1] and not labels.get(PROJECT_LABEL)
