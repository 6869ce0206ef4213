"""The workers of a pytest-xdist run, and their turns at one stack."""

from __future__ import annotations

import contextlib
import fcntl
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import pytest

_LONGEST = 1000  # bytes of a commit's id
KEY = "dm"  # of our part in the data that xdist hands to a worker and gets back


@dataclass(frozen=True)
class Worker:
    """This process, as one of `count` workers of the test run `run`.

    `name` is empty without pytest-xdist, and in its controller. `shared` describes the stack that all workers use in turn: the
    `commit` that it is at, the place of its `turns`, and the name of the `clone`, if it is one. It is empty where each worker
    has a stack of its own. `lines` is the place where the controller hears the worker's lines (telling.heard).
    """

    run: str
    name: str = ""
    count: int = 1
    shared: Mapping[str, str] = field(default_factory=dict)
    lines: str = ""

    @classmethod
    def of(cls, config: pytest.Config) -> Self:
        """Return the description of this process."""
        given: Mapping[str, Any] | None = getattr(config, "workerinput", None)
        if given is None:
            return cls(uuid.uuid4().hex)
        ours = given.get(KEY) or {}
        return cls(given["testrunuid"], given["workerid"], given["workercount"], ours.get("shared", {}), ours.get("lines", ""))


class Turns:
    """Turns of processes at one stack.

    Their means is a kernel lock on a file in memory, which `lent` makes in one of the processes. Nothing is left of it, whichever
    process is killed.
    """

    def __init__(self, place: str) -> None:
        """Open the file in memory. OSError once the process that made it has gone."""
        self._fd = os.open(place, os.O_RDWR | os.O_CLOEXEC)

    @staticmethod
    @contextlib.contextmanager
    def lent() -> Iterator[str]:
        """Make the file for the time of the block. Yields its path, for processes of the same user on this machine."""
        fd = os.memfd_create("dm-turns")
        try:
            yield f"/proc/{os.getpid()}/fd/{fd}"
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def take(self) -> Iterator[str]:
        """Wait for the stack and reserve it for the block. Yields the commit that it was left at, '' if that is not known."""
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            left_at = os.pread(self._fd, _LONGEST, 0).decode()
            os.ftruncate(self._fd, 0)
            yield left_at
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def leave(self, commit: str) -> None:
        """Note at the end of a turn the commit that the stack is at."""
        os.pwrite(self._fd, commit.encode(), 0)
