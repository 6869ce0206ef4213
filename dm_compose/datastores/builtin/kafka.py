"""Apache Kafka. A broker writes a record to the log's file before it acknowledges the record."""

from __future__ import annotations

import struct

from dm_compose.datastores.base import Datastore, ServiceFacts
from dm_compose.datastores.protocols import exchange
from dm_compose.hookspecs import hookimpl

_CORRELATION = 0x646D
_CLIENT = b"dm-compose"
_API_VERSIONS = struct.pack("!hhih", 18, 0, _CORRELATION, len(_CLIENT)) + _CLIENT  # request 18, version 0: every broker's

# Variables of the apache/kafka images that are no broker settings (KafkaDockerWrapper.scala).
_NO_SETTINGS = {
    "KAFKA_VERSION",
    "KAFKA_HEAP_OPTS",
    "KAFKA_LOG4J_OPTS",
    "KAFKA_OPTS",
    "KAFKA_JMX_OPTS",
    "KAFKA_JMX_HOSTNAME",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_LOG4J_ROOT_LOGLEVEL",
    "KAFKA_LOG4J_LOGGERS",
    "KAFKA_TOOLS_LOG4J_LOGLEVEL",
}


def ready(host: str, port: int, timeout_s: float) -> bool:
    """Send ApiVersions, the one request that a broker answers before any login; the answer repeats its correlation id."""
    answer = exchange(host, port, timeout_s, struct.pack("!i", len(_API_VERSIONS)) + _API_VERSIONS, at_least=10)
    return answer[4:10] == struct.pack("!ih", _CORRELATION, 0)


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return `log.dirs`, from the environment as each vendor spells it, else the vendor's default.

    The apache/kafka images use their own settings (/tmp/kraft-combined-logs) only while the environment has no broker setting
    at all. With one broker setting in the environment, all others have the broker's defaults: /tmp/kafka-logs.
    """
    repository, environment = service.image.repository, service.environment
    bitnami = "bitnami" in repository
    names = ("KAFKA_CFG_LOG_DIRS", "KAFKA_CFG_LOG_DIR") if bitnami else ("KAFKA_LOG_DIRS", "KAFKA_LOG_DIR", "KAFKA_DATA")
    if chosen := next((environment[name] for name in names if environment.get(name)), ""):
        return tuple(path.strip() for path in chosen.split(",") if path.strip())
    if bitnami:
        return ("/bitnami/kafka/data",)
    if repository.startswith("wurstmeister/"):
        return ("/kafka",)
    if repository.endswith("confluent-local"):
        return ("/tmp/kraft-combined-logs",)  # noqa: S108 - a path in the container
    if repository.startswith("apache/"):
        set_here = any(name.startswith("KAFKA_") and name not in _NO_SETTINGS for name in environment)
        return ("/tmp/kafka-logs",) if set_here else ("/tmp/kraft-combined-logs",)  # noqa: S108
    return ("/var/lib/kafka/data",)


DATASTORE = Datastore(
    name="kafka",
    images=(
        "kafka",
        "*/kafka",
        "apache/kafka",
        "apache/kafka-native",
        "confluentinc/cp-kafka",
        "confluentinc/cp-server",
        "confluentinc/cp-enterprise-kafka",
        "confluentinc/confluent-local",
        "cp-kafka",
        "kafka-native",
        "bitnami*/kafka",
    ),
    data=data_paths,
    port=9092,
    ready=ready,
    volatile=(".lock",),
    not_data={
        "/etc/kafka/secrets": "keys and passwords that the user provides",
        "/mnt/shared/config": "configuration that the user provides",
        "/kafka/logs": "logs",
        "/kafka/config": "configuration",
    },
    version_from=("KAFKA_VERSION",),
    tag_version=r"(?:2\.1[0-3]-)?v?(\d+(?:\.\d+)*)",  # wurstmeister/kafka:2.13-2.8.1 starts with Scala's version
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
