"""One stack in one pytest process: taken when the first test wants it, and restored before and after tests."""

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
from dm_compose.sessions.leases import find_commit, in_turn, on_clone, own_stack
from dm_compose.sessions.options import SessionOptions
from dm_compose.sessions.session import Lease
from dm_compose.sessions.spares import with_spares
from dm_compose.sharing.up_from import commit_for_tests, look_for
from dm_compose.untouched.last_restore import Touched
from pytest_dotmesh.config import DmConfig
from pytest_dotmesh.ending import AGAIN, Ending
from pytest_dotmesh.keeping import keep
from pytest_dotmesh.reporting import KeptState, Spent, TestCost
from pytest_dotmesh.stack import DmStack
from pytest_dotmesh.telling import Teller
from pytest_dotmesh.workers import Turns, Worker

NOTES = ("wait", "settle", "durability", "spares")
TELL_EVERY_S = 10  # that a datastore is still waited for


@dataclass(frozen=True)
class Hooks:
    """Functions to call before and after each restore, unless the restore has nothing to do."""

    before: Callable[[DmStack, Commit], object]
    after: Callable[[DmStack, RestoreReport], object]


@dataclass(eq=False)  # two scopes that start from the same commit are not the same
class _ScopeStart:
    """The commit that tests within a scope start from. A test may change it."""

    start: Commit


