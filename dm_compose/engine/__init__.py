"""The Docker Engine. The only package that imports docker-py."""

from dm_compose.engine.docker import Engine

__all__ = ["Engine"]
