"""HTTP for registries: it authenticates as they ask, and turns their errors into ours. The only module that imports requests."""

from __future__ import annotations

import base64
import re
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from dm_compose.errors import NotFoundError, RemoteError, UsageError
from dm_compose.remotes.base import Context, Credentials
from dm_compose.remotes.url import RemoteUrl

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 10.0, 60.0
CHUNK_BYTES = 1 << 18
PASSING = {408, 425, 429, 500, 502, 503, 504}
_PARAMETER = re.compile(r'([a-z_]+)="([^"]*)"')


class RegistryApi:
    """Requests to one registry. Thread-safe.

    Secrets go to the registry and to the token server that it names, and to nobody else. They go over https only, unless the
    registry itself is asked over http (on loopback, or with ?insecure=1).
    """

    def __init__(self, url: RemoteUrl, context: Context, connections: int) -> None:
        insecure = url.loopback or url.flag("insecure")
        if unknown := set(url.options) - {"insecure"}:
            raise UsageError(f"a registry as remote has no option {sorted(unknown)[0]!r}", hint="?insecure=1 allows http.")
        self.location = url.location
        self._base = f"{'http' if insecure else 'https'}://{url.location}"
        self._insecure = insecure
        self._context = context
        self._connections = connections
        self._session = self._new_session()
        self._headers: dict[str, str] = {}  # Authorization by scope
        self._guard = threading.Lock()
        self._credentials: Credentials | None = None
        self._asked = False

    def _new_session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = True
        session.auth = _no_netrc
        adapter = HTTPAdapter(pool_connections=2, pool_maxsize=self._connections + 1, max_retries=0)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        return session

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        scope: str,
        doing: str,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        stream: bool = False,
        anonymous: bool = False,
    ) -> requests.Response:
        """Send a request and return its answer, which is one of success.

        `path` may be a whole address that the registry gave. Messages begin with `doing`. NotFoundError for 404. RemoteError for
        other refusals and broken connections; it is `passing` if another try may succeed.
        """
        url = urllib.parse.urljoin(self._base, path)
        ours = urllib.parse.urlsplit(url).netloc == urllib.parse.urlsplit(self._base).netloc
        known = {} if anonymous or not ours else self._known(scope)
        response = self._send(method, url, {**(headers or {}), **known}, data, stream, doing)
        if response.status_code == 401 and ours:
            challenge = response.headers.get("WWW-Authenticate", "")
            response.close()
            authorization = self._authorize(challenge, scope, anonymous=anonymous)
            if authorization is not None:
                response = self._send(method, url, {**(headers or {}), "Authorization": authorization}, data, stream, doing)
        if response.status_code >= 400:
            with response:
                raise self._refused(response, doing)
        return response

    def _known(self, scope: str) -> dict[str, str]:
        with self._guard:
            return {"Authorization": self._headers[scope]} if scope in self._headers else {}

    def _send(
        self, method: str, url: str, headers: dict[str, str], data: bytes | None, stream: bool, doing: str
    ) -> requests.Response:
        headers = {"Accept-Encoding": "identity", "User-Agent": "dm-compose", **headers}
        try:
            return self._session.request(
                method, url, headers=headers, data=data, stream=stream, timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
            )
        except requests.exceptions.RequestException as error:
            raise self._failed(error, doing) from None

    def chunks(self, response: requests.Response, doing: str) -> Iterator[bytes]:
        """Yield the body of a streamed answer. A body that is cut short raises a passing RemoteError."""
        try:
            with response:
                yield from response.iter_content(CHUNK_BYTES)
        except requests.exceptions.RequestException as error:
            raise self._failed(error, doing) from None

    def _failed(self, error: requests.exceptions.RequestException, doing: str) -> RemoteError:
        reason = str(error)
        if isinstance(error, requests.exceptions.SSLError):
            return RemoteError(
                f"{doing}: no secure connection to {self.location}", hint="Is its certificate valid? ?insecure=1 allows http."
            )
        if "NameResolutionError" in reason:
            return RemoteError(f"{doing}: there is no host {self.location}", hint="Check the remote's address.")
        return RemoteError(f"{doing}: {_brief(error)}", hint=f"Is {self.location} up, and reachable from here?", passing=True)

    def _refused(self, response: requests.Response, doing: str) -> Exception:
        status = response.status_code
        if status == 404:
            return NotFoundError(f"{doing}: {self.location} has no such thing")
        said = _message(response)
        if status in (401, 403):
            return RemoteError(
                f"{doing}: {self.location} refused it{said}",
                hint=f"`docker login {self.location}`, or ask its owner.",
                denied=True,
            )
        if status in PASSING:
            return RemoteError(f"{doing}: {self.location} answered {status}{said}", passing=True)
        return RemoteError(f"{doing}: {self.location} answered {status}{said}")

    # Authentication: https://distribution.github.io/distribution/spec/auth/token/

    def _authorize(self, challenge: str, scope: str, *, anonymous: bool) -> str | None:
        """Return the Authorization header that answers a challenge. None when we have nothing that could."""
        scheme, _, rest = challenge.partition(" ")
        found = None if anonymous else self._own_credentials()
        if scheme.lower() == "basic":
            header = _basic(found) if found is not None and found.username else None
        elif scheme.lower() == "bearer":
            header = self._token(dict(_PARAMETER.findall(rest)), scope, found)
        else:
            header = None
        if header is not None and not anonymous:
            with self._guard:
                self._headers[scope] = header
        return header

    def _own_credentials(self) -> Credentials | None:
        with self._guard:
            if not self._asked:
                found = self._context.credentials(self.location)
                self._credentials = None if found is None else Credentials(*found)
                self._asked = True
            return self._credentials

    def _token(self, challenge: Mapping[str, str], scope: str, found: Credentials | None) -> str | None:
        realm = challenge.get("realm", "")
        if not realm.startswith("https://") and not (self._insecure and realm.startswith("http://")):
            raise RemoteError(f"{self.location} names a token server that is not to be trusted: {realm[:200]!r}")
        fields = {"service": challenge.get("service", ""), "scope": scope}
        doing = f"asking {urllib.parse.urlsplit(realm).netloc} for access"
        try:
            if found is not None and found.identity_token:
                grant = {"grant_type": "refresh_token", "refresh_token": found.identity_token, "client_id": "dm-compose"}
                response = self._session.post(realm, data={**fields, **grant}, timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S))
            else:
                headers = {"Authorization": _basic(found)} if found is not None else {}
                response = self._session.get(
                    realm, params=fields, headers=headers, timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S), allow_redirects=False
                )
        except requests.exceptions.RequestException as error:
            raise self._failed(error, doing) from None
        if response.status_code >= 400:
            raise self._refused(response, doing)
        try:
            document = response.json()
            token = document.get("token") or document.get("access_token")
        except (ValueError, AttributeError):
            token = None
        return f"Bearer {token}" if isinstance(token, str) and token else None


def _no_netrc(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep requests from sending passwords of a .netrc. Docker's own configuration is the only place of credentials."""
    return request


def _basic(found: Credentials) -> str:
    return "Basic " + base64.b64encode(f"{found.username}:{found.password}".encode()).decode()


def _brief(error: Exception) -> str:
    """Return the kind of failure in a few words, without addresses of hosts or of memory."""
    if isinstance(error, requests.exceptions.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the answer was cut short"
    if isinstance(error, requests.exceptions.ConnectionError):
        return "the connection was refused" if "refused" in str(error) else "the connection broke"
    return type(error).__name__


def _message(response: requests.Response) -> str:
    """Return the registry's own words about an error in parentheses, shortened, on one line; '' if it says nothing."""
    try:
        errors: Any = response.json()["errors"]
        text = "; ".join(str(e.get("message") or e.get("code")) for e in errors)
    except (ValueError, KeyError, TypeError, AttributeError, requests.exceptions.RequestException):
        return ""
    text = "".join(c if c.isprintable() else " " for c in text)[:200]
    return f" ({text})" if text else ""
