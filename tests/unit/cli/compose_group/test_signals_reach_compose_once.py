"""A signal reaches Compose once, and Compose decides about the exit code."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.commands import (
    DM_COMPOSE,
    INTERRUPTED,
    PATIENCE_S,
    TERMINATED,
    Ended,
)
from tests.support.projects import eventually


@pytest.fixture
def slow_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A docker command that says that it runs, into a fifo, and then goes on until it gets a signal; ^C makes it exit with 5."""
    fifo = tmp_path / "runs"
    os.mkfifo(fifo)
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport os, signal, sys\nsignal.signal(signal.SIGINT, lambda *_: os._exit(5))\n"
        f"if 'version' in sys.argv: sys.exit(0)\nopen({str(fifo)!r}, 'w').close()\nsignal.pause()\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return fifo


def _signalled(words: tuple[str, ...], fifo: Path, number: int, kill: Callable[[int, int], None] = os.killpg) -> Ended:
    child = subprocess.Popen(
        [DM_COMPOSE, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        fifo.read_text()  # returns when a child has opened and closed its end
        kill(child.pid, number)
        out, err = child.communicate(timeout=PATIENCE_S)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    return Ended(child.returncode, out, err)


def test_control_c_gives_130(slow_docker: Path) -> None:
    ended = _signalled(("plan",), slow_docker, signal.SIGINT)
    assert (ended.code, ended.out) == (INTERRUPTED, "")
    assert ended.err.strip().splitlines()[-1] == "interrupted"
    assert "Traceback" not in ended.err


def test_a_request_to_end_gives_143(slow_docker: Path) -> None:
    ended = _signalled(("plan",), slow_docker, signal.SIGTERM)
    assert (ended.code, ended.out, "Traceback" in ended.err) == (TERMINATED, "", False)


def test_control_c_within_a_verb_of_compose_is_composes_matter(slow_docker: Path) -> None:
    ended = _signalled(("logs", "-f"), slow_docker, signal.SIGINT)
    assert (ended.code, ended.err) == (5, "")


@pytest.fixture
def counting_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A docker command that, as the real one on a terminal, leaves signals to its plugin.

    The plugin says in a fifo that it runs, and in the file `seen` beside it how many signals have come. A second after $SIGNALS
    of them (by default 1) it exits with 20 and their number.
    """
    fifo = tmp_path / "runs"
    os.mkfifo(fifo)
    (tmp_path / "bin").mkdir()
    plugin = tmp_path / "bin" / "plugin"
    plugin.write_text(
        f"#!{sys.executable}\nimport os, signal, sys, time\nseen, expected = [], int(os.environ.get('SIGNALS', '1'))\n"
        f"def see(*_):\n  seen.append(1)\n  open({str(tmp_path / 'seen')!r}, 'w').write(str(len(seen)))\n"
        "for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(number, see)\n"
        f"open({str(fifo)!r}, 'w').close()\nwhile len(seen) < expected: time.sleep(0.01)\n"
        "end = time.monotonic() + 1\nwhile time.monotonic() < end: time.sleep(0.01)\nsys.exit(20 + len(seen))\n"
    )
    docker = tmp_path / "bin" / "docker"
    docker.write_text(
        f"#!{sys.executable}\nimport signal, subprocess, sys\nif 'version' in sys.argv: sys.exit(0)\n"
        "for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(number, lambda *_: None)\n"
        f"sys.exit(subprocess.call([{str(plugin)!r}]))\n"
    )
    for program in (plugin, docker):
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{docker.parent}:{os.environ['PATH']}")
    return fifo


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("kill", [os.kill, os.killpg], ids=["sent to us alone", "sent to the process group"])
def test_a_signal_within_a_verb_of_compose_reaches_it_once_and_it_decides(
    counting_docker: Path, kill: Callable[[int, int], None], number: int
) -> None:
    """A second one would make Compose kill its containers."""
    ended = _signalled(("logs", "-f"), counting_docker, number, kill)
    assert (ended.code, ended.out, ended.err) == (21, "", "")


def test_every_further_signal_reaches_compose_too(counting_docker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNALS", "2")
    seen = counting_docker.with_name("seen")

    def twice(pid: int, number: int) -> None:
        os.kill(pid, number)
        eventually(lambda: seen.exists() and seen.read_text() == "1", "the first signal to reach Compose")
        os.kill(pid, number)

    assert _signalled(("logs", "-f"), counting_docker, signal.SIGTERM, twice).code == 22
