"""A server that speaks only TLS is asked through TLS."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import time

import pytest

from dm_compose.datastores.builtin import elasticsearch
from dm_compose.datastores.protocols import http_call, http_or_https
from tests.support.answering import SERVER_PATIENCE_S, Handler, answer, listen_only, probe_of, serving, web


@pytest.fixture(scope="module")
def server_tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server's TLS settings with a certificate that nobody has signed."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    directory = tmp_path_factory.mktemp("tls")
    key, certificate = directory / "key.pem", directory / "cert.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=es01"]
    subprocess.run([*words, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def behind_tls(context: ssl.SSLContext, handler: Handler, to_plain: bytes | None) -> Handler:
    """Serve through TLS. A client that does not speak it gets `to_plain`, or what OpenSSL has for it (an alert) if None."""

    def handle(connection: socket.socket) -> None:
        first = connection.recv(1, socket.MSG_PEEK)
        if first != b"\x16" and to_plain is not None:
            connection.sendall(to_plain)
            return
        with context.wrap_socket(connection, server_side=True) as secured:
            handler(secured)
            with contextlib.suppress(OSError):
                secured.unwrap()

    return handle


TO_PLAIN = {
    "an alert": None,
    "nothing": b"",
    "status 400": b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
}


@pytest.mark.parametrize("to_plain", TO_PLAIN.values(), ids=TO_PLAIN)
def test_a_server_that_speaks_only_tls_is_asked_through_tls(server_tls: ssl.SSLContext, to_plain: bytes | None) -> None:
    for status, expected in ((200, True), (401, True), (503, False)):
        with serving(behind_tls(server_tls, web("/", status, "{}"), to_plain)) as port:
            assert answer(elasticsearch.ready, port, 5.0) is expected


def test_a_vault_behind_tls_is_ready_when_sealed(server_tls: ssl.SSLContext) -> None:
    with serving(behind_tls(server_tls, web("/v1/sys/health", 503), TO_PLAIN["status 400"])) as port:
        assert answer(probe_of("vault"), port, 5.0) is True


def test_a_server_that_is_silent_in_the_tls_handshake_is_given_up_in_time() -> None:
    def handle(connection: socket.socket) -> None:
        if connection.recv(1, socket.MSG_PEEK) == b"\x16":
            listen_only(connection)

    with serving(handle) as port:
        began = time.monotonic()
        assert answer(elasticsearch.ready, port) is False
        assert time.monotonic() - began < SERVER_PATIENCE_S / 3


def test_a_plain_server_that_answers_400_is_taken_at_its_word() -> None:
    with serving(web("/", 400)) as port:
        assert http_call("127.0.0.1", port, 5.0, "/")[0] == 400
        assert answer(http_or_https("/", below=500), port, 5.0) is True


def test_a_call_returns_status_and_whole_body_of_a_chunked_or_a_long_answer() -> None:
    long = "x" * 100_000
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"

    def stays_open(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(chunked)
        connection.recv(1)

    with serving(web("/long", 200, long)) as port:
        assert http_call("127.0.0.1", port, 5.0, "/long") == (200, long.encode())
    with serving(stays_open) as port:
        status, body = http_call("127.0.0.1", port, 5.0, "/")
    assert status == 200
    assert b"hello" in body
