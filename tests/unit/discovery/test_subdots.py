"""What `dm-compose plan` decides, from compose files as users write them: Compose resolves them, `make_plan` judges."""

# ruff: noqa: E501 (a row of a table is a line, and so is one of a compose file)

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from dm_compose.compose import Compose, ComposeOptions
from dm_compose.core.containers import Image
from dm_compose.core.names import DotName, SubdotName
from dm_compose.core.plain import to_plain
from dm_compose.core.project import Project
from dm_compose.datastores.registry import registry
from dm_compose.discovery.plan import StackPlan
from dm_compose.discovery.subdots import make_plan
from dm_compose.errors import UsageError
from tests.support.capabilities import capabilities

pytestmark = pytest.mark.skipif(capabilities()["compose"] != "yes", reason=f"compose: {capabilities()['compose']}")
IN_VAIN = "named in x-dotmesh.include, to no effect"
HOST_DIRECTORY = "host directory: source code or files of the host; name it in x-dotmesh.include to adopt it"


@pytest.fixture(autouse=True)
def _no_choice_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COMPOSE_FILE", "COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME", "COMPOSE_ENV_FILES"):
        monkeypatch.delenv(name, raising=False)


def resolve(directory: Path, text: str, *, name: str = "shop", profiles: tuple[str, ...] = ()) -> Project:
    file = directory / "compose.yaml"
    file.write_text(text)
    return Compose(ComposeOptions(files=(str(file),), project_name=name, profiles=profiles)).project()


def plan_of(
    directory: Path, text: str, images: Mapping[str, Image] | None = None, *, name: str = "shop", profiles: tuple[str, ...] = ()
) -> StackPlan:
    return make_plan(resolve(directory, text, name=name, profiles=profiles), images or {}, registry())


def declares(reference: str, *volumes: str, **environment: str) -> Image:
    """An image as the engine knows it, with the volumes that it declares."""
    return Image(reference, digest="sha256:1", volumes=volumes, environment=environment)


def shown(plan: StackPlan) -> tuple[set[str], set[str]]:
    """The whole plan in words: subdots as `name: kind engine of services at path`, and what is skipped as `service path: reason`."""
    subdots = {f"{s.name}: {s.kind.value} {s.engine or '-'} of {','.join(s.services)} at {s.path}" for s in plan.subdots}
    skipped = {f"{s.service} {s.path}: {s.reason}" for s in plan.skipped}
    assert len(subdots) == len(plan.subdots)
    assert len({s.name for s in plan.subdots}) == len(plan.subdots), "names are unique"
    return subdots, skipped


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


# Reasons


@pytest.mark.parametrize(
    ("service", "reason"),
    [
        ("{image: 'postgres:16', volumes: ['vol:/var/lib/postgresql/data']}", "data path of postgres"),
        ("{image: 'postgres:16', volumes: ['./v:/var/lib/postgresql/data']}", "data path of postgres"),
        ("{image: 'postgres:16', volumes: ['/var/lib/postgresql/data']}", "data path of postgres"),
        ("{image: 'postgres:16'}", "data path of postgres, without a volume line"),
        ("{image: app, volumes: ['vol:/x']}", "named volume"),
        ("{image: app, volumes: [/x]}", "anonymous volume"),
        ("{image: app, volumes: ['./v:/x'], x-dotmesh: {include: true}}", "included by x-dotmesh"),
    ],
)
def test_a_subdot_says_why_it_is_one(tmp_path: Path, service: str, reason: str) -> None:
    (found,) = plan_of(tmp_path, f"services: {{s: {service}}}\nvolumes: {{vol: }}").subdots
    assert found.reason == reason


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (declares("postgres:16", "/var/lib/postgresql/data"), "data path of postgres, volume declared by the image"),
        (declares("postgres:16"), "data path of postgres, without a volume line"),
    ],
)
def test_a_subdot_says_whether_the_image_declares_it(tmp_path: Path, image: Image, reason: str) -> None:
    (found,) = plan_of(tmp_path, "services: {s: {image: 'postgres:16'}}", {"s": image}).subdots
    assert found.reason == reason


def test_an_image_volume_of_an_unknown_program_is_known_only_from_the_image(tmp_path: Path) -> None:
    text = "services: {s: {image: prom/prometheus}}"
    assert plan_of(tmp_path, text).subdots == ()
    (found,) = plan_of(tmp_path, text, {"s": declares("prom/prometheus", "/prometheus")}).subdots
    assert (found.path, found.reason) == ("/prometheus", "volume declared by the image")


# One volume, several services


def test_a_volume_of_several_services_is_one_subdot_of_all_of_them(tmp_path: Path) -> None:
    text = """
    services:
      backup: {image: backup, volumes: [pg:/backup/pg]}
      db: {image: "postgres:16", volumes: [pg:/var/lib/postgresql/data]}
      exporter: {image: exporter, volumes: [pg:/pg:ro]}
    volumes: {pg: }
    """
    (found,) = plan_of(tmp_path, text).subdots
    assert found.services == ("db", "backup", "exporter"), "who owns the data comes first, readers last"
    assert (found.path, found.engine, found.volume) == ("/var/lib/postgresql/data", "postgres", "shop_pg")


def test_a_read_only_user_of_a_state_volume_is_no_skipped_mount(tmp_path: Path) -> None:
    text = "services: {a: {image: a, volumes: ['vol:/v']}, web: {image: nginx, volumes: ['vol:/srv:ro']}}\nvolumes: {vol: }"
    assert shown(plan_of(tmp_path, text)) == ({"vol: named - of a,web at /v"}, set())


@pytest.mark.parametrize("path", ["/srv/cache", "/certs", "/run/x", "/tmp/x"])
def test_every_user_of_a_state_volume_is_told_wherever_it_mounts_it(tmp_path: Path, path: str) -> None:
    text = f"""
    services:
      db: {{image: "postgres:16", volumes: [pg:/var/lib/postgresql/data]}}
      other: {{image: other, volumes: ["pg:{path}"]}}
    volumes: {{pg: }}
    """
    assert shown(plan_of(tmp_path, text)) == ({"pg: named postgres of db,other at /var/lib/postgresql/data"}, set())


def test_every_user_of_a_state_directory_of_the_host_is_told(tmp_path: Path) -> None:
    text = """
    services:
      backup: {image: backup, volumes: ["./pg:/backup/pg"]}
      db: {image: "postgres:16", volumes: ["./pg:/var/lib/postgresql/data"]}
      reader: {image: reader, volumes: ["./pg:/pg:ro"]}
    """
    assert shown(plan_of(tmp_path, text)) == ({"db: bind postgres of db,backup,reader at /var/lib/postgresql/data"}, set())


def test_a_volume_that_only_caches_for_several_services_is_no_subdot(tmp_path: Path) -> None:
    text = "services: {a: {image: a, volumes: ['nm:/a/node_modules']}, b: {image: b, volumes: ['nm:/b/node_modules']}}\nvolumes: {nm: }"
    subdots, skipped = shown(plan_of(tmp_path, text))
    assert subdots == set()
    assert skipped == {"a /a/node_modules: dependency or build cache", "b /b/node_modules: dependency or build cache"}


