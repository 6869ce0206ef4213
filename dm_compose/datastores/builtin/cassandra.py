"""Cassandra, and ScyllaDB, which speaks the same protocol and has files of its own."""

from __future__ import annotations

import struct

from dm_compose.datastores.base import Datastore, Running, ServiceFacts
from dm_compose.datastores.protocols import exchange
from dm_compose.errors import DmError
from dm_compose.hookspecs import hookimpl

_OPTIONS = struct.pack("!BBhBi", 4, 0, 0, 5, 0)  # version 4, no flags, stream 0, opcode OPTIONS, empty body
_ERROR, _SUPPORTED = 0x00, 0x06
_UNSUPPORTED_VERSION = 0x000A


def ready(host: str, port: int, timeout_s: float) -> bool:
    """Ask in the CQL binary protocol: a server answers OPTIONS with SUPPORTED, before any login.

    A server for which version 4 is too new answers with a protocol error, which counts as ready. Other errors (overloaded, still
    bootstrapping) mean not yet.
    """
    answer = exchange(host, port, timeout_s, _OPTIONS, at_least=13)
    if len(answer) < 9 or not 0x80 < answer[0] < 0x88:
        return False
    if answer[4] == _ERROR:
        return answer[9:13] == struct.pack("!i", _UNSUPPORTED_VERSION)
    return answer[4] == _SUPPORTED


def flush(running: Running) -> None:
    """Write all memtables to SSTables with `nodetool flush`.

    By default the server synchronizes its commit log up to ten seconds after it has acknowledged a write (commitlog_sync:
    periodic). After a crash it does not replay the part of the log that it had not yet marked as synchronized.
    """
    code, output = running.run(["nodetool", "flush"])
    if code:
        raise DmError(
            f"{running.service.image.reference} could not be told to flush its memtables: {output.strip()[-200:]}",
            hint="Commit with --stop, or let `nodetool flush` work inside the container.",
        )


def cassandra_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return the data path of the image's vendor."""
    return ("/bitnami/cassandra/data",) if "bitnami" in service.image.repository else ("/var/lib/cassandra",)


def scylla_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return the data path of the image's vendor. Bitnami's includes the mark that says that the data is initialized."""
    return ("/bitnami/scylladb",) if "bitnami" in service.image.repository else ("/var/lib/scylla",)


CASSANDRA = Datastore(
    name="cassandra",
    images=("cassandra", "*/cassandra", "bitnami*/cassandra"),
    data=cassandra_paths,
    port=9042,
    ready=ready,
    markers=("CASSANDRA_CONF",),
    version_from=("CASSANDRA_VERSION",),
    quiesce=flush,
)
SCYLLA = Datastore(
    name="scylla",
    images=(
        "scylla",
        "scylladb",
        "scylladb/scylla",
        "scylladb/scylla-enterprise",
        "scylladb/scylla-nightly",
        "bitnami*/scylladb",
    ),
    data=scylla_paths,
    port=9042,
    ready=ready,
    quiesce=flush,
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(CASSANDRA)
    register(SCYLLA)
