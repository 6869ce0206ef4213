"""The JSON form of a plan is the documented one."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from tests.support.capabilities import needs_compose
from tests.support.plans import plan_of

pytestmark = needs_compose


DOCUMENTED = """
services:
  cache: {image: "redis:7"}
  db: {image: "postgres:16", volumes: ["pg:/var/lib/postgresql/data", "./init:/docker-entrypoint-initdb.d"]}
  files: {image: "mongo:7", volumes: ["./mongo:/data/db"]}
  web: {image: web, volumes: [/uploads, "pg:/pg:ro"]}
volumes: {pg: }
"""


def test_the_json_form_is_the_documented_one(tmp_path: Path) -> None:
    found = json.loads(json.dumps(plan_of(tmp_path, DOCUMENTED).as_plain()))
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
    assert plan_of(tmp_path, yaml.safe_dump(turned, sort_keys=False)).as_plain() == plan_of(tmp_path, DOCUMENTED).as_plain()
