"""RabbitMQ. It confirms a persistent message when the message is on the disk.

Its data path contains the node's host name, so a service without a fixed `hostname` loses its queues when it is recreated.

No sound setting has it wait less for the disk. The publisher decides by queue and message how long it waits. The broker syncs
before it confirms, and neither its command line nor its environment has a setting for that.
"""

from __future__ import annotations

from dm_compose.datastores.base import Datastore, ServiceFacts
from dm_compose.datastores.protocols import exchange
from dm_compose.hookspecs import hookimpl

_PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
_CONNECTION_START = b"\x00\x0a\x00\x0a"  # class 10, method 10


def ready(host: str, port: int, timeout_s: float) -> bool:
    """Ask in AMQP 0-9-1: the broker answers the protocol header with a Connection.Start method frame.

    The listener is the last step of the broker's boot.
    """
    answer = exchange(host, port, timeout_s, _PROTOCOL_HEADER, at_least=11)
    return answer[:1] == b"\x01" and answer[7:11] == _CONNECTION_START


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return the data path of the image's vendor."""
    return ("/bitnami/rabbitmq",) if "bitnami" in service.image.repository else ("/var/lib/rabbitmq",)


DATASTORE = Datastore(
    name="rabbitmq",
    images=("rabbitmq", "*/rabbitmq", "bitnami*/rabbitmq", "masstransit/rabbitmq", "*/rabbitmq-server"),
    data=data_paths,
    port=5672,
    ready=ready,
    volatile=("*.pid", "erl_crash.dump"),
    own_files=("mnesia", "mnesia/*"),
    markers=("RABBITMQ_VERSION", "RABBITMQ_DATA_DIR"),
    version_from=("RABBITMQ_VERSION",),
    tried=("3.10",),
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
