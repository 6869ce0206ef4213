"""Lines for the people who wait for a run: printed when they are told, also those of workers of pytest-xdist."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator

import pytest

LONG_S = 1.0  # from here on a wait counts as long


class Teller:
    """Tells lines of one pytest process at once, past the capture of a test's output. May be called from several threads.

    A worker of pytest-xdist has no terminal. It writes its lines to the `place` of the controller's `heard`. Where it cannot,
    because the controller is on another machine, they are in `kept`, to be printed at the end.
    """

    def __init__(self, config: pytest.Config, place: str = "") -> None:
        self.kept: list[str] = []
        self._config = config
        self._place = place
        self._lock = threading.RLock()

    def tell(self, text: str) -> None:
        """Tell a line that people have to see."""
        if hasattr(self._config, "workerinput"):
            self._pass_on(text)
            return
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        if reporter is None:  # with `-p no:terminal` nobody wants to see anything
            return
        capture = self._config.pluginmanager.getplugin("capturemanager")
        with self._lock, capture.global_and_fixture_disabled() if capture is not None else contextlib.nullcontext():
            reporter.ensure_newline()
            reporter.write_line(text)

    def note(self, text: str) -> None:
        """Tell a line about the progress of the run. With `-q -q` it is left out."""
        if self._config.option.verbose > -2:
            self.tell(text)

    @contextlib.contextmanager
    def noted_if_long(self, text: str) -> Iterator[None]:
        """Note a line as soon as it is clear that the block takes long."""
        timer = threading.Timer(LONG_S, self.note, [text])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()  # it may be at it just now

    def _pass_on(self, text: str) -> None:
        try:
            pipe = os.open(self._place, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(pipe, f"{json.dumps(text)}\n".encode())  # in one, so that lines of several workers do not mix
            finally:
                os.close(pipe)
        except OSError:
            self.kept.append(text)


@contextlib.contextmanager
def heard(tell: Callable[[str], None]) -> Iterator[str]:
    """Hear the lines of workers in the block, and tell each text once. Yields the place to write them to.

    It is a pipe of this process, for processes of the same user on this machine. Nothing is left of it, whichever process is
    killed.
    """
    reading, writing = os.pipe()

    def hear() -> None:
        told = set()
        with open(reading, encoding="ascii") as lines:
            for line in lines:
                if line not in told:
                    told.add(line)
                    tell(json.loads(line))

    thread = threading.Thread(target=hear, name="dm-workers", daemon=True)
    thread.start()
    try:
        yield f"/proc/{os.getpid()}/fd/{writing}"
    finally:
        os.close(writing)
        thread.join(LONG_S)  # a worker that hangs keeps no run from ending