def test_two_keys_of_one_volume_are_one_subdot(tmp_path: Path) -> None:
    text = """
    services: {a: {image: a, volumes: ["one:/a"]}, b: {image: b, volumes: ["two:/b"]}}
    volumes: {one: {name: same}, two: {name: same}}
    """
    assert shown(plan_of(tmp_path, text)) == ({"one: named - of a,b at /a"}, set())


def test_a_service_that_takes_the_volumes_of_another_uses_its_subdots(tmp_path: Path) -> None:
    text = """
    services:
      db: {image: "postgres:16", volumes: ["pg:/var/lib/postgresql/data", /scratch]}
      backup: {image: backup, volumes_from: ["db:ro"]}
    volumes: {pg: }
    """
    subdots, _ = shown(plan_of(tmp_path, text))
    assert subdots == {"pg: named postgres of db,backup at /var/lib/postgresql/data", "db: anonymous - of db at /scratch"}


# External volumes, and volumes that cannot be reached


def test_an_external_volume_is_listed_but_not_adopted_without_being_named(tmp_path: Path) -> None:
    text = "services: {db: {image: 'postgres:16', volumes: ['pg:/var/lib/postgresql/data']}}\nvolumes: {pg: {external: true, name: prod}}"
    assert shown(plan_of(tmp_path, text)) == (
        set(),
        {"db /var/lib/postgresql/data: external volume; name it in x-dotmesh.include to adopt it"},
    )


@pytest.mark.parametrize(
    ("top", "on_service", "on_volume"),
    [
        ("x-dotmesh: {include: [pg]}", "", ""),
        ("x-dotmesh: {include: ['db:/var/lib/postgresql/data']}", "", ""),
        ("x-dotmesh: {include: [db]}", "", ""),
        ("", ", x-dotmesh: {include: true}", ""),
        ("", ", x-dotmesh: {include: [/var/lib/postgresql/data/]}", ""),
        ("", "", ", x-dotmesh: {include: true}"),
    ],
)
def test_an_external_volume_that_is_named_is_adopted_under_its_own_name(
    tmp_path: Path, top: str, on_service: str, on_volume: str
) -> None:
    text = f"""{top}
services: {{db: {{image: "postgres:16", volumes: ["pg:/var/lib/postgresql/data"]{on_service}}}}}
volumes: {{pg: {{external: true, name: prod{on_volume}}}}}
"""
    (found,) = plan_of(tmp_path, text).subdots
    assert (found.name, found.volume, found.engine) == ("pg", "prod", "postgres")


@pytest.mark.parametrize(
    ("volume", "reason"),
    [
        ("{driver: rexray}", "volume driver rexray is not supported"),
        ("{driver_opts: {type: nfs, o: 'addr=1.2.3.4,rw', device: ':/x'}}", "network volume (nfs) is not supported"),
        ("{driver_opts: {type: nfs4, o: 'addr=1.2.3.4,rw', device: ':/x'}}", "network volume (nfs4) is not supported"),
        ("{driver_opts: {type: cifs, o: 'addr=1.2.3.4', device: '//h/x'}}", "network volume (cifs) is not supported"),
        ("{driver_opts: {type: tmpfs, device: tmpfs}}", "in memory"),
        ("{driver_opts: {type: ext4, device: /dev/sdb1}}", "volume of type ext4 is not supported"),
    ],
)
def test_a_volume_that_cannot_be_reached_is_not_adopted_even_if_named(tmp_path: Path, volume: str, reason: str) -> None:
    text = f"x-dotmesh: {{include: [vol]}}\nservices: {{s: {{image: 'redis:7', volumes: ['vol:/data']}}}}\nvolumes: {{vol: {volume}}}"
    assert shown(plan_of(tmp_path, text)) == (set(), {f"s /data: {reason}; {IN_VAIN}"})


def test_a_volume_that_is_a_directory_of_the_host_is_an_ordinary_one(tmp_path: Path) -> None:
    text = """
    services: {s: {image: "redis:7", volumes: ["vol:/data"]}}
    volumes: {vol: {driver: local, driver_opts: {type: none, o: bind, device: /srv/redis}}}
    """
    assert shown(plan_of(tmp_path, text))[0] == {"vol: named redis of s at /data"}


# Volumes of the ancestor's driver


def test_volumes_of_the_driver_dm_name_the_dot_and_its_subdots(tmp_path: Path) -> None:
    text = """
    services:
      carts-db: {image: "mongo:3.4", volumes: ["sockshop.carts:/data/db"]}
      catalogue-db: {image: weaveworksdemos/catalogue-db, volumes: ["sockshop.catalogue:/var/lib/mysql"]}
    volumes: {sockshop.carts: {driver: dm}, sockshop.catalogue: {driver: dm}}
    """
    plan = plan_of(tmp_path, text, name="demo")
    assert plan.dot == "demo_sockshop", "Compose puts the project before the name, as it did for the ancestor"
    assert [(s.name, s.volume, s.engine) for s in plan.subdots] == [
        ("carts", "demo_sockshop.carts", "mongo"),
        ("catalogue", "demo_sockshop.catalogue", "mysql"),
    ]


def test_a_volume_of_the_driver_dm_with_a_fixed_name_names_the_dot_exactly(tmp_path: Path) -> None:
    text = "services: {s: {image: s, volumes: ['vol:/v']}}\nvolumes: {vol: {driver: dm, name: sockshop.orders}}"
    plan = plan_of(tmp_path, text)
    assert (plan.dot, [s.name for s in plan.subdots]) == ("sockshop", ["orders"])


def test_a_volume_of_the_driver_dm_without_a_subdot_is_the_default_one(tmp_path: Path) -> None:
    text = "services: {s: {image: s, volumes: ['vol:/v']}}\nvolumes: {vol: {driver: dm, name: sockshop}}"
    plan = plan_of(tmp_path, text)
    assert (plan.dot, [s.name for s in plan.subdots]) == ("sockshop", ["__default__"])


def test_volumes_of_the_driver_dm_that_name_two_dots_are_refused(tmp_path: Path) -> None:
    text = """
    services: {s: {image: s, volumes: ["one:/1", "two:/2"]}}
    volumes: {one: {driver: dm, name: a.x}, two: {driver: dm, name: b.y}}
    """
    with pytest.raises(UsageError, match="several dots: a, b"):
        plan_of(tmp_path, text)


def test_an_ordinary_volume_does_not_take_the_name_that_a_volume_of_the_driver_dm_has(tmp_path: Path) -> None:
    text = """
    services: {s: {image: s, volumes: ["db:/1", "shop.db:/2"]}}
    volumes: {db: , shop.db: {driver: dm, name: shop.db}}
    """
    plan = plan_of(tmp_path, text)
    assert plan.subdot("db") is not None
    assert plan.subdot("db").volume == "shop.db"  # type: ignore[union-attr]
    assert len({s.name for s in plan.subdots}) == 2


# Names


