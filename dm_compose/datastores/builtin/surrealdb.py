"""SurrealDB. It keeps its data in memory unless `start` is given the path of a store on disk."""

from __future__ import annotations

import re
import time

from dm_compose.datastores.base import Datastore, Running, Service
from dm_compose.datastores.protocols import http_or_https
from dm_compose.hookspecs import hookimpl

FLUSHED_AFTER_S = 0.5

_STORE = re.compile(r"(?:rocksdb|surrealkv(?:\+versioned)?|file|speedb):(?://)?([^?\s]+)")


def data_paths(service: Service) -> tuple[str, ...]:
    """`rocksdb:/data/db` and its kin on the command line, else in SURREAL_PATH; relative to the working directory, the root.

    Newer images declare /data as volume and let their user write nowhere else, so what is below is that volume.
    """
    words = [*" ".join(service.command).split(), service.environment.get("SURREAL_PATH") or ""]
    stores = [f"/{match[1].strip('/')}" for word in words if (match := _STORE.match(word))]
    return ("/data" if stores[0].startswith("/data/") else stores[0],) if stores else ()


def await_flush(running: Running) -> None:
    """Wait until the store has flushed by itself, now that nobody writes.

    Where a commit does not wait for the disk (SURREAL_SYNC_DATA), its log is flushed in the background every 200 ms.
    """
    if data_paths(running.service):
        time.sleep(FLUSHED_AFTER_S)


DATASTORE = Datastore(
    name="surrealdb",
    images=("surrealdb", "surrealdb/surrealdb"),
    data=data_paths,
    port=8000,
    ready=http_or_https("/health"),
    volatile=("LOG", "LOG.old.*", "LOCK"),
    not_data={"/logs": "logs"},
    quiesce=await_flush,
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
