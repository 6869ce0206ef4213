"""The program that a container runs now: its entrypoint's script first, and then, in most images, the server."""

from __future__ import annotations

from pathlib import Path

from dm_compose.core.containers import Container
from dm_compose.engine.docker import Engine
from dm_compose.engine.supervisor import NAME
from dm_compose.errors import EngineError, NotFoundError

_INITS = frozenset(("docker-init", "tini", "tini-static", "dumb-init", "catatonit", "gosu", "su-exec", "setpriv"))
_WORDS = 4  # an entrypoint's name is among the first of its words: `/usr/bin/env bash -e docker-entrypoint.sh`
_LEVELS = 4


def in_entrypoint(engine: Engine, container: Container) -> str:
    """Return the name of the script that a running container's entrypoint is in, '' if it is in none, or nobody can tell.

    A script counts if its name ends in `entrypoint.sh`, as those of the official images do. Above it there may be an init (`init:
    true`, tini) and our own supervisor.
    """
    words = _first_words(engine, container)
    return next((name for word in words[:_WORDS] if (name := word.rpartition("/")[2]).endswith("entrypoint.sh")), "")


def _first_words(engine: Engine, container: Container) -> list[str]:
    """Return the command line of the container's program, [] if it has ended meanwhile."""
    if engine.facts().local and container.pid:
        try:
            return _below(container)
        except OSError:  # another PID namespace, a kernel that does not tell children, or the process has ended
            pass
    try:
        rows = engine.command_lines(container.id)
    except (EngineError, NotFoundError):  # it has ended, which whoever waits for it finds out
        return []
    pid, words = container.pid, []
    for _ in range(_LEVELS):
        words = next((row[2] for row in rows if row[0] == pid), [])
        children = sorted(row[0] for row in rows if row[1] == pid)
        if not _is_above(words) or not children:
            break
        pid = children[0]
    return words


def _below(container: Container) -> list[str]:
    """Return the words of the first process that is neither an init nor our supervisor. OSError."""
    pid = container.pid
    if container.id not in Path(f"/proc/{pid}/cgroup").read_text():
        raise ProcessLookupError(f"process {pid} is not container {container.id[:12]}")
    words: list[str] = []
    for _ in range(_LEVELS):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        if not _is_above(words):
            break
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if not children:
            break
        pid = min(map(int, children), key=_started)
    return words


def _started(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def _is_above(words: list[str]) -> bool:
    """Whether a process only starts others: an init, or our supervisor (`sh -c SCRIPT NAME ...`)."""
    return bool(words) and (words[0].rpartition("/")[2] in _INITS or NAME in words)
