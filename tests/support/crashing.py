"""Stopping a process at its n-th change of the disk, for n = 1, 2, 3, ..., as SIGKILL would.

`sys.addaudithook` sees opens for writing, renames, removals, metadata changes, ioctls, child processes and requests to the
engine. It does not see SQLite's own writes, system calls made through ctypes, nor single writes to an open file; and it models
a killed process, not a power cut. A transaction of SQLite is one change: the process can be stopped before its COMMIT.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support.processes import python_path

KILLED, FAILED = 99, 98
MAX_STOPS = 1000
_FILES = "rename remove mkdir rmdir link symlink truncate chmod chown utime setxattr removexattr mkfifo mknod"
WATCHED = {f"os.{name}" for name in _FILES.split()} | {"fcntl.ioctl", "subprocess.Popen", "sqlite3.connect", "http.client.send"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


_SITECUSTOMIZE = """
import os
if "CRASH_AT" in os.environ:
    from tests.support.crashing import install
    install(int(os.environ["CRASH_AT"]), os.environ["CRASH_COUNT"])
"""


def install(countdown: int, count_file: str | None = None, statements: str | None = None) -> None:
    """From now on this process ends without a word at its `countdown`-th watched event; with 0 it counts them into a file at
    its end. `statements` (a regular expression) are those of SQLite that are events, too.
    """
    left = countdown
    if count_file is not None and countdown == 0:
        atexit.register(lambda: Path(count_file).write_text(str(-left)))

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event == "open":
            flags = arguments[2]
            if not isinstance(flags, int) or not flags & _WRITING:
                return
        elif event not in WATCHED:
            return
        count()

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os._exit(KILLED)

    def connect(*arguments: Any, **more: Any) -> sqlite3.Connection:
        connection = original(*arguments, **more)
        connection.set_trace_callback(lambda sql: count() if re.match(statements or "", sql) else None)
        return connection

    if statements is not None:
        original, sqlite3.connect = sqlite3.connect, connect
    sys.addaudithook(hook)


def run_until(countdown: int, work: Callable[[], object], *, statements: str = "COMMIT") -> int:
    """Do `work` in a forked child that dies at its `countdown`-th change; return KILLED, or 0 when it finished before."""
    child = os.fork()
    if child == 0:
        try:
            install(countdown, statements=statements)
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(FAILED)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, KILLED), f"the child failed with {code}"
    return code


def stops(
    template: Path, place: Path, work: Callable[[Path], object], *, at_least: int = 15, statements: str = "COMMIT"
) -> Iterator[Path]:
    """Yield a copy of `template` for every change at which `work` on it was killed, and one for `work` done."""
    for number in range(1, MAX_STOPS):
        shutil.rmtree(place, ignore_errors=True)
        copy(template, place)
        code = run_until(number, lambda: work(place), statements=statements)
        yield place
        if code != KILLED:
            assert number > at_least, f"the hook saw {number - 1} changes, which is next to nothing"
            return
    raise AssertionError(f"still not done after {MAX_STOPS} changes")


def copy(source: Path, target: Path) -> None:
    """Copy a tree with its hard links, fifos and time stamps."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def killing(directory: Path) -> dict[str, str]:
    """Return the environment in which a child dies at its CRASH_AT-th change, which is given beside it, and writes how many it
    made into the file $CRASH_COUNT. Makes files in `directory`.
    """
    site = directory / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(_SITECUSTOMIZE)
    return {"PYTHONPATH": python_path(site), "CRASH_COUNT": str(directory / "count")}
