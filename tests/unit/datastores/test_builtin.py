"""Every datastore module: which images it knows, where their data is, and what its probe makes of what a server answers."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pwd
import random
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from dm_compose.core.containers import Image
from dm_compose.datastores import Datastore, Service
from dm_compose.datastores.base import Probe
from dm_compose.datastores.builtin import cassandra, clickhouse, elasticsearch, localstack, victoriametrics
from dm_compose.datastores.protocols import http_call, http_or_https, postgres_startup
from dm_compose.datastores.registry import registry
from dm_compose.errors import DmError

TIMEOUT_S = 0.2
ALL = {datastore.name: datastore for datastore in registry()}


def run_by(
    reference: str, environment: Mapping[str, str] | None = None, command: str = "", volumes: tuple[str, ...] = ()
) -> Service:
    return Service(Image(reference, volumes=volumes), environment or {}, tuple(command.split()))


# --- images ---------------------------------------------------------------------------------------------------------------------

Known = tuple[Service, str, tuple[str, ...], str | None]


def known(
    reference: str,
    name: str,
    data: str,
    version: str | None,
    environment: Mapping[str, str] | None = None,
    command: str = "",
    volumes: tuple[str, ...] = (),
) -> Known:
    return run_by(reference, environment, command, volumes), name, tuple(data.split()), version


DIGEST = "@sha256:" + "0" * 64
KNOWN: tuple[Known, ...] = (
    # postgres
    known("postgres", "postgres", "/var/lib/postgresql", None),
    known("postgres:15", "postgres", "/var/lib/postgresql/data", "15"),
    known("postgres:17.2-alpine3.21", "postgres", "/var/lib/postgresql/data", "17"),
    known("postgres:18", "postgres", "/var/lib/postgresql", "18"),
    known("postgres:18-bookworm", "postgres", "/var/lib/postgresql", "18", {"PGDATA": "/var/lib/postgresql/18/docker"}),
    known("postgres:16", "postgres", "/db/here", "16", {"PGDATA": "/db/here"}),
    known("postgres:16", "postgres", "/var/lib/postgresql/data", "16", {"PGDATA": "/var/lib/postgresql/data/pgdata"}),
    known("postgres:15" + DIGEST, "postgres", "/var/lib/postgresql/data", "15"),
    known("docker.io/library/postgres:14", "postgres", "/var/lib/postgresql/data", "14"),
    known("acme/postgres:16", "postgres", "/var/lib/postgresql/data", "16"),
    known("bitnami/postgresql:17.2.0-debian-12-r3", "postgres", "/bitnami/postgresql", "17"),
    known("bitnamilegacy/postgresql:16", "postgres", "/bitnami/postgresql", "16"),
    known("postgis/postgis:16-3.4", "postgres", "/var/lib/postgresql/data", "16"),
    known("timescale/timescaledb:2.17.2-pg16", "postgres", "/var/lib/postgresql/data", "16"),
    known("timescale/timescaledb-ha:pg17-ts2.17", "postgres", "/home/postgres/pgdata/data", "17"),
    known("pgvector/pgvector:pg17", "postgres", "/var/lib/postgresql/data", "17"),
    known("pgvector/pgvector:0.8.0-pg18", "postgres", "/var/lib/postgresql", "18"),
    known("supabase/postgres:15.8.1.040", "postgres", "/var/lib/postgresql/data", "15"),
    known("ghcr.io/immich-app/postgres:14-vectorchord0.3.0", "postgres", "/var/lib/postgresql/data", "14"),
    # mariadb, mysql
    known("mariadb:11.4", "mariadb", "/var/lib/mysql", "11.4"),
    known("mariadb:lts", "mariadb", "/data", "11.8", {"MARIADB_VERSION": "1:11.8.2+maria~ubu2404"}, "--datadir=/data"),
    known("lscr.io/linuxserver/mariadb:10.11.8", "mariadb", "/config", "10.11"),
    known("bitnami/mariadb:11.4", "mariadb", "/bitnami/mariadb", "11.4"),
    known("mysql:8.4", "mysql", "/var/lib/mysql", "8.4"),
    known("registry:5000/x/mysql:8.4", "mysql", "/var/lib/mysql", "8.4"),
    known("bitnami/mysql:9.1", "mysql", "/bitnami/mysql", "9.1"),
    known("percona:8.0", "mysql", "/var/lib/mysql", "8.0"),
    known("percona/percona-server:8.0.36", "mysql", "/var/lib/mysql", "8.0"),
    # mongo
    known("mongo:8.0.4", "mongo", "/data/db", "8.0"),
    known("mongo:7", "mongo", "/data/configdb", "7", command="mongod --configsvr --replSet c"),
    known("mongodb/mongodb-community-server:7.0-ubi8", "mongo", "/data/db", "7.0"),
    known("bitnami/mongodb:8.0", "mongo", "/bitnami/mongodb", "8.0"),
    # redis, valkey, memcached
    known("redis:7.4-alpine", "redis", "/data", "7.4"),
    known("redis:7.4", "redis", "/db", "7.4", command="redis-server --dir /db"),
    known("redis/redis-stack-server:7.4.0-v1", "redis", "/data", "7.4"),
    known("bitnami/redis:7.4", "redis", "/bitnami/redis/data", "7.4"),
    known("docker.dragonflydb.io/dragonflydb/dragonfly:v1.25.1", "redis", "/data", "1.25"),
    known("eqalpha/keydb:x86_64_v6.3.4", "redis", "/data", None),
    known("valkey/valkey:8.0.2", "valkey", "/data", "8.0"),
    known("valkey/valkey:latest", "valkey", "/data", "8.1", {"VALKEY_VERSION": "8.1.0"}),
    known("valkey/valkey-bundle:8.1", "valkey", "/data", "8.1"),
    known("valkey/valkey:8", "valkey", "/db", "8", command="valkey-server --dir /db"),
    known("bitnami/valkey:8.0", "valkey", "/bitnami/valkey/data", "8.0"),
    known("bitnami/valkey-cluster:8.0", "valkey", "/bitnami/valkey/data", "8.0"),
    known("memcached:1.6-alpine", "memcached", "", "1.6"),
    known("bitnami/memcached:1.6.34", "memcached", "", "1.6"),
    # rabbitmq
    known("rabbitmq:4.0-management", "rabbitmq", "/var/lib/rabbitmq", "4.0"),
    known("bitnami/rabbitmq:4.0", "rabbitmq", "/bitnami/rabbitmq", "4.0"),
    # search engines
    known("elasticsearch:8.17.0", "elasticsearch", "/usr/share/elasticsearch/data", "8.17"),
    known("docker.elastic.co/elasticsearch/elasticsearch:9.0.1", "elasticsearch", "/usr/share/elasticsearch/data", "9.0"),
    known("docker.elastic.co/elasticsearch/elasticsearch-oss:7.10.2", "elasticsearch", "/usr/share/elasticsearch/data", "7.10"),
    known("elasticsearch:8.17.0", "elasticsearch", "/es", "8.17", {"path.data": "/es"}),
    known("bitnami/elasticsearch:8", "elasticsearch", "/bitnami/elasticsearch/data", "8"),
    known("opensearchproject/opensearch:2.18.0", "opensearch", "/usr/share/opensearch/data", "2.18"),
    known("bitnami/opensearch:2", "opensearch", "/bitnami/opensearch/data", "2"),
    known("solr:9.7-slim", "solr", "/var/solr", "9.7", {"SOLR_HOME": "/var/solr/data"}),
    known("solr:9", "solr", "/srv/cores", "9", {"SOLR_HOME": "/srv/cores"}),
    known("solr:7.7.3", "solr", "/opt/solr/server/solr", "7.7"),
    known("bitnami/solr:9", "solr", "/bitnami/solr", "9"),
    known("getmeili/meilisearch:v1.12.3", "meilisearch", "/meili_data", "1.12"),
    known("getmeili/meilisearch:v1.12", "meilisearch", "/meili_data", "1.12", {"MEILI_DB_PATH": "/meili_data/data.ms"}),
    known("getmeili/meilisearch:v1.12", "meilisearch", "/db", "1.12", command="meilisearch --db-path /db"),
    known("typesense/typesense:27.1", "typesense", "/data", "27.1", command="--data-dir /data --api-key=xyz"),
    known("typesense/typesense:27.1", "typesense", "/ts", "27.1", {"TYPESENSE_DATA_DIR": "/ts"}),
    # vectors
    known("qdrant/qdrant:v1.12.4", "qdrant", "/qdrant/storage", "1.12"),
    known("qdrant/qdrant", "qdrant", "/vectors", None, {"QDRANT__STORAGE__STORAGE_PATH": "/vectors"}),
    known(
        "cr.weaviate.io/semitechnologies/weaviate:1.27.0",
        "weaviate",
        "/var/lib/weaviate",
        "1.27",
        {"PERSISTENCE_DATA_PATH": "/var/lib/weaviate"},
    ),
    known("semitechnologies/weaviate:1.27.0", "weaviate", "/data", "1.27"),
    known("milvusdb/milvus:v2.5.4", "milvus", "/var/lib/milvus", "2.5"),
    known("chromadb/chroma:1.0.4", "chroma", "/data", "1.0"),
    known("chromadb/chroma", "chroma", "/data", None),
    known("ghcr.io/chroma-core/chroma:0.5.23", "chroma", "/chroma/chroma", "0.5"),
    known("chromadb/chroma:0.6.3", "chroma", "/vectors", "0.6", {"PERSIST_DIRECTORY": "/vectors"}),
    # columns, documents, graphs
    known("clickhouse:24.8", "clickhouse", "/var/lib/clickhouse", "24.8"),
    known("clickhouse/clickhouse-server:24.8-alpine", "clickhouse", "/var/lib/clickhouse", "24.8"),
    known("bitnami/clickhouse:24", "clickhouse", "/bitnami/clickhouse/data", "24"),
    known("cassandra:5.0.2", "cassandra", "/var/lib/cassandra", "5.0"),
    known("bitnami/cassandra:5.0", "cassandra", "/bitnami/cassandra/data", "5.0"),
    known("scylladb/scylla:6.2", "scylla", "/var/lib/scylla", "6.2"),
    known("bitnami/scylladb:6.2", "scylla", "/bitnami/scylladb", "6.2"),
    known("couchdb:3.4.2", "couchdb", "/opt/couchdb/data", "3.4"),
    known("couchdb:1.7.2", "couchdb", "/usr/local/var/lib/couchdb", "1.7"),
    known("apache/couchdb:3.5", "couchdb", "/opt/couchdb/data", "3.5"),
    known("bitnami/couchdb:3", "couchdb", "/bitnami/couchdb", "3"),
    known("neo4j:5.26-community", "neo4j", "/data", "5.26"),
    known("neo4j:2025.03.0", "neo4j", "/graph", "2025.03", {"NEO4J_server_directories_data": "/graph"}),
    known("bitnami/neo4j:5", "neo4j", "/bitnami/neo4j", "5"),
    known("arangodb:3.12", "arangodb", "/var/lib/arangodb3 /var/lib/arangodb3-apps", "3.12"),
    known("arangodb/enterprise:3.11.8", "arangodb", "/var/lib/arangodb3 /var/lib/arangodb3-apps", "3.11"),
    known("ravendb/ravendb:6.2-latest", "ravendb", "/var/lib/ravendb/data", "6.2"),
    known("ravendb/ravendb:6.2", "ravendb", "/raven", "6.2", {"RAVEN_DataDir": "/raven"}),
    known("ravendb/ravendb:5.4-ubuntu-latest", "ravendb", "/opt/RavenDB/Server/RavenData", "5.4"),
    known("rethinkdb:2.4.4", "rethinkdb", "/data", "2.4"),
    known("rethinkdb:latest", "rethinkdb", "/data", "2.4", {"RETHINKDB_PACKAGE_VERSION": "2.4.4~0xenial"}),
    known("dgraph/dgraph:v24.0.2", "dgraph", "/dgraph", "24.0", command="dgraph alpha --zero=zero:5080"),
    known("dgraph/standalone:v24.0", "dgraph", "/dgraph", "24.0"),
    known("surrealdb/surrealdb:v2.1.4", "surrealdb", "", "2.1", command="start --user root --pass root"),
    known("surrealdb/surrealdb:v2.1.4", "surrealdb", "", "2.1", command="start memory"),
    known("surrealdb/surrealdb:v2.1", "surrealdb", "/mydata/db", "2.1", command="start rocksdb:/mydata/db"),
    known("surrealdb/surrealdb:v2.1", "surrealdb", "/mydata/db", "2.1", command="start surrealkv://mydata/db?sync=every"),
    known("surrealdb/surrealdb:v2.1", "surrealdb", "/data", "2.1", {"SURREAL_PATH": "rocksdb:///data/db"}, "start"),
    known("tarantool/tarantool:3.2", "tarantool", "/var/lib/tarantool", "3.2"),
    known("codenotary/immudb:1.9.5", "immudb", "/var/lib/immudb", "1.9"),
    known("codenotary/immudb:1.9.5", "immudb", "/im", "1.9", {"IMMUDB_DIR": "/im"}),
    # logs and queues
    known("apache/kafka:3.9.0", "kafka", "/tmp/kraft-combined-logs", "3.9"),
    known("apache/kafka:4.0.0", "kafka", "/tmp/kraft-combined-logs", "4.0", {"KAFKA_HEAP_OPTS": "-Xmx1g"}),
    known("apache/kafka-native:4.0.0", "kafka", "/tmp/kafka-logs", "4.0", {"KAFKA_NODE_ID": "1"}),
    known("apache/kafka:4.0.0", "kafka", "/k/a /k/b", "4.0", {"KAFKA_NODE_ID": "1", "KAFKA_LOG_DIRS": "/k/a, /k/b"}),
    known("confluentinc/cp-kafka:7.6.1", "kafka", "/var/lib/kafka/data", "7.6", {"KAFKA_NODE_ID": "1"}),
    known("confluentinc/cp-server:7.6.1", "kafka", "/var/lib/kafka/data", "7.6"),
    known("confluentinc/confluent-local:7.6.1", "kafka", "/tmp/kraft-combined-logs", "7.6"),
    known("wurstmeister/kafka:2.13-2.8.1", "kafka", "/kafka", "2.8"),
    known("quay.io/debezium/kafka:3.0", "kafka", "/kafka/data", "3.0", {"KAFKA_DATA": "/kafka/data"}),
    known("bitnami/kafka:3.9", "kafka", "/bitnami/kafka/data", "3.9", {"KAFKA_CFG_NODE_ID": "0"}),
    known("bitnami/kafka:3.9", "kafka", "/logs", "3.9", {"KAFKA_CFG_LOG_DIRS": "/logs"}),
    known("zookeeper:3.9.3", "zookeeper", "/data /datalog", "3.9"),
    known("zookeeper:3.9", "zookeeper", "/zk /zklog", "3.9", {"ZOO_DATA_DIR": "/zk", "ZOO_DATA_LOG_DIR": "/zklog"}),
    known("confluentinc/cp-zookeeper:7.6.1", "zookeeper", "/var/lib/zookeeper/data /var/lib/zookeeper/log", "7.6"),
    known("wurstmeister/zookeeper", "zookeeper", "/opt/zookeeper-3.4.13/data", "3.4", {"ZOOKEEPER_VERSION": "3.4.13"}),
    known("bitnami/zookeeper:3.9", "zookeeper", "/bitnami/zookeeper/data", "3.9"),
    known("docker.redpanda.com/redpandadata/redpanda:v24.3.1", "redpanda", "/var/lib/redpanda/data", "24.3"),
    known("vectorized/redpanda:v22.1.3", "redpanda", "/var/lib/redpanda/data", "22.1"),
    known("nats:2.10-alpine", "nats", "", "2.10"),
    known("nats:2.10", "nats", "", "2.10", command="/nats-server --config nats-server.conf"),
    known("nats:2.10", "nats", "/tmp/nats/jetstream", "2.10", command="-js"),
    known("nats:2.10", "nats", "/data", "2.10", command="--jetstream --store_dir=/data"),
    known("nats:2.10", "nats", "/js", "2.10", command="-js -sd /js -m 8222"),
    known("nats:2.10", "nats", "/data", "2.10", command="-c /etc/my.conf"),
    known("apachepulsar/pulsar:4.0.1", "pulsar", "/pulsar/data", "4.0", command="bin/pulsar standalone"),
    known("apachepulsar/pulsar-all:3.0.8", "pulsar", "/pulsar/data", "3.0"),
    known("apache/activemq-classic:6.1.4", "activemq", "/opt/apache-activemq/data", "6.1"),
    known("rmohr/activemq:5.15.9-alpine", "activemq", "/opt/activemq/data", "5.15"),
    known("bitnami/activemq:6.3", "activemq", "/bitnami/activemq/data", "6.3"),
    known("apache/activemq-artemis:2.38.0", "artemis", "/var/lib/artemis-instance", "2.38"),
    known("apache/artemis:2.44.0", "artemis", "/var/lib/artemis-instance", "2.44"),
    known("vromero/activemq-artemis:2.16.0", "artemis", "/var/lib/artemis/data", "2.16"),
    # coordination and secrets
    known("quay.io/coreos/etcd:v3.5.17", "etcd", "/var/lib/etcd/default.etcd", "3.5"),
    known("gcr.io/etcd-development/etcd:v3.6.0", "etcd", "/var/lib/etcd/n1.etcd", "3.6", command="etcd --name n1"),
    known("quay.io/coreos/etcd:v3.3.27", "etcd", "/default.etcd", "3.3"),
    known("quay.io/coreos/etcd:v3.5.18", "etcd", "/etcd", "3.5", command="etcd -advertise-client-urls=http://e --data-dir /etcd"),
    known("quay.io/coreos/etcd:v3.5.18", "etcd", "/e", "3.5", {"ETCD_DATA_DIR": "/e"}),
    known("bitnami/etcd:3.5", "etcd", "/bitnami/etcd/data", "3.5"),
    known("hashicorp/consul:1.20", "consul", "/consul/data", "1.20", command="agent -server -bootstrap-expect=1"),
    known("consul:1.15", "consul", "", "1.15", command="docker-entrypoint.sh agent -dev -client 0.0.0.0"),
    known("hashicorp/consul:1.20", "consul", "/c", "1.20", command="agent -server -data-dir=/c"),
    known("bitnami/consul:1", "consul", "/bitnami/consul", "1"),
    known("hashicorp/vault:1.18", "vault", "", "1.18", command="docker-entrypoint.sh server -dev"),
    known("hashicorp/vault:1.18", "vault", "/vault/file", "1.18", command="server"),
    known(
        "vault:1.13.3",
        "vault",
        "/vault/raft",
        "1.13",
        {"VAULT_LOCAL_CONFIG": '{"storage": {"raft": {"node_id": "a", "path": "/vault/raft"}}, "listener": []}'},
        "server",
    ),
    known("hashicorp/vault:1", "vault", "/v", "1", {"VAULT_LOCAL_CONFIG": 'storage "file" {\n  path = "/v"\n}'}, "server"),
    # objects
    known("minio/minio:RELEASE.2025-04-22T22-12-26Z", "minio", "/data", "2025", command="minio server /data"),
    known("quay.io/minio/minio", "minio", "/data", None, command="server /data --console-address :9001"),
    known("minio/minio", "minio", "/minio_data", None, command="server --console-address :9001 /minio_data"),
    known("minio/minio", "minio", "/d1 /d2", None, command="server --anonymous --address=:9000 /d{1...2}"),
    known("minio/minio", "minio", "/export", None, command="server http://minio{1...4}/export --certs-dir /certs"),
    known("minio/minio", "minio", "/mnt/data", None, {"MINIO_VOLUMES": "/mnt/data"}, "server"),
    known("minio/minio", "minio", "/data", None),
    known("bitnami/minio:2025.4.22-debian-12-r1", "minio", "/bitnami/minio/data", "2025"),
    known("bitnami/minio:2022.10.29-debian-11-r0", "minio", "/data", "2022"),
    known("localstack/localstack:4.0", "localstack", "", "4.0"),
    known("localstack/localstack-pro:4.0", "localstack", "/var/lib/localstack", "4.0", {"PERSISTENCE": "1"}),
    # series
    known("influxdb:1.8", "influxdb", "/var/lib/influxdb", "1.8"),
    known("influxdb:1.8", "influxdb", "/db /var/lib/influxdb", "1.8", {"INFLUXDB_DATA_DIR": "/db"}),
    known("influxdb:2.7-alpine", "influxdb", "/var/lib/influxdb2", "2.7"),
    known("influxdb:2.7", "influxdb", "/bolt /engine", "2.7", command="influxd --bolt-path=/bolt/b --engine-path=/engine"),
    known("influxdb:latest", "influxdb", "/var/lib/influxdb", None, volumes=("/var/lib/influxdb",)),
    known("influxdb:3-core", "influxdb", "/var/lib/influxdb3", "3"),
    known("influxdb:core", "influxdb", "/i3", None, command="influxdb3 serve --object-store file --data-dir /i3"),
    known("influxdb:3-core", "influxdb", "", "3", command="influxdb3 serve --object-store=memory"),
    known("quay.io/influxdb/influxdb3-core:latest", "influxdb3", "/var/lib/influxdb3", None),
    known("bitnami/influxdb:2", "influxdb", "/bitnami/influxdb", "2"),
    known("victoriametrics/victoria-metrics:v1.106.0", "victoriametrics", "/victoria-metrics-data", "1.106"),
    known("victoriametrics/victoria-metrics", "victoriametrics", "/storage", None, command="--storageDataPath=/storage"),
    known("victoriametrics/vmstorage:v1.106.0-cluster", "vmstorage", "/storage", "1.106", command="-storageDataPath=/storage"),
    known("questdb/questdb:8.2.1", "questdb", "/var/lib/questdb", "8.2"),
    known("questdb/questdb:8.2.1", "questdb", "/q", "8.2", {"QUESTDB_DATA_DIR": "/q"}),
    # the big ones
    known("mcr.microsoft.com/mssql/server:2022-latest", "mssql", "/var/opt/mssql", "2022"),
    known(
        "mcr.microsoft.com/mssql/server:2019-CU18-ubuntu-20.04",
        "mssql",
        "/var/opt/mssql /log",
        "2019",
        {"MSSQL_DATA_DIR": "/var/opt/mssql/mine", "MSSQL_LOG_DIR": "/log"},
    ),
    known("mcr.microsoft.com/azure-sql-edge:1.0.7", "mssql", "/var/opt/mssql", "1"),
    known("gvenzl/oracle-free:23-slim-faststart", "oracle", "/opt/oracle/oradata", "23"),
    known("gvenzl/oracle-xe:21.3.0", "oracle", "/opt/oracle/oradata", "21.3"),
    known("gvenzl/oracle-xe:11-slim", "oracle", "/u01/app/oracle/oradata", "11"),
    known("container-registry.oracle.com/database/free:23.5.0.0", "oracle", "/opt/oracle/oradata", "23.5"),
    known("container-registry.oracle.com/database/enterprise:19.3.0.0", "oracle", "/opt/oracle/oradata", "19.3"),
    known(
        "cockroachdb/cockroach:v24.3.1", "cockroach", "/cockroach/cockroach-data", "24.3", command="start-single-node --insecure"
    ),
    known("cockroachdb/cockroach:v24.3.1", "cockroach", "/c", "24.3", command="start-single-node --store=path=/c,size=2GiB"),
    known("cockroachdb/cockroach", "cockroach", "/a /cockroach/b", None, command="start --store=/a --store b"),
    known("cockroachdb/cockroach", "cockroach", "", None, command="start-single-node --store=type=mem,size=1GiB"),
)


def _id(row: Known) -> str:
    service = row[0]
    settings = [f"{k}={v}" for k, v in service.environment.items()] + list(service.command) + list(service.image.volumes)
    return "-".join([service.image.reference, *settings]).encode("ascii", "replace").decode()[:120]


@pytest.mark.parametrize(("service", "name", "data", "version"), KNOWN, ids=[_id(row) for row in KNOWN])
def test_an_image_is_known_with_its_data_paths_and_version(
    service: Service, name: str, data: tuple[str, ...], version: str | None
) -> None:
    found = registry().find(service)
    assert found is not None
    assert (found.name, found.data_paths(service), found.version(service)) == (name, data, version)


@pytest.mark.parametrize(
    "reference",
    [
        "nginx",
        "adminer",
        "dpage/pgadmin4",
        "oliver006/redis_exporter",
        "prom/mysqld-exporter",
        "prom/memcached-exporter",
        "prometheuscommunity/postgres-exporter",
        "danielqsj/kafka-exporter",
        "rediscommander/redis-commander",
        "redis/redisinsight",
        "mongo-express",
        "phpmyadmin",
        "kibana:8.17.0",
        "docker.elastic.co/kibana/kibana:8.17.0",
        "docker.elastic.co/logstash/logstash:8.17.0",
        "docker.elastic.co/beats/filebeat:8.17.0",
        "opensearchproject/opensearch-dashboards:2",
        "bitnami/opensearch-dashboards:2",
        "grafana/grafana",
        "grafana/loki",
        "prom/prometheus",
        "provectuslabs/kafka-ui",
        "confluentinc/cp-schema-registry:7.6.1",
        "confluentinc/cp-kafka-connect:7.6.1",
        "confluentinc/cp-kafka-rest:7.6.1",
        "debezium/connect:3.0",
        "docker.redpanda.com/redpandadata/console:v2.8.0",
        "minio/mc",
        "minio/console",
        "bitnami/minio-client:2025",
        "natsio/nats-box",
        "chronograf",
        "telegraf",
        "zilliz/attu:v2.4",
        "dgraph/ratel",
        "victoriametrics/vmagent",
        "victoriametrics/vmselect:v1.106.0-cluster",
        "scylladb/scylla-manager:3.4",
        "bitnami/valkey-sentinel:8.0",
        "hashicorp/consul-template",
        "ravendb.example/tools",
        "apache/airflow:2.10",
        "apachepulsar/pulsar-manager:v0.4.0",
        "alpine",
        "ghcr.io/acme/shop@sha256:" + "1" * 64,
    ],
)
def test_an_image_that_is_no_datastore_matches_nothing(reference: str) -> None:
    assert registry().find(run_by(reference)) is None


@pytest.mark.parametrize(
    ("marker", "name"),
    [(marker, datastore.name) for datastore in ALL.values() for marker in datastore.markers],
)
def test_an_image_without_a_telling_name_is_known_by_its_variables(marker: str, name: str) -> None:
    service = Service(Image("ghcr.io/acme/shop-db:1", environment={marker: "1"}))
    found = registry().find(service)
    assert found is not None
    assert found.name == name


def test_no_marker_belongs_to_two_datastores() -> None:
    markers = [marker for datastore in ALL.values() for marker in datastore.markers]
    assert len(markers) == len(set(markers))


@pytest.mark.parametrize("name", ALL)
def test_a_datastore_with_a_port_has_a_probe_and_vice_versa(name: str) -> None:
    datastore = ALL[name]
    port = datastore.port_of(Service(Image(datastore.images[0])))
    assert (port > 0) == (datastore.ready is not None)


def test_the_port_follows_the_services_settings() -> None:
    redis, influx = ALL["redis"], ALL["influxdb"]
    assert redis.port_of(Service(Image("redis"), command=("redis-server", "--port", "6390"))) == 6390
    assert (influx.port_of(Service(Image("influxdb:2"))), influx.port_of(Service(Image("influxdb:3-core")))) == (8086, 8181)


@pytest.mark.parametrize("name", ALL)
def test_a_datastore_describes_itself_in_absolute_paths_and_lower_case_patterns(name: str) -> None:
    datastore = ALL[name]
    service = run_by(f"{name}:latest")
    assert all(path.startswith("/") and not path.endswith("/") for path in (*datastore.data_paths(service), *datastore.not_data))
    assert all(pattern == pattern.lower() for pattern in datastore.images)
    assert not any(pattern.startswith("/") for pattern in datastore.volatile)
    assert datastore.fits(datastore.images[0].replace("*", "x"))


@pytest.mark.parametrize("name", ALL)
def test_what_is_no_data_is_not_a_data_path_of_a_plain_service(name: str) -> None:
    datastore = ALL[name]
    assert not set(datastore.data_paths(run_by(f"{name}:latest"))) & set(datastore.not_data)


def test_only_etcd_vouches_that_unchanged_files_mean_unchanged_state() -> None:
    assert [name for name, datastore in ALL.items() if datastore.files_are_proof] == ["etcd"]


def test_only_a_module_that_was_checked_for_it_says_that_all_its_data_is_in_memory() -> None:
    found = [datastore for datastore in ALL.values() if datastore.in_memory]
    assert [datastore.name for datastore in found] == ["memcached"]
    assert all(datastore.data == () and datastore.ready is not None for datastore in found)


# --- servers that do not answer as they should ---------------------------------------------------------------------------------

Handler = Callable[[socket.socket], None]


@contextlib.contextmanager
def serving(handle: Handler) -> Iterator[int]:
    """A server on 127.0.0.1 that gives every connection to `handle` in a thread of its own; yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def one(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            handle(connection)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.settimeout(5)
            connections.append(connection)
            threads.append(threading.Thread(target=one, args=(connection,), daemon=True))
            threads[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(5)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(5)
        for connection in connections:
            connection.close()


def answer(probe: Probe, port: int, timeout_s: float = TIMEOUT_S) -> bool:
    """What the probe says; OSError means no, every other exception is a fault."""
    try:
        return probe("127.0.0.1", port, timeout_s)
    except OSError:
        return False


def _probes() -> list[tuple[str, Probe]]:
    """Each probe once, by the name of a datastore that has it."""
    named = {id(datastore.ready): (name, datastore.ready) for name, datastore in ALL.items() if datastore.ready is not None}
    return list(named.values())


PROBES = _probes()
every_probe = pytest.mark.parametrize("probe", [probe for _, probe in PROBES], ids=[name for name, _ in PROBES])


@every_probe
def test_a_probe_says_no_to_a_closed_port(probe: Probe) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert answer(probe, port) is False


@every_probe
def test_a_probe_says_no_to_a_server_that_closes_at_once(probe: Probe) -> None:
    with serving(lambda connection: None) as port:
        assert answer(probe, port) is False


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@every_probe
def test_a_probe_says_no_to_a_server_that_resets_the_connection(probe: Probe) -> None:
    with serving(_reset) as port:
        assert answer(probe, port) is False


def _listen_only(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


@every_probe
def test_a_probe_says_no_to_a_silent_server_within_its_timeout(probe: Probe) -> None:
    with serving(_listen_only) as port:
        began = time.monotonic()
        assert answer(probe, port) is False
        assert time.monotonic() - began < 10 * TIMEOUT_S


def _garbage() -> list[bytes]:
    chance = random.Random(7)
    fixed = [
        b"\0" * 64,
        b"\xff" * 64,
        b"\n",
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"\x15\x03\x03\0\x02\x02\x46",
        b"-",
    ]
    return [*fixed, *(chance.randbytes(chance.randrange(1, 200)) for _ in range(12))]


@every_probe
def test_a_probe_says_no_to_garbage_and_raises_nothing_but_os_errors(probe: Probe) -> None:
    for data in _garbage():
        with serving(lambda connection, data=data: connection.sendall(data)) as port:  # type: ignore[misc]
            assert answer(probe, port) is False, data


@every_probe
def test_a_probe_says_no_to_garbage_on_a_connection_that_stays_open(probe: Probe) -> None:
    def babble(connection: socket.socket) -> None:
        connection.sendall(b"\x80\x07garbage")
        _listen_only(connection)

    with serving(babble) as port:
        assert answer(probe, port) is False


# --- servers that answer as the real ones do -----------------------------------------------------------------------------------


def talking(reply: Callable[[bytes], bytes], *, greeting: bytes = b"") -> Handler:
    """Greet, read one request, answer it."""

    def handle(connection: socket.socket) -> None:
        connection.sendall(greeting)
        if request := connection.recv(4096):
            connection.sendall(reply(request))

    return handle


def web(path: str, status: int, body: str = "", method: str = "GET") -> Handler:
    """An HTTP server with one page."""

    def reply(request: bytes) -> bytes:
        asked = request.split(b" ")[:2] == [method.encode(), path.encode()]
        code, text = (status, body) if asked else (418, "")
        return f"HTTP/1.1 {code} Whatever\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()

    return talking(reply)


def _postgres_error(code: str) -> bytes:
    fields = b"SFATAL\0C" + code.encode() + b"\0Mthe database system is starting up\0\0"
    return b"E" + struct.pack("!i", len(fields) + 4) + fields


def _postgres(reply: bytes) -> Handler:
    def check(request: bytes) -> bytes:
        length, version = struct.unpack("!ii", request[:8])
        assert (length, version >> 16) == (len(request), 3)
        return reply

    return talking(check)


def _packet(payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + b"\0" + payload


def _mongo(**fields: bool) -> Handler:
    elements = b"".join(
        b"\x02setName\0\x04\0\0\0rs0\0" if name == "setName" else b"\x08" + name.encode() + b"\0" + bytes([value])
        for name, value in fields.items()
        if name != "ok"
    )
    ok = b"\x01ok\0" + struct.pack("<d", 1.0 if fields["ok"] else 0.0)
    document = elements + ok
    document = struct.pack("<i", len(document) + 5) + document + b"\0"

    def reply(request: bytes) -> bytes:
        length, _, _, opcode = struct.unpack("<iiii", request[:16])
        assert (length, opcode) == (len(request), 2013)
        assert b"\x10hello\0" in request
        body = struct.pack("<i", 0) + b"\0" + document
        return struct.pack("<iiii", len(body) + 16, 7, 1, 2013) + body

    return talking(reply)


def _cql(opcode: int, body: bytes = b"") -> Handler:
    def reply(request: bytes) -> bytes:
        version, _, stream, asked, length = struct.unpack("!BBhBi", request)
        assert (version, asked, length) == (4, 5, 0)
        return struct.pack("!BBhBi", 0x84, 0, stream, opcode, len(body)) + body

    return talking(reply)


SUPPORTED = b"\0\x01\0\x0bCQL_VERSION\0\x01\0\x053.4.7"


def _kafka(error: int) -> Handler:
    def reply(request: bytes) -> bytes:
        length, key, version, correlation, client = struct.unpack("!ihhih", request[:14])
        assert (length, key, version, client) == (len(request) - 4, 18, 0, len(request) - 14)
        body = struct.pack("!ihi", correlation, error, 1) + struct.pack("!hhh", 18, 0, 3)
        return struct.pack("!i", len(body)) + body

    return talking(reply)


def _bolt(version: bytes) -> Handler:
    def reply(request: bytes) -> bytes:
        assert request[:4] == b"\x60\x60\xb0\x17"
        assert len(request) == 20
        return version

    return talking(reply)


def _tds(kind: int) -> Handler:
    def reply(request: bytes) -> bytes:
        packet, status, length = struct.unpack("!BBH", request[:4])
        assert (packet, status, length) == (0x12, 1, len(request))
        options = struct.pack("!BHHBHH", 0, 11, 6, 1, 17, 1) + b"\xff"
        assert request[8:19] == options
        payload = options + b"\x10\x00\x10\x55\0\0" + b"\x02"
        return struct.pack("!BBHHBB", kind, 1, len(payload) + 8, 0, 1, 0) + payload

    return talking(reply)


def _tns(**services: int) -> Handler:
    """A listener: packet types by service name, REFUSE for all that it does not know. `default` is the default service."""

    def reply(request: bytes) -> bytes:
        length, _, kind = struct.unpack("!HHB", request[:5])
        wanted, offset = struct.unpack("!HH", request[24:28])
        assert (length, kind, offset) == (len(request), 1, 58)
        text = request[offset : offset + wanted].decode()
        name = text.partition("(SERVICE_NAME=")[2].partition(")")[0] or "default"
        if (answered := services.get(name)) is not None:
            return struct.pack("!HHBBH", 8, 0, answered, 0, 0)
        body = b"\x22\0\0\x59(DESCRIPTION=(TMP=)(VSNNUM=0)(ERR=12514)(ERROR_STACK=(ERROR=(CODE=12514)(EMFI=4))))"
        return struct.pack("!HHBBH", len(body) + 8, 0, 4, 0, 0) + body

    return talking(reply)


def _openwire(request: bytes) -> bytes:
    length = struct.unpack("!i", request[:4])[0]
    assert length == len(request) - 4
    assert request[4:13] == b"\x01ActiveMQ"
    info = b"\x01ActiveMQ" + struct.pack("!i?", 12, False)
    return struct.pack("!i", len(info)) + info


def _pulsar(command: bytes) -> Handler:
    def reply(request: bytes) -> bytes:
        total, size = struct.unpack("!ii", request[:8])
        assert (total, size) == (len(request) - 4, len(request) - 8)
        assert request[8:11] == b"\x08\x02\x12"
        assert b"\x0a\x0adm-compose" in request
        return struct.pack("!ii", len(command) + 4, len(command)) + command

    return talking(reply)


def _grpc(frame: int) -> Handler:
    def reply(request: bytes) -> bytes:
        assert request == b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
        return b"\0\0\x06" + bytes([frame]) + b"\0" + b"\0\0\0\0" + b"\0\x05\0\0\x40\0"

    return talking(reply)


def _rethink(request: bytes) -> bytes:
    assert request == b"\xc3\xbd\xc2\x34"
    return b'{"max_protocol_version":0,"min_protocol_version":0,"server_version":"2.4.4","success":true}\0'


def _word(expected: bytes, reply: bytes) -> Handler:
    def check(request: bytes) -> bytes:
        assert request == expected
        return reply

    return talking(check)


PING = b"PING\r\n"
LOADING = b"-LOADING Redis is loading the dataset in memory\r\n"
SRVR = (
    b"Zookeeper version: 3.9.3-c26634f34490bb0ea7a09cc51e05ede3b4e320ee, built on 2024-10-17 23:21 UTC\n"
    b"Latency min/avg/max: 0/0.0/0\nConnections: 1\nOutstanding: 0\nZxid: 0x0\nMode: standalone\nNode count: 5\n"
)
AMQP_START = b"\x01\0\0\0\0\x01\xf4\0\x0a\0\x0a\0\x09" + b"\0" * 20
GREETING = b"\x0a8.4.3\0" + b"\0" * 40

YES: dict[str, list[Handler]] = {
    "postgres": [
        _postgres(b"R" + struct.pack("!ii", 8, 0)),
        _postgres(b"R" + struct.pack("!ii", 23, 10) + b"SCRAM-SHA-256\0\0"),
        _postgres(_postgres_error("28000")),
        _postgres(_postgres_error("3D000")),
    ],
    "cockroach": [_postgres(b"R" + struct.pack("!ii", 8, 0)), _postgres(_postgres_error("08P01"))],
    "mariadb": [talking(lambda request: b"", greeting=_packet(GREETING))],
    "mysql": [talking(lambda request: b"", greeting=_packet(GREETING))],
    "mongo": [
        _mongo(isWritablePrimary=True, ok=True),
        _mongo(isWritablePrimary=False, ok=True),
        _mongo(setName=True, isWritablePrimary=True, secondary=False, ok=True),
        _mongo(setName=True, isWritablePrimary=False, secondary=True, ok=True),
    ],
    "redis": [_word(PING, b"+PONG\r\n"), _word(PING, b"-NOAUTH Authentication required.\r\n")],
    "valkey": [_word(PING, b"+PONG\r\n"), _word(PING, b"-NOAUTH Authentication required.\r\n")],
    "memcached": [_word(b"version\r\n", b"VERSION 1.6.34\r\n"), _word(b"version\r\n", b"CLIENT_ERROR unauthenticated\r\n")],
    "rabbitmq": [_word(b"AMQP\0\0\x09\x01", AMQP_START)],
    "elasticsearch": [web("/", 200, "{}"), web("/", 401)],
    "opensearch": [web("/", 200, "{}"), web("/", 401)],
    "clickhouse": [web("/ping", 200, "Ok.\n")],
    "cassandra": [_cql(6, SUPPORTED), _cql(0, struct.pack("!ih", 0x0A, 0))],
    "scylla": [_cql(6, SUPPORTED)],
    "kafka": [_kafka(0)],
    "redpanda": [_kafka(0)],
    "zookeeper": [_word(b"srvr", SRVR), _word(b"srvr", b"srvr is not executed because it is not in the whitelist.\n")],
    "nats": [talking(lambda request: b"", greeting=b'INFO {"server_id":"N","version":"2.10.24","max_payload":1048576} \r\n')],
    "minio": [web("/minio/health/ready", 200)],
    "etcd": [web("/health", 200, '{"health":"true","reason":""}')],
    "couchdb": [web("/_up", 200, '{"status":"ok"}'), web("/_up", 401)],
    "neo4j": [_bolt(b"\0\0\x08\x05"), _bolt(b"\0\0\x04\x04"), _bolt(b"\0\0\0\0")],
    "influxdb": [web("/ping", 204), web("/ping", 401)],
    "influxdb3": [web("/ping", 200, "{}"), web("/ping", 401)],
    "mssql": [_tds(4)],
    "solr": [web("/solr/admin/info/system", 200, "{}"), web("/solr/admin/info/system", 401)],
    "meilisearch": [web("/health", 200, '{"status":"available"}')],
    "qdrant": [web("/readyz", 200, "all shards are ready"), web("/readyz", 404)],
    "weaviate": [web("/v1/.well-known/ready", 200)],
    "typesense": [web("/health", 200, '{"ok":true}')],
    "milvus": [web("/healthz", 200, "OK")],
    "chroma": [web("/api/v2/heartbeat", 200, '{"nanosecond heartbeat":1}'), web("/api/v2/heartbeat", 404)],
    "arangodb": [web("/_admin/server/availability", 200, '{"mode":"default"}'), web("/_admin/server/availability", 401)],
    "victoriametrics": [web("/health", 200, "OK")],
    "vmstorage": [web("/health", 200, "OK")],
    "questdb": [web("/exec?query=SELECT%201", 200, "{}"), web("/exec?query=SELECT%201", 401)],
    "localstack": [web("/_localstack/health", 200, "{}")],
    "oracle": [_tns(default=11), _tns(default=2), _tns(FREE=11), _tns(XE=5), _tns(ORCLCDB=11)],
    "surrealdb": [web("/health", 200)],
    "ravendb": [web("/setup/alive", 200)],
    "rethinkdb": [talking(_rethink)],
    "consul": [web("/v1/status/leader", 200, '"172.17.0.2:8300"')],
    "vault": [web("/v1/sys/health", status, "{}") for status in (200, 429, 473, 501, 503)],
    "activemq": [talking(_openwire)],
    "artemis": [talking(_openwire)],
    "pulsar": [
        _pulsar(b"\x08\x03\x1a\x0c\x0a\x0dPulsar Server"),
        _pulsar(b"\x08\x0e\x72\x12\x08\x00\x10\x03\x1a\x0cUnauthorized"),
    ],
    "tarantool": [talking(lambda request: b"", greeting=b"Tarantool 3.2.1 (Binary) 0fb8\n".ljust(64) + b"c2FsdA==\n".ljust(64))],
    "immudb": [_grpc(4)],
    "dgraph": [web("/health", 200, "[]")],
}

NOT_YET: dict[str, list[Handler]] = {
    "postgres": [_postgres(_postgres_error("57P03")), _postgres(_postgres_error("57P01")), _postgres(_postgres_error("53300"))],
    "cockroach": [_postgres(_postgres_error("57P03"))],
    "mariadb": [talking(lambda request: b"", greeting=_packet(b"\xff\x10\x04Too many connections"))],
    "mysql": [talking(lambda request: b"", greeting=_packet(b"\xff\x10\x04Too many connections"))],
    "mongo": [_mongo(ok=False), _mongo(setName=True, isWritablePrimary=False, secondary=False, ok=True)],
    "redis": [_word(PING, LOADING), _word(PING, b"-MASTERDOWN Link with MASTER is down\r\n")],
    "valkey": [_word(PING, LOADING)],
    "memcached": [_word(b"version\r\n", b"SERVER_ERROR out of memory\r\n")],
    "rabbitmq": [_word(b"AMQP\0\0\x09\x01", b"AMQP\0\0\x09\x01")],
    "cassandra": [_cql(0, struct.pack("!ih", 0x1002, 0)), _cql(0, struct.pack("!ih", 0x1001, 0))],
    "scylla": [_cql(0, struct.pack("!ih", 0x1002, 0))],
    "kafka": [_kafka(-1)],
    "redpanda": [_kafka(-1)],
    "zookeeper": [_word(b"srvr", b"This ZooKeeper instance is not currently serving requests\n")],
    "nats": [talking(lambda request: b"", greeting=b"-ERR 'maximum connections exceeded'\r\n")],
    "neo4j": [_bolt(b"HTTP")],
    "mssql": [_tds(0xAA)],
    "couchdb": [web("/_up", 404, '{"status":"maintenance_mode"}'), web("/_up", 503)],
    "oracle": [_tns()],
    "rethinkdb": [_word(b"\xc3\xbd\xc2\x34", b"HTTP/1.1 400 Bad Request\r\n\r\n")],
    "consul": [web("/v1/status/leader", 200, '""'), web("/v1/status/leader", 500, "No cluster leader")],
    "vault": [web("/v1/sys/health", 500), web("/v1/sys/health", 400)],
    "activemq": [talking(lambda request: b"HTTP/1.1 400 Bad Request\r\n\r\n")],
    "artemis": [talking(lambda request: b"HTTP/1.1 400 Bad Request\r\n\r\n")],
    "pulsar": [_pulsar(b"\x08\x0e\x72\x12\x08\x00\x10\x06\x1a\x09Not ready")],
    "tarantool": [talking(lambda request: b"", greeting=b"-ERR unknown\n")],
    "immudb": [_grpc(7)],
}
PATHS = {
    "elasticsearch": "/",
    "opensearch": "/",
    "clickhouse": "/ping",
    "minio": "/minio/health/ready",
    "etcd": "/health",
    "influxdb": "/ping",
    "influxdb3": "/ping",
    "solr": "/solr/admin/info/system",
    "meilisearch": "/health",
    "qdrant": "/readyz",
    "weaviate": "/v1/.well-known/ready",
    "typesense": "/health",
    "milvus": "/healthz",
    "chroma": "/api/v2/heartbeat",
    "arangodb": "/_admin/server/availability",
    "victoriametrics": "/health",
    "vmstorage": "/health",
    "questdb": "/exec?query=SELECT%201",
    "localstack": "/_localstack/health",
    "surrealdb": "/health",
    "ravendb": "/setup/alive",
    "dgraph": "/health",
}
NOT_YET |= {name: [web(path, 503), web(path, 500)] for name, path in PATHS.items()}


def cases(table: Mapping[str, Sequence[Handler]]) -> pytest.MarkDecorator:
    rows = [(name, handler, f"{name}-{number}") for name, handlers in table.items() for number, handler in enumerate(handlers)]
    return pytest.mark.parametrize(("name", "handler"), [row[:2] for row in rows], ids=[row[2] for row in rows])


def _probe(name: str) -> Probe:
    probe = ALL[name].ready
    assert probe is not None
    return probe


@cases(YES)
def test_a_probe_says_yes_to_a_server_that_works(name: str, handler: Handler) -> None:
    with serving(handler) as port:
        assert _probe(name)("127.0.0.1", port, 5.0) is True


@cases(NOT_YET)
def test_a_probe_says_no_to_a_server_that_is_not_ready_yet(name: str, handler: Handler) -> None:
    with serving(handler) as port:
        assert answer(_probe(name), port, 5.0) is False


def test_every_probe_is_tried_against_a_server_that_works_and_one_that_does_not_yet() -> None:
    asked = {name for name, datastore in ALL.items() if datastore.ready is not None}
    assert asked == set(YES)
    assert asked == set(NOT_YET)


IN_PIECES = [pytest.param(name, handlers[0], id=name) for name, handlers in YES.items()]


@pytest.mark.parametrize(("name", "handler"), IN_PIECES)
def test_a_probe_puts_together_an_answer_that_arrives_in_pieces(name: str, handler: Handler) -> None:
    def speak(connection: socket.socket) -> None:
        handler(connection)
        connection.shutdown(socket.SHUT_WR)

    def pass_on(connection: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := connection.recv(4096):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def in_pieces(connection: socket.socket) -> None:
        mine, theirs = socket.socketpair()
        with mine, theirs:
            workers = [
                threading.Thread(target=speak, args=(theirs,), daemon=True),
                threading.Thread(target=pass_on, args=(connection, mine), daemon=True),
            ]
            for worker in workers:
                worker.start()
            with contextlib.suppress(OSError):
                while data := mine.recv(3):
                    connection.sendall(data)
                    time.sleep(0.0002)
                connection.shutdown(socket.SHUT_WR)
            for worker in workers:
                worker.join(5)

    with serving(in_pieces) as port:
        assert _probe(name)("127.0.0.1", port, 5.0) is True


# --- HTTP through TLS ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server_tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server's TLS settings with a certificate that nobody has signed."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    directory = tmp_path_factory.mktemp("tls")
    key, certificate = directory / "key.pem", directory / "cert.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=es01"]
    subprocess.run([*words, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def behind_tls(context: ssl.SSLContext, handler: Handler, to_plain: bytes | None) -> Handler:
    """Serve through TLS. A client that does not speak it gets `to_plain`, or what OpenSSL has for it (an alert) if None."""

    def handle(connection: socket.socket) -> None:
        first = connection.recv(1, socket.MSG_PEEK)
        if first != b"\x16" and to_plain is not None:
            connection.sendall(to_plain)
            return
        with context.wrap_socket(connection, server_side=True) as secured:
            handler(secured)
            with contextlib.suppress(OSError):
                secured.unwrap()

    return handle


TO_PLAIN = {
    "an alert": None,
    "nothing": b"",
    "status 400": b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
}


@pytest.mark.parametrize("to_plain", TO_PLAIN.values(), ids=TO_PLAIN)
def test_a_server_that_speaks_only_tls_is_asked_through_tls(server_tls: ssl.SSLContext, to_plain: bytes | None) -> None:
    for status, expected in ((200, True), (401, True), (503, False)):
        with serving(behind_tls(server_tls, web("/", status, "{}"), to_plain)) as port:
            assert answer(elasticsearch.ready, port, 5.0) is expected


def test_a_vault_behind_tls_is_ready_when_sealed(server_tls: ssl.SSLContext) -> None:
    with serving(behind_tls(server_tls, web("/v1/sys/health", 503), TO_PLAIN["status 400"])) as port:
        assert answer(_probe("vault"), port, 5.0) is True


def test_a_server_that_is_silent_in_the_tls_handshake_is_given_up_in_time() -> None:
    def handle(connection: socket.socket) -> None:
        if connection.recv(1, socket.MSG_PEEK) == b"\x16":
            _listen_only(connection)

    with serving(handle) as port:
        began = time.monotonic()
        assert answer(elasticsearch.ready, port) is False
        assert time.monotonic() - began < 10 * TIMEOUT_S


def test_a_plain_server_that_answers_400_is_taken_at_its_word() -> None:
    with serving(web("/", 400)) as port:
        assert http_call("127.0.0.1", port, 5.0, "/")[0] == 400
        assert answer(http_or_https("/", below=500), port, 5.0) is True


def test_a_call_returns_status_and_whole_body_of_a_chunked_or_a_long_answer() -> None:
    long = "x" * 100_000
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"

    def stays_open(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(chunked)
        connection.recv(1)

    with serving(web("/long", 200, long)) as port:
        assert http_call("127.0.0.1", port, 5.0, "/long") == (200, long.encode())
    with serving(stays_open) as port:
        status, body = http_call("127.0.0.1", port, 5.0, "/")
    assert status == 200
    assert b"hello" in body


# --- bringing acknowledged writes to the disk ----------------------------------------------------------------------------------


@dataclasses.dataclass
class FakeRunning:
    """A datastore that runs on 127.0.0.1; commands in its container end with `code`."""

    service: Service
    port: int = 0
    host: str = "127.0.0.1"
    code: int = 0
    commands: list[Sequence[str]] = dataclasses.field(default_factory=list)

    def run(self, command: Sequence[str], *, user: str = "", environment: Mapping[str, str] | None = None) -> tuple[int, str]:
        self.commands.append(command)
        return self.code, "nodetool: Connection refused"


class Recorder:
    """An HTTP server that remembers its requests and answers them from a table of targets."""

    def __init__(self, pages: Mapping[str, tuple[int, str]]) -> None:
        self.requests: list[bytes] = []
        self._pages = pages

    def __call__(self, connection: socket.socket) -> None:
        request = connection.recv(4096)
        self.requests.append(request)
        status, body = self._pages.get(request.split(b" ")[1].decode(), (404, ""))
        connection.sendall(f"HTTP/1.1 {status} Whatever\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())


def _quiesce(datastore: Datastore, running: FakeRunning) -> None:
    assert datastore.quiesce is not None
    assert datastore.quiesce(running) is None


@pytest.mark.parametrize(
    ("environment", "login"),
    [
        ({}, b""),
        ({"ELASTIC_PASSWORD": "changeme"}, b"Authorization: Basic ZWxhc3RpYzpjaGFuZ2VtZQ=="),
        ({"OPENSEARCH_INITIAL_ADMIN_PASSWORD": "x"}, b"Authorization: Basic YWRtaW46eA=="),
    ],
    ids=["without login", "elastic", "admin"],
)
def test_elasticsearch_is_told_to_flush_with_the_login_that_its_settings_have(environment: dict[str, str], login: bytes) -> None:
    server = Recorder({"/_flush": (200, "{}")})
    with serving(server) as port:
        _quiesce(ALL["elasticsearch"], FakeRunning(run_by("elasticsearch:8.17.0", environment), port))
    assert server.requests[0].startswith(b"POST /_flush HTTP/1.1\r\n")
    assert login in server.requests[0]
    assert (b"Authorization" in server.requests[0]) == bool(login)


@pytest.mark.parametrize("status", [401, 403, 503])
@pytest.mark.parametrize("name", ["elasticsearch", "opensearch", "clickhouse"])
def test_a_best_effort_flush_that_is_refused_does_not_fail_the_commit(name: str, status: int) -> None:
    with serving(Recorder({"/_flush": (status, "no"), "/": (status, "no")})) as port:
        _quiesce(ALL[name], FakeRunning(run_by(name), port))


@pytest.mark.parametrize("flush", [elasticsearch.flush, clickhouse.flush_inserts], ids=["elasticsearch", "clickhouse"])
def test_a_best_effort_flush_of_a_server_that_is_gone_does_not_fail_the_commit(flush: Callable[[FakeRunning], None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    flush(FakeRunning(run_by("x"), port))


def test_clickhouse_is_told_to_write_asynchronous_inserts_as_the_user_of_its_settings() -> None:
    server = Recorder({"/": (200, "")})
    service = run_by("clickhouse:24.8", {"CLICKHOUSE_USER": "shop", "CLICKHOUSE_PASSWORD": "secret"})
    with serving(server) as port:
        _quiesce(ALL["clickhouse"], FakeRunning(service, port))
    (request,) = server.requests
    assert b"X-ClickHouse-User: shop\r\n" in request
    assert b"X-ClickHouse-Key: secret\r\n" in request
    assert request.endswith(b"\r\n\r\nSYSTEM FLUSH ASYNC INSERT QUEUE")


@pytest.mark.parametrize("name", ["cassandra", "scylla"])
def test_cassandra_and_scylla_flush_their_memtables_with_nodetool(name: str) -> None:
    running = FakeRunning(run_by(name))
    _quiesce(ALL[name], running)
    assert running.commands == [["nodetool", "flush"]]


def test_a_cassandra_that_cannot_be_flushed_fails_the_commit_and_says_why() -> None:
    with pytest.raises(DmError, match=r"memtables.*Connection refused"):
        cassandra.flush(FakeRunning(run_by("cassandra:5"), code=1))


@pytest.mark.parametrize("name", ["victoriametrics", "vmstorage"])
def test_victoriametrics_writes_its_data_by_a_snapshot_that_is_deleted_again(name: str) -> None:
    pages = {
        "/snapshot/create?authKey=k": (200, '{"status":"ok","snapshot":"20251122120000-17A0B1"}'),
        "/snapshot/delete?authKey=k&snapshot=20251122120000-17A0B1": (200, '{"status":"ok"}'),
    }
    server = Recorder(pages)
    with serving(server) as port:
        _quiesce(ALL[name], FakeRunning(run_by(name, command="-snapshotAuthKey=k"), port))
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "pages",
    [
        {},
        {"/snapshot/create?authKey=": (401, "")},
        {"/snapshot/create?authKey=": (200, '{"status":"error","msg":"no"}')},
        {"/snapshot/create?authKey=": (200, '{"snapshot":"1-A"}'), "/snapshot/delete?authKey=&snapshot=1-A": (500, "")},
    ],
    ids=["unknown", "refused", "failed", "not deleted"],
)
def test_a_victoriametrics_that_cannot_write_its_data_fails_the_commit(pages: dict[str, tuple[int, str]]) -> None:
    with serving(Recorder(pages)) as port, pytest.raises(DmError, match="could not be told to write its data"):
        victoriametrics.flush(FakeRunning(run_by("victoria-metrics"), port))


PERSISTENT = run_by("localstack/localstack-pro:4", {"PERSISTENCE": "1"})


@pytest.mark.parametrize("page", [(200, '{"service": "s3", "status": "ok"}'), (404, "")], ids=["saved", "community edition"])
def test_localstack_is_told_to_save_its_state(page: tuple[int, str]) -> None:
    server = Recorder({"/_localstack/state/save": page})
    with serving(server) as port:
        localstack.save(FakeRunning(PERSISTENT, port))
    assert server.requests[0].startswith(b"POST /_localstack/state/save HTTP/1.1\r\n")


@pytest.mark.parametrize("page", [(500, "boom"), (200, '{"service": "s3", "status": "error"}')], ids=["500", "one service"])
def test_a_localstack_that_cannot_save_its_state_fails_the_commit(page: tuple[int, str]) -> None:
    with serving(Recorder({"/_localstack/state/save": page})) as port, pytest.raises(DmError, match="could not be told to save"):
        localstack.save(FakeRunning(PERSISTENT, port))


def test_a_localstack_without_persistence_is_not_asked_to_save() -> None:
    localstack.save(FakeRunning(run_by("localstack/localstack:4")))


@pytest.mark.parametrize(
    ("service", "waits"),
    [
        (run_by("nats:2"), False),
        (run_by("nats:2", command="-js"), True),
        (run_by("surrealdb/surrealdb:v2", command="start"), False),
        (run_by("surrealdb/surrealdb:v2", command="start rocksdb:/data/db"), True),
        (run_by("redpandadata/redpanda:v24.3.1"), True),
    ],
    ids=["nats", "nats with JetStream", "surrealdb in memory", "surrealdb on disk", "redpanda"],
)
def test_a_server_that_flushes_by_itself_is_given_the_time_for_it(
    service: Service, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    found = registry().find(service)
    assert found is not None
    _quiesce(found, FakeRunning(service))
    assert bool(waited) is waits
    assert all(0.1 < seconds < 1 for seconds in waited)


# --- a real server -------------------------------------------------------------------------------------------------------------


def _postgres_binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


@contextlib.contextmanager
def _real_postgres(*settings: str, standby: bool = False) -> Iterator[int]:
    binaries = _postgres_binaries()
    user = "postgres" if os.geteuid() == 0 else None
    if binaries is None or (user is not None and user not in {entry.pw_name for entry in pwd.getpwall()}):
        pytest.skip("no PostgreSQL on this machine, or nobody to run it as")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o777)
        data = directory / "data"
        initdb = [str(binaries / "initdb"), "-D", str(data), "-A", "trust", "--no-sync"]
        subprocess.run(initdb, user=user, cwd=name, check=True, capture_output=True)
        if standby:
            (data / "standby.signal").touch()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        words = [str(binaries / "postgres"), "-D", str(data), "-p", str(port), "-k", "", "-F", "-h", "127.0.0.1"]
        words += [word for setting in settings for word in ("-c", setting)]
        server = subprocess.Popen(words, user=user, cwd=name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield port
        finally:
            server.terminate()
            server.wait(30)


def _eventually(probe: Callable[[], bool], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if probe():
            return True
        time.sleep(0.02)
    return False


def test_a_real_postgres_is_ready_when_it_takes_connections() -> None:
    with _real_postgres() as port:
        assert _eventually(lambda: answer(postgres_startup, port, 1.0), 30)


def test_a_real_postgres_that_still_recovers_is_not_ready() -> None:
    with _real_postgres("hot_standby=off", "restore_command=false", standby=True) as port:

        def listens() -> bool:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return True
            return False

        assert _eventually(listens, 30)
        assert not _eventually(lambda: answer(postgres_startup, port, 1.0), 1.0)