def test_a_subdot_is_named_after_its_volume_else_after_its_service(tmp_path: Path) -> None:
    text = """
    services:
      cache: {image: "redis:7"}
      db: {image: "postgres:16", volumes: ["./pg:/var/lib/postgresql/data"]}
      queue: {image: "rabbitmq:3", volumes: ["messages:/var/lib/rabbitmq"]}
      web: {image: web, volumes: [/uploads]}
    volumes: {messages: }
    """
    plan = plan_of(tmp_path, text)
    assert {s.name: s.volume for s in plan.subdots} == {
        "cache": "shop_dm-cache",
        "db": None,
        "messages": "shop_messages",
        "web": "shop_dm-web",
    }


def test_a_datastore_keeps_its_subdots_name_when_another_volume_is_added_to_its_service(tmp_path: Path) -> None:
    """Its volume, and its past commits, are found by this name."""
    before = plan_of(tmp_path, "services: {db: {image: 'redis:7'}}")
    after = plan_of(tmp_path, "services: {db: {image: 'redis:7', volumes: [/extra]}}")
    assert [(s.name, s.volume) for s in before.subdots] == [("db", "shop_dm-db")]
    assert {s.path: (s.name, s.volume) for s in after.subdots} == {
        "/data": ("db", "shop_dm-db"),
        "/extra": ("db-extra", "shop_dm-db-extra"),
    }


@pytest.mark.parametrize(
    "text",
    [
        "services: {db: {image: 'redis:7', volumes: ['db:/backup']}}\nvolumes: {db: }",
        "services: {db: {image: a, volumes: [/a/b, /a-b]}}",
        "services: {db: {image: a, volumes: [/x/y, /z]}, db-x: {image: a, volumes: [/y, /z]}}",
        "services: {db: {image: a, volumes: [/x/y, /z, 'db-x-y:/n']}}\nvolumes: {db-x-y: }",
        "services: {db: {image: a, volumes: [/x, /y]}, a: {image: a, volumes: ['dm-db-x:/n']}}\nvolumes: {dm-db-x: }",
        f"services: {{db: {{image: a, volumes: [/{'x' * 120}/a, /{'x' * 120}/b]}}}}",
        "services: {-db: {image: a, volumes: [/x, '-vol:/y', '.vol:/z']}}\nvolumes: {-vol: , .vol: }",
        f"services: {{a: {{image: a, volumes: ['{'v' * 120}a:/x', '{'v' * 120}b:/y']}}}}\nvolumes: {{{'v' * 120}a: , {'v' * 120}b: }}",
    ],
)
def test_names_and_volumes_of_subdots_are_unique_whatever_things_are_called(tmp_path: Path, text: str) -> None:
    plan = plan_of(tmp_path, text)
    assert len(plan.subdots) > 1
    assert len({s.name for s in plan.subdots}) == len(plan.subdots)
    assert len({s.volume for s in plan.subdots}) == len(plan.subdots)
    assert all(SubdotName.parse(s.name) for s in plan.subdots)


def test_the_dot_is_named_after_the_project(tmp_path: Path) -> None:
    assert plan_of(tmp_path, "services: {a: {image: a}}", name="my-shop_2").dot == DotName("my-shop_2")


# Services without an image, and profiles


def test_a_service_that_is_built_is_judged_by_its_volumes_alone(tmp_path: Path) -> None:
    text = "services: {postgres: {build: ., volumes: ['vol:/var/lib/postgresql/data', .:/app]}}\nvolumes: {vol: }"
    assert shown(plan_of(tmp_path, text)) == (
        {"vol: named - of postgres at /var/lib/postgresql/data"},
        {f"postgres /app: {HOST_DIRECTORY}"},
    )


def test_a_service_that_was_built_is_judged_by_the_image_that_came_out(tmp_path: Path) -> None:
    built = declares("shop-db", "/var/lib/postgresql/data", PG_MAJOR="17", PGDATA="/var/lib/postgresql/data")
    assert shown(plan_of(tmp_path, "services: {db: {build: .}}", {"db": built}))[0] == {
        "db: image postgres of db at /var/lib/postgresql/data"
    }


PROFILES = """
x-dotmesh: {exclude: [mail, mailer, "mailer:/spool"]}
services:
  db: {image: "redis:7"}
  mailer: {image: mailer, profiles: [debug], volumes: [mail:/mail, other:/other]}
volumes: {mail: , other: }
"""


def test_a_service_of_a_profile_that_is_not_enabled_is_no_part_of_the_stack(tmp_path: Path) -> None:
    assert shown(plan_of(tmp_path, PROFILES)) == ({"db: image redis of db at /data"}, set())


def test_a_setting_may_name_a_volume_or_service_of_a_profile_that_is_not_enabled(tmp_path: Path) -> None:
    plan_of(tmp_path, PROFILES)
    with pytest.raises(UsageError, match="mial"):
        plan_of(tmp_path, PROFILES.replace("[mail,", "[mial,"))


def test_a_profile_that_is_enabled_brings_its_services_state(tmp_path: Path) -> None:
    text = PROFILES.replace(', mailer, "mailer:/spool"', "")
    assert shown(plan_of(tmp_path, text, profiles=("debug",))) == (
        {"db: image redis of db at /data", "other: named - of mailer at /other"},
        {"mailer /mail: excluded by x-dotmesh"},
    )


# Settings in the file


@pytest.mark.parametrize(
    ("top", "on_web", "on_volume", "subdots"),
    [
        ("", "", "", {"up", "web"}),
        ("exclude: [up]", "", "", {"web"}),
        ("exclude: ['web:/scratch']", "", "", {"up"}),
        ("exclude: ['web:/scratch/']", "", "", {"up"}),
        ("exclude: [web]", "", "", set()),
        ("", "exclude: true", "", set()),
        ("", "exclude: false", "", {"up", "web"}),
        ("", "exclude: [/up]", "", {"web"}),
        ("", "", "exclude: true", {"web"}),
        ("include: ['web:/src']", "", "", {"up", "web-scratch", "web-src"}),
        ("", "include: [/src, /app/node_modules]", "", {"up", "node", "web-scratch", "web-src"}),
        ("", "include: true", "", {"up", "node", "web-scratch", "web-src"}),
        ("include: [node]", "", "", {"up", "node", "web"}),
        ("include: [up], exclude: [up]", "", "", {"web"}),
    ],
)
def test_settings_of_the_file_overrule_the_judgement(
    tmp_path: Path, top: str, on_web: str, on_volume: str, subdots: set[str]
) -> None:
    text = f"""
    x-dotmesh: {{{top}}}
    services:
      web:
        image: web
        volumes: [up:/up, node:/app/node_modules, /scratch, ./src:/src]
        x-dotmesh: {{{on_web}}}
    volumes: {{up: {{x-dotmesh: {{{on_volume}}}}}, node: }}
    """
    assert {str(s.name) for s in plan_of(tmp_path, text).subdots} == subdots


def test_including_a_whole_service_adopts_neither_sockets_nor_the_clock(tmp_path: Path) -> None:
    text = """
    services:
      a:
        image: a
        volumes: [/var/run/docker.sock:/var/run/docker.sock, /etc/localtime:/etc/localtime, ./data:/data]
        x-dotmesh: {include: true}
    """
    assert shown(plan_of(tmp_path, text)) == (
        {"a: bind - of a at /data"},
        {"a /var/run/docker.sock: socket", "a /etc/localtime: clock of the host"},
    )


