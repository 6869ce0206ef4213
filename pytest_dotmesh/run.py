"""One pytest process: the stacks that it uses, and the fixtures that give them to tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from dm_compose.compose import ComposeOptions
from dm_compose.errors import DmError
from dm_compose.sessions.leases import GivenUp
from pytest_dotmesh.config import DmConfig
from pytest_dotmesh.ending import AGAIN, Ending
from pytest_dotmesh.environment import Environment
from pytest_dotmesh.marker import check_markers
from pytest_dotmesh.reporting import KeptState, Spent, TestCost
from pytest_dotmesh.runner import Hooks, Runner
from pytest_dotmesh.telling import Teller
from pytest_dotmesh.workers import Worker

SESSION_FIXTURE = "dm_session_stack"
WIDER_FIXTURES = {"dm_class_stack", "dm_module_stack", "dm_package_stack"}
run_key = pytest.StashKey["Run"]()


@dataclass(frozen=True)
class _Shown:
    """A fixture that gives a stack to tests, to each one anew or to several."""

    runner: Runner
    per_test: bool


class Run:
    """The stacks of a pytest process. `main` is the one that the settings name.

    To make a Run takes no time, because neither Compose nor the engine is asked.
    """

    def __init__(self, config: pytest.Config, settings: DmConfig) -> None:
        self.settings = settings
        self.refused: str | None = None
        self._config = config
        self._worker = Worker.of(config)
        self.teller = Teller(config, self._worker.lines)
        self.ending = Ending(lambda: self.teller.tell(f"dm: interrupted: what has come up is given back; {AGAIN}"))
        self._runners: dict[ComposeOptions, Runner] = {}
        self._shown: dict[str, _Shown] = {}
        self._kept: list[KeptState] = []

    @classmethod
    def of(cls, config: pytest.Config) -> Run:
        """Return the run of a pytest process."""
        return config.stash[run_key]

    # Stacks

    @property
    def main(self) -> Runner:
        """The stack that the settings name."""
        return self._runner(self.settings, self._worker)

    def other(self, compose: ComposeOptions, commit: str) -> Runner:
        """Return another stack than `main`. The first caller decides about the commit of its session."""
        session = replace(self.settings.session, commit=commit)
        settings = replace(self.settings, compose=compose, session=session, source=None, environment=Environment((), ""))
        return self._runner(settings, replace(self._worker, shared={}))

    def _runner(self, settings: DmConfig, worker: Worker) -> Runner:
        if (found := self._runners.get(settings.compose)) is None:
            hook, config = self._config.hook, self._config
            hooks = Hooks(
                before=lambda stack, commit: hook.pytest_dm_before_restore(config=config, stack=stack, commit=commit),
                after=lambda stack, report: hook.pytest_dm_after_restore(config=config, stack=stack, report=report),
            )
            found = self._runners[settings.compose] = Runner(settings, worker, self.teller, self.ending, hooks)
        return found

    def close(self) -> None:
        """Give all stacks back, in the reverse order of taking.

        A ^C ends that, and then the next command does it. This is told.
        """
        try:
            for runner in reversed(self._runners.values()):
                runner.close()
        except GivenUp:
            pass
        for text in dict.fromkeys(runner.left_behind for runner in self._runners.values() if runner.left_behind):
            self.teller.tell(f"dm: interrupted: {text}")

    @property
    def has_taken(self) -> bool:
        """Whether a stack was taken, and not given back."""
        return any(runner.left_behind for runner in self._runners.values())

    @property
    def spent(self) -> list[Spent]:
        """The times that stacks took beside the restores around tests."""
        return [spent for runner in self._runners.values() for spent in runner.spent]

    # Tests

    def header(self, items: Sequence[pytest.Item]) -> list[str]:
        """Return lines that show the stack, its dot, the commit and the strategy, if a test uses the stack."""
        if not any(map(self.wants_main, items)):
            return []
        try:
            plan = self.main.stack.facts.plan
        except DmError as error:
            return [f"dm: {error.message}"]
        subdots = ", ".join(s.name for s in plan.subdots)
        commit, strategy = self.settings.source or self.settings.session.commit, self.settings.session.strategy
        return [f"dm: stack {plan.project}, dot {plan.dot} ({subdots}), commit {commit}, strategy {strategy}"]

    def problem(self, items: Sequence[pytest.Item], *, markers_only: bool) -> str | None:
        """Return why these tests cannot be run, None if nothing is known against it. It is in `refused` from then on.

        A marker may be wrong. Unless `markers_only`, the stack of the settings is looked for, if a test wants it.
        """
        try:
            check_markers(items)
            if not markers_only and any(map(self.wants_main, items)):
                self.main.check()
        except pytest.UsageError as error:
            self.refused = str(error)
        except DmError as error:
            self.refused = f"dm: {error}"
        return self.refused

    def shows(self, fixture: str, runner: Runner, *, per_test: bool) -> None:
        """Note the stack that a fixture gives to tests."""
        self._shown[fixture] = _Shown(runner, per_test)

    def is_restored(self, item: pytest.Item) -> bool:
        """Whether a test gets dm_stack: by its name, by a marker or by --dm-autouse."""
        names = set(getattr(item, "fixturenames", ()))
        asked = "dm_stack" in names or item.get_closest_marker("dm") is not None
        return asked or (self.settings.autouse and not names & WIDER_FIXTURES)

    def wants_main(self, item: pytest.Item) -> bool:
        """Whether a test uses the stack that the settings name."""
        return SESSION_FIXTURE in getattr(item, "fixturenames", ()) or self.is_restored(item)

    def begins(self, item: pytest.Item) -> None:
        """Note that a test may change the stacks in use that none of its fixtures restores."""
        names = getattr(item, "fixturenames", ())
        restored = [self._shown[name].runner for name in names if name in self._shown and self._shown[name].per_test]
        for runner in self._runners.values():
            if runner.is_open and runner not in restored:
                runner.forget_pristine()

    def keep(self, item: pytest.Item, what: str) -> None:
        """Keep the states of a failed test's stacks, if the settings say so."""
        names = {*getattr(item, "fixturenames", ()), *(("dm_stack",) if self.is_restored(item) else ())}
        used = dict.fromkeys(self._shown[name].runner for name in sorted(names) if name in self._shown)
        if not self.settings.keep_failed.wanted or any(kept.test == item.nodeid for kept in self._kept):
            return
        self._kept += [runner.keep(item.nodeid, what) for runner in used if runner.is_open]

    def taken(self) -> tuple[Sequence[TestCost], Sequence[KeptState]]:
        """Return costs and kept states of the test that has ended, and forget them."""
        costs = [cost for runner in self._runners.values() for cost in runner.costs]
        for runner in self._runners.values():
            runner.costs.clear()
        kept, self._kept = self._kept, []
        return costs, kept
