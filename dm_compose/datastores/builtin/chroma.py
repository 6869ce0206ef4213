"""Chroma. It acknowledges a record when the record is in the SQLite file, and rebuilds its indexes from there."""

from __future__ import annotations

from dm_compose.datastores.base import Datastore, ServiceFacts
from dm_compose.datastores.protocols import http
from dm_compose.hookspecs import hookimpl

MOVED_IN = 1  # version 1 is a server of its own (Rust), whose configuration file names /data


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return `/data`; before version 1, `PERSIST_DIRECTORY`, by default `chroma` in the image's working directory, `/chroma`."""
    version = DATASTORE.version(service)
    if version is None or int(version.split(".")[0]) >= MOVED_IN:
        return ("/data",)
    chosen = service.environment.get("PERSIST_DIRECTORY") or "chroma"
    return (chosen if chosen.startswith("/") else f"/chroma/{chosen.removeprefix('./')}",)


DATASTORE = Datastore(
    name="chroma",
    images=("chroma", "chromadb/chroma", "chroma-core/chroma", "chromadb"),
    data=data_paths,
    port=8000,
    ready=http("/api/v2/heartbeat", below=500),  # versions before 0.6 answer 404
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