def test_what_is_excluded_is_listed_with_that_reason(tmp_path: Path) -> None:
    text = "x-dotmesh: {exclude: [vol]}\nservices: {a: {image: a, volumes: ['vol:/v']}}\nvolumes: {vol: }"
    assert shown(plan_of(tmp_path, text)) == (set(), {"a /v: excluded by x-dotmesh"})


def test_a_path_that_is_included_and_mounted_nowhere_is_shown(tmp_path: Path) -> None:
    text = "x-dotmesh: {include: ['a:/uplaods']}\nservices: {a: {image: a, volumes: ['./u:/uploads']}}"
    assert "a /uplaods: named in x-dotmesh.include, but nothing is mounted there" in shown(plan_of(tmp_path, text))[1]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("volumes: ['vol:/x:ro']", "read-only mount"),
        ("volumes: ['./x:/x:ro']", "read-only mount"),
        ("volumes: [/x], deploy: {replicas: 2}", "2 replicas have a volume each; a named volume could be a subdot"),
        ("tmpfs: [/x]", "in memory"),
        ("volumes: [{type: tmpfs, target: /x}]", "in memory"),
    ],
)
@pytest.mark.parametrize("include", ["[web]", "['web:/x']", "['web:/x', vol]"])
def test_a_mount_that_is_included_but_cannot_be_a_subdot_says_both(tmp_path: Path, more: str, reason: str, include: str) -> None:
    text = f"""
    x-dotmesh: {{include: {include}}}
    services: {{web: {{image: web, {more}}}, other: {{image: other, volumes: ["vol:/deps/node_modules:ro"]}}}}
    volumes: {{vol: }}
    """
    found = shown(plan_of(tmp_path, text))
    assert found[0] == set()
    assert {line for line in found[1] if line.startswith("web")} == {f"web /x: {reason}; {IN_VAIN}"}


def test_a_socket_says_that_it_was_included_where_it_was_named_itself(tmp_path: Path) -> None:
    text = """
    x-dotmesh: {include: ["a:/var/run/docker.sock"]}
    services: {a: {image: a, volumes: [/var/run/docker.sock:/var/run/docker.sock]}}
    """
    assert shown(plan_of(tmp_path, text)) == (set(), {f"a /var/run/docker.sock: socket; {IN_VAIN}"})


def test_a_read_only_mount_of_what_is_a_subdot_is_included_with_it(tmp_path: Path) -> None:
    text = """
    x-dotmesh: {include: ["web:/up"]}
    services: {app: {image: app, volumes: ["up:/up"]}, web: {image: web, volumes: ["up:/up:ro"]}}
    volumes: {up: }
    """
    assert shown(plan_of(tmp_path, text))[1] == set()


def test_a_service_may_say_which_datastore_it_is_or_that_it_is_none(tmp_path: Path) -> None:
    text = """
    services:
      db: {image: "acme/ledger:3", volumes: ["pg:/var/lib/postgresql/data"], x-dotmesh: {engine: postgres}}
      no: {image: "redis:7", x-dotmesh: {engine: none}}
    volumes: {pg: }
    """
    assert shown(plan_of(tmp_path, text)) == ({"pg: named postgres of db at /var/lib/postgresql/data"}, set())


def test_the_dot_may_be_named_in_the_file(tmp_path: Path) -> None:
    assert plan_of(tmp_path, "x-dotmesh: {dot: acme}\nservices: {a: {image: a}}").dot == "acme"


# A task that another service waits for


def test_a_datastores_image_in_a_task_that_ends_has_no_state(tmp_path: Path) -> None:
    text = """
    services:
      setup: {image: "elasticsearch:8.15.0", command: [bash, /setup.sh]}
      es: {image: "elasticsearch:8.15.0", depends_on: {setup: {condition: service_completed_successfully}}}
    """
    assert shown(plan_of(tmp_path, text)) == (
        {"es: image elasticsearch of es at /usr/share/elasticsearch/data"},
        {"setup /usr/share/elasticsearch/data: a task that ends, not elasticsearch"},
    )


# Stacks as they are found in the wild: everything that is state, and everything that is not


@dataclass(frozen=True)
class Wild:
    text: str
    subdots: set[str]
    skipped: set[str]
    images: Mapping[str, Image] = field(default_factory=dict)


WORDPRESS = Wild(
    """
services:
  wordpress:
    image: wordpress:6-php8.3-apache
    restart: always
    ports: ["8080:80"]
    environment: {WORDPRESS_DB_HOST: db, WORDPRESS_DB_USER: exampleuser, WORDPRESS_DB_PASSWORD: examplepass, WORDPRESS_DB_NAME: exampledb}
    volumes:
      - wordpress:/var/www/html
      - ./uploads.ini:/usr/local/etc/php/conf.d/uploads.ini
  db:
    image: mysql:8.0
    restart: always
    environment: {MYSQL_DATABASE: exampledb, MYSQL_RANDOM_ROOT_PASSWORD: '1'}
    volumes: ["db:/var/lib/mysql"]
  cli:
    image: wordpress:cli
    volumes: ["wordpress:/var/www/html"]
volumes: {wordpress: , db: }
""",
    {"wordpress: named - of cli,wordpress at /var/www/html", "db: named mysql of db at /var/lib/mysql"},
    {"wordpress /usr/local/etc/php/conf.d/uploads.ini: configuration"},
    {
        "wordpress": declares("wordpress:6-php8.3-apache", "/var/www/html"),
        "db": declares("mysql:8.0", "/var/lib/mysql"),
        "cli": declares("wordpress:cli", "/var/www/html"),
    },
)

NEXTCLOUD = Wild(
    """
services:
  db:
    image: postgres:16-alpine
    restart: always
    volumes: ["db:/var/lib/postgresql/data:Z"]
    env_file: [{path: db.env, required: false}]
  redis:
    image: redis:alpine
    restart: always
  app:
    image: nextcloud:fpm-alpine
    volumes: ["nextcloud:/var/www/html:z"]
    depends_on: [db, redis]
  web:
    build: ./web
    volumes: ["nextcloud:/var/www/html:z,ro"]
    environment: [VIRTUAL_HOST=, LETSENCRYPT_HOST=]
  cron:
    image: nextcloud:fpm-alpine
    volumes: ["nextcloud:/var/www/html:z"]
    entrypoint: /cron.sh
  proxy:
    build: ./proxy
    ports: ["80:80", "443:443"]
    volumes:
      - certs:/etc/nginx/certs:z,ro
      - vhost.d:/etc/nginx/vhost.d:z
      - html:/usr/share/nginx/html:z
      - /var/run/docker.sock:/tmp/docker.sock:z,ro
  letsencrypt-companion:
    image: nginxproxy/acme-companion
    volumes:
      - certs:/etc/nginx/certs:z
      - acme:/etc/acme.sh:z
      - vhost.d:/etc/nginx/vhost.d:z
      - html:/usr/share/nginx/html:z
      - /var/run/docker.sock:/var/run/docker.sock:z,ro
volumes: {db: , nextcloud: , certs: , acme: , vhost.d: , html: }
""",
    {
        "db: named postgres of db at /var/lib/postgresql/data",
        "redis: image redis of redis at /data",
        "nextcloud: named - of app,cron,web at /var/www/html",
        "acme: named - of letsencrypt-companion at /etc/acme.sh",
        "vhost.d: named - of letsencrypt-companion,proxy at /etc/nginx/vhost.d",
        "html: named - of letsencrypt-companion,proxy at /usr/share/nginx/html",
    },
    {
        "proxy /etc/nginx/certs: read-only mount",
        "proxy /tmp/docker.sock: read-only mount",
        "letsencrypt-companion /etc/nginx/certs: certificates",
        "letsencrypt-companion /var/run/docker.sock: read-only mount",
    },
    {
        "db": declares("postgres:16-alpine", "/var/lib/postgresql/data"),
        "redis": declares("redis:alpine", "/data"),
        "app": declares("nextcloud:fpm-alpine", "/var/www/html"),
        "cron": declares("nextcloud:fpm-alpine", "/var/www/html"),
    },
)

