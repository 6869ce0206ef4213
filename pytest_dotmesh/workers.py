"""What a process of a pytest-xdist run knows of the others, and turns at one stack."""

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
KEY = "dm"  # in what xdist hands to a worker, and gets back from it


@dataclass(frozen=True)
class Worker:
    """This process among `count` workers of the test run `run`; without pytest-xdist, and in its controller, it has no name.

    `shared` is what the controller says of the stack that all of them use in turn, empty where each has its own: the `commit`
    it is at, the place of its `turns`, and the name of the `clone`, if it is one.
    """

    run: str
    name: str = ""
    count: int = 1
    shared: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, config: pytest.Config) -> Self:
        """Return what this process is."""
        given: Mapping[str, Any] | None = getattr(config, "workerinput", None)
        if given is None:
            return cls(uuid.uuid4().hex)
        return cls(given["testrunuid"], given["workerid"], given["workercount"], given.get(KEY) or {})


class Turns:
    """Turns of processes at one stack, by a kernel lock on a file in memory that `lent` has made in one of them: whichever of
    them is killed, nothing of it is left.
    """

    def __init__(self, place: str) -> None:
        """OSError once the process that has lent it is gone."""
        self._fd = os.open(place, os.O_RDWR | os.O_CLOEXEC)

    @staticmethod
    @contextlib.contextmanager
    def lent() -> Iterator[str]:
        """Make it for as long as the block lasts. Yields its place, for processes of the same user on this machine."""
        fd = os.memfd_create("dm-turns")
        try:
            yield f"/proc/{os.getpid()}/fd/{fd}"
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def take(self) -> Iterator[str]:
        """Wait for the stack and have it for the block. Yields the commit that it was left at, '' if that is not known."""
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            left_at = os.pread(self._fd, _LONGEST, 0).decode()
            os.ftruncate(self._fd, 0)
            yield left_at
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def leave(self, commit: str) -> None:
        """Say at the end of a turn that the stack is at a commit."""
        os.pwrite(self._fd, commit.encode(), 0)
