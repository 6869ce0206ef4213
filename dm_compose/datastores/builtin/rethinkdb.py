"""RethinkDB. It acknowledges a write when the write is in the table's file, unless its durability is `soft`."""

from __future__ import annotations

import struct

from dm_compose.datastores.base import Datastore, ServiceFacts
from dm_compose.datastores.protocols import exchange
from dm_compose.hookspecs import hookimpl

_V1_0 = struct.pack("<I", 0x34C2BDC3)


def ready(host: str, port: int, timeout_s: float) -> bool:
    """Send the magic number of handshake 1.0. The server answers with its version as JSON; before version 2.3, with ERROR."""
    answer = exchange(host, port, timeout_s, _V1_0, at_least=64)
    return (answer.startswith(b"{") and b"_version" in answer) or answer.startswith(b"ERROR: ")


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return `--directory`, relative to the image's working directory. By default the data is in `rethinkdb_data` there."""
    chosen = service.option("--directory", "-d") or "/data"
    return (chosen if chosen.startswith("/") else f"/data/{chosen}",)


DATASTORE = Datastore(
    name="rethinkdb",
    images=("rethinkdb", "*/rethinkdb"),
    data=data_paths,
    port=28015,
    ready=ready,
    markers=("RETHINKDB_PACKAGE_VERSION",),
    version_from=("RETHINKDB_PACKAGE_VERSION",),
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
