"""Platforms of many services, and databases of several nodes."""

# ruff: noqa: E501 (a line of a compose file is a line)

from __future__ import annotations

from tests.support.plans import HOST_DIRECTORY, declares
from tests.unit.discovery.subdots.well_known.wild import Wild

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
