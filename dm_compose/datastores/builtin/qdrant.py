"""Qdrant. It acknowledges an update when the update is in the write-ahead log's file."""

from __future__ import annotations

from dm_compose.datastores.base import Datastore, ServiceFacts
from dm_compose.datastores.protocols import http_or_https
from dm_compose.hookspecs import hookimpl


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return `QDRANT__STORAGE__STORAGE_PATH`, relative to the image's working directory."""
    chosen = service.environment.get("QDRANT__STORAGE__STORAGE_PATH") or "storage"
    return (chosen if chosen.startswith("/") else f"/qdrant/{chosen.removeprefix('./')}",)


DATASTORE = Datastore(
    name="qdrant",
    images=("qdrant", "qdrant/qdrant"),
    data=data_paths,
    port=6333,
    ready=http_or_https("/readyz", also=(404,)),  # 404: versions before 1.5 have no such page
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
