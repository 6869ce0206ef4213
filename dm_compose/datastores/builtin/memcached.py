"""Memcached. It keeps nothing on disk, so a restart empties it, and so does a restore."""

from __future__ import annotations

from dm_compose.datastores.base import Datastore
from dm_compose.datastores.protocols import exchange
from dm_compose.hookspecs import hookimpl


def ready(host: str, port: int, timeout_s: float) -> bool:
    """Ask for `version` in the text protocol. A server that wants a login refuses, which counts as ready."""
    return exchange(host, port, timeout_s, b"version\r\n", at_least=8).startswith((b"VERSION ", b"CLIENT_ERROR"))


DATASTORE = Datastore(
    name="memcached",
    images=("memcached", "*/memcached", "bitnami*/memcached"),
    data=(),
    port=11211,
    ready=ready,
    markers=("MEMCACHED_VERSION",),
    version_from=("MEMCACHED_VERSION",),
    in_memory=True,
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
