"""HashiCorp Vault with file or raft storage. After a restart, and so after a restore, it is sealed until somebody unseals it."""

from __future__ import annotations

import re

from dm_compose.datastores.base import Datastore, ServiceFacts
from dm_compose.datastores.protocols import http_or_https
from dm_compose.hookspecs import hookimpl

# /v1/sys/health: active 200, standby 429, recovery secondary 472, performance standby 473, not initialized 501, sealed 503.
_WORKING = (200, 429, 472, 473, 501, 503)
_STORAGE = re.compile(r"\b(?:file|raft)\b[^}]*?\bpath\b[\s\"':=]+([^\s\"',}]+)")


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return the storage's path in `VAULT_LOCAL_CONFIG`, else the image's volume; nothing with `-dev`, which uses memory only.

    Configuration files cannot be read from here.
    """
    words = " ".join(service.command).split()
    if "-dev" in words or "--dev" in words:
        return ()
    chosen = _STORAGE.search(service.environment.get("VAULT_LOCAL_CONFIG") or "")
    default = "/bitnami/vault/data" if "bitnami" in service.image.repository else "/vault/file"
    return (chosen[1] if chosen else default,)


DATASTORE = Datastore(
    name="vault",
    images=("vault", "*/vault", "hashicorp/vault", "hashicorp/vault-enterprise", "bitnami*/vault"),
    data=data_paths,
    port=8200,
    ready=http_or_https("/v1/sys/health", below=201, also=_WORKING),
    not_data={"/vault/logs": "audit logs"},
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
