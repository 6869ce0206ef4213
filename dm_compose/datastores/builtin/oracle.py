"""Oracle Database: Oracle's own images and those of Gerald Venzl. It acknowledges a commit when it is in the redo log's file."""

from __future__ import annotations

import struct
import time

from dm_compose.datastores.base import Datastore, ServiceFacts
from dm_compose.datastores.protocols import exchange
from dm_compose.hookspecs import hookimpl

# The listener's default service (Free and Express set one), then the default names of the images' instances.
_SERVICES = ("", "FREE", "XE", "ORCLCDB")
_CONNECT = 1
_ACCEPT, _REDIRECT, _RESEND = 2, 5, 11
_DATA_OFFSET = 58


def _request(service_name: str) -> bytes:
    """Return a TNS CONNECT packet: version 310, compatible with 300. The wanted service follows at a fixed offset."""
    me = "(CID=(PROGRAM=dm-compose)(HOST=dm-compose)(USER=dm-compose))"
    wanted = f"(DESCRIPTION=(CONNECT_DATA=(SERVICE_NAME={service_name}){me}))".encode()
    settings = struct.pack("!HHHHHHHHHH", 310, 300, 0, 2048, 32767, 0x7F08, 0, 1, len(wanted), _DATA_OFFSET)
    body = settings.ljust(_DATA_OFFSET - 8, b"\0") + wanted
    return struct.pack("!HHBBH", len(body) + 8, 0, _CONNECT, 0, 0) + body


def ready(host: str, port: int, timeout_s: float) -> bool:
    """Ask the listener in TNS for a service. It refuses until the instance has registered the service, then hands us on.

    "Handed on" means accepted, redirected, or asked to send the request again. An instance with another name than the images
    give it (ORACLE_SID) never counts as ready.
    """
    deadline = time.monotonic() + timeout_s
    for name in _SERVICES:
        answer = exchange(host, port, max(deadline - time.monotonic(), 0.001), _request(name), at_least=8)
        if len(answer) < 8:
            return False
        if answer[4] in (_ACCEPT, _REDIRECT, _RESEND) and answer[5:8] == b"\0\0\0":
            return True
    return False


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return the image's data path; Express Edition 11 has another one than all later versions."""
    version = DATASTORE.version(service) or ""
    return ("/u01/app/oracle/oradata",) if version.split(".")[0] == "11" else ("/opt/oracle/oradata",)


DATASTORE = Datastore(
    name="oracle",
    images=(
        "oracle-free",
        "oracle-xe",
        "gvenzl/oracle-free",
        "gvenzl/oracle-xe",
        "database/free",
        "database/express",
        "database/enterprise",
        "database/enterprise_ru",
        "database/standard",
        "oracle/database",
    ),
    data=data_paths,
    port=1521,
    ready=ready,
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
