"""The plugin's state of one pytest process: the session, and what is known of the stack between tests."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from dm_compose.clones.clone import Clone, clone_name
from dm_compose.clones.settle import settled
from dm_compose.core.commit import Commit
from dm_compose.core.events import Event
from dm_compose.core.names import DotName
from dm_compose.dots.stack import Stack
from dm_compose.operations.restore import RestoreReport
from dm_compose.sessions.leases import CloneSession, SharedSession
from dm_compose.sessions.session import SessionOptions, StackSession
from dm_compose.sessions.spares import SpareSession
from dm_compose.sharing.up_from import commit_for_tests
from pytest_dotmesh.config import DmConfig
from pytest_dotmesh.keeping import keep
from pytest_dotmesh.reporting import KeptState, TestCost
from pytest_dotmesh.stack import DmStack
from pytest_dotmesh.workers import Turns, Worker


@dataclass(frozen=True)
class Hooks:
    """What is called before a restore that has something to look at, and after it."""

    before: Callable[[DmStack, Commit], object]
    after: Callable[[DmStack, RestoreReport], object]


@dataclass
class _Place:
    """Where tests within a scope start from."""

    start: Commit


class Runner:
    """Opens the session when the first test wants it, and restores before and after tests.

    `pristine` is the commit the stack is taken to be at where nothing can be proven: set by a roll-back, unset as soon as any
    test runs.
    """

    def __init__(self, config: DmConfig, worker: Worker, tell: Callable[[str], None], hooks: Hooks) -> None:
        self.config = config
        self.worker = worker
        self.costs: list[TestCost] = []
        self._tell = tell
        self._hooks = hooks
        self._looking_for: Commit | None = None
        self._places: list[_Place] = []  # the session's, then those of narrower scopes
        self._session: StackSession | None = None
        self._pristine: Commit | None = None
        self._turns = Turns(worker.shared["turns"]) if worker.shared else None
        self.stack = Stack(config.compose, self._listen)

    def _listen(self, event: Event) -> None:
        if event.what in ("wait", "warning", "recover", "adopt", "settle", "durability", "spares"):
            self._tell(f"dm: {event.what}: {event.text}")

    @property
    def session(self) -> StackSession:
        """The session, begun on first use."""
        if self._session is None:
            session = self._new_session().__enter__()
            self._session = session
            assert session.commit is not None
            self._places = [_Place(session.commit)]
            session.before_restore = self._before_restore
            if self._turns is None:  # else it may be down at the moment, for somebody else's test
                self.config.environment.set(session.endpoint)
        return self._session

    def _options(self) -> SessionOptions:
        """Return how the session behaves, its commit got from a remote where one is named, and settled."""
        options = self.config.session
        if self.config.source is not None:
            options = replace(options, commit=commit_for_tests(self.stack, self.config.source))
        if self.config.settle and not self.worker.shared:
            options = replace(options, commit=settled(self.stack, options, self.worker.run))
        return options

    def _new_session(self) -> StackSession:
        worker, options = self.worker, self._options()
        if shared := worker.shared:
            stack = Clone(self.stack, DotName(shared["clone"]), worker.run) if shared["clone"] else self.stack
            return SharedSession(stack, replace(options, commit=shared["commit"]))
        if self.config.spares:
            return SpareSession(self.stack, options, self.config.spares, worker.run, worker.name or "main")
        if self.config.isolate or worker.count > 1:
            name = clone_name(self.stack.project.name, worker.run, worker.name or "main")
            return CloneSession(Clone(self.stack, name, worker.run), options)
        return StackSession(self.stack, options)

    def close(self) -> None:
        """End the session, if there is one."""
        self.config.environment.restore()
        if self._session is not None:
            session, self._session = self._session, None
            session.before_restore = lambda _: None
            session.__exit__(None, None, None)

    # One stack for several workers

    @contextlib.contextmanager
    def lent(self) -> Iterator[dict[str, str]]:
        """In the controller: have the stack up for workers that use it in turn. Yields their `Worker.shared`."""
        try:
            session = self.session
            assert session.commit is not None
            clone = str(session.stack.name) if isinstance(session.stack, Clone) else ""
            with Turns.lent() as turns:
                yield {"commit": str(session.commit.id), "turns": turns, "clone": clone}
        finally:
            self.close()

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Have the stack for one test, where workers share it."""
        if self._turns is None:
            yield
            return
        with self._turns.take() as left_at:
            start = self.session.commit
            self._pristine = start if start is not None and start.id == left_at else None
            self.config.environment.set(self.session.endpoint)
            yield
            if self._pristine is not None:
                self._turns.leave(self._pristine.id)

    # Around a test

    def touched(self) -> None:
        """Say that a test ran, or is about to, that may have changed the stack."""
        self._pristine = None

    @property
    def is_open(self) -> bool:
        """Whether the session has begun."""
        return self._session is not None

    @property
    def start(self) -> Commit:
        """The commit that tests start from here: the session's, or where a wider scope's `start_here` has put it."""
        session = self.session
        assert session.commit is not None
        return self._places[-1].start

    def shown(self) -> DmStack:
        """Return the stack as it is, for tests that see each other's changes."""
        session, place = self.session, self._places[0]
        return DmStack(session, self.start, self.restore, lambda commit: setattr(place, "start", commit))

    def before(self, ref: str | None) -> DmStack:
        """Return the stack at the commit that a test wants."""
        session = self.session
        commit = self.start if ref is None else session.resolve(ref)
        pristine = self._pristine is not None and self._pristine.id == commit.id
        if session.proves_untouched or not pristine or session.written_to():
            self.restore(commit)
        self._pristine = None
        return DmStack(session, commit, self.restore)

    def restore(self, commit: Commit) -> RestoreReport:
        """Put the stack to a commit, and have the environment say where its services are then."""
        report = self.session.restore(commit)
        if report.plan.steps:
            self.config.environment.set(self.session.endpoint)
        if self._looking_for is not None:
            self._looking_for = None
            self._hooks.after(DmStack(self.session, commit, self.restore), report)
        return report

    def _before_restore(self, commit: Commit) -> None:
        self._looking_for = None
        self._hooks.before(DmStack(self.session, commit, self.restore), commit)
        self._looking_for = commit

    def after(self, nodeid: str, before_s: float = 0.0) -> None:
        """Roll back what a test left, to where tests start from; `before_s` went into the restore before it."""
        start = self.start
        began = time.monotonic()
        report = self.restore(start)
        self._pristine = start
        self.costs.append(TestCost.of(nodeid, self.stack.project.name, report, before_s + time.monotonic() - began))

    @contextlib.contextmanager
    def lasting(self, ref: str | None, nodeid: str) -> Iterator[DmStack]:
        """Have the stack at a commit for the tests of a class, module or package, and roll it back at the end."""
        began = time.monotonic()
        stack = self.before(ref)
        before_s = time.monotonic() - began
        place = _Place(stack.start)
        self._places.append(place)
        try:
            yield DmStack(self.session, stack.start, self.restore, lambda commit: setattr(place, "start", commit))
        finally:
            self._places.remove(place)
            self.after(nodeid, before_s)

    def keep(self, test: str, what: str) -> KeptState:
        """Keep the state that a failed test has left."""
        return keep(self.session, self.start, self.config.keep_failed, self.worker.run, test, what)
