"""The plugin's state of one pytest run: the session, and what is known of the stack between tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from dm_compose.core.commit import Commit
from dm_compose.core.events import Event
from dm_compose.core.plan import Action
from dm_compose.repository.filling import commit_for_tests
from dm_compose.repository.restoring import RestoreReport
from dm_compose.repository.session import SessionOptions, StackSession
from dm_compose.repository.stack import Stack
from pytest_dotmesh.config import DmConfig
from pytest_dotmesh.stack import DmStack


@dataclass(frozen=True)
class TestCost:
    """What one test dirtied and what putting it back cost: bytes by subdot, services taken down, seconds."""

    nodeid: str
    dirtied: dict[str, int]
    restarted: tuple[str, ...]
    restore_s: float


class Runner:
    """Opens the session when the first test wants it, and restores before and after tests.

    `pristine` is the commit the stack is taken to be at where nothing can be proven: set by a roll-back, unset as soon as any
    test runs.
    """

    def __init__(self, config: DmConfig, tell: Callable[[str], None]) -> None:
        self.config = config
        self.costs: list[TestCost] = []
        self._tell = tell
        self._session: StackSession | None = None
        self._pristine: Commit | None = None
        self.stack = Stack(config.compose, self._listen)

    def _listen(self, event: Event) -> None:
        if event.what in ("wait", "warning", "recover", "adopt"):
            self._tell(f"dm: {event.what}: {event.text}")

    @property
    def session(self) -> StackSession:
        """The session, begun on first use."""
        if self._session is None:
            session = StackSession(self.stack, self._options())
            self._session = session.__enter__()
        return self._session

    def _options(self) -> SessionOptions:
        """Return how the session behaves, after getting its commit from a remote where one is named."""
        if self.config.source is None:
            return self.config.session
        return replace(self.config.session, commit=commit_for_tests(self.stack, self.config.source))

    def close(self) -> None:
        """End the session, if there is one."""
        if self._session is not None:
            session, self._session = self._session, None
            session.__exit__(None, None, None)

    def touched(self) -> None:
        """Say that a test ran, or is about to, that may have changed the stack."""
        self._pristine = None

    def before(self, ref: str | None) -> DmStack:
        """Return the stack at the commit that a test wants."""
        session = self.session
        assert session.commit is not None
        commit = session.commit if ref is None else session.resolve(ref)
        pristine = self._pristine is not None and self._pristine.id == commit.id
        if session.proves_untouched or not pristine or session.written_to():
            session.restore(commit)
        self._pristine = None
        return DmStack(session, commit)

    def after(self, item: pytest.Item) -> None:
        """Roll back what a test left, to the session's commit."""
        session = self.session
        assert session.commit is not None
        began = time.monotonic()
        report = session.restore(session.commit)
        self._pristine = session.commit
        self.costs.append(_cost(item.nodeid, report, time.monotonic() - began))


def _cost(nodeid: str, report: RestoreReport, restore_s: float) -> TestCost:
    dirtied = {str(name): restored.changed_bytes for name, restored in report.restored().items()}
    restarted = tuple(step.label for step in report.plan.steps if step.action is Action.KILL)
    return TestCost(nodeid, dirtied, restarted, restore_s)
