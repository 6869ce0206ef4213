"""Apache ZooKeeper. It acknowledges a transaction when the transaction is in the log's file (forceSync)."""

from __future__ import annotations

from dm_compose.datastores.base import Datastore, ServiceFacts
from dm_compose.datastores.protocols import exchange
from dm_compose.hookspecs import hookimpl

_ALL = 4096


def ready(host: str, port: int, timeout_s: float) -> bool:
    """Send `srvr`, the only four-letter word that is allowed by default; the server answers with its version and mode.

    "This ZooKeeper instance is not currently serving requests" means not yet. A server that forbids the word says so, which
    counts as ready.
    """
    answer = exchange(host, port, timeout_s, b"srvr", at_least=_ALL)
    return answer.startswith(b"Zookeeper version") or b"is not executed because it is not in the whitelist" in answer


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return the directories of snapshots and of logs, both needed; `ZOO_DATA_DIR` and `ZOO_DATA_LOG_DIR` move them."""
    repository, environment = service.image.repository, service.environment
    logs = environment.get("ZOO_DATA_LOG_DIR")
    if "bitnami" in repository:
        return ("/bitnami/zookeeper/data", logs) if logs else ("/bitnami/zookeeper/data",)
    if repository.endswith("cp-zookeeper"):
        return ("/var/lib/zookeeper/data", "/var/lib/zookeeper/log")
    if repository.startswith("wurstmeister/"):
        return (f"/opt/zookeeper-{environment.get('ZOOKEEPER_VERSION') or '3.4.13'}/data",)
    return (environment.get("ZOO_DATA_DIR") or "/data", logs or "/datalog")


DATASTORE = Datastore(
    name="zookeeper",
    images=("zookeeper", "*/zookeeper", "confluentinc/cp-zookeeper", "cp-zookeeper", "bitnami*/zookeeper"),
    data=data_paths,
    port=2181,
    ready=ready,
    volatile=("zookeeper_server.pid",),
    not_data={
        "/logs": "logs",
        "/etc/zookeeper/secrets": "keys and passwords that the user provides",
        "/opt/zookeeper-3.4.13/conf": "configuration",
    },
    markers=("ZOO_DATA_LOG_DIR",),
    version_from=("ZOOKEEPER_VERSION",),
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
