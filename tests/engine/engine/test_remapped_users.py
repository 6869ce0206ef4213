"""An engine that remaps users: files are reached by a helper, which sees the owners that containers see."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dm_compose.core.events import ignore
from dm_compose.core.variables import Variables
from dm_compose.engine import Engine
from dm_compose.errors import UsageError
from dm_compose.live.access import open_access
from tests.support import engines
from tests.support.engines import BASE, PrivateEngine

pytestmark = pytest.mark.engine

IMAGE = "dm-example/python"
FIRST = 200000  # the number on the host of root in the containers


@pytest.fixture(scope="module")
def remapping() -> Iterator[PrivateEngine]:
    """An engine of the tests' own with `userns-remap`; its user has subordinate numbers in the engine's own view of /etc only."""
    if (reason := engines.why_not()) is not None:
        pytest.skip(reason)
    BASE.mkdir(exist_ok=True)
    engines.sweep()
    made = PrivateEngine(Path(tempfile.mkdtemp(prefix="dmt", dir=BASE)))
    made.open()
    try:
        (made.home / "daemon.json").write_text(json.dumps({"userns-remap": "daemon:daemon"}))
        (made.home / "subordinate").write_text(f"daemon:{FIRST}:65536\n")
        made.home.chmod(0o711)
        for name in ("subuid", "subgid"):
            command = [*made._inside(), "mount", "--bind", str(made.home / "subordinate"), f"/etc/{name}"]
            subprocess.run(command, check=True, capture_output=True)
        made.start()
        made.load(IMAGE)
        yield made
    finally:
        made.close()


def test_files_are_reached_by_a_helper(remapping: PrivateEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", remapping.environment["DOCKER_HOST"])
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    remapping.docker("run", "--rm", "-v", "data:/data", IMAGE, "sh", "-c", "echo x > /data/file; chown 999:998 /data/file")
    engine = Engine()
    try:
        volume = engine.volume("data")
        assert volume is not None
        assert (Path(volume.directory) / "file").stat().st_uid == FIRST + 999
        access = open_access(engine, ["data"], Variables({"DM_HELPER_IMAGE": IMAGE}), ignore)
        access.store.close()
        assert access.how == "helper"
        with pytest.raises(UsageError, match="remaps users"):
            open_access(engine, ["data"], Variables({"DM_FILES": "in-process"}), ignore)
    finally:
        engine.close()
        remapping.docker("volume", "rm", "-f", "data", "dotmesh")
