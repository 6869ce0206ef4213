"""Taking a frozen container down without letting it run for an instant. Root on the engine's host can; others cannot."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from dm_compose.core.containers import Container
from dm_compose.engine.cgroups import cgroup_of
from dm_compose.engine.docker import Engine


def kill_all_but_the_first(engine: Engine, container: Container) -> None:
    """Send SIGKILL to every process of a frozen container but its first one, which `Engine.kill` kills.

    The engine sends its own signal to the first process, and thaws the container so that this one can die. Until it has died, all
    others would run: a server's processes could answer a client once more, and what they acknowledge then is in no capture. The
    first process is left to the engine, which otherwise restarts the container by its policy.

    Does nothing where these processes cannot be signalled from here.
    """
    if not engine.facts().local or not container.pid:
        return
    with contextlib.suppress(OSError):
        for file in cgroup_of(container.pid, container.id).rglob("cgroup.procs"):
            for pid in map(int, file.read_text().split()):
                if pid > 0 and pid != container.pid:  # 0 is a process of a PID namespace that we do not see
                    with contextlib.suppress(ProcessLookupError):
                        _kill(pid, container.id)


def _kill(pid: int, container_id: str) -> None:
    fd = os.pidfd_open(pid)
    try:
        if container_id in Path(f"/proc/{pid}/cgroup").read_text():
            signal.pidfd_send_signal(fd, signal.SIGKILL)
    finally:
        os.close(fd)
