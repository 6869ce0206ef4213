"""A bucket as remote, by obstore. Each `PREFIX/NAMESPACE/DOT/` is an OCI image layout. The only module that imports obstore.

Tags are in `index.json`, which is replaced by a conditional put. Of two writers one finds that the file has changed, and looks
again. Credentials come from the provider's environment variables (AWS_..., GOOGLE_..., AZURE_...) or from the machine.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import obstore
from obstore import exceptions
from obstore.store import ObjectStore, from_url

from dm_compose.core.names import DotName
from dm_compose.errors import DamagedError, NotFoundError, RemoteError, UsageError
from dm_compose.remotes.base import GRACE_S, Blob, Repository
from dm_compose.remotes.layout import LAYOUT, LayoutIndex
from dm_compose.remotes.names import Digest, RemoteName, Tag, digest_of
from dm_compose.remotes.url import RemoteUrl

CONNECTIONS = 6
UPDATE_ATTEMPTS = 20
DELETE_AT_ONCE = 500
_OPTIONS = {"endpoint", "region", "insecure", "account"}
_PASSING = ("GenericError", "JoinError")


class BucketRemote:
    """A remote that is a bucket, or a prefix in one; see Remote."""

    guarantee = "exact: tags move by a conditional put"
    connections = CONNECTIONS
    local = False

    def __init__(self, url: RemoteUrl) -> None:
        self.url = url
        if unknown := set(url.options) - _OPTIONS:
            raise UsageError(
                f"object storage as remote has no option {sorted(unknown)[0]!r}", hint=f"Known: {', '.join(sorted(_OPTIONS))}."
            )
        self._prefix = f"{url.path}/" if url.path else ""
        self._store = _store(url)

    def repositories(self) -> list[RemoteName]:
        found = []
        for namespace in self._names(self._prefix):
            for dot in self._names(f"{self._prefix}{namespace}/"):
                name = RemoteName(namespace, dot)
                if self.repository(name).tags():
                    found.append(name)
        return sorted(found)

    def _names(self, prefix: str) -> list[DotName]:
        with _errors(f"listing {self.url.location}", ""):
            prefixes = obstore.list_with_delimiter(self._store, prefix or None)["common_prefixes"]
        names = [path.rstrip("/").rpartition("/")[2] for path in prefixes]
        return sorted(DotName(name) for name in names if DotName.pattern.fullmatch(name))

    def repository(self, name: RemoteName) -> Repository:
        return BucketRepository(self._store, f"{self._prefix}{name.namespace}/{name.dot}", self.url.location)

    def below(self) -> list[RemoteUrl]:
        return []  # nobody can tell how much there is to search

    def exposed(self) -> str | None:
        try:
            anonymous = _store(self.url, skip_signature=True)
            next(iter(obstore.list(anonymous, self._prefix or None, chunk_size=1)), None)
        except (exceptions.BaseError, TypeError, ValueError, RemoteError):
            return None
        return f"everybody can list {self.url.location} without credentials" if not self.url.options.get("endpoint") else None

    def close(self) -> None:
        return


def _store(url: RemoteUrl, **more: Any) -> ObjectStore:
    config: Any = dict(more)
    endpoint = url.options.get("endpoint")
    if endpoint:
        config["endpoint"] = endpoint
    if url.options.get("region"):
        config["region"] = url.options["region"]
    if url.options.get("account"):
        config["account_name"] = url.options["account"]
    plain_http = bool(endpoint) and RemoteUrl.parse(endpoint or "").loopback
    client: Any = {"allow_http": plain_http or url.flag("insecure"), "connect_timeout": timedelta(seconds=10)}
    retry: Any = {"max_retries": 1, "retry_timeout": timedelta(seconds=20)}  # remotes.retry tries again above this
    try:
        return from_url(f"{url.scheme}://{url.host}", config=config, client_options=client, retry_config=retry)
    except (exceptions.BaseError, ValueError) as error:
        raise UsageError(f"{url.scheme}://{url.host} cannot be used as a remote: {_first_line(error)}") from None


class BucketRepository:
    """An image layout in a bucket; see Repository."""

    def __init__(self, store: ObjectStore, prefix: str, where: str) -> None:
        self._store = store
        self._prefix = prefix
        self._where = where

    def __str__(self) -> str:
        return f"{self._where}/{self._prefix}"

    def _path(self, digest: Digest) -> str:
        return f"{self._prefix}/blobs/sha256/{digest.hex}"

    @property
    def _index_path(self) -> str:
        return f"{self._prefix}/index.json"

    def has(self, digest: Digest) -> bool:
        try:
            with _errors(f"looking into {self}", f"blob {digest.short}"):
                found = obstore.head(self._store, self._path(digest))
        except NotFoundError:
            return False
        return (datetime.now(UTC) - found["last_modified"]).total_seconds() < GRACE_S / 2

    def put(self, digest: Digest, data: bytes) -> None:
        with _errors(f"uploading to {self}", ""):
            obstore.put(self._store, self._path(digest), data, use_multipart=False)

    def get(self, digest: Digest, start: int = 0) -> Iterator[bytes]:
        with _errors(f"downloading from {self}", f"blob {digest.short}"):
            options: Any = {"range": {"offset": start}} if start else {}
            found = obstore.get(self._store, self._path(digest), options=options)
            expected = found.meta["size"] - start
            for data in found.stream(min_chunk_size=1 << 18):
                expected -= len(data)
                yield bytes(data)
        if expected > 0:
            raise RemoteError(f"downloading from {self}: the answer was cut short", passing=True)

    def put_manifest(self, data: bytes) -> Digest:
        digest = digest_of(data)
        self.put(digest, data)
        return digest

    def get_manifest(self, digest: Digest) -> bytes:
        return b"".join(self.get(digest))

    def tags(self) -> list[Tag]:
        return sorted(self._index()[0].tags)

    def resolve(self, tag: Tag) -> Digest | None:
        found = self._index()[0].tags.get(tag)
        return found[0] if found else None

    def _index(self) -> tuple[LayoutIndex, Any]:
        """Return the tags, and the version of the file for a conditional put. The version is None when there is no file."""
        try:
            return self._read_index()
        except DamagedError:  # perhaps only this one answer was damaged
            return self._read_index()

    def _read_index(self) -> tuple[LayoutIndex, Any]:
        try:
            with _errors(f"reading {self._index_path}", "it"):
                found = obstore.get(self._store, self._index_path)
                data = bytes(found.bytes())
                known = {"e_tag": found.meta["e_tag"], "version": found.meta["version"]}
        except NotFoundError:
            return LayoutIndex(None, where=self._index_path), None
        return LayoutIndex(data, where=f"{self}/index.json"), {name: value for name, value in known.items() if value is not None}

    def update(self, changes: Mapping[Tag, Digest | None], expected: Mapping[Tag, Digest | None]) -> None:
        for attempt in range(UPDATE_ATTEMPTS):
            index, version = self._index()
            if attempt and all((index.tags.get(tag) or (None,))[0] == digest for tag, digest in changes.items()):
                return  # our own write had succeeded, and its answer was lost
            index.check(expected)
            for tag, digest in changes.items():
                if digest is None:
                    index.tags.pop(tag, None)
                else:
                    with _errors(f"looking into {self}", f"manifest {digest.short}"):
                        index.tags[tag] = digest, obstore.head(self._store, self._path(digest))["size"]
            if self._replace(index, version):
                return
        raise RemoteError(f"moving tags of {self}: others moved tags {UPDATE_ATTEMPTS} times meanwhile", passing=True)

    def _replace(self, index: LayoutIndex, version: Any) -> bool:
        """Write the tags. Return False when somebody else has written them since they were read."""
        with _errors(f"writing {self}", ""):
            try:
                if version is None:
                    obstore.put(self._store, f"{self._prefix}/oci-layout", LAYOUT)
                obstore.put(
                    self._store, self._index_path, index.encode(), mode=version or "create", use_multipart=False,
                )  # fmt: skip
            except (exceptions.PreconditionError, exceptions.AlreadyExistsError):
                return False
        return True

    def blobs(self) -> Iterator[Blob]:
        with _errors(f"listing {self}", ""):
            for batch in obstore.list(self._store, f"{self._prefix}/blobs/sha256/"):
                for item in batch:
                    name = item["path"].rpartition("/")[2]
                    if len(name) == 64:
                        yield Blob(Digest.parse(f"sha256:{name}"), item["size"], item["last_modified"])

    def delete(self, digest: Digest) -> None:
        with contextlib.suppress(NotFoundError), _errors(f"removing a blob from {self}", ""):
            obstore.delete(self._store, self._path(digest))

    def remove(self) -> None:
        """Remove `index.json` first, because nobody sees a repository without it."""
        with contextlib.suppress(NotFoundError), _errors(f"removing {self}", ""):
            obstore.delete(self._store, self._index_path)
        with _errors(f"removing {self}", ""):
            for batch in obstore.list(self._store, f"{self._prefix}/", chunk_size=DELETE_AT_ONCE):
                obstore.delete(self._store, [item["path"] for item in batch])


@contextlib.contextmanager
def _errors(doing: str, what: str) -> Iterator[None]:
    """Turn the errors of obstore into ours. `what` names the thing that is missing in a NotFoundError."""
    try:
        yield
    except (FileNotFoundError, exceptions.NotFoundError):
        raise NotFoundError(f"{doing}: {what or 'something'} is missing") from None
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise RemoteError(
            f"{doing}: refused ({_first_line(error)})",
            hint="Credentials come from the provider's environment variables.",
            denied=True,
        ) from None
    except exceptions.BaseError as error:
        raise RemoteError(f"{doing}: {_first_line(error)}", passing=isinstance(error, exceptions.GenericError)) from None
    except (OSError, RuntimeError) as error:
        raise RemoteError(f"{doing}: {_first_line(error)}", passing=True) from None


def _first_line(error: Exception) -> str:
    """Return the first line of an error. Requests and debugging output follow it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
