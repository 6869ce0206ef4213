"""Microsoft SQL Server. It acknowledges a commit when it is in the transaction log's file, unless it has delayed durability."""

from __future__ import annotations

import struct

from dm_compose.datastores.base import Datastore, ServiceFacts
from dm_compose.datastores.protocols import exchange
from dm_compose.hookspecs import hookimpl

_PRELOGIN, _RESPONSE = 0x12, 0x04
_HOME = "/var/opt/mssql"


def _request() -> bytes:
    """Return a PRELOGIN packet (MS-TDS 2.2.6.5): the options VERSION and ENCRYPTION ("not supported"), then their values."""
    table = struct.pack("!BHH", 0, 11, 6) + struct.pack("!BHH", 1, 17, 1) + b"\xff"
    payload = table + struct.pack("!IH", 0x10000000, 0) + b"\x02"
    return struct.pack("!BBHHBB", _PRELOGIN, 1, len(payload) + 8, 0, 0, 0) + payload


def ready(host: str, port: int, timeout_s: float) -> bool:
    """Send the first packet of TDS. The server answers with a tabular result, which starts with the option VERSION.

    It opens its port late.
    """
    answer = exchange(host, port, timeout_s, _request(), at_least=9)
    return len(answer) > 8 and answer[0] == _RESPONSE and answer[8] == 0


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return the place of system databases and keys, and `MSSQL_DATA_DIR` and `MSSQL_LOG_DIR` for new databases."""
    chosen = [service.environment.get(name) or _HOME for name in ("MSSQL_DATA_DIR", "MSSQL_LOG_DIR")]
    outside = [path.rstrip("/") for path in chosen if not f"{path}/".startswith(f"{_HOME}/")]
    return tuple(dict.fromkeys([_HOME, *outside]))


DATASTORE = Datastore(
    name="mssql",
    images=("mssql", "mssql/server", "mssql/rhel/server", "mssql/rhel*/server", "azure-sql-edge", "*/mssql-server-linux"),
    data=data_paths,
    port=1433,
    ready=ready,
    volatile=("log/errorlog*", "log/*.trc", "log/*.xel"),
    version_parts=1,
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
