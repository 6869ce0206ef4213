"""Every directory of a service is judged as people expect."""

# ruff: noqa: E501 (a row of a table is a line)

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from dm_compose.core.names import SubdotName
from dm_compose.discovery.stack_plan import StackPlan
from tests.support.capabilities import needs_compose
from tests.support.plans import HOST_DIRECTORY, declares, plan_of

pytestmark = needs_compose


# One service each, and what becomes of each of its directories. All rows are services of one project, which Compose resolves
# once. A verdict is `kind engine` of the subdot, or `not: reason`.


@dataclass(frozen=True)
class Row:
    name: str
    verdicts: Mapping[str, str]
    image: str = "example/app:1"
    volumes: tuple[str | dict[str, Any], ...] = ()
    declared: tuple[str, ...] | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        return {"image": self.image, "volumes": [self._own(v) for v in self.volumes], **self.more}

    def _own(self, volume: str | dict[str, Any]) -> str | dict[str, Any]:
        """Named volumes of a row belong to it alone."""
        if isinstance(volume, dict):
            return {**volume, "source": f"{self.name}-{volume['source']}"} if volume["type"] == "volume" else volume
        return f"{self.name}-{volume}" if ":" in volume and volume[0] not in "./~" else volume

    def keys(self) -> Iterable[str]:
        for volume in self.document()["volumes"]:
            source = volume.get("source", "") if isinstance(volume, dict) else volume.partition(":")[0]
            if source.startswith(self.name):
                yield source


def without_volume_line(image: str, *paths: str, engine: str = "", command: str = "", **environment: str) -> Row:
    """A datastore that the compose file gives no volume, on an engine that does not have its image."""
    name = "bare-" + "".join(c if c.isalnum() else "-" for c in image + command).lower()
    more: dict[str, Any] = {"environment": environment}
    if command:
        more["command"] = command
    return Row(name[:60].rstrip("-"), dict.fromkeys(paths, f"image {engine}"), image, more=more)


def cache(path: str) -> Row:
    return Row(
        "cache-" + path.strip("/").replace("/", "-").replace(".", "").lower(),
        {path: "not: dependency or build cache"},
        volumes=(f"vol:{path}",),
    )


