"""The Docker Engine. The only package that imports docker-py."""

from dm_compose.engine.credentials import registry_login
from dm_compose.engine.docker import ROLE_LABEL, Engine, engine_answers

__all__ = ["ROLE_LABEL", "Engine", "engine_answers", "registry_login"]
