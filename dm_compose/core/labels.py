"""Labels of containers, volumes and networks: Compose's own, and ours for what lasts longer than a process."""

from __future__ import annotations

PROJECT_LABEL = "com.docker.compose.project"
VOLUME_LABEL = "com.docker.compose.volume"

CLONE_LABEL = "dev.dotmesh.clone"  # the clone's name, on all that is the clone's
RUN_LABEL = "dev.dotmesh.run"  # the test run's id
SESSION_LABEL = "dev.dotmesh.session"  # on containers that a test run has brought up: their project; its owner is beside it
SUBDOT_LABEL = "dev.dotmesh.subdot"  # on a volume of a further worktree: the subdot that it holds
WORKTREE_LABEL = "dev.dotmesh.worktree"  # on a volume of a further worktree: DOT/WORKTREE
