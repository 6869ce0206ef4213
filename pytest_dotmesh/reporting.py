"""The cost of tests and the states that failed ones left: on each test's report, for JUnit, as text and as JSON.

A test's report is the way for such data from a worker of pytest-xdist to the controller.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from dm_compose.core.plan import Action
from dm_compose.core.units import counted, seconds, size
from dm_compose.operations.restore import RestoreReport
from dm_compose.untouched.names import EARLY

_ATTRIBUTE = "dm"  # of a pytest.TestReport; pytest-xdist sends plain data along
_SLOWEST = 5
_OFTEN = 3  # tests, from which on it is no accident that somebody connects early
JSON_FORMAT = 1


@dataclass(frozen=True)
class TestCost:
    """The effect of a test on a stack, and the cost of undoing it.

    test: the node's id. It is that of a class, module or package for a stack that is restored around one of these.
    touched: services that may have been changed, each with the reason.
    dirtied: bytes that were put back, by subdot.
    restarted: services that were taken down, each with the reason.
    restore_s: seconds for the restores before and after the test.
    handed_out: the next test got another stack. Dirtied bytes and restarted services of this one were not known yet.
    """

    test: str
    stack: str
    commit: str
    touched: dict[str, str]
    dirtied: dict[str, int]
    restarted: dict[str, str]
    restore_s: float
    handed_out: bool = False

    @classmethod
    def of(cls, test: str, stack: str, report: RestoreReport, restore_s: float) -> TestCost:
        """Return a test's cost, from the report of its roll-back, as plain data: pytest-xdist sends no subclass of str."""
        restarted = {str(step.label): step.cause for step in report.plan.steps if step.action is Action.KILL}
        dirtied = {str(name): restored.changed_bytes for name, restored in report.restored().items()}
        touched = {**restarted, **report.touched}
        return cls(test, stack, str(report.target.id), touched, dirtied, restarted, restore_s, report.handed_out)


@dataclass(frozen=True)
class Spent:
    """Seconds that a stack took beside the restores around tests. `worker` is empty without pytest-xdist.

    `what` says for what: bringing the stack up, giving it back, and so on.
    """

    stack: str
    worker: str
    what: str
    s: float


@dataclass(frozen=True)
class KeptState:
    """The state after a failed test: the command that brings it back, or the reason why it was not kept or not pushed."""

    test: str
    command: str | None
    problem: str | None = None


def attach(report: pytest.TestReport, costs: Sequence[TestCost], kept: Sequence[KeptState]) -> None:
    """Put a test's costs and kept states on its report, and into the properties that JUnit shows."""
    if not costs and not kept:
        return
    setattr(report, _ATTRIBUTE, {"costs": [asdict(c) for c in costs], "kept": [asdict(k) for k in kept]})
    for cost in costs:
        properties = {
            "dm_stack": cost.stack,
            "dm_touched": "; ".join(f"{name}: {why}" for name, why in sorted(cost.touched.items())),
            "dm_restore_s": f"{cost.restore_s:.3f}",
        }
        if not cost.handed_out:
            properties["dm_dirtied_bytes"] = str(sum(cost.dirtied.values()))
            properties["dm_restarted"] = ", ".join(sorted(cost.restarted))
        report.user_properties.extend(properties.items())
    report.user_properties.extend(("dm_kept", k.command or f"not kept: {k.problem}") for k in kept)


