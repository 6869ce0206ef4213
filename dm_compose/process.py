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

BYSTANDER_TIMEOUT_S = 0.2


@dataclass(frozen=True)
class Finished:
    """The exit code and the decoded output of a child that has ended."""

    code: int
    stdout: str
    stderr: str


def capture(command: Sequence[str], *, timeout_s: float, environment: Mapping[str, str] | None = None) -> Finished:
    """Run a command without input and return its output.

    FileNotFoundError when there is no such program. DmError, which names the command, when it has not ended after `timeout_s`.
    """
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        raise DmError(f"waited {timeout_s:.0f} s for `{' '.join(command[:4])} ...`, which did not end") from None
    return Finished(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def pass_through(command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """Run a command on our own terminal and return its exit code (128 + signal when a signal ended it).

    The command decides about SIGINT and SIGTERM. It gets each of them once, whether it was sent to this process alone or to the
    whole process group. That holds in the main thread only, because no other thread gets signals.
    """
    if threading.current_thread() is not threading.main_thread():
        code = subprocess.run(command, env=environment, check=False).returncode
        return code if code >= 0 else 128 - code
    with _Relay() as relay:
        child = subprocess.Popen(command, env=environment)
        relay.begin(child.pid)
        code = child.wait()
    return code if code >= 0 else 128 - code


class _Relay:
    """Hands SIGINT and SIGTERM on to a child, unless the child has got the signal already.

    ^C and `timeout` send to the whole process group, and systemd sends to all processes of a unit. The child must not get such
    a signal twice, because a second one tells Compose to kill at once. A *bystander* shows whether it did: a process beside the
    child that does nothing. A signal that ends the bystander has reached the child too.
    """

    def __enter__(self) -> _Relay:
        self._child: int | None = None
        self._early: list[int] = []
        # Handlers, not SIG_IGN: children must not inherit the deafness.
        self._before = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        self._bystander = _start_bystander()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._bystander.communicate()

    def begin(self, child: int) -> None:
        """Hand on the signals that have come so far, and from now on each one that comes."""
        self._child = child
        while self._early:
            _send(child, self._early.pop(0))

    def _receive(self, number: int, _: object) -> None:
        if self._child is None:
            self._early.append(number)
            return
        try:
            everybody = self._bystander.wait(timeout=BYSTANDER_TIMEOUT_S) == -number
        except subprocess.TimeoutExpired:
            everybody = False
        if self._bystander.returncode is not None:
            self._bystander.communicate()
            self._bystander = _start_bystander()
        if not everybody:
            _send(self._child, number)


def _start_bystander() -> subprocess.Popen[bytes]:
    """Start a process that ends when its input does. Only this process holds that input open."""
    return subprocess.Popen(["/bin/sh", "-c", "read -r _"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)


def _send(child: int, number: int) -> None:
    """Send a signal to a child, or to its children where it has some.

    `docker` waits for its plugin whatever happens, and relies on the terminal to send the plugin the signal.
    """
    with contextlib.suppress(OSError):
        found = [int(pid) for file in Path(f"/proc/{child}/task").glob("*/children") for pid in file.read_text().split()]
        for pid in found or [child]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


class Watchdog:
    """A child that runs a command if this process dies before it calls `release`, by SIGKILL for example.

    The child waits on a pipe whose other end only this process holds. It is in a session of its own, so that a signal to our
    process group does not reach it.
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
        """Tell the child that all is well. It ends without doing anything."""
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(b"released\n")
            self._child.stdin.close()
        self._child.wait(timeout=10)


@dataclass
class Pipe:
    """A child that we talk to over its standard input and output. Its messages go to our standard error."""

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
        """Close the child's input, wait until it ends, and return its exit code. After `timeout_s` it is killed."""
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
    """Start a child and return the pipe to it. FileNotFoundError when there is no such program."""
    return Pipe(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True))


def start_background(command: Sequence[str], log: Path) -> int:
    """Start a program that outlives this process, and return its process id.

    It runs in a session of its own, with `/` as its directory, and appends its output to `log`. It is not our child, so nobody
    has to wait for it. OSError when the log cannot be written.
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


def environment(**changes: str) -> dict[str, str]:
    """Return this process's environment with `changes` in it."""
    return {**os.environ, **changes}
