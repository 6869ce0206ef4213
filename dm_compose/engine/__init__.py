"""The Docker Engine. The only package that imports docker-py."""

from dm_compose.engine.credentials import registry_login
from dm_compose.engine.docker import EVENTS_KEPT, STOP_TIMEOUT_S, Engine, engine_answers
from dm_compose.engine.owners import OWNER_LABEL, Owner, abandoned
from dm_compose.engine.reading import RESPAWN_LABEL
from dm_compose.engine.supervisor import NEEDED, Supervisor, supervised

__all__ = [
    "EVENTS_KEPT",
    "NEEDED",
    "OWNER_LABEL",
    "RESPAWN_LABEL",
    "STOP_TIMEOUT_S",
    "Engine",
    "Owner",
    "Supervisor",
    "abandoned",
    "engine_answers",
    "registry_login",
    "supervised",
]
