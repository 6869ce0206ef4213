"""An OCI registry as remote (distribution specification 1.1). Each `PREFIX/NAMESPACE/DOT` is a repository.

A registry has no compare-and-swap for tags. `update` reads a tag right before it writes, and the caller reads it again after.
When two push within the same milliseconds, the last one has the branch. The commits of the other one stay there under their ids.
The repository `PREFIX/dm-dots` has a tag for each dot, because not every registry lists its repositories.
"""

from __future__ import annotations

import base64
import contextlib
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import replace

from dm_compose.core.names import DotName
from dm_compose.errors import NotFoundError, RemoteError, UntrustedError, UsageError
from dm_compose.remotes.base import MAX_MANIFEST_BYTES, Blob, Context, Repository
from dm_compose.remotes.http import RegistryApi
from dm_compose.remotes.layout import MANIFEST_TYPE, changed
from dm_compose.remotes.names import MAX_TAG, Digest, RemoteName, Tag, digest_of
from dm_compose.remotes.url import RemoteUrl

CONNECTIONS = 4
LIST_REPOSITORY = "dm-dots"
LIST_TYPE = "application/vnd.dotmesh.dot.v1+json"
EMPTY = b"{}"  # the empty config of the image specification
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
KEPT_MANIFESTS = 8
CATALOG_SCOPE = "registry:catalog:*"
PAGE = 1000  # Distribution refuses to give more at once
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_ENCODED = "x--"


def component(name: str) -> str:
    """Return a name as one part of a repository's path: itself where the specification allows it, else `x--` and its base32."""
    if _COMPONENT.fullmatch(name) and not name.startswith(_ENCODED):
        return name
    return _ENCODED + base64.b32encode(name.encode()).decode().rstrip("=").lower()


class OciRemote:
    """A remote that is a registry, or a prefix in one; see Remote."""

    guarantee = (
        "a registry cannot compare and swap, so a push reads a branch right before and right after it moves it; if two push"
        " within the same milliseconds, the last one has the branch, and the other one's commits stay there under their ids"
    )
    connections = CONNECTIONS
    local = False

    def __init__(self, url: RemoteUrl, context: Context) -> None:
        self.url = url
        self._api = RegistryApi(url, context, CONNECTIONS)
        self._prefix = f"{url.path}/" if url.path else ""
        if url.path and not all(_COMPONENT.fullmatch(part) for part in url.path.split("/")):
            raise UsageError(f"{url.path!r} cannot be a repository's path", hint="Registries want lower-case letters and digits.")

    def repositories(self) -> list[RemoteName]:
        names = []
        for tag in self._list().tags():
            namespace, _, dot = tag.partition("..")
            if DotName.pattern.fullmatch(namespace) and DotName.pattern.fullmatch(dot):
                name = RemoteName(DotName(namespace), DotName(dot))
                if self._repository(name).tags():
                    names.append(name)
        return sorted(names)

    def below(self) -> list[RemoteUrl]:
        """Read the registry's catalog. Not every registry has one, or lets everybody read it."""
        found = []
        try:
            for names in _pages(self._api, "/v2/_catalog", "repositories", CATALOG_SCOPE, f"listing {self._api.location}"):
                paths = [name.removesuffix(f"/{LIST_REPOSITORY}") for name in names if name.endswith(f"/{LIST_REPOSITORY}")]
                found += [p for p in paths if p.startswith(self._prefix) and all(map(_COMPONENT.fullmatch, p.split("/")))]
        except NotFoundError:
            return []
        except RemoteError as error:
            if error.passing:
                raise
            return []
        return [replace(self.url, path=path) for path in sorted(set(found))]

    def _list(self) -> OciRepository:
        return OciRepository(self._api, self._prefix + LIST_REPOSITORY, None)

    def repository(self, name: RemoteName) -> Repository:
        return self._repository(name)

    def _repository(self, name: RemoteName) -> OciRepository:
        path = f"{self._prefix}{component(name.namespace)}/{component(name.dot)}"
        listed = Tag(f"{name.namespace}..{name.dot}")
        return OciRepository(self._api, path, (self._list(), listed) if len(listed) <= MAX_TAG else None)

    def exposed(self) -> str | None:
        if self.url.loopback:
            return None
        try:
            self._api.call(
                "GET", f"/v2/{self._prefix}{LIST_REPOSITORY}/tags/list", scope=f"repository:{self._prefix}{LIST_REPOSITORY}:pull",
                doing="asking without credentials", anonymous=True,
            ).close()  # fmt: skip
        except (RemoteError, NotFoundError):
            return None
        return f"everybody who reaches {self.url.location} can read what is there, without a password"

    def close(self) -> None:
        self._api.close()


