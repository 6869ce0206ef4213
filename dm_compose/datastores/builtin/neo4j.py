"""Neo4j. It acknowledges a commit when the transaction is in the transaction log's file."""

from __future__ import annotations

from dm_compose.datastores.base import Datastore, ServiceFacts
from dm_compose.datastores.protocols import exchange
from dm_compose.hookspecs import hookimpl

# Magic number and four proposals, each (reserved, range downwards, minor, major): 5.8 to 5.0, 4.4 to 4.2, 4.1, 3.0.
_HANDSHAKE = b"\x60\x60\xb0\x17" + b"\x00\x08\x08\x05" + b"\x00\x02\x04\x04" + b"\x00\x00\x01\x04" + b"\x00\x00\x00\x03"


def ready(host: str, port: int, timeout_s: float) -> bool:
    """Shake hands in Bolt: the server answers with the version that it chose, or four zero bytes if it knows none of them."""
    answer = exchange(host, port, timeout_s, _HANDSHAKE, at_least=4)
    return len(answer) == 4 and answer[:2] == b"\0\0" and (answer == b"\0\0\0\0" or answer[3] in (3, 4, 5))


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return the environment's `server.directories.data` (`dbms.directories.data` before version 5), else the vendor's path."""
    if "bitnami" in service.image.repository:
        return ("/bitnami/neo4j",)
    environment = service.environment
    chosen = environment.get("NEO4J_server_directories_data") or environment.get("NEO4J_dbms_directories_data")
    return (chosen or "/data",)


DATASTORE = Datastore(
    name="neo4j",
    images=("neo4j", "*/neo4j", "bitnami*/neo4j"),
    data=data_paths,
    port=7687,
    ready=ready,
    volatile=("databases/store_lock", "databases/*/database_lock"),
    not_data={"/logs": "logs"},
    markers=("NEO4J_TARBALL",),
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
