"""A probe of PostgreSQL, asked of a real one."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dm_compose.datastores.protocols import postgres_startup
from tests.support.answering import answer


def _postgres_binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


@contextlib.contextmanager
def _real_postgres(*settings: str, standby: bool = False) -> Iterator[int]:
    binaries = _postgres_binaries()
    user = "postgres" if os.geteuid() == 0 else None
    if binaries is None or (user is not None and user not in {entry.pw_name for entry in pwd.getpwall()}):
        pytest.skip("no PostgreSQL on this machine, or nobody to run it as")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o777)
        data = directory / "data"
        initdb = [str(binaries / "initdb"), "-D", str(data), "-A", "trust", "--no-sync"]
        subprocess.run(initdb, user=user, cwd=name, check=True, capture_output=True)
        if standby:
            (data / "standby.signal").touch()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        words = [str(binaries / "postgres"), "-D", str(data), "-p", str(port), "-k", "", "-F", "-h", "127.0.0.1"]
        words += [word for setting in settings for word in ("-c", setting)]
        server = subprocess.Popen(words, user=user, cwd=name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield port
        finally:
            server.terminate()
            server.wait(30)


def _eventually(probe: Callable[[], bool], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if probe():
            return True
        time.sleep(0.02)
    return False


def test_a_real_postgres_is_ready_when_it_takes_connections() -> None:
    with _real_postgres() as port:
        assert _eventually(lambda: answer(postgres_startup, port, 1.0), 30)


def test_a_real_postgres_that_still_recovers_is_not_ready() -> None:
    with _real_postgres("hot_standby=off", "restore_command=false", standby=True) as port:

        def listens() -> bool:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return True
            return False

        assert _eventually(listens, 30)
        assert not _eventually(lambda: answer(postgres_startup, port, 1.0), 1.0)
