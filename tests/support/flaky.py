"""A server that behaves badly, in front of one that does not: delays, errors, cut and short answers, on a schedule.

A cut answer ends before its length, a short one claims to be whole; a lost one was carried out, and nobody hears of it.
"""

from __future__ import annotations

import http.client
import itertools
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PASS, DELAY, ERROR, BUSY, CUT, SHORT, REFUSE, LOST = ["pass", "delay", "error", "busy", "cut", "short", "refuse", "lost"]
FAULTS = (DELAY, ERROR, BUSY, CUT, SHORT, REFUSE, LOST)
Schedule = Callable[[int], str]


def at_random(seed: int, share: float) -> Schedule:
    """Return a schedule with a fault in a share of the requests; the same for the same seed and order of requests."""
    chance = random.Random(seed)
    drawn = [chance.choice(FAULTS) if chance.random() < share else PASS for _ in range(100_000)]
    return lambda number: drawn[number]


class Flaky:
    """The proxy. `requests` counts what came in; setting `schedule` changes what happens from then on."""

    def __init__(self, upstream: int, schedule: Schedule) -> None:
        self.schedule = schedule
        self.faults = 0
        self._numbers = itertools.count()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length) if length else b""
                fault = outer.schedule(next(outer._numbers))
                outer.faults += fault != PASS
                if fault == DELAY:
                    time.sleep(0.05)
                if fault in (ERROR, BUSY):
                    return self._send(500 if fault == ERROR else 503, [], b"no")
                if fault == REFUSE:
                    return self._hang_up()
                connection = http.client.HTTPConnection("127.0.0.1", upstream, timeout=30)
                connection.request(self.command, self.path, body, dict(self.headers.items()))
                answer = connection.getresponse()
                data = answer.read()
                connection.close()
                if fault == LOST:  # done, but nobody hears of it
                    return self._hang_up()
                if fault in (CUT, SHORT) and self.command != "HEAD":
                    kept = data[: len(data) // 2]
                    self._send(answer.status, answer.getheaders(), kept, length=len(data) if fault == CUT else len(kept))
                    return self._hang_up()
                length = int(answer.getheader("Content-Length") or len(data))
                return self._send(answer.status, answer.getheaders(), data, length=length)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = handle_any

            def _send(self, status: int, headers: list[tuple[str, str]], data: bytes, *, length: int | None = None) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(data) if length is None else length))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            def _hang_up(self) -> None:
                self.close_connection = True
                self.wfile.flush()
                with suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)

            def log_message(self, *_: Any) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                return

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def flaky(upstream: int, schedule: Schedule) -> Iterator[Flaky]:
    """Run a flaky proxy in front of a port."""
    server = Flaky(upstream, schedule)
    try:
        yield server
    finally:
        server.close()
