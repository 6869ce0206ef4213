"""Fixed addresses on this machine for services that move. A TCP connection to one is passed on to the service's place of now."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import struct
import threading
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

Address = tuple[str, int]
Key = tuple[str, int]
T = TypeVar("T")

HOST = "127.0.0.1"
BACKLOG = 128
CHUNK_BYTES = 64 * 1024
PAUSE_S = 0.5
LINGER_NOT = struct.pack("ii", 1, 0)
CONNECT_TIMEOUT_S = 10.0


class Forwarder:
    """One port of 127.0.0.1 for each key (service and port), picked by the system and fixed for the object's life. Thread-safe.

    A connection is passed on in both directions. If one direction ends, the other one stays open. If a side does not read, the
    other one cannot send. If a side refuses or breaks its connection, the other side's connection is broken too.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="dm-forwarder", daemon=True)
        self._listening: dict[Key, socket.socket] = {}
        self._targets: dict[Key, Address] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._thread.start()

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys that have an address."""
        return tuple(self._listening)

    def address(self, key: Key, target: Address) -> Address:
        """Return the fixed address of a key. A key that has none gets one, which leads to `target`."""
        return self._do(self._address(key, target))

    def switch(self, targets: Mapping[Key, Address]) -> None:
        """Close all connections, and lead new ones to `targets`. New ones of a key without a target are closed at once.

        A client that connected before this call, or had begun to, is never passed on to a new target.
        """
        self._do(self._switch(dict(targets)))

    def close(self) -> None:
        """Close all connections and ports. Idempotent."""
        if self._loop.is_closed():
            return
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    # In the loop's thread

    async def _address(self, key: Key, target: Address) -> Address:
        if key not in self._listening:
            listening = self._listening[key] = socket.create_server((HOST, 0), backlog=BACKLOG)
            listening.setblocking(False)
            self._targets[key] = target
            self._listen(key, listening)
        host, port = self._listening[key].getsockname()
        return host, port

    async def _switch(self, targets: dict[Key, Address]) -> None:
        self._targets = {}
        for key, listening in self._listening.items():
            self._accept(key, listening)  # clients that wait to be accepted have connected before this call
        await self._end_connections()
        self._targets = targets

    async def _close(self) -> None:
        for listening in self._listening.values():
            self._loop.remove_reader(listening)
            listening.close()
        await self._end_connections()

    async def _end_connections(self) -> None:
        ending = list(self._connections)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def _accept(self, key: Key, listening: socket.socket) -> None:
        """Accept all clients that wait."""
        while True:
            try:
                client, _ = listening.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            except OSError:  # no descriptor is free: try again in a moment
                self._loop.remove_reader(listening)
                self._loop.call_later(PAUSE_S, self._listen, key, listening)
                return
            target = self._targets.get(key)
            if target is None:
                _reset(client)
                continue
            task = self._loop.create_task(_pass_on(client, target))
            self._connections.add(task)
            task.add_done_callback(functools.partial(self._ended, client))

    def _ended(self, client: socket.socket, task: asyncio.Task[None]) -> None:
        self._connections.discard(task)
        _reset(client)  # a task that is cancelled before it begins does nothing

    def _listen(self, key: Key, listening: socket.socket) -> None:
        if listening.fileno() >= 0:
            self._loop.add_reader(listening, self._accept, key, listening)


def _reset(end: socket.socket) -> None:
    """Close a connection so that its other side sees at once that it is broken. Unread data is dropped. Idempotent."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    end.close()


async def _pass_on(client: socket.socket, target: Address) -> None:
    """Pass one connection on until both directions have ended. If this fails or is cancelled, both halves are broken."""
    server = socket.socket(socket.AF_INET6 if ":" in target[0] else socket.AF_INET)
    try:
        for end in (client, server):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await asyncio.get_running_loop().sock_connect(server, target)
        async with asyncio.TaskGroup() as both:
            both.create_task(_copy(client, server))
            both.create_task(_copy(server, client))
        client.close()
        server.close()
    except* OSError:  # one side has broken it, or does not answer
        pass
    finally:
        _reset(client)
        _reset(server)


async def _copy(source: socket.socket, sink: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    buffer = bytearray(CHUNK_BYTES)
    view = memoryview(buffer)
    while count := await loop.sock_recv_into(source, buffer):
        await loop.sock_sendall(sink, view[:count])
    sink.shutdown(socket.SHUT_WR)
