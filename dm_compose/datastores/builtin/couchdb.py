"""Apache CouchDB. It acknowledges a document when the document is in its database's file, header and all.

Unchanged files do not prove that nothing changed. Replications that POST /_replicate has started exist in memory only, and the
server writes settings that are changed over HTTP to /opt/couchdb/etc/local.d, outside the data.
"""

from __future__ import annotations

from dm_compose.datastores.base import Datastore, ServiceFacts
from dm_compose.datastores.protocols import http_or_https
from dm_compose.hookspecs import hookimpl


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return the vendor's data path; version 1 had another one. Bitnami's includes the configuration."""
    if "bitnami" in service.image.repository:
        return ("/bitnami/couchdb",)
    if (DATASTORE.version(service) or "").startswith("1."):
        return ("/usr/local/var/lib/couchdb",)
    return ("/opt/couchdb/data",)


DATASTORE = Datastore(
    name="couchdb",
    images=("couchdb", "*/couchdb", "couchdb3", "ibmcom/couchdb3", "bitnami*/couchdb"),
    data=data_paths,
    port=5984,
    ready=http_or_https("/_up", also=(401,)),  # 401: require_valid_user; 404: in maintenance, or seeding a new node
    markers=("COUCHDB_VERSION",),
    version_from=("COUCHDB_VERSION",),
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
