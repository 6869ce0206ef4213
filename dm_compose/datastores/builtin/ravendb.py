"""RavenDB. It acknowledges a transaction when the transaction is in its journal's file."""

from __future__ import annotations

from dm_compose.datastores.base import Datastore, ServiceFacts
from dm_compose.datastores.protocols import http_or_https
from dm_compose.hookspecs import hookimpl

MOVED_IN = 6  # from this version on the image installs the Debian package, with its directories


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return `RAVEN_DataDir` if it is an absolute path, else the image's own place, which depends on the version."""
    chosen = service.environment.get("RAVEN_DataDir") or ""
    if chosen.startswith("/"):
        return (chosen,)
    version = DATASTORE.version(service)
    old = version is not None and int(version.split(".")[0]) < MOVED_IN
    return ("/opt/RavenDB/Server/RavenData",) if old else ("/var/lib/ravendb/data",)


DATASTORE = Datastore(
    name="ravendb",
    images=("ravendb", "ravendb/ravendb", "ravendb/ravendb-nightly"),
    data=data_paths,
    port=8080,
    ready=http_or_https("/setup/alive", below=500),
    not_data={"/etc/ravendb": "configuration and certificates", "/opt/RavenDB/config": "configuration and certificates"},
    markers=("RAVEN_DataDir",),
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
