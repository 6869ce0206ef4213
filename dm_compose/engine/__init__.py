"""The Docker Engine. The only package that imports docker-py."""

from dm_compose.engine.credentials import registry_login
from dm_compose.engine.docker import EVENTS_KEPT, RESPAWN_LABEL, ROLE_LABEL, Engine, engine_answers
from dm_compose.engine.supervisor import NEEDED, Supervisor, supervised

__all__ = [
    "EVENTS_KEPT",
    "NEEDED",
    "RESPAWN_LABEL",
    "ROLE_LABEL",
    "Engine",
    "Supervisor",
    "engine_answers",
    "registry_login",
    "supervised",
]