GITEA = Wild(
    """
networks: {gitea: {external: false}}
services:
  server:
    image: docker.gitea.com/gitea:1.22.2
    environment: [USER_UID=1000, USER_GID=1000, GITEA__database__DB_TYPE=postgres, "GITEA__database__HOST=db:5432"]
    networks: [gitea]
    volumes:
      - gitea:/data
      - /etc/timezone:/etc/timezone:ro
      - /etc/localtime:/etc/localtime:ro
    ports: ["3000:3000", "222:22"]
  db:
    image: postgres:14
    networks: [gitea]
    volumes: ["./postgres:/var/lib/postgresql/data"]
volumes: {gitea: }
""",
    {"gitea: named - of server at /data", "db: bind postgres of db at /var/lib/postgresql/data"},
    {"server /etc/timezone: read-only mount", "server /etc/localtime: read-only mount"},
)

SENTRY = Wild(
    """
x-dotmesh: {include: [sentry-data, sentry-postgres, sentry-redis, sentry-kafka, sentry-clickhouse]}
x-sentry-defaults: &sentry_defaults
  image: sentry-self-hosted-local
  build: {context: ./sentry}
  depends_on: [redis, kafka, postgres, memcached, smtp, clickhouse]
  entrypoint: "/etc/sentry/entrypoint.sh"
  command: ["run", "web"]
  volumes:
    - "sentry-data:/data"
    - "./sentry:/etc/sentry"
    - "./geoip:/geoip:ro"
    - "./certificates:/usr/local/share/ca-certificates:ro"
services:
  smtp:
    image: registry.gitlab.com/egos-tech/smtp
    volumes: ["sentry-smtp:/var/spool/exim4", "sentry-smtp-log:/var/log/exim4"]
  memcached:
    image: "memcached:1.6.26-alpine"
    command: ["-I", "1M"]
  redis:
    image: "redis:6.2.14-alpine"
    volumes: ["sentry-redis:/data", {type: bind, read_only: true, source: ./redis.conf, target: /usr/local/etc/redis/redis.conf}]
    command: ["redis-server", "/usr/local/etc/redis/redis.conf"]
  postgres:
    image: "postgres:14.11"
    command: ["postgres", "-c", "max_connections=100"]
    volumes: ["sentry-postgres:/var/lib/postgresql/data"]
  kafka:
    image: "confluentinc/cp-kafka:7.6.1"
    environment: {KAFKA_PROCESS_ROLES: "broker,controller", CLUSTER_ID: MkU3OEVBNTcwNTJENDM2Qk}
    volumes: ["sentry-kafka:/var/lib/kafka/data", "sentry-kafka-log:/var/lib/kafka/log", "sentry-secrets:/etc/kafka/secrets"]
  clickhouse:
    image: altinity/clickhouse-server:23.8.11.29.altinitystable
    volumes:
      - sentry-clickhouse:/var/lib/clickhouse
      - sentry-clickhouse-log:/var/log/clickhouse-server
      - {type: bind, read_only: true, source: ./clickhouse/config.xml, target: /etc/clickhouse-server/config.d/sentry.xml}
  web: {<<: *sentry_defaults, healthcheck: {test: ["CMD", "curl", "http://localhost:9000/_health/"]}}
  worker: {<<: *sentry_defaults, command: run worker}
  nginx:
    image: "nginx:1.25.4-alpine"
    volumes:
      - {type: bind, read_only: true, source: ./nginx, target: /etc/nginx}
      - sentry-nginx-cache:/var/cache/nginx
      - sentry-nginx-www:/var/www
volumes:
  sentry-data: {external: true}
  sentry-postgres: {external: true}
  sentry-redis: {external: true}
  sentry-kafka: {external: true}
  sentry-clickhouse: {external: true}
  sentry-smtp:
  sentry-smtp-log:
  sentry-kafka-log:
  sentry-secrets:
  sentry-clickhouse-log:
  sentry-nginx-cache:
  sentry-nginx-www:
""",
    {
        "sentry-data: named - of web,worker at /data",
        "sentry-postgres: named postgres of postgres at /var/lib/postgresql/data",
        "sentry-redis: named redis of redis at /data",
        "sentry-kafka: named kafka of kafka at /var/lib/kafka/data",
        "sentry-kafka-log: named - of kafka at /var/lib/kafka/log",
        "sentry-clickhouse: named clickhouse of clickhouse at /var/lib/clickhouse",
        "sentry-smtp: named - of smtp at /var/spool/exim4",
        "sentry-nginx-www: named - of nginx at /var/www",
    },
    {
        *(f"{service} /etc/sentry: configuration" for service in ("web", "worker")),
        *(f"{service} /geoip: read-only mount" for service in ("web", "worker")),
        *(f"{service} /usr/local/share/ca-certificates: read-only mount" for service in ("web", "worker")),
        "kafka /etc/kafka/secrets: keys and passwords that the user provides",
        "redis /usr/local/etc/redis/redis.conf: read-only mount",
        "clickhouse /etc/clickhouse-server/config.d/sentry.xml: read-only mount",
        "clickhouse /var/log/clickhouse-server: logs",
        "smtp /var/log/exim4: logs",
        "nginx /etc/nginx: read-only mount",
        "nginx /var/cache/nginx: dependency or build cache",
    },
)

