"""dm-compose killed at changes of the disk and requests to the engine: the next command leaves the old state or the new, all
running.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import crashing
from tests.support.crashing import KILLED
from tests.support.projects import TestProject, eventually

pytestmark = pytest.mark.engine

STOPS = 9


@pytest.fixture
def killing(cache_only: TestProject, tmp_path: Path) -> dict[str, str]:
    """Environment in which dm-compose dies at its CRASH_AT-th change."""
    return crashing.killing(tmp_path)


def stops(project: TestProject, killing: dict[str, str], *words: str) -> Iterator[int]:
    """Run the command once to count its changes, then yield places to kill it at, spread over the whole of it."""
    project.dm(*words, **killing, CRASH_AT="0")
    total = int(Path(killing["CRASH_COUNT"]).read_text())
    assert total > STOPS
    yield from sorted({1 + number * (total - 1) // (STOPS - 1) for number in range(STOPS)})


def test_reset_killed_anywhere(cache_only: TestProject, killing: dict[str, str]) -> None:
    cache_only.redis().set("note", "uncommitted")
    seen = set()
    for place in stops(cache_only, killing, "reset", "--hard"):
        eventually(lambda: cache_only.redis().set("note", "uncommitted"), "redis")
        done = cache_only.dm("reset", "--hard", check=False, **killing, CRASH_AT=str(place))
        assert done.returncode in (0, KILLED), done.stderr
        cache_only.dm("status")
        assert cache_only.state("cache") == "running"
        note = eventually(lambda: cache_only.redis().get("note"), "redis")
        assert note in ("seed", "uncommitted")
        seen.add(note)
        assert cache_only.json("status")["head"]["id"] == cache_only.seed
        if note == "seed":
            cache_only.dm("undo")
            assert cache_only.redis().get("note") == "uncommitted"
    assert seen == {"seed", "uncommitted"}


def test_commit_killed_anywhere(cache_only: TestProject, killing: dict[str, str]) -> None:
    expected = 1
    for place in stops(cache_only, killing, "commit", "-m", "count"):
        before = len(cache_only.json("log"))
        cache_only.redis().set("note", f"at {place}")
        done = cache_only.dm("commit", "-m", str(place), check=False, **killing, CRASH_AT=str(place))
        assert done.returncode in (0, KILLED), done.stderr
        after = cache_only.json("log")
        assert cache_only.state("cache") == "running"
        assert cache_only.redis().get("note") == f"at {place}"
        assert len(after) in (before, before + 1)
        expected += len(after) - before
    assert len(cache_only.json("log")) == expected + 1
    assert not list((cache_only.home / "incoming").iterdir())
    cache_only.dm("reset", "--hard", cache_only.seed)
    assert cache_only.redis().get("note") == "seed"


def test_checkout_killed_anywhere(cache_only: TestProject, killing: dict[str, str]) -> None:
    """Each of two branches has something uncommitted; whichever one stands on afterwards, nothing of either is lost."""
    wanted = {"master": "on master", "other": "on other"}
    cache_only.redis().set("note", wanted["master"])
    cache_only.dm("checkout", "-b", "other")
    cache_only.redis().set("note", wanted["other"])
    here, there = "other", "master"
    seen = set()
    for place in stops(cache_only, killing, "checkout", there):
        here = str(cache_only.json("status")["branch"])
        there = "master" if here == "other" else "other"
        done = cache_only.dm("checkout", there, check=False, **killing, CRASH_AT=str(place))
        assert done.returncode in (0, KILLED), done.stderr
        now = str(cache_only.json("status")["branch"])
        assert now in (here, there)
        seen.add(now == there)
        assert cache_only.state("cache") == "running"
        assert eventually(lambda: cache_only.redis().get("note"), "redis") == wanted[now]
    assert seen == {True, False}
    for branch in ("master", "other", "master"):
        cache_only.dm("checkout", branch)
        assert cache_only.redis().get("note") == wanted[branch]
