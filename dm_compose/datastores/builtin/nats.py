"""NATS. Without JetStream the server keeps nothing; with it, streams are files below the store directory."""

from __future__ import annotations

import time

from dm_compose.datastores.base import Datastore, Running, Service
from dm_compose.datastores.protocols import exchange
from dm_compose.hookspecs import hookimpl

FLUSHED_AFTER_S = 0.3

_SWITCHES = {"-js", "--js", "-jetstream", "--jetstream", "-js=true", "--js=true", "-jetstream=true", "--jetstream=true"}
_OWN_CONFIGURATION = {"nats-server.conf", "/nats-server.conf", "/etc/nats/nats-server.conf"}


def ready(host: str, port: int, timeout_s: float) -> bool:
    """The server speaks first: INFO with a JSON object."""
    return exchange(host, port, timeout_s, b"", at_least=6).startswith(b"INFO {")


def data_paths(service: Service) -> tuple[str, ...]:
    """The store directory of the command line, /tmp/nats/jetstream where it names none.

    What a configuration file says cannot be seen from here: with one of the user's own, /data is assumed.
    """
    if directory := service.option("-sd", "--sd", "-store_dir", "--store_dir"):
        return (directory,)
    if _SWITCHES & set(service.command):
        return ("/tmp/nats/jetstream",)  # noqa: S108 - a path in the container
    configuration = service.option("-c", "--c", "-config", "--config")
    return ("/data",) if configuration and configuration not in _OWN_CONFIGURATION else ()


def await_flush(running: Running) -> None:
    """Wait until the server has written by itself, now that nobody asks it anything.

    A message is in its file when it is acknowledged, but how far a consumer is gets written every 100 ms
    (consumerFileStore.flushLoop), and so do streams with replicas.
    """
    if data_paths(running.service):
        time.sleep(FLUSHED_AFTER_S)


DATASTORE = Datastore(
    name="nats",
    images=("nats", "*/nats", "bitnami*/nats", "nats-server"),
    data=data_paths,
    port=4222,
    ready=ready,
    version_from=("NATS_SERVER",),
    quiesce=await_flush,
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
