"""SurrealDB. It keeps its data in memory, unless `start` is given the path of a store on disk."""

from __future__ import annotations

import re
import time

from dm_compose.datastores.base import Datastore, Running, ServiceFacts
from dm_compose.datastores.protocols import http_or_https
from dm_compose.hookspecs import hookimpl

FLUSHED_AFTER_S = 0.5

_STORE = re.compile(r"(?:rocksdb|surrealkv(?:\+versioned)?|file|speedb):(?://)?([^?\s]+)")


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return the path of a `rocksdb:/data/db` (or the like) on the command line, else in `SURREAL_PATH`; nothing without one.

    The path is relative to the working directory, which is the root. Newer images declare /data as a volume and let their user
    write nowhere else. So any path below /data is that volume.
    """
    words = [*" ".join(service.command).split(), service.environment.get("SURREAL_PATH") or ""]
    stores = [f"/{match[1].strip('/')}" for word in words if (match := _STORE.match(word))]
    return ("/data" if stores[0].startswith("/data/") else stores[0],) if stores else ()


def await_flush(running: Running) -> None:
    """Wait 0.5 s, in which the store flushes by itself, if there is one on disk.

    If commits do not wait for the disk (SURREAL_SYNC_DATA), the server flushes its log in the background every 200 ms. Nobody
    writes during the wait.
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