ELASTIC = Wild(
    """
services:
  setup:
    image: docker.elastic.co/elasticsearch/elasticsearch:8.15.0
    user: "0"
    volumes: ["certs:/usr/share/elasticsearch/config/certs"]
    command: >
      bash -c '
        if [ ! -f config/certs/ca.zip ]; then
          bin/elasticsearch-certutil ca --silent --pem -out config/certs/ca.zip;
          unzip config/certs/ca.zip -d config/certs;
        fi;
        until curl -s --cacert config/certs/ca/ca.crt https://es01:9200 | grep -q "missing authentication credentials"; do sleep 30; done;
        echo "All done!";
      '
    healthcheck: {test: ["CMD-SHELL", "[ -f config/certs/es01/es01.crt ]"], interval: 1s}
  es01:
    depends_on: {setup: {condition: service_healthy}}
    image: docker.elastic.co/elasticsearch/elasticsearch:8.15.0
    volumes:
      - certs:/usr/share/elasticsearch/config/certs
      - esdata01:/usr/share/elasticsearch/data
    environment: [node.name=es01, discovery.type=single-node]
  kibana:
    image: docker.elastic.co/kibana/kibana:8.15.0
    volumes:
      - certs:/usr/share/kibana/config/certs
      - kibanadata:/usr/share/kibana/data
  metricbeat01:
    image: docker.elastic.co/beats/metricbeat:8.15.0
    user: root
    volumes:
      - certs:/usr/share/metricbeat/certs
      - metricbeatdata01:/usr/share/metricbeat/data
      - "./metricbeat.yml:/usr/share/metricbeat/metricbeat.yml:ro"
      - "/var/run/docker.sock:/var/run/docker.sock:ro"
      - "/sys/fs/cgroup:/hostfs/sys/fs/cgroup:ro"
      - "/:/hostfs:ro"
  logstash01:
    image: docker.elastic.co/logstash/logstash:8.15.0
    volumes:
      - certs:/usr/share/logstash/certs
      - logstashdata01:/usr/share/logstash/data
      - "./logstash_ingest_data/:/usr/share/logstash/ingest_data/"
      - "./logstash.conf:/usr/share/logstash/pipeline/logstash.conf:ro"
volumes: {certs: , esdata01: , kibanadata: , metricbeatdata01: , logstashdata01: }
""",
    {
        "esdata01: named elasticsearch of es01 at /usr/share/elasticsearch/data",
        "kibanadata: named - of kibana at /usr/share/kibana/data",
        "metricbeatdata01: named - of metricbeat01 at /usr/share/metricbeat/data",
        "logstashdata01: named - of logstash01 at /usr/share/logstash/data",
    },
    {
        "setup /usr/share/elasticsearch/config/certs: certificates",
        "setup /usr/share/elasticsearch/data: runs curl, not elasticsearch",
        "es01 /usr/share/elasticsearch/config/certs: certificates",
        "kibana /usr/share/kibana/config/certs: certificates",
        "metricbeat01 /usr/share/metricbeat/certs: certificates",
        "metricbeat01 /usr/share/metricbeat/metricbeat.yml: read-only mount",
        "metricbeat01 /var/run/docker.sock: read-only mount",
        "metricbeat01 /hostfs/sys/fs/cgroup: read-only mount",
        "metricbeat01 /hostfs: read-only mount",
        "logstash01 /usr/share/logstash/certs: certificates",
        f"logstash01 /usr/share/logstash/ingest_data: {HOST_DIRECTORY}",
        "logstash01 /usr/share/logstash/pipeline/logstash.conf: read-only mount",
    },
)

MONITORING = Wild(
    """
services:
  prometheus:
    image: prom/prometheus:v2.54.1
    volumes:
      - ./prometheus:/etc/prometheus
      - prometheus_data:/prometheus
    command: ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
  alertmanager:
    image: prom/alertmanager:v0.27.0
    volumes: ["./alertmanager:/etc/alertmanager"]
  nodeexporter:
    image: prom/node-exporter:v1.8.2
    volumes: ["/proc:/host/proc:ro", "/sys:/host/sys:ro", "/:/rootfs:ro"]
  cadvisor:
    image: gcr.io/cadvisor/cadvisor:v0.49.1
    privileged: true
    devices: ["/dev/kmsg:/dev/kmsg"]
    volumes:
      - /:/rootfs:ro
      - /var/run:/var/run:ro
      - /sys:/sys:ro
      - /var/lib/docker/:/var/lib/docker:ro
  grafana:
    image: grafana/grafana:11.2.0
    volumes:
      - grafana_data:/var/lib/grafana
      - ./grafana/provisioning/dashboards:/etc/grafana/provisioning/dashboards
      - ./grafana/provisioning/datasources:/etc/grafana/provisioning/datasources
  loki:
    image: grafana/loki:3.1.1
    command: -config.file=/etc/loki/local-config.yaml
    volumes: ["loki_data:/loki", "./loki-config.yaml:/etc/loki/local-config.yaml"]
  promtail:
    image: grafana/promtail:3.1.1
    volumes: ["/var/log:/var/log", "./promtail.yaml:/etc/promtail/config.yml", "/var/lib/docker/containers:/var/lib/docker/containers:ro"]
volumes: {prometheus_data: , grafana_data: , loki_data: }
""",
    {
        "prometheus_data: named - of prometheus at /prometheus",
        "alertmanager: image - of alertmanager at /alertmanager",
        "grafana_data: named - of grafana at /var/lib/grafana",
        "loki_data: named - of loki at /loki",
    },
    {
        "prometheus /etc/prometheus: configuration",
        "alertmanager /etc/alertmanager: configuration",
        "nodeexporter /host/proc: read-only mount",
        "nodeexporter /host/sys: read-only mount",
        "nodeexporter /rootfs: read-only mount",
        "cadvisor /rootfs: read-only mount",
        "cadvisor /var/run: read-only mount",
        "cadvisor /sys: read-only mount",
        "cadvisor /var/lib/docker: read-only mount",
        "grafana /etc/grafana/provisioning/dashboards: configuration",
        "grafana /etc/grafana/provisioning/datasources: configuration",
        "loki /etc/loki/local-config.yaml: configuration",
        "promtail /var/log: logs",
        "promtail /etc/promtail/config.yml: configuration",
        "promtail /var/lib/docker/containers: read-only mount",
    },
    {
        "prometheus": declares("prom/prometheus:v2.54.1", "/prometheus"),
        "alertmanager": declares("prom/alertmanager:v0.27.0", "/alertmanager"),
    },
)

DJANGO = Wild(
    """
services:
  web: &django
    build: {context: ., target: dev}
    command: python manage.py runserver 0.0.0.0:8000
    volumes:
      - .:/code
      - node_modules:/code/node_modules
      - pip-cache:/root/.cache/pip
      - static:/code/staticfiles
      - media:/code/mediafiles
      - /code/.venv
    env_file: [{path: .env, required: false}]
    depends_on: {db: {condition: service_healthy}, redis: {condition: service_started}}
  worker:
    <<: *django
    command: celery -A app worker
  nginx:
    image: nginx:1.27
    volumes: ["static:/home/app/staticfiles:ro", "media:/home/app/mediafiles:ro", "./nginx.conf:/etc/nginx/nginx.conf:ro"]
  db:
    image: postgres:16
    volumes: ["postgres_data:/var/lib/postgresql/data/", "./docker/init.sql:/docker-entrypoint-initdb.d/init.sql"]
    healthcheck: {test: ["CMD", "pg_isready"]}
  redis:
    image: redis:7-alpine
  mailpit:
    image: axllent/mailpit
volumes: {node_modules: , pip-cache: , static: , media: , postgres_data: }
""",
    {
        "static: named - of web,worker,nginx at /code/staticfiles",
        "media: named - of web,worker,nginx at /code/mediafiles",
        "postgres_data: named postgres of db at /var/lib/postgresql/data",
        "redis: image redis of redis at /data",
    },
    {
        *(f"{service} /code: {HOST_DIRECTORY}" for service in ("web", "worker")),
        *(f"{service} /code/node_modules: dependency or build cache" for service in ("web", "worker")),
        *(f"{service} /root/.cache/pip: dependency or build cache" for service in ("web", "worker")),
        *(f"{service} /code/.venv: dependency or build cache" for service in ("web", "worker")),
        "nginx /etc/nginx/nginx.conf: read-only mount",
        "db /docker-entrypoint-initdb.d/init.sql: initialisation scripts",
    },
)

