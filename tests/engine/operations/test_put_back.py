"""A restore that fails puts the state before back, and loses no write that a datastore has acknowledged meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.support.projects import TestProject, eventually

pytestmark = pytest.mark.engine

REDIS = {"image": "dm-example/redis:7.0", "pull_policy": "never"}
GATED = {
    **REDIS,
    "command": ["sh", "-c", "until [ -e /gate/open ]; do sleep 0.1; done; exec redis-server --protected-mode no"],
    "volumes": ["./gate:/gate:ro"],
}
"""Starts when the file `open` is in its directory `gate`: the test decides when, not the machine's load."""


def test_what_a_datastore_acknowledged_before_the_state_of_before_came_back_is_in_the_reflog(
    new_project: Callable[[Mapping[str, Any]], TestProject],
) -> None:
    project = new_project({"services": {"cache": REDIS, "slow": GATED}})
    gate = project.file.parent / "gate" / "open"
    gate.parent.mkdir()
    gate.touch()
    project.dm("up", "-d")
    for service in ("cache", "slow"):
        eventually(lambda: project.redis(service).set("note", "seed"), "redis")  # noqa: B023 (used at once)
    seed = project.json("commit", "-m", "seed")["id"]
    for service in ("cache", "slow"):
        project.redis(service).set("note", "uncommitted")
    gate.unlink()
    words = ["dm-compose", "-f", str(project.file), "-p", project.name, "reset", "--hard", seed]
    environment = {**os.environ, **project.environment}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        eventually(lambda: project.redis().get("note") == "seed", "cache to be back")
        project.redis().set("written", "while slow was waited for")
        child.send_signal(signal.SIGINT)
        assert child.stderr
        said = ""
        for line in child.stderr:
            said += line
            if "the state before is put back" in line:
                gate.touch()
    assert child.returncode == 130, said
    assert gate.exists(), said
    for service in ("cache", "slow"):
        assert eventually(lambda: project.redis(service).get("note"), "redis") == "uncommitted"  # noqa: B023
    assert project.redis().get("written") is None
    kept = next(e["saved"] for e in project.json("reflog") if e["action"] == "before putting back")
    assert f"reset --hard {kept[:12]}" in said
    project.dm("reset", "--hard", kept)
    assert project.redis().get("written") == "while slow was waited for"


def test_a_second_interrupt_says_that_the_state_before_is_not_back_yet(
    new_project: Callable[[Mapping[str, Any]], TestProject],
) -> None:
    project = new_project({"services": {"cache": REDIS}})
    project.dm("up", "-d", "--wait")
    project.redis().set("note", "seed")
    project.dm("commit", "-m", "seed")
    project.redis().set("note", "uncommitted")
    slow = "import dm_compose.store.local.restoring as r, time\nput = r.Restoring.restore_subdot\n"
    slow += (
        "def late(*a, **k):\n    print('putting back', file=sys.stderr, flush=True)\n    time.sleep(1)\n    return put(*a, **k)\n"
    )
    slow += "r.Restoring.restore_subdot = late\n"
    words = ["-f", str(project.file), "-p", project.name, "reset", "--hard"]
    program = f"import sys\n{slow}from dm_compose.cli.main import main\nmain({words!r})"
    environment = {**os.environ, **project.environment}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr
        said = ""
        for line in child.stderr:
            said += line
            if line.strip() == "putting back":
                child.send_signal(signal.SIGINT)
    assert child.returncode == 130, said
    assert said.count("putting back\n") == 2, said
    assert "interrupted again, before the state before was back; `dm-compose prune`, or the next command that writes," in said
    assert "warning: " in project.dm("status").stderr
    project.dm("tag", "t")
    assert project.redis().get("note") == "uncommitted"


def test_after_a_reset_that_timed_out_the_state_before_counts_as_it_did(webapp: TestProject) -> None:
    """The commit has a Postgres that waits for a primary server, and takes nobody in."""
    webapp.stack().reset(webapp.seed, hard=True)
    webapp.compose("exec", "-T", "-u", "postgres", "db", "touch", "/var/lib/postgresql/data/standby.signal")
    webapp.sql("alter system set hot_standby = off")
    webapp.dm("checkout", "-b", "waits")
    webapp.dm("commit", "-m", "a standby without a primary")
    webapp.dm("checkout", "master")
    assert webapp.json("status")["dirty"] is False
    failed = webapp.dm("reset", "--hard", "waits", "--timeout", "5", check=False)
    assert failed.returncode == 10
    assert "the state before is put back" in failed.stderr
    assert webapp.sql("select text from notes") == [("seed",)]
    assert webapp.json("status")["dirty"] is False
