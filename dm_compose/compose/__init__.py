"""Docker Compose: asking it for the resolved project, and handing verbs through to it."""

from dm_compose.compose.command import Compose, ComposeOptions

__all__ = ["Compose", "ComposeOptions"]
