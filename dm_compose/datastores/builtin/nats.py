"""NATS. Without JetStream the server keeps nothing. With it, streams are files below the store directory."""

from __future__ import annotations

import time

from dm_compose.datastores.base import Datastore, Running, ServiceFacts
from dm_compose.datastores.protocols import exchange
from dm_compose.hookspecs import hookimpl

FLUSHED_AFTER_S = 0.3

_SWITCHES = {"-js", "--js", "-jetstream", "--jetstream", "-js=true", "--js=true", "-jetstream=true", "--jetstream=true"}
_OWN_CONFIGURATION = {"nats-server.conf", "/nats-server.conf", "/etc/nats/nats-server.conf"}


def ready(host: str, port: int, timeout_s: float) -> bool:
    """Wait for the server's first line: INFO with a JSON object."""
    return exchange(host, port, timeout_s, b"", at_least=6).startswith(b"INFO {")


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return the command line's store directory; without one, `/tmp/nats/jetstream`; nothing if JetStream is off.

    A configuration file cannot be read from here. If the user has one, /data is assumed.
    """
    if directory := service.option("-sd", "--sd", "-store_dir", "--store_dir"):
        return (directory,)
    if _SWITCHES & set(service.command):
        return ("/tmp/nats/jetstream",)  # noqa: S108 - a path in the container
    configuration = service.option("-c", "--c", "-config", "--config")
    return ("/data",) if configuration and configuration not in _OWN_CONFIGURATION else ()


def await_flush(running: Running) -> None:
    """Wait 0.3 s, in which the server writes by itself, if it uses JetStream.

    The server acknowledges a message when the message is in its file. It writes the positions of consumers, and streams with
    replicas, every 100 ms (consumerFileStore.flushLoop). Nobody asks it anything during the wait.
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
