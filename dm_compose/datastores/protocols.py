"""Building blocks for probes, which ask a server in a few bytes of its own protocol whether it answers.

A probe opens one connection, sends at most one request, reads at most a few kilobytes and closes. No probe logs in.
"""

from __future__ import annotations

import contextlib
import functools
import re
import socket
import ssl
import struct
import time
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

from dm_compose.datastores.base import NotSetUpError, ReadinessProbe
from dm_compose.datastores.connections import connect

_MAX_ANSWER = 4096


def exchange(host: str, port: int, timeout_s: float, request: bytes, *, at_least: int = 1) -> bytes:
    """Connect, send `request` and return the first bytes of the answer: at least `at_least`, fewer if the server closes."""
    with connect(host, port, timeout_s) as connection:
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
    """Return whether the port accepts a connection. This is the weakest answer, for servers that say nothing more."""
    connect(host, port, timeout_s).close()
    return True


def http(path: str, *, below: int = 400) -> ReadinessProbe:
    """Return a probe that wants an HTTP status from 200 to `below` for GET `path`."""

    def probe(host: str, port: int, timeout_s: float) -> bool:
        request = f"GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\nUser-Agent: dm-compose\r\nConnection: close\r\n\r\n"
        answer = exchange(host, port, timeout_s, request.encode(), at_least=12)
        words = answer.split(None, 2)
        return len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit() and 200 <= int(words[1]) < below

    return probe


def postgres_startup(host: str, port: int, timeout_s: float) -> bool:
    """Send a startup packet of PostgreSQL's protocol 3.0. The server answers with 'R' (authentication) or with an error.

    An error of class 57P ("the database system is starting up") or 53300 means not yet. If the server's rules (pg_hba.conf) turn
    everybody away who comes over the network, they may be those that `initdb` wrote: NotSetUpError. Any other error shows a
    server that works.
    """
    body = struct.pack("!i", 196608) + b"user\0dm_ready\0database\0postgres\0\0"
    answer = exchange(host, port, timeout_s, struct.pack("!i", len(body) + 4) + body, at_least=5)
    if answer[:1] == b"R":
        return True
    if b"\0C28000\0" in answer and b"\0RClientAuthentication\0" in answer:  # the text may be in any language
        raise NotSetUpError("pg_hba.conf has no entry for this host")
    return answer[:1] == b"E" and b"C57P" not in answer and b"C53300" not in answer


_MAX_BODY = 1 << 20
_T = TypeVar("_T")


def http_call(
    host: str,
    port: int,
    timeout_s: float,
    path: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    whole: bool = True,
) -> tuple[int, bytes]:
    """Make one HTTP request and return status and body. The status is 0 if the answer is not HTTP.

    Without `whole` the body may be cut off. `timeout_s` is for everything together.

    A server that speaks TLS on this port answers plain HTTP with an alert, with status 400 or by closing the connection. Then the
    request is made once more through TLS. No certificate is verified: the address is the container's own, and development stacks
    sign their certificates themselves.
    """
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}:{port}", "User-Agent: dm-compose", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    lines += [f"Content-Length: {len(body)}"] if body or method != "GET" else []
    request = "\r\n".join([*lines, "", ""]).encode() + body
    deadline = time.monotonic() + timeout_s
    status, answer = 0, b""
    with connect(host, port, timeout_s) as connection, contextlib.suppress(ConnectionError):
        status, answer = _http_exchange(_Plain(connection, deadline), request, whole)
    if status not in (0, 400):
        return status, answer
    try:
        with connect(host, port, _time_left(deadline)) as connection:
            return _http_exchange(_Secured(_Plain(connection, deadline), host), request, whole)
    except OSError:
        if status:
            return status, answer
        raise


def http_or_https(path: str, *, below: int = 400, also: Collection[int] = ()) -> ReadinessProbe:
    """Return a probe that wants an HTTP status from 200 to `below`, or one of `also`, for GET `path`; through TLS if needed."""

    def probe(host: str, port: int, timeout_s: float) -> bool:
        status, _ = http_call(host, port, timeout_s, path, whole=False)
        return 200 <= status < below or status in also

    return probe


class _Plain:
    """A connection with one deadline for all its operations together."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    def send(self, data: bytes) -> None:
        self._connection.settimeout(_time_left(self._deadline))
        self._connection.sendall(data)

    def receive(self) -> bytes:
        """Return the bytes that have arrived; b"" at the end."""
        self._connection.settimeout(_time_left(self._deadline))
        return self._connection.recv(_MAX_ANSWER)


class _Secured:
    """TLS on a connection. SSLSocket would leave its socket to the garbage collector if the peer resets the connection."""

    def __init__(self, plain: _Plain, host: str) -> None:
        self._plain = plain
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = _any_certificate().wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._drive(self._tls.do_handshake)

    def send(self, data: bytes) -> None:
        self._drive(lambda: self._tls.write(data))

    def receive(self) -> bytes:
        """Return the bytes that have arrived; b"" at the end, in whichever way the server ends."""
        try:
            return self._drive(lambda: self._tls.read(_MAX_ANSWER))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def _drive(self, operation: Callable[[], _T]) -> _T:
        while True:
            try:
                done = operation()
            except ssl.SSLWantReadError:
                self._plain.send(self._outgoing.read())
                if data := self._plain.receive():
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            else:
                self._plain.send(self._outgoing.read())
                return done


def _http_exchange(connection: _Plain | _Secured, request: bytes, whole: bool) -> tuple[int, bytes]:
    connection.send(request)
    answer = b""
    while len(answer) < _MAX_BODY and not (_http_ended(answer) if whole else b"\n" in answer):
        data = connection.receive()
        if not data:
            break
        answer += data
    status = re.match(rb"HTTP/\d(?:\.\d)? (\d{3})\b", answer)
    return int(status[1]) if status else 0, answer.partition(b"\r\n\r\n")[2]


def _http_ended(answer: bytes) -> bool:
    """Return whether the answer itself tells that its body is complete. If it never does, the body ends with the connection."""
    head, end_of_head, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length:\s*(\d{1,9})\b", head, re.IGNORECASE)
    return bool(end_of_head) and (len(body) >= int(length[1]) if length else body.endswith(b"0\r\n\r\n"))


def _time_left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the server did not answer in time")
    return left


@functools.cache
def _any_certificate() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
