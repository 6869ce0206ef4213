"""Websites that people host for themselves."""

# ruff: noqa: E501 (a line of a compose file is a line)

from __future__ import annotations

from tests.support.plans import HOST_DIRECTORY, declares
from tests.unit.discovery.subdots.well_known.wild import Wild

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
