"""OpenSearch: a fork of Elasticsearch (2021) with the same HTTP interface and node directory."""

from __future__ import annotations

from dm_compose.datastores.base import Datastore, ServiceFacts
from dm_compose.datastores.builtin.elasticsearch import flush, ready
from dm_compose.hookspecs import hookimpl


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return the environment's `path.data` (the variable has this very name), else the vendor's data path."""
    if "bitnami" in service.image.repository:
        return ("/bitnami/opensearch/data",)
    return (service.environment.get("path.data") or "/usr/share/opensearch/data",)


DATASTORE = Datastore(
    name="opensearch",
    images=("opensearch", "*/opensearch", "opensearchproject/opensearch", "bitnami*/opensearch"),
    data=data_paths,
    port=9200,
    ready=ready,
    volatile=("node.lock", "*/node.lock", "*/write.lock"),
    quiesce=flush,
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
