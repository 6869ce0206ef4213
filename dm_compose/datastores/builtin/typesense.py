"""Typesense. It acknowledges a write when the write is in the raft log's file."""

from __future__ import annotations

from dm_compose.datastores.base import Datastore, ServiceFacts
from dm_compose.datastores.protocols import http_or_https
from dm_compose.hookspecs import hookimpl


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return `--data-dir`, else `TYPESENSE_DATA_DIR`, else `/data`, which the documentation uses. The server has no default."""
    return (service.option("--data-dir", "-d") or service.environment.get("TYPESENSE_DATA_DIR") or "/data",)


DATASTORE = Datastore(
    name="typesense",
    images=("typesense", "typesense/typesense"),
    data=data_paths,
    port=8108,
    ready=http_or_https("/health"),
    volatile=("db/LOG", "db/LOG.old.*", "db/LOCK"),
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
