"""Applications in development: source code is mounted, and dependencies lie in volumes."""

from __future__ import annotations

from tests.support.plans import HOST_DIRECTORY
from tests.unit.discovery.subdots.well_known.wild import Wild

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
