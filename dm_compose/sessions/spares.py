"""Test sessions with warm spares: clones of the stack that are restored, ready and paused before a test wants one."""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace

from dm_compose.clones.clone import Clone, clone_name
from dm_compose.core.at_once import at_once
from dm_compose.core.commit import Commit
from dm_compose.core.containers import Container
from dm_compose.core.events import Event
from dm_compose.core.plan import Plan
from dm_compose.core.units import size
from dm_compose.dots.stack import Stack
from dm_compose.engine.endpoints import endpoints
from dm_compose.errors import EngineError, NotReadyError
from dm_compose.live.ready import await_ready
from dm_compose.live.worktree import Member
from dm_compose.operations.restore import RestoreReport
from dm_compose.sessions.forwarding import Address, Forwarder, Key
from dm_compose.sessions.leases import on_clone
from dm_compose.sessions.options import SessionOptions
from dm_compose.sessions.rotation import Rotation
from dm_compose.sessions.session import Session
from dm_compose.untouched.last_restore import EVERYTHING, Touched
from dm_compose.untouched.witness import UNKNOWN


class SpareClone:
    """A clone that can stand by: restored, ready, and with all its containers paused. See rotation.Standby.

    Containers without state are paused before the restore, so that none of them writes between restore and pause.
    """

    def __init__(self, clone: Clone, options: SessionOptions) -> None:
        self._lease = contextlib.ExitStack()
        self.session = self._lease.enter_context(on_clone(clone, options))
        self._engine = clone.facts.engine
        self._members: Sequence[Member] = ()
        self._unproven: Set[str] = frozenset()
        self._restless = False

    @property
    def name(self) -> str:
        """The clone's name."""
        return self.session.stack.name

    @property
    def containers(self) -> list[Container]:
        """The clone's containers as they were when it began to stand by."""
        return [m.container for m in self._members]

    def stand_by(self) -> None:
        """Put the clone to its commit, wait until it is ready, and pause it.

        If something has reached a container between restore and pause, this is done once more. If something does so each time,
        because a service that is restarted talks at once, it is accepted.
        """
        session, last = self.session, self.session.last_restore
        causes = self._restored_and_paused()
        if causes and not self._restless:
            causes = self._restored_and_paused()
            self._restless = bool(causes)
        with session.live() as live:
            if causes:
                last.arrived(live, session.commit, EVERYTHING, Plan(()))
        self._members = [m for m in live.members if m.container.project == live.project]
        up = [m.container for m in self._members if m.container.service in session.keeps_up]
        if awake := [c.label for c in up if c.state != "paused"]:
            raise NotReadyError(f"{', '.join(awake)} could not be paused, or was started or stopped by somebody")
        self._unproven = last.touched_containers().keys() if causes else frozenset()

    def _restored_and_paused(self) -> Mapping[str, str]:
        """Restore and pause the clone. Return the containers (ids) that may have been touched in between, with the reason."""
        self._pause(c for c in self._running() if c.service not in self.session.keeps_up)
        self.session.restore(self.session.commit)
        self._pause(self._running())
        return self.session.last_restore.touched_containers()

    def why_changed(self, *, thoroughly: bool) -> str:
        """Return what has reached the clone since it stands by, '' for nothing. Only a thorough look checks files.

        A container that something had reached each time (see `stand_by`) is left out. It has been paused since, and a thorough
        look checks its files.
        """
        last = self.session.last_restore
        changed = last.touched(self.session.commit.id) if thoroughly else Touched(containers=last.touched_containers())
        if changed.everything:
            return UNKNOWN
        others = [*map(str, changed.subdots)]
        if changed.others_started:
            others.append("a container of its own was started")
        labels = {c.id: c.label for c in self.containers}
        found = [f"{labels.get(i, i[:12])}: {cause}" for i, cause in changed.containers.items() if i not in self._unproven]
        return "; ".join([*found, *others])

    def resume(self) -> None:
        """Let all containers run again, and return when every datastore answers. NotReadyError."""
        session = self.session

        def resume(member: Member) -> None:
            if member.container.state == "paused":
                self._engine.unpause(member.container.id)
            if member.datastore is not None and member.container.service in session.keeps_up:
                await_ready(self._engine, member, session.stack.listener, session.options.ready_timeout_s)

        at_once(resume, self._members)
        session.last_restore.thawed()

    def targets(self, keys: Iterable[Key]) -> dict[Key, Address]:
        """Return the addresses of ports that can be reached. They are right until a container is restarted."""
        by_service = {c.service: c for c in self.containers if not c.one_off}
        found = {
            (service, port): endpoints(self._engine, by_service[service], port) for service, port in keys if service in by_service
        }
        return {key: places[-1] for key, places in found.items() if places}

    def memory_bytes(self) -> int | None:
        """Return the memory that the clone's containers hold, None if the engine does not tell."""
        found = [self._engine.memory_bytes(c.id) for c in self.containers if c.running]
        known = [count for count in found if count is not None]
        return sum(known) if len(known) == len(found) else None

    def close(self) -> None:
        """Remove the clone."""
        self._lease.close()

    def _running(self) -> list[Container]:
        return [c for c in self.session.containers.own() if c.state == "running"]

    def _pause(self, containers: Iterable[Container]) -> None:
        def pause(container: Container) -> None:
            try:
                self._engine.pause(container.id)
            except EngineError as error:  # it has just ended by itself, as a job does
                if "not running" not in error.message:
                    raise

        at_once(pause, list(containers))


