"""A session: the things that a test run can do with a stack that it has been lent. leases.py and spares.py lend it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from dm_compose.core.commit import SESSION, Commit
from dm_compose.core.containers import Container
from dm_compose.core.names import SubdotName
from dm_compose.core.plan import Plan
from dm_compose.core.tree import TreeDiff
from dm_compose.dots.stack import OpenStack
from dm_compose.engine.endpoints import endpoints
from dm_compose.errors import NotFoundError
from dm_compose.live.locks import locked
from dm_compose.live.ready import await_all, unready
from dm_compose.live.worktree import LiveWorktree
from dm_compose.operations.recovery import Use
from dm_compose.operations.restore import RestoreReport
from dm_compose.operations.uncommitted import dirty_subdots, save_from_memory
from dm_compose.sessions.containers import SessionContainers
from dm_compose.sessions.evidence import Evidence, Failure, Limits, keep_evidence
from dm_compose.sessions.options import SessionOptions
from dm_compose.sessions.visit import throw_away_and_restore
from dm_compose.untouched.last_restore import EVERYTHING, LastRestore, Touched, written_subdots
from dm_compose.untouched.proc import listening_ports


class Lease(Protocol):
    """A stack that a test run has: the stack itself, a clone, one that it uses in turn, or one of several in rotation.

    Tests start from `commit`. `session` is the session on the stack that is in use now. With spares a restore may change it.
    """

    @property
    def session(self) -> Session: ...

    @property
    def commit(self) -> Commit: ...

    def what_changed(self, commit: Commit) -> Touched:
        """Return what may have changed since the stack was last put to `commit`. It is false if nothing has."""

    def restore(self, commit: Commit, changed: Touched | None = None) -> RestoreReport:
        """Put the stack to a commit. `changed` is the result of `what_changed`, which is called if it is not given."""

    def endpoint(self, service: str, port: int) -> tuple[str, int]:
        """Return (host, port) by which a port of a service can be reached from here."""


class Session:
    """One test run's use of one stack. Not thread-safe.

    `keeps_up` are the services that each restore starts again if a test has stopped them. `check` is called before each
    operation, with the stack as it is then, and may raise.
    """

    def __init__(
        self,
        opened: OpenStack,
        commit: Commit,
        options: SessionOptions,
        containers: SessionContainers,
        check: Callable[[LiveWorktree], None] = lambda _: None,
    ) -> None:
        self.stack = opened.stack
        self.commit = commit
        self.options = options
        self.containers = containers
        self.last_restore = LastRestore(self.stack.facts.engine)
        self.keeps_up: frozenset[str] = frozenset()
        self._opened = opened
        self._check = check

    @property
    def session(self) -> Session:
        return self

    @contextlib.contextmanager
    def live(self, *, use: Use = Use.SESSION) -> Iterator[LiveWorktree]:
        """Look at the stack and hold its dot's lock. See OpenStack.live."""
        with self._opened.live(use=use) as live:
            self._check(live)
            yield live

    def keep_up(self) -> None:
        """Note the services with state that run now. From now on each restore has them running."""
        running = {c.service for c in self.stack.containers() if c.running and not c.one_off}
        self.keeps_up = frozenset(running & self.stack.facts.plan.stateful_services())

    def arrived(self) -> None:
        """Note that the stack came up on the commit's files, so that nothing has touched it yet.

        Nothing is noted if there are providers or services without state, because these may have written something by now.
        """
        project = self.stack.facts.project
        if not project.providers and project.services.keys() == self.stack.facts.plan.stateful_services():
            with self.live() as live:
                self.last_restore.arrived(live, self.commit, EVERYTHING, Plan(()))

    def found_at_commit(self, live: LiveWorktree) -> bool:
        """Whether the stack is up, was found at the session's commit or at one that this is the settled form of, and is watched.

        Files tell that, once datastores have saved what they hold in memory. Nothing else reaches any of them meanwhile.
        """
        head = live.state().head
        forms = {head, live.store.settled(live.dot, head)} if head is not None else ()
        up = {m.container.service for m in live.members if m.container.state == "running" and m.container.project == live.project}
        if self.commit.id not in forms or live.left or not self.stack.facts.plan.stateful_services() <= up or unready(live):
            return False
        self.last_restore.arrived(live, self.commit, EVERYTHING, Plan(()))
        with self.last_restore.visit():
            save_from_memory(live)
            clean = not dirty_subdots(live)
        return clean and not self.last_restore.touched()

    def changed_in_memory(self, live: LiveWorktree) -> Touched:
        """Return what may differ from the commit although files do not: the datastores that have all data in memory."""
        running = [m.container.id for m in live.members if m.container.running]
        in_memory = {m.container.id: "" for m in live.members if m.in_memory and m.container.running}
        return Touched(containers=in_memory, known=frozenset(running))

    # Between tests

    def resolve(self, ref: str) -> Commit:
        """Return the commit that REF means."""
        with self.live() as live:
            return self.stack.find(live.store, ref)

    @property
    def proves_untouched(self) -> bool:
        """Whether containers can be proven untouched. If not, a restore takes down all datastores that may have changed."""
        return self.stack.facts.engine.facts().local

    def what_changed(self, commit: Commit | None = None) -> Touched:
        """Return what may have changed since the last restore. It is false if it is proven that nothing has. Takes no lock.

        If `commit` is given and the last restore was to another one, everything has. The proof takes milliseconds.
        """
        return self.last_restore.touched(commit.id if commit is not None else None)

    def restore(self, commit: Commit, changed: Touched | None = None) -> RestoreReport:
        """Put the stack to a commit and throw its state away. Return when every datastore that was touched answers.

        `changed` is the result of `what_changed`, which is called if it is not given. Anything that has not changed is left
        alone. If nothing has changed, no lock is taken. A container with state that the session had running, and that is down or
        paused by now, runs again.
        """
        began = time.monotonic()
        changed = self.what_changed(commit) if changed is None else changed
        report = self._restore(commit, changed) if changed else RestoreReport(commit, Plan(()), (), None, 0.0)
        return replace(report, total_s=time.monotonic() - began)

    def _restore(self, commit: Commit, changed: Touched) -> RestoreReport:
        if (live := self.last_restore.still()) is not None:
            with locked(live.store, live.dot, live.listener):
                if all(entry.operation == SESSION for entry in live.store.unfinished(live.dot)):
                    self._check(live)
                    return self._put(live, commit, changed)
        with self.live() as live:
            if not (fallen := self._fallen(live)):
                return self._put(live, commit, changed)
        self.containers.revive(fallen)
        with self.live() as live:
            return self._put(live, commit, changed)

    def _put(self, live: LiveWorktree, commit: Commit, changed: Touched) -> RestoreReport:
        self.last_restore.leaves(live)
        changed = EVERYTHING if live.left else changed  # an interrupted restore may have come to any file
        report = throw_away_and_restore(live, commit, touched=changed, timeout_s=self.options.ready_timeout_s)
        self.last_restore.arrived(live, commit, changed, report.plan)
        return report

    def _fallen(self, live: LiveWorktree) -> dict[str, Container | None]:
        """Return the services that should be up but whose container is down, paused or (None) gone.

        Those that an interrupted restore has taken down are left out, because the next restore starts them.
        """
        begun = {container_id for entry in live.left for container_id in entry.stopped}
        mine = {c.service: c for m in live.members if (c := m.container).project == live.project and not c.one_off}
        down = [s for s in self.keeps_up if s not in mine or mine[s].state not in ("running", "restarting")]
        return {s: mine.get(s) for s in down if s not in mine or mine[s].id not in begun}

    def wait_until_ready(self) -> None:
        """Return when every running container with state answers. NotReadyError."""
        with self.live() as live:
            await_all(live, self.options.ready_timeout_s)

    # In a test

    def diff(self, commit: Commit) -> Mapping[SubdotName, TreeDiff]:
        """Return the changes of files since a commit, without those that mean nothing."""
        with self.live() as live:
            return live.diff(commit.id, live.ignore_patterns(), None)

    def keep(self, message: str) -> Commit:
        """Commit the live state without moving any branch."""
        with self.live() as live, self.last_restore.visit():
            return self.stack.keep(live, message)

    def keep_evidence(self, start: Commit, failure: Failure, limits: Limits) -> Evidence:
        """Keep the live state of a failed test that began at `start` as a branch. See evidence.keep_evidence."""
        store = self._opened.store
        lasting = self.stack.lasting_dot(store)
        with contextlib.ExitStack() as locks:
            if lasting != self.stack.identity(store)[0]:
                locks.enter_context(locked(store, lasting, self.stack.listener))
            live = locks.enter_context(self.live())
            with self.last_restore.visit():
                return keep_evidence(live, lasting, start, failure, limits)

    def touched_services(self) -> Mapping[str, str]:
        """Return the services with state that anything may have reached since the last restore, with the reason."""
        changed = self.what_changed()
        with self.live() as live:
            return changed.reasons(live)

    def written_subdots(self) -> set[SubdotName]:
        """Return the subdots that were written to since the last restore. See last_restore.written_subdots."""
        changed = self.what_changed()
        with self.live() as live:
            return written_subdots(live, changed, self.last_restore.arrived_at)

    def container(self, service: str) -> Container:
        """Return the container of a service, a running one if there is one. NotFoundError lists all services."""
        found = [c for c in self.stack.containers() if c.service == service and not c.one_off]
        if not found:
            known = ", ".join(self.stack.facts.project.services)
            raise NotFoundError(f"no container runs service {service!r}", hint=f"The services are: {known}.")
        return next((c for c in found if c.running), found[0])

    def endpoint(self, service: str, port: int) -> tuple[str, int]:
        """Return (host, port) by which a port of a service can be reached from here. NotFoundError if it cannot.

        It is the address on this host if the port is published there, else the one of the container. A port that neither the
        image nor the compose file names is refused if they name others, unless a program listens there.
        """
        container = self.container(service)
        found = endpoints(self.stack.facts.engine, container, port)
        if container.exposed and port not in container.exposed and port not in (listening := listening_ports(container)):
            known = ", ".join(map(str, sorted(container.exposed | listening)))
            raise NotFoundError(
                f"{service} has no port {port}", hint=f"Its ports are: {known}. `expose:` in the compose file adds one."
            )
        if not found:
            raise NotFoundError(f"port {port} of {service} cannot be reached from here", hint="Publish it in the compose file.")
        return found[-1]

    def run(self, service: str, command: Sequence[str], *, user: str = "") -> tuple[int, str]:
        """Run a command in a service's container, and return its exit code and output."""
        return self.stack.facts.engine.run(self.container(service).id, command, user=user)

    def logs(self, service: str, lines: int) -> str:
        """Return the last lines of a service's log."""
        return self.stack.facts.engine.logs(self.container(service).id, lines)