RAILS = Wild(
    """
x-app: &app
  build: {context: .}
  tmpfs: [/tmp, /app/tmp/pids]
x-backend: &backend
  <<: *app
  stdin_open: true
  volumes:
    - ..:/app:cached
    - bundle:/usr/local/bundle
    - rails_cache:/app/tmp/cache
    - node_modules:/app/node_modules
    - assets:/app/public/assets
    - storage:/app/storage
    - history:/usr/local/hist
    - ./.psqlrc:/root/.psqlrc:ro
    - ./.bashrc:/root/.bashrc:ro
services:
  rails: {<<: *backend, command: bundle exec rails, ports: ["3000:3000"]}
  sidekiq: {<<: *backend, command: bundle exec sidekiq, deploy: {replicas: 2}}
  postgres:
    image: postgres:16
    volumes: ["./.psqlrc:/root/.psqlrc:ro", "postgres:/var/lib/postgresql/data", "history:/user/local/hist"]
  redis:
    image: redis:7-alpine
    volumes: ["redis:/data"]
  chrome:
    image: browserless/chrome:latest
    volumes: ["..:/app:cached"]
volumes: {bundle: , node_modules: , history: , rails_cache: , postgres: , redis: , assets: , storage: }
""",
    {
        "assets: named - of rails,sidekiq at /app/public/assets",
        "storage: named - of rails,sidekiq at /app/storage",
        "history: named - of postgres,rails,sidekiq at /user/local/hist",
        "postgres: named postgres of postgres at /var/lib/postgresql/data",
        "redis: named redis of redis at /data",
    },
    {
        *(f"{service} /app: {HOST_DIRECTORY}" for service in ("rails", "sidekiq", "chrome")),
        *(
            f"{service} {path}: dependency or build cache"
            for service in ("rails", "sidekiq")
            for path in ("/usr/local/bundle", "/app/tmp/cache", "/app/node_modules")
        ),
        *(f"{service} {path}: in memory" for service in ("rails", "sidekiq") for path in ("/tmp", "/app/tmp/pids")),
        *(f"{service} /root/.psqlrc: read-only mount" for service in ("rails", "sidekiq", "postgres")),
        *(f"{service} /root/.bashrc: read-only mount" for service in ("rails", "sidekiq")),
    },
)

SUPABASE = Wild(
    """
x-dotmesh: {include: ["storage:/var/lib/storage"]}
services:
  kong:
    image: kong:2.8.1
    volumes: ["./volumes/api/kong.yml:/home/kong/temp.yml:ro,z"]
  auth: {image: "supabase/gotrue:v2.158.1", depends_on: {db: {condition: service_healthy}}}
  storage:
    image: supabase/storage-api:v1.10.1
    volumes: ["./volumes/storage:/var/lib/storage:z"]
  imgproxy:
    image: darthsim/imgproxy:v3.8.0
    volumes: ["./volumes/storage:/var/lib/storage:z"]
  meta: {image: "supabase/postgres-meta:v0.83.2"}
  functions:
    image: supabase/edge-runtime:v1.58.3
    volumes: ["./volumes/functions:/home/deno/functions:Z"]
  db:
    image: supabase/postgres:15.1.1.78
    healthcheck: {test: pg_isready -U postgres -h localhost}
    command: ["postgres", "-c", "config_file=/etc/postgresql/postgresql.conf", "-c", "log_min_messages=fatal"]
    volumes:
      - ./volumes/db/realtime.sql:/docker-entrypoint-initdb.d/migrations/99-realtime.sql:Z
      - ./volumes/db/roles.sql:/docker-entrypoint-initdb.d/init-scripts/99-roles.sql:Z
      - ./volumes/db/data:/var/lib/postgresql/data:Z
      - db-config:/etc/postgresql-custom
  vector:
    image: timberio/vector:0.28.1-alpine
    volumes: ["./volumes/logs/vector.yml:/etc/vector/vector.yml:ro", "${DOCKER_SOCKET_LOCATION:-/var/run/docker.sock}:/var/run/docker.sock:ro"]
volumes: {db-config: }
""",
    {
        "db: bind postgres of db at /var/lib/postgresql/data",
        "db-config: named - of db at /etc/postgresql-custom",
        "storage: bind - of storage,imgproxy at /var/lib/storage",
    },
    {
        "kong /home/kong/temp.yml: read-only mount",
        f"functions /home/deno/functions: {HOST_DIRECTORY}",
        "db /docker-entrypoint-initdb.d/migrations/99-realtime.sql: initialisation scripts",
        "db /docker-entrypoint-initdb.d/init-scripts/99-roles.sql: initialisation scripts",
        "vector /etc/vector/vector.yml: read-only mount",
        "vector /var/run/docker.sock: read-only mount",
    },
)

KEYCLOAK = Wild(
    """
services:
  postgres:
    image: postgres:16.4-alpine
    volumes: [postgres_data:/var/lib/postgresql/data]
    environment: {POSTGRES_DB: keycloak, POSTGRES_USER: keycloak, POSTGRES_PASSWORD: password}
  keycloak:
    image: quay.io/keycloak/keycloak:25.0
    command: start-dev --import-realm
    environment: {KC_DB: postgres, KC_DB_URL_HOST: postgres}
    volumes:
      - ./realm-export.json:/opt/keycloak/data/import/realm-export.json
      - ./themes/acme:/opt/keycloak/themes/acme
      - ./tls:/opt/keycloak/conf/tls
  traefik:
    image: traefik:v3.1
    volumes: ["/var/run/docker.sock:/var/run/docker.sock:ro", "traefik-certificates:/etc/traefik/acme"]
volumes: {postgres_data: , traefik-certificates: }
""",
    {
        "postgres_data: named postgres of postgres at /var/lib/postgresql/data",
        "traefik-certificates: named - of traefik at /etc/traefik/acme",
    },
    {
        "keycloak /opt/keycloak/data/import/realm-export.json: configuration",
        f"keycloak /opt/keycloak/themes/acme: {HOST_DIRECTORY}",
        "keycloak /opt/keycloak/conf/tls: certificates",
        "traefik /var/run/docker.sock: read-only mount",
    },
)

