"""Apache Solr. It acknowledges an update when the update is in the update log's file, and replays the log after a restart."""

from __future__ import annotations

from dm_compose.datastores.base import Datastore, ServiceFacts
from dm_compose.datastores.protocols import http_or_https
from dm_compose.hookspecs import hookimpl

MOVED_IN = 8  # from this version on everything that changes is below /var/solr


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return `SOLR_HOME`, which has the cores, if it leaves the image's own place; else that place."""
    if "bitnami" in service.image.repository:
        return ("/bitnami/solr",)
    version = DATASTORE.version(service)
    old = version is not None and int(version.split(".")[0]) < MOVED_IN
    default = "/opt/solr/server/solr" if old else "/var/solr"
    home = service.environment.get("SOLR_HOME") or default
    return (default if f"{home}/".startswith(f"{default}/") else home,)


DATASTORE = Datastore(
    name="solr",
    images=("solr", "*/solr", "bitnami*/solr"),
    data=data_paths,
    port=8983,
    ready=http_or_https("/solr/admin/info/system", also=(401, 403)),
    volatile=("*/write.lock", "logs/*", "solr-*.pid"),
    markers=("SOLR_PID_DIR",),
    version_from=("SOLR_VERSION",),
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
