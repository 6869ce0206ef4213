"""Respawn: the program of a container goes down and comes up again, and the container stays.

A `/bin/sh` is the container's first process. It runs the entrypoint. Told to go down, it kills all other processes; told to
come up, it runs the entrypoint again. Docker's own kill and start take three to six times as long
(docs/decisions/0007-respawn.md).

The program does not notice the shell: its exit code becomes the container's, signals for the first process are handed on, and
input and output are its own. The container keeps its address, its writable layer and its mounts when the program goes down.
Files in /dev/shm are removed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from dm_compose.core.containers import Container
from dm_compose.engine.cgroups import cgroup_of
from dm_compose.engine.docker import Engine
from dm_compose.errors import EngineError

DOWN, UP = 50, 51  # real-time signals, which programs do not use by themselves
TIMEOUT_S = 5.0
POLL_S = 0.001
REPEAT_S = 0.1  # a signal is sent again after this time, because a shell may lose one that comes just before it waits

# The script must not depend on one shell: dash, bash and busybox run it (tests/engine/engine/test_supervisor.py). It refuses to
# be anything but the first process of a PID namespace, or the child of docker-init there, because `kill -9 -1` reaches everybody.
# A signal may come between any two commands, so the order matters: `seen` is read before `want`, and `child` and `idle` are
# set before they are waited for. When a trap has interrupted a `wait`, a second `wait` for the same child tells its exit code.
SCRIPT = """\
[ $$ = 1 ] || [ "$PPID" = 1 ] || exec "$@"
exec 3>&2 2>/dev/null
want=up downs=0 child= idle= pending=
pass() { heard=1; if [ "$child" ]; then kill -s "$1" "$child"; elif [ "$idle" ]; then exit 143; else pending=$1; fi; }
for signal in HUP INT QUIT USR1 USR2 WINCH TERM; do trap "pass $signal" $signal; done
trap 'want=down heard=1 downs=$((downs+1)); kill -9 -1' 50
trap 'want=up heard=1; [ ! "$idle" ] || kill -9 $idle' 51
while :; do
  seen=$downs
  while [ $want = down ]; do
    sleep 3600 & idle=$!
    [ $want = up ] || wait $idle
    kill -9 $idle; idle=
  done
  [ $downs = 0 ] || [ "$(echo /dev/shm/*)" = "/dev/shm/*" ] || rm -rf /dev/shm/*
  (trap - HUP INT QUIT USR1 USR2 WINCH TERM 50 51; exec 2>&3 3>&-; exec "$@") <&0 &
  child=$! code=
  [ ! "$pending" ] || kill -s $pending $child
  [ $downs = $seen ] || kill -9 -1
  while :; do
    heard=
    wait $child
    now=$?
    [ "$code" ] && [ $now = 127 ] && break
    code=$now
    [ "$heard" ] || break
  done
  child=
  [ $downs != $seen ] || exit $code
done
"""
NAME = "dm-respawn"
NEEDED = tuple((f"/bin/{name}", f"/usr/bin/{name}") for name in ("sh", "sleep", "rm"))  # in the image, at one of the places


def supervised(words: Sequence[str]) -> list[str]:
    """Return the entrypoint that runs `words` (entrypoint and command of a service) under the shell."""
    return ["/bin/sh", "-c", SCRIPT, NAME, *words]


class _Process(NamedTuple):
    pid: int
    parent: int
    name: str
    dead: bool


class Supervisor:
    """The shell of a running container that was started with `supervised`. Use it as a context manager.

    EngineError when the container has ended, or does not obey within TIMEOUT_S.
    """

    def __init__(self, engine: Engine, container: Container) -> None:
        self._engine = engine
        self._container = container
        self._fd = -1
        self._cgroup: Path | None = None

    def __enter__(self) -> Supervisor:
        """Get hold of the first process: directly where it runs on this machine and we may signal it, else by the engine."""
        if self._engine.facts().local and self._container.pid:
            with contextlib.suppress(OSError):
                self._fd = os.pidfd_open(self._container.pid)
                self._cgroup = cgroup_of(self._container.pid, self._container.id)
                signal.pidfd_send_signal(self._fd, 0)
                return self
        self.__exit__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._cgroup = -1, None

    def down(self) -> None:
        """Kill all processes of the container except the shell, and return when they are gone. Idempotent."""
        before = {p.pid for p in self._others()}

        def gone() -> bool:
            shell = self._shell()
            return all(p.name == "sleep" and p.parent == shell and p.pid not in before for p in self._others())

        self._until(DOWN, gone, "its processes to end")

    def up(self) -> None:
        """Run the entrypoint again, and return when it has begun."""
        before = {p.pid for p in self._others()}
        self._until(UP, lambda: any(p.pid not in before for p in self._others()), "its entrypoint to begin")

    def _until(self, number: int, done: Callable[[], bool], what: str) -> None:
        began = sent = time.monotonic()
        self._send(number)
        while not done():
            now = time.monotonic()
            if now - began > TIMEOUT_S:
                raise EngineError(f"{self._container.label}: waited {TIMEOUT_S:.0f} s for {what}")
            if now - sent > REPEAT_S:
                sent = now
                self._send(number)
            time.sleep(POLL_S)

    def _send(self, number: int) -> None:
        if self._fd < 0:
            self._engine.signal(self._container.id, number)
            return
        try:
            signal.pidfd_send_signal(self._fd, number)
        except ProcessLookupError:
            raise EngineError(f"{self._container.label} has ended") from None

    def _shell(self) -> int:
        first = self._container.pid
        mine = self._processes()
        if any(p.pid == first and p.name != "docker-init" for p in mine):
            return first
        return min((p.pid for p in mine if p.parent == first), default=first)

    def _others(self) -> list[_Process]:
        """Return the living processes, without the first one and the shell."""
        keep = {self._container.pid, self._shell()}
        return [p for p in self._processes() if p.pid not in keep and not p.dead]

    def _processes(self) -> list[_Process]:
        if self._cgroup is None:
            rows = self._engine.processes(self._container.id)
            return [_Process(int(pid), int(parent), name, state.startswith("Z")) for pid, parent, state, name in rows]
        found = []
        for file in self._cgroup.rglob("cgroup.procs"):
            with contextlib.suppress(FileNotFoundError):
                for pid in file.read_text().split():
                    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                        found.append(_process(int(pid)))
        return found


def _process(pid: int) -> _Process:
    """Read /proc/PID/stat, which is `pid (name) state ppid ...` (proc(5)). A zombie with threads that still end is not dead."""
    text = Path(f"/proc/{pid}/stat").read_text()
    name, _, rest = text.partition("(")[2].rpartition(")")
    state, parent = rest.split()[:2]
    return _Process(pid, int(parent), name, state in "ZX" and len(os.listdir(f"/proc/{pid}/task")) <= 1)
