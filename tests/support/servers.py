"""Servers on loopback for tests of remotes: a registry, an S3 server, and one that behaves badly in front of either."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes], what: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, f"{what} ended with {process.returncode}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise AssertionError(f"{what} did not answer on port {port} within 30 s")


@contextlib.contextmanager
def _running(command: list[str], port: int, what: str, **environment: str) -> Iterator[int]:
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **environment}, start_new_session=True
    )
    try:
        _wait_for(port, process, what)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=20)


def registry_program() -> str | None:
    """Return the path of a registry, fetched at the first call; None when there is none to be had."""
    done = subprocess.run([str(ROOT / "tools" / "registry")], capture_output=True, text=True, timeout=120, check=False)
    return done.stdout.strip().splitlines()[-1] if done.returncode == 0 else None


@contextlib.contextmanager
def registry(directory: Path, *, htpasswd: str | None = None) -> Iterator[int]:
    """Run a registry with its data in `directory`; yields its port. `htpasswd` is the contents of a password file."""
    port = free_port()
    directory.mkdir(parents=True, exist_ok=True)
    lines = [
        "version: 0.1",
        "log: {level: error, accesslog: {disabled: true}}",
        f"storage: {{filesystem: {{rootdirectory: {directory / 'data'}}}, delete: {{enabled: true}}}}",
        f"http: {{addr: '127.0.0.1:{port}'}}",
    ]
    if htpasswd is not None:
        (directory / "htpasswd").write_text(htpasswd)
        lines.append(f"auth: {{htpasswd: {{realm: test, path: {directory / 'htpasswd'}}}}}")
    (directory / "config.yml").write_text("\n".join(lines) + "\n")
    program = registry_program()
    assert program is not None
    with _running([program, "serve", str(directory / "config.yml")], port, "the registry"):
        yield port


@contextlib.contextmanager
def s3_server() -> Iterator[int]:
    """Run an S3 server (moto); yields its port."""
    port = free_port()
    command = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, port, "the S3 server"):
        yield port