class OciRepository:
    """A repository of a registry; see Repository.

    `listing` is the repository and the tag by which others find this one. The first branch that is pushed sets that tag.
    """

    def __init__(self, api: RegistryApi, path: str, listing: tuple[OciRepository, Tag] | None) -> None:
        self._api = api
        self._path = path
        self._listing = listing
        self._manifests: dict[Digest, bytes] = {}

    def __str__(self) -> str:
        return f"{self._api.location}/{self._path}"

    @property
    def _pull(self) -> str:
        return f"repository:{self._path}:pull"

    @property
    def _push(self) -> str:
        return f"repository:{self._path}:pull,push"

    def _blob(self, digest: Digest) -> str:
        return f"/v2/{self._path}/blobs/{digest}"

    def _manifest(self, reference: str) -> str:
        return f"/v2/{self._path}/manifests/{reference}"

    def has(self, digest: Digest) -> bool:
        for path in (self._blob(digest), self._manifest(digest)):
            try:
                headers = {"Accept": MANIFEST_TYPE}
                self._api.call("HEAD", path, scope=self._pull, doing=f"looking into {self}", headers=headers).close()
            except NotFoundError:
                continue
            return True
        return False

    def put(self, digest: Digest, data: bytes) -> None:
        doing = f"uploading to {self}"
        with self._api.call("POST", f"/v2/{self._path}/blobs/uploads/", scope=self._push, doing=doing, data=b"") as begun:
            location = begun.headers.get("Location", "")
        if not location:
            raise RemoteError(f"{doing}: the registry does not say where the upload goes")
        parts = urllib.parse.urlsplit(location)
        query = f"{parts.query}&" if parts.query else ""
        target = urllib.parse.urlunsplit(parts._replace(query=f"{query}digest={urllib.parse.quote(digest)}"))
        headers = {"Content-Type": "application/octet-stream"}
        try:
            self._api.call("PUT", target, scope=self._push, doing=doing, headers=headers, data=data).close()
        except NotFoundError:  # the registry has forgotten the upload
            raise RemoteError(f"{doing}: the registry has forgotten the upload", passing=True) from None

    def get(self, digest: Digest, start: int = 0) -> Iterator[bytes]:
        doing = f"downloading from {self}"
        headers = {"Range": f"bytes={start}-"} if start else {}
        try:
            response = self._api.call("GET", self._blob(digest), scope=self._pull, doing=doing, headers=headers, stream=True)
        except NotFoundError:
            raise NotFoundError(f"blob {digest.short} is missing from {self}") from None
        skip = start if start and response.status_code != 206 else 0
        for data in self._api.chunks(response, doing):
            if skip < len(data):
                yield data[skip:]
            skip = max(0, skip - len(data))

    def put_manifest(self, data: bytes) -> Digest:
        digest = digest_of(data)
        self._put_manifest(digest, data)
        self._keep(digest, data)
        return digest

    def _put_manifest(self, reference: str, data: bytes) -> None:
        headers = {"Content-Type": MANIFEST_TYPE}
        self._api.call(
            "PUT", self._manifest(reference), scope=self._push, doing=f"writing a manifest to {self}", headers=headers, data=data
        ).close()

    def _keep(self, digest: Digest, data: bytes) -> None:
        self._manifests[digest] = data
        while len(self._manifests) > KEPT_MANIFESTS:
            self._manifests.pop(next(iter(self._manifests)), None)

    def get_manifest(self, digest: Digest) -> bytes:
        doing = f"reading a manifest of {self}"
        headers = {"Accept": MANIFEST_TYPE}
        response = self._api.call("GET", self._manifest(digest), scope=self._pull, doing=doing, headers=headers, stream=True)
        data = b""
        for chunk in self._api.chunks(response, doing):
            data += chunk
            if len(data) > MAX_MANIFEST_BYTES:
                raise UntrustedError(f"{doing}: it has more than {MAX_MANIFEST_BYTES} bytes")
        return data

    def tags(self) -> list[Tag]:
        found: set[Tag] = set()
        with contextlib.suppress(NotFoundError):
            for names in _pages(self._api, f"/v2/{self._path}/tags/list", "tags", self._pull, f"listing {self}"):
                found.update(Tag.parse(name) for name in names)
        return sorted(found)

    def resolve(self, tag: Tag) -> Digest | None:
        doing = f"looking into {self}"
        headers = {"Accept": MANIFEST_TYPE}
        try:
            with self._api.call("HEAD", self._manifest(tag), scope=self._pull, doing=doing, headers=headers) as response:
                digest = response.headers.get("Docker-Content-Digest")
            if digest is None:  # the specification does not insist on it
                with self._api.call("GET", self._manifest(tag), scope=self._pull, doing=doing, headers=headers) as response:
                    return digest_of(response.content)
        except NotFoundError:
            return None
        return Digest.parse(digest)

    def update(self, changes: Mapping[Tag, Digest | None], expected: Mapping[Tag, Digest | None]) -> None:
        if any(digest is not None and tag.branch is not None for tag, digest in changes.items()):
            self._list_dot()
        for tag, digest in expected.items():
            if self.resolve(tag) != digest:
                raise changed(tag)
        for tag, digest in changes.items():
            if digest is None:
                self._remove_tag(tag)
            else:
                data = self._manifests.get(digest) or self.get_manifest(digest)
                self._put_manifest(tag, data)

    def _list_dot(self) -> None:
        """Put the dot on the list of dots. A user who may not write to the list can push all the same."""
        if self._listing is None:
            return
        repository, tag = self._listing
        try:
            if repository.resolve(tag) is None:
                repository.put(digest_of(EMPTY), EMPTY)
                repository.put_manifest_as(tag, _listed())
        except RemoteError as error:
            if error.passing:
                raise

    def put_manifest_as(self, tag: Tag, data: bytes) -> None:
        """Store a manifest under a tag. Atomic; the blobs of the manifest are there already."""
        self._put_manifest(tag, data)

    def _remove_tag(self, tag: Tag) -> None:
        with contextlib.suppress(NotFoundError):
            self._delete(self._manifest(tag), f"removing tag {tag} from {self}")

    def _delete(self, path: str, doing: str) -> None:
        self._api.call("DELETE", path, scope=f"{self._push},delete", doing=doing).close()

    def blobs(self) -> Iterator[Blob] | None:
        return None

    def delete(self, digest: Digest) -> None:
        for path in (self._manifest(digest), self._blob(digest)):
            with contextlib.suppress(NotFoundError):
                self._delete(path, f"removing a blob from {self}")

    def remove(self) -> None:
        """Remove every manifest. The registry removes its tags with it, and its own garbage collection frees the blobs later."""
        for digest in {self.resolve(tag) for tag in self.tags()} - {None}:
            assert digest is not None
            self._delete(self._manifest(digest), f"removing {self}")


def _pages(api: RegistryApi, path: str, key: str, scope: str, doing: str) -> Iterator[list[str]]:
    """Yield the pages of a list of names. The end is also where a page has nothing new."""
    before: set[str] = set()
    following: str | None = f"{path}?n={PAGE}"
    while following is not None:
        try:
            with api.call("GET", following, scope=scope, doing=doing) as response:
                names = response.json().get(key) or []
                following = response.links.get("next", {}).get("url")
        except (ValueError, AttributeError):
            raise RemoteError(f"{doing}: the registry's answer cannot be understood", passing=True) from None
        if before.issuperset(names):
            return
        before.update(names)
        yield names


def _listed() -> bytes:
    empty = f'{{"mediaType":"{EMPTY_TYPE}","digest":"{digest_of(EMPTY)}","size":{len(EMPTY)}}}'
    return (
        f'{{"schemaVersion":2,"mediaType":"{MANIFEST_TYPE}","artifactType":"{LIST_TYPE}","config":{empty},"layers":[{empty}]}}'
    ).encode()
