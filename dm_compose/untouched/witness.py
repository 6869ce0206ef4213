"""Proof that running containers cannot have been changed since a moment, whatever programs they run.

Files are not looked at. Root on the engine's host can always reach into a container, and nothing here would show it.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from typing import Any

from dm_compose.core.containers import Container, EngineEvent
from dm_compose.core.labels import is_helper
from dm_compose.core.overlap import within
from dm_compose.datastores.connections import connections
from dm_compose.engine import Engine
from dm_compose.errors import NotFoundError
from dm_compose.untouched.names import who_connected
from dm_compose.untouched.proc import (
    await_last_packets,
    heard_by_raw_sockets,
    heard_datagrams,
    is_process_of,
    is_socket,
    net_text,
    read_again,
    read_baseline,
    resolved,
)
from dm_compose.untouched.reach import open_directories, way_in
from dm_compose.untouched.traffic import Traffic, foreign_peers, parse_bound

_OVERLAP_NS = 10**9  # events are stamped before they are put in the buffer, so they may lie in it out of order
_CLOCK_STEP_NS = 5 * 10**6
_HARMLESS = frozenset({"exec_die", "archive-path", "export", "top", "pause", "unpause"})
"""They only read, or a command has ended, or time has stood still. The engine may tell of a pause twice (engine/pauses.py)."""
_NO_MOVE = ("exec_", "health_status", "archive-path", "export", "top", "attach", "resize", "extract-to-dir", "copy")

_STATES = ("running", "paused")
_LAST_PACKETS_S = 0.2
_HURRIED_S = 0.01
UNKNOWN = "nothing is known of it"
_LOST = "the engine may have forgotten what happened to it"
_ELSEWHERE = "the engine is not on this machine, so nothing can be proven"
_RAW = "it listens to raw packets, and some came"
_UNSEEN = "its processes cannot be seen from here"


@dataclass(frozen=True)
class _Baseline:
    pid: int
    traffic: Traffic


@dataclass(frozen=True)
class _Before:
    """The counters of containers (ids) as a restore began, and the number of our own connections by then, by host."""

    baselines: dict[str, _Baseline]
    connections: Counter[str]


class Witness:
    """Watches containers by the kernel's counters, by the engine's events, and by what the containers share with others.

    A change is always seen, but an untouched container may be called touched. A container that was once found touched stays so
    until it is remembered again. With an engine on another machine every container counts as touched. Not thread-safe.

    `others` lists containers outside the watch that were started since shortly before the last `remember`. `moved` says whether
    since then a container in `members` (ids) was started, stopped, paused or connected to a network, or events may have been
    lost; commands run inside it, health checks and copies do not count. `paused` are the watched ones (ids) that were paused
    since they were remembered, and not thawed.
    """

    def __init__(self, engine: Engine) -> None:
        self.others: list[Container] = []
        self.moved = False
        self.paused: set[str] = set()
        self.members: Set[str] = frozenset()
        self._engine = engine
        self._local = engine.facts().local
        self._baselines: dict[str, _Baseline] = {}
        self._causes: dict[str, str] = {}
        self._containers: dict[str, Container] = {}  # as they were when remembered
        self._running: dict[str, Container] = {}  # of the whole engine
        self._seen: frozenset[EngineEvent] = frozenset()
        self._newest: EngineEvent | None = None
        self._before: _Before | None = None
        self._visited: list[Container] = []
        self._commands: dict[str, str] = {}  # run by exec since `restoring`, by container
        self._clock_ns = _clock_offset_ns()
        if self._local:
            self._new_events()
            self._running = {c.id: c for c in engine.running()}

    def noted(self) -> dict[str, Any]:
        """Return what was remembered as a document for `recall`, for a later process. Empty if nothing can be proven."""
        if self._newest is None:
            return {}
        kept = [e for e in self._seen if e.time_ns >= self._newest.time_ns - _OVERLAP_NS]
        return {
            "clock_ns": self._clock_ns,
            "newest": asdict(self._newest),
            "seen": [asdict(event) for event in kept],
            "containers": {i: asdict(b) for i, b in self._baselines.items() if i not in self._causes},
        }

    def recall(self, noted: Mapping[str, Any], containers: Iterable[Container]) -> None:
        """Take up what another witness has `noted` of these containers, described as they are now, in place of `remember`."""
        self._clock_ns = noted["clock_ns"]
        self._newest = EngineEvent(**noted["newest"])
        self._seen = frozenset(EngineEvent(**event) for event in noted["seen"])
        for container in containers:
            if (found := noted["containers"].get(container.id)) is not None:
                self._containers[container.id] = container
                self._baselines[container.id] = _Baseline(found["pid"], Traffic(**found["traffic"]))

    def restoring(self, containers: Iterable[Container]) -> None:
        """Say that a restore of these containers begins: `remember` then counts who reaches them before its end."""
        self._before, self._commands = _Before({}, connections()), {}
        for container in containers if self._local else ():
            with contextlib.suppress(OSError, ValueError, LookupError):
                self._before.baselines[container.id] = _Baseline(container.pid, read_baseline(container.pid))

    def remember(self, containers: Iterable[Container], started: Set[str] = frozenset()) -> None:
        """Take a new baseline of these containers, described as they are now. The others keep theirs.

        After `restoring` a container counts as touched if somebody but us may have reached it since. Of those whose programs were
        `started` since (ids) only new connections count, because the old ones ended with the programs.

        Waits at most 0.2 s for the last packets of connections that are being closed, because they would count as a touch later.
        """
        containers = list(containers)
        if not self._local:
            return
        tables = await_last_packets((c.pid for c in containers if c.pid), _LAST_PACKETS_S)
        self.others, self.moved = [], False
        self._look()  # so that events since the last look count for the others
        for container in containers:
            self._causes.pop(container.id, None)
            self._containers[container.id] = container
            self.paused.discard(container.id)
            if container.running:
                self._running[container.id] = container
        for container in containers:
            if cause := self._take(container) or self._reached(container, container.id in started, tables.get(container.pid, [])):
                self._causes[container.id] = cause
        self._before = None

    def visiting(self, containers: Iterable[Container]) -> None:
        """Say that a visit of ours begins, in which we ask datastores to save. See `visited`.

        Those that somebody else is connected to cannot be told from us, and are not left out of the watch.
        """
        containers = list(containers)
        touched = self.touches(containers)
        quiet = [c for c in containers if c.id not in touched and c.pid]
        tables = await_last_packets((c.pid for c in quiet), _HURRIED_S)
        self._visited = [c for c in quiet if not any(map(foreign_peers, tables[c.pid]))]
        self._before, self._commands = _Before({c.id: self._baselines[c.id] for c in self._visited}, connections()), {}

    def visited(self) -> None:
        """Say that our visit has ended. A container is as untouched as before, unless somebody else may have reached it since."""
        visited, self._visited = self._visited, []
        tables = await_last_packets((c.pid for c in visited), _LAST_PACKETS_S)
        if self._local:
            self._look()
        for container in visited:
            try:
                before, now = self._baselines[container.id].traffic, read_baseline(container.pid)
                self._baselines[container.id] = _Baseline(container.pid, now)
                cause = self._reached(container, started=True, tables=tables[container.pid])
                if cause is None and heard_by_raw_sockets(container.pid, before, now):
                    cause = _RAW
            except (OSError, ValueError, LookupError):
                cause = _UNSEEN
            if cause:
                self._blame(container.id, cause)
        self._before = None

    def thawed(self, containers: Iterable[Container]) -> None:
        """Say that we have just unpaused these, and asked them whether they answer. This is no touch.

        Waits only 10 ms for last packets, so a container may look touched now and then.
        """
        containers = [c for c in containers if c.id in self._baselines]
        await_last_packets((c.pid for c in containers), _HURRIED_S)
        for container in containers:
            try:
                self._baselines[container.id] = _Baseline(container.pid, read_baseline(container.pid))
            except (OSError, ValueError, LookupError):
                self._blame(container.id, _UNSEEN)

    def touches(self, containers: Iterable[Container]) -> dict[str, str]:
        """Return, by id, why containers may have been changed since they were remembered. They are described as they are now.

        A container that is absent from the result is proven untouched. Call this now and then during a long test, be it for no
        container, so that no event of the engine is lost. EngineError when the engine does not answer.
        """
        if not self._local:
            return {c.id: _ELSEWHERE for c in containers}
        self._look()
        found = {}
        for container in containers:
            if cause := self._causes.get(container.id) or self._changed(container):
                found[container.id] = self._causes[container.id] = cause
        return found

    # One container

    def _take(self, container: Container) -> str | None:
        """Take a baseline, or return the reason why it would prove nothing."""
        self._baselines.pop(container.id, None)
        if container.state not in _STATES or not container.pid:
            return f"it was {container.state}"
        if cause := way_in(container, self._running.values()):
            return cause
        try:
            if not is_process_of(container):
                return _UNSEEN
            if any(c != container.health_command for c in self._engine.running_commands(container.id)):
                return "a command that was run in it has not ended"
            if cause := self._open_socket(container):
                return cause
            self._baselines[container.id] = _Baseline(container.pid, read_baseline(container.pid))
        except (OSError, ValueError, LookupError):
            return _UNSEEN
        except NotFoundError:
            return "it is gone"
        return None

    def _reached(self, container: Container, started: bool, tables: Sequence[str]) -> str | None:
        """Say who may have reached a container between `restoring` and its baseline. `tables` has its TCP connections."""
        if self._before is None:
            return None
        if cause := self._commands.get(container.id):
            return cause
        now = self._baselines[container.id].traffic
        before = self._before.baselines.get(container.id)
        if before is not None and before.pid != container.pid:  # its network namespace began with it
            before = None
        then = before.traffic if before is not None else Traffic()
        made = connections()
        ours = sum(made[address] - self._before.connections[address] for address in container.addresses)
        try:
            if before is not None and not started:
                return read_again(container.pid, then).touch_since(then)
            if any(map(foreign_peers, tables)) or now.accepted_since(then, ours) or heard_datagrams(container.pid, then, now):
                return who_connected(container, tables, self._running.values())
            return None
        except (OSError, ValueError, LookupError):
            return _UNSEEN

    def _changed(self, container: Container) -> str | None:
        before = self._baselines.get(container.id)
        if before is None:
            return UNKNOWN
        if container.state not in _STATES or container.pid != before.pid:
            return "it was stopped or started"
        try:
            now = read_again(before.pid, before.traffic)
            if cause := now.touch_since(before.traffic):
                return cause
            if heard_by_raw_sockets(before.pid, before.traffic, now):
                return _RAW
            return self._open_socket(container)
        except (OSError, ValueError, LookupError):
            return _UNSEEN

    def _open_socket(self, container: Container) -> str | None:
        """Say which unix socket of the container can be reached from outside. None means none."""
        directories = open_directories(container, self._running.values())
        if not directories:
            return None
        for mount in container.mounts:
            if mount.kind == "bind" and is_socket(mount.place):
                return f"it uses the host's socket {mount.place}"
        for path in parse_bound(net_text(container.pid, "unix")):
            place = resolved(container.pid, path)
            if place is None:
                return f"its socket {path} may be reached from outside"
            for directory in directories:
                if within(place, directory.target):
                    return f"its socket {path} is {directory.cause}"
        return None

    # The engine

    def _look(self) -> None:
        """Read the engine's events since the last look, and note each cause for calling a container touched."""
        clock_ns = _clock_offset_ns()
        stepped = abs(clock_ns - self._clock_ns) > _CLOCK_STEP_NS
        self._clock_ns = clock_ns
        events, complete = self._new_events()
        if stepped or not complete:
            self._running = {c.id: c for c in self._engine.running()}
            self._blame_all("the clock was set" if stepped else _LOST)
            self.moved = True
        for event in events:
            self._judge(event)
        started = [e for e in events if e.kind == "container" and e.action == "start"]
        self._meet([e.id for e in started if not is_helper(e.attributes.get("name", ""), e.attributes)])
        last = {e.id: e.action for e in events if e.kind == "container" and e.action in ("start", "die")}
        for container_id in (i for i, action in last.items() if action == "die"):
            self._running.pop(container_id, None)

    def _new_events(self) -> tuple[list[EngineEvent], bool]:
        """Return the events since the last call, and whether these are all.

        The engine keeps few events, and none over a restart of itself.
        """
        since_ns = self._newest.time_ns - _OVERLAP_NS if self._newest is not None else 0
        events = self._engine.events(since_ns, time.time_ns())
        complete = self._newest is not None and self._newest in events
        new = [e for e in events if e not in self._seen]
        if events:
            self._newest = max(events, key=lambda e: e.time_ns)
            self._seen = frozenset(events)
        return new, complete

    def _judge(self, event: EngineEvent) -> None:
        about = event.attributes.get("container", "") if event.kind == "network" else event.id
        if about in self.members and not event.action.startswith(_NO_MOVE):
            self.moved = True
        if event.kind == "network":
            if event.action in ("connect", "disconnect"):
                self._blame(event.attributes.get("container", ""), f"network {event.attributes.get('name')}: {event.action}")
            return
        container = self._containers.get(event.id)
        if event.kind != "container" or container is None:
            return
        if event.action in ("pause", "unpause"):
            (self.paused.add if event.action == "pause" else self.paused.discard)(event.id)
        if event.action in _HARMLESS:
            return
        action, _, words = event.action.partition(": ")
        if action == "health_status":
            return
        if action in ("exec_create", "exec_start"):
            health = container.health_command
            if health and words == f"{health[0]} {' '.join(health[1:])}":
                return
            self._commands.setdefault(event.id, f"exec: {words.strip()}")
            self._blame(event.id, f"exec: {words.strip()}")
        else:
            self._blame(event.id, f"docker {action}")

    def _meet(self, started: list[str]) -> None:
        """Note the containers that were started, also those that have ended. A started one may open a way into a watched one."""
        for container_id in dict.fromkeys(started):
            try:
                started_now = self._running[container_id] = self._engine.container(container_id)
            except NotFoundError:
                self._blame_all("a container that is gone was started beside it")
                continue
            if container_id not in self._containers:
                self.others.append(started_now)
        if started:
            for container in self._containers.values():
                if container.id in self._baselines and (cause := self._met(container)):
                    self._blame(container.id, cause)

    def _met(self, container: Container) -> str | None:
        try:
            return way_in(container, self._running.values()) or self._open_socket(container)
        except (OSError, ValueError, LookupError):
            return _UNSEEN

    def _blame(self, container_id: str, cause: str) -> None:
        if container_id in self._containers:
            self._causes.setdefault(container_id, cause)

    def _blame_all(self, cause: str) -> None:
        for container_id in self._containers:
            self._blame(container_id, cause)


def _clock_offset_ns() -> int:
    """Return how far the wall clock is ahead of the monotonic one. This changes when the wall clock is set."""
    while True:
        before = time.monotonic_ns()
        wall = time.time_ns()
        if time.monotonic_ns() - before < _CLOCK_STEP_NS // 2:
            return wall - before
