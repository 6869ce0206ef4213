"""Make a stack stand still for an instant, and let it go on again whatever happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self, TypeVar

from dm_compose.core.at_once import at_once
from dm_compose.core.events import Event
from dm_compose.datastores import ServiceFacts
from dm_compose.datastores.base import Resume
from dm_compose.engine import Engine
from dm_compose.engine.endpoints import endpoints
from dm_compose.errors import DmError, NotReadyError
from dm_compose.live.worktree import LiveWorktree, Member
from dm_compose.process import Watchdog

T = TypeVar("T")


@dataclass(frozen=True)
class _Running:
    """A datastore as its quiesce hook sees it (datastores.base.Running)."""

    engine: Engine
    member: Member
    host: str
    port: int

    @property
    def service(self) -> ServiceFacts:
        return self.member.service

    def run(self, command: Sequence[str], *, user: str = "", environment: Mapping[str, str] | None = None) -> tuple[int, str]:
        return self.engine.run(self.member.container.id, command, user=user, environment=environment)


class Freeze:
    """All containers of a stack that may write, paused together. As a context manager a freeze thaws them at the end.

    Containers are paused in this order:

    1. Containers that need no quiescing, all at once. If there is a datastore to quiesce, these are all other containers of the
       stack, also those that do not write.
    2. The quiesce hooks of datastores are called.
    3. These datastores are paused.

    So if a program of the stack writes A and then B, nobody can find B without A. Should this process die, a watchdog process
    thaws the containers. Should both die, the next command does it, by the journal.

    A freeze without an engine, or without containers that write, does nothing. A `lenient` freeze goes on, with a warning, if a
    datastore cannot save what it holds in memory.
    """

    def __init__(self, live: LiveWorktree, *, lenient: bool = False) -> None:
        self._live = live
        self._lenient = lenient
        self._frozen: set[str] = set()
        running = [m for m in live.members if m.container.state == "running"]
        self._quiesced = [m for m in running if m.writes and m.datastore is not None and m.datastore.quiesce is not None]
        if self._quiesced:
            ours = [m for m in running if live.project in (None, m.container.project)]
            self._first = [m for m in running if m not in self._quiesced and (m.writes or m in ours)]
        else:
            self._first = [m for m in running if m.writes]
        self._resume: dict[str, Resume] = {}
        self._watchdog: Watchdog | None = None
        self._began: float | None = None
        self.frozen_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.thaw()

    @property
    def containers(self) -> list[str]:
        """Ids of the containers that `freeze` pauses."""
        return [m.container.id for m in (*self._first, *self._quiesced)]

    def holds(self, container_id: str) -> bool:
        """Whether a container is frozen by this freeze now."""
        return container_id in self._frozen

    def warm_up(self) -> None:
        """Have datastores write to the disk already now, so that little is left to write while everything is frozen."""
        at_once(self._quiesce, self._quiesced)
        self._resume_all(())

    def freeze(self) -> None:
        """Pause the containers. On an error all of them are thawed before the error is raised."""
        if not self.containers:
            return
        self._watchdog = Watchdog(["docker", "unpause", *self.containers])
        self._frozen = set(self.containers)
        self._began = time.monotonic()
        try:
            at_once(self._pause, self._first)
            at_once(self._quiesce, self._quiesced)
            at_once(self._pause, self._quiesced)
        except BaseException:
            self.thaw()
            raise

    def thaw(self, *, leave: Iterable[str] = ()) -> None:
        """Let all containers run again, except those to `leave` (ids). Idempotent. A container that is down by now stays down.

        Each container is tried before the first error is raised. If containers are left frozen, the watchdog stays on guard until
        a `thaw` that leaves none.
        """
        if self._watchdog is None:
            return
        left = set(leave)
        errors: list[DmError] = []

        def unpause(member: Member) -> None:
            try:
                self._engine.unpause(member.container.id)
                self._frozen.discard(member.container.id)
            except DmError as error:
                errors.append(error)

        at_once(unpause, [m for m in (*self._first, *self._quiesced) if m.container.id not in left])
        if self._began is not None:
            self.frozen_s, self._began = time.monotonic() - self._began, None
        self._resume_all(left)
        if errors:
            raise errors[0]
        if not left:
            self._watchdog.release()
            self._watchdog = None

    def forget(self, container_id: str) -> None:
        """Say that a frozen container has been taken down, so that nothing is left to thaw or to resume in it."""
        self._resume.pop(container_id, None)
        self._frozen.discard(container_id)

    @property
    def _engine(self) -> Engine:
        assert self._live.engine is not None  # without an engine there is no container to freeze
        return self._live.engine

    def _resume_all(self, left: Collection[str]) -> None:
        for container_id, resume in list(self._resume.items()):
            if container_id not in left:
                del self._resume[container_id]
                self._tell(resume)

    def _tell(self, resume: Resume) -> None:
        try:
            resume()
        except Exception as error:  # the containers run again, and an error of a plugin's hook must not hide that
            self._live.listener(Event("warning", f"a datastore could not be told to go on: {error}"))

    def _pause(self, member: Member) -> None:
        self._engine.pause(member.container.id)

    def _quiesce(self, member: Member) -> None:
        try:
            resume = quiesce(self._live, member)
        except DmError as error:
            if not self._lenient:
                raise
            text = f"{member.container.label} is kept as its files are, because it cannot save what it holds in memory"
            self._live.listener(Event("warning", f"{text}: {error.message}"))
            return
        if resume is not None:
            self._resume[member.container.id] = resume


def promptly(work: Callable[[], T]) -> T:
    """Do `work` in a thread and return its result. ^C and SIGTERM are raised at once, so that the caller can thaw meanwhile."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="frozen")
    try:
        return pool.submit(work).result()
    finally:
        pool.shutdown(wait=False)


def quiesce(live: LiveWorktree, member: Member) -> Resume | None:
    """Have a running datastore bring its acknowledged writes to the disk. Return the call that lets it go on, if it needs one.

    NotReadyError when the datastore cannot be reached from here.
    """
    assert live.engine is not None
    assert member.datastore is not None
    assert member.datastore.quiesce is not None
    found = endpoints(live.engine, member.container, member.port)
    if not found:
        raise NotReadyError(
            f"{member.container.label} cannot be reached from here to have its data saved",
            hint="Publish its port, or commit with --stop.",
        )
    host, port = found[0]
    return member.datastore.quiesce(_Running(live.engine, member, host, port))
