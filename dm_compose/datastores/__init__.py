"""What dm-compose knows of each datastore: one small module each, registered through the hook that plugins use."""

from dm_compose.datastores.base import Datastore, Relaxed, Running, Service

__all__ = ["Datastore", "Relaxed", "Running", "Service"]
