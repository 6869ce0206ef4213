"""Fixed addresses over moving servers, with real sockets."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from dm_compose.sessions.forwarding import Forwarder

KEY = ("db", 5432)
MIB = 1 << 20


class Server:
    """A server that treats each connection in a thread of its own."""

    def __init__(self, treat: Callable[[socket.socket], object]) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.address = self._socket.getsockname()
        self._treat = treat
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._one, args=(self._socket.accept()[0],), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._treat(connection)

    def close(self) -> None:
        self._socket.close()


def named(name: bytes) -> Callable[[socket.socket], object]:
    """Answer every byte with a name."""

    def treat(connection: socket.socket) -> None:
        while connection.recv(1):
            connection.sendall(name)

    return treat


def read_all(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(MIB):
        parts.append(part)
    return b"".join(parts)


def asked(connection: socket.socket) -> bytes:
    connection.sendall(b"?")
    return connection.recv(1)


@pytest.fixture
def forwarder() -> Iterator[Forwarder]:
    made = Forwarder()
    yield made
    made.close()


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[socket.socket], object]], tuple[str, int]]]:
    with contextlib.ExitStack() as servers:

        def make(treat: Callable[[socket.socket], object]) -> tuple[str, int]:
            server = Server(treat)
            servers.callback(server.close)
            return server.address

        yield make


Serve = Callable[[Callable[[socket.socket], object]], tuple[str, int]]


def connect(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, timeout=10)


def first_byte(address: tuple[str, int]) -> bytes:
    with connect(address) as connection:  # that may fail already
        return connection.recv(1)


def test_a_switch_breaks_old_connections_and_leads_new_ones_elsewhere_at_the_same_address(
    forwarder: Forwarder, serve: Serve
) -> None:
    address = forwarder.address(KEY, serve(named(b"a")))
    with connect(address) as old:
        assert asked(old) == b"a"
        forwarder.switch({KEY: serve(named(b"b"))})
        with pytest.raises(ConnectionResetError):
            old.recv(1)
    assert forwarder.address(KEY, ("127.0.0.1", 1)) == address
    with connect(address) as new:
        assert asked(new) == b"b"


def test_who_had_begun_to_connect_before_a_switch_does_not_get_to_the_new_server(forwarder: Forwarder, serve: Serve) -> None:
    address, new = forwarder.address(KEY, serve(named(b"a"))), serve(named(b"b"))
    for _ in range(20):
        old = [connect(address) for _ in range(30)]  # some are not accepted yet
        forwarder.switch({KEY: new})
        for connection in old:
            with connection, contextlib.suppress(ConnectionResetError, BrokenPipeError):
                assert asked(connection) != b"b"


def test_without_a_target_connections_are_broken_and_with_one_again_they_work(forwarder: Forwarder, serve: Serve) -> None:
    target = serve(named(b"a"))
    address = forwarder.address(KEY, target)
    forwarder.switch({})
    with pytest.raises(ConnectionResetError):
        first_byte(address)
    forwarder.switch({KEY: target})
    with connect(address) as connection:
        assert asked(connection) == b"a"


def test_a_server_that_refuses_breaks_the_connection(forwarder: Forwarder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = server.getsockname()
    with pytest.raises(ConnectionResetError):
        first_byte(forwarder.address(KEY, nobody))


@pytest.mark.parametrize("client_first", [True, False])
def test_the_end_of_one_direction_is_handed_on_and_leaves_the_other_open(
    forwarder: Forwarder, serve: Serve, client_first: bool
) -> None:
    seen = []

    def treat(connection: socket.socket) -> None:
        if client_first:
            connection.sendall(read_all(connection) + b" answered")
        else:
            connection.sendall(b"greeting")
            connection.shutdown(socket.SHUT_WR)
            seen.append(read_all(connection))
            done.set()

    done = threading.Event()
    with connect(forwarder.address(KEY, serve(treat))) as connection:
        if client_first:
            connection.sendall(b"question")
            connection.shutdown(socket.SHUT_WR)
            assert read_all(connection) == b"question answered"
        else:
            assert read_all(connection) == b"greeting"
            connection.sendall(b"late")
            connection.shutdown(socket.SHUT_WR)
            assert done.wait(10)
            assert seen == [b"late"]


def test_much_data_passes_both_ways_at_once_unharmed(forwarder: Forwarder, serve: Serve) -> None:
    def echo(connection: socket.socket) -> None:
        while part := connection.recv(MIB):
            connection.sendall(part)

    data = os.urandom(32 * MIB)
    with connect(forwarder.address(KEY, serve(echo))) as connection, ThreadPoolExecutor(1) as pool:
        back = pool.submit(read_all, connection)
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        assert hashlib.sha256(back.result()).digest() == hashlib.sha256(data).digest()


def test_a_reader_that_does_not_read_stops_the_writer(forwarder: Forwarder, serve: Serve) -> None:
    go = threading.Event()
    with connect(forwarder.address(KEY, serve(lambda connection: go.wait(30) and read_all(connection)))) as connection:
        connection.settimeout(0.5)
        with pytest.raises(TimeoutError):
            connection.sendall(bytes(100 * MIB))
    go.set()


def test_many_connections_at_once(forwarder: Forwarder, serve: Serve) -> None:
    first, second = forwarder.address(KEY, serve(named(b"a"))), forwarder.address(("cache", 1), serve(named(b"b")))
    with contextlib.ExitStack() as stack:
        open_ones = [stack.enter_context(connect(address)) for _ in range(150) for address in (first, second)]
        for connection in open_ones:
            connection.sendall(b"?")
        assert [connection.recv(1) for connection in open_ones] == [b"a", b"b"] * 150


def test_closing_ends_everything(serve: Serve) -> None:
    before = threading.active_count()
    forwarder = Forwarder()
    address = forwarder.address(KEY, serve(named(b"a")))
    with connect(address) as connection:
        asked(connection)
        forwarder.close()
        forwarder.close()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connect(address)
    assert threading.active_count() <= before + 2  # the server's own


def test_idle_connections_cost_no_time(forwarder: Forwarder, serve: Serve) -> None:
    with connect(forwarder.address(KEY, serve(named(b"a")))) as connection:
        asked(connection)
        began = os.times()
        threading.Event().wait(0.5)
        now = os.times()
        assert now.user + now.system - began.user - began.system < 0.2
