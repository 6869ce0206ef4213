"""Git for the state of a whole Docker Compose stack."""

from dm_compose.hookspecs import hookimpl

__all__ = ["__version__", "hookimpl"]
__version__ = "0.1.0"
