"""HTTP over the plugin's socket: one thread for each connection of the engine."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

import dm_compose
from dm_compose.driver.calls import Answer, BadRequestError, Calls, Farewell
from dm_compose.driver.engines import Engines, peer_of
from dm_compose.driver.listening import Listening

MEDIA_TYPE = "application/vnd.docker.plugins.v1.2+json"
MAX_BODY_BYTES = 1 << 20
BODY_TIMEOUT_S = 30.0  # an engine has the whole request at hand when it begins to send
DRAIN_TIMEOUT_S = 5.0
ENGINES_CALLS = ("Plugin.", "VolumeDriver.")
STATUS_CALL = "Dm.Status"
LEAVE_CALL = "Dm.Leave"
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?\r?\n")
_STOP, _LOOK = b"s", b"l"


class DriverServer:
    """Serves a driver on its socket until `stop` is called.

    After a call to leave it serves until all engines that know the driver have ended.
    """

    def __init__(self, listening: Listening, calls: Calls, log: logging.Logger, left: Callable[[], None] = lambda: None) -> None:
        self.log = log
        self._left = left
        self._listening = listening
        self._calls = calls
        self._farewell: Farewell | None = None
        self._engines = Engines()
        self._busy = 0
        self._idle = threading.Condition()
        self._woken, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def run(self) -> None:
        """Serve. At the end remove the socket, wait for the calls under way, and return. Call this once."""
        self._listening.socket.setblocking(False)
        try:
            while self._serve_some():
                pass
        finally:
            self._listening.close()
            with self._idle:
                self._idle.wait_for(lambda: not self._busy, DRAIN_TIMEOUT_S)
            self._engines.close()

    def _serve_some(self) -> bool:
        """Wait until something happens and deal with it. Return whether to go on."""
        engines: list[int] | None = []
        if self._farewell is not None:
            engines = self._engines.living()
            if engines == []:
                self.log.info("no engine needs the driver any more")
                return False
        poll = select.poll()
        for descriptor in (self._listening.socket.fileno(), self._woken, *(engines or ())):
            poll.register(descriptor, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll()}
        if self._woken in ready and _STOP in os.read(self._woken, 4096):
            return False
        if self._listening.socket.fileno() in ready:
            self._accept()
        return True

    def _accept(self) -> None:
        try:
            connection, _ = self._listening.socket.accept()
            connection.setblocking(True)
            threading.Thread(target=self._serve, args=(connection,), name="connection", daemon=True).start()
        except BlockingIOError:
            return
        except (OSError, RuntimeError):
            self.log.exception("accepting a connection")
            time.sleep(0.1)  # no descriptors or threads are left, so trying again at once would only burn the processor

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, contextlib.suppress(ConnectionError):
                _Handler(connection, peer_of(connection), self)
        except Exception:
            self.log.exception("serving a connection")

    def reply(self, call: str, body: bytes, peer: int) -> tuple[int, Answer]:
        """Return the HTTP status and the answer for a call that process `peer` has made."""
        began = time.monotonic()
        status = int(HTTPStatus.OK)
        if call.startswith(ENGINES_CALLS) and self._engines.note(peer):
            self._signal(_LOOK)
        try:
            answer = self._answer(call, body)
        except BadRequestError as error:
            status, answer = error.status, {"Err": error.message}
        if call != STATUS_CALL:
            took_ms = (time.monotonic() - began) * 1000
            self.log.info("%s %.300s -> %d, %.1f ms %s", ascii(call)[1:-1], ascii(body)[2:-1], status, took_ms, answer["Err"])
        return status, answer

    def _answer(self, call: str, body: bytes) -> Answer:
        if call == STATUS_CALL:
            return {
                "Err": "",
                "Plugin": self._listening.path.stem,
                "Store": str(self._calls.store),
                "Version": dm_compose.__version__,
                "Leaving": self._farewell is not None,
            }
        if call == LEAVE_CALL:
            self._leave()
            return {"Err": ""}
        return (self._farewell or self._calls).answer(call, body)

    def _leave(self) -> None:
        with self._idle:
            if self._farewell is not None:
                return
            self._farewell = Farewell()
            self._idle.wait_for(lambda: self._busy <= 1, DRAIN_TIMEOUT_S)  # the call to leave is one
        self._left()
        self._signal(_LOOK)

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Have the end of `run` wait until the block is done."""
        with self._idle:
            self._busy += 1
        try:
            yield
        finally:
            with self._idle:
                self._busy -= 1
                self._idle.notify_all()

    def stop(self) -> None:
        """Have `run` end. Idempotent. A signal handler may call it."""
        self._signal(_STOP)

    def _signal(self, what: bytes) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake, what)


class _Handler(BaseHTTPRequestHandler):
    """Serves one connection, over which several requests may come."""

    protocol_version = "HTTP/1.1"
    server: Any  # a DriverServer, which is no socketserver

    def __init__(self, connection: socket.socket, peer: int, server: DriverServer) -> None:
        self._peer = peer
        super().__init__(connection, ("", 0), server)  # type: ignore[arg-type]

    def do_POST(self) -> None:
        self.connection.settimeout(BODY_TIMEOUT_S)
        try:
            body = self._chunks() if self.headers.get("Transfer-Encoding") else self._plain()
        except BadRequestError as error:
            self.close_connection = True
            self._send(error.status, {"Err": error.message})
            return
        self.connection.settimeout(None)
        with self.server.working():
            self._send(*self.server.reply(self.path.removeprefix("/"), body, self._peer))

    def _plain(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        if not re.fullmatch("[0-9]{1,9}", length):
            raise BadRequestError("Content-Length is no number of bytes")
        return self._read(int(length), 0)

    def _chunks(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").strip().lower() != "chunked":
            raise BadRequestError("the only Transfer-Encoding is `chunked`")
        body = b""
        while True:
            head = _CHUNK_SIZE.fullmatch(self.rfile.readline(1024))
            if head is None:
                raise BadRequestError("a chunk does not begin with its size")
            size = int(head[1], 16)
            if size == 0:
                break
            body += self._read(size, len(body))
            if self.rfile.readline(3) not in (b"\r\n", b"\n"):
                raise BadRequestError("a chunk does not end where its size says")
        for _ in range(100):  # trailers, which we do not need
            if self.rfile.readline(MAX_BODY_BYTES) in (b"\r\n", b"\n", b""):
                return body
        raise BadRequestError("too many trailers")

    def _read(self, size: int, before: int) -> bytes:
        if before + size > MAX_BODY_BYTES:
            raise BadRequestError(f"the body is larger than {MAX_BODY_BYTES} bytes")
        data = self.rfile.read(size)
        if len(data) < size:
            raise BadRequestError("the body ends too early")
        return data

    def _send(self, status: int, answer: Answer) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", MEDIA_TYPE)
        self.send_header("Content-Length", str(len(data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing here, because the server logs calls."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        self.server.log.warning("%s", ascii(format % args)[1:-1])
