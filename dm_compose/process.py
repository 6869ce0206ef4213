"""Child processes. The only module that imports subprocess."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dm_compose.errors import DmError

CANARY_TIMEOUT_S = 0.2
_TERMINALS = ("/dev/pts/", "/dev/tty", "/dev/console")


@dataclass(frozen=True)
class Finished:
    """The exit code and the decoded output of a child that has ended."""

    code: int
    stdout: str
    stderr: str


def capture(command: Sequence[str], *, timeout_s: float) -> Finished:
    """Run a command without input and return its output.

    FileNotFoundError when there is no such program. DmError, which names the command, when it runs longer than `timeout_s`.
    """
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        raise DmError(f"waited {timeout_s:.0f} s for `{' '.join(command[:4])} ...`, which did not end") from None
    return Finished(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def pass_through(command: Sequence[str], changes: Mapping[str, str] | None = None) -> int:
    """Run a command on our own terminal and return its exit code. The code is 128 + N when the signal N ended the command.

    The command gets the environment of this process, with `changes`.

    The command gets each SIGINT, SIGTERM and SIGHUP once, no matter whether the signal was sent to this process alone or to the
    whole process group. This process itself goes on. In any thread but the main one signals are not handed on, because Python
    delivers them to the main thread only.
    """
    environment = {**os.environ, **(changes or {})}
    for stream in (sys.stdout, sys.stderr):  # all that we have printed comes first, and progress that is shown ends
        stream.flush()
    if threading.current_thread() is not threading.main_thread():
        code = subprocess.run(command, env=environment, check=False).returncode
        return code if code >= 0 else 128 - code
    with _Relay() as relay:
        child = subprocess.Popen(command, env=environment)
        relay.begin(child.pid)
        code = child.wait()
    return code if code >= 0 else 128 - code


class _Relay:
    """Hands SIGINT, SIGTERM and SIGHUP on to a child that has not received them itself.

    ^C and `timeout` signal the whole process group, and systemd signals a whole unit. Then the child must not get a second
    signal from us, because Compose understands it as "kill at once". A *canary* tells the two cases apart: it is a process
    beside the child that does nothing, so a signal that has ended it has reached the child too.
    """

    def __enter__(self) -> _Relay:
        self._child: int | None = None
        self._early: list[int] = []
        # Handlers instead of SIG_IGN, because children would inherit SIG_IGN.
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # `nohup` has it ignored
            numbers.append(signal.SIGHUP)
        self._before = {number: signal.signal(number, self._receive) for number in numbers}
        self._canary = _start_canary()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._canary.communicate()

    def begin(self, child: int) -> None:
        """Hand on the signals that have come already, and all that come from now on."""
        self._child = child
        while self._early:
            _send(child, self._early.pop(0))

    def _receive(self, number: int, _: object) -> None:
        if self._child is None:
            self._early.append(number)
            return
        try:
            everybody = self._canary.wait(timeout=CANARY_TIMEOUT_S) == -number
        except subprocess.TimeoutExpired:
            everybody = False
        if self._canary.returncode is not None:
            self._canary.communicate()
            self._canary = _start_canary()
        if not everybody:
            _send(self._child, number)


def _start_canary() -> subprocess.Popen[bytes]:
    """Start a process that ends when this process does, because nobody else holds its standard input."""
    return subprocess.Popen(["/bin/sh", "-c", "read -r _"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)


def _send(child: int, number: int) -> None:
    """Send a signal to the children of a child, or to the child itself if it has none.

    `docker` does not hand signals on to its plugin `compose`, and waits for it.
    """
    with contextlib.suppress(OSError):
        found = [int(pid) for file in Path(f"/proc/{child}/task").glob("*/children") for pid in file.read_text().split()]
        for pid in found or [child]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def let_go_of_terminal() -> None:
    """Have output to a terminal go nowhere. After SIGHUP the terminal is gone, and each further line would be an error."""
    nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{descriptor}").startswith(_TERMINALS):  # isatty() would say no by now
                os.dup2(nowhere, descriptor)
    os.close(nowhere)


class Watchdog:
    """A child that runs commands when this process ends without having called `release`, even by SIGKILL.

    It runs a command that fails once more after a second: an engine may take a frozen container for a running one (pauses.py).

    It waits at a pipe whose other end only this process holds. It has a session of its own, so that a signal to our process
    group does not reach it.
    """

    def __init__(self, *commands: Sequence[str]) -> None:
        tries = "; ".join(f"again {shlex.join(command)}" for command in commands)
        script = f'again() {{ "$@" || {{ sleep 1; "$@"; }}; }}; read -r released || {{ {tries}; }} >/dev/null 2>&1'
        self._child = subprocess.Popen(
            ["/bin/sh", "-c", script, "dm-compose-watchdog", *commands[0]],  # the words are for those who look at processes
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def release(self) -> None:
        """Have the child end without running the command."""
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(b"released\n")
            self._child.stdin.close()
        self._child.wait(timeout=10)


@dataclass
class Pipe:
    """A child that we talk to over its standard input and output. Its standard error is ours."""

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
        """Close the child's input and wait for its end, and kill it after `timeout_s`. Return its exit code. Idempotent."""
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
    """Start a program that outlives us, and return its process id.

    It runs in `/` and in a session of its own, and its output is appended to `log`. It is not our child, so nobody has to wait
    for it. OSError when the log cannot be written.
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
