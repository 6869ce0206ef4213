"""Images are known as the datastores they are, with their data paths and versions."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from dm_compose.core.containers import Image
from dm_compose.datastores import ServiceFacts
from dm_compose.datastores.registry import registry
from tests.support.answering import ALL, run_by

Known = tuple[ServiceFacts, str, tuple[str, ...], str | None]


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
    service: ServiceFacts, name: str, data: tuple[str, ...], version: str | None
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
    service = ServiceFacts(Image("ghcr.io/acme/shop-db:1", environment={marker: "1"}))
    found = registry().find(service)
    assert found is not None
    assert found.name == name


def test_no_marker_belongs_to_two_datastores() -> None:
    markers = [marker for datastore in ALL.values() for marker in datastore.markers]
    assert len(markers) == len(set(markers))


@pytest.mark.parametrize("name", ALL)
def test_a_datastore_with_a_port_has_a_probe_and_vice_versa(name: str) -> None:
    datastore = ALL[name]
    port = datastore.port_of(ServiceFacts(Image(datastore.images[0])))
    assert (port > 0) == (datastore.ready is not None)


def test_the_port_follows_the_services_settings() -> None:
    redis, influx = ALL["redis"], ALL["influxdb"]
    assert redis.port_of(ServiceFacts(Image("redis"), command=("redis-server", "--port", "6390"))) == 6390
    assert (influx.port_of(ServiceFacts(Image("influxdb:2"))), influx.port_of(ServiceFacts(Image("influxdb:3-core")))) == (
        8086,
        8181,
    )


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
