"""Tarantool. It acknowledges a transaction when it is in the write-ahead log's file, unless wal_mode is `none`."""

from __future__ import annotations

from dm_compose.datastores.base import Datastore
from dm_compose.datastores.protocols import exchange
from dm_compose.hookspecs import hookimpl


def ready(host: str, port: int, timeout_s: float) -> bool:
    """Wait for the server's greeting of 128 bytes, which starts with its name and version."""
    return exchange(host, port, timeout_s, b"", at_least=10).startswith(b"Tarantool ")


DATASTORE = Datastore(
    name="tarantool",
    images=("tarantool", "tarantool/tarantool"),
    data=("/var/lib/tarantool",),
    port=3301,
    ready=ready,
    markers=("TARANTOOL_VERSION",),
    version_from=("TARANTOOL_VERSION",),
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
