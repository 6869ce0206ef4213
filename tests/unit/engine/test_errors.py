"""An engine that does not answer is named with its address and the reason, in words: no message has a Python object in it."""

from __future__ import annotations

import contextlib
import gc
import http.server
import re
import socket
import threading
from collections.abc import Iterator

import pytest

from dm_compose.engine import Engine
from dm_compose.engine.calls import explanation
from dm_compose.errors import EngineError
from tests.support.servers import free_port

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def refusal(monkeypatch: pytest.MonkeyPatch, host: str) -> str:
    monkeypatch.setenv("DOCKER_HOST", host)
    monkeypatch.delenv("DOCKER_TLS_VERIFY", raising=False)
    with pytest.raises(EngineError) as raised:
        Engine()
    gc.collect()  # docker-py leaves a socket open where no engine answers: it is complained of here and not in another test
    assert raised.value.hint is not None
    assert raised.value.hint.startswith("Start Docker, or check DOCKER_HOST")
    return raised.value.message


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("unix:///nonexistent.sock", "no such file or directory"),
        ("unix:///dev/null", "connection refused"),
        ("tcp://127.0.0.1:PORT", "connection refused"),
        ("tcp://nothing.invalid:2375", "name .*|temporary failure .*"),
        ("ssh://me@nothing.invalid", "Install paramiko .*"),
        ("nonsense", "Invalid bind address format: .*"),
    ],
)
def test_an_engine_that_is_not_there_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch, host: str, reason: str) -> None:
    host = host.replace("PORT", str(free_port()))
    assert re.fullmatch(rf"no Docker Engine answers at {re.escape(host)}: ({reason})", refusal(monkeypatch, host))


def test_certificates_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    with pytest.raises(EngineError, match=r"no Docker Engine answers at .*: .*certificate"):
        Engine()


@contextlib.contextmanager
def serving(answers: dict[str, tuple[int, bytes]]) -> Iterator[str]:
    """Serve fixed answers, by the end of the path; yields the server's address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, body = next((answer for end, answer in answers.items() if self.path.endswith(end)), (404, b"{}"))
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


VERSION = (200, b'{"ApiVersion": "1.44"}')


def test_a_refusal_is_told_in_the_engines_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"/version": VERSION, "/_ping": (200, b"OK"), "/info": (500, b'{"message": "plugin not found"}')}
    with serving(answers) as host:
        monkeypatch.setenv("DOCKER_HOST", host)
        engine = Engine()
        with pytest.raises(EngineError) as raised:
            engine.facts()
        assert raised.value.message == "asking for the engine's version: plugin not found"
        engine.close()


def test_an_engine_that_goes_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving({"/version": VERSION, "/_ping": (200, b"OK")}) as host:
        monkeypatch.setenv("DOCKER_HOST", host)
        engine = Engine()
        engine._api.close()
    with pytest.raises(EngineError) as raised:
        engine.facts()
    assert raised.value.message == f"asking for the engine's version: no Docker Engine answers at {host}: connection refused"
    engine.close()


def test_what_is_no_engine_is_not_taken_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=lambda: server.accept()[0].close())
        thread.start()
        port = server.getsockname()[1]
        message = refusal(monkeypatch, f"tcp://127.0.0.1:{port}")
        thread.join()
    assert message.startswith(f"no Docker Engine answers at tcp://127.0.0.1:{port}: ")
    assert "(" not in message


@pytest.mark.parametrize(
    ("body", "told"),
    [(b'{"message": "No such container: x"}', "No such container: x"), (b"plain", "plain"), (b"", "it gave no reason")],
)
def test_the_reason_in_an_answer_is_the_engines_message(body: bytes, told: str) -> None:
    assert explanation(body) == told
