"""Elasticsearch. By default it acknowledges a write when the write is in the translog's file.

The default is index.translog.durability=request. An index with `async` keeps up to five seconds of acknowledged writes in memory.
"""

from __future__ import annotations

import base64
import contextlib

from dm_compose.datastores.base import Datastore, Running, ServiceFacts
from dm_compose.datastores.protocols import http_call, http_or_https
from dm_compose.hookspecs import hookimpl

FLUSH_TIMEOUT_S = 30.0

# Any status below 500 shows a node that works. Its security answers 401 or 403. A node without a master answers 503.
ready = http_or_https("/", below=500)


def flush(running: Running) -> None:
    """Flush every index (`POST /_flush`) with the password of the service's own settings; a refusal is ignored.

    Only indices with index.translog.durability=async need it. All others lose nothing when the node refuses.
    """
    environment = running.service.environment
    headers = {}
    for user, name in (("elastic", "ELASTIC_PASSWORD"), ("admin", "OPENSEARCH_INITIAL_ADMIN_PASSWORD")):
        if secret := environment.get(name):
            headers["Authorization"] = f"Basic {base64.b64encode(f'{user}:{secret}'.encode()).decode()}"
    with contextlib.suppress(OSError):
        http_call(running.host, running.port, FLUSH_TIMEOUT_S, "/_flush", method="POST", headers=headers)


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return the environment's `path.data` (the variable has this very name), else the vendor's data path."""
    if "bitnami" in service.image.repository:
        return ("/bitnami/elasticsearch/data",)
    return (service.environment.get("path.data") or "/usr/share/elasticsearch/data",)


DATASTORE = Datastore(
    name="elasticsearch",
    images=("elasticsearch", "*/elasticsearch", "elasticsearch-oss", "elasticsearch-wolfi", "bitnami*/elasticsearch"),
    data=data_paths,
    port=9200,
    ready=ready,
    volatile=("node.lock", "*/node.lock", "*/write.lock"),
    quiesce=flush,
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
