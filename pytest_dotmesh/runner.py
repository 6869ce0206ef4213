"""The plugin's state of one pytest process: the session, and what is known of the stack between tests."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from dm_compose.clones.clone import Clone, clone_name
from dm_compose.clones.settle import SettleOptions, settled
from dm_compose.core.commit import Commit
from dm_compose.core.events import Event
from dm_compose.core.names import DotName
from dm_compose.dots.stack import Stack
from dm_compose.operations.restore import RestoreReport
from dm_compose.sessions.leases import in_turn, on_clone, own_stack
from dm_compose.sessions.options import SessionOptions
from dm_compose.sessions.session import Lease
from dm_compose.sessions.spares import with_spares
from dm_compose.sharing.up_from import commit_for_tests
from dm_compose.untouched.last_restore import Touched
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
    """Takes the stack when the first test wants it, and restores it before and after tests.

    `_pristine` is the commit that the stack is taken to be at where nothing can be proven. A roll-back sets it; any test that
    runs unsets it.
    """

    def __init__(self, config: DmConfig, worker: Worker, tell: Callable[[str], None], hooks: Hooks) -> None:
        self.config = config
        self.worker = worker
        self.costs: list[TestCost] = []
        self._tell = tell
        self._hooks = hooks
        self._places: list[_Place] = []  # the session's, then those of narrower scopes
        self._resources = contextlib.ExitStack()
        self._lease: Lease | None = None
        self._pristine: Commit | None = None
        self._turns = Turns(worker.shared["turns"]) if worker.shared else None
        self.stack = Stack(config.compose, self._listen)

    def _listen(self, event: Event) -> None:
        if event.what in ("wait", "warning", "recover", "carry", "settle", "durability", "spares"):
            self._tell(f"dm: {event.what}: {event.text}")

    @property
    def lease(self) -> Lease:
        """The stack as this process has it, taken on first use."""
        if self._lease is None:
            self._lease = self._resources.enter_context(self._new_lease())
            self._places = [_Place(self._lease.commit)]
            if self._turns is None:  # else it may be down at the moment, for somebody else's test
                self.config.environment.set(self._lease.endpoint)
        return self._lease

    def _options(self) -> SessionOptions:
        """Return how the session behaves, its commit got from a remote where one is named, and settled."""
        options = self.config.session
        if self.config.source is not None:
            options = replace(options, commit=commit_for_tests(self.stack, self.config.source))
        if self.config.settle and not self.worker.shared:
            settling = SettleOptions(options.commit, options.any_version, options.ready_timeout_s)
            options = replace(options, commit=settled(self.stack, settling, self.worker.run))
        return options

    def _new_lease(self) -> contextlib.AbstractContextManager[Lease]:
        worker, options = self.worker, self._options()
        if shared := worker.shared:
            stack = Clone(self.stack, DotName(shared["clone"]), worker.run) if shared["clone"] else self.stack
            return in_turn(stack, replace(options, commit=shared["commit"]))
        if self.config.spares:
            return with_spares(self.stack, options, self.config.spares, worker.run, worker.name or "main")
        if self.config.isolate or worker.count > 1:
            name = clone_name(self.stack.facts.project.name, worker.run, worker.name or "main")
            return on_clone(Clone(self.stack, name, worker.run), options)
        return own_stack(self.stack, options)

    def close(self) -> None:
        """Give the stack back, if it was taken."""
        self.config.environment.restore()
        self._lease = None
        self._resources.close()

    # One stack for several workers

    @contextlib.contextmanager
    def lent(self) -> Iterator[dict[str, str]]:
        """In the controller: have the stack up for workers that use it in turn. Yields their `Worker.shared`."""
        try:
            session = self.lease.session
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
            start = self.lease.commit
            self._pristine = start if start.id == left_at else None
            self.config.environment.set(self.lease.endpoint)
            yield
            if self._pristine is not None:
                self._turns.leave(self._pristine.id)

    # Around a test

    def forget_pristine(self) -> None:
        """Forget that the stack is as a restore left it, because a test that may change it has run or is about to."""
        self._pristine = None

    @property
    def is_open(self) -> bool:
        """Whether the stack was taken."""
        return self._lease is not None

    @property
    def start(self) -> Commit:
        """The commit that tests start from here: the session's, or where a wider scope's `start_here` has put it."""
        lease = self.lease
        return self._places[-1].start if self._places else lease.commit

    def shown(self) -> DmStack:
        """Return the stack as it is, for tests that see each other's changes."""
        lease, place = self.lease, self._places[0]
        return DmStack(lease, self.start, self.restore, lambda commit: setattr(place, "start", commit))

    def before(self, ref: str | None) -> DmStack:
        """Return the stack at the commit that a test wants."""
        lease = self.lease
        commit = self.start if ref is None else lease.session.resolve(ref)
        pristine = self._pristine is not None and self._pristine.id == commit.id
        changed = lease.what_changed(commit)
        if lease.session.proves_untouched or not pristine or changed.everything or changed.subdots:
            self._restore(commit, changed)
        self._pristine = None
        return DmStack(lease, commit, self.restore)

    def restore(self, commit: Commit) -> RestoreReport:
        """Put the stack to a commit, and have the environment say where its services are then."""
        return self._restore(commit, self.lease.what_changed(commit))

    def _restore(self, commit: Commit, changed: Touched) -> RestoreReport:
        began = time.monotonic()
        lease = self.lease
        if not changed:
            return lease.restore(commit, changed)
        stack = DmStack(lease, commit, self.restore)
        self._hooks.before(stack, commit)
        report = lease.restore(commit, changed)
        if report.plan.steps:
            self.config.environment.set(lease.endpoint)
        report = replace(report, total_s=time.monotonic() - began)
        self._hooks.after(stack, report)
        return report

    def after(self, nodeid: str, before_s: float = 0.0) -> None:
        """Roll back what a test left, to where tests start from; `before_s` went into the restore before it."""
        start = self.start
        began = time.monotonic()
        report = self.restore(start)
        self._pristine = start
        self.costs.append(TestCost.of(nodeid, self.stack.facts.project.name, report, before_s + time.monotonic() - began))

    @contextlib.contextmanager
    def lasting(self, ref: str | None, nodeid: str) -> Iterator[DmStack]:
        """Have the stack at a commit for the tests of a class, module or package, and roll it back at the end."""
        began = time.monotonic()
        stack = self.before(ref)
        before_s = time.monotonic() - began
        place = _Place(stack.start)
        self._places.append(place)
        try:
            yield DmStack(self.lease, stack.start, self.restore, lambda commit: setattr(place, "start", commit))
        finally:
            self._places.remove(place)
            self.after(nodeid, before_s)

    def keep(self, test: str, what: str) -> KeptState:
        """Keep the state that a failed test has left."""
        return keep(self.lease.session, self.start, self.config.keep_failed, self.worker.run, test, what)
