"""Child processes of the tests, talked to in lines, so that no test has to wait by guessing."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def python_path(directory: Path) -> str:
    """Return a PYTHONPATH with a directory first, then the repository that these tests are of."""
    return f"{directory}{os.pathsep}{REPOSITORY}"


class Child:
    """A Python program that answers one line to each line it is sent."""

    def __init__(self, program: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )

    def read(self) -> str:
        """Return the child's next line; it has ended when that is empty."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def ask(self, line: str) -> str:
        """Send a line and return the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.read()

    def kill(self) -> None:
        """End it with SIGKILL and wait until it is gone."""
        self.process.kill()
        self.end()

    def end(self) -> int:
        """Close its input and wait for it; return its exit code."""
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        return self.process.wait(timeout=30)


@contextlib.contextmanager
def child(program: str, *arguments: str) -> Iterator[Child]:
    """Run a program for the length of a block."""
    running = Child(program, *arguments)
    try:
        yield running
    finally:
        running.kill()


def run_python(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def effective_ids() -> tuple[int, int]:
    """Return who we are."""
    return os.geteuid(), os.getegid()
