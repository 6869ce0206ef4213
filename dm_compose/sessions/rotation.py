"""Several stacks in turn: while one is in use the others stand by, restored; the used one is restored in the background."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from dm_compose.core.at_once import at_once
from dm_compose.errors import DmError, NotReadyError

WATCH_S = 1.0


class Standby(Protocol):
    """A stack that can stand by. Used by one thread at a time. Any method may raise."""

    @property
    def name(self) -> str:
        """What it is called in messages."""

    def stand_by(self) -> None:
        """Restore it, whatever state it is in, and freeze it."""

    def why_changed(self, *, thoroughly: bool) -> str:
        """Return why it may not be as `stand_by` left it, '' when it is; a look that is not thorough may overlook something."""

    def resume(self) -> None:
        """Let it run again and return when all of it answers."""

    def close(self) -> None:
        """Remove it."""


S = TypeVar("S", bound=Standby)


@dataclass(eq=False)
class _Place(Generic[S]):
    """Room for one stack. The generation is raised whenever work on it begins: what comes of earlier work does not count."""

    stack: S | None = None
    generation: int = 0


class Rotation(Generic[S]):
    """Hands out one stack at a time, restored since it was last in use, and unchanged since then.

    One that cannot be restored is closed and another one made in its place; so is one whose restore takes longer than anybody
    has waited for it. `make` returns a new stack, `tell` hears of all that; both are called from threads. To be used by one
    thread.
    """

    def __init__(self, make: Callable[[], S], count: int, tell: Callable[[str], None], timeout_s: float) -> None:
        self._make = make
        self._tell = tell
        self._timeout_s = timeout_s
        self._places: list[_Place[S]] = [_Place() for _ in range(count)]
        self._used: _Place[S] | None = None
        self._changed = threading.Condition()  # guards all below
        self._fresh: deque[_Place[S]] = deque()
        self._at_work: set[_Place[S]] = set()
        self._failure: Exception | None = None
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="dm-spares", daemon=True)
        self._watcher.start()

    def take(self) -> S:
        """Give back the stack that is in use, and return another one, or that one again if it is the first to be ready.

        At once when one stands by, else within the timeout: NotReadyError. When no stack can be made the reason is raised, and
        the next call tries again.
        """
        deadline = time.monotonic() + self._timeout_s
        used, self._used = self._used, None
        place = self._resumed()
        if used is not None:
            self._begin(used)
        elif place is None:
            self._begin_anew()
        while place is None:
            self._wait(deadline)
            place = self._resumed()
        self._used = place
        for other in self._places:
            if not other.generation:
                self._begin(other)
        assert place.stack is not None
        return place.stack

    @property
    def is_waited_for(self) -> bool:
        """Whether none stands by, so that `take` would have to wait."""
        return not self._fresh

    def close(self) -> None:
        """Wait for what is being done, and close all stacks."""
        self._closing.set()
        self._watcher.join()
        for thread in self._threads:
            thread.join(self._timeout_s)
        with self._changed:
            stacks = [place.stack for place in self._places if place.stack is not None and place not in self._at_work]
            for place in self._places:
                place.generation, place.stack = place.generation + 1, None
            self._fresh.clear()
        at_once(self._close, stacks)

    # Handing out

    def _resumed(self) -> _Place[S] | None:
        """Return a place whose stack runs, and is as its restore left it; None when none stands by."""
        while True:
            with self._changed:
                if not self._fresh:
                    return None
                place = self._fresh.popleft()
            assert place.stack is not None
            problem = _problem(place.stack, thoroughly=True)
            try:
                if not problem:
                    place.stack.resume()
                    return place
            except Exception as error:
                problem = _text(error)
            self._repair(place, place.stack, problem)

    def _wait(self, deadline: float) -> None:
        """Wait until one stands by."""
        with self._changed:
            if self._changed.wait_for(lambda: self._fresh or not self._at_work, max(0.0, deadline - time.monotonic())):
                if not self._fresh:
                    assert self._failure is not None
                    raise self._failure
                return
            for place in list(self._at_work):
                place.stack = None  # whoever is at work with it closes it
                self._begin(place)
            raise NotReadyError(
                f"none of {len(self._places)} stacks was ready within {self._timeout_s:.0f} s; others are made instead",
                hint="A longer wait: --timeout SECONDS (or DM_TIMEOUT).",
            )

    def _begin_anew(self) -> None:
        """Begin with the first place, or again with those where no stack could be made."""
        with self._changed:
            idle = not self._at_work and not self._fresh
        for place in self._places if idle else ():
            self._begin(place)
            if place.generation == 1:
                return

    # In the background

    def _begin(self, place: _Place[S]) -> None:
        with self._changed:
            place.generation += 1
            self._at_work.add(place)
            work = threading.Thread(target=self._work, args=(place, place.generation, place.stack), name="dm-spare", daemon=True)
            self._threads = [*(t for t in self._threads if t.is_alive()), work]
        work.start()

    def _work(self, place: _Place[S], generation: int, stack: S | None) -> None:
        failure = None
        try:
            stack = self._last_restore_by(stack)
        except Exception as error:
            stack, failure = None, error
        self._done(place, generation, stack, failure)

    def _last_restore_by(self, stack: S | None) -> S:
        """Have the stack stand by, or a new one."""
        if stack is not None:
            try:
                stack.stand_by()
            except Exception as error:
                self._tell(f"{stack.name} cannot be restored, another one is made: {_text(error)}")
                self._close(stack)
            else:
                return stack
        made = self._make()
        try:
            made.stand_by()
        except BaseException:
            self._close(made)
            raise
        return made

    def _done(self, place: _Place[S], generation: int, stack: S | None, failure: Exception | None = None) -> None:
        """Say what has come of work on a place; too late, it is thrown away."""
        with self._changed:
            if place.generation == generation:
                place.stack = stack
                self._at_work.discard(place)
                if stack is not None:
                    self._fresh.append(place)
                elif failure is not None:
                    self._failure = failure  # raised when there is no other stack
                    self._tell(f"a stack cannot be made: {_text(failure)}")
                self._changed.notify_all()
                return
        if stack is not None:
            self._close(stack)

    def _watch(self) -> None:
        """Look after those that stand by, so that one that dies is noticed before it is wanted."""
        while not self._closing.wait(WATCH_S):
            for _ in self._places:
                with self._changed:
                    if not self._fresh:
                        break
                    place = self._fresh.popleft()
                    generation, stack = place.generation, place.stack
                    self._at_work.add(place)
                assert stack is not None
                problem = _problem(stack, thoroughly=False)
                with self._changed:
                    if problem and place.generation == generation:
                        self._repair(place, stack, problem)
                        continue
                self._done(place, generation, stack)

    def _repair(self, place: _Place[S], stack: S, problem: str) -> None:
        self._tell(f"{stack.name} was changed while it stood by, it is restored again: {problem}")
        self._begin(place)

    def _close(self, stack: S) -> None:
        try:
            stack.close()
        except Exception as error:
            self._tell(f"{stack.name} cannot be removed: {_text(error)}")


def _problem(stack: Standby, *, thoroughly: bool) -> str:
    try:
        return stack.why_changed(thoroughly=thoroughly)
    except Exception as error:
        return _text(error)


def _text(error: Exception) -> str:
    return error.message if isinstance(error, DmError) else repr(error)
