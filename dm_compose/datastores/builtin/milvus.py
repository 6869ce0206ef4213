"""Milvus, standalone. Its state is in its own directory, and in the etcd and the object store that it is told to use."""

from __future__ import annotations

from dm_compose.datastores.base import Datastore
from dm_compose.datastores.protocols import http
from dm_compose.hookspecs import hookimpl

DATASTORE = Datastore(
    name="milvus",
    images=("milvus", "milvusdb/milvus"),
    data=("/var/lib/milvus",),
    port=9091,
    ready=http("/healthz"),
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
