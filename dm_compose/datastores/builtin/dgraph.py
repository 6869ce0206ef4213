"""Dgraph. Its Zero and Alpha servers share an image and the directory in which they work. Only an Alpha is asked whether it is
ready.
"""

from __future__ import annotations

from dm_compose.datastores.base import Datastore
from dm_compose.datastores.protocols import http_or_https
from dm_compose.hookspecs import hookimpl

DATASTORE = Datastore(
    name="dgraph",
    images=("dgraph", "dgraph/dgraph", "dgraph/standalone"),
    data=("/dgraph",),
    port=8080,
    ready=http_or_https("/health"),
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
