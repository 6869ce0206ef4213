"""dm-compose killed at changes of the disk and requests to the engine: old state or new, and what was live can be had back.

After each kill a verb that only reads changes nothing. Then somebody goes on writing, and the next writing verb recovers. The
variable KILL_POINTS is the number of points for each verb, `all` for every one. Each test prints how many there are.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from dm_compose.core.commit import COMMIT, RESTORE, JournalEntry
from dm_compose.core.names import DotName
from dm_compose.operations.left import nearest
from dm_compose.store.local.store import LocalStore
from tests.support import crashing
from tests.support.crashing import KILLED
from tests.support.projects import TestProject, eventually

pytestmark = [pytest.mark.engine, pytest.mark.timeout(3600)]  # every point of a verb may take that long

POINTS = os.environ.get("KILL_POINTS", "5")
SESSION = """
import sys
from dm_compose.compose import ComposeOptions
from dm_compose.core.variables import Variables
from dm_compose.dots.stack import Stack
from dm_compose.sessions.leases import own_stack
from dm_compose.sessions.options import SessionOptions
import os
stack = Stack(ComposeOptions(files=(sys.argv[1],)), Variables.of(os.environ))
with own_stack(stack, SessionOptions()) as session:
    assert session.run("cache", ["redis-cli", "set", "note", "by a test"])[0] == 0
