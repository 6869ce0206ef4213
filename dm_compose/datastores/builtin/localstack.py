"""LocalStack. It keeps its state in memory. With PERSISTENCE (not in the community edition) it saves its state to files."""

from __future__ import annotations

import re

from dm_compose.datastores.base import Datastore, Running, ServiceFacts
from dm_compose.datastores.protocols import http_call, http_or_https
from dm_compose.errors import DmError
from dm_compose.hookspecs import hookimpl

SAVE_TIMEOUT_S = 120.0


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return the volume with the saved state, in `state/` there; nothing unless `PERSISTENCE` is on."""
    on = (service.environment.get("PERSISTENCE") or "").strip().lower() in ("1", "true")
    return ("/var/lib/localstack",) if on else ()


def save(running: Running) -> None:
    """Have all services save their state (`POST /_localstack/state/save`), if `PERSISTENCE` is on.

    By itself LocalStack saves every 15 seconds (SNAPSHOT_SAVE_STRATEGY). An edition without persistence does not know the address
    (404) and has nothing to lose on disk.
    """
    if not data_paths(running.service):
        return
    try:
        status, answer = http_call(running.host, running.port, SAVE_TIMEOUT_S, "/_localstack/state/save", method="POST")
    except OSError as error:
        status, answer = 0, str(error).encode()
    if status == 404 or (status == 200 and not re.search(rb'"status"\s*:\s*"error"', answer)):
        return
    raise DmError(
        f"LocalStack could not be told to save its state: status {status}, {answer[-200:].decode(errors='replace').strip()}",
        hint="Commit with --stop: LocalStack saves its state when it is shut down.",
    )


DATASTORE = Datastore(
    name="localstack",
    images=("localstack", "localstack-pro", "localstack/localstack", "localstack/localstack-pro"),
    data=data_paths,
    port=4566,
    ready=http_or_https("/_localstack/health"),
    volatile=("cache/*", "lib/*", "logs/*", "tmp/*"),
    version_from=("LOCALSTACK_BUILD_VERSION",),
    quiesce=save,
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
