"""A probe says no to a server that does not answer as it should."""

from __future__ import annotations

import random
import socket
import struct
import time

import pytest

from dm_compose.datastores.base import ReadinessProbe
from tests.support.answering import ALL, SERVER_PATIENCE_S, answer, listen_only, serving


def _probes() -> list[tuple[str, ReadinessProbe]]:
    """Each probe once, by the name of a datastore that has it."""
    named = {id(datastore.ready): (name, datastore.ready) for name, datastore in ALL.items() if datastore.ready is not None}
    return list(named.values())


PROBES = _probes()
every_probe = pytest.mark.parametrize("probe", [probe for _, probe in PROBES], ids=[name for name, _ in PROBES])


@every_probe
def test_a_probe_says_no_to_a_closed_port(probe: ReadinessProbe) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert answer(probe, port) is False


@every_probe
def test_a_probe_says_no_to_a_server_that_closes_at_once(probe: ReadinessProbe) -> None:
    with serving(lambda connection: None) as port:
        assert answer(probe, port) is False


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@every_probe
def test_a_probe_says_no_to_a_server_that_resets_the_connection(probe: ReadinessProbe) -> None:
    with serving(_reset) as port:
        assert answer(probe, port) is False


@every_probe
def test_a_probe_says_no_to_a_silent_server_within_its_timeout(probe: ReadinessProbe) -> None:
    with serving(listen_only) as port:
        began = time.monotonic()
        assert answer(probe, port) is False
        assert time.monotonic() - began < SERVER_PATIENCE_S / 3


def _garbage() -> list[bytes]:
    chance = random.Random(7)
    fixed = [
        b"\0" * 64,
        b"\xff" * 64,
        b"\n",
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"\x15\x03\x03\0\x02\x02\x46",
        b"-",
    ]
    return [*fixed, *(chance.randbytes(chance.randrange(1, 200)) for _ in range(12))]


@every_probe
def test_a_probe_says_no_to_garbage_and_raises_nothing_but_os_errors(probe: ReadinessProbe) -> None:
    for data in _garbage():
        with serving(lambda connection, data=data: connection.sendall(data)) as port:  # type: ignore[misc]
            assert answer(probe, port) is False, data


@every_probe
def test_a_probe_says_no_to_garbage_on_a_connection_that_stays_open(probe: ReadinessProbe) -> None:
    def babble(connection: socket.socket) -> None:
        connection.sendall(b"\x80\x07garbage")
        listen_only(connection)

    with serving(babble) as port:
        assert answer(probe, port) is False
