"""CockroachDB, which speaks PostgreSQL's protocol. It synchronizes its log before it acknowledges a write."""

from __future__ import annotations

import re

from dm_compose.datastores.base import Datastore, ServiceFacts
from dm_compose.datastores.protocols import postgres_startup
from dm_compose.hookspecs import hookimpl

_HOME = "/cockroach"


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return the stores that `--store` names, as paths or fields like `path=/a,size=1GiB`; `type=mem` keeps nothing on disk."""
    stores = re.findall(r"(?:^|\s)(?:--store|-s)[=\s]+(\S+)", " ".join(service.command))
    paths = []
    for store in stores or [f"{_HOME}/cockroach-data"]:
        fields = dict(field.partition("=")[::2] if "=" in field else ("path", field) for field in store.split(","))
        path = fields.get("path", "")
        if fields.get("type") != "mem" and path:
            paths.append(path if path.startswith("/") else f"{_HOME}/{path}")
    return tuple(dict.fromkeys(paths))


DATASTORE = Datastore(
    name="cockroach",
    images=("cockroach", "cockroachdb", "cockroachdb/cockroach", "cockroachdb/cockroach-unstable", "*/cockroachdb"),
    data=data_paths,
    port=26257,
    ready=postgres_startup,
    volatile=("LOCK", "logs/*", "cockroach-temp*"),
    markers=("COCKROACH_CHANNEL",),
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
