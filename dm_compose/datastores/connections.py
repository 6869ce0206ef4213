"""Connections of this process to datastores, counted. So those of others can be told from ours by the kernel's counters."""

from __future__ import annotations

import socket
import threading
from collections import Counter

_made: Counter[str] = Counter()
_lock = threading.Lock()


def connect(host: str, port: int, timeout_s: float) -> socket.socket:
    """Open a TCP connection and count it. OSError. Probes and quiesce hooks use this and nothing else.

    A connection that is not counted looks as if somebody else had reached the datastore. This costs a test run a restore.
    """
    connection = socket.create_connection((host, port), timeout=timeout_s)
    with _lock:
        _made[host] += 1
    return connection


def connections() -> Counter[str]:
    """Return the number of connections that this process has opened so far, by host as `connect` was told it."""
    with _lock:
        return _made.copy()
