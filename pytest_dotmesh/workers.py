"""What a process of a pytest-xdist run knows of the others, and turns at one stack."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest
from filelock import FileLock

KEY = "dm"  # in what xdist hands to a worker, and gets back from it


@dataclass(frozen=True)
class Worker:
    """This process among `count` workers of the test run `run`; without pytest-xdist, and in its controller, it has no name.

    `shared` is what the controller says of the stack that all of them use in turn, empty where each has its own: the `commit`
    it is at, the `directory` of Turns, and the name of the `clone`, if it is one.
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
    """Turns of processes at one stack, by a kernel lock in a directory that they know."""

    def __init__(self, directory: Path) -> None:
        self._lock = FileLock(directory / "turn.lock", thread_local=False)
        self._left_at = directory / "commit"

    @contextlib.contextmanager
    def take(self) -> Iterator[str]:
        """Wait for the stack and have it for the block. Yields the commit that it was left at, '' if that is not known."""
        with self._lock:
            left_at = self._left_at.read_text() if self._left_at.exists() else ""
            self._left_at.unlink(missing_ok=True)
            yield left_at

    def leave(self, commit: str) -> None:
        """Say at the end of a turn that the stack is at a commit."""
        self._left_at.write_text(commit)
