"""The knowledge of each kind of datastore. This folder has the interface; builtin/ has one small module for each datastore."""

from dm_compose.datastores.base import Datastore, Relaxed, Running, ServiceFacts

__all__ = ["Datastore", "Relaxed", "Running", "ServiceFacts"]
