"""Wait until a datastore answers in its own protocol, and until its first start has ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future
from functools import partial

from dm_compose.core.at_once import at_once, await_calls, begun
from dm_compose.core.events import Event, Listener, ignore
from dm_compose.datastores.base import NotSetUpError
from dm_compose.engine import Engine
from dm_compose.engine.endpoints import endpoints
from dm_compose.engine.first_process import in_entrypoint
from dm_compose.errors import EngineError, NotFoundError, NotReadyError
from dm_compose.live.hooks import RunningMember
from dm_compose.live.logs import told_log
from dm_compose.live.worktree import LiveWorktree, Member

POLL_S = 0.01
SLOWER = 0.02  # the pause between two questions is this part of the time waited so far: fewer lines in the server's own log
LONGEST_POLL_S = 1.0
PROBE_TIMEOUT_S = 2.0
COMMAND_POLL_S = 0.2
STATE_CHECK_S = 0.25
TELL_AFTER_S = 0.3
TELL_EVERY_S = 1.0
REFUSED_S = 20.0  # a server that turns everybody away for so long, with its set-up over, does so for good
NO_ANSWER = "it does not answer"
LONGER = "A longer wait: --timeout SECONDS (or DM_TIMEOUT)."
HALF_MADE = "Its files are those of a first start that never ended: go to another commit, or remove its volume and start it anew."


def await_ready(engine: Engine, member: Member, listener: Listener, timeout_s: float) -> float:
    """Wait until a container that a restore has started answers, and return the seconds that this took.

    A known datastore is asked in its own protocol, on the container's address: every 10 ms at first, and less often the longer it
    takes. Of any other container the health check is run, if it has one. This is done at once and not at the check's interval.
    The listener gets an event `waiting` each second, with the seconds so far and the most there may be.

    NotReadyError, with the end of the container's log, after `timeout_s`, as soon as the container has ended, and after REFUSED_S
    if the server answers and turns everybody away.
    """
    waiting = _Waiting(engine, member, timeout_s, listener, first_start=False)
    waiting.look_again()
    waiting.warn()
    return waiting.wait(threading.Event())


def await_members(engine: Engine, members: Sequence[Member], listener: Listener, timeout_s: float, *, hint: str = LONGER) -> None:
    """Return when all these running containers answer, and have their first start behind them. They are asked at the same time.

    The first start has not ended while the entrypoint's script runs in a datastore that says that its script ends
    (Datastore.entrypoint_ends), and while the engine calls the container's health `starting` and its health command fails. The
    listener is told of those for whom we wait longer than an instant. Otherwise see `await_ready`; `hint` is that of the error
    when time is over.
    """
    stop = threading.Event()
    waits = [_Waiting(engine, member, timeout_s, listener, first_start=True, hint=hint) for member in members]

    def until_ready(waiting: _Waiting) -> None:
        waiting.look_again()
        waiting.warn()
        waiting.wait(stop)

    if not waits:
        return
    try:
        jobs = [begun(partial(until_ready, waiting)) for waiting in waits]
        await_calls(jobs, TELL_AFTER_S, FIRST_EXCEPTION)
        for waiting, job in zip(waits, jobs, strict=True):
            if not job.done():
                waiting.tell(job)
        await_calls(jobs, until=FIRST_EXCEPTION)
        for job in jobs:
            if job.done():
                job.result()
    finally:
        stop.set()


def await_all(live: LiveWorktree, timeout_s: float) -> None:
    """Return when every running container with state answers, and has its first start behind it. See `await_members`."""
    members = [m for m in live.members if m.container.running and m.has_state]
    if members:
        assert live.engine is not None
        await_members(live.engine, members, live.listener, timeout_s)


def await_first_starts(live: LiveWorktree, timeout_s: float) -> None:
    """Return when no datastore with state is in its first start any more. Others are not asked. See `await_members`."""
    if live.engine is not None:
        engine = live.engine
        members = [m for m in to_await(live) if _Waiting(engine, m, timeout_s, ignore, first_start=True).script()]
        await_members(engine, members, live.listener, timeout_s)


def to_await(live: LiveWorktree) -> list[Member]:
    """Return the members that a commit waits for: running datastores with state, and others with state that are starting.

    Paused ones cannot answer. Programs that are no known datastore, and whose health check was answered once, are taken as ready.
    """
    running = [m for m in live.members if m.container.state in ("running", "restarting") and m.has_state]
    return [m for m in running if m.datastore is not None or m.container.health == "starting"]


def unready(live: LiveWorktree) -> list[tuple[Member, str]]:
    """Return the members that a commit waits for and that are not ready now, each with the reason.

    All are asked once, at the same time; this takes some milliseconds when all are ready.
    """
    engine = live.engine
    if engine is None:
        return []
    waits = [_Waiting(engine, member, PROBE_TIMEOUT_S, ignore, first_start=True) for member in to_await(live)]
    reasons = at_once(lambda waiting: waiting.not_ready() and waiting.told(), waits)
    return [(waiting.member, reason) for waiting, reason in zip(waits, reasons, strict=True) if reason]


def pause_s(waited_s: float, *, by_command: bool) -> float:
    """Return how long to wait until the next question, having waited so long. A command is a dearer question."""
    return min(LONGEST_POLL_S, max(COMMAND_POLL_S if by_command else POLL_S, SLOWER * waited_s))


class _Waiting:
    """A container that is waited for. With `first_start` it must also have its first start behind it."""

    def __init__(
        self, engine: Engine, member: Member, timeout_s: float, listener: Listener, *, first_start: bool, hint: str = LONGER
    ) -> None:
        self.member = member
        self._listener = listener
        self._timeout_s = timeout_s
        self._engine = engine
        self._container = member.container  # as it was last seen
        self._began = time.monotonic()
        self._deadline = self._began + timeout_s
        self._first_start = first_start
        self._hint = hint
        self._reason = ""  # why it was not ready when it was last asked
        self._refused_since: float | None = None  # it has answered since, and turned everybody away each time
        self._by_command = False
        self._asked_inside = 0.0

    def wait(self, stop: threading.Event) -> float:
        """Return the seconds until the container was ready, or until somebody said `stop`. NotReadyError."""
        checked = told = time.monotonic()
        while self.not_ready() and not stop.is_set():
            now = time.monotonic()
            waited_s = now - self._began
            if now >= self._deadline or now - checked > STATE_CHECK_S:
                checked = now
                self.look_again()
                self._give_up_if_refused(now)
            if now - told >= TELL_EVERY_S:
                told = now
                self._listener(Event("waiting", self._container.label, int(waited_s), round(self._timeout_s), "s"))
                self._listener(Event("await", self._why(), subject=self._container.label))
            stop.wait(min(pause_s(waited_s, by_command=self._by_command), max(POLL_S, self._deadline - now)))
        return time.monotonic() - self._began

    def not_ready(self) -> str:
        """Return why the container is not ready now, '' if it is."""
        self._by_command = False
        if self._container.state == "restarting":
            self._reason, self._refused_since = "it is restarting", None
        else:
            self._reason = self._unanswered() or (self._starting() if self._first_start else "")
        return self._reason

    def told(self) -> str:
        """Return the reason for people: a script of the entrypoint that runs explains why nothing answers."""
        return (self.script() if self._first_start else "") or self._reason

    def _why(self) -> str:
        """Return the reason as the detail of a wait for an answer, '' if it says no more than that."""
        why = self.told()
        return "" if why == NO_ANSWER else why

    def tell(self, job: Future[None]) -> None:
        """Tell that the container is waited for, and why, and then that the wait has ended well."""
        label = self.member.container.label
        self._listener(Event("await", self._why(), subject=label))

        def ended(job: Future[None]) -> None:
            if job.exception() is None and not self._reason:
                self._listener(Event("await", subject=label, took_s=time.monotonic() - self._began))

        job.add_done_callback(ended)

    def warn(self) -> None:
        """Tell if nothing can be asked: the datastore has no address here, and the container has no health check."""
        datastore = self.member.datastore
        asked = datastore is None or datastore.ready is None or self._container.health_command or self._endpoints()
        if not asked and self._container.state == "running":
            text = f"{self._container.label} cannot be asked from here whether it is ready: no address, no health check"
            self._listener(Event("warning", text))

    def look_again(self) -> None:
        """Look at the container as it is now; its address may have changed. NotReadyError if it has ended or time is over."""
        expired = time.monotonic() >= self._deadline
        label = self._container.label
        try:
            self._container = self._engine.container(self._container.id)
        except NotFoundError:
            raise NotReadyError(f"{label} is gone") from None
        if self._container.state in ("running", "restarting") and not expired:
            return
        raise self._failed("did not answer in time" if self._container.state == "running" else f"is {self._container.state}")

    def _give_up_if_refused(self, now: float) -> None:
        """NotReadyError if the server is one whose set-up is over, and has turned everybody away for REFUSED_S."""
        datastore = self.member.datastore
        refused = self._refused_since is not None and now - self._refused_since >= REFUSED_S
        if refused and datastore is not None and datastore.entrypoint_ends and not self.script():
            raise self._failed("answers, and turns everybody away")

    def _failed(self, state: str) -> NotReadyError:
        """Return the error, with the reason, the end of the container's log, and what to do."""
        datastore = self.member.datastore
        what = f"{datastore.name} on port {self.member.port}" if datastore is not None else "it to come up"
        told = self.told() if self._container.state == "running" else ""
        return NotReadyError(
            f"{self._container.label} {state}: waited for {what}"
            + (f"; {told}" if told else "")
            + told_log(self._engine, self._container.id, datastore),
            hint=HALF_MADE if self._refused_since is not None and not self.script() else self._hint,
        )

    def _endpoints(self) -> list[tuple[str, int]]:
        return endpoints(self._engine, self._container, self.member.port)

    def _unanswered(self) -> str:
        """Ask once, and return why there was no good answer, '' if there was."""
        datastore = self.member.datastore
        if datastore is None or datastore.ready is None or not (found := self._endpoints()):
            return "" if self._healthy() else "its health check fails"
        refused_since, self._refused_since = self._refused_since, None
        for host, port in found:
            try:
                if datastore.ready(host, port, max(0.05, min(PROBE_TIMEOUT_S, self._deadline - time.monotonic()))):
                    return ""
            except NotSetUpError as error:
                if self._set_up(host, port):
                    return ""
                self._refused_since = refused_since or time.monotonic()
                return f"it is not set up: {error}"
            except OSError:
                continue
        return NO_ANSWER

    def _set_up(self, host: str, port: int) -> bool:
        """Ask inside the container whether the first set-up has ended; not more often than every COMMAND_POLL_S."""
        datastore, now = self.member.datastore, time.monotonic()
        if datastore is None or datastore.set_up is None or now - self._asked_inside < COMMAND_POLL_S:
            return False
        self._asked_inside = now
        try:
            return datastore.set_up(RunningMember(self._engine, self.member, host, port))
        except (EngineError, NotFoundError):  # it has ended, which `look_again` tells
            return False

    def _starting(self) -> str:
        """Return why the first start has not ended, '' if it has."""
        starting = self._container.health == "starting" and not self._healthy()
        return self.script() or ("its health check is starting" if starting else "")

    def script(self) -> str:
        """Return the reason for people if the entrypoint's script is still the container's program, '' if not."""
        datastore = self.member.datastore
        script = in_entrypoint(self._engine, self._container) if datastore is not None and datastore.entrypoint_ends else ""
        return f"its first start has not ended: {script} runs" if script else ""

    def _healthy(self) -> bool:
        """Run the health command now, and not at its interval. True where there is none."""
        if not (words := self._container.health_command):
            return True
        self._by_command = True
        try:
            left = max(COMMAND_POLL_S, self._deadline - time.monotonic())
            return self._engine.run(self._container.id, words, timeout_s=left)[0] == 0
        except (EngineError, NotFoundError, NotReadyError):  # it hangs, or has ended, which `look_again` tells
            return False
