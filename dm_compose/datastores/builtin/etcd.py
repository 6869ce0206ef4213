"""etcd.

Unchanged files prove that nothing changed. Everything that a client can change (keys, leases, users, members, alarms, compaction,
even a login) is a raft entry. The server acknowledges an entry when it is in the write-ahead log's file. Only memory knows how
long a lease has left, and a restart would give every lease its full time again.
"""

from __future__ import annotations

from dm_compose.datastores.base import Datastore, ServiceFacts
from dm_compose.datastores.protocols import http_or_https
from dm_compose.hookspecs import hookimpl

WORKING_DIRECTORY_SINCE = (3, 5)  # from then on the image's working directory is /var/lib/etcd, before it is /


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return `--data-dir`, else `ETCD_DATA_DIR`, else the member's name with `.etcd` in the image's working directory."""
    if "bitnami" in service.image.repository:
        return ("/bitnami/etcd/data",)
    name = service.option("--name", "-name") or service.environment.get("ETCD_NAME") or "default"
    chosen = service.option("--data-dir", "-data-dir") or service.environment.get("ETCD_DATA_DIR") or f"{name}.etcd"
    if chosen.startswith("/"):
        return (chosen,)
    version = DATASTORE.version(service)
    numbers = tuple(int(number) for number in version.split(".")) if version else WORKING_DIRECTORY_SINCE
    return (f"/var/lib/etcd/{chosen}" if numbers >= WORKING_DIRECTORY_SINCE else f"/{chosen}",)


DATASTORE = Datastore(
    name="etcd",
    images=("etcd", "*/etcd", "coreos/etcd", "etcd-development/etcd", "bitnami*/etcd"),
    data=data_paths,
    port=2379,
    ready=http_or_https("/health"),
    files_are_proof=True,
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
