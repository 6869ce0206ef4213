"""Elasticsearch."""

from __future__ import annotations

import base64
import contextlib

from dm_compose.datastores.base import Datastore, Running, Service
from dm_compose.datastores.protocols import http_call, http_or_https
from dm_compose.hookspecs import hookimpl

FLUSH_TIMEOUT_S = 30.0

# Any answer below 500 shows a node that works: 401 and 403 come from its security, 503 from a node without master.
ready = http_or_https("/", below=500)


def flush(running: Running) -> None:
    """Flush every index, as well as the node lets one without knowing more than the service's own settings.

    By default (index.translog.durability=request) a write is in the translog's file before it is acknowledged, so nothing is
    lost when the node refuses. Only indices with the setting `async` keep up to five seconds of acknowledged writes in memory.
    """
    environment = running.service.environment
    headers = {}
    for user, name in (("elastic", "ELASTIC_PASSWORD"), ("admin", "OPENSEARCH_INITIAL_ADMIN_PASSWORD")):
        if secret := environment.get(name):
            headers["Authorization"] = f"Basic {base64.b64encode(f'{user}:{secret}'.encode()).decode()}"
    with contextlib.suppress(OSError):
        http_call(running.host, running.port, FLUSH_TIMEOUT_S, "/_flush", method="POST", headers=headers)


def data_paths(service: Service) -> tuple[str, ...]:
    """`path.data` may be set in the environment, under this very name; Bitnami has its own layout."""
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
