"""A volume driver on an engine of the tests' own; see tests/support/engines.py for why."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dm_compose.core.names import DotName
from dm_compose.driver.client import DriverProcess, ask
from dm_compose.driver.running import identity
from dm_compose.driver.service import DriverService
from dm_compose.store.local.store import LocalStore
from tests.support.engines import PrivateEngine
from tests.support.projects import eventually

IMAGE = "dm-example/python"
QUICK_S = 10  # what the engine does not wait in vain for: a driver that is gone costs it 15 s
SHOP = DotName("shop")


@dataclass
class DriverBench:
    """A driver on the engine, with a store of its own."""

    engine: PrivateEngine
    store_path: Path
    service: DriverService
    stores: list[LocalStore] = field(default_factory=list)

    @property
    def store(self) -> LocalStore:
        """The store, as another process has it open."""
        if not self.stores:
            self.stores.append(LocalStore(self.store_path))
        return self.stores[0]

    @property
    def answers(self) -> DriverProcess:
        found = ask(self.service.socket)
        assert found is not None
        return found

    def directory(self, subdot: str = "", worktree: str = "main") -> Path:
        return self.store_path / "trees" / SHOP / worktree / subdot

    def run(self, script: str, *volumes: str, check: bool = True, image: str = IMAGE) -> Any:
        """Run a shell script in a container with volumes NAME:/PATH, and return its output, or the failed process."""
        words = [word for volume in volumes for word in ("-v", volume)]
        done = self.engine.docker("run", "--rm", "--volume-driver", "dm", *words, image, "sh", "-c", script, check=check)
        return done.stdout if done.returncode == 0 else done

    def start(self, name: str, *volumes: str, script: str = "exec sleep infinity", restart: str = "no") -> str:
        """Start a container that stays, and return its name."""
        words = [word for volume in volumes for word in ("-v", volume)]
        options = ["--name", name, "--init", "--restart", restart, "--volume-driver", "dm"]
        self.engine.docker("run", "-d", *options, *words, IMAGE, "sh", "-c", script)
        return name

    def inside(self, container: str, script: str) -> str:
        return self.engine.docker("exec", container, "sh", "-c", script).stdout

    def state(self, container: str) -> str:
        return self.engine.docker("inspect", "-f", "{{.State.Status}}", container).stdout.strip()

    def kill(self) -> None:
        """Kill the driver: its socket stays behind."""
        pid = self.answers.pid
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: identity(pid) is None, "the end of the driver")
        assert self.service.socket.exists()

    def volumes(self) -> list[str]:
        """Return what `docker volume ls` shows of the driver, if it does not wait in vain."""
        return sorted(self.engine.docker("volume", "ls", "-qf", "driver=dm", timeout_s=QUICK_S).stdout.split())
