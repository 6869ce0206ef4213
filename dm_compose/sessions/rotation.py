"""Several stacks in turn. While one is in use, the others stand by, restored. A used one is restored in the background."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from dm_compose.core.at_once import at_once
from dm_compose.core.units import counted, seconds
from dm_compose.errors import DmError, NotReadyError

WATCH_S = 1.0


class Standby(Protocol):
    """A stack that can stand by. Used by one thread at a time. Any method may raise."""

    @property
    def name(self) -> str:
        """The stack's name in messages."""

    def stand_by(self) -> None:
        """Restore the stack, in whatever state it is, and freeze it."""

    def why_changed(self, *, thoroughly: bool) -> str:
        """Return why the stack may not be as `stand_by` left it, '' if it is. A look that is not thorough may miss something."""

    def resume(self) -> None:
        """Let the stack run again, and return when all of it answers."""

    def close(self) -> None:
        """Remove the stack."""


S = TypeVar("S", bound=Standby)


@dataclass(eq=False)
class _Slot(Generic[S]):
    """Room for one stack. The generation is raised when work on it begins, so that results of earlier work are thrown away."""

    stack: S | None = None
    generation: int = 0


class Rotation(Generic[S]):
    """Hands out one stack at a time, restored since it was last in use, and unchanged since then.

    A stack that cannot be restored is closed, and another one is made in its place. The same happens if its restore takes longer
    than `take` waits for it. `make` returns a new stack, and `tell` is told of all this; both are called from other threads. One
    thread may use this object.
    """

    def __init__(self, make: Callable[[], S], count: int, tell: Callable[[str], None], timeout_s: float) -> None:
        self._make = make
        self._tell = tell
        self._timeout_s = timeout_s
        self._slots: list[_Slot[S]] = [_Slot() for _ in range(count)]
        self._used: _Slot[S] | None = None
        self._changed = threading.Condition()  # guards all below
        self._fresh: deque[_Slot[S]] = deque()
        self._at_work: set[_Slot[S]] = set()
        self._failure: Exception | None = None
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="dm-spares", daemon=True)
        self._watcher.start()

    def take(self) -> S:
        """Give back the stack that is in use, and return the first one that is ready. It may be the same one again.

        If a stack stands by, this returns at once. Otherwise it waits, and raises NotReadyError after the timeout. If no stack
        can be made, the reason is raised, and the next call tries again.
        """
        deadline = time.monotonic() + self._timeout_s
        used, self._used = self._used, None
        slot = self._resumed()
        if used is not None:
            self._begin(used)
        elif slot is None:
            self._begin_anew()
        while slot is None:
            self._wait(deadline)
            slot = self._resumed()
        self._used = slot
        for other in self._slots:
            if not other.generation:
                self._begin(other)
        assert slot.stack is not None
        return slot.stack

    @property
    def is_waited_for(self) -> bool:
        """Whether no stack stands by, so that `take` would have to wait."""
        return not self._fresh

    def close(self) -> None:
        """Wait for work in the background to end, and close all stacks."""
        self._closing.set()
        self._watcher.join()
        for thread in self._threads:
            thread.join(self._timeout_s)
        with self._changed:
            stacks = [slot.stack for slot in self._slots if slot.stack is not None and slot not in self._at_work]
            for slot in self._slots:
                slot.generation, slot.stack = slot.generation + 1, None
            self._fresh.clear()
        at_once(self._close, stacks)

    # Handing out

    def _resumed(self) -> _Slot[S] | None:
        """Let a stack that stands by run again, and return its slot. Return None if none stands by as its restore left it."""
        while True:
            with self._changed:
                if not self._fresh:
                    return None
                slot = self._fresh.popleft()
            assert slot.stack is not None
            problem = _problem(slot.stack, thoroughly=True)
            try:
                if not problem:
                    slot.stack.resume()
                    return slot
            except Exception as error:
                problem = _text(error)
            self._repair(slot, slot.stack, problem)

    def _wait(self, deadline: float) -> None:
        """Wait until a stack stands by."""
        with self._changed:
            if self._changed.wait_for(lambda: self._fresh or not self._at_work, max(0.0, deadline - time.monotonic())):
                if not self._fresh:
                    assert self._failure is not None
                    raise self._failure
                return
            for slot in list(self._at_work):
                slot.stack = None  # the thread that works with it closes it
                self._begin(slot)
            raise NotReadyError(
                f"none of {counted(len(self._slots), 'stack')} was ready within {seconds(self._timeout_s)};"
                " others are made instead",
                hint="A longer wait: --timeout SECONDS (or DM_TIMEOUT).",
            )

    def _begin_anew(self) -> None:
        """Begin to make the first stack, or try again in the slots where none could be made."""
        with self._changed:
            idle = not self._at_work and not self._fresh
        for slot in self._slots if idle else ():
            self._begin(slot)
            if slot.generation == 1:
                return

    # In the background

    def _begin(self, slot: _Slot[S]) -> None:
        with self._changed:
            slot.generation += 1
            self._at_work.add(slot)
            work = threading.Thread(target=self._work, args=(slot, slot.generation, slot.stack), name="dm-spare", daemon=True)
            self._threads = [*(t for t in self._threads if t.is_alive()), work]
        work.start()

    def _work(self, slot: _Slot[S], generation: int, stack: S | None) -> None:
        failure = None
        try:
            stack = self._on_standby(stack)
        except Exception as error:
            stack, failure = None, error
        self._done(slot, generation, stack, failure)

    def _on_standby(self, stack: S | None) -> S:
        """Have the stack stand by. If there is none, or it cannot be restored, have a new one stand by."""
        if stack is not None:
            try:
                stack.stand_by()
            except Exception as error:
                self._tell(f"{stack.name} cannot be restored, so another one is made: {_text(error)}")
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

    def _done(self, slot: _Slot[S], generation: int, stack: S | None, failure: Exception | None = None) -> None:
        """Record the result of work on a slot. If newer work has begun there, the result is thrown away."""
        with self._changed:
            if slot.generation == generation:
                slot.stack = stack
                self._at_work.discard(slot)
                if stack is not None:
                    self._fresh.append(slot)
                elif failure is not None:
                    self._failure = failure  # raised if there is no other stack
                    self._tell(f"a stack cannot be made: {_text(failure)}")
                self._changed.notify_all()
                return
        if stack is not None:
            self._close(stack)

    def _watch(self) -> None:
        """Check the stacks that stand by every second, so that one that has died is replaced before it is needed."""
        while not self._closing.wait(WATCH_S):
            for _ in self._slots:
                with self._changed:
                    if not self._fresh:
                        break
                    slot = self._fresh.popleft()
                    generation, stack = slot.generation, slot.stack
                    self._at_work.add(slot)
                assert stack is not None
                problem = _problem(stack, thoroughly=False)
                with self._changed:
                    if problem and slot.generation == generation:
                        self._repair(slot, stack, problem)
                        continue
                self._done(slot, generation, stack)

    def _repair(self, slot: _Slot[S], stack: S, problem: str) -> None:
        self._tell(f"{stack.name} was changed while it stood by, so it is restored again: {problem}")
        self._begin(slot)

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
