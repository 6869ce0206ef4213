"""Processes as owners of containers and volumes. A process is told apart from any later one with its number."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

OWNER_LABEL = "dev.dotmesh.owner"  # on everything that is to go with the process that made it
_PROC = Path("/proc")


@dataclass(frozen=True)
class Owner:
    """A process, by its host, the boot of that host, and the process's number and start (in clock ticks since that boot).

    `namespace` is the PID namespace in which the number counts, by its inode: '' where an older dm-compose wrote the owner.
    """

    host: str
    boot: str
    pid: int
    started: str
    namespace: str = ""

    @classmethod
    def me(cls) -> Self:
        """Return this process."""
        return cls(socket.gethostname(), _boot(), os.getpid(), _started(os.getpid()), _namespace())

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read the text that `str` gives of an owner. None for any other text."""
        parts = text.split("/")
        return cls(parts[0], parts[1], int(parts[2]), *parts[3:]) if len(parts) in (4, 5) and parts[2].isdecimal() else None

    def __str__(self) -> str:
        return "/".join((self.host, self.boot, str(self.pid), self.started, *filter(None, [self.namespace])))

    @property
    def is_gone(self) -> bool:
        """Whether the process has certainly ended.

        False for a process of another host or of another PID namespace (a CI job in a container), of which nothing is known.
        """
        if self.host != socket.gethostname():
            return False
        if self.boot != _boot():
            return True
        return self.namespace in ("", _namespace()) and self.started != _started(self.pid)


def abandoned(labels: Mapping[str, str]) -> bool:
    """Whether a container or volume with these labels was made by a process that has certainly ended."""
    owner = Owner.parse(labels.get(OWNER_LABEL, ""))
    return owner is not None and owner.is_gone


def _boot() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return str(os.stat(_PROC / "self/ns/pid").st_ino)
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Return when a process began. '' for one that is gone, or that is dead and not yet waited for."""
    try:
        state, *fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in ("Z", "X") else fields[18]
