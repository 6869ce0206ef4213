"""VictoriaMetrics: the single node, and the storage node of a cluster. Accepted samples stay in memory for up to five seconds."""

from __future__ import annotations

import re

from dm_compose.datastores.base import Datastore, Running, ServiceFacts
from dm_compose.datastores.protocols import http_call, http_or_https
from dm_compose.errors import DmError
from dm_compose.hookspecs import hookimpl

SNAPSHOT_TIMEOUT_S = 60.0

_VOLATILE = ("flock.lock", "cache/*")
_ready = http_or_https("/health", also=(401,))


def flush(running: Running) -> None:
    """Make a snapshot and delete it: the server first writes out all samples and index entries for it.

    Otherwise accepted samples stay in memory for up to five seconds (-inmemoryDataFlushInterval). /internal/force_flush is not
    enough: it makes samples visible to queries, not durable.
    """
    key = running.service.option("-snapshotAuthKey", "--snapshotAuthKey") or ""
    try:
        status, answer = _call(running, f"/snapshot/create?authKey={key}")
        name = re.search(rb'"snapshot"\s*:\s*"([0-9A-Za-z-]+)"', answer)
        if status == 200 and name:
            status, answer = _call(running, f"/snapshot/delete?authKey={key}&snapshot={name[1].decode()}")
            if status == 200:
                return
        problem = f"status {status}, {answer[:200].decode(errors='replace').strip()}"
    except OSError as error:
        problem = str(error)
    raise DmError(
        f"{running.service.image.reference} could not be told to write its data: {problem}",
        hint="Commit with --stop, or let /snapshot/create work without a login or with -snapshotAuthKey on the command line.",
    )


def _call(running: Running, path: str) -> tuple[int, bytes]:
    return http_call(running.host, running.port, SNAPSHOT_TIMEOUT_S, path)


def single_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return `-storageDataPath`, relative to the image's working directory, which is the root."""
    return _paths(service, "victoria-metrics-data")


def storage_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return `-storageDataPath`, relative to the image's working directory, which is the root."""
    return _paths(service, "vmstorage-data")


def _paths(service: ServiceFacts, default: str) -> tuple[str, ...]:
    chosen = service.option("-storageDataPath", "--storageDataPath") or default
    return (chosen if chosen.startswith("/") else f"/{chosen}",)


SINGLE = Datastore(
    name="victoriametrics",
    images=("victoria-metrics", "victoriametrics", "victoriametrics/victoria-metrics"),
    data=single_paths,
    port=8428,
    ready=_ready,
    volatile=_VOLATILE,
    quiesce=flush,
)
STORAGE = Datastore(
    name="vmstorage",
    images=("vmstorage", "victoriametrics/vmstorage"),
    data=storage_paths,
    port=8482,
    ready=_ready,
    volatile=_VOLATILE,
    quiesce=flush,
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(SINGLE)
    register(STORAGE)