"""


@pytest.fixture
def killing(cache_only: TestProject, tmp_path: Path) -> dict[str, str]:
    """Environment in which dm-compose dies at its CRASH_AT-th change."""
    return crashing.killing(tmp_path)


class Killed:
    """Redis under a command that is killed at one point after the other."""

    def __init__(self, project: TestProject, killing: dict[str, str]) -> None:
        self.project = project
        self.killing = killing
        self._numbers = itertools.count()
        self.since: str | None = None

    def run(self, command: list[str], point: int) -> bool:
        """Run a command that dies at a point, 0 for none. Return whether it was done before."""
        environment = {**os.environ, **self.project.environment, **self.killing, "CRASH_AT": str(point)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=170, check=False)
        assert done.returncode in (0, KILLED), done.stderr
        return done.returncode == 0

    def points(self, command: list[str], prepare: Callable[[], object]) -> Iterator[int]:
        """Count the points of a command, then yield some or all of them. `prepare` is called before each run."""
        prepare()
        assert self.run(command, 0)
        total = int(Path(self.killing["CRASH_COUNT"]).read_text())
        assert total > 9
        most = total if POINTS == "all" else int(POINTS)
        chosen = sorted({1 + number * (total - 1) // (most - 1) for number in range(most)})
        for number, point in enumerate(chosen):
            self.recovered()
            prepare()
            yield point
            assert number < len(chosen)
        print(f"{' '.join(command[-3:])}: {total} points, {len(chosen)} tried, {len(chosen)} passed")

    def verb(self, *words: str) -> list[str]:
        """Return a command line of dm-compose."""
        return ["dm-compose", "-f", str(self.project.file), *words]

    def write_on(self, text: str) -> None:
        """Write `since`, as a client does that goes on after the kill. Where nothing answers, nothing is acknowledged."""
        self.since = None
        with contextlib.suppress(redis.RedisError, OSError, ValueError, StopIteration, KeyError):
            if self.project.state("cache") == "running":
                self.project.redis().set("since", text)
                self.since = text

    def unfinished(self) -> list[JournalEntry]:
        """Return what the journal has."""
        with contextlib.closing(LocalStore(self.project.home)) as store:
            return store.unfinished(DotName(self.project.name))

    def reads_change_nothing(self) -> None:
        """A verb that only reads leaves container and journal alone, but for what a commit has left."""
        eventually(lambda: self.project.state("cache") != "paused", "the watchdog to thaw")
        before = self.project.state("cache"), self.project.started_at("cache"), self.unfinished()
        told = self.project.json("status")["unfinished"]
        if not any(entry.operation == COMMIT for entry in before[2]):
            assert (self.project.state("cache"), self.project.started_at("cache"), self.unfinished()) == before
            assert len(told) == len(nearest(before[2])), "a restore within a test run is a part of it"

    def recovered(self) -> None:
        """Have the next writing verb recover. Nothing is unfinished then."""
        self.project.dm("tag", f"t{next(self._numbers)}")
        assert self.unfinished() == []

    def read(self, key: str) -> str | None:
        """Return a key of the live state."""
        found = eventually(lambda: [self.project.redis().get(key)], "redis")[0]
        return None if found is None else str(found)

    def what_was_written_since_is_kept(self) -> None:
        """All that a client had acknowledged since the kill is live, or in a commit that the reflog names. Resets to that."""
        if self.since is None or self.read("since") == self.since:
            return
        for saved in [e["saved"] for e in self.project.json("reflog") if e["saved"] is not None]:
            self.project.dm("reset", "--hard", saved)
            if self.read("since") == self.since:
                return
        raise AssertionError(f"{self.since!r} is lost")


@pytest.fixture
def killed(cache_only: TestProject, killing: dict[str, str]) -> Killed:
    """The quickest stack there is, under commands that are killed."""
    return Killed(cache_only, killing)


def test_reset_killed_anywhere(killed: Killed) -> None:
    project, seen = killed.project, set()

    def prepare() -> None:
        project.dm("reset", "--hard", project.seed)
        project.redis().set("note", "uncommitted")

    for point in killed.points(killed.verb("reset", "--hard"), prepare):
        killed.run(killed.verb("reset", "--hard"), point)
        killed.reads_change_nothing()
        killed.write_on(f"at {point}")
        killed.recovered()
        assert project.state("cache") == "running"
        note = killed.read("note")
        assert note in ("seed", "uncommitted")
        seen.add(note)
        assert project.json("status")["head"]["id"] == project.seed
        if note == "seed":
            project.dm("undo")
            assert killed.read("note") == "uncommitted"
        killed.what_was_written_since_is_kept()
    assert seen == {"seed", "uncommitted"}


def test_recovery_killed_anywhere(killed: Killed) -> None:
    """A reset is killed while it waits for Redis, somebody writes on, and then the recovery is killed."""
    project = killed.project
    project.redis().set("note", "uncommitted")
    assert killed.run(killed.verb("reset", "--hard"), 0)
    last = int(Path(killed.killing["CRASH_COUNT"]).read_text())

    def prepare() -> None:
        nonlocal last
        while True:
            project.dm("reset", "--hard", project.seed)
            project.redis().set("note", "uncommitted")
            killed.run(killed.verb("reset", "--hard"), last)
            begun = any(entry.operation == RESTORE for entry in killed.unfinished())  # else it is given up, not finished
            if begun and project.state("cache") == "running":
                break
            killed.recovered()
            last -= 1
        eventually(lambda: killed.write_on("after the reset") or killed.since is not None, "redis")

    for number, point in enumerate(killed.points(killed.verb("tag", "recovers"), prepare)):
        killed.run(killed.verb("tag", f"again{number}"), point)
        killed.reads_change_nothing()
        killed.recovered()
        assert killed.read("note") == "seed"
        assert project.json("status")["head"]["id"] == project.seed
        project.dm("undo")
        assert killed.read("note") == "uncommitted"
        killed.what_was_written_since_is_kept()


def test_commit_killed_anywhere(killed: Killed) -> None:
    project, expected = killed.project, 2
    command = killed.verb("commit", "-m", "count")
    for point in killed.points(command, lambda: None):
        before = len(project.json("log"))
        project.redis().set("note", f"at {point}")
        killed.run(command, point)
        killed.reads_change_nothing()
        killed.write_on(f"at {point}")
        killed.recovered()
        after = len(project.json("log"))
        assert project.state("cache") == "running"
        assert killed.read("note") == f"at {point}"
        assert killed.since is None or killed.read("since") == killed.since
        assert after in (before, before + 1)
        expected += after - before
    assert len(project.json("log")) == expected
    assert not list((project.home / "incoming").iterdir())
    project.dm("reset", "--hard", project.seed)
    assert killed.read("note") == "seed"


def test_checkout_killed_anywhere(killed: Killed) -> None:
    """Each of two branches has something uncommitted; whichever one stands on afterwards, nothing of either is lost."""
    project, seen = killed.project, set()
    wanted = {"master": "on master", "other": "on other"}
    project.redis().set("note", wanted["master"])
    project.dm("checkout", "-b", "other", "--leave")

    def prepare() -> None:
        for branch in ("master", "other"):
            project.dm("checkout", branch)
            project.redis().set("note", wanted[branch])

    for point in killed.points(killed.verb("checkout", "master"), prepare):
        killed.run(killed.verb("checkout", "master"), point)
        killed.reads_change_nothing()
        killed.write_on(f"at {point}")
        killed.recovered()
        now = str(project.json("status")["branch"])
        seen.add(now)
        assert project.state("cache") == "running"
        for branch in (now, "other" if now == "master" else "master"):
            project.dm("checkout", branch)
            assert killed.read("note") == wanted[branch]
        project.dm("checkout", now)
        killed.what_was_written_since_is_kept()
    assert seen == {"master", "other"}


def test_down_with_volumes_killed_anywhere(killed: Killed) -> None:
    """Redis has the write in its memory only. Afterwards it is in the volume, or in the commit that the reflog names."""
    project, seen = killed.project, set()

    def prepare() -> None:
        project.dm("reset", "--hard", project.seed)
        project.dm("up", "-d")
        eventually(lambda: project.redis().set("note", "in memory"), "redis")

    command = killed.verb("down", "-v", "-t", "5")

    def kept(point: int) -> None:
        killed.run(command, point)
        there = project.json("status")["subdots"][0]["place"] is not None
        seen.add(there)
        killed.recovered()
        if not there:
            saved = [e["saved"] for e in project.json("reflog") if e["action"] == "down -v"]
            project.dm("reset", "--hard", saved[0])
        project.dm("up", "-d")
        assert killed.read("note") == "in memory"
        project.dm("reset", "--hard", project.seed)

    for point in killed.points(command, prepare):
        kept(point)
    prepare()
    kept(0)  # few points come after Compose has removed the volume, and a sample may have none of them
    assert seen == {True, False}


def test_up_killed_anywhere(killed: Killed) -> None:
    project = killed.project
    project.redis().set("note", "mine")
    command = killed.verb("up", "-d")
    for point in killed.points(command, lambda: project.dm("down")):
        killed.run(command, point)
        project.dm("up", "-d")
        assert killed.read("note") == "mine"


def test_session_killed_anywhere(killed: Killed) -> None:
    """A test run is killed while it takes the stack, uses it, or gives it back: what was there comes back."""
    project = killed.project

    def prepare() -> None:
        project.dm("reset", "--hard", project.seed)
        project.redis().set("note", "mine")

    command = [sys.executable, "-c", SESSION, str(project.file)]
    for point in killed.points(command, prepare):
        killed.run(command, point)
        killed.reads_change_nothing()
        killed.write_on(f"at {point}")
        killed.recovered()
        assert killed.read("note") == "mine"
        killed.what_was_written_since_is_kept()
