"""Have datastores bring acknowledged writes from memory to files, and let them go on. A hook that hangs holds nobody up."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Collection, Sequence
from concurrent.futures import Future

from dm_compose.core.at_once import at_once, await_calls, begun, in_time
from dm_compose.core.events import Event
from dm_compose.core.names import SubdotName
from dm_compose.datastores.base import Resume
from dm_compose.engine.endpoints import endpoints
from dm_compose.errors import DmError, NotReadyError
from dm_compose.live.hooks import RunningMember
from dm_compose.live.worktree import LiveWorktree, Member

RUNNING_TIMEOUT_S = 300.0  # for a hook while the stack runs; a large Redis takes minutes to save
FROZEN_TIMEOUT_S = 5.0  # for a hook while the stack stands still, beside twice the time that it took while the stack ran
RESUME_TIMEOUT_S = 5.0
ASK_TIMEOUT_S = 2.0


def saves(member: Member) -> bool:
    """Whether a member runs a datastore that has to be told to bring its writes to files."""
    running = member.container.state == "running"
    return running and member.writes and member.datastore is not None and member.datastore.quiesce is not None


def unsaved(live: LiveWorktree) -> set[SubdotName]:
    """Return the subdots of datastores that hold acknowledged writes in memory, which no file has yet. Changes nothing.

    A datastore that cannot be asked, or that does not answer within ASK_TIMEOUT_S, counts as having none.
    """
    found: set[SubdotName] = set()

    def ask(member: Member) -> None:
        question = member.datastore.unsaved if member.datastore is not None else None
        assert question is not None
        with contextlib.suppress(DmError, OSError, TimeoutError):
            running = _running(live, member)
            if in_time(lambda: question(running), ASK_TIMEOUT_S):
                found.update(subdot for subdot, writes in member.mounts.items() if writes)

    at_once(ask, [m for m in live.members if saves(m) and m.datastore is not None and m.datastore.unsaved is not None])
    return found


def save(live: LiveWorktree, members: Collection[Member]) -> None:
    """Have the datastores among the members write what they hold in memory to their files, one after the other. They go on.

    NotReadyError for one that cannot be reached from here, or that has not done so after RUNNING_TIMEOUT_S.
    """
    for member in members:
        if saves(member):
            held = Quiesced(live)
            held.quiesce([member])
            held.resume()


class Quiesced:
    """Datastores that have brought their writes to files and wait until they are told to go on.

    If `lenient`, it is a warning and no error that one cannot do so.
    """

    def __init__(self, live: LiveWorktree, *, lenient: bool = False) -> None:
        self._live = live
        self._lenient = lenient
        self._resumes: dict[str, Resume] = {}
        self._took_s: dict[str, float] = {}
        self._lock = threading.Lock()
        self._given_up = False

    def quiesce(self, members: Sequence[Member], *, frozen: bool = False) -> None:
        """Call the hooks of these members, all at once.

        NotReadyError for a datastore that cannot be reached from here, or that is not done in time. When an error or a signal's
        exception is raised, hooks may still be under way. A datastore whose hook returns then is told to go on at once.
        """
        self._given_up = False
        calls = [(member, begun(lambda member=member: self._call(member))) for member in members]  # type: ignore[misc]
        began = time.monotonic()
        try:
            for member, call in calls:
                try:
                    self._await(member, call, began, self._limit_s(member, frozen=frozen))
                except DmError as error:
                    if not self._lenient:
                        raise
                    text = f"{member.container.label} is kept as its files are, because it cannot save what it holds in memory"
                    self._live.listener(Event("warning", f"{text}: {error.message}"))
        except BaseException:
            with self._lock:
                self._given_up = True
            raise

    def resume(self, *, but: Collection[str] = ()) -> None:
        """Tell all datastores `but` some (ids) to go on. An error becomes a warning, because they go on by themselves later."""
        with self._lock:
            told = {i: resume for i, resume in self._resumes.items() if i not in but}
            for container_id in told:
                del self._resumes[container_id]
        for resume in told.values():
            self._tell(resume)

    def forget(self, container_id: str) -> None:
        """Say that a container has been taken down, so that there is nothing to resume in it."""
        with self._lock:
            self._resumes.pop(container_id, None)

    def _limit_s(self, member: Member, *, frozen: bool) -> float:
        if frozen or self._lenient:  # if lenient, it may well be one that does not answer
            return FROZEN_TIMEOUT_S + 2 * self._took_s.get(member.container.id, 0.0)
        return RUNNING_TIMEOUT_S

    def _call(self, member: Member) -> None:
        began = time.monotonic()
        resume = _hook(self._live, member)
        self._took_s[member.container.id] = time.monotonic() - began
        if resume is None:
            return
        with self._lock:
            late = self._given_up
            if not late:
                self._resumes[member.container.id] = resume
        if late:
            self._tell(resume)

    def _await(self, member: Member, call: Future[None], began: float, limit_s: float) -> None:
        try:
            await_calls([call], max(0.0, began + limit_s - time.monotonic()))
            call.result(0)
        except TimeoutError:
            if call.done():  # the hook's own
                raise
            assert member.datastore is not None
            raise NotReadyError(
                f"{member.container.label}: waited {limit_s:.0f} s for {member.datastore.name} to bring its data to the disk",
                hint="Is it overloaded, or does somebody hold a lock in it? `commit --stop` shuts it down instead.",
            ) from None

    def _tell(self, resume: Resume) -> None:
        try:
            in_time(resume, RESUME_TIMEOUT_S)
        except Exception as error:  # the containers run again, and an error of a plugin's hook must not hide that
            why = (error.message if isinstance(error, DmError) else str(error)) or f"waited {RESUME_TIMEOUT_S:.0f} s for it"
            self._live.listener(Event("warning", f"a datastore could not be told to go on: {why}"))


def _hook(live: LiveWorktree, member: Member) -> Resume | None:
    assert member.datastore is not None
    assert member.datastore.quiesce is not None
    return member.datastore.quiesce(_running(live, member))


def _running(live: LiveWorktree, member: Member) -> RunningMember:
    assert live.engine is not None
    found = endpoints(live.engine, member.container, member.port)
    if not found:
        raise NotReadyError(
            f"{member.container.label} cannot be reached from here to have its data saved",
            hint="Publish its port, or commit with --stop.",
        )
    host, port = found[0]
    return RunningMember(live.engine, member, host, port)
