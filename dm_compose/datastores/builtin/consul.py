"""HashiCorp Consul. It acknowledges a write when the write is in the raft log's file; with -dev it keeps writes in memory."""

from __future__ import annotations

from dm_compose.datastores.base import Datastore, ServiceFacts
from dm_compose.datastores.protocols import http_call
from dm_compose.hookspecs import hookimpl


def ready(host: str, port: int, timeout_s: float) -> bool:
    """Ask for /v1/status/leader, which needs no token. It gives the leader's address in quotes, and "" while there is none."""
    status, body = http_call(host, port, timeout_s, "/v1/status/leader")
    return status == 200 and b":" in body


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return `-data-dir`, else the vendor's data path; nothing with `-dev`, which keeps no data on disk."""
    words = " ".join(service.command).split()
    if "-dev" in words or "--dev" in words:
        return ()
    if "bitnami" in service.image.repository:
        return ("/bitnami/consul",)
    return (service.option("-data-dir", "--data-dir") or "/consul/data",)


DATASTORE = Datastore(
    name="consul",
    images=("consul", "*/consul", "hashicorp/consul", "hashicorp/consul-enterprise", "bitnami*/consul"),
    data=data_paths,
    port=8500,
    ready=ready,
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