@contextlib.contextmanager
def with_spares(stack: Stack, options: SessionOptions, count: int, run: str, worker: str) -> Iterator[SpareStacks]:
    """Lend clones of a stack in rotation: one in use and `count` that stand by. The original is not touched, and need not be up.

    The first clone is ready when the block begins. The spares are made meanwhile and later. All are removed when the block ends.
    """
    stacks = SpareStacks(stack, options, count, run, worker)
    try:
        stacks.begin()
        yield stacks
    finally:
        stacks.close()


class SpareStacks:
    """One test run's use of several clones of a stack in rotation; see session.Lease.

    If the clone in use was touched, a restore to the session's commit hands out the next clone, so that `session` is another one
    then. Ports have one address for the whole run.
    """

    def __init__(self, original: Stack, options: SessionOptions, spares: int, run: str, worker: str) -> None:
        self._original = original
        self._options = options
        self._spares = spares
        self._run, self._worker = run, worker
        self._numbers = itertools.count()
        self._heard: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._thread = threading.current_thread()
        self._forwarder = Forwarder()
        self._rotation = Rotation(self._make, spares + 1, self._warn, options.ready_timeout_s)
        self._current: SpareClone | None = None
        self._waited = False
        self._durability_told = False

    def begin(self) -> None:
        """Take the first clone."""
        self._tell_memory(self._rotate())

    def close(self) -> None:
        """Remove all clones."""
        self._current = None
        self._forwarder.close()
        self._rotation.close()
        self._tell_heard()

    @property
    def session(self) -> Session:
        """The session on the clone in use. If no clone could be handed out last time, it is tried again."""
        return self._in_use().session

    @property
    def commit(self) -> Commit:
        return self.session.commit

    def what_changed(self, commit: Commit) -> Touched:
        """Return what may have changed. If a container was touched, files are not looked at."""
        self._tell_heard()
        session = self.session
        causes = session.last_restore.touched_containers()
        return Touched(containers=causes, known=causes.keys()) if causes else session.what_changed(commit)

    def restore(self, commit: Commit, changed: Touched | None = None) -> RestoreReport:
        """Have a clone at a commit, ready.

        If nothing has touched the clone in use since it was put to that commit, it stays. Otherwise it depends on the commit. For
        the session's own, the next clone is handed out and all connections to the last one are closed. For any other commit, the
        clone in use is restored in place.
        """
        began = time.monotonic()
        current = self._in_use()
        changed = self.what_changed(commit) if changed is None else changed
        if not changed:
            report = RestoreReport(commit, Plan(()), (), None, 0.0)
        elif commit.id != current.session.commit.id:
            report = current.session.restore(commit)
            if report.plan.steps:
                self._forwarder.switch({key: current.session.endpoint(*key) for key in self._forwarder.keys})
        else:
            causes = self._reasons(current, changed)
            self._rotate()
            report = RestoreReport(commit, Plan(()), (), None, 0.0, causes, handed_out=True)
        return replace(report, total_s=time.monotonic() - began)

    def _reasons(self, current: SpareClone, changed: Touched) -> Mapping[str, str]:
        """Return the services that were touched, each with the reason as people read it."""
        labels = {c.id: c.label for c in current.containers}
        subdots = (s for s in current.session.stack.facts.plan.subdots if s.name in changed.subdots)
        written = {s.services[0]: f"files of {s.name} were written to" for s in subdots}
        return {**written, **{labels[i]: cause for i, cause in changed.containers.items() if i in labels}}

    def endpoint(self, service: str, port: int) -> Address:
        """Return (host, port) by which a port of a service can be reached from here during the whole run."""
        return self._forwarder.address((service, port), self.session.endpoint(service, port))

    def _in_use(self) -> SpareClone:
        return self._current or self._rotate()

    def _rotate(self) -> SpareClone:
        if self._current is not None and self._rotation.is_waited_for and not self._waited:
            self._waited = True
            self._listen(Event("wait", "no spare is ready; waiting for one, now and whenever tests are faster than restores"))
        self._current = None
        self._forwarder.switch({})
        try:
            current = self._rotation.take()
        finally:
            self._tell_heard()
        self._forwarder.switch(current.targets(self._forwarder.keys))
        self._current = current
        return current

    def _make(self) -> SpareClone:
        name = clone_name(self._original.facts.project.name, self._run, f"{self._worker}s{next(self._numbers)}")
        clone = Clone(self._original, name, self._run)
        clone.listener = self._listen
        return SpareClone(clone, self._options)

    # Events. The listener is called in the session's own thread only.

    def _listen(self, event: Event) -> None:
        if event.what == "durability":  # the same for all clones
            if self._durability_told:
                return
            self._durability_told = True
        if threading.current_thread() is self._thread:
            self._original.listener(event)
        else:
            self._heard.put(event)

    def _warn(self, text: str) -> None:
        self._listen(Event("warning", text))

    def _tell_heard(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._original.listener(self._heard.get_nowait())

    def _tell_memory(self, clone: SpareClone) -> None:
        count = clone.memory_bytes()
        each = f"{size(count)} of memory each, {size(count * self._spares)} in all" if count is not None else "memory"
        self._original.listener(Event("spares", f"{self._spares} paused clones of the stack, which hold {each}"))
