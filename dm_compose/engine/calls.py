"""Calls of the engine's API: docker-py's errors turned into ours, and a faster GET."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import docker
import docker.constants
import docker.context
import docker.errors
import docker.utils
import requests.exceptions
from docker.context.config import get_current_context_name
from docker.transport import UnixHTTPAdapter

from dm_compose.errors import EngineError, NotFoundError

API_TIMEOUT_S = 60
_START_HINT = "Start Docker, or check DOCKER_HOST, DOCKER_CONTEXT and your permissions on its socket (`docker info`)."


def connect(**settings: Any) -> docker.DockerClient:
    """Connect to the engine that the docker CLI would use: that of DOCKER_HOST, or else that of the context in use.

    DOCKER_CONTEXT names the context, or else Docker's own configuration. EngineError if there is no such context. Errors of
    docker-py for an address that means nothing.
    """
    context = _context()
    if context is None:
        return docker.from_env(**settings)
    over_ssh = context.Host.startswith("ssh://")
    return docker.DockerClient(base_url=context.Host, tls=context.TLSConfig or False, use_ssh_client=over_ssh, **settings)


def _context() -> Any:
    """Return the context in use, which docker-py's own `from_env` does not look at. None for the default one."""
    name = os.environ.get("DOCKER_CONTEXT") or get_current_context_name()
    if os.environ.get("DOCKER_HOST") or name == "default":
        return None
    found = docker.context.ContextAPI.get_context(name)
    if found is None:
        raise EngineError(f"Docker has no context {name}", hint="`docker context ls` lists all; see DOCKER_CONTEXT.")
    return found


@contextlib.contextmanager
def engine_errors(doing: str = "") -> Iterator[None]:
    """Turn errors of docker-py in the block into EngineError, or into NotFoundError where something does not exist.

    `doing` begins the message: it says what was tried. No message has a Python object in it.
    """
    begin = f"{doing}: " if doing else ""
    try:
        yield
    except docker.errors.NotFound as error:
        raise NotFoundError(f"{begin}{error.explanation or error}") from None
    except docker.errors.APIError as error:
        raise EngineError(f"{begin}{error.explanation or error}") from None
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise EngineError(f"{begin}no Docker Engine answers at {_host()}: {reason(error)}", hint=_START_HINT) from None


def reason(error: BaseException) -> str:
    """Return in words why a request failed, which is somewhere in the errors that an error of docker-py or requests holds."""
    pending, seen = [error], list[BaseException]()
    while pending:
        looked_at = pending.pop(0)
        seen.append(looked_at)
        if isinstance(looked_at, TimeoutError | requests.exceptions.Timeout):
            return "it did not answer in time"
        if isinstance(looked_at, OSError) and looked_at.strerror:
            return looked_at.strerror.lower()
        if isinstance(looked_at, http.client.RemoteDisconnected):
            return "it closed the connection"
        inner = (*looked_at.args, getattr(looked_at, "reason", None), looked_at.__cause__, looked_at.__context__)
        pending += [one for one in inner if isinstance(one, BaseException) and one not in seen]
    is_plain = isinstance(error, docker.errors.DockerException) and "(" not in str(error)  # a sentence of docker-py itself
    return str(error) if is_plain else "its answer cannot be understood"


def _host() -> str:
    """Return the address of the engine, as `connect` finds it."""
    with contextlib.suppress(docker.errors.DockerException, EngineError):  # such as certificates that are not there
        if context := _context():
            return str(context.Host)
        if address := docker.utils.kwargs_from_env().get("base_url"):
            return str(address)
    return docker.constants.DEFAULT_UNIX_SOCKET.removeprefix("http+")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=API_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)

    def __del__(self) -> None:
        self.close()  # if nobody closes the engine; connections of docker-py do the same


class QuickApi:
    """GET over a connection of our own where the engine has a unix socket, because docker-py takes 2 ms longer. Thread-safe."""

    def __init__(self, api: Any) -> None:
        self._api = api
        self._connection: _UnixConnection | None = None
        self._lock = threading.Lock()

    @property
    def socket_path(self) -> str | None:
        """The engine's unix socket, None where it has none."""
        adapter = self._api.get_adapter(self._api.base_url)
        return str(adapter.socket_path) if isinstance(adapter, UnixHTTPAdapter) else None

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def get(self, path: str) -> bytes:
        """Return the body of an answer. Errors are those of docker-py."""
        adapter = self._api.get_adapter(self._api.base_url)
        if not isinstance(adapter, UnixHTTPAdapter):
            answer = self._api.get(f"{self._api.base_url}/v{self._api.api_version}{path}")
            self._api._raise_for_status(answer)
            return bytes(answer.content)
        with self._lock:
            try:
                for fresh in (False, True):  # the engine may have closed a connection that was idle
                    if self._connection is None or fresh:
                        self._connection = _UnixConnection(adapter.socket_path)
                    try:
                        self._connection.request("GET", f"/v{self._api.api_version}{path}")
                        response = self._connection.getresponse()
                        break
                    except (http.client.HTTPException, ConnectionError):
                        self._connection.close()
                        if fresh:
                            raise
                data = response.read()
            except (http.client.HTTPException, OSError) as error:
                self._connection = None
                raise docker.errors.DockerException(str(error)) from error
        if response.status == http.client.NOT_FOUND:
            raise docker.errors.NotFound("", explanation=explanation(data))
        if response.status != http.client.OK:
            raise docker.errors.APIError("", explanation=explanation(data))
        return data


def explanation(body: bytes) -> str:
    """Return the engine's own message in the body of an error."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip() or "it gave no reason"