ROWS = (
    # Durable state.
    Row("named", {"/srv/x": "named -"}, volumes=("vol:/srv/x",)),
    Row("anonymous", {"/srv/x": "anonymous -"}, volumes=("/srv/x",)),
    Row("declared", {"/srv/x": "image -"}, declared=("/srv/x",)),
    Row("declared-with-slash", {"/srv/x": "image -"}, declared=("/srv/x/",)),
    Row("declared-and-named", {"/srv/x": "named -"}, volumes=("vol:/srv/x/",), declared=("/srv/x",)),
    Row("declared-and-named-with-slash", {"/srv/x": "named -"}, volumes=("vol:/srv/x",), declared=("/srv/x/",)),
    Row("declared-and-read-only", {"/srv/x": "not: read-only mount"}, volumes=("vol:/srv/x:ro",), declared=("/srv/x",)),
    Row("declared-and-tmpfs", {"/srv/x": "not: in memory"}, declared=("/srv/x",), more={"tmpfs": ["/srv/x"]}),
    Row("uploads", {"/app/public/uploads": "named -"}, volumes=("vol:/app/public/uploads",)),
    Row("website", {"/var/www/html": "named -"}, "php:8-apache", ("vol:/var/www/html",)),
    Row("grafana", {"/var/lib/grafana": "named -"}, "grafana/grafana:11.2.0", ("vol:/var/lib/grafana",)),
    Row("prometheus", {"/prometheus": "image -"}, "prom/prometheus:v2.54.1", declared=("/prometheus",)),
    Row("jenkins", {"/var/jenkins_home": "named -"}, "jenkins/jenkins:lts", ("vol:/var/jenkins_home",)),
    Row("linuxserver-app", {"/config": "named -"}, "lscr.io/linuxserver/sonarr:latest", ("vol:/config",)),
    # Datastores with a volume line.
    Row("pg", {"/var/lib/postgresql/data": "named postgres"}, "postgres:16", ("vol:/var/lib/postgresql/data",)),
    Row("pg-anonymous", {"/var/lib/postgresql/data": "anonymous postgres"}, "postgres:16", ("/var/lib/postgresql/data",)),
    Row("pg-bind", {"/var/lib/postgresql/data": "bind postgres"}, "postgres:16", ("./pg:/var/lib/postgresql/data",)),
    Row("pg-bind-with-slash", {"/var/lib/postgresql/data": "bind postgres"}, "postgres:16", ("./pg2:/var/lib/postgresql/data/",)),
    Row("pg-bind-above", {"/var/lib/postgresql": "bind postgres"}, "postgres:16", ("./pg3:/var/lib/postgresql",)),
    Row("pg18", {"/var/lib/postgresql": "named postgres"}, "postgres:18", ("vol:/var/lib/postgresql",), ("/var/lib/postgresql",)),
    Row("pg18-below", {"/var/lib/postgresql/18/docker": "named postgres"}, "postgres:18", ("vol:/var/lib/postgresql/18/docker",)),
    Row("pg18-bind-below", {"/var/lib/postgresql/18/docker": "bind postgres"}, "postgres:18", ("./pg4:/var/lib/postgresql/18/docker",)),
    Row(
        "pg-pgdata",
        {"/data/pg": "named postgres"},
        "postgres:16",
        ("vol:/data/pg",),
        more={"environment": {"PGDATA": "/data/pg"}},
    ),
    Row(
        "pg-pgdata-below",
        {"/var/lib/postgresql/data": "named postgres"},
        "postgres:16",
        ("vol:/var/lib/postgresql/data",),
        more={"environment": {"PGDATA": "/var/lib/postgresql/data/pgdata"}},
    ),
    Row("pg-bitnami", {"/bitnami/postgresql": "named postgres"}, "bitnami/postgresql:16", ("vol:/bitnami/postgresql",)),
    Row("pg-bitnami-bind", {"/bitnami/postgresql/data": "bind postgres"}, "bitnami/postgresql:16", ("./b:/bitnami/postgresql/data",)),
    Row("pg-in-memory", {"/var/lib/postgresql/data": "not: in memory"}, "postgres:16", more={"tmpfs": ["/var/lib/postgresql/data"]}),
    Row(
        "pg-with-everything",
        {
            "/var/lib/postgresql/data": "named postgres",
            "/docker-entrypoint-initdb.d": "not: initialisation scripts",
            "/etc/postgresql/postgresql.conf": "not: configuration",
            "/var/run/postgresql": "not: sockets",
            "/backups": "named -",
        },
        "postgres:16",
        (
            "vol:/var/lib/postgresql/data",
            "./init:/docker-entrypoint-initdb.d",
            "./postgresql.conf:/etc/postgresql/postgresql.conf",
            "socket:/var/run/postgresql",
            "backups:/backups",
        ),
    ),
    Row(
        "pg-configuration-among-the-data",
        {"/var/lib/postgresql/data": "named postgres", "/var/lib/postgresql/data/pg_hba.conf": "not: configuration"},
        "postgres:16",
        ("vol:/var/lib/postgresql/data", "./pg_hba.conf:/var/lib/postgresql/data/pg_hba.conf"),
    ),
    Row(
        "redis-configuration-among-the-data",
        {"/data": "image redis", "/data/redis.conf": "not: configuration"},
        "redis:7",
        ("./redis.conf:/data/redis.conf",),
        ("/data",),
    ),
    Row(
        "redis-configuration-among-the-data-image-unknown",
        {"/data": "image redis", "/data/redis.conf": "not: configuration", "/data/users.acl": "not: read-only mount"},
        "redis:7",
        ("./redis.conf:/data/redis.conf", "./users.acl:/data/users.acl:ro"),
    ),
    Row(
        "redis-secret-among-the-data",
        {"/data": "image redis", "/data/password": "not: secret"},
        "redis:7",
        more={"secrets": [{"source": "password", "target": "/data/password"}]},
    ),
    Row(
        "rabbit-cookie-among-the-data",
        {"/var/lib/rabbitmq": "named rabbitmq", "/var/lib/rabbitmq/.erlang.cookie": f"not: {HOST_DIRECTORY}"},
        "rabbitmq:3",
        ("vol:/var/lib/rabbitmq", "./.erlang.cookie:/var/lib/rabbitmq/.erlang.cookie"),
    ),
    Row("mssql", {"/var/opt/mssql": "named mssql"}, "mcr.microsoft.com/mssql/server:2022-latest", ("vol:/var/opt/mssql",)),
    Row(
        "mongo",
        {"/data/db": "named mongo", "/data/configdb": "not: used by config servers of a sharded cluster only"},
        "mongo:7",
        ("vol:/data/db",),
        ("/data/db", "/data/configdb"),
    ),
    Row("kafka-in-tmp", {"/tmp/kraft-combined-logs": "named kafka"}, "apache/kafka:3.9.0", ("vol:/tmp/kraft-combined-logs",)),
    Row("own-name", {"/var/lib/postgresql/data": "named postgres"}, "registry.acme.io:5000/team/postgres:16-custom", ("vol:/var/lib/postgresql/data",)),
    Row("mirror", {"/data": "named redis"}, "public.ecr.aws/docker/library/redis:7", ("vol:/data",)),
    Row(
        "built-from-postgres",
        {"/var/lib/postgresql/data": "image postgres"},
        "acme/catalogue",
        declared=("/var/lib/postgresql/data",),
    ),
    # Mounts above and below what the image declares: the famous mistake with postgres before 18.
    Row(
        "pg-volume-above-the-declared-one",
        {"/var/lib/postgresql": "named postgres", "/var/lib/postgresql/data": "image postgres"},
        "postgres:16",
        ("vol:/var/lib/postgresql",),
        ("/var/lib/postgresql/data",),
    ),
    Row(
        "pg18-volume-below-the-declared-one",
        {"/var/lib/postgresql/data": "named postgres", "/var/lib/postgresql": "image postgres"},
        "postgres:18",
        ("vol:/var/lib/postgresql/data",),
        ("/var/lib/postgresql",),
    ),
    Row(
        "wordpress-bind-above-the-declared-one",
        {"/var/www": f"not: {HOST_DIRECTORY}", "/var/www/html": "image -"},
        "wordpress:6",
        ("./www:/var/www",),
        ("/var/www/html",),
    ),
    # Not state.
    Row("read-only", {"/srv/x": "not: read-only mount"}, volumes=("vol:/srv/x:ro",)),
    Row("source-code", {"/app": f"not: {HOST_DIRECTORY}"}, volumes=(".:/app",)),
    Row("uploads-on-the-host", {"/app/uploads": f"not: {HOST_DIRECTORY}"}, volumes=("./uploads:/app/uploads",)),
    Row("configuration", {"/etc/nginx/conf.d": "not: configuration"}, "nginx:1", ("./nginx:/etc/nginx/conf.d",)),
    Row("configuration-file", {"/prometheus.yml": "not: configuration"}, volumes=("./prometheus.yml:/prometheus.yml",)),
    Row("configuration-directory", {"/app/config": "not: configuration"}, volumes=("./config:/app/config",)),
    Row("dotenv", {"/app/.env": "not: configuration"}, volumes=("./.env:/app/.env",)),
    Row("init-script", {"/docker-entrypoint-initdb.d/1.sql": "not: initialisation scripts", "/var/lib/mysql": "named mysql"}, "mysql:8", ("./1.sql:/docker-entrypoint-initdb.d/1.sql", "vol:/var/lib/mysql")),
    Row("engine-socket", {"/var/run/docker.sock": "not: socket"}, volumes=("/var/run/docker.sock:/var/run/docker.sock",)),
    Row("engine-socket-elsewhere", {"/tmp/docker.sock": "not: socket"}, volumes=("/var/run/docker.sock:/tmp/docker.sock",)),
    Row("x11", {"/tmp/.X11-unix": "not: socket"}, volumes=("/tmp/.X11-unix:/tmp/.X11-unix",)),
    Row("sockets", {"/run/mysqld": "not: sockets"}, volumes=("vol:/run/mysqld",)),
    Row("clock", {"/etc/localtime": "not: clock of the host"}, volumes=("/etc/localtime:/etc/localtime",)),
    Row("clock-read-only", {"/etc/timezone": "not: read-only mount"}, volumes=("/etc/timezone:/etc/timezone:ro",)),
    Row("certificates", {"/etc/letsencrypt": "not: certificates"}, volumes=("vol:/etc/letsencrypt",)),
    Row("certificates-bind", {"/certs": "not: certificates"}, volumes=("./certs:/certs",)),
    Row("tmpfs", {"/scratch": "not: in memory"}, more={"tmpfs": ["/scratch:size=64m"]}),
    Row("tmpfs-long", {"/scratch": "not: in memory"}, volumes=({"type": "tmpfs", "target": "/scratch"},)),
    Row("secret", {"/run/secrets/password": "not: secret"}, more={"secrets": ["password"]}),
    Row("secret-elsewhere", {"/run/secrets/pw": "not: secret"}, more={"secrets": [{"source": "password", "target": "pw"}]}),
    Row("config", {"/settings": "not: configuration", "/etc/app.conf": "not: configuration"}, more={"configs": ["settings", {"source": "settings", "target": "/etc/app.conf"}]}),
    Row("temporary", {"/tmp": "not: temporary files"}, volumes=("vol:/tmp",)),
    Row("temporary-of-rails", {"/rails/tmp": "not: temporary files"}, volumes=("/rails/tmp",)),
    Row("logs", {"/var/log/nginx": "not: logs"}, volumes=("vol:/var/log/nginx",)),
    *map(
        cache,
        (
            "/app/node_modules",
            "/usr/src/app/packages/web/node_modules",
            "/src/target",
            "/root/.m2",
            "/root/.m2/repository",
            "/go/pkg/mod",
            "/root/go/pkg/mod",
            "/root/.cache",
            "/root/.cache/go-build",
            "/home/node/.npm",
            "/usr/local/share/.cache/yarn",
            "/home/app/.yarn/cache",
            "/home/gradle/.gradle",
            "/root/.gradle/caches",
            "/usr/local/cargo/registry",
            "/root/.cargo/registry",
            "/usr/local/bundle",
            "/bundle",
            "/gems",
            "/app/vendor/bundle",
            "/var/www/html/vendor",
            "/root/.composer",
            "/root/.nuget/packages",
            "/app/.venv",
            "/app/.next",
            "/app/.angular",
            "/app/.svelte-kit",
            "/root/.local/share/pnpm",
            "/pnpm-store",
            "/app/_build",
            "/app/deps",
            "/root/.mix",
            "/root/.hex",
            "/root/.pub-cache",
            "/var/cache/apt",
            "/var/lib/apt/lists",
            "/var/cache/nginx",
            "/cache",
            "/rails/tmp/cache",
            "/usr/local/lib/python3.12/site-packages",
        ),
    ),
    Row("anonymous-node-modules", {"/app": f"not: {HOST_DIRECTORY}", "/app/node_modules": "not: dependency or build cache"}, volumes=(".:/app", "/app/node_modules")),
    Row("a-cache-that-is-a-datastore", {"/data": "named redis"}, "redis:7", ("cache:/data",)),
    # Several containers.
    Row("replicas-anonymous", {"/srv/x": "not: 3 replicas have a volume each; a named volume could be a subdot"}, volumes=("/srv/x",), more={"deploy": {"replicas": 3}}),
    Row("replicas-declared", {"/data": "not: 2 replicas have a volume each; a named volume could be a subdot"}, "redis:7", (), ("/data",), {"scale": 2}),
    Row("replicas-named", {"/srv/x": "named -"}, volumes=("vol:/srv/x",), more={"deploy": {"replicas": 3}}),
    # Known datastores without any volume line and without their image: by name and version alone.
    without_volume_line("postgres:9.6", "/var/lib/postgresql/data", engine="postgres"),
    without_volume_line("postgres:17-alpine", "/var/lib/postgresql/data", engine="postgres"),
    without_volume_line("postgres:18", "/var/lib/postgresql", engine="postgres"),
    without_volume_line("postgres:18.1-bookworm", "/var/lib/postgresql", engine="postgres"),
    without_volume_line("postgres:16.4", "/srv/pg", engine="postgres", PGDATA="/srv/pg"),
    without_volume_line("postgres:16.5", "/srv/pg", engine="postgres", PGDATA="/srv/pg/"),
    without_volume_line("bitnami/postgresql:16", "/bitnami/postgresql", engine="postgres"),
    without_volume_line("bitnamilegacy/postgresql:16", "/bitnami/postgresql", engine="postgres"),
    without_volume_line("postgis/postgis:16-3.4", "/var/lib/postgresql/data", engine="postgres"),
    without_volume_line("postgis/postgis:18-3.6", "/var/lib/postgresql", engine="postgres"),
    without_volume_line("timescale/timescaledb:2.17.2-pg16", "/var/lib/postgresql/data", engine="postgres"),
    without_volume_line("timescale/timescaledb-ha:pg16", "/home/postgres/pgdata/data", engine="postgres"),
    without_volume_line("pgvector/pgvector:pg17", "/var/lib/postgresql/data", engine="postgres"),
    without_volume_line("pgvector/pgvector:0.8.1-pg18", "/var/lib/postgresql", engine="postgres"),
    without_volume_line("supabase/postgres:15.8.1.060", "/var/lib/postgresql/data", engine="postgres"),
    without_volume_line("mysql:8.4", "/var/lib/mysql", engine="mysql"),
    without_volume_line("bitnami/mysql:8.0", "/bitnami/mysql", engine="mysql"),
    without_volume_line("percona:8.0", "/var/lib/mysql", engine="mysql"),
    without_volume_line("mariadb:11", "/var/lib/mysql", engine="mariadb"),
    without_volume_line("bitnami/mariadb:11.4", "/bitnami/mariadb", engine="mariadb"),
    without_volume_line("mongo:7", "/data/db", engine="mongo"),
    without_volume_line("bitnami/mongodb:7.0", "/bitnami/mongodb", engine="mongo"),
    without_volume_line("redis:7-alpine", "/data", engine="redis"),
    without_volume_line("redis/redis-stack:latest", "/data", engine="redis"),
    without_volume_line("redis:6", "/srv/redis", engine="redis", command="redis-server --dir /srv/redis"),
    without_volume_line("bitnami/redis:7.2", "/bitnami/redis/data", engine="redis"),
    without_volume_line("valkey/valkey:8", "/data", engine="valkey"),
    without_volume_line("rabbitmq:3-management", "/var/lib/rabbitmq", engine="rabbitmq"),
    without_volume_line("bitnami/rabbitmq:3.13", "/bitnami/rabbitmq", engine="rabbitmq"),
    without_volume_line("elasticsearch:8.15.0", "/usr/share/elasticsearch/data", engine="elasticsearch"),
    without_volume_line("docker.elastic.co/elasticsearch/elasticsearch:8.15.0", "/usr/share/elasticsearch/data", engine="elasticsearch"),
    without_volume_line("opensearchproject/opensearch:2", "/usr/share/opensearch/data", engine="opensearch"),
    without_volume_line("clickhouse/clickhouse-server:24.8", "/var/lib/clickhouse", engine="clickhouse"),
    without_volume_line("cassandra:5", "/var/lib/cassandra", engine="cassandra"),
    without_volume_line("confluentinc/cp-kafka:7.6.0", "/var/lib/kafka/data", engine="kafka"),
    without_volume_line("redpandadata/redpanda:v24.2.4", "/var/lib/redpanda/data", engine="redpanda"),
    without_volume_line("nats:2.10", "/srv/nats", engine="nats", command="-js -sd /srv/nats"),
    without_volume_line("nats:2.9"),
    without_volume_line("minio/minio", "/srv/minio", engine="minio", command="server /srv/minio --console-address :9001"),
    without_volume_line("quay.io/coreos/etcd:v3.5.16", "/etcd-data", engine="etcd", command="etcd --data-dir=/etcd-data"),
    without_volume_line("couchdb:3", "/opt/couchdb/data", engine="couchdb"),
    without_volume_line("neo4j:5", "/data", engine="neo4j"),
    without_volume_line("influxdb:2.7", "/var/lib/influxdb2", engine="influxdb"),
    without_volume_line("influxdb:1.8", "/var/lib/influxdb", engine="influxdb"),
    without_volume_line("mcr.microsoft.com/mssql/server:2022-latest", "/var/opt/mssql", engine="mssql"),
    without_volume_line("cockroachdb/cockroach:v24.2.0", "/cockroach/cockroach-data", engine="cockroach", command="start-single-node --insecure"),
    without_volume_line("getmeili/meilisearch:v1.10", "/srv/meili", engine="meilisearch", MEILI_DB_PATH="/srv/meili"),
    without_volume_line("qdrant/qdrant:v1.11.0", "/qdrant/storage", engine="qdrant"),
    without_volume_line("semitechnologies/weaviate:1.26.1", "/var/lib/weaviate", engine="weaviate", PERSISTENCE_DATA_PATH="/var/lib/weaviate"),
    without_volume_line("memcached:1.6"),
    # A datastore's image that runs something else: a client, or a task for the datastore.
    Row("pg-client", {"/var/lib/postgresql/data": "not: runs pg_dump, not postgres"}, "postgres:16", (), ("/var/lib/postgresql/data",), {"command": "pg_dump -h db -f /x.sql shop"}),
    Row("mysql-client", {"/var/lib/mysql": "not: runs mysql, not mysql"}, "mysql:8", more={"entrypoint": ["mysql", "-h", "db"]}),
    Row("mongo-client", {"/data/db": "not: runs mongosh, not mongo"}, "mongo:7", more={"command": ["mongosh", "--host", "db", "--eval", "rs.initiate()"]}),
    Row(
        "kafka-topics",
        {"/var/lib/kafka/data": "not: runs kafka-topics, not kafka"},
        "confluentinc/cp-kafka:7.6.0",
        more={"entrypoint": ["/bin/sh", "-c"], "command": ["cub kafka-ready -b kafka:29092 1 20 && kafka-topics --bootstrap-server kafka:29092 --create --topic orders"]},
    ),
    Row("redis-client", {"/data": "not: runs redis-cli, not redis"}, "redis:7", more={"command": "redis-cli --cluster create a:6379 b:6379 c:6379"}),
    Row("pg-server", {"/var/lib/postgresql/data": "image postgres"}, "postgres:16", more={"command": ["postgres", "-c", "wal_level=logical"]}),
    Row("pg-server-flags", {"/var/lib/postgresql/data": "image postgres"}, "postgres:16", more={"command": "-c wal_level=logical"}),
    Row("mongo-server", {"/data/db": "image mongo"}, "mongo:7", more={"command": "mongod --replSet rs0 --bind_ip_all"}),
    Row("redis-server-and-client", {"/data": "image redis"}, "redis:7", more={"command": ["sh", "-c", "redis-server --daemonize yes && redis-cli ping && tail -f /dev/null"]}),
    Row("kafka-server-and-client", {"/var/lib/kafka/data": "image kafka"}, "confluentinc/cp-kafka:7.6.0", more={"command": ["bash", "-c", "/etc/confluent/docker/run & kafka-topics --create --topic a; wait"]}),
    Row("mysql-server", {"/var/lib/mysql": "image mysql"}, "mysql:8", more={"command": ["mysqld", "--default-authentication-plugin=mysql_native_password"]}),
)  # fmt: skip


