"""Servers on loopback that answer as datastores do, or as they should not."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping

from dm_compose.core.containers import Image
from dm_compose.datastores import ServiceFacts
from dm_compose.datastores.base import ReadinessProbe
from dm_compose.datastores.registry import registry

TIMEOUT_S = 0.2
SERVER_PATIENCE_S = 30  # then a server hangs up on a client that neither talks nor goes
ALL = {datastore.name: datastore for datastore in registry()}


def run_by(
    reference: str, environment: Mapping[str, str] | None = None, command: str = "", volumes: tuple[str, ...] = ()
) -> ServiceFacts:
    return ServiceFacts(Image(reference, volumes=volumes), environment or {}, tuple(command.split()))


Handler = Callable[[socket.socket], None]


@contextlib.contextmanager
def serving(handle: Handler) -> Iterator[int]:
    """A server on 127.0.0.1 that gives every connection to `handle` in a thread of its own; yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def one(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            handle(connection)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.settimeout(SERVER_PATIENCE_S)
            connections.append(connection)
            threads.append(threading.Thread(target=one, args=(connection,), daemon=True))
            threads[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(5)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(5)
        for connection in connections:
            connection.close()


def answer(probe: ReadinessProbe, port: int, timeout_s: float = TIMEOUT_S) -> bool:
    """Return the probe's answer; OSError means no, every other exception is a fault."""
    try:
        return probe("127.0.0.1", port, timeout_s)
    except OSError:
        return False


def listen_only(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def talking(reply: Callable[[bytes], bytes], *, greeting: bytes = b"") -> Handler:
    """Greet, read one request, answer it."""

    def handle(connection: socket.socket) -> None:
        connection.sendall(greeting)
        if request := connection.recv(4096):
            connection.sendall(reply(request))

    return handle


def web(path: str, status: int, body: str = "", method: str = "GET") -> Handler:
    """An HTTP server with one page."""

    def reply(request: bytes) -> bytes:
        asked = request.split(b" ")[:2] == [method.encode(), path.encode()]
        code, text = (status, body) if asked else (418, "")
        return f"HTTP/1.1 {code} Whatever\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()

    return talking(reply)


def probe_of(name: str) -> ReadinessProbe:
    probe = ALL[name].ready
    assert probe is not None
    return probe
