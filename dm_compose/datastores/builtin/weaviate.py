"""Weaviate. It acknowledges a batch when the batch is in the write-ahead logs' files."""

from __future__ import annotations

from dm_compose.datastores.base import Datastore, ServiceFacts
from dm_compose.datastores.protocols import http
from dm_compose.hookspecs import hookimpl


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return `PERSISTENCE_DATA_PATH`, by default `data`, relative to the image's working directory, which is the root."""
    chosen = service.environment.get("PERSISTENCE_DATA_PATH") or "data"
    return (chosen if chosen.startswith("/") else f"/{chosen.removeprefix('./')}",)


DATASTORE = Datastore(
    name="weaviate",
    images=("weaviate", "semitechnologies/weaviate"),
    data=data_paths,
    port=8080,
    ready=http("/v1/.well-known/ready"),
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