def test_every_row_has_a_name_of_its_own() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)


@pytest.fixture(scope="module")
def one_project(tmp_path_factory: pytest.TempPathFactory) -> StackPlan:
    document = {
        "services": {row.name: row.document() for row in ROWS},
        "volumes": {key: {} for row in ROWS for key in row.keys()},  # noqa: SIM118
        "secrets": {"password": {"environment": "HOME"}},
        "configs": {"settings": {"content": "x"}},
    }
    images = {row.name: declares(row.image, *row.declared) for row in ROWS if row.declared is not None}
    images["built-from-postgres"] = declares("acme/catalogue", "/var/lib/postgresql/data", PG_MAJOR="16")
    return plan_of(tmp_path_factory.mktemp("rows"), yaml.safe_dump(document), images)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_directory_is_judged_as_people_expect(one_project: StackPlan, row: Row) -> None:
    found = {s.path: f"{s.kind.value} {s.engine or '-'}" for s in one_project.subdots if row.name in s.services}
    found |= {s.path: f"not: {s.reason}" for s in one_project.skipped if s.service == row.name}
    assert found == row.verdicts


def test_every_subdot_of_a_large_project_has_a_name_of_its_own(one_project: StackPlan) -> None:
    names = [s.name for s in one_project.subdots]
    assert len(set(names)) == len(names)
    assert all(SubdotName.parse(name) for name in names)
