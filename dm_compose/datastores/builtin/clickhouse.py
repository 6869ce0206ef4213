"""ClickHouse. It acknowledges an insert when the insert's part is in files.

An asynchronous insert is no exception, unless the client asks not to wait (wait_for_async_insert=0).
"""

from __future__ import annotations

import contextlib

from dm_compose.datastores.base import Datastore, Running, ServiceFacts
from dm_compose.datastores.protocols import http, http_call
from dm_compose.hookspecs import hookimpl

FLUSH_TIMEOUT_S = 30.0


def flush_inserts(running: Running) -> None:
    """Write out queued asynchronous inserts (`SYSTEM FLUSH ASYNC INSERT QUEUE`); a refusal is ignored.

    The user is the one that the service's settings name. Only inserts of clients that do not wait for them are at stake, for a
    fraction of a second. So a refusal is no reason to give the commit up.
    """
    environment = running.service.environment
    user = environment.get("CLICKHOUSE_USER") or environment.get("CLICKHOUSE_ADMIN_USER") or "default"
    secret = environment.get("CLICKHOUSE_PASSWORD") or environment.get("CLICKHOUSE_ADMIN_PASSWORD") or ""
    headers = {"X-ClickHouse-User": user, "X-ClickHouse-Key": secret} if secret else {"X-ClickHouse-User": user}
    query = b"SYSTEM FLUSH ASYNC INSERT QUEUE"
    with contextlib.suppress(OSError):
        http_call(running.host, running.port, FLUSH_TIMEOUT_S, "/", method="POST", headers=headers, body=query)


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return the data path of the image's vendor."""
    return ("/bitnami/clickhouse/data",) if "bitnami" in service.image.repository else ("/var/lib/clickhouse",)


DATASTORE = Datastore(
    name="clickhouse",
    images=("clickhouse", "*/clickhouse", "clickhouse-server", "*/clickhouse-server", "bitnami*/clickhouse"),
    data=data_paths,
    port=8123,
    ready=http("/ping"),
    volatile=("status", "preprocessed_configs/*", "tmp/*"),
    not_data={"/var/log/clickhouse-server": "logs"},
    markers=("CLICKHOUSE_CONFIG",),
    quiesce=flush_inserts,
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
