"""The first commit of a stack makes its dot."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillRunning
from typing import Any

import pytest

from dm_compose.store.local.store import LocalStore
from tests.support.projects import TestProject

pytestmark = pytest.mark.engine


def test_two_first_commits_at_once_are_both_made(
    new_project: Callable[[Mapping[str, Any]], TestProject], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second begins while the first has seen that there is no dot, and has not made it yet."""
    project = new_project({"services": {"cache": {"image": "dm-example/redis:7.0", "pull_policy": "never"}}})
    project.dm("up", "-d")
    project.wait_ready()
    original, second = LocalStore.create_dot, list[Future[Any]]()

    def after_another(self: LocalStore, *args: Any, **options: Any) -> None:
        if not second:
            second.append(pool.submit(project.json, "commit", "-m", "second"))
            with contextlib.suppress(StillRunning):
                second[0].result(3)
        original(self, *args, **options)

    monkeypatch.setattr(LocalStore, "create_dot", after_another)
    with ThreadPoolExecutor(1) as pool:
        first = project.stack().commit("first", {}).commit.id
        other = second[0].result(60)["id"]
    assert {commit["id"] for commit in project.json("log")} == {first, other}