class Runner:
    """Takes the stack when the first test wants it, and restores it before and after tests.

    Where nothing can be proven about the stack, `_pristine` is the commit that it is believed to be at. A roll-back sets it, and
    any test that runs unsets it.
    """

    def __init__(self, config: DmConfig, worker: Worker, teller: Teller, ending: Ending, hooks: Hooks) -> None:
        self.config = config
        self.worker = worker
        self.costs: list[TestCost] = []
        self._teller = teller
        self._ending = ending
        self._hooks = hooks
        self._starts: list[_ScopeStart] = []  # the session's first, then those of narrower scopes
        self._resources = contextlib.ExitStack()
        self._lease: Lease | None = None
        self._pristine: Commit | None = None
        self._waits: dict[str, int] = {}
        self.spent: list[Spent] = []
        self._has_taken = False
        self._turns = Turns(worker.shared["turns"]) if worker.shared else None
        self.stack = Stack(config.compose, config.variables, self._listen)

    def _listen(self, event: Event) -> None:
        if event.what == "waiting":
            tens = event.done // TELL_EVERY_S
            if tens > self._waits.get(event.text, 0):
                self._teller.note(f"dm: waiting for {event.text}: {event.done} s of at most {event.total} s")
            self._waits[event.text] = tens
        if event.what in NOTES:
            self._teller.note(f"dm: {event.what}: {event.text}")
        elif event.what in ("warning", "undo", "recover", "carry"):
            self._teller.tell(f"dm: {event.what}: {event.text}")

    @property
    def lease(self) -> Lease:
        """The stack as this process has it, taken on first use."""
        if self._lease is None:
            self._resources.enter_context(self._ending.by_signals())
            options = self._options()
            self._has_taken = not self.worker.shared
            try:
                with self._spending("bringing the stack up", f"{self._in_words} comes up"), self._ending.coming_up():
                    self._lease = self._resources.enter_context(self._new_lease(options))
            except Exception:
                self._has_taken = False
                raise
            self._starts = [_ScopeStart(self._lease.commit)]
            if self._turns is None:  # with turns the stack may be down just now, for another worker's test
                self.config.environment.set(self._lease.endpoint)
        return self._lease

    def check(self) -> None:
        """Raise DmError if there is no such stack, remote or commit, or no engine. Nothing is taken, and nothing is fetched."""
        if not self.worker.shared:
            facts = self.stack.facts
            _ = facts.project  # before the engine, because a wrong compose file is the nearer cause
            facts.engine.facts()
            _ = facts.plan
            if self.config.source is None:
                find_commit(self.stack, self.config.session.commit)
            else:
                look_for(self.stack, self.config.source)

    def _options(self) -> SessionOptions:
        """Return the session's options. The commit is fetched from a remote if one is named, and settled if that is wanted."""
        options = self.config.session
        if self.config.source is not None:
            with self._spending("fetching the commit", f"commit {self.config.source} is fetched"):
                options = replace(options, commit=commit_for_tests(self.stack, self.config.source))
        if self.config.settle and not self.worker.shared:
            settling = SettleOptions(options.commit, options.any_version, options.ready_timeout_s)
            with self._spending("settling the commit"):
                options = replace(options, commit=settled(self.stack, settling, self.worker.run))
        return options

    def _new_lease(self, options: SessionOptions) -> contextlib.AbstractContextManager[Lease]:
        worker = self.worker
        if shared := worker.shared:
            stack = Clone(self.stack, DotName(shared["clone"]), worker.run) if shared["clone"] else self.stack
            return in_turn(stack, replace(options, commit=shared["commit"]))
        if self.config.spares:
            return with_spares(self.stack, options, self.config.spares, worker.run, worker.name or "main")
        if self._on_clone:
            name = clone_name(self.stack.facts.project.name, worker.run, worker.name or "main")
            return on_clone(Clone(self.stack, name, worker.run), options)
        return own_stack(self.stack, options)

    def close(self) -> None:
        """Give the stack back, if it was taken. A ^C raises GivenUp, and after that nothing is done any more."""
        self.config.environment.restore()
        taken, self._lease = self._lease is not None, None
        if self._ending.given_up:
            return
        with self._giving_back() if taken else contextlib.nullcontext():
            self._resources.close()
        self._has_taken = False

    @contextlib.contextmanager
    def _giving_back(self) -> Iterator[None]:
        text = f"{self._in_words} is given back"
        if self._ending.interrupted and self._has_taken:
            self._teller.tell(f"dm: {text}; {AGAIN}")
            text = ""
        with self._spending("giving the stack back", text), self._ending.giving_back():
            yield

    @property
    def _in_words(self) -> str:
        """The stack that this process has, as its messages name it."""
        name, of = self.stack.facts.project.name, f" for {self.worker.name}" if self.worker.name else ""
        if self.config.spares:
            return f"a rotation of {self.config.spares + 1} clones of {name}{of}"
        return f"a clone of {name}{of}" if self._on_clone else f"stack {name}"

    @property
    def _on_clone(self) -> bool:
        return not self.worker.shared and (self.config.isolate or self.worker.count > 1)

    @property
    def left_behind(self) -> str | None:
        """The consequence for people, if an interrupt has kept `close` from giving the stack back. None if there is none."""
        if not self._has_taken:
            return None
        if self._on_clone or self.config.spares:
            return "a clone of the stack is left; the next run on clones, or `dm-compose prune`, removes it"
        does = "keeps what is live now and puts back the state from before the tests"
        return f"the stack was not given back; `dm-compose prune`, the next test run, or the next command that writes, {does}"

    @contextlib.contextmanager
    def _spending(self, what: str, text: str = "") -> Iterator[None]:
        """Note the time of the block for the report. If it takes long, tell people `text`."""
        began = time.monotonic()
        try:
            with self._teller.noted_if_long(f"dm: {text}") if text else contextlib.nullcontext():
                yield
        finally:
            spent_s = time.monotonic() - began
            self.spent.append(Spent(self.stack.facts.project.name, self.worker.name, what, spent_s))

    # One stack for several workers

    @contextlib.contextmanager
    def lent(self) -> Iterator[dict[str, str]]:
        """In the controller: bring the stack up for workers that use it in turn. Yields their `Worker.shared`."""
        try:
            session = self.lease.session
            clone = str(session.stack.name) if isinstance(session.stack, Clone) else ""
            with Turns.lent() as turns:
                yield {"commit": str(session.commit.id), "turns": turns, "clone": clone}
        finally:
            self.close()

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until no other worker uses the stack, and reserve it for one test. Does nothing if workers do not share it."""
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
        """Whether the stack was taken, and not given back."""
        return self._lease is not None

    @property
    def start(self) -> Commit:
        """The commit that tests start from: the session's, or the one that `start_here` has made in a scope around them."""
        lease = self.lease
        return self._starts[-1].start if self._starts else lease.commit

    def shown(self) -> DmStack:
        """Return the stack as it is, for tests that see each other's changes."""
        lease, scope = self.lease, self._starts[0]
        return DmStack(lease, self.start, self.restore, lambda commit: setattr(scope, "start", commit))

    def before(self, ref: str | None) -> DmStack:
        """Put the stack to the commit that a test wants, and return it."""
        lease = self.lease
        commit = self.start if ref is None else lease.session.resolve(ref)
        pristine = self._pristine is not None and self._pristine.id == commit.id
        changed = lease.what_changed(commit)
        if lease.session.proves_untouched or not pristine or changed.everything or changed.subdots:
            self._restore(commit, changed)
        self._pristine = None
        return DmStack(lease, commit, self.restore)

    def restore(self, commit: Commit) -> RestoreReport:
        """Put the stack to a commit, and set the environment variables to the addresses that its services have then."""
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
        """Put the stack back to the commit that tests start from. `before_s` is the time of the restore before the test.

        In a run that was interrupted nothing is done, because the stack is about to be given back.
        """
        if self._ending.interrupted:
            return
        start = self.start
        began = time.monotonic()
        report = self.restore(start)
        self._pristine = start
        self.costs.append(TestCost.of(nodeid, self.stack.facts.project.name, report, before_s + time.monotonic() - began))

    @contextlib.contextmanager
    def lasting(self, ref: str | None, nodeid: str) -> Iterator[DmStack]:
        """Give the tests of a class, module or package a stack at a commit, and roll it back at the end."""
        began = time.monotonic()
        stack = self.before(ref)
        before_s = time.monotonic() - began
        scope = _ScopeStart(stack.start)
        self._starts.append(scope)
        try:
            yield DmStack(self.lease, stack.start, self.restore, lambda commit: setattr(scope, "start", commit))
        finally:
            self._starts.remove(scope)
            self.after(nodeid, before_s)

    def keep(self, test: str, what: str) -> KeptState:
        """Keep the state after a failed test."""
        with self._spending("keeping states of failed tests"):
            return keep(self.lease.session, self.start, self.config.keep_failed, self.worker.run, test, what)
