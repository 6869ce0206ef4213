"""immudb. It synchronizes its log's file before it acknowledges a transaction."""

from __future__ import annotations

from dm_compose.datastores.base import Datastore, ServiceFacts
from dm_compose.datastores.protocols import exchange
from dm_compose.hookspecs import hookimpl

_SETTINGS = 4
_PREFACE = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + bytes([_SETTINGS]) + b"\0" + b"\0\0\0\0"
)  # and an empty SETTINGS frame


def ready(host: str, port: int, timeout_s: float) -> bool:
    """Ask in HTTP/2, on which gRPC stands: the server answers the preface with a SETTINGS frame of stream 0."""
    answer = exchange(host, port, timeout_s, _PREFACE, at_least=9)
    return len(answer) >= 9 and answer[3] == _SETTINGS and answer[5:9] == b"\0\0\0\0"


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return `--dir`, else `IMMUDB_DIR`, else the image's data path."""
    return (service.option("--dir") or service.environment.get("IMMUDB_DIR") or "/var/lib/immudb",)


DATASTORE = Datastore(
    name="immudb",
    images=("immudb", "codenotary/immudb"),
    data=data_paths,
    port=3322,
    ready=ready,
    markers=("IMMUDB_DIR",),
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
