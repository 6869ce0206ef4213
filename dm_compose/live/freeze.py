"""Make a stack stand still for an instant, and let it go on again whatever happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from typing import Self, TypeVar

from dm_compose.core.at_once import at_once, in_time
from dm_compose.core.containers import Container
from dm_compose.core.events import Event
from dm_compose.engine import Engine
from dm_compose.engine.frozen import kill_all_but_the_first
from dm_compose.errors import DmError, EngineError, InUseError
from dm_compose.live.quiesce import Quiesced, saves
from dm_compose.live.worktree import LiveWorktree, Member
from dm_compose.process import Watchdog

T = TypeVar("T")
_ENDED = ("exited", "dead", "removing", "created")


class Freeze:
    """All containers of a stack that may write, paused together. As a context manager a freeze thaws them at the end.

    Containers are paused in this order:

    1. Containers that need no quiescing, all at once. If there is a datastore to quiesce, these are all other containers of the
       stack, also those that do not write.
       Those that end again and again and that the engine is about to start are stopped.
    2. The quiesce hooks of datastores are called.
    3. These datastores are paused.

    So if a program of the stack writes A and then B, nobody can find B without A. Should this process die, a watchdog process
    thaws the containers. Should both die, the next command does it, by the journal.

    A freeze without an engine, or without containers that write, does nothing. A `lenient` freeze goes on, with a warning, if a
    datastore cannot save what it holds in memory.
    """

    def __init__(self, live: LiveWorktree, *, lenient: bool = False) -> None:
        self._live = live
        self._frozen: set[str] = set()
        self._down: set[str] = set()  # that `thaw` starts
        running = [m for m in live.members if m.container.state == "running" and not m.lifeline]
        self._restarting = [m for m in live.members if m.container.state == "restarting" and m.writes and not m.lifeline]
        self._quiesced = [m for m in running if saves(m)]
        if self._quiesced:
            ours = [m for m in running if live.project in (None, m.container.project)]
            self._first = [m for m in running if m not in self._quiesced and (m.writes or m in ours)]
        else:
            self._first = [m for m in running if m.writes]
        self._left_out = [m for m in live.members if m.lifeline and m.container.state == "running"]
        self._hooks = Quiesced(live, lenient=lenient)
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

    @property
    def stopped(self) -> list[str]:
        """Ids of the containers that `freeze` stops, because they end again and again, and `thaw` starts."""
        return [m.container.id for m in self._restarting]

    def holds(self, container_id: str) -> bool:
        """Whether a container is frozen by this freeze now."""
        return container_id in self._frozen

    def warm_up(self) -> None:
        """Have datastores write to the disk already now, so that little is left to write while everything is frozen.

        NotReadyError. See Quiesced.quiesce.
        """
        self._hooks.quiesce(self._quiesced)
        self._hooks.resume()

    def freeze(self) -> None:
        """Pause the containers. On an error all of them are thawed before the error is raised.

        NotReadyError for a datastore whose hook is not done within seconds. InUseError if one that writes is a lifeline of this
        process. A lifeline that does not write is left out with a warning.
        """
        refuse_to_hold_ourselves(self._live)
        if not (self.containers or self.stopped):
            return
        for member in self._left_out if self._quiesced else ():
            text = f"{member.container.label} goes on while the stack stands still, because {member.lifeline}"
            self._live.listener(Event("warning", text))
        undo = [["docker", verb, *ids] for verb, ids in (("unpause", self.containers), ("start", self.stopped)) if ids]
        self._watchdog = Watchdog(*undo)
        self._frozen, self._down = {*self.containers, *self.stopped}, set(self.stopped)
        self._began = time.monotonic()
        try:
            at_once(self._pause, self._first)
            at_once(lambda m: self._engine.kill(m.container.id), self._restarting)  # nothing runs in it; it is not to begin
            self._hooks.quiesce(self._quiesced, frozen=True)
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

        def go_on(member: Member) -> None:
            try:
                if member.container.id in self._down:
                    self._engine.start(member.container.id)
                else:
                    self._engine.unpause(member.container.id)
                self._frozen.discard(member.container.id)
            except DmError as error:
                errors.append(error)

        held = [m for m in (*self._first, *self._quiesced, *self._restarting) if m.container.id in self._frozen]
        at_once(go_on, [m for m in held if m.container.id not in left])
        if self._began is not None:
            self.frozen_s, self._began = time.monotonic() - self._began, None
        self._hooks.resume(but=left)
        if errors:
            raise errors[0]
        if not left:
            self._watchdog.release()
            self._watchdog = None

    def kill(self, container: Container) -> None:
        """Take a container down, frozen or not, and forget it. A frozen one does not run for an instant more."""
        if self.holds(container.id) or container.state == "paused":
            kill_all_but_the_first(self._engine, container)
        self._engine.kill(container.id)
        self.forget(container.id)

    def forget(self, container_id: str) -> None:
        """Say that a frozen container has been taken down, so that nothing is left to thaw or to resume in it."""
        self._hooks.forget(container_id)
        self._frozen.discard(container_id)

    @property
    def _engine(self) -> Engine:
        assert self._live.engine is not None  # without an engine there is no container to freeze
        return self._live.engine

    def _pause(self, member: Member) -> None:
        """Pause a container. If it has just ended, and the engine is about to start it again, take it down instead."""
        try:
            self._engine.pause(member.container.id)
        except EngineError:
            state = self._engine.container(member.container.id).state
            if state == "restarting":
                self._down.add(member.container.id)
                self._engine.kill(member.container.id)
            elif state not in _ENDED:
                raise


def refuse_to_hold_ourselves(live: LiveWorktree, container_ids: Collection[str] | None = None) -> None:
    """Raise InUseError if a lifeline of this process would have to be held still or taken down, because it has state.

    `container_ids`, if given, are the containers that go down.
    """
    for member in live.members:
        if member.must_stay if container_ids is None else member.lifeline and member.container.id in container_ids:
            what = ", ".join(s for s, writable in member.mounts.items() if writable) or "data in memory"
            raise InUseError(
                f"container {member.container.name} has {what} of dot {live.dot}, and cannot be held still: {member.lifeline}",
                hint="Run dm-compose outside of it, or mount its volumes read-only (`:ro`).",
            )


def promptly(work: Callable[[], T]) -> T:
    """Do `work` in a thread and return its result. ^C and SIGTERM are raised at once, so that the caller can thaw meanwhile."""
    return in_time(work, None)
