"""A restore that fails puts the state before back, and loses no write that a datastore has acknowledged meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.support.projects import TestProject, eventually

pytestmark = pytest.mark.engine

REDIS = {"image": "dm-example/redis:7.0", "pull_policy": "never"}
SLOW = {**REDIS, "command": ["sh", "-c", "sleep 4; exec redis-server --protected-mode no"]}


def test_what_a_datastore_acknowledged_before_the_state_of_before_came_back_is_in_the_reflog(
    new_project: Callable[[Mapping[str, Any]], TestProject],
) -> None:
    project = new_project({"services": {"cache": REDIS, "slow": SLOW}})
    project.dm("up", "-d")
    for service in ("cache", "slow"):
        eventually(lambda: project.redis(service).set("note", "seed"), "redis")  # noqa: B023 (used at once)
    seed = project.json("commit", "-m", "seed")["id"]
    for service in ("cache", "slow"):
        project.redis(service).set("note", "uncommitted")
    words = ["dm-compose", "-f", str(project.file), "-p", project.name, "reset", "--hard", seed]
    environment = {**os.environ, **project.environment}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        eventually(lambda: project.redis().get("note") == "seed", "cache to be back")
        project.redis().set("written", "while slow was waited for")
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=120)
    assert child.returncode == 130, said
    assert "putting the state of before back" in said
    for service in ("cache", "slow"):
        assert eventually(lambda: project.redis(service).get("note"), "redis") == "uncommitted"  # noqa: B023
    assert project.redis().get("written") is None
    kept = next(e["saved"] for e in project.json("reflog") if e["action"] == "before putting back")
    assert f"reset --hard {kept[:12]}" in said
    project.dm("reset", "--hard", kept)
    assert project.redis().get("written") == "while slow was waited for"
