"""Test sessions with warm spares: clones of the stack that are restored, ready and paused before a test wants one."""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Self, TypeVar

from dm_compose.clones.clone import Clone, clone_name
from dm_compose.core.commit import Commit
from dm_compose.core.containers import Container
from dm_compose.core.events import Event
from dm_compose.core.plan import Plan
from dm_compose.core.units import size
from dm_compose.dots.stack import Stack
from dm_compose.errors import EngineError, NotReadyError
from dm_compose.live.ready import await_ready, endpoints
from dm_compose.live.worktree import Member
from dm_compose.operations.restore import RestoreReport
from dm_compose.sessions.forwarding import Address, Forwarder, Key
from dm_compose.sessions.leases import CloneSession
from dm_compose.sessions.rotation import Rotation
from dm_compose.sessions.session import SessionOptions, StackSession

T = TypeVar("T")


class SpareClone(CloneSession):
    """A clone that can stand by: restored, ready, and all its containers paused. See rotation.Standby.

    What has no state is paused before the restore, so that nothing of the stack itself writes between restore and pause.
    """

    def __init__(self, clone: Clone, options: SessionOptions) -> None:
        super().__init__(clone, options)
        self._members: Sequence[Member] = ()
        self._unproven: Set[str] = frozenset()
        self._restless = False

    @property
    def name(self) -> str:
        """The clone's name."""
        return self.clone.name

    @property
    def containers(self) -> list[Container]:
        """The clone's containers as they were when it began to stand by."""
        return [m.container for m in self._members]

    def stand_by(self) -> None:
        """Put the clone to its commit, wait until it is ready, and pause it: nothing has reached it in between.

        Where something does each time, because a service that is restarted talks at once, it is accepted.
        """
        assert self.commit is not None
        causes = self._restored_and_paused(self.commit)
        if causes and not self._restless:
            causes = self._restored_and_paused(self.commit)
            self._restless = bool(causes)
        assert self._last_restore is not None
        with self._live() as live:
            if causes:
                self._last_restore.arrived(live, self.commit, None, Plan(()))
        self._members = [m for m in live.members if m.container.project == live.project]
        if up := [m.container.label for m in self._members if m.container.service in self._up and m.container.state != "paused"]:
            raise NotReadyError(f"{', '.join(up)} could not be paused, or was started or stopped by somebody")
        self._unproven = self._last_restore.touches().keys() if causes else frozenset()

    def _restored_and_paused(self, commit: Commit) -> Mapping[str, str]:
        """Return what may have been touched in between, with the reason."""
        self._pause(c for c in self._running() if c.service not in self._up)
        self.restore(commit)
        self._pause(self._running())
        assert self._last_restore is not None
        return self._last_restore.paused()

    def why_changed(self, *, thoroughly: bool) -> str:
        """Return what has reached the clone since it stands by, '' for nothing. Files are looked at `thoroughly` only.

        Containers of which nothing could be proven then (see witness) have been paused since, and their files are looked at.
        """
        assert self._last_restore is not None
        assert self.commit is not None
        touched = self._last_restore.touched(self.commit.id) if thoroughly else None
        causes = touched.containers if touched is not None else self._last_restore.touches()
        others = [*map(str, touched.subdots)] if touched is not None else []
        if touched is not None and touched.others_started:
            others.append("a container of its own was started")
        labels = {c.id: c.label for c in self.containers}
        found = [f"{labels.get(i, i[:12])}: {cause}" for i, cause in causes.items() if i not in self._unproven]
        return "; ".join([*found, *others])

    def resume(self) -> None:
        """Have all run again and return when every datastore answers; NotReadyError."""
        engine = self.stack.engine

        def resume(member: Member) -> None:
            if member.container.state == "paused":
                engine.unpause(member.container.id)
            if member.datastore is not None and member.container.service in self._up:
                await_ready(engine, member, self.stack.listener, self.options.ready_timeout_s)

        _at_once(resume, self._members)
        assert self._last_restore is not None
        self._last_restore.thawed()

    def targets(self, keys: Iterable[Key]) -> dict[Key, Address]:
        """Return where ports of services are, as far as they can be reached; true until a container is restarted."""
        by_service = {c.service: c for c in self.containers if not c.one_off}
        found = {
            (service, port): endpoints(self.stack.engine, by_service[service], port)
            for service, port in keys
            if service in by_service
        }
        return {key: places[-1] for key, places in found.items() if places}

    def memory_bytes(self) -> int | None:
        """Return how much memory its containers hold, None when the engine does not tell."""
        found = [self.stack.engine.memory_bytes(c.id) for c in self.containers if c.running]
        known = [count for count in found if count is not None]
        return sum(known) if len(known) == len(found) else None

    def close(self) -> None:
        """Remove the clone."""
        self.__exit__(None, None, None)

    def _running(self) -> list[Container]:
        return [c for c in self.stack.containers() if c.state == "running" and c.project == self.name]

    def _pause(self, containers: Iterable[Container]) -> None:
        def pause(container: Container) -> None:
            try:
                self.stack.engine.pause(container.id)
            except EngineError as error:  # it has just ended by itself, as a job does
                if "not running" not in error.message:
                    raise

        _at_once(pause, list(containers))


