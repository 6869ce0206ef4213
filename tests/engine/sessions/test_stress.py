"""Small versions of benchmarks.stress: no test sees what another has left, and no killed run leaves anything."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.stacks import THREE
from benchmarks.stress_kills import kill_runs, victims
from benchmarks.stress_leaks import Leaks, ViolationError, bring_up, check_leaks, look_for_leaks
from benchmarks.stressed.stores import View
from tests.support.projects import Run, TestProject, project_in

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(600)]

Stack = tuple[TestProject, dict[str, View]]


@pytest.fixture(scope="module")
def stack(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Postgres, MariaDB and Redis, and what there is to see in their seed."""
    for project in project_in(tmp_path_factory.mktemp("stress"), run, "stress", THREE):
        yield project, bring_up(project)


@pytest.mark.parametrize(
    "leaks", [Leaks(30, workers=2), Leaks(30, workers=2, some=True), Leaks(15, spares=1, some=True)], ids=str
)
def test_no_test_sees_what_another_has_left(stack: Stack, tmp_path: Path, leaks: Leaks) -> None:
    leaks = replace(leaks, seed=time.time_ns(), timeout_s=500)
    check_leaks(look_for_leaks(*stack, tmp_path / "tests", leaks), leaks)


def test_without_restores_leaks_are_found_in_every_datastore(stack: Stack, tmp_path: Path) -> None:
    leaks = Leaks(6, restored=False, options=("--dm-isolate",))
    found = look_for_leaks(*stack, tmp_path / "tests", leaks)
    told = "".join(line for what in found.failed.values() for line in what.splitlines() if "LEAK in test" in line)
    assert {service for service in stack[1] if f"{service}: {'strings' if service == 'cache' else 'rows'}: " in told} == {
        *stack[1]
    }
    with pytest.raises(ViolationError, match="LEAK in test"):
        check_leaks(found, leaks)


def test_killed_runs_leave_nothing_and_the_next_one_starts_at_the_seed(run: Run, tmp_path: Path) -> None:
    with victims(tmp_path, run) as found:
        tally = kill_runs(found, 8, time.time_ns())
    assert sum(tally.killed.values()) == 8
