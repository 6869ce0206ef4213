"""Recovery loses no write that is acknowledged while it keeps what is live and takes it down."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest
import redis

from dm_compose.core.commit import RESTORE
from dm_compose.store.local.store import LocalStore
from tests.support import crashing
from tests.support.crashing import KILLED
from tests.support.projects import TestProject, eventually

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]


class Writer(threading.Thread):
    """Writes numbered keys as fast as it can, and notes those that were acknowledged."""

    def __init__(self, project: TestProject) -> None:
        super().__init__(daemon=True)
        self.client = redis.Redis(project.address("cache"), socket_timeout=10)
        self.acknowledged: list[str] = []
        self.ended = False

    def run(self) -> None:
        while not self.ended:
            try:
                name = f"key-{len(self.acknowledged)}-{time.monotonic_ns()}"
                self.client.set(name, "x")
                self.acknowledged.append(name)
            except (redis.RedisError, OSError):
                time.sleep(0.001)


def _restore_is_unfinished(project: TestProject) -> bool:
    store = LocalStore(project.home)
    try:
        return any(entry.operation == RESTORE for dot in store.dots() for entry in store.unfinished(dot))
    finally:
        store.close()


def test_every_write_acknowledged_until_recovery_overwrites_is_kept(cache_only: TestProject, tmp_path: Path) -> None:
    project = cache_only
    project.redis().set("note", "uncommitted")
    command = ["dm-compose", "-f", str(project.file), "-p", project.name, "reset", "--hard", "HEAD"]
    killing = crashing.killing(tmp_path)

    def run(point: int) -> int:
        environment = {**os.environ, **project.environment, **killing, "CRASH_AT": str(point)}
        return subprocess.run(command, env=environment, capture_output=True, timeout=170, check=False).returncode

    assert run(0) == 0
    points = int(Path(killing["CRASH_COUNT"]).read_text())
    for before_the_end in range(6, 60, 6):
        project.redis().set("note", "uncommitted")
        assert run(points - before_the_end) in (0, KILLED)
        if _restore_is_unfinished(project):
            break
    else:
        pytest.fail("no point in the middle of the restore")
    if project.state("cache") != "running":
        project.compose("start", "cache")
    project.wait_ready()
    writer = Writer(project)
    writer.start()
    eventually(lambda: len(writer.acknowledged) > 200, "the writer to write")
    project.json("commit", "-m", "recovers first")
    writer.ended = True
    writer.join(30)
    client = project.redis()
    missing = [name for name in writer.acknowledged if not client.exists(name)]
    kept = [e["saved"] for e in project.json("reflog") if e["action"] == "before recovery"]
    if missing:
        assert kept, missing
        project.dm("reset", "--hard", kept[0])
        client = project.redis()
        missing = [name for name in missing if not client.exists(name)]
    assert missing == []
