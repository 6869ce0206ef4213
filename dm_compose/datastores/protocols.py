"""Asking a server whether it answers, with a few bytes of its own protocol. Building blocks for the modules' probes.

Every probe opens one connection, sends at most one request, reads at most a few hundred bytes and closes. None of them logs in.
"""

from __future__ import annotations

import socket
import struct

from dm_compose.datastores.base import Probe

_MAX_ANSWER = 4096


def exchange(host: str, port: int, timeout_s: float, request: bytes, *, at_least: int = 1) -> bytes:
    """Connect, send `request`, return the first bytes of the answer (at least `at_least`, fewer when the server closes)."""
    with socket.create_connection((host, port), timeout=timeout_s) as connection:
        connection.settimeout(timeout_s)
        if request:
            connection.sendall(request)
        answer = b""
        while len(answer) < at_least and len(answer) < _MAX_ANSWER:
            data = connection.recv(_MAX_ANSWER)
            if not data:
                break
            answer += data
        return answer


def accepts(host: str, port: int, timeout_s: float) -> bool:
    """Whether the port accepts a connection: the weakest answer, for servers that say nothing more."""
    socket.create_connection((host, port), timeout=timeout_s).close()
    return True


def http(path: str, *, below: int = 400) -> Probe:
    """Return a probe that wants an HTTP status from 200 to `below` for GET `path`."""

    def probe(host: str, port: int, timeout_s: float) -> bool:
        request = f"GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\nUser-Agent: dm-compose\r\nConnection: close\r\n\r\n"
        answer = exchange(host, port, timeout_s, request.encode(), at_least=12)
        words = answer.split(None, 2)
        return len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit() and 200 <= int(words[1]) < below

    return probe


def postgres_startup(host: str, port: int, timeout_s: float) -> bool:
    """PostgreSQL frontend/backend protocol 3.0: a startup packet is answered by 'R' (authentication) or an error.

    An error of class 57P ("the database system is starting up") or 53300 means not yet; any other refusal shows a server that works.
    """
    body = struct.pack("!i", 196608) + b"user\0dm_ready\0database\0postgres\0\0"
    answer = exchange(host, port, timeout_s, struct.pack("!i", len(body) + 4) + body, at_least=5)
    if answer[:1] == b"R":
        return True
    return answer[:1] == b"E" and b"C57P" not in answer and b"C53300" not in answer