class Reports:
    """Collects costs and kept states from the reports of all tests, workers' included, and tells of them at the end."""

    def __init__(self, *, wanted: bool, path: str | None) -> None:
        self._wanted, self._path = wanted, path
        self.costs: list[TestCost] = []
        self.spent: list[Spent] = []
        self.kept: list[KeptState] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take costs and kept states from a test's report."""
        found: dict[str, Any] = getattr(report, _ATTRIBUTE, {})
        self.costs += [TestCost(**cost) for cost in found.get("costs", ())]
        self.kept += [KeptState(**kept) for kept in found.get("kept", ())]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write the JSON file, print the report if it is wanted, and print how to bring back the states of failed tests."""
        if self._path and (problem := self._write(Path(self._path))):
            terminalreporter.write_line(f"dm: {problem}")
        if self._wanted and (self.costs or self.spent):
            terminalreporter.section("dm: touched by tests, and the cost of putting it back")
            for line in cost_lines(self.costs, self.spent):
                terminalreporter.write_line(line)
        if (hint := writers_hint(self.costs)) is not None:
            terminalreporter.write_line(hint)
        if self.kept:
            terminalreporter.section("dm: states of failed tests")
            for kept in self.kept:
                terminalreporter.write_line(f"{kept.test}: {kept.command or f'not kept: {kept.problem}'}")
                if kept.command and kept.problem:
                    terminalreporter.write_line(f"    {kept.problem}")

    def _write(self, path: Path) -> str | None:
        document = {
            "format": JSON_FORMAT,
            "restore_s": sum(cost.restore_s for cost in self.costs),
            "run": [asdict(spent) for spent in self.spent],
            "tests": [asdict(cost) for cost in self.costs],
            "kept": [asdict(kept) for kept in self.kept],
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(document, indent=1) + os.linesep)
        except OSError as error:
            return f"the report was not written: {error}"
        return None


def writers_hint(costs: Sequence[TestCost]) -> str | None:
    """Return what people can do if somebody keeps connecting to datastores while they are put back. None if nobody does."""
    early = {cost.test: {(name, why) for name, why in cost.touched.items() if why.endswith(EARLY)} for cost in costs}
    tests = [test for test, found in early.items() if found]
    if len(tests) < _OFTEN:
        return None
    met: dict[str, set[str]] = defaultdict(set)
    for name, why in sorted(chain.from_iterable(early.values())):
        met[why.removesuffix(EARLY).strip()].add(name)
    who = "; ".join(f"{who} connected to {', '.join(sorted(names))}" for who, names in sorted(met.items()))
    return (
        f"dm: {who}, while that was put back, so that {counted(len(tests), 'test')} paid for one more restore. A service that is"
        " stopped before the run stays stopped, and one in a profile of its own is left out; see `What happens around the tests`"
        " in dm-compose's documentation of the plugin"
    )


def cost_lines(costs: Sequence[TestCost], spent: Sequence[Spent]) -> Iterable[str]:
    """Yield the lines of the report for people: each test with the reasons below it, the slowest tests, the times of the run."""
    stacks = {cost.stack for cost in costs}
    for cost in costs:
        dirtied = ", ".join(f"{name} {size(count)}" for name, count in sorted(cost.dirtied.items())) or "no file"
        restarted = ", ".join(sorted(cost.restarted)) or "nothing"
        where = f" ({cost.stack})" if len(stacks) > 1 else ""
        what = "put back in the background" if cost.handed_out else f"{dirtied}; restarted {restarted}"
        yield f"{seconds(cost.restore_s):>8}  {cost.test}{where}: {what}"
        yield from (f"{'':10}{name}: {why}" for name, why in sorted(cost.touched.items()))
    if costs:
        slowest = sorted(costs, key=lambda cost: -cost.restore_s)[:_SLOWEST]
        yield f"slowest: {', '.join(f'{c.test} {seconds(c.restore_s)}' for c in slowest)}"
    restores_s = sum(c.restore_s for c in costs)
    tests = len({cost.test for cost in costs})
    yield f"{seconds(restores_s):>8}  restores around {counted(tests, 'test')}"
    for what in dict.fromkeys(s.what for s in spent):
        mine = [s.s for s in spent if s.what == what]
        workers = len({s.worker for s in spent if s.what == what})
        beside = f" ({workers} workers, the longest {seconds(max(mine))})" if workers > 1 else ""
        yield f"{seconds(sum(mine)):>8}  {what}{beside}"
    yield f"{seconds(restores_s + sum(s.s for s in spent)):>8}  in all"
