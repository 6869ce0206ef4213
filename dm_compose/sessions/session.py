"""A stack lent to tests: brought up if it is down, put to a commit as often as wanted, and given back as it was found."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from dm_compose.core.commit import SESSION, Commit
from dm_compose.core.containers import Container
from dm_compose.core.events import Event
from dm_compose.core.names import SubdotName
from dm_compose.core.plan import Plan
from dm_compose.core.tree import TreeDiff
from dm_compose.dots.stack import Rewrite, Stack
from dm_compose.engine import OWNER_LABEL, Owner
from dm_compose.errors import ComposeError, NotFoundError
from dm_compose.live.access import Access, locked, open_access
from dm_compose.live.ready import await_ready, endpoints
from dm_compose.live.worktree import LiveWorktree
from dm_compose.operations.recovery import SESSION_LABEL, session_lock
from dm_compose.operations.restore import RestoreReport, check_versions, mark_quiet, save_uncommitted, visit
from dm_compose.sessions.evidence import Evidence, Failure, Limits, keep_evidence
from dm_compose.untouched.changes import reached, written
from dm_compose.untouched.last_restore import LastRestore, Touched
from dm_compose.up.durability import FULL, OFF, Relaxation, relax, relaxations, told
from dm_compose.up.respawn import respawn_obstacles, supervise
from dm_compose.up.run import compose_with_state

STRATEGIES = ("auto", "respawn", "restart")


@dataclass(frozen=True)
class SessionOptions:
    """How a session behaves; times in seconds. `lock_timeout_s` 0 does not wait for another session.

    `strategy`: how a datastore is taken down and up. `respawn` runs its program under a supervisor in containers that the
    session makes, and kills the program only; `restart` kills and starts containers; `auto` respawns where that can be done.
    `durability`: with `off` engines in containers that the session makes do not wait for the disk, where a sound way is known;
    told as event `durability`.
    """

    commit: str = "HEAD"
    any_version: bool = False
    ready_timeout_s: float = 120.0
    lock_timeout_s: float = 600.0
    strategy: str = "auto"
    durability: str = FULL


class StackSession:
    """One test run's use of a stack. Not thread-safe; use it as a context manager.

    Two sessions of one dot exclude each other by a kernel lock. What the stack held when the session began is journalled: its
    end puts that back, and should the process be killed, the next command or session does.
    """

    def __init__(self, stack: Stack, options: SessionOptions) -> None:
        self.stack = stack
        self.options = options
        self.commit: Commit | None = None
        self._resources = contextlib.ExitStack()
        self._access: Access | None = None
        self._places: Mapping[SubdotName, str] | None = {}
        self._volumes_are_new = False
        self._last_restore: LastRestore | None = None
        self._up: set[str] = set()
        self._mine: set[str] = set()  # services whose containers are made, and removed, by the session
        self._brought: frozenset[str] = frozenset()  # services that go down again with the session
        self.before_restore: Callable[[Commit], None] = lambda _: None  # called before a restore that has something to look at

    def __enter__(self) -> Self:
        """Take the session's lock, keep what is uncommitted, bring up what is down, on the commit's files, and wait until all
        is ready.

        InUseError when another session does not end in time, NotFoundError when there is no such commit. On any error all is
        given back.
        """
        with contextlib.ExitStack() as resources:
            resources.enter_context(self._store_opened())
            resources.enter_context(self._lock_taken())
            resources.enter_context(self._state_borrowed())
            resources.enter_context(self._brought_up())
            self._resources = resources.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the stack back: what was down goes down, what was uncommitted comes back."""
        self._resources.close()

    # What is taken, each given back in reverse order

    @contextlib.contextmanager
    def _store_opened(self) -> Iterator[None]:
        stack = self.stack
        access = open_access(stack.engine, [], stack.listener)
        try:
            self.commit = stack.find(access.store, self.options.commit)
        finally:
            access.store.close()
        before = stack.places(make_volumes=False)
        self._access, self._places = stack.open(make_volumes=True)
        self._volumes_are_new = not before
        try:
            yield
        finally:
            self._access.store.close()

    @contextlib.contextmanager
    def _lock_taken(self) -> Iterator[None]:
        assert self._access is not None
        assert self.commit is not None
        timeout_s = self.options.lock_timeout_s
        with locked(self._access.store, session_lock(self.commit.dot), self.stack.listener, timeout_s=timeout_s):
            yield

    @contextlib.contextmanager
    def _state_borrowed(self) -> Iterator[None]:
        assert self.commit is not None
        with self._live(new_session=True) as live:
            live.refuse_strangers(readers_too=True)
            live.require_places()
            if not self.options.any_version:
                check_versions(live, self.commit)
            found = self.commit.id
            if not self._volumes_are_new:
                found = save_uncommitted(live, "before tests") or live.state().head or found
            entry = live.store.begin_session(live.dot, live.worktree, found)
            to_give_back = live.store.commit(live.dot, found)
        try:
            self.restore(self.commit)
            yield
        finally:
            self.restore(to_give_back)
            with self._live() as live:
                mark_quiet(live, to_give_back)
                live.store.close_entry(entry)

    @contextlib.contextmanager
    def _brought_up(self) -> Iterator[None]:
        stack = self.stack
        containers = [c for c in stack.containers() if c.project == stack.project.name and not c.one_off]
        running = {c.service for c in containers if c.running}
        existing = {c.service for c in containers}
        self._mine = stack.project.services.keys() - existing
        stateful = {s.services[0] for s in stack.plan.subdots}
        down = [name for name in stack.project.services if name not in (running if name in stateful or not running else existing)]
        if not down:
            with self._kept_up():
                yield
            return
        self._brought = frozenset(down)
        self._compose(
            ["up", "-d", "--no-recreate", *down, *(() if existing else stack.project.providers)],
            creates=True,
            rewrites=[self._relax, self._supervise, self._own],
        )
        try:
            self.wait_until_ready()
            self._has_arrived()
            with self._kept_up():
                yield
        finally:
            if not existing:
                self._compose(["down"], creates=False)
            else:
                self._compose(["stop", *down], creates=False)
                if made := sorted(self._mine & self._brought):
                    self._compose(["rm", "-f", *made], creates=False)

    @contextlib.contextmanager
    def _kept_up(self) -> Iterator[None]:
        """Note which services with state run now: each restore has them run again. Tell what was done for them."""
        if self.options.durability == OFF:
            self.stack.listener(Event("durability", told(self._relaxations(self.stack.project.document))))
        found = {c.service for c in self.stack.containers() if c.running and not c.one_off}
        self._up = found & self.stack.stateful_services()
        try:
            yield
        finally:
            self._up = set()

    def _has_arrived(self) -> None:
        """Note that the stack came up on the commit's files, unless there are others that may have written something by now."""
        assert self.commit is not None
        if self.stack.project.providers or self.stack.project.services.keys() != self.stack.stateful_services():
            return
        if self._last_restore is None:
            self._last_restore = LastRestore(self.stack.engine)
        with self._live() as live:
            self._last_restore.arrived(live, self.commit, None, Plan(()))

    def _relaxations(self, document: Mapping[str, Any]) -> dict[str, Relaxation]:
        there = Relaxation(obstacle="its container was there before the run")
        return {n: r if n in self._mine else there for n, r in relaxations(document, self.stack).items()}

    def _relax(self, document: dict[str, Any]) -> None:
        """Have engines not wait for the disk, where that is asked for and can be done."""
        if self.options.durability == OFF:
            relax(document, self._relaxations(document), self.stack.images)

    def _supervise(self, document: dict[str, Any]) -> None:
        """Have the services with state run under a supervisor where they can."""
        if self.options.strategy == "restart":
            return
        stack = self.stack
        names = document["services"].keys() & stack.stateful_services()
        obstacles = respawn_obstacles(document, stack.images, stack.engine, names)
        for name, obstacle in sorted(obstacles.items()):
            if obstacle and self.options.strategy == "respawn":
                stack.listener(Event("warning", f"{name} cannot respawn, its container is restarted: {obstacle}"))
        supervise(document, stack.images, [name for name, obstacle in obstacles.items() if not obstacle])

    def _own(self, document: dict[str, Any]) -> None:
        """Have what the session brings up say so: should it be killed, recovery takes that down."""
        for name in document["services"].keys() & self._brought:
            labels = document["services"][name].setdefault("labels", {})
            labels[SESSION_LABEL] = self.stack.project.name
            labels[OWNER_LABEL] = str(Owner.me()).replace("$", "$$")

    def _compose(self, words: Sequence[str], *, creates: bool, rewrites: Sequence[Rewrite] = ()) -> None:
        code = compose_with_state(self.stack, words, creates=creates, rewrites=rewrites)
        if code:
            raise ComposeError(
                f"`docker compose {' '.join(words)}` failed with exit code {code}", hint="Its own output says why."
            )

    # What can be done with it

    @contextlib.contextmanager
    def _live(self, *, new_session: bool = False) -> Iterator[LiveWorktree]:
        assert self._access is not None
        with self.stack.observed(self._access, self._places, lock=True, new_session=new_session) as live:
            yield live

    def resolve(self, ref: str) -> Commit:
        """Return the commit that REF means."""
        with self._live() as live:
            return self.stack.find(live.store, ref)

    def touched(self, commit: Commit) -> Touched | None:
        """Return what a restore to a commit has to look at, falsy when that is nothing, None for all of it. Takes no lock."""
        return self._last_restore.touched(commit.id) if self._last_restore is not None else None

    def restore(self, commit: Commit) -> RestoreReport:
        """Put the stack to a commit and throw away what was there; returns when every datastore that was touched answers.

        What was not touched since the last restore to it is left alone (repository.standing); when that is all of it, this
        takes milliseconds and no lock. A container with state that the session had running and that is down or paused by now
        runs again.
        """
        began = time.monotonic()
        report = self._restore(commit)
        return replace(report, total_s=time.monotonic() - began)

    def _restore(self, commit: Commit) -> RestoreReport:
        touched = self.touched(commit)
        if touched is not None and not touched:
            return RestoreReport(commit, Plan(()), (), None, 0.0)
        self.before_restore(commit)
        if self._last_restore is not None and (live := self._last_restore.checkout()) is not None:
            with locked(live.store, live.dot, live.listener):
                if all(entry.operation == SESSION for entry in live.store.unfinished(live.dot)):
                    return self._visit(live, commit, touched)
        with self._live() as live:
            if not (fallen := self._fallen(live)):
                return self._visit(live, commit, touched)
        self._revive(fallen)
        with self._live() as live:
            return self._visit(live, commit, touched)

    def _visit(self, live: LiveWorktree, commit: Commit, touched: Touched | None) -> RestoreReport:
        if self._last_restore is None:
            self._last_restore = LastRestore(self.stack.engine)
        self._last_restore.leaves()
        report = visit(live, commit, touched=touched, timeout_s=self.options.ready_timeout_s)
        self._last_restore.arrived(live, commit, touched, report.plan)
        return report

    def _fallen(self, live: LiveWorktree) -> dict[str, Container | None]:
        """Return the services that ran when the session began and are down, paused or (None) gone by now."""
        mine = {c.service: c for m in live.members if (c := m.container).project == live.project and not c.one_off}
        return {s: mine.get(s) for s in self._up if s not in mine or mine[s].state not in ("running", "restarting")}

    def _revive(self, fallen: Mapping[str, Container | None]) -> None:
        """Have them run again, on whatever files there are."""
        engine = self.stack.engine
        for container in fallen.values():
            if container is not None:
                (engine.unpause if container.state == "paused" else engine.start)(container.id)
        if gone := sorted(service for service, container in fallen.items() if container is None):
            self._compose(["up", "-d", "--no-recreate", *gone], creates=True, rewrites=[self._relax, self._supervise, self._own])

    @property
    def proves_untouched(self) -> bool:
        """Whether a restore sees by itself what was touched; else it takes all datastores down that may have been."""
        return self.stack.engine.facts().local

    def written_to(self) -> bool:
        """Whether any file was written to since the last restore had come up. Says nothing of what is in memory only."""
        with self._live() as live:
            return bool(live.store.written_files(live.directories))

    def diff(self, commit: Commit) -> Mapping[SubdotName, TreeDiff]:
        """Return the changes of files since a commit, without those that mean nothing."""
        with self._live() as live:
            return live.store.diff_live(live.dot, live.worktree, live.directories, commit.id, live.ignore_patterns(), None)

    def keep(self, message: str) -> Commit:
        """Commit the live state without moving any branch."""
        with self._live() as live:
            return self.stack.keep(live, message)

    def keep_evidence(self, start: Commit, failure: Failure, limits: Limits) -> Evidence:
        """Keep the live state of a failed test that began at `start` as a branch; see evidence.keep_evidence."""
        with self._live() as live:
            return keep_evidence(live, self.stack.lasting_dot(live.store), start, failure, limits)

    def reached(self) -> Mapping[str, str]:
        """Return the services with state that anything may have reached since the last restore, with the reason."""
        touched = self._last_restore.touched() if self._last_restore is not None else None
        with self._live() as live:
            return reached(live, touched)

    def written(self) -> set[SubdotName]:
        """Return the subdots that were written to since the last restore; see changes.written."""
        if self._last_restore is None:
            self._last_restore = LastRestore(self.stack.engine)
        touched = self._last_restore.touched()
        with self._live() as live:
            return written(live, touched, self._last_restore.arrived_at)

    def wait_until_ready(self) -> None:
        """Return when every running container with state, be it in memory only, answers."""
        with self._live() as live:
            for member in live.members:
                in_memory = member.datastore is not None and member.datastore.in_memory
                if member.container.running and (member.mounts or in_memory):
                    await_ready(self.stack.engine, member, self.stack.listener, self.options.ready_timeout_s)

    def container(self, service: str) -> Container:
        """Return the running container of a service; NotFoundError names the services there are."""
        found = [c for c in self.stack.containers() if c.service == service and not c.one_off]
        if not found:
            known = ", ".join(self.stack.project.services)
            raise NotFoundError(f"no container runs service {service!r}", hint=f"The services are: {known}.")
        return next((c for c in found if c.running), found[0])

    def endpoint(self, service: str, port: int) -> tuple[str, int]:
        """Return (host, port) by which a port of a service can be reached from here: published on this host, else in the
        container.
        """
        found = endpoints(self.stack.engine, self.container(service), port)
        if not found:
            raise NotFoundError(f"port {port} of {service} cannot be reached from here", hint="Publish it in the compose file.")
        return found[-1]

    def run(self, service: str, command: Sequence[str], *, user: str = "") -> tuple[int, str]:
        """Run a command in a service's container; return its exit code and output."""
        return self.stack.engine.run(self.container(service).id, command, user=user)

    def logs(self, service: str, lines: int) -> str:
        """Return the last lines of a service's log."""
        return self.stack.engine.logs(self.container(service).id, lines)
