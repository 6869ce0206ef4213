"""Meilisearch. It accepts a task when the task is in its LMDB file, and does unfinished tasks after a restart."""

from __future__ import annotations

from dm_compose.datastores.base import Datastore, ServiceFacts
from dm_compose.datastores.protocols import http_or_https
from dm_compose.hookspecs import hookimpl


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return the image's working directory, unless `--db-path` or `MEILI_DB_PATH` leave it. The default is `./data.ms`."""
    chosen = service.option("--db-path") or service.environment.get("MEILI_DB_PATH") or ""
    return (chosen if chosen.startswith("/") and not chosen.startswith("/meili_data/") else "/meili_data",)


DATASTORE = Datastore(
    name="meilisearch",
    images=("meilisearch", "getmeili/meilisearch", "getmeili/meilisearch-enterprise"),
    data=data_paths,
    port=7700,
    ready=http_or_https("/health"),
    volatile=("*/lock.mdb",),
    markers=("MEILI_SERVER_PROVIDER",),
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
