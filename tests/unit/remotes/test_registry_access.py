"""Credentials of registries: where they come from, to whom they go, and where they never show."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dm_compose.engine import registry_login
from dm_compose.errors import RemoteError, UsageError
from dm_compose.remotes import Context, Remote, RemoteName, RemoteUrl, Tag, open_remote
from dm_compose.remotes.base import Credentials
from dm_compose.remotes.oci import component
from dm_compose.remotes.testing import sample_manifest
from tests.support.capabilities import capabilities
from tests.support.servers import registry

NAME = RemoteName.parse("admin/shop")
# htpasswd -nbB user secret
HTPASSWD = "user:$2y$05$BbYpebUjoHQopcbJRa7mPuMdEKgA4O3C7JY5mz5qVZjQk8fGEkLQO\n"


class TokenServer:
    """A registry that wants a bearer token, and the server of its tokens, in one."""

    def __init__(self, realm: str | None = None) -> None:
        self.seen: list[tuple[str, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                authorization = self.headers.get("Authorization")
                outer.seen.append((self.path, authorization))
                if self.path.startswith("/token"):
                    wanted = "Basic " + base64.b64encode(b"user:secret").decode()
                    self._answer(200 if authorization == wanted else 401, {"token": "t0k"}, {})
                elif authorization == "Bearer t0k":
                    self._answer(200, {"tags": ["master"]}, {})
                else:
                    where = realm or f"http://127.0.0.1:{outer.port}/token"
                    self._answer(401, {}, {"WWW-Authenticate": f'Bearer realm="{where}",service="test"'})

            def _answer(self, status: int, document: Any, headers: dict[str, str]) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                for key, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def remote(self, *found: str) -> Remote:
        context = Context(lambda _: (found[0], found[1], "") if found else None)
        return open_remote(RemoteUrl.parse(f"oci://127.0.0.1:{self.port}/team"), context)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def token_server() -> Iterator[TokenServer]:
    server = TokenServer()
    yield server
    server.close()


def test_a_token_is_asked_for_once_per_scope(token_server: TokenServer) -> None:
    repository = token_server.remote("user", "secret").repository(NAME)
    assert repository.tags() == repository.tags() == [Tag("master")]
    asked = [path for path, _ in token_server.seen if path.startswith("/token")]
    assert len(asked) == 1
    assert "scope=repository%3Ateam%2Fadmin%2Fshop%3Apull" in asked[0]


@pytest.mark.parametrize("found", [(), ("user", "wrong-secret")])
def test_a_refusal_names_the_remedy_and_no_secret(token_server: TokenServer, found: tuple[str, ...]) -> None:
    with pytest.raises(RemoteError) as raised:
        token_server.remote(*found).repository(NAME).tags()
    assert "docker login" in (raised.value.hint or "")
    assert "secret" not in f"{raised.value.message} {raised.value.hint}"
    assert not raised.value.passing


def test_a_password_is_not_sent_to_a_token_server_over_http_that_is_elsewhere() -> None:
    server = TokenServer("ftp://example.invalid/token")
    try:
        with pytest.raises(RemoteError, match="not to be trusted"):
            server.remote("user", "secret").repository(NAME).tags()
    finally:
        server.close()


def test_credentials_do_not_show() -> None:
    assert "secret" not in repr(Credentials("user", "secret", "token-secret"))


@pytest.mark.parametrize(
    "text",
    ["oci://user:secret@host/x", "s3://key:secret@bucket/x", "https://example.org/x", "oci://", "oci://host/a/../b", "name", ""],
)
def test_addresses_that_are_none_are_refused_without_repeating_secrets(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        open_remote(RemoteUrl.parse(text))
    assert "secret" not in raised.value.message


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("file:///a/b", "/a/b"),
        ("/a//b/", "/a/b"),
        ("oci://host:5000/team/x", "oci://host:5000/team/x"),
        ("oci://host", "oci://host"),
        ("oci://[::1]:5000/x?insecure=1", "oci://[::1]:5000/x?insecure=1"),
        ("s3://bucket/pre/fix?region=eu", "s3://bucket/pre/fix?region=eu"),
    ],
)
def test_addresses_are_shown_as_they_are(text: str, shown: str) -> None:
    assert str(RemoteUrl.parse(text)) == shown
    assert RemoteUrl.parse(shown) == RemoteUrl.parse(text)


@pytest.mark.parametrize(("user_home", "path"), [("/home/me", "/home/me/dots"), ("/home/me/", "/home/me/dots"), ("/", "/dots")])
def test_a_directory_may_be_below_the_users_own(user_home: str, path: str) -> None:
    assert RemoteUrl.parse("~/dots", user_home).path == path
    assert RemoteUrl.parse("/x/~/dots", user_home).path == "/x/~/dots"
    with pytest.raises(UsageError, match="not the address of a remote"):
        RemoteUrl.parse("~/dots")


def test_only_this_machine_is_talked_to_over_http_unasked() -> None:
    for text, loopback in (("localhost", True), ("127.0.0.1:5000", True), ("[::1]:5000", True), ("hub.example", False)):
        assert RemoteUrl.parse(f"oci://{text}/x").loopback is loopback


def test_names_that_registries_do_not_allow_are_encoded_and_never_collide() -> None:
    names = ["shop", "Shop", "SHOP", "a_b", "a__b", "a___b", "x--abc", "a-", "0", "A" * 100]
    encoded = [component(name) for name in names]
    assert len(set(encoded)) == len(names)
    assert encoded[0] == "shop"
    assert all(text == text.lower() for text in encoded)


def test_dockers_own_configuration_is_where_credentials_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = base64.b64encode(b"user:secret").decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"hub.example:5000": {"auth": secret}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert registry_login("hub.example:5000") == ("user", "secret", "")
    assert registry_login("other.example") is None


def test_a_registry_with_passwords_lets_the_user_in_and_nobody_else(tmp_path: Path) -> None:
    if (answer := capabilities()["registry"]) != "yes":
        pytest.skip(f"registry: {answer}")
    with registry(tmp_path, htpasswd=HTPASSWD) as port:
        url = RemoteUrl.parse(f"oci://127.0.0.1:{port}")
        allowed = open_remote(url, Context(lambda _: ("user", "secret", "")))
        repository = allowed.repository(NAME)
        repository.update({Tag("master"): sample_manifest(repository)}, {Tag("master"): None})
        assert allowed.repositories() == [NAME]
        with pytest.raises(RemoteError, match="refused"):
            open_remote(url).repository(NAME).tags()
        allowed.close()
