"""Hears from the engine's events what a test run makes there, and tells at its end what is left of it.

A volume without a name says nowhere whose it is. Only its engine's events do: they name the container that it was mounted in.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import docker

from dm_compose.engine import OWNER_LABEL, Owner
from tests.support.projects import LABEL, Run

PROJECT = "com.docker.compose.project"
MARKER = "DM_TEST_RUN"  # in the environment of a run's processes
SETTLE_S = 10.0  # containers that are being removed may take so long


class Watch:
    """The volumes and networks that containers of a run have had, from its beginning to `close`."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._client = docker.from_env()
        self._containers: dict[str, str] = {}  # names by id
        self._created: set[str] = set()  # volumes, anybody's
        self._mounted: dict[str, str] = {}  # volumes, with a container of ours and the place where it has them
        self._events = self._client.events(decode=True, filters={"type": ["container", "volume"]})
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._events.close()
        self._thread.join(30)
        self._client.close()

    def left(self) -> list[str]:
        """Return what the run has made and is still there, once nothing of it goes any more."""
        deadline = time.monotonic() + SETTLE_S
        while (found := self._left()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def without_a_name(self) -> list[str]:
        """Return the containers of no project, and the volumes without a name, that are the run's."""
        containers = self._client.containers.list(all=True, ignore_removed=True)
        volumes = {v.name for v in self._client.volumes.list()} & self._created & self._mounted.keys()
        return [
            *sorted(f"container {c.name}" for c in containers if c.id in self._containers and PROJECT not in c.labels),
            *sorted(f"volume {name}{self._where(name)}" for name in volumes if len(name) == 64 and name.isalnum()),
        ]

    def _left(self) -> list[str]:
        client = self._client
        containers = client.containers.list(all=True, ignore_removed=True)
        networks, volumes = client.networks.list(), client.volumes.list()
        return [
            *(f"container {c.name}" for c in containers if self._is_ours(c.labels) or c.id in self._containers),
            *(f"network {n.name}" for n in networks if self._is_ours(n.attrs.get("Labels") or {})),
            *(f"volume {v.name}{self._where(v.name)}" for v in volumes if self._is_ours_volume(v)),
        ]

    def _is_ours(self, labels: Mapping[str, str]) -> bool:
        project = labels.get(PROJECT, "")  # of a clone too: its name begins with the stack's
        return labels.get(LABEL) == self._run.id or project.startswith(self._run.prefix)

    def _is_ours_volume(self, volume: Any) -> bool:
        return self._is_ours(volume.attrs.get("Labels") or {}) or volume.name in self._created & self._mounted.keys()

    def _where(self, volume: str) -> str:
        return f", which was mounted in {self._mounted[volume]}" if volume in self._mounted else ""

    def _is_made_by_us(self, labels: Mapping[str, str]) -> bool:
        """Whether dm-compose made a container for a moment, in a process of this run; such ones are of no project."""
        owner = Owner.parse(labels.get(OWNER_LABEL, ""))
        if owner is None or owner.is_gone:
            return False
        if owner.pid == os.getpid():
            return True
        with contextlib.suppress(OSError):
            return f"{MARKER}={self._run.id}".encode() in Path(f"/proc/{owner.pid}/environ").read_bytes().split(b"\0")
        return False

    def _listen(self) -> None:
        for event in self._events:
            kind, action, actor = event["Type"], event["Action"], event["Actor"]
            name, facts = actor["ID"], actor["Attributes"]
            if (kind, action) == ("container", "create"):
                if self._is_ours(facts) or self._is_made_by_us(facts):
                    self._containers[name] = facts.get("name", name)
            elif (kind, action) == ("volume", "create"):
                self._created.add(name)
            elif (kind, action) == ("volume", "mount") and facts.get("container") in self._containers:
                self._mounted[name] = f"{self._containers[facts['container']]} at {facts.get('destination')}"


@contextlib.contextmanager
def watched(run: Run) -> Iterator[Watch]:
    """Watch a run for the length of a block, in which its child processes are started with its marker."""
    with mock.patch.dict(os.environ, {MARKER: run.id}), contextlib.closing(Watch(run)) as watch:
        yield watch