KAFKA = Wild(
    """
services:
  zookeeper:
    image: confluentinc/cp-zookeeper:7.4.0
    environment: {ZOOKEEPER_CLIENT_PORT: 2181}
  kafka:
    image: confluentinc/cp-kafka:7.4.0
    depends_on: [zookeeper]
    environment: {KAFKA_BROKER_ID: 1, KAFKA_ZOOKEEPER_CONNECT: "zookeeper:2181"}
  init-kafka:
    image: confluentinc/cp-kafka:7.4.0
    depends_on: [kafka]
    entrypoint: [ '/bin/sh', '-c' ]
    command: |
      "
      kafka-topics --bootstrap-server kafka:29092 --list
      kafka-topics --bootstrap-server kafka:29092 --create --if-not-exists --topic my-topic-1 --replication-factor 1 --partitions 1
      "
  kafka-ui: {image: "provectuslabs/kafka-ui:latest"}
  schema-registry: {image: "confluentinc/cp-schema-registry:7.4.0"}
""",
    {
        "kafka: image kafka of kafka at /var/lib/kafka/data",
        "zookeeper: image zookeeper of zookeeper at /var/lib/zookeeper/data",
        "zookeeper-var-lib-zookeeper-log: image zookeeper of zookeeper at /var/lib/zookeeper/log",
    },
    {
        "kafka /etc/kafka/secrets: keys and passwords that the user provides",
        "zookeeper /etc/zookeeper/secrets: keys and passwords that the user provides",
        "init-kafka /etc/kafka/secrets: keys and passwords that the user provides",
        "init-kafka /var/lib/kafka/data: runs kafka-topics, not kafka",
    },
    {
        "zookeeper": declares("confluentinc/cp-zookeeper:7.4.0", "/var/lib/zookeeper/data", "/var/lib/zookeeper/log", "/etc/zookeeper/secrets"),
        "kafka": declares("confluentinc/cp-kafka:7.4.0", "/var/lib/kafka/data", "/etc/kafka/secrets"),
        "init-kafka": declares("confluentinc/cp-kafka:7.4.0", "/var/lib/kafka/data", "/etc/kafka/secrets"),
    },
)  # fmt: skip

MONGO_REPLICA_SET = Wild(
    """
services:
  mongo1: &mongo
    image: mongo:7
    command: ["--replSet", "rs0", "--bind_ip_all", "--port", "27017"]
    volumes: ["mongo1_data:/data/db", "mongo1_config:/data/configdb"]
    healthcheck:
      test: echo "try { rs.status() } catch (err) { rs.initiate() }" | mongosh --port 27017 --quiet
  mongo2: {<<: *mongo, volumes: ["./data/mongo2:/data/db"]}
  init:
    image: mongo:7
    restart: "no"
    depends_on: [mongo1, mongo2]
    command: >
      mongosh --host mongo1:27017 --eval 'rs.initiate()'
  express: {image: mongo-express, ports: ["8081:8081"]}
volumes: {mongo1_data: , mongo1_config: }
""",
    {"mongo1_data: named mongo of mongo1 at /data/db", "mongo2: bind mongo of mongo2 at /data/db"},
    {
        "mongo1 /data/configdb: used by config servers of a sharded cluster only",
        "mongo2 /data/configdb: used by config servers of a sharded cluster only",
        "init /data/configdb: used by config servers of a sharded cluster only",
        "init /data/db: runs mongosh, not mongo",
    },
    {name: declares("mongo:7", "/data/db", "/data/configdb") for name in ("mongo1", "mongo2", "init")},
)

IMMICH = Wild(
    """
name: immich
services:
  immich-server:
    image: ghcr.io/immich-app/immich-server:release
    volumes: ["./library:/data", "/etc/localtime:/etc/localtime:ro"]
  immich-machine-learning:
    image: ghcr.io/immich-app/immich-machine-learning:release
    volumes: ["model-cache:/cache"]
  redis: {image: "docker.io/valkey/valkey:8-bookworm@sha256:fea8b3e67b15729d4bb70589eb03367bab9ad1ee89c876f54327fc7c6e618571"}
  database:
    image: ghcr.io/immich-app/postgres:14-vectorchord0.4.3-pgvectors0.2.0
    environment: {POSTGRES_INITDB_ARGS: '--data-checksums'}
    volumes: ["./postgres:/var/lib/postgresql/data"]
    shm_size: 128mb
volumes: {model-cache: }
""",
    {"database: bind postgres of database at /var/lib/postgresql/data", "redis: image valkey of redis at /data"},
    {
        f"immich-server /data: {HOST_DIRECTORY}",
        "immich-server /etc/localtime: read-only mount",
        "immich-machine-learning /cache: dependency or build cache",
    },
)

STACKS = {
    "wordpress": WORDPRESS,
    "nextcloud": NEXTCLOUD,
    "gitea": GITEA,
    "sentry": SENTRY,
    "elastic": ELASTIC,
    "monitoring": MONITORING,
    "django": DJANGO,
    "rails": RAILS,
    "supabase": SUPABASE,
    "keycloak": KEYCLOAK,
    "kafka": KAFKA,
    "mongo-replica-set": MONGO_REPLICA_SET,
    "immich": IMMICH,
}


@pytest.mark.parametrize("name", STACKS)
def test_the_state_of_a_well_known_stack_is_found_and_nothing_else(tmp_path: Path, name: str) -> None:
    stack = STACKS[name]
    subdots, skipped = shown(plan_of(tmp_path, stack.text, stack.facts.images))
    assert subdots == stack.subdots
    assert skipped == stack.skipped


# The JSON form


DOCUMENTED = """
services:
  cache: {image: "redis:7"}
  db: {image: "postgres:16", volumes: ["pg:/var/lib/postgresql/data", "./init:/docker-entrypoint-initdb.d"]}
  files: {image: "mongo:7", volumes: ["./mongo:/data/db"]}
  web: {image: web, volumes: [/uploads, "pg:/pg:ro"]}
volumes: {pg: }
"""


def test_the_json_form_is_the_documented_one(tmp_path: Path) -> None:
    found = json.loads(json.dumps(to_plain(plan_of(tmp_path, DOCUMENTED))))
    assert found == {
        "dot": "shop",
        "project": "shop",
        "subdots": [
            {
                "name": "cache",
                "services": ["cache"],
                "path": "/data",
                "kind": "image",
                "volume": "shop_dm-cache",
                "source": "",
                "engine": "redis",
                "reason": "data path of redis, without a volume line",
            },
            {
                "name": "files",
                "services": ["files"],
                "path": "/data/db",
                "kind": "bind",
                "volume": None,
                "source": str(tmp_path / "mongo"),
                "engine": "mongo",
                "reason": "data path of mongo",
            },
            {
                "name": "pg",
                "services": ["db", "web"],
                "path": "/var/lib/postgresql/data",
                "kind": "named",
                "volume": "shop_pg",
                "source": "pg",
                "engine": "postgres",
                "reason": "data path of postgres",
            },
            {
                "name": "web",
                "services": ["web"],
                "path": "/uploads",
                "kind": "anonymous",
                "volume": "shop_dm-web",
                "source": "",
                "engine": None,
                "reason": "anonymous volume",
            },
        ],
        "skipped": [{"service": "db", "path": "/docker-entrypoint-initdb.d", "reason": "initialisation scripts"}],
    }
    assert list(found) == ["dot", "project", "subdots", "skipped"]
    assert list(found["subdots"][0]) == ["name", "services", "path", "kind", "volume", "source", "engine", "reason"]
    assert list(found["skipped"][0]) == ["service", "path", "reason"]


def test_the_json_form_does_not_depend_on_the_order_in_the_file(tmp_path: Path) -> None:
    document = yaml.safe_load(DOCUMENTED)
    turned = {
        "volumes": document["volumes"],
        "services": {
            key: {**value, "volumes": value.get("volumes", [])[::-1]} for key, value in reversed(document["services"].items())
        },
    }
    assert to_plain(plan_of(tmp_path, yaml.safe_dump(turned, sort_keys=False))) == to_plain(plan_of(tmp_path, DOCUMENTED))
