"""Apache ActiveMQ: the brokers Classic and Artemis, which share a wire format.

A broker acknowledges a persistent message when the message is in the journal's file.
"""

from __future__ import annotations

import struct

from dm_compose.datastores.base import Datastore, ServiceFacts
from dm_compose.datastores.protocols import exchange
from dm_compose.hookspecs import hookimpl

_MAGIC = b"\x01ActiveMQ"  # type WireFormatInfo
_WIRE_FORMAT = _MAGIC + struct.pack("!i?", 12, False)  # version 12, no properties


def ready(host: str, port: int, timeout_s: float) -> bool:
    """Ask in OpenWire: the broker answers a WireFormatInfo with its own. Artemis recognizes OpenWire clients by it."""
    answer = exchange(host, port, timeout_s, struct.pack("!i", len(_WIRE_FORMAT)) + _WIRE_FORMAT, at_least=13)
    return answer[4:13] == _MAGIC


def classic_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return the data path of the image's vendor."""
    repository = service.image.repository
    if "bitnami" in repository:
        return ("/bitnami/activemq/data",)
    return ("/opt/activemq/data",) if repository.startswith("rmohr/") else ("/opt/apache-activemq/data",)


def artemis_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return the broker's instance: journal, settings and users. The image creates it at its first start."""
    return ("/var/lib/artemis/data",) if service.image.repository.startswith("vromero/") else ("/var/lib/artemis-instance",)


CLASSIC = Datastore(
    name="activemq",
    images=(
        "activemq",
        "activemq-classic",
        "apache/activemq-classic",
        "rmohr/activemq",
        "bitnami*/activemq",
    ),
    data=classic_paths,
    port=61616,
    ready=ready,
    volatile=("kahadb/lock", "activemq.pid", "activemq.log", "audit.log"),
    not_data={"/opt/activemq/conf": "configuration"},
    markers=("ACTIVEMQ_CONF",),
)
ARTEMIS = Datastore(
    name="artemis",
    images=("artemis", "activemq-artemis", "apache/artemis", "apache/activemq-artemis", "*/activemq-artemis"),
    data=artemis_paths,
    port=61616,
    ready=ready,
    volatile=("lock/*", "log/*", "tmp/*"),
    not_data={
        "/var/lib/artemis/tmp": "temporary files",
        "/var/lib/artemis/etc": "configuration",
        "/var/lib/artemis/etc-override": "configuration",
        "/var/lib/artemis/lock": "lock files",
        "/opt/jmx-exporter/etc-override": "configuration",
    },
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(CLASSIC)
    register(ARTEMIS)
