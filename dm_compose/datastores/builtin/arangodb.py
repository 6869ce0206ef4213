"""ArangoDB. It acknowledges a write when the write is in the write-ahead log's file; waitForSync only adds an fsync."""

from __future__ import annotations

from dm_compose.datastores.base import Datastore, ServiceFacts
from dm_compose.datastores.protocols import http_or_https
from dm_compose.hookspecs import hookimpl


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return the database directory and the Foxx applications beside it. `--database.directory` and `--javascript.app-path` move
    them.
    """
    directory = service.option("--database.directory") or "/var/lib/arangodb3"
    return (directory, service.option("--javascript.app-path") or "/var/lib/arangodb3-apps")


DATASTORE = Datastore(
    name="arangodb",
    images=("arangodb", "*/arangodb", "arangodb/arangodb", "arangodb/enterprise", "arangodb/arangodb-preview"),
    data=data_paths,
    port=8529,
    ready=http_or_https("/_admin/server/availability", below=500),  # 503: starting, or shutting down
    volatile=("LOCK", "engine-rocksdb/LOG", "engine-rocksdb/LOG.old.*", "engine-rocksdb/LOCK"),
    markers=("ARANGO_VERSION",),
    version_from=("ARANGO_VERSION",),
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
