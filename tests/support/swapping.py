"""A hostile writer: somebody who puts symlinks in the place of directories while others work on them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

RENAME_EXCHANGE = 2
_AT_FDCWD = -100

_SWAP_FOR_EVER = """
import ctypes, os, sys
directory, count, uid = os.fsencode(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
os.setgid(uid); os.setuid(uid)
libc = ctypes.CDLL(None)
pairs = [(directory + b"/x%d" % n, directory + b"/y%d" % n) for n in range(count)]
print(flush=True)
while True:
    for one, other in pairs:
        libc.renameat2(-100, one, -100, other, 2)
"""


def exchange(one: Path, other: Path) -> None:
    """Let two paths change places, at once."""
    if ctypes.CDLL(None).renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) != 0:
        raise OSError(f"renameat2 of {one} and {other} failed")


@contextlib.contextmanager
def swapping(directory: Path, count: int, *, uid: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    """Have a process, for the time of the block, that lets `x0` and `y0`, `x1` and `y1` and so on change places all the time."""
    command = [sys.executable, "-c", _SWAP_FOR_EVER, str(directory), str(count), str(uid)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process
        finally:
            process.kill()
