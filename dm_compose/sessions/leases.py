"""Leases: a test run gets a stack and gives it back. This is the stack itself, a clone of it, or one that it uses in turn.

Each lease is a context manager that yields a session. It gives everything back in reverse order, also after an error.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator

from dm_compose.clones.clone import Clone
from dm_compose.clones.running import running_clone
from dm_compose.core.commit import BEFORE_TESTS, SESSION, Commit
from dm_compose.core.containers import Container
from dm_compose.core.names import session_lock
from dm_compose.discovery.stack_plan import StackPlan
from dm_compose.dots.stack import Stack
from dm_compose.errors import InUseError
from dm_compose.live.access import open_access
from dm_compose.live.locks import locked
from dm_compose.live.ready import await_first_starts
from dm_compose.live.worktree import LiveWorktree
from dm_compose.operations.budget import keep_to_budget
from dm_compose.operations.checks import before_session
from dm_compose.operations.recovery import Use
from dm_compose.operations.uncommitted import mark_quiet, save_uncommitted
from dm_compose.sessions.containers import SessionContainers
from dm_compose.sessions.options import SessionOptions
from dm_compose.sessions.session import Session
from dm_compose.untouched.last_restore import EVERYTHING
from dm_compose.up.run import require_compose


class GivenUp(KeyboardInterrupt):
    """People do not wait for a stack to be given back. A lease leaves that to the next command then."""

    __module__, __qualname__ = "builtins", "KeyboardInterrupt"  # pytest prints the name, and this one means something to people


@contextlib.contextmanager
def _at_the_end(work: Callable[[], None]) -> Iterator[None]:
    """Call `work` when the block ends, also by an error, unless people have given up."""
    try:
        yield
    except GivenUp:
        raise
    except BaseException:
        work()
        raise
    work()


@contextlib.contextmanager
def own_stack(stack: Stack, options: SessionOptions) -> Iterator[Session]:
    """Lend the stack itself. It is put to the session's commit, its services are brought up, and it is ready.

    The state of before, uncommitted changes included, is kept in the store and put back at the end. If this process is killed,
    the next command or session puts it back. Two leases of one dot exclude each other by a kernel lock. InUseError if another
    session does not end in time, NotFoundError if there is no such commit, NotReadyError if a first start does not end in time.
    A GivenUp that passes ends this as a kill does.
    """
    commit = find_commit(stack, options.commit)
    volumes_are_new = not stack.places(make_volumes=False)
    with contextlib.closing(stack.open(make_volumes=True)) as opened:
        lock = session_lock(commit.dot)
        session = Session(opened, commit, options, SessionContainers(stack, options))
        with (
            locked(opened.store, lock, stack.listener, timeout_s=options.lock_timeout_s),
            _state_kept(session, volumes_are_new=volumes_are_new),
            _brought_up(session),
        ):
            yield session
        keep_to_budget(opened.store, stack.listener)


@contextlib.contextmanager
def on_clone(clone: Clone, options: SessionOptions) -> Iterator[Session]:
    """Lend a clone of a stack, which is made now and removed at the end. The original is not touched, and need not be up.

    Leases of clones exclude neither each other nor a lease of the original.
    """
    with running_clone(clone, options.commit) as running, _providers_told(clone):
        containers = SessionContainers(clone, options)
        containers.made = set(clone.facts.project.services)
        session = Session(running.opened, running.commit, options, containers)
        running.up((), containers.rewrites, any_version=options.any_version, timeout_s=options.ready_timeout_s)
        session.arrived()
        containers.tell_durability()
        session.keep_up()
        yield session


@contextlib.contextmanager
def _providers_told(clone: Clone) -> Iterator[None]:
    """Have Compose take a clone down at the end if a provider made a part of it, because only Compose can tell the provider."""
    try:
        yield
    finally:
        if clone.facts.project.providers:
            require_compose(clone, ["down"], creates=False)


@contextlib.contextmanager
def in_turn(stack: Stack, options: SessionOptions) -> Iterator[Session]:
    """Lend a stack that another process has brought up by a session of its own, for several processes that take turns.

    Only restores are meant to be done: nothing is taken at the beginning, and nothing is given back at the end. When that process
    has gone, every operation raises InUseError, because the stack is its user's again.
    """

    def check(live: LiveWorktree) -> None:
        entries = live.store.unfinished(live.dot)
        if not any(e.operation == SESSION and e.worktree == live.worktree for e in entries):
            raise InUseError("the test run that had this stack has ended", hint="Run the tests again.")

    commit = find_commit(stack, options.commit)
    with contextlib.closing(stack.open(make_volumes=True)) as opened:
        yield Session(opened, commit, options, SessionContainers(stack, options), check)


def find_commit(stack: Stack, ref: str) -> Commit:
    """Return the commit that REF means, for a session to start from. Nothing is lent. NotFoundError."""
    access = open_access(stack.facts.engine, [], stack.variables, stack.listener)
    with contextlib.closing(access.store) as store:
        return stack.find(store, ref)


@contextlib.contextmanager
def _state_kept(session: Session, *, volumes_are_new: bool) -> Iterator[None]:
    """Keep the state of the stack, put the stack to the session's commit, and put the kept state back at the end.

    A stack that is up and clean at that commit has nothing to keep. Its datastores stay up until a test touches them.
    """
    commit = session.commit
    with session.live(use=Use.NEW_SESSION) as live:
        before_session(live, commit, any_version=session.options.any_version)
        await_first_starts(live, session.options.ready_timeout_s)  # else the state to give back would be half made
        clean = not volumes_are_new and session.found_at_commit(live)
        changed = session.changed_in_memory(live) if clean else EVERYTHING
        found = commit.id
        if not volumes_are_new:
            found = (None if clean else save_uncommitted(live, BEFORE_TESTS)) or live.state().head or found
        entry = live.store.begin_session(*live.where, found, live.store.holder(session_lock(live.dot)))
        to_give_back = live.store.commit(live.dot, found)

    def give_back() -> None:
        session.restore(commit if clean else to_give_back)
        with session.live() as live:
            mark_quiet(live, to_give_back)
            live.store.close_entry(entry)

    with _at_the_end(give_back):
        session.restore(commit, changed)
        yield


@contextlib.contextmanager
def _brought_up(session: Session) -> Iterator[None]:
    """Bring up the services that are down and wait until they are ready. Take them down at the end."""
    containers, facts = session.containers, session.stack.facts
    found = containers.own()
    existing = {c.service for c in found}
    containers.made = facts.project.services.keys() - existing
    containers.brought_up = frozenset(services_to_bring_up(facts.project.services, facts.plan, found))

    def take_down() -> None:
        session.keeps_up = frozenset()
        if containers.brought_up:
            containers.take_down(all_of_the_stack=not existing)

    with _at_the_end(take_down):
        if containers.brought_up:
            names = [name for name in facts.project.services if name in containers.brought_up]
            containers.up([*names, *(() if existing else facts.project.providers)])
            session.wait_until_ready()
            session.arrived()
        containers.tell_durability()
        session.keep_up()
        yield


def services_to_bring_up(services: Collection[str], plan: StackPlan, containers: Collection[Container]) -> list[str]:
    """Return the services that have to be brought up, given a stack's containers.

    A service with state has to run. Any other one only has to exist. If nothing of the stack runs, all are brought up.
    """
    running = {c.service for c in containers if c.running}
    existing = {c.service for c in containers}
    stateful = {subdot.services[0] for subdot in plan.subdots}
    must_run = stateful if running else set(services)
    return [name for name in services if name not in (running if name in must_run else existing)]
