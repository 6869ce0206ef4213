"""The report accounts for the whole run: restores around tests, and everything else that the stacks took."""

from __future__ import annotations

from dataclasses import replace

from dm_compose.untouched.names import EARLY
from pytest_dotmesh import reporting
from pytest_dotmesh.reporting import Spent, cost_lines, writers_hint


def cost(test: str, restore_s: float) -> reporting.TestCost:
    return reporting.TestCost(
        test, "shop", "6f0c", {"db": "something was sent to it"}, {"db-data": 8192}, {"db": "differs"}, restore_s
    )


def test_the_times_of_a_run_add_up() -> None:
    spent = [Spent("shop", "", "bringing the stack up", 5.5), Spent("shop", "", "giving the stack back", 5.4)]
    lines = list(cost_lines([cost("test_a", 0.3), cost("test_b", 0.184)], spent))
    assert lines[-4:] == [
        "  484 ms  restores around 2 tests",
        "   5.5 s  bringing the stack up",
        "   5.4 s  giving the stack back",
        "  11.4 s  in all",
    ]


def test_the_times_of_workers_are_told_together() -> None:
    spent = [Spent("shop-gw0", "gw0", "bringing the stack up", 2.0), Spent("shop-gw1", "gw1", "bringing the stack up", 3.0)]
    assert "   5.0 s  bringing the stack up (2 workers, the longest 3.0 s)" in list(cost_lines([cost("test_a", 0.1)], spent))


def test_a_run_whose_tests_touched_no_stack_is_accounted_for_too() -> None:
    assert list(cost_lines([], [Spent("shop", "", "bringing the stack up", 2.0)])) == [
        "    0 ms  restores around 0 tests",
        "   2.0 s  bringing the stack up",
        "   2.0 s  in all",
    ]


def test_three_tests_that_a_restless_service_disturbs_are_no_accident() -> None:
    def disturbed(test: str) -> reporting.TestCost:
        touched = {"db": f"worker {EARLY}", "queue": f"worker {EARLY}", "cache": "exec: redis-cli"}
        return replace(cost(test, 1.8), touched=touched)

    quiet = [cost(f"test_{n}", 0.1) for n in range(5)]
    assert writers_hint([*quiet, disturbed("a"), disturbed("b"), disturbed("b")]) is None
    hint = writers_hint([*quiet, disturbed("a"), disturbed("b"), disturbed("c")])
    assert hint is not None
    assert hint.startswith(
        "dm: worker connected to db, queue, while that was put back, so that 3 tests paid for one more restore."
    )
