"""Child processes. The only module that imports subprocess."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dm_compose.errors import DmError

WITNESS_TIMEOUT_S = 0.2


@dataclass(frozen=True)
class Finished:
    """What a child left: exit code and decoded output."""

    code: int
    stdout: str
    stderr: str


def capture(command: Sequence[str], *, timeout_s: float) -> Finished:
    """Run a command without input and return its output.

    FileNotFoundError when there is no such program; DmError that names the command after `timeout_s`.
    """
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        raise DmError(f"waited {timeout_s:.0f} s for `{' '.join(command[:4])} ...`, which did not end") from None
    return Finished(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def pass_through(command: Sequence[str], changes: Mapping[str, str] | None = None) -> int:
    """Run a command on our own terminal and return its exit code (128 + signal when a signal ended it).

    It gets our environment, with `changes`.

    SIGINT and SIGTERM are the command's matter: it gets each once, whether it was sent to us alone or to all of us. Not so in
    another thread than the main one, which gets no signals.
    """
    environment = {**os.environ, **(changes or {})}
    if threading.current_thread() is not threading.main_thread():
        code = subprocess.run(command, env=environment, check=False).returncode
        return code if code >= 0 else 128 - code
    with _Relay() as relay:
        child = subprocess.Popen(command, env=environment)
        relay.begin(child.pid)
        code = child.wait()
    return code if code >= 0 else 128 - code


class _Relay:
    """Hands SIGINT and SIGTERM on to a child, unless it has got the signal by itself: ^C goes to the whole process group, and
    so does what `timeout` sends; systemd's goes to all of a unit. A second signal means to Compose: kill at once.

    A *witness* tells, a process beside the child that does nothing: what ends it has reached the child too.
    """

    def __enter__(self) -> _Relay:
        self._child: int | None = None
        self._early: list[int] = []
        # Handlers, not SIG_IGN: children must not inherit the deafness.
        self._before = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        self._witness = _start_witness()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._witness.communicate()

    def begin(self, child: int) -> None:
        """Hand on what came, and will come."""
        self._child = child
        while self._early:
            _send(child, self._early.pop(0))

    def _receive(self, number: int, _: object) -> None:
        if self._child is None:
            self._early.append(number)
            return
        try:
            everybody = self._witness.wait(timeout=WITNESS_TIMEOUT_S) == -number
        except subprocess.TimeoutExpired:
            everybody = False
        if self._witness.returncode is not None:
            self._witness.communicate()
            self._witness = _start_witness()
        if not everybody:
            _send(self._child, number)


def _start_witness() -> subprocess.Popen[bytes]:
    """Start a process that ends with its input, which only this process holds."""
    return subprocess.Popen(["/bin/sh", "-c", "read -r _"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)


def _send(child: int, number: int) -> None:
    """Send a signal to a child; to its children instead, where it has some: `docker` waits for its plugin whatever happens,
    and leaves it to the terminal to tell it.
    """
    with contextlib.suppress(OSError):
        found = [int(pid) for file in Path(f"/proc/{child}/task").glob("*/children") for pid in file.read_text().split()]
        for pid in found or [child]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


class Watchdog:
    """A child that runs a command when this process dies before `release` is called, SIGKILL included.

    It waits on a pipe whose other end only this process holds, in a session of its own so that a kill of our process group
    misses it.
    """

    def __init__(self, command: Sequence[str]) -> None:
        script = 'read -r released || exec "$@" >/dev/null 2>&1'
        self._child = subprocess.Popen(
            ["/bin/sh", "-c", script, "dm-compose-watchdog", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def release(self) -> None:
        """Say that all is well; the child ends without doing anything."""
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(b"released\n")
            self._child.stdin.close()
        self._child.wait(timeout=10)


@dataclass
class Pipe:
    """A child that is talked to over its standard input and output; its messages go to our standard error."""

    child: subprocess.Popen[bytes]

    @property
    def to_child(self) -> IO[bytes]:
        assert self.child.stdin is not None
        return self.child.stdin

    @property
    def from_child(self) -> IO[bytes]:
        assert self.child.stdout is not None
        return self.child.stdout

    def close(self, timeout_s: float) -> int:
        """Close its input, wait for it to end, kill it after `timeout_s`; return its exit code."""
        with contextlib.suppress(BrokenPipeError):
            self.to_child.close()
        try:
            return self.child.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.child.kill()
            return self.child.wait()
        finally:
            self.from_child.close()


def start_pipe(command: Sequence[str]) -> Pipe:
    """Start a child to talk to. FileNotFoundError when there is no such program."""
    return Pipe(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True))


def start_background(command: Sequence[str], log: Path) -> int:
    """Start a program that outlives us: in a session of its own, in `/`, its output appended to `log`. Return its process id.

    It is nobody's child, so nobody has to wait for it. OSError when the log cannot be written.
    """
    with open(log, "ab") as output:
        started = subprocess.run(
            ["/bin/sh", "-c", '"$@" >&2 & echo $!', "dm-compose", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            cwd="/",
            start_new_session=True,
            check=True,
        )
    return int(started.stdout)
