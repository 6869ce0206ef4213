"""`dm-compose doctor` says what holds here, and touches nothing."""

from __future__ import annotations

import docker
import pytest

from tests.support.projects import TestProject

pytestmark = pytest.mark.engine


def test_the_doctor_tells_each_strategy_with_its_reason_and_leaves_nothing_behind(cache_only: TestProject) -> None:
    client = docker.from_env()
    before = {c.id for c in client.containers.list(all=True, filters={"label": "dev.dotmesh.role=doctor"})}
    started = cache_only.started_at("cache")
    found = cache_only.json("doctor")
    assert [(s["service"], s["engines"], s["strategy"], s["obstacle"]) for s in found["services"]] == [
        ("cache", ["redis"], "respawn", "")
    ]
    assert found["costs"]["respawn_s"] < found["costs"]["restart_s"]
    assert found["clonable"]
    assert found["probe"]["size_bytes"] > 0
    after = {c.id for c in client.containers.list(all=True, filters={"label": "dev.dotmesh.role=doctor"})}
    client.close()
    assert after <= before
    assert cache_only.started_at("cache") == started
    assert (found["services"][0]["relaxed"], found["services"][0]["durable_because"]) == (["--appendfsync", "no"], "")
    text = cache_only.dm("doctor").stdout
    assert "cache    redis   respawn" in text
    assert "cache    --appendfsync no" in text
    document = {
        "services": {
            "cache": {"image": "dm-example/redis:7.0", "pull_policy": "never", "pid": "host", "command": "sh -c redis-server"}
        }
    }
    cache_only.write(document)
    (found,) = cache_only.json("doctor")["services"]
    assert found["obstacle"] == "it shares a PID namespace"
    assert (found["relaxed"], found["durable_because"]) == ([], "it runs sh, not redis-server")