def _at_once(work: Callable[[T], object], items: Sequence[T]) -> None:
    with ThreadPoolExecutor(max(len(items), 1)) as pool:
        list(pool.map(work, items))


class SpareSession(StackSession):
    """One test run's use of several clones of a stack in rotation. The original is not touched, and need not be up.

    A restore to the session's commit of a stack that was touched hands out the next clone: `stack` is another one then. Ports
    have one address for the whole session.
    """

    def __init__(self, original: Stack, options: SessionOptions, spares: int, run: str, worker: str) -> None:
        super().__init__(original, options)
        self.original = original
        self._spares = spares
        self._run, self._worker = run, worker
        self._numbers = itertools.count()
        self._heard: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._thread = threading.current_thread()
        self._current: SpareClone | None = None
        self._waited = False
        self._durability_told = False

    def __enter__(self) -> Self:
        """Make the first clone and wait until it is ready; its spares are made meanwhile and later. See clones.made."""
        self._forwarder = Forwarder()
        self._rotation = Rotation(self._make, self._spares + 1, self._warn, self.options.ready_timeout_s)
        try:
            self._rotate()
        except BaseException:
            self.__exit__()
            raise
        self._tell_memory()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove all clones."""
        self._current = None
        self._forwarder.close()
        self._rotation.close()
        self._tell_heard()

    def restore(self, commit: Commit) -> RestoreReport:
        """Have the stack at a commit, ready.

        A stack that nothing has touched since it was put there stays. To the session's commit the next clone is handed out and
        all connections to the one before are closed; to another one the clone is restored in place.
        """
        began = time.monotonic()
        assert self.commit is not None
        self._tell_heard()
        if self._current is None:
            self._rotate()
        assert self._current is not None
        causes = self._touched_by(commit)
        if causes is None:
            return RestoreReport(commit, Plan(()), (), None, time.monotonic() - began)
        self.before_restore(commit)
        if commit.id != self.commit.id:
            report = self._current.restore(commit)
            if report.plan.steps:
                self._forwarder.switch({key: self._current.endpoint(*key) for key in self._forwarder.keys})
            return replace(report, total_s=time.monotonic() - began)
        self._rotate()
        return RestoreReport(commit, Plan(()), (), None, time.monotonic() - began, causes, handed_out=True)

    def _touched_by(self, commit: Commit) -> Mapping[str, str] | None:
        """Return what has touched services since the stack in use was put to a commit, as far as is known; None for nothing."""
        assert self._last_restore is not None
        assert self._current is not None
        causes = self._last_restore.touches()
        touched = self.touched(commit) if not causes else None  # files are looked at last
        if touched is not None and not touched:
            return None
        labels = {c.id: c.label for c in self._current.containers}
        written = {
            s.services[0]: f"files of {s.name} were written to"
            for s in self.stack.plan.subdots
            if touched and s.name in touched.subdots
        }
        return {**written, **{labels[i]: cause for i, cause in causes.items() if i in labels}}

    def endpoint(self, service: str, port: int) -> Address:
        """Return (host, port) by which a port of a service can be reached from here during the whole session."""
        return self._forwarder.address((service, port), super().endpoint(service, port))

    def _rotate(self) -> None:
        if self._current is not None and self._rotation.is_waited_for and not self._waited:
            self._waited = True
            self._listen(Event("wait", "no spare is ready; waiting for the first one, now and whenever tests are faster"))
        self._current = None
        self._forwarder.switch({})
        try:
            current = self._rotation.take()
        finally:
            self._tell_heard()
        self.stack, self._access, self._places = current.stack, current._access, current._places
        self.commit, self._last_restore = current.commit, current._last_restore
        self._forwarder.switch(current.targets(self._forwarder.keys))
        self._current = current

    def _make(self) -> SpareClone:
        name = clone_name(self.original.project.name, self._run, f"{self._worker}s{next(self._numbers)}")
        clone = Clone(self.original, name, self._run)
        clone.listener = self._listen
        return SpareClone(clone, self.options).__enter__()

    # What is to be said: in the session's own thread only

    def _listen(self, event: Event) -> None:
        if event.what == "durability":  # the same for all clones
            if self._durability_told:
                return
            self._durability_told = True
        if threading.current_thread() is self._thread:
            self.original.listener(event)
        else:
            self._heard.put(event)

    def _warn(self, text: str) -> None:
        self._listen(Event("warning", text))

    def _tell_heard(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self.original.listener(self._heard.get_nowait())

    def _tell_memory(self) -> None:
        assert self._current is not None
        count = self._current.memory_bytes()
        each = f"{size(count)} of memory each, {size(count * self._spares)} in all" if count is not None else "memory"
        self.original.listener(Event("spares", f"{self._spares} paused clones of the stack, which hold {each}"))
