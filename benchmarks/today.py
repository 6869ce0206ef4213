"""Three ways of today between two tests, from "every datastore is dirty" to "all answer and hold the seed"."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections import defaultdict
from pathlib import Path

from benchmarks.common import timed
from benchmarks.seeds import Seeded, Seeds


class Way(ABC):
    """One of the three ways.

    `prepare` is called once, when every datastore runs and holds the seed. `parts` has the seconds of the steps of `again`.
    """

    name: str
    title: str

    def __init__(self, seeds: Seeds, scratch: Path) -> None:
        self.seeds = seeds
        self.scratch = scratch
        self.parts: dict[str, list[float]] = defaultdict(list)

    def prepare(self) -> None:
        """Do once whatever `again` needs."""
        return

    @abstractmethod
    def again(self) -> None:
        """Put everything back."""


class Down(Way):
    """Take the stack down with its volumes, bring it up, and load the dumps.

    Each dump is loaded as soon as its datastore answers its own protocol. `--wait` would only add to that, and is left out.
    """

    name = "down"
    title = "docker compose down -v, up -d, ready, load the dumps (in parallel)"

    def again(self) -> None:
        project = self.seeds.project
        self.parts["down -v"].append(timed(lambda: project.compose("down", "-v")))
        self.parts["up -d"].append(timed(lambda: project.compose("up", "-d")))
        self.parts["ready and loaded"].append(timed(lambda: self.seeds.each(self._load)))

    def _load(self, datastore: Seeded) -> None:
        datastore.found(self.seeds.project)
        datastore.await_ready()
        datastore.load(self.seeds.dump(datastore))


class Rsync(Way):
    name = "rsync"
    title = "kill, rsync -a --delete from a saved copy, start, ready (in parallel)"

    def prepare(self) -> None:
        self.seeds.each(self._save)

    def _volumes(self, datastore: Seeded) -> list[tuple[str, Path]]:
        mounts = [m for m in datastore.container.attrs["Mounts"] if m["Type"] == "volume"]
        return [(m["Source"], self.scratch / m["Name"]) for m in mounts]

    def _save(self, datastore: Seeded) -> None:
        datastore.found(self.seeds.project)
        datastore.container.stop(timeout=60)
        for volume, copy in self._volumes(datastore):
            copy.mkdir()
            _rsync(volume, str(copy))
        datastore.container.start()
        datastore.await_ready()

    def again(self) -> None:
        self.seeds.each(self._put_back)

    def _put_back(self, datastore: Seeded) -> None:
        datastore.container.kill()
        for volume, copy in self._volumes(datastore):
            _rsync(str(copy), volume)
        datastore.container.start()
        datastore.await_ready()


class Logical(Way):
    name = "logical"
    title = "per engine, in parallel: template database, dump import, FLUSHALL + load, drop + insert, purge + publish"

    def prepare(self) -> None:
        self.seeds.each(lambda datastore: datastore.prepare_reset())

    def again(self) -> None:
        self.seeds.each(lambda datastore: datastore.reset(self.seeds.dump(datastore)))


def _rsync(source: str, target: str) -> None:
    subprocess.run(["rsync", "-a", "--delete", f"{source}/", target], check=True)


WAYS: tuple[type[Way], ...] = (Down, Rsync, Logical)
