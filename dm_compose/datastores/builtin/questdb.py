"""QuestDB. It acknowledges a commit when the commit is in memory-mapped files, so the files' contents have it."""

from __future__ import annotations

from dm_compose.datastores.base import Datastore, ServiceFacts
from dm_compose.datastores.protocols import http_or_https
from dm_compose.hookspecs import hookimpl


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return `QUESTDB_DATA_DIR`, which has configuration and tables."""
    return (service.environment.get("QUESTDB_DATA_DIR") or "/var/lib/questdb",)


DATASTORE = Datastore(
    name="questdb",
    images=("questdb", "questdb/questdb"),
    data=data_paths,
    port=9000,
    ready=http_or_https("/exec?query=SELECT%201", also=(401, 403)),
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
